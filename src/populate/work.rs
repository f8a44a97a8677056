//! One job from its start to its end, as a sequence of things to do: the caller carries each out and says
//! what came of it. Nothing here waits, fetches or sends.

use super::address::{Address, Hosts};
use super::cause::Cause;
use super::job::Remote;
use super::parse::{self, Keep, Raw, Summary};
use super::plan::{self, Search};
use super::record::{Accepted, Start};
use super::resample::{self, Rules};

/// Most points of one job: 64 MiB of them. 90 days at two seconds.
pub const POINTS_MAX: usize = 4_000_000;
/// Points handed over at a time: a frame's. Between two of them live points have their turn.
pub const CHUNK_POINTS: usize = 480;
/// A series whose newest point is younger and null has nothing to send and is not asked for again at once.
const NULL_SECONDS: u32 = 120;

/// What is the same for all jobs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Graphite's render API.
    pub graphite: Option<String>,
    pub resample_seconds: u32,
    pub submit_current_minute: bool,
    pub hosts: Hosts,
}

/// An address to fetch, and where its redirects may lead.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub address: Address,
    /// Our own Graphite, which is asked whatever `allowed_hosts` says; its redirects are not exempt.
    pub local: bool,
}

#[derive(Debug, PartialEq)]
pub enum Next<'w> {
    /// Fetch it, and give the answer to [`Work::answered`].
    Fetch(Ask),
    /// Tell [`Work::heard`] what the owner has accepted live so far, and if this is still what is next,
    /// keep it with the job ([`Jobs::found`](super::jobs::Jobs::found)) and call [`Work::kept`].
    Keep(Option<u32>),
    /// Everything is fetched. Ask the owner for the first live timestamp accepted since the job was, and
    /// give it to [`Work::live`].
    AskLive,
    /// Hand these over for delivery, then call [`Work::sent`].
    Send(&'w [Raw]),
    /// When what was handed over is delivered, the job is done.
    End(Outcome),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub result: Result<Sent, Cause>,
    /// The target belongs into `vista.fetcher.unique_metrics`.
    pub remember: bool,
}

/// What a job that did not fail has to leave behind once its points are delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    pub points: u64,
    /// The mark, max-merged by the owner: the newest point, or `None` as its value for a series that is
    /// null at its end.
    pub mark: Option<(u32, Option<f64>)>,
    /// For `vista.last.resolution.<metric>`.
    pub resolution: Option<u32>,
    /// Why URLs gave nothing, one for each.
    pub skipped: Vec<Cause>,
    /// Points that were not sent: without a value or unreadable, and already known.
    pub discarded: u64,
    pub old: u64,
}

#[derive(Debug)]
enum Stage {
    Search(Search),
    Keep(Option<u32>),
    Fetch(usize),
    AskLive,
    Send(usize),
}

#[derive(Debug)]
pub struct Work {
    accepted: Accepted,
    options: Options,
    stage: Stage,
    /// As it stood when it gave the mark that is to be kept.
    search: Option<Search>,
    mark: Option<u32>,
    recent: bool,
    /// A young stored mark: the target is known, whatever comes of this.
    known: bool,
    /// When the first URL was asked.
    asked: Option<u32>,
    points: Vec<Raw>,
    /// Over all answers.
    newest: Option<(u32, bool)>,
    bins: Vec<Raw>,
    sent: Sent,
    answers: usize,
}

impl Work {
    pub fn new(accepted: &Accepted, options: &Options, now: u32) -> Work {
        let (mark, from_graphite) = match accepted.start {
            Start::Stored(mark) => (Some(mark), false),
            Start::Graphite(mark) => (mark, true),
            Start::Unknown => (None, false),
        };
        let recent = mark.is_some_and(|mark| plan::is_recent(mark, from_graphite, now));
        let stage = match (&options.graphite, accepted.start) {
            (Some(render), Start::Unknown) => {
                Stage::Search(Search::new(render, &accepted.job.metric))
            }
            _ => Stage::Fetch(0),
        };
        Work {
            stage,
            search: None,
            mark,
            recent,
            known: recent && !from_graphite,
            asked: None,
            points: Vec::new(),
            newest: None,
            bins: Vec::new(),
            sent: Sent::default(),
            answers: 0,
            accepted: accepted.clone(),
            options: options.clone(),
        }
    }

