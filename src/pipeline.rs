//! The pure stages of one shard, composed. The runtime asks "here are bytes / a group / a reply / a
//! tick" and carries out what [`Effects`] say. No clock, no socket: the same code serves the unit
//! tests, the simulator and the benches.

use crate::api::route::Endpoint;
use crate::api::verdict::{self, Problem};
use crate::api::{self, Api, Decision};
use crate::budget::{Budgets, Refused};
use crate::carbon::outbound::{Accepted, Delivery, Frame, Outbound};
use crate::dedup::{Accept, Owner};
use crate::http::decoder::Awaiting;
use crate::http::response::{self, Date, ReplyTo};
use crate::http::{Decoded, Decoder, Limits, Message, Refusal};
use crate::last::Mark;
use crate::last::writer::Writer;
use crate::point::{NameHash, Point};
use crate::request::{ReadId, Reads};
use crate::router::{Gathered, Group, Reply};
use crate::telemetry::catalog::Counters;
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
    /// Monotonic, from an arbitrary start.
    pub ms: u64,
}

/// What the runtime has to carry out after a turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// For other owner shards: one message per owner and read.
    pub groups: Vec<(usize, Group)>,
    /// For the shards that wait for this owner.
    pub replies: Vec<(usize, Reply)>,
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
}

impl Connection {
    pub fn new(index: usize, limits: Limits) -> Self {
        Connection {
            index,
            decoder: Decoder::new(limits),
            read: ReadId::default(),
            closing: false,
            owes_continue: false,
        }
    }

    pub fn is_closing(&self) -> bool {
        self.closing
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
    /// `pipeline_max` was met: there may be a whole request in what is left.
    pub more: bool,
}

pub struct Settings {
    pub shard: usize,
    pub shards: usize,
    pub pipeline_max: u32,
    pub request_deadline_ms: u64,
    /// How long until the next tick, at the most: a deadline is met rather early than late.
    pub tick_ms: u64,
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
    pub writer: Writer,
    pub counters: Counters,
    pub effects: Effects,
    /// Kept for its memory: marks of one batch on their way to the table.
    settled: Vec<(NameHash, u32)>,
    /// A budget has refused since the last success: look at them before parsing.
    pressed: bool,
    /// Responses say `Connection: close`.
    draining: bool,
}

impl Pipeline {
    pub fn new(
        settings: Settings,
        api: Arc<Api>,
        budgets: Budgets,
        gathered: Gathered,
        owner: Owner,
        outbound: Outbound,
        writer: Writer,
    ) -> Self {
        Pipeline {
            settings,
            api,
            budgets,
            scratch: api::Scratch::default(),
            gathered,
            reads: Reads::default(),
            owner,
            outbound,
            writer,
            counters: Counters::default(),
            effects: Effects::default(),
            settled: Vec::new(),
            pressed: false,
            draining: false,
        }
    }

