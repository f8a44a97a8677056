//! The pure stages of one shard, composed. The runtime asks "here are bytes / a group / a reply / a
//! tick" and carries out what [`Effects`] say. No clock, no socket: the same code serves the unit
//! tests, the simulator and the benches.
//!
//! Here: from bytes to answers; [`desk`]: where groups come back to; [`encoded`]: by way of inflating; [`line`]: from lines, without an answer; [`admission`]: whether there is room. [`sinks`]: from
//! accepted points to carbon and the last store. [`observe`]: what it all came to.

mod admission;
mod commits;
mod desk;
mod encoded;
mod line;
mod observe;
mod populate;
mod recovered;
mod sinks;
mod switch;

pub use commits::Left;
pub use line::{Fed, Feed};
pub use populate::{Extra, Leave, Posted, ToCore, ToOwner, Verdict};
pub use recovered::{RecordId, Recovered, Report};
use sinks::Into;

use crate::api::route;
use crate::api::verdict;
use crate::api::{self, Api, Decision};
use crate::budget::Budgets;
use crate::carbon::outbound::Outbound;
use crate::dedup::Owner;
use crate::http::decoder::Awaiting;
use crate::http::response::{self, Date, ReplyTo};
use crate::http::{Decoded, Decoder, Limits, Message, Refusal, encoding};
use crate::journal::Journal;
use crate::last::writer::Writer;
use crate::outputs::beside::Beside;
use crate::point::NameHash;
use crate::populate::address::Hosts;
use crate::request::{ReadId, Reads, Ready};
use crate::router::{Gathered, Group, Reply};
use crate::telemetry::counters::{Counters, Endpoint};
use crate::telemetry::latency::{Latency, Stage};
use crate::telemetry::refused::Refusals;
use std::sync::Arc;

/// Seconds after which a client may try again when a budget is full: about what a redo window and a
/// flush take, so that a short stall costs one retry.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A body this short is parsed even when no budget has room: it may be a health probe or a test, and
/// looking costs little.
const PARSED_ANYWAY_BYTES: usize = 1024;

/// The time, read once per turn by the runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub unix_seconds: u32,
    /// Monotonic microseconds, from an arbitrary start.
    pub us: u64,
}

impl Now {
    pub fn ms(self) -> u64 {
        self.us / 1000
    }
}

/// What the runtime has to carry out after a turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// For other owner shards: one message per owner and read.
    pub groups: Vec<(usize, Group)>,
    /// For the shards that wait for this owner.
    pub replies: Vec<(usize, Reply)>,
    /// For the populate core: jobs that were posted, and what it asked about metrics we own.
    pub jobs: Vec<Posted>,
    pub to_core: Vec<ToCore>,
    /// Connections with nothing missing any more.
    pub wake: Vec<usize>,
    /// The health probe was asked: its heartbeat is due.
    pub heartbeat: bool,
}

/// What a connection remembers between reads.
#[derive(Debug)]
pub struct Connection {
    index: usize,
    decoder: Decoder,
    read: ReadId,
    /// Nothing more is executed on it.
    closing: bool,
    /// `100 Continue` is owed, after the answers before it.
    owes_continue: bool,
    /// A request whose body is not decoded yet.
    inflating: Option<Box<encoded::Inflating>>,
}

impl Connection {
    pub fn new(index: usize, limits: Limits) -> Self {
        Connection {
            index,
            decoder: Decoder::new(limits),
            read: ReadId::default(),
            closing: false,
            owes_continue: false,
            inflating: None,
        }
    }

    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// A body is being inflated: the next read goes on with it. Others should have their turn first.
    pub fn is_inflating(&self) -> bool {
        self.inflating.is_some()
    }

    /// Memory of a request under way, beside what the caller keeps itself.
    pub fn held_bytes(&self) -> usize {
        self.inflating
            .as_ref()
            .map_or(0, |inflating| inflating.held_bytes())
    }

