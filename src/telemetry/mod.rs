//! The program measured by itself: the catalog of metrics, plain counters, latency, logs.

pub mod catalog;
pub mod latency;
pub mod log;
pub mod prometheus;
