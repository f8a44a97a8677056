//! A metric's history, fetched from a remote Graphite or Prometheus and delivered like other points. Pure but
//! for [`fetch`]: a job is read, kept, carried out and forgotten by asking this room what to do next.
//!
//! | file | what it decides |
//! |---|---|
//! | [`job`] | Vista's request → a job, or the rule that refuses it; [`literal`] reads its list of URLs |
//! | [`address`] | what an address is, as it is checked and as it goes out |
//! | [`jobs`] | which job runs next, and what the jobs file must say; [`record`] is its bytes |
//! | [`work`] | the order of one job: search, fetch, resample, send |
//! | [`plan`] | what to ask: Graphite's windows for the last timestamp, each URL as it goes out |
//! | [`parse`] | an answer → points |
//! | [`resample`] | points → one for each minute |
//! | [`pace`] | how many points a second all jobs together hand over |
//! | [`fetch`] | one answer over http or https; the edge |
//! | [`cause`] | why a fetch gave nothing |
//!
//! # What the runtime has to do
//!
//! **Start.** Read the jobs file, [`Jobs::load`](jobs::Jobs::load) it, put a
//! [`snapshot`](jobs::Jobs::snapshot) in its place (write beside it, sync, rename, sync the directory) and
//! only then append. Count and log the damage. [`Fetcher::new`](fetch::Fetcher::new) belongs into preflight:
//! it reads the CA file.
//!
//! **A request.** On the shard that read it, [`job::read`] with the body, inflated. A refusal is answered as
//! its [`fault`](job::Refused::fault) says; [`Posted::Nothing`](job::Posted::Nothing) is 204. A job goes to
//! the populate core, which answers 429 unless [`has_room`](jobs::Jobs::has_room), asks the metric's owner
//! shard for the starting mark (its table, else the store) and tells it to remember the first live timestamp
//! it accepts from now on, in one message, so that no live point falls between the two; then
//! [`accept`](jobs::Jobs::accept). `Unknown` is the start where neither knew the metric; `Stored` is what one
//! of them said. [`Full`](jobs::Full) is 429 here too. The 204 waits for the write that takes what
//! [`take_unwritten`](jobs::Jobs::take_unwritten) gives next, also for a job that
//! [`waits already`](jobs::Posted::Waiting): by `journal.durability` for that write, or for its sync. One
//! write at a time; everything that came meanwhile goes into the next. Nothing to take and no write under
//! way: it is durable already.
//!
//! **A failed write.** [`write_failed`](jobs::Jobs::write_failed), 504 to who waited for it, and a snapshot
//! as at the start before anything else is written; a snapshot that fails is a failed write. The same
//! snapshot whenever [`wants_snapshot`](jobs::Jobs::wants_snapshot) and no write is under way.
//!
//! **A job.** While fewer than `populate.concurrency` run, [`start`](jobs::Jobs::start) one, and give it a
//! thread of the populate core for its blocking part:
//!
//! ```text
//! let mut work = Work::new(accepted, options, now);
//! loop {
//!     match work.next(now) {
//!         Fetch(ask)   => work.answered(fetcher.get(&ask)),       // on the thread; a failure is its cause
//!         Keep(mark)   => { jobs.found(id, mark); work.kept() }
//!         AskLive      => { wait until the owner has told all; work.live(the job's live) }
//!         Send(points) => { wait for the pace, and for room in the budget; hand over as `fill` points; work.sent() }
//!         End(outcome) => break,
//!     }
//! }
//! ```
//!
//! `now` is in Unix seconds; parsing in [`answered`](work::Work::answered) takes up to some hundred
//! milliseconds and belongs on the thread too, so a `Work` is `Send`. Between two `Send`s live points have
//! their turn, and a first live timestamp that the owner reports late is told at once
//! ([`live`](work::Work::live)): what is not handed over yet and lies at or after it is dropped.
//!
//! **The end of a job.** When all its points are delivered, the [`mark`](work::Sent::mark) goes to the owner
//! shard, which alone writes it, max-merged, after what it had queued before is delivered; with it the
//! target is added to `vista.fetcher.unique_metrics` (where [`remember`](work::Outcome::remember) says so)
//! and `vista.last.resolution.<metric>` is set for 3600 s. Only then [`done`](jobs::Jobs::done), with the
//! mark's timestamp where it has a value, or [`failed`](jobs::Jobs::failed): a crash before that repeats the
//! job from its stored start, which overwrites equal values and loses nothing. The owner forgets the first
//! live timestamp when the last job of the metric has ended.
//!
//! **After a restart** owners know no first live timestamp: the runtime tells them about each recovered
//! job's metric before it serves, and what the jobs file says ([`Accepted::live`](record::Accepted::live))
//! counts as well.

pub mod address;
pub mod cause;
pub mod fetch;
pub mod job;
pub mod jobs;
pub mod literal;
pub mod pace;
pub mod parse;
pub mod plan;
pub mod record;
pub mod resample;
pub mod work;

use crate::config;

impl From<&config::Populate> for work::Options {
    fn from(populate: &config::Populate) -> work::Options {
        work::Options {
            graphite: populate.graphite.clone(),
            resample_seconds: populate.resample_seconds,
            submit_current_minute: populate.submit_current_minute,
            hosts: address::Hosts(populate.allowed_hosts.clone()),
        }
    }
}

impl From<&config::Populate> for jobs::Limits {
    fn from(populate: &config::Populate) -> jobs::Limits {
        jobs::Limits {
            jobs_max: populate.jobs_max,
            bytes_max: jobs::JOBS_BYTES_MAX,
        }
    }
}
