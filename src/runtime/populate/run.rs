//! One job from its start to its end: [`Work`] says what is next, and it is carried out here.

use super::{Asked, Populate};
use crate::last::Mark;
use crate::pipeline::{Leave, ToOwner};
use crate::populate::cause::Cause;
use crate::populate::jobs::Last;
use crate::populate::parse::Raw;
use crate::populate::record::{Accepted, Ended};
use crate::populate::work::{Ask, Next, Outcome, Sent, Work};
use crate::runtime::SWEEP;
use crate::runtime::doorbell::Doorbell;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// A job that waits for its pace looks up this often, so that a stop need not wait for it.
const PACE_WAIT_MAX: Duration = Duration::from_millis(50);

/// A job that runs, as others see it.
#[derive(Default)]
pub struct Run {
    /// The owner has told of every live point so far.
    told: Cell<bool>,
    bell: Doorbell,
    /// A live point that the owner told of by itself.
    late: Cell<Option<u32>>,
}

impl Run {
    pub fn all_told(&self) {
        self.told.set(true);
        self.bell.ring();
    }

    pub fn live(&self, from: u32) {
        let earliest = self.late.get().map_or(from, |known| known.min(from));
        self.late.set(Some(earliest));
    }

    async fn heard_all(&self) {
        while !self.told.get() {
            self.bell.wait().await;
        }
    }
}

/// Starts jobs as there are places for them, until the service stops.
pub async fn start_all(populate: Rc<Populate>) {
    while !populate.stopping() {
        let next = match populate.runs.borrow().len() < populate.concurrency {
            true => populate.jobs.borrow_mut().start().cloned(),
            false => None,
        };
        match next {
            Some(accepted) => {
                populate
                    .runs
                    .borrow_mut()
                    .insert(accepted.id, Rc::default());
                glommio::spawn_local(run(populate.clone(), accepted)).detach();
            }
            None => populate.starts.wait().await,
        }
    }
}

async fn run(populate: Rc<Populate>, accepted: Accepted) {
    let id = accepted.id;
    let Some(run) = populate.runs.borrow().get(&id).cloned() else {
        return;
    };
    let clock = || populate.core.clock.now().unix_seconds;
    let mut work = Work::new(&accepted, &populate.options, clock());
    let outcome = loop {
        if populate.stopping() {
            // It runs again from its stored start.
            return;
        }
        if let Some(from) = run.late.take() {
            // Before everything is fetched it is asked for anyway; this only makes it earlier.
            late(&mut work, from);
        }
        match work.next(clock()) {
            Next::Fetch(ask) => work = fetch(&populate, work, ask).await,
            Next::Keep(mark) => {
                let from = populate.first_live(&run, id, &accepted).await;
                work.heard(from);
                if work.next(clock()) == Next::Keep(mark) {
                    populate.jobs.borrow_mut().found(id, mark);
                    populate.writes.ring();
                    work.kept();
                }
            }
            Next::AskLive => work.live(populate.first_live(&run, id, &accepted).await),
            Next::Send(points) => match populate.hand_over(id, &accepted, points) {
                Ok(()) => work.sent(),
                Err(wait) => glommio::timer::sleep(wait).await,
            },
            Next::End(outcome) => break outcome,
        }
        yield_once().await;
    };
    let under_way = populate.core.pipeline.borrow().is_backfilling(id);
    if under_way {
        populate.runs.borrow_mut().remove(&id);
        populate.delivering.borrow_mut().insert(id, outcome);
        populate.starts.ring();
    } else {
        populate.finish(id, outcome);
    }
}

/// A live point came: it only matters once the bins are there.
fn late(work: &mut Work, from: u32) {
    if work.is_sending() {
        work.live(Some(from));
    }
}

/// Lets the connection and the admin listener have their turn between two steps.
async fn yield_once() {
    futures_lite::future::yield_now().await;
}

