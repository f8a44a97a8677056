//! What the pure core costs in instructions and in allocations, beside the targets and the last release.
//!
//! Instructions do not depend on what else the machine does: callgrind counts them, in this program run again under
//! valgrind, between a read and its answers and nowhere else. `--keep` writes the counts down as the last release's;
//! `--profile CASE` shows which functions they are spent in.

mod callgrind;
mod case;
mod rig;
mod table;

use case::{CASES, Case, Run, Shape};
use rig::Rig;
use std::io::IsTerminal;
use table::Row;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let first = arguments.next();
    let named = arguments.next();
    let chosen = || {
        let name = named.as_deref().unwrap_or_default();
        let found = CASES.iter().find(|case| case.name == name);
        *found.unwrap_or_else(|| panic!("no case is called {name:?}"))
    };
    match first.as_deref() {
        // Under valgrind.
        Some("--run") => run(chosen()),
        Some("--profile") => callgrind::profile(&chosen()),
        Some("--keep") => table::keep(&measure()),
        None => table::print(&measure()),
        Some(other) => panic!("what is {other}? Nothing, --keep or --profile CASE"),
    }
}

fn turns(case: &Case) -> u64 {
    match case.shape {
        Shape::Batch => 32,
        Shape::Single | Shape::Pipelined | Shape::Connections | Shape::Get => 512,
    }
}

/// What is counted. The steady state was reached before.
fn run(case: Case) {
    let mut run = Run::new(case);
    for _ in 0..turns(&case) {
        run.turn(callgrind::answered);
        run.deliver(callgrind::delivered);
    }
    run.finish();
}

fn measure() -> Vec<Row> {
    let rows = CASES.iter().map(|case| {
        progress(case.name);
        let turns = turns(case);
        let mut allocations = 0;
        let mut run = Run::new(*case);
        for _ in 0..turns {
            run.turn(|rig, reads| {
                let counted = allocation_counter::measure(|| rig.read_to_answers(reads));
                allocations += counted.count_total;
            });
            run.deliver(Rig::frames_to_marks);
        }
        run.finish();
        let points = turns * case.points_per_turn() as u64;
        let requests = turns * case.requests_per_turn() as u64;
        let per =
            |instructions: Option<u64>, parts: u64| instructions.map(|all| all.div_ceil(parts));
        let answered = callgrind::count(case, "answered");
        Row {
            case: *case,
            per_point: per(answered, points),
            per_request: per(answered, requests),
            delivered_per_point: per(callgrind::count(case, "delivered"), points),
            allocations_per_request: allocations as f64 / requests as f64,
        }
    });
    let rows = rows.collect();
    progress("");
    rows
}

fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r{:60}\r{what}", "");
    }
}
