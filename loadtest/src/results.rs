//! What was measured, kept in a file for each experiment, so that several runs make one report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::experiment::Experiment;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    pub name: String,
    pub experiment: Experiment,
    pub machine: Machine,
    pub outcomes: Vec<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub commit: String,
    pub kernel: String,
    pub cpu: String,
    pub command: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub target: String,
    pub rounds: Vec<BTreeMap<String, f64>>,
    /// How many answers took how many µs, all rounds together.
    pub micros: BTreeMap<u64, u64>,
}

impl Outcome {
    pub fn new(target: &str) -> Outcome {
        Outcome {
            target: target.to_owned(),
            rounds: Vec::new(),
            micros: BTreeMap::new(),
        }
    }

    fn values(&self, measure: &str) -> Vec<f64> {
        let rounds = self.rounds.iter();
        rounds
            .filter_map(|round| round.get(measure).copied())
            .collect()
    }

    pub fn median(&self, measure: &str) -> Option<f64> {
        Some(Spread::of(self.values(measure))?.median)
    }

    pub fn range(&self, measure: &str) -> Option<(f64, f64)> {
        let spread = Spread::of(self.values(measure))?;
        Some((spread.low, spread.high))
    }

    /// To another target's, round by round: what drifts between rounds is in both sides of each ratio.
    pub fn ratio(&self, other: &Outcome, measure: &str) -> Option<Spread> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratios =
            rounds.filter_map(|(own, other)| Some(own.get(measure)? / other.get(measure)?));
        Spread::of(ratios.collect())
    }
}

/// What rounds came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Spread {
            low: *values.first()?,
            median,
            high: *values.last()?,
        })
    }
}

/// The value below which this share of the answers were, in µs.
pub fn quantile(micros: &BTreeMap<u64, u64>, share: f64) -> f64 {
    let total: u64 = micros.values().sum();
    let mut left = (share * total as f64).ceil() as u64;
    for (value, count) in micros {
        if *count >= left {
            return *value as f64;
        }
        left -= count;
    }
    0.0
}

impl Results {
    pub fn outcome(&self, target: &str) -> Option<&Outcome> {
        self.outcomes
            .iter()
            .find(|outcome| outcome.target == target)
    }

    pub fn save(&self) -> Result<()> {
        let path = folder().join(format!("{}.json", self.name));
        std::fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// `target/load`, or beside wherever cargo builds.
pub fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target");
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or(root, PathBuf::from)
        .join("load")
}

pub fn all(folder: &Path) -> Result<Vec<Results>> {
    let read =
        std::fs::read_dir(folder).map_err(|_| "nothing was measured yet: make load".to_owned())?;
    let mut all = Vec::new();
    for path in read.flatten().map(|entry| entry.path()) {
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
            let results: Results = serde_json::from_str(&text).map_err(|error| {
                format!("{}: {error}; delete it and measure again", path.display())
            })?;
            all.push(results);
        }
    }
    all.sort_by_key(|results| results.experiment.place);
    Ok(all)
}
