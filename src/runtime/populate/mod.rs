//! The populate worker, on its core: takes jobs in, asks their metrics' owners, carries them out, and leaves
//! behind what they came to. What happens next is always [`crate::populate`]'s to say.
//!
//! | file | what it does |
//! |---|---|
//! | `mod` | jobs in, questions to owners and their answers |
//! | `file` | the jobs file, and the answers that wait for it |
//! | `run` | one job from its start to its end |

mod file;
mod run;

pub use file::{JobsFile, OpenError};

use super::control::Phase;
use super::doorbell::Doorbell;
use super::mesh::Parcel;
use super::shard::Shard;
use crate::pipeline::{Posted, ToCore, ToOwner, Verdict};
use crate::populate::fetch::Fetcher;
use crate::populate::job::Job;
use crate::populate::jobs::{self, Jobs};
use crate::populate::pace::Pace;
use crate::populate::record::{Accepted, Start};
use crate::populate::work::{Options, Outcome};
use crate::request::ReadId;
use crate::router::{NameHasher, owner_of};
use crate::telemetry::Snapshot;
use crate::telemetry::counters::Labelled;
use glommio::timer::sleep;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

/// How long the owners of recovered jobs' metrics may take to answer before the start goes on without them:
/// longer than a look-up's deadline.
const RECOVERY: Duration = Duration::from_secs(3);

/// What the worker starts with.
pub struct PopulatePlan {
    pub jobs: Jobs,
    pub file: JobsFile,
    pub fetcher: Fetcher,
    pub options: Options,
    pub pace: Pace,
    pub concurrency: usize,
    pub hasher: NameHasher,
    pub shards: usize,
}

/// Who waits for an answer: a request on a shard.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    shard: usize,
    read: ReadId,
    request: u32,
}

/// A question to an owner that was not answered yet.
#[derive(Debug)]
enum Asked {
    /// For a posted job.
    Posted(Waiter, Job),
    /// For a job of an earlier run: the owner watches its metric, and the answer is known already.
    Recovered,
    /// By a job that runs.
    FirstLive(u64),
}

pub struct Populate {
    /// The populate core's own: its connection to carbon, its clock, its lanes to the shards.
    core: Rc<Shard>,
    jobs: RefCell<Jobs>,
    file: JobsFile,
    fetcher: Fetcher,
    options: Options,
    pace: RefCell<Pace>,
    concurrency: usize,
    hasher: NameHasher,
    shards: usize,
    asked: RefCell<BTreeMap<u64, Asked>>,
    next_token: Cell<u64>,
    /// Answers that wait for the next write of the jobs file.
    waiting: RefCell<VecDeque<Waiter>>,
    runs: RefCell<BTreeMap<u64, Rc<run::Run>>>,
    /// Jobs that have handed everything over, until carbon has it.
    delivering: RefCell<BTreeMap<u64, Outcome>>,
    skipped: RefCell<Labelled>,
    /// Something is to be written to the jobs file.
    writes: Doorbell,
    /// A job may start.
    starts: Doorbell,
    /// The owners were told that no job leaves a mark any more.
    over: Cell<bool>,
}

impl Populate {
    pub fn new(plan: PopulatePlan, core: Rc<Shard>) -> Rc<Populate> {
        Rc::new(Populate {
            core,
            jobs: RefCell::new(plan.jobs),
            file: plan.file,
            fetcher: plan.fetcher,
            options: plan.options,
            pace: RefCell::new(plan.pace),
            concurrency: plan.concurrency,
            hasher: plan.hasher,
            shards: plan.shards,
            asked: RefCell::default(),
            next_token: Cell::new(0),
            waiting: RefCell::default(),
            runs: RefCell::default(),
            delivering: RefCell::default(),
            skipped: RefCell::default(),
            writes: Doorbell::default(),
            starts: Doorbell::default(),
            over: Cell::new(false),
        })
    }

