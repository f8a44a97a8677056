//! What one executor is made of: a shard, or the populate core, which is a shard without listeners and
//! without metrics of its own.

use super::connections::Connections;
use super::control::Control;
use super::dial::Target;
use super::journal::disk::{self, Disk};
use super::journal::files::Folder;
use super::mesh::{Mesh, Rest};
use super::neighbours::Neighbours;
use super::recipe::{Own, entries_max};
use super::ring::{self, Ring};
use super::shard::Shard;
use super::store::Redis;
use super::{file_link, link, listener, mail, nudge, socket, statsd, store, sweep};
use crate::api::Api;
use crate::budget::Budgets;
use crate::carbon::outbound::{self, Outbound};
use crate::config::{Config, Durability, LastStore, Protocol, RedisAt};
use crate::dedup::{Owner, lookup::Lookups, table::Table};
use crate::journal::{Journal, commit};
use crate::last::embedded;
use crate::last::writer::Writer;
use crate::outputs::beside::Beside;
use crate::outputs::distinct::Distinct;
use crate::outputs::names::Names;
use crate::outputs::points_file::PointsFile;
use crate::outputs::statsd::Datagrams;
use crate::pipeline::{Pipeline, Settings, Stages};
use crate::populate::address::Hosts;
use crate::router::{Gathered, Group, NameHasher};
use crate::telemetry::log::Logger;
use std::rc::Rc;
use std::sync::Arc;

pub struct ShardPlan {
    pub index: usize,
    pub shards: usize,
    pub config: Config,
    pub control: Arc<Control>,
    pub api: Arc<Api>,
    pub budgets: Budgets,
    pub hasher: NameHasher,
    pub embedded: Option<Arc<embedded::Store>>,
    pub folder: Folder,
    pub run: u64,
    pub logger: Logger,
}

impl ShardPlan {
    /// The populate core is a member of the mesh like a shard, and no metric's owner.
    fn is_core(&self) -> bool {
        self.index == self.shards
    }

    fn pipeline(&self, table: Table) -> Pipeline {
        let Config {
            http, last, carbon, ..
        } = &self.config;
        // The core's budget is its own, and it stands alone in it.
        let (shard, shards) = match self.is_core() {
            true => (0, 1),
            false => (self.index, self.shards),
        };
        let protocol = match carbon.endpoint {
            Some(_) => carbon.protocol,
            None => Protocol::Line,
        };
        let mut pipeline = Pipeline::new(
            Settings {
                shard,
                shards,
                pipeline_max: http.pipeline_max,
                request_deadline_ms: u64::from(http.request_deadline_ms),
                hosts: Hosts(self.config.populate.allowed_hosts.clone()),
                tick_ms: super::SWEEP.as_millis() as u64,
            },
            self.api.clone(),
            self.budgets.clone(),
            Stages {
                gathered: Gathered::new(self.hasher, shard, shards),
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
        );
        if !self.is_core() {
            pipeline.beside = self.beside();
        }
        pipeline
    }

    /// What is told of accepted points; the populate core accepts none itself.
    fn beside(&self) -> Beside {
        let Config {
            statsd,
            skyline,
            telemetry,
            carbon,
            ..
        } = &self.config;
        let names = || Names::new(entries_max(&self.config, self.shards));
        let datagrams = || Datagrams::new(statsd.datagram_bytes_max);
        let distinct = || Distinct::new(telemetry.interval_seconds);
        Beside {
            statsd: statsd.endpoint.is_some().then(datagrams),
            distinct: (telemetry.to_carbon && carbon.endpoint.is_some()).then(distinct),
            sent: skyline.metrics_sent.then(names),
            filled: skyline.filled_metrics.then(names),
        }
    }

    fn journal(&self) -> Journal<Group> {
        let journal = &self.config.journal;
        let limits = commit::Limits {
            segment_bytes: journal.segment_bytes,
            shard_bytes_max: journal.bytes_max / self.shards as u64,
        };
        // A job is durable itself: what of its points is lost in a crash is fetched again.
        let durability = match self.is_core() {
            true => Durability::Memory,
            false => journal.durability,
        };
        // There are at most 128 shards.
        Journal::new(durability, self.run, self.index as u16, limits)
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
                skyline: self.config.skyline,
            }),
        }
    }
}

