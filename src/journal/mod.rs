//! Accepted points in files until they are delivered. Pure: bytes in, bytes out, no file and no clock.
//!
//! On the way in, one [`Journal`] per shard: points are pushed as they are accepted, a group waits for
//! its answer, and one write at a time carries everything that waited. What carbon has taken comes back
//! as a number of points; from it follow the cursor and the segments that can go. On the way back,
//! [`recovery::Plan`] puts the files of earlier runs in order and [`recovery::Replay`] streams one shard's.
//!
//! | file | what it decides |
//! |---|---|
//! | [`record`] | one commit as bytes, with its checksums |
//! | [`segment`] | a file's name and header |
//! | [`commit`] | which write comes next, and which answers it releases |
//! | [`writer`] | which segment a write goes to, which may be deleted, when there is no room |
//! | [`ledger`] | up to where everything is delivered |
//! | [`cursor`] | the same, as bytes for the next start |
//! | [`reader`] | a segment's bytes back to records, over whatever is damaged |
//! | [`recovery`] | the order of replay, and how far it has come |
//! | [`show`] | `flux journal ls / verify / dump` |

pub mod commit;
pub mod cursor;
pub mod ledger;
pub mod reader;
pub mod record;
pub mod recovery;
pub mod segment;
pub mod show;
#[cfg(test)]
mod tests;
pub mod writer;

pub use crate::config::Durability;
pub use commit::{Journal, Outcome, Write};
pub use segment::SegmentId;
