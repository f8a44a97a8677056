//! stub

pub mod address;
pub mod cause;
pub mod job;
pub mod literal;
