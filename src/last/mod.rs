//! The last store: `flux.last.<metric>` = `[1478021700, 1.0]`, in Redis or embedded.

pub mod chunk;
pub mod command;
pub mod embedded;
pub mod filter;
pub mod layers;
mod pieces;
pub mod redis;
pub mod resp;
pub mod text;
mod waiting;
pub mod writer;

/// The keyed hash of a name.
pub type Hash = Box<dyn Fn(&[u8]) -> crate::point::NameHash + Send + Sync>;

/// What is stored for a metric: the newest point delivered. The value is `None` where Vista marked a
/// series that is null at its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    pub timestamp: u32,
    pub value: Option<f64>,
}