impl ShardPlan {
    pub fn shard(&self, table: Table, mesh: Rc<Mesh>) -> Rc<Shard> {
        let Config {
            http,
            line,
            journal,
            ..
        } = &self.config;
        let connections_max = (http.connections_max as usize).div_ceil(self.shards);
        Shard::new(
            self.index,
            self.pipeline(table),
            mesh,
            self.control.clone(),
            Connections::new(connections_max, http, line),
            Disk::new(
                self.folder.clone(),
                journal.segment_bytes,
                journal.durability,
            ),
            self.logger,
        )
    }

    /// Starts what carries its frames away.
    pub fn spawn_link(&self, shard: &Rc<Shard>, points_file: Option<PointsFile>) {
        match (&self.config.carbon.endpoint, points_file) {
            (Some((host, port)), _) => {
                let target = Target::Tcp(host.clone(), *port);
                glommio::spawn_local(link::run(shard.clone(), target)).detach();
            }
            (None, Some(file)) => {
                glommio::spawn_local(file_link::run(shard.clone(), file)).detach();
            }
            (None, None) => unreachable!("prepared when there is no carbon"),
        }
    }
}

/// One shard's executor, from its first breath to its last.
pub async fn serve(plan: ShardPlan, table: Table, own: Own, mesh: Mesh) {
    let shard = plan.shard(table, Rc::new(mesh));
    sweep::guard(&shard);
    glommio::spawn_local(nudge::run(shard.clone())).detach();
    glommio::spawn_local(disk::write(shard.clone())).detach();
    glommio::spawn_local(disk::keep(shard.clone())).detach();
    plan.spawn_link(&shard, own.points_file);
    if let Some((host, port)) = &plan.config.statsd.endpoint {
        statsd::spawn(&shard, host, *port);
    }
    match (plan.redis(), &plan.embedded) {
        (Some(redis), _) => {
            glommio::spawn_local(store::run_redis(shard.clone(), redis)).detach();
        }
        (None, Some(embedded)) => {
            shard.turn(|pipeline, _| pipeline.store_knows(embedded.known()));
            let task = store::run_embedded(shard.clone(), embedded.clone());
            glommio::spawn_local(task).detach();
        }
        (None, None) => unreachable!("opened when it is not Redis"),
    }
    let ring = drive(&shard);
    let mut accepting = Vec::new();
    for (socket, speaks) in own.listeners {
        match socket::Listener::new(socket, ring.clone()) {
            Ok(listener) => {
                let task = listener::run(shard.clone(), listener, speaks);
                accepting.push(glommio::spawn_local(task));
            }
            Err(error) => shard.logger.error(format_args!("cannot listen: {error}")),
        }
    }
    drop(plan);
    shard.control.meet();
    sweep::run(&shard, accepting).await;
}

/// A ring of our own for the clients' sockets, where the kernel has what it needs. Whoever drives takes what other
/// executors send.
fn drive(shard: &Rc<Shard>) -> Option<Rc<Ring>> {
    let (buffered, door) = (shard.connections.buffered.clone(), shard.driver.clone());
    let bells = [Rest::Asleep, Rest::Dozing].map(|rest| shard.mesh.bell(rest).clone());
    match Ring::new(buffered, door, bells) {
        Ok(ring) => {
            let task = ring::run(ring.clone(), Some(Neighbours::of(shard)));
            glommio::spawn_local(task).detach();
            Some(ring)
        }
        Err(error) => {
            shard.logger.info(format_args!(
                "{}: clients are served by readiness polls: this kernel has no ring for them ({error})",
                shard.name()
            ));
            let open = {
                let shard = shard.clone();
                move |parcel| mail::open(&shard, parcel)
            };
            glommio::spawn_local(mail::receive(shard.clone(), open)).detach();
            None
        }
    }
}
