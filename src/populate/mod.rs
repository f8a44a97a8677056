//! stub

pub mod address;
pub mod cause;
pub mod job;
pub mod jobs;
pub mod literal;
pub mod parse;
pub mod plan;
pub mod record;
pub mod resample;
pub mod work;
