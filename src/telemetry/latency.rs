//! stub
#[derive(Default)]
pub struct Latency {}
impl Latency {
    pub fn request(&mut self, _us: u64) {}
}