    /// What the next bytes belong to: each has a deadline of its own.
    pub fn awaiting(&self) -> Awaiting {
        self.decoder.awaiting()
    }
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Bytes of the buffer that are done with.
    pub consumed: usize,
    /// Requests and refusals whose answers are due.
    pub answers: u32,
    /// `pipeline_max` was met, or the turn's share of inflating: there may be a whole request in what is left.
    pub more: bool,
}

/// Why a request that is not whole is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    TooSlow,
    NoRoom,
}

pub struct Settings {
    pub shard: usize,
    pub shards: usize,
    pub pipeline_max: u32,
    pub request_deadline_ms: u64,
    /// What populate's jobs may fetch from.
    pub hosts: Hosts,
    /// How long until the next tick, at the most: a deadline is met rather early than late.
    pub tick_ms: u64,
}

/// What a pipeline is composed of, in the order a point passes through.
pub struct Stages {
    pub gathered: Gathered,
    pub owner: Owner,
    pub journal: Journal<Group>,
    pub outbound: Outbound,
    pub writer: Writer,
}

pub struct Pipeline {
    settings: Settings,
    api: Arc<Api>,
    budgets: Budgets,
    scratch: api::Scratch,
    gathered: Gathered,
    reads: Reads,
    owner: Owner,
    pub outbound: Outbound,
    pub journal: Journal<Group>,
    recovered: recovered::Books,
    backlog: commits::Backlog,
    populate: populate::Books,
    pub writer: Writer,
    /// Nothing, unless it is configured.
    pub beside: Beside,
    pub counters: Counters,
    pub latency: Latency,
    refused: Refusals,
    pub effects: Effects,
    /// Kept for its memory: marks of one batch on their way to the table.
    settled: Vec<(NameHash, u32)>,
    newcomers: sinks::Newcomers,
    /// A budget has refused since the last success: look at them before parsing.
    pressed: bool,
    /// Responses say `Connection: close`.
    draining: bool,
    /// Nothing new is admitted.
    stopping: bool,
}

impl Pipeline {
    pub fn new(settings: Settings, api: Arc<Api>, budgets: Budgets, stages: Stages) -> Self {
        let Stages {
            gathered,
            owner,
            journal,
            outbound,
            writer,
        } = stages;
        Pipeline {
            settings,
            api,
            budgets,
            scratch: api::Scratch::default(),
            gathered,
            reads: Reads::default(),
            owner,
            outbound,
            journal,
            recovered: recovered::Books::default(),
            backlog: commits::Backlog::default(),
            populate: populate::Books::default(),
            writer,
            beside: Beside::default(),
            counters: Counters::default(),
            latency: Latency::default(),
            refused: Refusals::default(),
            effects: Effects::default(),
            settled: Vec::new(),
            newcomers: sinks::Newcomers::default(),
            pressed: false,
            draining: false,
            stopping: false,
        }
    }

    /// Decodes as many requests as are there, hands their points to their owners, and notes the
    /// answers. The connection comes back when all of them were sent.
    pub fn read(&mut self, connection: &mut Connection, buffer: &mut [u8], now: Now) -> Taken {
        let deadline_ms = now.ms() + self.settings.request_deadline_ms;
        let id = self.reads.open(connection.index, deadline_ms, now.us);
        connection.read = id;
        let mut consumed = 0;
        let mut more = false;
        let mut slice = encoding::SLICE_BYTES;
        let mut answers = 0;
        while !connection.closing {
            if answers >= self.settings.pipeline_max || !self.go_on(connection, &mut slice, now) {
                more = true;
                break;
            }
            // With nothing left the decoder, which has just begun anew, would say the same.
            if connection.closing || (consumed > 0 && consumed == buffer.len()) {
                break;
            }
            // Looked at where it is: a message is large to move.
            let decoded = connection.decoder.next(&mut buffer[consumed..]);
            match &decoded {
                &Decoded::Incomplete { send_continue } => {
                    connection.owes_continue |= send_continue;
                    break;
                }
                &Decoded::Refused(refusal) => {
                    connection.closing = true;
                    self.refuse(id, refusal);
                }
                Decoded::Message {
                    message,
                    consumed: taken,
                } => {
                    let mut to = ReplyTo::message(message);
                    to.keep_alive &= !self.draining;
                    if self.api.reads_encoded(message) {
                        self.encoded(connection, message, to, &mut slice, now);
                    } else {
                        self.request(id, message, to, now);
                        connection.closing = !to.keep_alive;
                    }
                    consumed += *taken;
                }
            }
            answers = self.reads.len(id);
        }
        self.hand_over(id, now);
        Taken {
            consumed,
            answers: self.reads.len(id),
            more,
        }
    }

