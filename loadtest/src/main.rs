//! Load for flux, and what is measured under it.
//!
//! ```text
//!  generator (wrk with our scripts, or our own) ──► target (flux, nginx, VictoriaMetrics) ──► blackhole
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`experiment`] | what a file in `experiments/` may say |
//! | [`generator`] | requests made ahead of time, offered in a closed loop or at a constant rate |
//! | [`blackhole`] | a carbon that decodes and counts |
//! | [`remote`] | a Graphite that has one answer, for populate |
//! | [`hiccups`] | when the machine itself stood still |
//! | [`process`] | a program on a CPU of its own, its CPU time and memory |
//! | [`target`] | the programs that are compared |
//! | [`runner`] | rounds, in which the targets take turns |
//! | [`results`] | what was measured, kept in files, and its medians |
//! | [`report`] | the table and the page |

mod blackhole;
mod experiment;
mod generator;
mod hiccups;
mod http;
mod process;
mod remote;
mod report;
mod results;
mod runner;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub type Result<T> = std::result::Result<T, String>;

/// Any 32 letters and digits.
pub const KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs experiments in turn, then reports on everything measured so far
    Run(runner::Options),
    /// Writes the table and the page again, from what was measured before
    Report,
    /// Offers requests to a port, and tells as JSON how long their answers took
    Generate(generator::Plan),
    /// Decodes and counts what carbon would get; `GET /` on the second port tells the totals
    Blackhole { carbon: u16, report: u16 },
    /// Tells when a timer that goes before everything else was late, in µs of the monotonic clock
    Hiccups,
    /// Answers every request with a history of so many minutes that ends now
    Remote { port: u16, points: u32 },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Run(options) => runner::run(&options),
        Verb::Report => report::write(),
        Verb::Generate(plan) => generator::main(&plan),
        Verb::Blackhole { carbon, report } => blackhole::serve(carbon, report),
        Verb::Hiccups => hiccups::tell(),
        Verb::Remote { port, points } => remote::serve(port, points),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