/// The blocking part, on a thread of the populate core.
async fn fetch(populate: &Populate, mut work: Work, ask: Ask) -> Work {
    let fetcher = populate.fetcher.clone();
    let (work, failure) = glommio::executor()
        .spawn_blocking(move || {
            let answer = fetcher.get(&ask);
            let failure = answer.as_ref().err().cloned();
            let answer = answer.as_deref().map_err(|failure| failure.cause);
            work.answered(answer);
            (work, failure)
        })
        .await;
    if let Some(failure) = failure {
        populate
            .core
            .logger
            .debug(format_args!("populate: {}: {failure}", work.metric()));
    }
    work
}

impl Populate {
    /// Hands points of a job over for delivery, or says how long to wait before it is tried again.
    fn hand_over(&self, id: u64, accepted: &Accepted, points: &[Raw]) -> Result<(), Duration> {
        let now_us = self.core.clock.now().us;
        if let Some(wait_us) = self.pace.borrow_mut().wait_us(now_us) {
            return Err(Duration::from_micros(wait_us).min(PACE_WAIT_MAX));
        }
        let metric = &accepted.job.metric;
        self.core
            .turn(|pipeline, now| pipeline.backfill(id, metric, points, now))
            // Carbon is slower than this, or down.
            .map_err(|_| SWEEP)?;
        self.pace.borrow_mut().handed_over(points.len(), now_us);
        self.core.link.ring();
        Ok(())
    }

    /// The first live timestamp that was accepted since the job was, in this run or an earlier one; not what the
    /// owner told other jobs of the metric before.
    async fn first_live(&self, run: &Run, id: u64, accepted: &Accepted) -> Option<u32> {
        run.told.set(false);
        let token = self.ask(Asked::FirstLive(id));
        let metric = accepted.job.metric.clone();
        self.tell(ToOwner::AskLive { token, metric });
        run.heard_all().await;
        self.accepted(id)?.live
    }

    /// The end of a job, with everything it sent delivered.
    pub(super) fn finish(&self, id: u64, outcome: Outcome) {
        self.runs.borrow_mut().remove(&id);
        let Some(accepted) = self.accepted(id) else {
            return;
        };
        let job = &accepted.job;
        let Outcome { result, remember } = outcome;
        let sent = result.as_ref().ok();
        self.tell(ToOwner::Leave(Leave {
            metric: job.metric.clone(),
            mark: sent.and_then(|sent| sent.mark).map(mark),
            target: remember.then(|| job.target.clone()),
            resolution: sent.and_then(|sent| sent.resolution),
        }));
        match &result {
            Ok(sent) => self.done(id, sent),
            Err(cause) => self.failed(id, job.metric.as_str(), *cause),
        }
        self.jobs.borrow_mut().remember(Last {
            metric: job.metric.clone(),
            at: self.core.clock.now().unix_seconds,
            result: match &result {
                Ok(sent) => Ok((sent.points, skipped(sent))),
                Err(cause) => Err(*cause),
            },
        });
        self.tell(ToOwner::Unwatch {
            metric: job.metric.clone(),
        });
        self.writes.ring();
        self.starts.ring();
    }

    fn done(&self, id: u64, sent: &Sent) {
        for cause in &sent.skipped {
            self.skipped.borrow_mut().add(cause.label(), 1);
        }
        let newest = sent.mark.and_then(|(at, value)| value.map(|_| at));
        let skipped = skipped(sent);
        self.jobs.borrow_mut().done(id, Ended { newest, skipped });
    }

    fn failed(&self, id: u64, metric: &str, cause: Cause) {
        let now = self.core.clock.now().unix_seconds;
        self.core
            .logger
            .warn(format_args!("populate: {metric}: {cause}"));
        self.skipped.borrow_mut().add(cause.label(), 1);
        self.jobs.borrow_mut().failed(id, cause, now);
    }
}

/// How many URLs gave nothing.
fn skipped(sent: &Sent) -> u16 {
    u16::try_from(sent.skipped.len()).unwrap_or(u16::MAX)
}

fn mark((timestamp, value): (u32, Option<f64>)) -> Mark {
    Mark { timestamp, value }
}