    pub fn id(&self) -> u64 {
        self.accepted.id
    }

    pub fn metric(&self) -> &str {
        &self.accepted.job.metric
    }

    /// What to do now. Asking twice without an answer gives the same.
    pub fn next(&mut self, now: u32) -> Next<'_> {
        if let Stage::Search(search) = &mut self.stage {
            match search_address(search) {
                Some(address) => {
                    return Next::Fetch(Ask {
                        address,
                        local: true,
                    });
                }
                None => self.stage = Stage::Keep(None),
            }
        }
        while let Stage::Fetch(index) = self.stage {
            let Some(url) = self.accepted.job.urls.get(index) else {
                self.stage = Stage::AskLive;
                break;
            };
            let now = *self.asked.get_or_insert(now);
            let recent = self.mark.filter(|_| self.recent);
            let url = plan::outgoing(url, self.accepted.job.remote, recent, now);
            // It was checked when it was accepted; the configuration may be another one by now.
            match Address::parse(&url) {
                Ok(address) if self.options.hosts.allow(&address) => {
                    return Next::Fetch(Ask {
                        address,
                        local: false,
                    });
                }
                Ok(_) => self.skip(index, Cause::HostNotAllowed),
                Err(_) => self.skip(index, Cause::Refused),
            }
        }
        match self.stage {
            Stage::Keep(mark) => Next::Keep(mark),
            Stage::Send(at) if at < self.bins.len() => {
                Next::Send(&self.bins[at..self.bins.len().min(at + CHUNK_POINTS)])
            }
            Stage::Send(_) => Next::End(self.outcome(now)),
            _ => Next::AskLive,
        }
    }

    /// What the fetch gave: the body of a 200, or why there is none.
    pub fn answered(&mut self, answer: Result<&[u8], Cause>) {
        match &mut self.stage {
            Stage::Search(search) => {
                let keep = Keep {
                    after: None,
                    // What lies there since was sent by others: it hides no history before it.
                    before: self
                        .accepted
                        .live
                        .unwrap_or(u32::MAX)
                        .min(self.accepted.accepted),
                    points_max: POINTS_MAX,
                };
                let mut points = Vec::new();
                let read = |body| parse::parse(body, Remote::Graphite, &keep, &mut points);
                match answer
                    .and_then(read)
                    .ok()
                    .and_then(|found| found.newest_value)
                {
                    Some(mark) => {
                        self.search = Some(search.clone());
                        self.stage = Stage::Keep(Some(mark));
                    }
                    None => search.widen(),
                }
            }
            Stage::Fetch(index) => {
                let index = *index;
                match answer.and_then(|body| self.take(body)) {
                    Ok(()) => {
                        self.answers += 1;
                        self.stage = Stage::Fetch(index + 1);
                    }
                    Err(cause) => self.skip(index, cause),
                }
            }
            Stage::Keep(_) | Stage::AskLive | Stage::Send(_) => {
                debug_assert!(false, "an answer to nothing");
            }
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            mark: self.mark,
            asked: self.asked.unwrap_or(self.accepted.accepted),
            resample_seconds: self.options.resample_seconds,
            submit_current_minute: self.options.submit_current_minute,
        }
    }

    fn skip(&mut self, index: usize, cause: Cause) {
        self.sent.skipped.push(cause);
        self.stage = Stage::Fetch(index + 1);
    }

    fn take(&mut self, body: &[u8]) -> Result<(), Cause> {
        let keep = Keep {
            after: self.mark,
            // A minute that is not over may be null only because its points have not come yet.
            before: self.rules().end().unwrap_or(u32::MAX),
            points_max: POINTS_MAX,
        };
        let Summary {
            newest,
            without_value,
            unreadable,
            old,
            ..
        } = parse::parse(body, self.accepted.job.remote, &keep, &mut self.points)?;
        self.sent.discarded += u64::from(without_value) + u64::from(unreadable);
        self.sent.old += u64::from(old);
        if newest.is_some_and(|(at, _)| self.newest.is_none_or(|(known, _)| known <= at)) {
            self.newest = newest;
        }
        Ok(())
    }

    /// The first live timestamp accepted since the job was, if there is one yet. Graphite may have had that
    /// point by the time it was asked; then it is asked once more, for what is older.
    pub fn heard(&mut self, from: Option<u32>) {
        let first = from.into_iter().chain(self.accepted.live).min();
        self.accepted.live = first;
        if let (Stage::Keep(Some(mark)), Some(first)) = (&self.stage, first)
            && *mark >= first
            && let Some(search) = self.search.take()
        {
            self.stage = Stage::Search(search);
        }
    }

    /// The starting mark that Graphite gave is kept with the job.
    pub fn kept(&mut self) {
        if let Stage::Keep(mark) = self.stage {
            self.mark = mark;
            self.recent = mark.is_some();
            self.stage = Stage::Fetch(0);
        }
    }

    /// The first live timestamp accepted since the job was, if there is one. It may be told again, and
    /// earlier, at any time: what is not handed over yet and lies at or after it is not sent.
    pub fn live(&mut self, from: Option<u32>) {
        if let Stage::AskLive = self.stage {
            let resampled = resample::resample(std::mem::take(&mut self.points), &self.rules());
            self.bins = resampled.bins;
            self.sent.resolution = resampled.resolution;
            self.stage = Stage::Send(0);
        }
        let known = self.accepted.live;
        let first = from.into_iter().chain(known).min();
        self.accepted.live = first;
        if let (Stage::Send(at), Some(first)) = (&self.stage, first) {
            let below = self.bins.partition_point(|(bin, _)| *bin < first);
            self.bins.truncate(below.max(*at));
        }
    }

    /// Everything is fetched and resampled.
    pub fn is_sending(&self) -> bool {
        matches!(self.stage, Stage::Send(_))
    }

    /// What [`Next::Send`] gave was handed over.
    pub fn sent(&mut self) {
        if let Stage::Send(at) = &mut self.stage {
            let end = self.bins.len().min(*at + CHUNK_POINTS);
            self.sent.points += (end - *at) as u64;
            *at = end;
        }
    }

    fn outcome(&self, now: u32) -> Outcome {
        let mut sent = self.sent.clone();
        sent.mark = match (self.bins.last(), self.newest) {
            (Some((at, value)), _) => Some((*at, Some(*value))),
            // So that Vista stops posting a series that has no values now.
            (None, Some((at, false))) if self.is_young(at, now) => Some((at, None)),
            _ => None,
        };
        let remember = self.known || sent.mark.is_some();
        let failed = self.answers == 0;
        let cause = sent.skipped.first().copied().filter(|_| failed);
        Outcome {
            result: cause.map_or(Ok(sent), Err),
            remember,
        }
    }
}

impl Work {
    /// Young, not ahead of our clock, and no live point has come for the metric.
    fn is_young(&self, at: u32, now: u32) -> bool {
        let young = at > now.saturating_sub(NULL_SECONDS) && at <= now;
        young && self.accepted.live.is_none()
    }
}

/// The next window that can be asked at all.
fn search_address(search: &mut Search) -> Option<Address> {
    loop {
        let url = search.next()?;
        match Address::parse(&url) {
            Ok(address) => return Some(address),
            Err(_) => search.widen(),
        }
    }
}

#[cfg(test)]
#[path = "tests/work.rs"]
mod tests;