    /// A message whose framing is lost, or that met a bound: answered, then closed.
    fn refuse(&mut self, id: ReadId, refusal: Refusal) {
        let answer = Some(Box::new(verdict::refused(refusal)));
        self.reads.push(id, None, answer, 0, ReplyTo::REFUSED);
    }

    /// The rest of a request is not waited for: its time ran out, or there is no room to keep what has
    /// come. Answered, then closed.
    pub fn abandon(&mut self, connection: &mut Connection, why: Abandoned, now: Now) {
        let deadline_ms = now.ms() + self.settings.request_deadline_ms;
        connection.read = self.reads.open(connection.index, deadline_ms, now.us);
        connection.closing = true;
        connection.inflating = None;
        match why {
            Abandoned::TooSlow => self.refuse(connection.read, Refusal::TooSlow),
            Abandoned::NoRoom => {
                let mut answer = verdict::busy(RETRY_AFTER_SECONDS);
                answer.close = true;
                let answer = Some(Box::new(answer));
                self.reads
                    .push(connection.read, None, answer, 0, ReplyTo::REFUSED);
            }
        }
    }

    fn request(&mut self, id: ReadId, message: &Message<'_>, to: ReplyTo, now: Now) {
        let endpoint = route::Endpoint::of(message.path);
        let mut owners = 0;
        let large = message.body.len() > PARSED_ANYWAY_BYTES;
        let answer = if large && self.pressed && self.budgets.exhausted() {
            Some(Box::new(verdict::busy(RETRY_AFTER_SECONDS)))
        } else {
            self.gathered.begin();
            let sink = &mut self.gathered;
            match self
                .api
                .decide_at(endpoint, message, now.unix_seconds, &mut self.scratch, sink)
            {
                Decision::Points(ref tally) => self.reserve(id, tally, None, now, &mut owners),
                Decision::Partly { answer, tally } => {
                    self.reserve_partly(id, &tally, answer, now, &mut owners)
                }
                Decision::Answer { answer, tally } => {
                    self.gathered.rollback();
                    self.count(&tally, tally.problem);
                    self.note(&tally, tally.problem, &answer, now);
                    Some(Box::new(answer))
                }
                Decision::Job => {
                    let (answer, verdicts) = self.post_job(id, message);
                    owners = verdicts;
                    answer
                }
                Decision::Probe(answer) => {
                    self.effects.heartbeat = true;
                    Some(Box::new(answer))
                }
            }
        };
        let endpoint = counted(endpoint);
        self.reads.push(id, Some(endpoint), answer, owners, to);
    }

    /// The read is decoded: one group for each owner it touched. The own one is decided at once.
    #[inline]
    fn hand_over(&mut self, id: ReadId, now: Now) {
        let own = self.settings.shard;
        for owner in (0..self.settings.shards).filter(|owner| *owner != own) {
            if let Some(group) = self.take_group(owner, id) {
                self.counters.mesh.groups_sent += 1;
                self.effects.groups.push((owner, group));
            }
        }
        if let Some(group) = self.take_group(own, id) {
            self.group(group, now);
        }
    }

