//! What a start is made of: everything that can fail is done before an executor runs.

use super::control::Control;
use super::core::{self, CorePlan};
use super::executor::Pool;
use super::journal::files::Folder;
use super::journal::survey::{self, Found};
use super::listener::Speaks;
use super::mesh::{self, Mesh};
use super::own_series::OwnSeries;
use super::plan::{self, ShardPlan};
use super::populate::{JobsFile, PopulatePlan};
use super::quota_file::{self, QuotaFile};
use super::reload::{self, Live, Reloads};
use super::{Error, clock, executor, listener};
use crate::api::Api;
use crate::budget::Budgets;
use crate::config::{Config, LastStore, Listen};
use crate::dedup::table::Table;
use crate::last::embedded;
use crate::outputs::points_file::PointsFile;
use crate::populate::fetch::Fetcher;
use crate::populate::pace::Pace;
use crate::populate::{jobs, work};
use crate::preflight::{self, Activated, Inherited, Placement, Ready};
use crate::router::NameHasher;
use crate::telemetry::Process;
use crate::telemetry::log::Logger;
use glommio::ExecutorJoinHandle;
use socket2::Socket;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

/// The part of a shard's budget that the populate core has beside it: points of jobs on their way to carbon.
const BACKFILL_SHARE: usize = 4;
/// Bytes of the embedded store's filters for each metric of `last.entries_max`; 24 bits a mark, so they hold for a dozen
/// times as many. More than that is looked up, as everything is in Redis.
const FILTER_BYTES_PER_ENTRY: usize = 36;
/// Threads carry these names, with the shard's number.
const SHARD: &str = "shard";
const POPULATE: &str = "populate";

pub fn is_executor_name(name: &str) -> bool {
    name.starts_with(SHARD) || name.starts_with(POPULATE)
}

pub struct Recipe {
    config: Config,
    placement: Placement,
    pub control: Arc<Control>,
    embedded: Option<Arc<embedded::Store>>,
    pub api: Arc<Api>,
    budgets: Budgets,
    hasher: NameHasher,
    /// For each shard: its listeners, and its points file where there is no carbon.
    shards: Vec<Own>,
    found: Found,
    populate: PopulatePlan,
    core_points_file: Option<PointsFile>,
    admin: std::net::TcpListener,
    pub reloads: SyncSender<Arc<Live>>,
    inbox: Reloads,
    logger: Logger,
    mesh: Vec<Mesh>,
}

/// What belongs to one shard alone.
pub struct Own {
    pub listeners: Vec<(Socket, Speaks)>,
    pub points_file: Option<PointsFile>,
}

impl Recipe {
    pub fn prepare(config: &Config, ready: &Ready, logger: Logger) -> Result<Recipe, Error> {
        let shards = ready.placement.shards.len();
        let fetcher = Fetcher::new(&config.populate)?;
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Error::Randomness(error.to_string()))?;
        let hasher = NameHasher::new(key);
        let embedded = match config.last.store {
            LastStore::Embedded => Some(Arc::new(open_embedded(config, hasher, logger)?)),
            LastStore::Redis { .. } => None,
        };
        let found = find(config, hasher, shards, logger)?;
        let populate = populate(config, fetcher, hasher, shards, logger)?;
        let quotas = quota_file::load(config, logger);
        let listen_error = |address: String| move |cause| Error::Listen { address, cause };
        let admin = std::net::TcpListener::bind(config.admin.listen)
            .map_err(listen_error(config.admin.listen.to_string()))?;
        let (reloads, inbox) = reload::channel();
        Ok(Recipe {
            control: Arc::new(Control::new(shards + 1)),
            embedded,
            api: Arc::new(Api::of(config, quotas)),
            budgets: Budgets::new(shards, config.budget_bytes(shards)),
            hasher,
            found,
            populate,
            core_points_file: points_file(config)?,
            shards: (0..shards)
                .map(|shard| Own::prepare(config, &ready.activated, shard, shards))
                .collect::<Result<_, _>>()?,
            admin,
            reloads,
            inbox,
            logger,
            mesh: mesh::of(shards + 1).map_err(Error::Mesh)?,
            placement: ready.placement.clone(),
            config: config.clone(),
        })
    }

    /// The shards and the populate core.
    pub fn members(&self) -> usize {
        self.shards.len() + 1
    }

    pub fn spawn(mut self) -> Result<Vec<ExecutorJoinHandle<()>>, Error> {
        let mut executors = Vec::new();
        let populate_mesh = self.mesh.pop().expect("one for each member");
        let mut tables = std::mem::take(&mut self.found.tables).into_iter();
        let own: Vec<_> = self.shards.drain(..).zip(self.mesh.drain(..)).collect();
        let shards = own.len();
        for (index, (own, mesh)) in own.into_iter().enumerate() {
            let plan = self.plan(index, shards, self.budgets.clone());
            let table = tables.next().expect("one for each shard");
            let name = format!("{SHARD}-{index}");
            let cpu = self.placement.shards[index];
            let body = move || plan::serve(plan, table, own, mesh);
            let pool = Pool {
                cpus: &self.placement.blocking,
                more: 0,
            };
            executors.push(
                executor::spawn(&name, cpu, pool, body)
                    .map_err(|cause| Error::Executor { name, cause })?,
            );
        }
        let own_budget = Budgets::new(1, self.budgets.limit() / BACKFILL_SHARE);
        let plan = CorePlan {
            shard: self.plan(shards, shards, own_budget),
            points_file: self.core_points_file,
            budgets: self.budgets,
            hasher: self.hasher,
            process: Process {
                version: env!("CARGO_PKG_VERSION"),
                started_at_seconds: clock::unix_seconds().into(),
                namespaces: self.api.keys.namespaces().to_vec(),
                reloads: Default::default(),
                ready: false,
            },
            quotas: QuotaFile::new(&self.config, self.api, self.logger),
            found: self.found,
            populate: self.populate,
            own_series: OwnSeries::of(&self.config),
            listener: self.admin,
            reloads: self.inbox,
        };
        let body = move || core::serve(plan, populate_mesh);
        let pool = Pool {
            cpus: &[self.placement.populate],
            more: self.config.populate.concurrency,
        };
        executors.push(
            executor::spawn(POPULATE, self.placement.populate, pool, body).map_err(|cause| {
                Error::Executor {
                    name: POPULATE.to_owned(),
                    cause,
                }
            })?,
        );
        Ok(executors)
    }

    /// A shard's, or with the number behind the last one the populate core's.
    fn plan(&self, index: usize, shards: usize, budgets: Budgets) -> ShardPlan {
        ShardPlan {
            index,
            shards,
            config: self.config.clone(),
            control: self.control.clone(),
            api: self.api.clone(),
            budgets,
            hasher: self.hasher,
            embedded: self.embedded.clone(),
            folder: self.found.folder.clone(),
            run: self.found.run,
            logger: self.logger,
        }
    }
}