    /// Before anything is served: the owners watch the metrics of recovered jobs.
    pub async fn recover(&self) {
        let metrics: Vec<String> = {
            let jobs = self.jobs.borrow();
            jobs.iter().map(|job| job.job.metric.clone()).collect()
        };
        for metric in metrics {
            let token = self.ask(Asked::Recovered);
            self.tell(ToOwner::Watch { token, metric });
        }
        let until = self.core.clock.now().us + RECOVERY.as_micros() as u64;
        while !self.asked.borrow().is_empty() && self.core.clock.now().us < until {
            sleep(super::SWEEP).await;
        }
    }

    fn ask(&self, what: Asked) -> u64 {
        let token = self.next_token.get() + 1;
        self.next_token.set(token);
        self.asked.borrow_mut().insert(token, what);
        token
    }

    fn tell(&self, message: ToOwner) {
        let (ToOwner::Watch { metric, .. }
        | ToOwner::AskLive { metric, .. }
        | ToOwner::Unwatch { metric }) = &message
        else {
            let ToOwner::Leave(leave) = &message else {
                return;
            };
            let owner = self.owner(&leave.metric);
            return self.core.mesh.send(owner, Parcel::ToOwner(message));
        };
        let owner = self.owner(metric);
        self.core.mesh.send(owner, Parcel::ToOwner(message));
    }

    fn owner(&self, metric: &str) -> usize {
        owner_of(self.hasher.hash(metric), self.shards)
    }

    fn answer(&self, waiter: Waiter, verdict: Verdict) {
        let Waiter {
            shard,
            read,
            request,
        } = waiter;
        let answered = Parcel::JobAnswered {
            read,
            request,
            verdict,
        };
        self.core.mesh.send(shard, answered);
    }

    /// A shard has read a job.
    pub fn posted(&self, shard: usize, posted: Posted) {
        let Posted { read, request, job } = posted;
        let waiter = Waiter {
            shard,
            read,
            request,
        };
        // Each question is a job that may be accepted: together they stay within the bound.
        let has_room = self.jobs.borrow().has_room_for(self.asked.borrow().len());
        if !has_room {
            return self.answer(waiter, Verdict::Busy);
        }
        let metric = job.metric.clone();
        let token = self.ask(Asked::Posted(waiter, job));
        self.tell(ToOwner::Watch { token, metric });
    }

    /// An owner has answered, or tells of a first live point.
    pub fn told(&self, message: ToCore) {
        match message {
            ToCore::Live { metric, from } => self.live(&metric, from),
            ToCore::AllTold { token } => {
                if let Some(Asked::FirstLive(id)) = self.asked.borrow_mut().remove(&token)
                    && let Some(run) = self.runs.borrow().get(&id)
                {
                    run.all_told();
                }
            }
            ToCore::Start { token, mark } => {
                let asked = self.asked.borrow_mut().remove(&token);
                if let Some(Asked::Posted(waiter, job)) = asked {
                    self.accept(waiter, job, mark);
                }
            }
        }
    }

    fn accept(&self, waiter: Waiter, job: Job, mark: Option<u32>) {
        let metric = job.metric.clone();
        let start = mark.map_or(Start::Unknown, Start::Stored);
        let now = self.core.clock.now().unix_seconds;
        let accepted = self.jobs.borrow_mut().accept(job, start, now);
        match accepted {
            Ok(jobs::Posted::New(_)) => self.starts.ring(),
            // It is watched for the job that waits already.
            Ok(jobs::Posted::Waiting(_)) => self.tell(ToOwner::Unwatch { metric }),
            Err(jobs::Full) => {
                self.tell(ToOwner::Unwatch { metric });
                return self.answer(waiter, Verdict::Busy);
            }
        }
        self.waiting.borrow_mut().push_back(waiter);
        self.writes.ring();
    }

    fn live(&self, metric: &str, from: u32) {
        let ids = self.jobs.borrow().of_metric(metric).to_vec();
        for id in ids {
            self.jobs.borrow_mut().live(id, from);
            if let Some(run) = self.runs.borrow().get(&id) {
                run.live(from);
            }
        }
        self.writes.ring();
    }

