//! What goes to carbon: a point as its pickle tuple or its line, frames, and what is in flight.

pub mod frame;
pub mod lane;
pub mod line;
pub mod outbound;
