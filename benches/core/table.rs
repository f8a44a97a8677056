//! What was measured, beside the targets and the last release.

use crate::case::{Case, Points, Shape};
use std::collections::BTreeMap;

/// Counts of the last release, one case a line; written by `make bench KEEP=1`.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// A rise above this is shown. Counts repeat to a few in a thousand: the names' hashes fall into a table alike.
const RISE_PERCENT: f64 = 2.0;

pub struct Row {
    pub case: Case,
    pub per_point: Option<u64>,
    pub per_request: Option<u64>,
    pub delivered_per_point: Option<u64>,
    pub allocations_per_request: f64,
}

impl Row {
    /// What the targets are set for: a point of a batch, else a request.
    fn counted(&self) -> Option<u64> {
        match self.case.shape {
            Shape::Batch => self.per_point,
            Shape::Single | Shape::Pipelined | Shape::Connections | Shape::Get => self.per_request,
        }
    }

    /// At most, and what is aimed for.
    fn target(&self) -> (u64, u64) {
        match self.case.shape {
            Shape::Batch => (1600, 500),
            Shape::Single | Shape::Pipelined | Shape::Connections | Shape::Get => (3500, 1500),
        }
    }
}

fn kept() -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(KEPT).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('\t'));
    let counts = pairs.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
    counts.collect()
}

pub fn keep(rows: &[Row]) {
    let mut text =
        "# Instructions per point of a batch, or per request: of the last release.\n".to_owned();
    for row in rows {
        let counted = row
            .counted()
            .expect("without valgrind there is nothing to keep");
        text += &format!("{}\t{counted}\n", row.case.name);
    }
    std::fs::write(KEPT, text).expect("the repository can be written to");
    print(rows);
}

pub fn print(rows: &[Row]) {
    let kept = kept();
    let mut rises = 0;
    println!(
        "| sent | instructions per | count | target | then | last release | change | after the answer, per point | allocations per request (target 0) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let counted = row.counted();
        let (most, aim) = row.target();
        let before = kept.get(row.case.name).copied();
        let percent = counted
            .zip(before)
            .map(|(now, before)| 100.0 * (now as f64 - before as f64) / before as f64);
        let rose = percent.is_some_and(|percent| percent > RISE_PERCENT);
        rises += u32::from(rose);
        let unit = match row.case.shape {
            Shape::Batch => "point",
            Shape::Single | Shape::Pipelined | Shape::Connections | Shape::Get => "request",
        };
        // Its names must be asked for and remembered.
        let steady = row.case.points != Points::NewMetric;
        println!(
            "| {} | {unit} | {}{} | {most} | {aim} | {} | {}{} | {} | {}{} |",
            row.case.name,
            shown(counted),
            mark(counted.is_some_and(|counted| counted > most)),
            shown(before),
            percent.map_or("-".to_owned(), |percent| format!("{percent:+.1} %")),
            if rose { " RISE" } else { "" },
            shown(row.delivered_per_point),
            row.allocations_per_request,
            mark(steady && row.allocations_per_request > 0.0),
        );
    }
    if rows.iter().any(|row| row.per_point.is_none()) {
        println!(
            "\nvalgrind is missing, so nothing was counted: run tests/install.sh, or apt-get install valgrind"
        );
    }
    if rises > 0 {
        println!("\n{rises} counts rose by more than {RISE_PERCENT} % since the last release");
    }
}

fn shown(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| count.to_string())
}

fn mark(missed: bool) -> &'static str {
    if missed { " MISSED" } else { "" }
}
