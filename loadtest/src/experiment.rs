//! What a file in `experiments/` may say: a load, the targets that take turns under it, and what the numbers are
//! held against.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    pub title: String,
    /// Where it stands in the order of runs and reports.
    pub place: u32,
    /// Only when it is asked for by name.
    #[serde(default)]
    pub long: bool,
    /// What the load is, in a sentence or two.
    pub about: String,
    pub load: Load,
    /// Seconds of one turn.
    pub seconds: f64,
    pub rounds: usize,
    pub targets: Vec<Contender>,
    #[serde(default)]
    pub rows: Vec<Row>,
    /// What the page draws of it.
    #[serde(default)]
    pub charts: Vec<Chart>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Load {
    /// A script in `wrk/`, in a closed loop.
    Wrk {
        script: String,
        connections: usize,
        /// Of one request, on average.
        points: f64,
    },
    /// Our generator: in a closed loop, or at a share of the rate that wrk reaches with the first target in one.
    Generator {
        connections: usize,
        points: usize,
        bodies: usize,
        #[serde(default)]
        rate_share: Option<f64>,
    },
    /// What stays in memory: of each metric, and of each idle connection.
    Memory { metrics: usize, connections: usize },
    /// Known metrics at a constant rate, beside a stream of batches whose names are all new, or known too.
    Cardinality {
        probes_per_second: f64,
        batches_per_second: f64,
        points_per_batch: usize,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contender {
    pub name: String,
    pub program: Kind,
    /// Keys of flux's configuration, as TOML; all others keep their defaults.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Cardinality: names are new ones.
    #[serde(default)]
    pub new_names: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Flux,
    Nginx,
    Victoria,
}

/// One line of the table of targets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub label: String,
    pub measure: String,
    pub of: String,
    /// The value is a ratio to this target's.
    #[serde(default)]
    pub against: Option<String>,
    #[serde(default)]
    pub at_most: Option<f64>,
    #[serde(default)]
    pub aim: Option<f64>,
    #[serde(default)]
    pub unit: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Chart {
    /// A bar for each target.
    Bars { measure: String, unit: String },
    /// Latency over its percentiles, a line for each target.
    Latency,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")
}

/// All names there are, sorted.
pub fn names() -> Result<Vec<String>> {
    let read = std::fs::read_dir(folder()).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = read
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

pub fn load(name: &str) -> Result<Experiment> {
    let path = folder().join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "{}: {error}; there are: {}",
            path.display(),
            names().unwrap_or_default().join(", ")
        )
    })?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
