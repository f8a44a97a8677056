//! Outputs beside carbon and the last store: statsd, what Skyline's other programs look at, our own series,
//! the points file. None of them delays a point or refuses one.

pub mod beside;
pub mod distinct;
pub mod names;
pub mod own_series;
pub mod points_file;
pub mod statsd;