    /// Time has passed: jobs whose points are delivered are done. Not when the service stops and owners
    /// write no marks any more: a job that were done without its mark would be forgotten by the jobs file
    /// and by the store; it runs again.
    pub fn tick(&self) {
        if self.over.get() || self.core.control.phase() >= Phase::Keeping {
            return;
        }
        let delivered = self.core.turn(|pipeline, _| pipeline.take_backfilled());
        for id in delivered {
            let under_way = self.core.pipeline.borrow().is_backfilling(id);
            if !under_way && let Some(outcome) = self.delivering.borrow_mut().remove(&id) {
                self.finish(id, outcome);
            }
        }
    }

    /// After this nothing is left with an owner; each is told, behind the last mark.
    pub fn leave_no_more(&self) {
        self.over.set(true);
        for shard in 0..self.shards {
            self.core.mesh.send(shard, Parcel::LastLeave);
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.core.snapshot();
        let jobs = self.jobs.borrow();
        snapshot.gauges.jobs_queued = jobs.queued() as u64;
        snapshot.gauges.jobs_running = jobs.running() as u64;
        snapshot.gauges.jobs_bytes = jobs.held_bytes().0 as u64;
        let populate = &mut snapshot.counters.populate;
        populate.accepted = jobs.counts.accepted;
        populate.repeated = jobs.counts.repeated;
        populate.recovered = jobs.counts.recovered;
        populate.done = jobs.counts.done;
        populate.paced = self.pace.borrow().waits;
        for (cause, count) in crate::populate::cause::Cause::ALL
            .iter()
            .zip(jobs.counts.failed)
        {
            populate.failed.add(cause.label(), count);
        }
        populate.skipped = self.skipped.borrow().clone();
        snapshot
    }

    /// For people: how many jobs there are, and the last failures.
    pub fn report(&self) -> String {
        let jobs = self.jobs.borrow();
        let mut out = format!(
            "queued {}\nrunning {}\ndone {}\nfailed {}\n",
            jobs.queued(),
            jobs.running(),
            jobs.counts.done,
            jobs.counts.failed.iter().sum::<u64>()
        );
        for failure in jobs.failures() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "at {} {}: {}",
                failure.at,
                failure.metric,
                failure.cause.label()
            );
        }
        out
    }

    /// The last jobs, newest first, as `/recent` shows them.
    pub fn recent(&self) -> Vec<Value> {
        let jobs = self.jobs.borrow();
        let told = |last: &jobs::Last| match last.result {
            Ok((points, failed_urls)) => json!({
                "at": last.at, "metric": last.metric, "result": "done",
                "points": points, "failed_urls": failed_urls,
            }),
            Err(cause) => json!({
                "at": last.at, "metric": last.metric, "result": "failed",
                "reason": cause.label(), "why": cause.to_string(),
            }),
        };
        jobs.last().map(told).collect()
    }

    pub fn ring(&self) {
        self.writes.ring();
        self.starts.ring();
    }

    pub fn has_jobs(&self) -> bool {
        let jobs = self.jobs.borrow();
        jobs.queued() + jobs.running() > 0 || !self.is_quiet()
    }

    /// Every job that was posted has its answer.
    pub fn is_quiet(&self) -> bool {
        self.asked.borrow().is_empty() && self.waiting.borrow().is_empty()
    }

    /// Everything that was said is in the jobs file.
    pub fn is_settled(&self) -> bool {
        !self.jobs.borrow().has_unwritten()
    }

    fn stopping(&self) -> bool {
        self.core.control.phase() >= Phase::Draining
    }

    fn accepted(&self, id: u64) -> Option<Accepted> {
        self.jobs.borrow().get(id).cloned()
    }
}

/// Starts what the worker does all the time.
pub fn spawn(populate: &Rc<Populate>) {
    glommio::spawn_local(file::write(populate.clone())).detach();
    glommio::spawn_local(run::start_all(populate.clone())).detach();
}
