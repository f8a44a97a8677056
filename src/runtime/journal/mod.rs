//! The edge of [`crate::journal`]: its files, and who works on them.
//!
//! | file | what it does | where |
//! |---|---|---|
//! | `files` | `DATA/journal`, blocking | |
//! | `survey` | reads through what earlier runs have left | main thread, before the start |
//! | `disk` | writes, creates, deletes | each shard, and off it |
//! | `hand_out` | gives earlier runs' points to their owners | populate core |
//! | `replay` | how far that has come; deletes what is delivered | populate core |

pub mod disk;
pub mod files;
pub mod hand_out;
pub mod replay;
pub mod survey;
