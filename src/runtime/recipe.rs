//! What a start is made of: everything that can fail is done before an executor runs.

use super::connection::Deadlines;
use super::connections::Connections;
use super::control::Control;
use super::core::{self, CorePlan};
use super::dial::Target;
use super::journal::disk::{self, Disk};
use super::journal::files::Folder;
use super::journal::survey::{self, Found};
use super::mesh::{self, Ends};
use super::shard::Shard;
use super::store::Redis;
use super::sweep;
use super::{Error, clock, executor, file_link, link, listener, nudge, store};
use crate::api::{Api, PointLimits, auth::Keys};
use crate::budget::Budgets;
use crate::carbon::outbound::{self, Outbound};
use crate::config::{Config, LastStore, Protocol, RedisAt};
use crate::dedup::{Owner, lookup::Lookups, table::Table};
use crate::http::Limits;
use crate::journal::{Journal, commit};
use crate::last::embedded;
use crate::last::writer::Writer;
use crate::outputs::points_file::PointsFile;
use crate::pipeline::{Pipeline, Settings, Stages};
use crate::preflight::{Placement, Ready};
use crate::router::{Gathered, Group, NameHasher};
use crate::telemetry::Process;
use crate::telemetry::log::Logger;
use glommio::ExecutorJoinHandle;
use socket2::Socket;
use std::sync::Arc;

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
    pub embedded: Option<Arc<embedded::Store>>,
    api: Arc<Api>,
    budgets: Budgets,
    hasher: NameHasher,
    /// For each shard: its listeners, and its points file where there is no carbon.
    shards: Vec<Own>,
    found: Found,
    admin: std::net::TcpListener,
    logger: Logger,
    ends: Vec<Ends>,
}

/// What belongs to one shard alone.
struct Own {
    listeners: Vec<Socket>,
    points_file: Option<PointsFile>,
}

