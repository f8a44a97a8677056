//! Faults of everything around the program, and the books kept through them: what was acknowledged
//! arrives, what was refused does not, nothing is invented.
//!
//! Each scenario has a quick form, for `make test`, and a full one (`FLUX_FAULTS=full`, `make faults`),
//! and adds a row to the table that docs/reliability.md shows.

mod common;

#[path = "faults/carbon.rs"]
mod carbon;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/host.rs"]
mod host;
#[path = "faults/kill.rs"]
mod kill;
#[path = "faults/pressure.rs"]
mod pressure;
#[path = "faults/redis.rs"]
mod redis;
#[path = "faults/shutdown.rs"]
mod shutdown;
#[path = "faults/table.rs"]
mod table;

/// Not a scenario: what [`common::sink::SinkProcess`] runs in a process of its own.
#[test]
fn a_sink_when_told() {
    common::sink::serve_if_told();
}

const SINK: &str = "a_sink_when_told";
