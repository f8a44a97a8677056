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

    fn sorted(&self, measure: &str) -> Vec<f64> {
        let mut values: Vec<f64> = self
            .rounds
            .iter()
            .filter_map(|round| round.get(measure))
            .copied()
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }

    pub fn median(&self, measure: &str) -> Option<f64> {
        let values = self.sorted(measure);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    pub fn range(&self, measure: &str) -> Option<(f64, f64)> {
        let values = self.sorted(measure);
        Some((*values.first()?, *values.last()?))
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
