//! A scenario's row, and which of its two forms is asked for.

use std::io::Write;
use std::time::Duration;

use crate::common::{self, ledger::Tally};

/// Whether the long forms are asked for.
pub fn full() -> bool {
    std::env::var("FLUX_FAULTS").is_ok_and(|form| form == "full")
}

pub fn pick<T>(quick: T, full_form: T) -> T {
    if full() { full_form } else { quick }
}

/// One line of the table: several seeds of a scenario are added up.
#[derive(Debug, Default)]
pub struct Row {
    pub seeds: u32,
    pub acked: usize,
    pub delivered: usize,
    pub lost: usize,
    pub repeated: usize,
    /// The longest of them, from the end of the fault until everything acknowledged had arrived.
    pub recovered: Duration,
}

impl Row {
    pub fn add(&mut self, tally: Tally, recovered: Duration) {
        self.seeds += 1;
        self.acked += tally.acked;
        self.delivered += tally.delivered;
        self.lost += tally.lost;
        self.repeated += tally.repeated;
        self.recovered = self.recovered.max(recovered);
    }

    pub fn one(tally: Tally, recovered: Duration) -> Row {
        let mut row = Row::default();
        row.add(tally, recovered);
        row
    }

    pub fn write(&self, scenario: &str) {
        let Row {
            seeds,
            acked,
            delivered,
            lost,
            repeated,
            recovered,
        } = self;
        let seconds = recovered.as_secs_f64();
        line(&format!(
            "| {scenario} | {seeds} | {acked} | {delivered} | {lost} | {repeated} | {seconds:.1} s |"
        ));
    }
}

/// A scenario that this machine cannot run is no silent success.
pub fn skipped(scenario: &str, why: &str) {
    common::skipped::skipped(scenario, why);
    line(&format!("| {scenario} | SKIPPED: {why} | | | | | |"));
}

fn line(text: &str) {
    println!("{text}");
    let Ok(path) = std::env::var("FLUX_FAULTS_TABLE") else {
        return;
    };
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path);
    // One write, so that tests that end together do not mix their lines.
    file.and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
        .expect("the table can be written");
}