impl Recipe {
    pub fn prepare(config: &Config, ready: &Ready) -> Result<Recipe, Error> {
        let shards = ready.placement.shards.len();
        let logger = super::logger(config);
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|error| Error::Randomness(error.to_string()))?;
        let embedded = match config.last.store {
            LastStore::Embedded => Some(Arc::new(open_embedded(config, logger)?)),
            LastStore::Redis { .. } => None,
        };
        let hasher = NameHasher::new(key);
        let found = find(config, hasher, shards, logger)?;
        let listen_error = |address: String| move |cause| Error::Listen { address, cause };
        let admin = std::net::TcpListener::bind(config.admin.listen)
            .map_err(listen_error(config.admin.listen.to_string()))?;
        Ok(Recipe {
            control: Arc::default(),
            embedded,
            api: Arc::new(Api {
                keys: Keys::new(
                    config.keys.self_key.as_deref().unwrap_or_default(),
                    &config.keys.namespaces,
                ),
                limits: PointLimits::from(&config.points),
            }),
            budgets: Budgets::new(shards, config.budget_bytes(shards)),
            hasher,
            found,
            shards: (0..shards)
                .map(|shard| Own::prepare(config, shard))
                .collect::<Result<_, _>>()?,
            admin,
            logger,
            ends: mesh::ends(shards + 1),
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
        let populate_ends = self.ends.pop().expect("one for each member");
        let shards = self.shards.len();
        let mut tables = std::mem::take(&mut self.found.tables).into_iter();
        let own: Vec<_> = self.shards.drain(..).zip(self.ends.drain(..)).collect();
        for (index, (own, ends)) in own.into_iter().enumerate() {
            let plan = ShardPlan {
                index,
                shards,
                config: self.config.clone(),
                control: self.control.clone(),
                api: self.api.clone(),
                budgets: self.budgets.clone(),
                hasher: self.hasher,
                embedded: self.embedded.clone(),
                folder: self.found.folder.clone(),
                run: self.found.run,
                logger: self.logger,
            };
            let table = tables.next().expect("one for each shard");
            let name = format!("{SHARD}-{index}");
            let cpu = self.placement.shards[index];
            let body = move || serve(plan, table, own, ends);
            executors.push(
                executor::spawn(&name, cpu, body)
                    .map_err(|cause| Error::Executor { name, cause })?,
            );
        }
        let process = Process {
            version: env!("CARGO_PKG_VERSION"),
            started_at_seconds: clock::unix_seconds().into(),
            namespaces: self.api.keys.namespaces().to_vec(),
        };
        let plan = CorePlan {
            control: self.control,
            budgets: self.budgets,
            hasher: self.hasher,
            process,
            logger: self.logger,
            found: self.found,
            listener: self.admin,
        };
        let body = move || core::serve(plan, populate_ends);
        let cpu = self.placement.populate;
        executors.push(
            executor::spawn(POPULATE, cpu, body).map_err(|cause| Error::Executor {
                name: POPULATE.to_owned(),
                cause,
            })?,
        );
        Ok(executors)
    }
}

/// The bounds of the table are of all shards together.
fn entries_max(config: &Config, shards: usize) -> usize {
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

fn open_embedded(config: &Config, logger: Logger) -> Result<embedded::Store, Error> {
    let opened = embedded::Store::open(&config.data_dir.join("last.redb"))?;
    if let Some(aside) = opened.moved_aside {
        logger.error(format_args!(
            "the last store was damaged and is now {}; started with an empty one (costs repeats only)",
            aside.display()
        ));
    }
    Ok(opened.store)
}

impl Own {
    fn prepare(config: &Config, shard: usize) -> Result<Own, Error> {
        let mut listeners = Vec::new();
        for listen in &config.http.listen {
            // A Unix socket has one listener; TCP ones share their port.
            if shard > 0 && matches!(listen, crate::config::Listen::Unix(_)) {
                continue;
            }
            let socket = listener::bind(listen, config.http.backlog).map_err(|cause| {
                let address = format!("{listen:?}");
                Error::Listen { address, cause }
            })?;
            listeners.push(socket);
        }
        let points_file = match config.carbon.endpoint {
            Some(_) => None,
            None => {
                let path = config.data_dir.join("points.carbon");
                let file = PointsFile::open(&path, config.carbon.file_bytes_max);
                Some(file.map_err(|cause| Error::PointsFile {
                    path: path.display().to_string(),
                    cause,
                })?)
            }
        };
        Ok(Own {
            listeners,
            points_file,
        })
    }
}

struct ShardPlan {
    index: usize,
    shards: usize,
    config: Config,
    control: Arc<Control>,
    api: Arc<Api>,
    budgets: Budgets,
    hasher: NameHasher,
    embedded: Option<Arc<embedded::Store>>,
    folder: Folder,
    run: u64,
    logger: Logger,
}

impl ShardPlan {
    fn pipeline(&self, table: Table) -> Pipeline {
        let Config {
            http,
            points: _,
            last,
            carbon,
            ..
        } = &self.config;
        let protocol = match carbon.endpoint {
            Some(_) => carbon.protocol,
            None => Protocol::Line,
        };
        Pipeline::new(
            Settings {
                shard: self.index,
                shards: self.shards,
                pipeline_max: http.pipeline_max,
                request_deadline_ms: u64::from(http.request_deadline_ms),
                tick_ms: super::SWEEP.as_millis() as u64,
            },
            self.api.clone(),
            self.budgets.clone(),
            Stages {
                gathered: Gathered::new(self.hasher, self.index, self.shards),
                owner: Owner::new(
                    table,
                    last.check,
                    self.api.keys.namespaces().len(),
                    Lookups::new(u64::from(last.lookup_deadline_ms)),
                ),
                journal: self.journal(),
                outbound: Outbound::new(outbound::Limits {
                    protocol,
                    points_per_frame: carbon.points_per_frame,
                    frame_bytes_max: carbon.frame_bytes_max,
                    flush_interval_ms: u64::from(carbon.flush_interval_ms),
                    redo_window_ms: u64::from(carbon.redo_window_ms),
                    redo_bytes: carbon.redo_bytes,
                }),
                writer: Writer::new(entries_max(&self.config, self.shards)),
            },
        )
    }

    fn journal(&self) -> Journal<Group> {
        let journal = &self.config.journal;
        let limits = commit::Limits {
            segment_bytes: journal.segment_bytes,
            shard_bytes_max: journal.bytes_max / self.shards as u64,
        };
        // There are at most 128 shards.
        Journal::new(journal.durability, self.run, self.index as u16, limits)
    }

    fn redis(&self) -> Option<Redis> {
        match &self.config.last.store {
            LastStore::Embedded => None,
            LastStore::Redis {
                at,
                username,
                password,
                database,
            } => Some(Redis {
                target: match at {
                    RedisAt::Tcp(host, port) => Target::Tcp(host.clone(), *port),
                    RedisAt::Unix(path) => Target::Unix(path.clone()),
                },
                username: username.clone(),
                password: password.clone(),
                database: *database,
                layout: self.config.last.layout,
            }),
        }
    }
}

/// One shard's executor, from its first breath to its last.
async fn serve(plan: ShardPlan, table: Table, own: Own, ends: Ends) {
    let (mesh, receivers) = sweep::connect(ends).await;
    let (http, journal) = (&plan.config.http, plan.config.journal);
    let connections_max = (http.connections_max as usize).div_ceil(plan.shards);
    let shard = Shard::new(
        plan.index,
        plan.pipeline(table),
        mesh,
        plan.control.clone(),
        Connections::new(connections_max, http.buffered_bytes_max),
        Disk::new(
            plan.folder.clone(),
            journal.segment_bytes,
            journal.durability,
        ),
        plan.logger,
    );
    glommio::spawn_local(nudge::run(shard.clone())).detach();
    glommio::spawn_local(disk::write(shard.clone())).detach();
    glommio::spawn_local(disk::keep(shard.clone())).detach();
    for receiver in receivers {
        let task = sweep::receive(shard.clone(), receiver);
        glommio::spawn_local(task).detach();
    }
    match (&plan.config.carbon.endpoint, own.points_file) {
        (Some((host, port)), _) => {
            let target = Target::Tcp(host.clone(), *port);
            glommio::spawn_local(link::run(shard.clone(), target)).detach();
        }
        (None, Some(file)) => {
            glommio::spawn_local(file_link::run(shard.clone(), file)).detach();
        }
        (None, None) => unreachable!("prepared when there is no carbon"),
    }
    match (plan.redis(), &plan.embedded) {
        (Some(redis), _) => {
            glommio::spawn_local(store::run_redis(shard.clone(), redis)).detach();
        }
        (None, Some(embedded)) => {
            let task = store::run_embedded(shard.clone(), embedded.clone());
            glommio::spawn_local(task).detach();
        }
        (None, None) => unreachable!("opened when it is not Redis"),
    }
    let limits = Limits {
        head_bytes_max: http.head_bytes_max,
        body_bytes_max: http.body_bytes_max,
    };
    let deadlines = Deadlines {
        head_ms: u64::from(http.head_deadline_ms),
        request_ms: u64::from(http.request_deadline_ms),
        idle_ms: u64::from(http.idle_deadline_ms),
    };
    let accepting = own
        .listeners
        .into_iter()
        .map(|socket| glommio::spawn_local(listener::run(shard.clone(), socket, limits, deadlines)))
        .collect();
    drop(plan);
    shard.control.meet();
    sweep::run(&shard, accepting).await;
}
