//! stub
#[derive(Clone, Debug)]
pub struct Placement {
    pub shards: Vec<usize>,
    pub populate: usize,
    pub populate_shared: bool,
}
pub struct Ready {
    pub placement: Placement,
    pub self_key: String,
}
