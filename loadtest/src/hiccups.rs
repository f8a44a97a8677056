//! When the machine itself stood still: on each CPU a timer that nothing can go before, and how late it was all the same.
//! A virtual machine's CPUs are taken away for milliseconds by whoever else is on the host; a tenth of all requests may
//! meet that, and then their p99 says nothing of the server.
//!
//! The timers show the kernel's own long moments too, the server's system calls among them. Where these were the reason
//! there would be more of them beside one target than beside the other: `hiccup_percent` tells.

use std::path::Path;
use std::time::Duration;

use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};
use rustix::time::clock_gettime;

use crate::Result;
use crate::process::{Program, first};
use crate::target::{LOAD_CPU, SERVER_CPU};

const PERIOD: Duration = Duration::from_micros(250);
/// A timer that wakes an idle CPU is late by a quarter of it.
const LATE: Duration = Duration::from_micros(150);
/// What came meanwhile is answered then, and what comes during that waits: as long again at half of the rate that a server
/// can do, and at least so long.
const AFTER_US_MIN: u64 = 1_500;

/// Of the clock that everything here is counted by, which a process has in common with the others.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Tells when it was late, and by how many µs, a line each; until it is ended.
pub fn tell() -> Result<()> {
    let mut due = clock_gettime(ClockId::Monotonic);
    loop {
        due.tv_nsec += i64::from(PERIOD.subsec_nanos());
        if due.tv_nsec >= 1_000_000_000 {
            due = Timespec {
                tv_sec: due.tv_sec + 1,
                tv_nsec: due.tv_nsec - 1_000_000_000,
            };
        }
        clock_nanosleep_absolute(ClockId::Monotonic, &due).map_err(|error| error.to_string())?;
        let due_us = due.tv_sec as u64 * 1_000_000 + due.tv_nsec as u64 / 1_000;
        let late_us = now_us().saturating_sub(due_us);
        if u128::from(late_us) >= LATE.as_micros() {
            println!("{due_us} {late_us}");
        }
    }
}

/// On both CPUs, as long as it lives.
pub struct Watch([Program; 2]);

impl Watch {
    pub fn start(dir: &Path) -> Result<Watch> {
        let spawn = |name, cpu| Program::spawn(name, &mut first(cpu, "hiccups"), dir);
        Ok(Watch([
            spawn("hiccups-0", SERVER_CPU)?,
            spawn("hiccups-1", LOAD_CPU)?,
        ]))
    }

    /// `None` without root: who may not go first cannot tell the machine's waiting from its own.
    pub fn end(self) -> Option<Hiccups> {
        let mut told = String::new();
        for mut program in self.0 {
            if !program.is_running() {
                return None;
            }
            told += &program.all_said();
            told += "\n";
        }
        Some(Hiccups::read(&told))
    }
}

/// From when until when, in order; none touches another.
#[derive(Debug, Default)]
pub struct Hiccups(Vec<(u64, u64)>);

impl Hiccups {
    fn read(told: &str) -> Hiccups {
        let line = |line: &str| {
            let (due, late) = line.split_once(' ')?;
            let (due, late): (u64, u64) = (due.parse().ok()?, late.parse().ok()?);
            // It may have begun right after the timer before.
            Some((
                due - PERIOD.as_micros() as u64,
                due + late + late.max(AFTER_US_MIN),
            ))
        };
        // The last line may have been cut.
        let mut all: Vec<_> = told.lines().filter_map(line).collect();
        all.sort_unstable();
        all.dedup_by(|next, before| {
            let one = next.0 <= before.1;
            if one {
                before.1 = before.1.max(next.1);
            }
            one
        });
        Hiccups(all)
    }

    pub fn met_by(&self, from_us: u64, until_us: u64) -> bool {
        let begun = self.0.partition_point(|(from, _)| *from <= until_us);
        begun > 0 && self.0[begun - 1].1 >= from_us
    }

    /// Of that time.
    pub fn percent(&self, from_us: u64, until_us: u64) -> f64 {
        let within = |(from, until): &(u64, u64)| {
            (*until).min(until_us).saturating_sub((*from).max(from_us))
        };
        let taken: u64 = self.0.iter().map(within).sum();
        100.0 * taken as f64 / (until_us - from_us).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_met_a_hiccup_is_known() {
        let told = "10000 400\n20000 200\n9000 300\n95000 4000\nnothing\n30000";
        let hiccups = Hiccups::read(told);
        let expected = [(8_750, 11_900), (19_750, 21_700), (94_750, 103_000)];
        assert_eq!(hiccups.0, expected);
        for (from, until, met) in [
            (0, 8_749, false),
            (0, 8_750, true),
            (9_000, 9_001, true),
            (11_900, 12_000, true),
            (11_901, 19_749, false),
            (11_901, 19_750, true),
            (5_000, 90_000, true),
            (21_701, 90_000, false),
        ] {
            assert_eq!(hiccups.met_by(from, until), met, "{from}..{until}");
        }
        assert!(!Hiccups::default().met_by(0, u64::MAX));
        assert_eq!(hiccups.percent(10_900, 20_750), 100.0 * 2_000.0 / 9_850.0);
    }
}