    /// Decodes as many requests as are there, hands their points to their owners, and notes the
    /// answers. The connection comes back when all of them were sent.
    pub fn read(&mut self, connection: &mut Connection, buffer: &mut [u8], now: Now) -> Taken {
        let deadline_ms = now.ms + self.settings.request_deadline_ms;
        let id = self.reads.open(connection.index, deadline_ms);
        connection.read = id;
        let mut consumed = 0;
        let mut more = false;
        while !connection.closing {
            if self.reads.len(id) >= self.settings.pipeline_max {
                more = true;
                break;
            }
            match connection.decoder.next(&mut buffer[consumed..]) {
                Decoded::Incomplete { send_continue } => {
                    connection.owes_continue |= send_continue;
                    break;
                }
                Decoded::Refused(refusal) => {
                    connection.closing = true;
                    self.refuse(id, refusal);
                }
                Decoded::Message {
                    message,
                    consumed: taken,
                } => {
                    connection.closing = !message.keep_alive || self.draining;
                    let mut to = ReplyTo::message(&message);
                    to.keep_alive = !connection.closing;
                    self.request(id, &message, to, now);
                    consumed += taken;
                }
            }
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
        let answer = verdict::refused(refusal);
        self.reads.push(id, None, answer, 0, ReplyTo::REFUSED);
    }

    /// The time for a request ran out before it was there.
    pub fn too_slow(&mut self, connection: &mut Connection, now: Now) {
        let deadline_ms = now.ms + self.settings.request_deadline_ms;
        connection.read = self.reads.open(connection.index, deadline_ms);
        connection.closing = true;
        self.refuse(connection.read, Refusal::TooSlow);
    }

    fn request(&mut self, id: ReadId, message: &Message<'_>, to: ReplyTo, now: Now) {
        let endpoint = Endpoint::of(message.path);
        let mut owners = 0;
        let large = message.body.len() > PARSED_ANYWAY_BYTES;
        let answer = if large && self.pressed && self.budgets.exhausted() {
            self.counters.busy_unparsed += 1;
            verdict::busy(RETRY_AFTER_SECONDS)
        } else {
            self.gathered.begin();
            let sink = &mut self.gathered;
            match self
                .api
                .decide(message, now.unix_seconds, &mut self.scratch, sink)
            {
                Decision::Points(tally) => {
                    let reserved = self.budgets.reserve(self.gathered.needs());
                    self.pressed = reserved.is_err();
                    match reserved {
                        Ok(()) => {
                            self.counters.take(&tally);
                            owners = self.gathered.commit(self.reads.len(id), tally.namespace);
                            verdict::accepted()
                        }
                        Err(refused) => {
                            self.gathered.rollback();
                            let (problem, answer) = match refused {
                                Refused::Full => {
                                    (Problem::Busy, verdict::busy(RETRY_AFTER_SECONDS))
                                }
                                Refused::TooLarge => {
                                    (Problem::LargerThanBudget, verdict::larger_than_budget())
                                }
                            };
                            self.counters.reject(&tally, problem);
                            answer
                        }
                    }
                }
                Decision::Answer { answer, tally } => {
                    self.gathered.rollback();
                    if let Some(problem) = tally.problem {
                        self.counters.reject(&tally, problem);
                    }
                    answer
                }
                Decision::Probe(answer) => {
                    self.effects.heartbeat = true;
                    answer
                }
            }
        };
        self.reads.push(id, endpoint, answer, owners, to);
    }

    /// The read is decoded: one group for each owner it touched. The own one is decided at once.
    fn hand_over(&mut self, id: ReadId, now: Now) {
        let mut own = None;
        for owner in 0..self.settings.shards {
            if let Some(group) = self.gathered.take(owner, id) {
                self.reads.handed_over(id);
                if owner == self.settings.shard {
                    own = Some(group);
                } else {
                    self.counters.groups_sent += 1;
                    self.effects.groups.push((owner, group));
                }
            }
        }
        if let Some(group) = own {
            self.group(group, now);
        }
    }

    /// A group for this owner.
    pub fn group(&mut self, group: Group, now: Now) {
        let mut accept = Into {
            outbound: &mut self.outbound,
            now_ms: now.ms,
        };
        if let Some(group) = self.owner.decide(group, &mut accept, now.ms) {
            self.finish(group);
        }
        self.release_duplicates();
    }

    /// Every point of the group is decided. (With a journal: and it is durable.)
    fn finish(&mut self, group: Group) {
        let reply = Reply {
            group,
            failed: false,
        };
        if reply.group.from == self.settings.shard {
            self.reply(reply);
        } else {
            self.effects.replies.push((reply.group.from, reply));
        }
    }

    fn release_duplicates(&mut self) {
        let released = self.owner.take_released();
        if released > 0 {
            self.budgets.release(self.settings.shard, released);
        }
    }

    /// An owner's reply to a group of ours.
    pub fn reply(&mut self, reply: Reply) {
        let unknown = reply.failed.then(verdict::outcome_unknown);
        let requests = reply.group.parts.iter().map(|part| part.request);
        let woken = self
            .reads
            .decided(reply.group.read, requests, unknown.as_ref());
        self.effects.wake.extend(woken);
        self.gathered.recycle(reply.group);
    }

    /// Appends the answers whose turn has come. True when the read is over.
    pub fn answers(&mut self, connection: &mut Connection, out: &mut Vec<u8>, date: &Date) -> bool {
        while let Some(ready) = self.reads.next_ready(connection.read) {
            connection.closing |= !ready.to.keep_alive || ready.answer.close;
            self.counters.answered(ready.endpoint, ready.answer.status);
            response::write(out, &ready.answer, ready.to, date);
        }
        if !self.reads.complete(connection.read) {
            return false;
        }
        self.reads.close(connection.read);
        if std::mem::take(&mut connection.owes_continue) {
            out.extend_from_slice(response::CONTINUE);
        }
        true
    }

    /// The connection is gone; its points are decided all the same.
    pub fn forget(&mut self, connection: &Connection) {
        self.reads.close(connection.read);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        if self.owner.lookups.overdue(now.ms, self.settings.tick_ms) {
            self.store_silent(now);
        }
        let unknown = verdict::outcome_unknown();
        let Pipeline {
            reads,
            counters,
            effects,
            ..
        } = self;
        reads.expire(now.ms, &unknown, |connection, requests| {
            counters.outcome_unknown += u64::from(requests);
            effects.wake.push(connection);
        });
        self.delivered(|outbound, on_delivered| outbound.tick(now.ms, on_delivered));
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }

    // ---- carbon ------------------------------------------------------------------------------

    /// Runs one step of the outbound that may deliver frames, and books what it delivers.
    fn delivered(&mut self, step: impl FnOnce(&mut Outbound, &mut dyn FnMut(&Frame, Delivery))) {
        let Pipeline {
            outbound,
            writer,
            counters,
            budgets,
            settings,
            ..
        } = self;
        step(outbound, &mut |frame, delivery| {
            counters.delivered += u64::from(frame.points);
            if delivery == Delivery::Unconfirmed {
                counters.unconfirmed += u64::from(frame.points);
            }
            budgets.release(settings.shard, frame.cost);
            for (hash, name, mark, unchecked) in frame.marks() {
                writer.push(name, hash, mark, unchecked);
            }
        });
    }

    /// The sink has everything written so far.
    pub fn sink_confirmed(&mut self) {
        self.delivered(|outbound, on_delivered| outbound.confirmed(on_delivered));
    }

    pub fn carbon_lost(&mut self) {
        self.delivered(|outbound, on_delivered| outbound.lost(on_delivered));
    }

    // ---- the last store ------------------------------------------------------------------------

    /// The next batch of names to look up.
    pub fn take_lookup(&mut self) -> Option<(u64, Vec<String>)> {
        self.owner.lookups.take()
    }

    /// The store has answered a look-up.
    pub fn looked_up(&mut self, id: u64, marks: impl Iterator<Item = Option<u32>>, now: Now) {
        self.owner.store_answers();
        self.resolve(now, |owner, accept, done| {
            owner.found(id, marks, accept, done)
        });
    }

    /// The store did not answer within the look-up deadline, or refused to.
    pub fn store_silent(&mut self, now: Now) {
        self.resolve(now, |owner, accept, done| owner.store_silent(accept, done));
    }

    fn resolve(
        &mut self,
        now: Now,
        step: impl FnOnce(&mut Owner, &mut Into<'_>, &mut dyn FnMut(Group)),
    ) {
        let mut finished = Vec::new();
        let mut accept = Into {
            outbound: &mut self.outbound,
            now_ms: now.ms,
        };
        step(&mut self.owner, &mut accept, &mut |group| {
            finished.push(group);
        });
        for group in finished {
            self.finish(group);
        }
        self.release_duplicates();
    }

    pub fn store_answers(&mut self) {
        self.owner.store_answers();
    }

    /// The connection is gone: what was under way is written or asked again.
    pub fn store_lost(&mut self) {
        self.writer.lost();
    }

    /// Marks looked up before their first write.
    pub fn marks_checked(&mut self, id: u64, found: &[Option<Mark>]) {
        let mut newer = std::mem::take(&mut self.settled);
        self.writer.checked(id, found, &mut newer);
        for (hash, timestamp) in newer.drain(..) {
            self.owner.raise(hash, timestamp);
        }
        self.settled = newer;
    }

    /// Marks written: from here on a restart remembers them.
    pub fn marks_stored(&mut self, id: u64) {
        let mut saved = std::mem::take(&mut self.settled);
        self.writer.stored(id, &mut saved);
        self.counters.marks_written += saved.len() as u64;
        for (hash, timestamp) in saved.drain(..) {
            self.owner.saved(hash, timestamp);
        }
        self.settled = saved;
    }

    /// Something waits for the last store's task.
    pub fn wants_store(&self) -> bool {
        self.owner.lookups.waiting()
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    pub fn owner_mut(&mut self) -> &mut Owner {
        &mut self.owner
    }

    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }
}

/// Accepted points go into the outbound.
pub struct Into<'a> {
    outbound: &'a mut Outbound,
    now_ms: u64,
}

impl Accept for Into<'_> {
    fn accept(&mut self, hash: NameHash, point: Point<'_>, accepted: Accepted) {
        self.outbound.push(hash, point, accepted, self.now_ms);
    }
}
