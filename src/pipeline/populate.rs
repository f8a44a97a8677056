//! A shard's part in populate. As the reader of a request: a job goes to the populate core, and its answer
//! comes back. As a metric's owner: it says from where a history is missing, tells of live points, and alone
//! writes the mark. And on the populate core itself: points on their way to carbon, counted by job.

use super::{Now, Pipeline};
use crate::api::verdict;
use crate::budget::{self, Refused};
use crate::carbon::outbound::{Accepted, Lane};
use crate::http::Message;
use crate::journal::ledger::Ledger;
use crate::last::Mark;
use crate::point::{BLOCK_HEADER_BYTES, NameHash, Point};
use crate::populate::job::{self, Checks, Job};
use crate::populate::parse::Raw;
use crate::request::{Due, ReadId};
use std::collections::VecDeque;

/// A job that was posted, for the populate core.
#[derive(Debug)]
pub struct Posted {
    pub read: ReadId,
    /// Which request of the read.
    pub request: u32,
    pub job: Job,
}

/// What the populate core says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable.
    Accepted,
    /// No room: 429.
    Busy,
    /// It could not be written: 504.
    Unknown,
}

/// From the populate core to a metric's owner.
#[derive(Debug)]
pub enum ToOwner {
    /// A job begins: what is the newest timestamp known, and what is live from now on?
    Watch { token: u64, metric: String },
    /// Has everything been told that was accepted live so far?
    AskLive { token: u64, metric: String },
    /// What a job leaves behind, now that its points are delivered.
    Leave(Leave),
    /// A job is over.
    Unwatch { metric: String },
}

#[derive(Debug, PartialEq)]
pub struct Leave {
    pub metric: String,
    /// Max-merged, once what the owner has queued before is delivered too.
    pub mark: Option<Mark>,
    /// For `vista.fetcher.unique_metrics`.
    pub target: Option<String>,
    /// For `vista.last.resolution.<metric>`.
    pub resolution: Option<u32>,
}

/// From a metric's owner to the populate core.
#[derive(Debug, PartialEq, Eq)]
pub enum ToCore {
    Start {
        token: u64,
        mark: Option<u32>,
    },
    /// Every live point so far that had to be told was told before this.
    AllTold {
        token: u64,
    },
    Live {
        metric: String,
        from: u32,
    },
}

/// What Vista reads beside marks; best effort, as the heartbeat is.
#[derive(Debug, PartialEq, Eq)]
pub enum Extra {
    Target(String),
    Resolution { metric: String, seconds: u32 },
}

/// A mark that waits until what was queued before it is delivered.
#[derive(Debug)]
struct Waiting {
    /// Of live points delivered by then.
    after: u64,
    hash: NameHash,
    metric: String,
    mark: Mark,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    /// Live points delivered so far.
    delivered: u64,
    waiting: VecDeque<Waiting>,
    extras: VecDeque<Extra>,
    /// On the populate core: points of each job on their way, and jobs all of whose points are delivered.
    jobs: Ledger<u64>,
    done: Vec<u64>,
}

impl Books {
    /// Live points were delivered.
    pub fn delivered(&mut self, points: u64) {
        self.delivered += points;
        if self.jobs.points() > 0 {
            let done = &mut self.done;
            self.jobs.released(points, |job| done.push(job));
        }
    }
}

/// Extras that wait for the store at the most; the oldest go first. They matter only to spare Vista a question.
const EXTRAS_MAX: usize = 10_000;

impl Pipeline {
    /// `POST /populate_metric`. Returns the answer, and how many must say something before it is sent.
    pub(super) fn post_job(&mut self, id: ReadId, message: &Message<'_>) -> (Due, u16) {
        let checks = Checks {
            keys: &self.api.keys,
            limits: &self.api.limits,
            hosts: &self.settings.hosts,
        };
        let parser = self.scratch.parser();
        match job::read(message.body, message.fields.key, &checks, parser) {
            Err(refused) => {
                let fault = refused.fault();
                let answer = verdict::refuse(fault.problem, &fault.why);
                (Some(Box::new(answer)), 0)
            }
            Ok(job::Posted::Nothing) => (None, 0),
            Ok(job::Posted::Job(job)) => {
                let request = self.reads.len(id);
                self.effects.jobs.push(Posted {
                    read: id,
                    request,
                    job,
                });
                self.reads.handed_over(id);
                (None, 1)
            }
        }
    }

