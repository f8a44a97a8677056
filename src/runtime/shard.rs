//! One shard on its executor: the pipeline, and the doors through which its tasks reach it.

use super::clock::Clock;
use super::connections::Connections;
use super::control::Control;
use super::doorbell::Doorbell;
use super::health::Health;
use super::journal::disk::Disk;
use super::lull::Lull;
use super::mesh::{Mesh, Parcel};
use super::nudge::Owed;
use super::reload::Live;
use crate::pipeline::{Now, Pipeline};
use crate::telemetry::Snapshot;
use crate::telemetry::log::Logger;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Bytes one read takes at the most. One buffer serves all connections of the shard: what is not a
/// whole message yet is copied to its connection, so an idle connection holds none.
const READ_BUFFER_BYTES: usize = 256 * 1024;

pub struct Shard {
    pub index: usize,
    pub pipeline: RefCell<Pipeline>,
    pub mesh: Rc<Mesh>,
    pub owed: Owed,
    pub clock: Clock,
    pub connections: Connections,
    pub buffer: RefCell<Box<[u8]>>,
    pub control: Arc<Control>,
    /// Between two sweeps, where nothing is under way.
    pub lull: Lull,
    /// The task that takes what other executors send, and drives the clients' sockets.
    pub driver: Rc<Doorbell>,
    /// The tasks that drive carbon and the last store.
    pub link: Doorbell,
    pub store: Doorbell,
    /// Likewise statsd.
    pub statsd: Doorbell,
    pub statsd_errors: Cell<u64>,
    pub disk: Disk,
    pub carbon: Health,
    pub last: Health,
    pub heartbeat_due: Cell<bool>,
    pub accept_errors: Cell<u64>,
    /// The service stops, and no job leaves a mark any more.
    pub left: Cell<bool>,
    pub logger: Logger,
}

impl Shard {
    pub fn new(
        index: usize,
        pipeline: Pipeline,
        mesh: Rc<Mesh>,
        control: Arc<Control>,
        connections: Connections,
        disk: Disk,
        logger: Logger,
    ) -> Rc<Shard> {
        Rc::new(Shard {
            index,
            pipeline: RefCell::new(pipeline),
            owed: Owed::new(mesh.members()),
            mesh,
            clock: Clock::default(),
            connections,
            buffer: RefCell::new(vec![0; READ_BUFFER_BYTES].into()),
            control,
            lull: Lull::default(),
            driver: Rc::default(),
            link: Doorbell::default(),
            store: Doorbell::default(),
            statsd: Doorbell::default(),
            statsd_errors: Cell::new(0),
            disk,
            carbon: Health::new("carbon"),
            last: Health::new("the last store"),
            heartbeat_due: Cell::new(false),
            accept_errors: Cell::new(0),
            left: Cell::new(false),
            logger,
        })
    }

    /// For the log.
    pub fn name(&self) -> String {
        match self.index + 1 == self.mesh.members() {
            true => "populate core".to_owned(),
            false => format!("shard {}", self.index),
        }
    }

    /// One turn of the pipeline: runs `step`, then carries out what came of it.
    pub fn turn<T>(&self, step: impl FnOnce(&mut Pipeline, Now) -> T) -> T {
        let now = self.clock.now();
        let mut pipeline = self.pipeline.borrow_mut();
        let result = step(&mut pipeline, now);
        self.carry_out(&mut pipeline);
        result
    }

    fn carry_out(&self, pipeline: &mut Pipeline) {
        let effects = &mut pipeline.effects;
        for (owner, group) in effects.groups.drain(..) {
            self.owed.sent(owner);
            self.mesh.send(owner, Parcel::Group(group));
        }
        for (reader, reply) in effects.replies.drain(..) {
            self.mesh.send(reader, Parcel::Reply(reply));
        }
        let core = self.mesh.members() - 1;
        for posted in effects.jobs.drain(..) {
            let from = self.index;
            self.mesh.send(core, Parcel::Job { from, posted });
        }
        for message in effects.to_core.drain(..) {
            self.mesh.send(core, Parcel::ToCore(message));
        }
        for connection in effects.wake.drain(..) {
            self.connections.wake(connection);
        }
        if std::mem::take(&mut effects.heartbeat) {
            self.heartbeat_due.set(true);
            self.store.ring();
        }
        if pipeline.outbound.has_full_frame() {
            self.link.ring();
        }
        if pipeline.wants_store() || pipeline.has_extras() {
            self.store.ring();
        }
        if pipeline.beside.wants_statsd() {
            self.statsd.ring();
        }
        if pipeline.journal.is_due() {
            self.disk.written.ring();
        }
        if self.lull.is_on() && !pipeline.is_idle() {
            self.lull.end();
        }
    }

    /// The configuration was read again.
    pub fn switch(&self, live: &Live) {
        let (api, http) = (live.api.clone(), &live.http);
        self.turn(|pipeline, _| pipeline.switch(api, http));
        self.connections.switch(http, &live.line);
    }

    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let mut snapshot = self.pipeline.borrow().snapshot(now);
        let Snapshot {
            counters, gauges, ..
        } = &mut snapshot;
        counters.carbon.connects = self.carbon.connects.get();
        counters.statsd.errors = self.statsd_errors.get();
        counters.journal.stalls = self.disk.stalls.get();
        counters.http.connections_accepted = self.connections.accepted.get();
        counters.http.connections_refused = self.accept_errors.get();
        gauges.carbon_connected = u64::from(self.carbon.is_up());
        gauges.last_up = u64::from(self.last.is_up());
        gauges.buffered_bytes = self.connections.buffered.bytes() as u64;
        gauges.connections_open = self.connections.count() as u64;
        gauges.connections_max = self.connections.max() as u64;
        snapshot
    }
}
