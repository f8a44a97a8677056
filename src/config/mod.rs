//! Typed sections with their defaults. A file is read by [`load`], which finds every problem at once;
//! what is here is already valid.
//!
//! Names carry their unit last. Every field is documented in [`catalog`], from where `flux config`
//! prints it.

mod capacity;
mod catalog;
mod check;
pub mod endpoint;
mod file;
pub mod key;
mod line;
mod load;
mod outputs;
pub mod populate;
mod problem;
mod reader;
mod reload;
mod render;
mod setting;
mod skyline;

pub use capacity::budget_bytes_max;
pub use catalog::paths;
pub use load::{Overrides, load};
pub use problem::{Problem, Problems};
pub use reload::{LIVE, Reloaded, reload};
pub use render::{even_unit, render};
pub use skyline::from_skyline;

pub use crate::telemetry::log::{Format as LogFormat, Level};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub data_dir: PathBuf,
    pub http: Http,
    pub line: Line,
    pub keys: Keys,
    pub points: Points,
    pub last: Last,
    pub carbon: Carbon,
    pub statsd: Statsd,
    pub skyline: Skyline,
    pub journal: Journal,
    pub populate: Populate,
    pub cpu: Cpu,
    pub admin: Admin,
    pub telemetry: Telemetry,
    pub log: Log,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    pub listen: Vec<Listen>,
    pub backlog: u32,
    pub connections_max: u32,
    pub pipeline_max: u32,
    pub head_bytes_max: usize,
    pub body_bytes_max: usize,
    /// Once its content encoding is undone.
    pub inflated_bytes_max: usize,
    /// Of each shard: what is kept of requests that are not whole yet.
    pub buffered_bytes_max: usize,
    pub head_deadline_ms: u32,
    pub request_deadline_ms: u32,
    pub idle_deadline_ms: u32,
    pub drain_deadline_ms: u32,
    pub drain_idle_ms: u32,
}

/// Carbon's line protocol, in.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// None: off.
    pub listen: Vec<Listen>,
    pub namespace: String,
    pub line_bytes_max: usize,
    pub idle_deadline_ms: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Clone, PartialEq)]
pub struct Keys {
    /// `None` until the key file under the data directory was read or made.
    pub self_key: Option<String>,
    pub self_file: Option<PathBuf>,
    /// Key → namespace prefix ("" = none).
    pub namespaces: BTreeMap<String, String>,
    /// Namespace prefix → how many distinct metrics it may have.
    pub quotas: BTreeMap<String, usize>,
}

/// Keys never reach a log, not even through `{:?}`.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} namespaces, hidden)", self.namespaces.len())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    pub age_seconds_max: u32,
    pub future_seconds_max: u32,
    pub points_per_request_max: usize,
    /// Of each owner shard: points accepted and not yet delivered, or on their way to it.
    pub in_flight_bytes_max: usize,
    pub whisper_path: PathBuf,
    /// Posted names that are taken without complaint and not kept, and the exceptions.
    pub skip: Vec<String>,
    pub do_not_skip: Vec<String>,
    pub telegraf_sanitise: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Last {
    pub store: LastStore,
    pub check: bool,
    pub layout: Layout,
    /// All shards together.
    pub entries_max: usize,
    pub lookup_deadline_ms: u32,
}