    /// The populate core has said what becomes of a job.
    pub fn job_answered(&mut self, read: ReadId, request: u32, verdict: Verdict) {
        let refusal = match verdict {
            Verdict::Accepted => None,
            Verdict::Busy => Some(verdict::busy(super::RETRY_AFTER_SECONDS)),
            Verdict::Unknown => Some(verdict::outcome_unknown()),
        };
        let woken = self
            .reads
            .decided(read, std::iter::once(request), refusal.as_ref());
        self.effects.wake.extend(woken);
    }

    /// The populate core asks or tells the owner of a metric.
    pub fn to_owner(&mut self, message: ToOwner, now: Now) {
        match message {
            ToOwner::Watch { token, metric } => {
                let hash = self.gathered.hash(&metric);
                self.owner.watch(hash, &metric, token, now.ms());
            }
            ToOwner::AskLive { token, .. } => {
                self.tell_core();
                self.effects.to_core.push(ToCore::AllTold { token });
            }
            ToOwner::Unwatch { metric } => self.owner.watch.end(self.gathered.hash(&metric)),
            ToOwner::Leave(leave) => self.leave(leave),
        }
        self.tell_core();
    }

    fn leave(&mut self, leave: Leave) {
        let target = leave.target.map(Extra::Target);
        let resolution = leave.resolution.map(|seconds| Extra::Resolution {
            metric: leave.metric.clone(),
            seconds,
        });
        let books = &mut self.populate;
        books.extras.extend(target.into_iter().chain(resolution));
        let surplus = books.extras.len().saturating_sub(EXTRAS_MAX);
        books.extras.drain(..surplus);
        if let Some(mark) = leave.mark {
            let hash = self.gathered.hash(&leave.metric);
            self.owner.raise(hash, mark.timestamp);
            self.populate.waiting.push_back(Waiting {
                after: self.populate.delivered + self.outbound.queued().live,
                hash,
                metric: leave.metric,
                mark,
            });
            self.write_left();
        }
    }

    /// Marks whose turn has come go to the writer, which looks first what the store holds by now.
    pub(super) fn write_left(&mut self) {
        while let Some(waiting) = self
            .populate
            .waiting
            .pop_front_if(|waiting| waiting.after <= self.populate.delivered)
        {
            self.writer
                .push(&waiting.metric, waiting.hash, waiting.mark, true);
        }
    }

    /// News from the owner for the populate core.
    #[inline]
    pub(super) fn tell_core(&mut self) {
        if self.owner.watch.has_news() {
            self.tell_news();
        }
    }

    fn tell_news(&mut self) {
        let starts = self.owner.watch.take_starts().into_iter();
        let lives = self.owner.watch.take_lives().into_iter();
        let to_core = &mut self.effects.to_core;
        to_core.extend(starts.map(|start| ToCore::Start {
            token: start.token,
            mark: start.mark,
        }));
        to_core.extend(lives.map(|(metric, from)| ToCore::Live { metric, from }));
    }

    pub fn has_extras(&self) -> bool {
        !self.populate.extras.is_empty()
    }

    /// What is to be written beside marks.
    pub fn take_extra(&mut self) -> Option<Extra> {
        self.populate.extras.pop_front()
    }

    /// Nothing of populate waits here.
    pub fn is_populate_idle(&self) -> bool {
        self.populate.waiting.is_empty() && self.populate.extras.is_empty()
    }

    /// On the populate core: takes points of a job, all or none.
    pub fn backfill(
        &mut self,
        job: u64,
        metric: &str,
        points: &[Raw],
        now: Now,
    ) -> Result<(), Refused> {
        let cost = budget::cost(BLOCK_HEADER_BYTES + metric.len(), 1) * points.len();
        self.budgets
            .reserve([(self.settings.shard, cost)].into_iter())?;
        for &(timestamp, value) in points {
            let point = Point {
                name: metric,
                timestamp,
                value,
                fill: true,
            };
            self.outbound
                .push(Lane::Live, (0, point), Accepted::Unmarked, now.ms());
        }
        let count = points.len() as u64;
        self.populate.jobs.add(job, points.len() as u32);
        self.counters.points.received += count;
        self.counters.points.accepted += count;
        self.counters.populate.points += count;
        Ok(())
    }

    /// Jobs all of whose points so far are delivered, since the last call.
    pub fn take_backfilled(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.populate.done)
    }

    /// Whether some of a job's points are on their way. The ledger keeps jobs in the order of their points; a
    /// job that others' points have come between stands there several times.
    pub fn is_backfilling(&self, job: u64) -> bool {
        self.populate.jobs.tags().any(|tag| *tag == job)
    }
}
