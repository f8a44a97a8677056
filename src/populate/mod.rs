//! stub

pub mod address;
pub mod cause;
pub mod job;
pub mod jobs;
pub mod literal;
pub mod record;
