//! Runs experiments: in rounds, in which the targets take turns under the same load, because a machine drifts; and
//! medians of the rounds, because it is noisy.

mod cardinality;
mod memory;
mod rounds;
mod turn;
mod wrk;

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::experiment::{self, Experiment, Load};
use crate::results::{Machine, Outcome, Results};
use crate::{Result, report, target};

/// Points start so long ago: the window is an hour, and an experiment has the rest of it for its own length.
const BEGIN_SECONDS: u32 = 3_000;

#[derive(Args)]
pub struct Options {
    /// Names of files in loadtest/experiments, or the start of some; all short ones without one
    experiments: Vec<String>,
    /// Rounds, in place of the experiment's
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of a turn, in place of the experiment's
    #[arg(long)]
    seconds: Option<f64>,
}

pub fn run(options: &Options) -> Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        return Err("needs two CPUs, one for the server and one for the load".into());
    }
    let names = chosen(&options.experiments)?;
    let count = names.len();
    for (number, name) in names.iter().enumerate() {
        let mut experiment = experiment::load(name)?;
        experiment.rounds = options.rounds.unwrap_or(experiment.rounds);
        experiment.seconds = options.seconds.unwrap_or(experiment.seconds);
        experiment.targets.retain(|contender| {
            let there = target::installed(contender.program);
            if !there {
                eprintln!("load: {} is not installed and left out", contender.name);
            }
            there
        });
        let progress = format!("[{}/{count}] {name}", number + 1);
        eprintln!("load: {progress}: {}", experiment.title);
        let outcomes =
            measure(&experiment, &progress).map_err(|error| format!("{name}: {error}"))?;
        let results = Results {
            name: name.clone(),
            machine: machine(name),
            experiment,
            outcomes,
        };
        results.save()?;
    }
    report::write()
}

fn chosen(asked: &[String]) -> Result<Vec<String>> {
    let all = experiment::names()?;
    let mut chosen = Vec::new();
    for part in asked
        .iter()
        .flat_map(|text| text.split([',', ' ']))
        .filter(|part| !part.is_empty())
    {
        let exact: Vec<&String> = all.iter().filter(|name| *name == part).collect();
        let found = match exact.is_empty() {
            true => all.iter().filter(|name| name.starts_with(part)).collect(),
            false => exact,
        };
        if found.is_empty() {
            return Err(format!(
                "no experiment {part}; there are: {}",
                all.join(", ")
            ));
        }
        chosen.extend(found.into_iter().cloned());
    }
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let mut short = Vec::new();
    for name in all {
        let experiment = experiment::load(&name)?;
        if !experiment.long {
            short.push((experiment.place, name));
        }
    }
    short.sort();
    Ok(short.into_iter().map(|(_, name)| name).collect())
}

fn measure(experiment: &Experiment, progress: &str) -> Result<Vec<Outcome>> {
    match &experiment.load {
        Load::Wrk { .. } | Load::Generator { .. } => rounds::measure(experiment, progress),
        Load::Memory {
            metrics,
            connections,
        } => memory::measure(experiment, progress, *metrics, *connections),
        Load::Cardinality {
            probes_per_second,
            batches_per_second,
            points_per_batch,
        } => {
            let offer = cardinality::Offer {
                probes_per_second: *probes_per_second,
                batches_per_second: *batches_per_second,
                points_per_batch: *points_per_batch,
            };
            cardinality::measure(experiment, progress, offer)
        }
    }
}

pub fn first_timestamp() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() as u32) - BEGIN_SECONDS
}

/// What a command prints, on one line; nothing if there is no such command.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().to_owned()
}

fn machine(name: &str) -> Machine {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Machine {
        date: said("date", &["-u", "+%F %H:%M UTC"]),
        commit: said("git", &["rev-parse", "--short", "HEAD"]),
        kernel: said("uname", &["-sr"]),
        cpu: format!("{cpus} × {model}"),
        command: format!("make load EXPERIMENT={name}"),
    }
}