    #[inline(always)]
    fn take_group(&mut self, owner: usize, id: ReadId) -> Option<Group> {
        let group = self.gathered.take(owner, id)?;
        if id != ReadId::NOBODY {
            self.reads.handed_over(id);
        }
        Some(group)
    }

    /// A group for this owner.
    pub fn group(&mut self, group: Group, now: Now) {
        let mut accept = Into {
            outbound: &mut self.outbound,
            journal: &mut self.journal,
            beside: &mut self.beside,
            now_ms: now.ms(),
        };
        if let Some(group) = self.owner.decide(group, &mut accept, now.ms()) {
            self.finish(group);
        }
        self.release_duplicates();
        self.tell_core();
    }

    fn release_duplicates(&mut self) {
        let released = self.owner.take_released();
        if released > 0 {
            self.budgets.release(self.settings.shard, released);
        }
    }

    /// Appends the answers whose turn has come. True when the read is over.
    pub fn answers(
        &mut self,
        connection: &mut Connection,
        out: &mut Vec<u8>,
        date: &Date,
        now: Now,
    ) -> bool {
        let Pipeline {
            reads, counters, ..
        } = self;
        let over = reads.answer(
            connection.read,
            |Ready {
                 answer,
                 endpoint,
                 to,
             }| {
                let (status, close) = answer
                    .as_ref()
                    .map_or((204, false), |answer| (answer.status, answer.close));
                connection.closing |= !to.keep_alive || close;
                match endpoint {
                    Some(endpoint) => counters.http.answer(endpoint, status),
                    None => counters.http.refused.count(status),
                }
                match answer {
                    None => response::write_accepted(out, to, date),
                    Some(answer) => response::write(out, &answer, to, date),
                }
            },
        );
        if !over {
            return false;
        }
        let began_us = self.reads.close(connection.read);
        if let Some(began_us) = began_us.filter(|_| !out.is_empty()) {
            self.latency.record(Stage::Request, now.us - began_us);
        }
        if std::mem::take(&mut connection.owes_continue) {
            out.extend_from_slice(response::CONTINUE);
        }
        true
    }

    /// The connection is gone; its points are decided all the same.
    pub fn forget(&mut self, connection: &Connection) {
        self.reads.close(connection.read);
    }

    /// A client, or another shard for its client, waits for something of ours.
    pub fn is_awaited(&self) -> bool {
        self.reads.any_open() || self.owner.parked_metrics() > 0 || !self.journal.is_idle()
    }

    /// Nobody waits, and nothing is on its way out. What is written waits for its redo window, and its marks for the
    /// store: neither minds some milliseconds more.
    pub fn is_idle(&self) -> bool {
        !self.is_awaited() && self.outbound.all_written()
    }

    /// Time has passed. True: there is more to do at once, but others may go first.
    pub fn tick(&mut self, now: Now) -> bool {
        if self.owner.lookups.overdue(now.ms(), self.settings.tick_ms) {
            self.store_silent(now);
        }
        let unknown = verdict::outcome_unknown();
        let Pipeline { reads, effects, .. } = self;
        reads.expire(now.ms(), &unknown, |connection| {
            effects.wake.push(connection);
        });
        let more = self.delivered(now, |outbound, on_delivered| {
            outbound.tick(now.ms(), on_delivered)
        });
        self.beside.tick(now.unix_seconds, now.ms());
        self.settle_admission();
        more
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }
}

fn counted(endpoint: Option<route::Endpoint>) -> Endpoint {
    match endpoint {
        Some(route::Endpoint::MetricData) => Endpoint::MetricData,
        Some(route::Endpoint::MetricDataPost) => Endpoint::MetricDataPost,
        Some(route::Endpoint::PopulateMetric) => Endpoint::PopulateMetric,
        None => Endpoint::Other,
    }
}
