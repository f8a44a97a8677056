//! Known metrics at a constant rate, beside batches whose names all are new ones, far more than the table holds; and
//! the same beside batches of known metrics. What the flood of names does to the others is the difference.

use super::first_timestamp;
use super::turn::{Measures, generate, measure_watched, p99};
use crate::experiment::{Contender, Experiment};
use crate::generator::Plan;
use crate::results::Outcome;
use crate::target::Target;
use crate::{Result, http};

const PROBES: usize = 2_000;
/// Of the flood whose names are known.
const KNOWN: usize = 90_000;

/// What is offered, and at which rate.
#[derive(Clone, Copy)]
pub struct Offer {
    pub probes_per_second: f64,
    pub batches_per_second: f64,
    pub points_per_batch: usize,
}

struct Contest {
    target: Target,
    new_names: Option<u64>,
    outcome: Outcome,
}

pub fn measure(experiment: &Experiment, progress: &str, offer: Offer) -> Result<Vec<Outcome>> {
    let start = |contender: &Contender| {
        let target = Target::start(contender, first_timestamp())?;
        let mut contest = Contest {
            new_names: contender.new_names.then_some(0),
            outcome: Outcome::new(&contender.name),
            target,
        };
        eprintln!("load: {progress}: warming up {}", contender.name);
        contest.turn(1.0, offer)?;
        Ok(contest)
    };
    let mut contests = experiment
        .targets
        .iter()
        .map(start)
        .collect::<Result<Vec<Contest>>>()?;
    for round in 1..=experiment.rounds {
        for contest in &mut contests {
            let measures = contest.turn(experiment.seconds, offer)?;
            eprintln!(
                "load: {progress}: round {round} of {}, {}: {}, {:.0} metrics so far, {:.0} B of table, {:.0} MB of memory",
                experiment.rounds,
                contest.target.name,
                p99(&measures),
                measures["metrics_seen"],
                measures["table_bytes"],
                measures["resident_mb"],
            );
            contest.outcome.rounds.push(measures);
        }
    }
    Ok(contests
        .into_iter()
        .map(|contest| contest.outcome)
        .collect())
}

impl Contest {
    fn turn(&mut self, seconds: f64, offered: Offer) -> Result<Measures> {
        let mut flood = Plan::new(self.target.port, self.target.form, self.target.timestamp);
        (flood.seconds, flood.rate) = (seconds, offered.batches_per_second);
        flood.points = offered.points_per_batch;
        flood.bodies = KNOWN / offered.points_per_batch;
        flood.prefix = "load.flood".into();
        flood.new_names_from = self.new_names;
        flood.first = true;
        let mut probe = Plan::new(self.target.port, self.target.form, self.target.timestamp);
        (probe.seconds, probe.rate, probe.points, probe.bodies) =
            (seconds, offered.probes_per_second, 1, PROBES);
        (probe.first, probe.each) = (true, true);
        let mut flooded = None;
        let offer = |_: &Target| {
            std::thread::scope(|scope| {
                let flood = scope.spawn(|| generate(&flood));
                let probed = generate(&probe);
                flooded = Some(
                    flood
                        .join()
                        .map_err(|_| "the flood's thread panicked".to_owned())??,
                );
                let mut probed = probed?;
                // The turn's count is of both.
                let flooded = flooded
                    .as_ref()
                    .map_or((0, 0, 0), |it| (it.refused, it.errors, it.until));
                probed.refused += flooded.0;
                probed.errors += flooded.1;
                probed.until = probed.until.max(flooded.2);
                Ok(probed)
            })
        };
        let per_batch = offered.points_per_batch as f64;
        let (mut measures, _) = measure_watched(&mut self.target, per_batch, offer)?;
        let points = flooded.map_or(0, |it| it.requests * offered.points_per_batch as u64);
        if let Some(count) = &mut self.new_names {
            *count += points;
        }
        let scrape = self.target.scrape()?;
        let seen = self.new_names.unwrap_or(KNOWN as u64) + PROBES as u64;
        measures.insert("metrics_seen".into(), seen as f64);
        measures.insert(
            "table_bytes".into(),
            http::metric(&scrape, "flux_table_bytes"),
        );
        measures.insert(
            "evicted_total".into(),
            http::metric(&scrape, "flux_table_evicted_total"),
        );
        measures.insert(
            "resident_mb".into(),
            self.target.program.resident_bytes()? / 1e6,
        );
        Ok(measures)
    }
}