/// The jobs of an earlier run, and what carries jobs out.
fn populate(
    config: &Config,
    fetcher: Fetcher,
    hasher: NameHasher,
    shards: usize,
    logger: Logger,
) -> Result<PopulatePlan, Error> {
    let limits = jobs::Limits::from(&config.populate);
    let opened = JobsFile::open(&config.data_dir, config.journal.durability, limits);
    let (file, jobs, damage) = opened.map_err(|cause| Error::Jobs {
        path: config.data_dir.join("jobs").display().to_string(),
        cause,
    })?;
    if damage.records > 0 || damage.bytes > 0 {
        logger.error(format_args!(
            "jobs: {} records damaged and {} bytes unreadable; the other jobs go on",
            damage.records, damage.bytes
        ));
    }
    Ok(PopulatePlan {
        jobs,
        file,
        fetcher,
        options: work::Options::from(&config.populate),
        pace: Pace::new(config.populate.points_per_second_max),
        concurrency: config.populate.concurrency,
        hasher,
        shards,
    })
}

/// The bounds of the table are of all shards together.
pub fn entries_max(config: &Config, shards: usize) -> usize {
    config.last.entries_max.div_ceil(shards)
}

fn find(
    config: &Config,
    hasher: NameHasher,
    shards: usize,
    logger: Logger,
) -> Result<Found, Error> {
    let path = config.data_dir.join("journal");
    let failed = |cause| Error::Journal {
        path: path.display().to_string(),
        cause,
    };
    let folder = Folder::open(&config.data_dir).map_err(failed)?;
    let tables = (0..shards)
        .map(|_| Table::new(entries_max(config, shards)))
        .collect();
    survey::find(folder, clock::unix_ms(), hasher, tables, logger).map_err(failed)
}

fn open_embedded(
    config: &Config,
    hasher: NameHasher,
    logger: Logger,
) -> Result<embedded::Store, Error> {
    let path = config.data_dir.join("last.redb");
    let filter_bytes_max = config.last.entries_max * FILTER_BYTES_PER_ENTRY;
    let hash = Box::new(move |name: &[u8]| hasher.hash_bytes(name));
    let opened = embedded::Store::open(&path, hash, filter_bytes_max)?;
    if let Some(aside) = opened.moved_aside {
        logger.error(format_args!(
            "the last store was damaged and is now {}; started with an empty one (costs repeats only)",
            aside.display()
        ));
    }
    Ok(opened.store)
}

impl Own {
    fn prepare(
        config: &Config,
        activated: &Activated,
        shard: usize,
        shards: usize,
    ) -> Result<Own, Error> {
        let mut listeners = Vec::new();
        for (inherited, configured, speaks) in [
            (&activated.http, &config.http.listen, Speaks::Http),
            (&activated.line, &config.line.listen, Speaks::Line),
        ] {
            let failed = |listen: &Listen| {
                let address = format!("{listen:?}");
                move |cause| Error::Listen { address, cause }
            };
            for Inherited { listen, socket } in preflight::of_shard(inherited, shard, shards) {
                let socket = socket.try_clone().map_err(failed(listen))?;
                listeners.push((socket, speaks));
            }
            let ours = inherited.is_empty().then_some(configured);
            for listen in ours.into_iter().flatten() {
                // A Unix socket has one listener; TCP ones share their port.
                if shard > 0 && matches!(listen, Listen::Unix(_)) {
                    continue;
                }
                let socket = listener::bind(listen, config.http.backlog).map_err(failed(listen))?;
                listeners.push((socket, speaks));
            }
        }
        Ok(Own {
            listeners,
            points_file: points_file(config)?,
        })
    }
}

/// Where there is no carbon.
fn points_file(config: &Config) -> Result<Option<PointsFile>, Error> {
    if config.carbon.endpoint.is_some() {
        return Ok(None);
    }
    let path = config.data_dir.join("points.carbon");
    let file = PointsFile::open(&path, config.carbon.file_bytes_max);
    let file = file.map_err(|cause| Error::PointsFile {
        path: path.display().to_string(),
        cause,
    })?;
    Ok(Some(file))
}