#[derive(Clone, PartialEq)]
pub enum LastStore {
    Embedded,
    Redis {
        at: RedisAt,
        username: Option<String>,
        password: Option<String>,
        database: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum RedisAt {
    /// Host and port; resolved off the shards, on every connection.
    Tcp(String, u16),
    Unix(PathBuf),
}

impl std::fmt::Debug for LastStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LastStore::Embedded => f.write_str("Embedded"),
            LastStore::Redis { at, database, .. } => write!(f, "Redis({at:?}/{database})"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    String,
    Hash,
    Both,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Carbon {
    /// Host and port; `None`: points go to `DATA/points.carbon`.
    pub endpoint: Option<(String, u16)>,
    pub protocol: Protocol,
    pub points_per_frame: usize,
    pub frame_bytes_max: usize,
    pub flush_interval_ms: u32,
    pub redo_window_ms: u32,
    pub redo_bytes: usize,
    pub file_bytes_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Pickle,
    Line,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Statsd {
    /// Host and port; `None`: no statsd.
    pub endpoint: Option<(String, u16)>,
    pub datagram_bytes_max: usize,
}

/// What is kept in Redis for Skyline's other programs, beside marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skyline {
    pub metrics_sent: bool,
    pub filled_metrics: bool,
    pub full_duration_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Journal {
    pub durability: Durability,
    /// All shards together, and what earlier runs have left.
    pub bytes_max: u64,
    pub segment_bytes: u64,
}

/// What a 204 promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Queued. Nothing is journalled until an orderly stop asks for it.
    Memory,
    /// Written to the segment: survives the process.
    Journal,
    /// And `fdatasync` returned: survives the machine.
    Fsync,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Populate {
    /// Graphite's render API, without a slash at its end.
    pub graphite: Option<String>,
    pub concurrency: usize,
    pub connect_timeout_ms: u32,
    pub read_timeout_ms: u32,
    pub total_timeout_ms: u32,
    pub response_bytes_max: usize,
    pub ca_file: Option<PathBuf>,
    pub jobs_max: usize,
    pub submit_current_minute: bool,
    pub resample_seconds: u32,
    pub points_per_second_max: u32,
    /// Empty: any host.
    pub allowed_hosts: Vec<populate::AllowedHost>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// `None`: as many as there are CPUs for them, at most 8.
    pub shards: Option<u32>,
    pub populate_core: PopulateCore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopulateCore {
    /// A core of its own from three CPUs up; below that it shares the last one.
    Auto,
    Cpu(u32),
    Shared,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    pub to_carbon: bool,
    /// `None`: the kernel's; "": none.
    pub host_name: Option<String>,
    pub interval_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

/// SKIP_LIST's default: what Skyline says about itself, and should not analyse.
const SKIP: [&str; 4] = [
    "skyline.analyzer.",
    "skyline.boundary.",
    "skyline.ionosphere.",
    "skyline.mirage.",
];

/// DO_NOT_SKIP_LIST's default: Skyline's key indicators.
const DO_NOT_SKIP: [&str; 16] = [
    "skyline.analyzer.run_time",
    "skyline.boundary.run_time",
    "skyline.analyzer.ionosphere_metrics",
    "skyline.analyzer.mirage_metrics",
    "skyline.analyzer.total_analyzed",
    "skyline.analyzer.total_anomalies",
    "skyline.analyzer.anomalous",
    "skyline.analyzer.metrics_sparsity",
    "skyline.exceptions",
    "skyline.mirage.checks",
    "skyline.logged_errors",
    "skyline.mirage.run_time",
    "skyline.ionosphere.features_calculation_time",
    "skyline.analyzer.labelled_metrics.anomalous",
    "skyline.analyzer.labelled_metrics.checked",
    "skyline.horizon.prometheus.flux_received",
];

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: "./flux-data".into(),
            http: Http {
                listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000)))],
                backlog: 1024,
                connections_max: 10_000,
                pipeline_max: 64,
                head_bytes_max: 16 * 1024,
                body_bytes_max: 4 * 1024 * 1024,
                inflated_bytes_max: 8 * 1024 * 1024,
                buffered_bytes_max: 256 * 1024 * 1024,
                head_deadline_ms: 10_000,
                request_deadline_ms: 30_000,
                idle_deadline_ms: 75_000,
                drain_deadline_ms: 10_000,
                drain_idle_ms: 1_000,
            },
            line: Line::default(),
            keys: Keys {
                self_key: None,
                self_file: None,
                namespaces: BTreeMap::new(),
                quotas: BTreeMap::new(),
            },
            points: Points {
                age_seconds_max: 3600,
                future_seconds_max: 60,
                points_per_request_max: 50_000,
                in_flight_bytes_max: 384 * 1024 * 1024,
                whisper_path: "/opt/graphite/storage/whisper".into(),
                skip: SKIP.map(str::to_owned).to_vec(),
                do_not_skip: DO_NOT_SKIP.map(str::to_owned).to_vec(),
                telegraf_sanitise: false,
            },
            last: Last {
                store: LastStore::Embedded,
                check: true,
                layout: Layout::String,
                entries_max: 4_000_000,
                lookup_deadline_ms: 50,
            },
            carbon: Carbon::default(),
            statsd: Statsd::default(),
            skyline: Skyline::default(),
            journal: Journal {
                durability: Durability::Journal,
                bytes_max: 4 * 1024 * 1024 * 1024,
                segment_bytes: 16 * 1024 * 1024,
            },
            populate: Populate::default(),
            cpu: Cpu {
                shards: None,
                populate_core: PopulateCore::Auto,
            },
            admin: Admin {
                listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
            },
            telemetry: Telemetry::default(),
            log: Log {
                level: Level::Info,
                format: LogFormat::Text,
            },
        }
    }
}

impl Default for Carbon {
    fn default() -> Self {
        Carbon {
            endpoint: None,
            protocol: Protocol::Pickle,
            points_per_frame: 480,
            frame_bytes_max: 256 * 1024,
            flush_interval_ms: 10,
            redo_window_ms: 1000,
            redo_bytes: 4 * 1024 * 1024,
            file_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

impl Default for Statsd {
    fn default() -> Self {
        Statsd {
            endpoint: None,
            datagram_bytes_max: 1432,
        }
    }
}

impl Default for Skyline {
    fn default() -> Self {
        Skyline {
            metrics_sent: false,
            filled_metrics: false,
            full_duration_seconds: 86_400,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry {
            to_carbon: true,
            host_name: None,
            interval_seconds: 60,
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Line {
            listen: Vec::new(),
            namespace: String::new(),
            line_bytes_max: 8192,
            idle_deadline_ms: 3_600_000,
        }
    }
}

impl Default for Populate {
    fn default() -> Self {
        Populate {
            graphite: None,
            concurrency: 4,
            connect_timeout_ms: 5_000,
            read_timeout_ms: 10_000,
            total_timeout_ms: 120_000,
            response_bytes_max: 64 * 1024 * 1024,
            ca_file: None,
            jobs_max: 10_000,
            submit_current_minute: false,
            resample_seconds: 60,
            points_per_second_max: 100_000,
            allowed_hosts: Vec::new(),
        }
    }
}
