//! Fresh, duplicate or unknown: the owner's decision about one point, and the bounded table behind it.

mod segment;
pub mod table;
