//! Outputs beside carbon: the points file.
pub mod points_file;
