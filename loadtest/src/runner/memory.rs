//! What stays in memory: of each known metric, and of each connection that is idle after a request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::first_timestamp;
use super::turn::{Measures, generate, measure as measure_turn};
use crate::experiment::Experiment;
use crate::generator::Plan;
use crate::results::Outcome;
use crate::target::Target;
use crate::{Result, http};

const POINTS: usize = 450;
/// Longer than any of this takes; the number of requests ends it.
const SECONDS_MAX: f64 = 60.0;
/// What a connection used is given back by then.
const CALM: Duration = Duration::from_secs(2);

pub fn measure(
    experiment: &Experiment,
    progress: &str,
    metrics: usize,
    connections: usize,
) -> Result<Vec<Outcome>> {
    allow_descriptors(connections)?;
    let mut outcomes = Vec::new();
    for contender in &experiment.targets {
        let mut outcome = Outcome::new(&contender.name);
        for round in 1..=experiment.rounds {
            let mut target = Target::start(contender, first_timestamp())?;
            let mut measures = Measures::new();
            // On a fresh process, whose allocator has nothing to reuse.
            drop(open(target.port, 10)?);
            let before = target.program.resident_bytes()?;
            let idle = open(target.port, connections)?;
            std::thread::sleep(CALM);
            let grown = target.program.resident_bytes()? - before;
            drop(idle);
            measures.insert("bytes_per_connection".into(), grown / connections as f64);
            if target.blackhole.is_some() {
                measures.extend(of_metrics(&mut target, metrics)?);
            }
            eprintln!(
                "load: {progress}: round {round} of {}, {}: {measures:.0?}",
                experiment.rounds, contender.name
            );
            outcome.rounds.push(measures);
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn of_metrics(target: &mut Target, metrics: usize) -> Result<Measures> {
    // Buffers reach their size before we look.
    push(target, metrics / 4, 0)?;
    let before = (target.program.resident_bytes()?, entries(target)?);
    push(target, metrics, metrics as u64)?;
    let after = (target.program.resident_bytes()?, entries(target)?);
    let scrape = target.scrape()?;
    let table =
        http::metric(&scrape, "flux_table_bytes") / http::metric(&scrape, "flux_table_entries");
    Ok(Measures::from([
        ("bytes_per_metric".into(), table),
        (
            "process_bytes_per_metric".into(),
            (after.0 - before.0) / (after.1 - before.1),
        ),
    ]))
}

fn entries(target: &Target) -> Result<f64> {
    Ok(http::metric(&target.scrape()?, "flux_table_entries"))
}

/// So many metrics that were not there before, delivered and remembered.
fn push(target: &mut Target, metrics: usize, names_from: u64) -> Result<()> {
    let offer = |target: &Target| {
        let mut plan = Plan::new(target.port, target.form, target.timestamp);
        plan.new_names_from = Some(names_from);
        plan.requests_max = Some((metrics / POINTS) as u64);
        plan.seconds = SECONDS_MAX;
        generate(&plan)
    };
    measure_turn(target, POINTS as f64, offer).map(|_| ())
}

fn open(port: u16, count: usize) -> Result<Vec<TcpStream>> {
    let one = || -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /metric_data?status=true HTTP/1.1\r\nHost: load\r\n\r\n")?;
        // Whatever the answer is, one read has it.
        match stream.read(&mut [0; 4096])? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(stream),
        }
    };
    let all: std::io::Result<Vec<TcpStream>> = (0..count).map(|_| one()).collect();
    all.map_err(|error| format!("idle connections: {error}"))
}

fn allow_descriptors(connections: usize) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let needed = connections as u64 + 100;
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(format!("{needed} open files are needed: ulimit -Hn"));
    }
    limit.current = limit.current.map(|current| current.max(needed));
    setrlimit(Resource::Nofile, limit).map_err(|error| format!("open files: {error}"))
}
