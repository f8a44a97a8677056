//! Turns under wrk or our generator: each target is warmed up, then all take turns, round by round.

use super::first_timestamp;
use super::turn::{generate, measure as measure_turn, measure_watched, p99};
use super::wrk::Wrk;
use crate::Result;
use crate::experiment::{Experiment, Load};
use crate::generator::{Offered, Plan};
use crate::results::Outcome;
use crate::target::Target;

/// Long enough for every metric of the load to have been looked up and become a known one.
const WARM_UP_SECONDS: f64 = 1.0;

pub fn measure(experiment: &Experiment, progress: &str) -> Result<Vec<Outcome>> {
    let first = first_timestamp();
    let load = Source::new(&experiment.load, first)?;
    let mut targets = Vec::new();
    let mut rate = 0.0;
    for contender in &experiment.targets {
        eprintln!("load: {progress}: warming up {}", contender.name);
        let mut target = Target::start(contender, first)?;
        let offer = |target: &Target| load.offer(target, WARM_UP_SECONDS, 0.0);
        measure_turn(&mut target, load.points(), offer)?;
        if let (Some(share), true) = (load.rate_share(), targets.is_empty()) {
            let wrk = Wrk::new("single.lua", 32, first)?;
            let (reached, _) =
                measure_turn(&mut target, load.points(), |target| wrk.run(target, 3.0))?;
            rate = share * reached["requests_per_second"];
            eprintln!("load: {progress}: {rate:.0} requests a second for all");
        }
        targets.push(target);
    }
    let mut outcomes: Vec<Outcome> = targets
        .iter()
        .map(|target| Outcome::new(&target.name))
        .collect();
    for round in 1..=experiment.rounds {
        for (target, outcome) in targets.iter_mut().zip(&mut outcomes) {
            let offer = |target: &Target| load.offer(target, experiment.seconds, rate);
            let (measures, offered) = match load.rate_share() {
                Some(_) => measure_watched(target, load.points(), offer)?,
                None => measure_turn(target, load.points(), offer)?,
            };
            eprintln!(
                "load: {progress}: round {round} of {}, {}: {:.2} µs CPU a request, {}",
                experiment.rounds,
                target.name,
                measures["cpu_us_per_request"],
                p99(&measures),
            );
            outcome.rounds.push(measures);
            for (value, count) in offered.micros {
                *outcome.micros.entry(value).or_default() += count;
            }
        }
    }
    Ok(outcomes)
}

enum Source {
    Wrk(Wrk, f64),
    Generator {
        connections: usize,
        points: usize,
        bodies: usize,
        rate_share: Option<f64>,
    },
}

impl Source {
    fn new(load: &Load, first_timestamp: u32) -> Result<Source> {
        match load {
            Load::Wrk {
                script,
                connections,
                points,
            } => Ok(Source::Wrk(
                Wrk::new(script, *connections, first_timestamp)?,
                *points,
            )),
            Load::Generator {
                connections,
                points,
                bodies,
                rate_share,
            } => Ok(Source::Generator {
                connections: *connections,
                points: *points,
                bodies: *bodies,
                rate_share: *rate_share,
            }),
            other => Err(format!("not a load of rounds: {other:?}")),
        }
    }

    fn rate_share(&self) -> Option<f64> {
        match self {
            Source::Wrk(..) => None,
            Source::Generator { rate_share, .. } => *rate_share,
        }
    }

    fn points(&self) -> f64 {
        match self {
            Source::Wrk(_, points) => *points,
            Source::Generator { points, .. } => *points as f64,
        }
    }

    fn offer(&self, target: &Target, seconds: f64, rate: f64) -> Result<Offered> {
        match self {
            Source::Wrk(wrk, _) => wrk.run(target, seconds),
            Source::Generator {
                connections,
                points,
                bodies,
                ..
            } => {
                let mut plan = Plan::new(target.port, target.form, target.timestamp);
                plan.connections = *connections;
                plan.points = *points;
                plan.bodies = *bodies;
                (plan.seconds, plan.rate) = (seconds, rate);
                (plan.first, plan.each) = (rate > 0.0, rate > 0.0);
                generate(&plan)
            }
        }
    }
}
