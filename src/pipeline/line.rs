//! Carbon's line protocol, in: bytes → points for their owners. There is no answer, so what cannot be let in now
//! is not consumed: the runtime stops reading until it can.

use super::{Now, Pipeline};
use crate::api::verdict::Problem;
use crate::budget::Refused;
use crate::carbon::line::parse_line;
use crate::request::ReadId;
use crate::telemetry::counters::Reject;

/// Lines that are let in together: enough to make admission cheap, few enough to fit what is left of a budget.
const TOGETHER: usize = 64;

/// What a connection that sends lines remembers between reads.
#[derive(Debug, Default)]
pub struct Feed {
    /// In a line that is too long: what follows is passed over, to the line's end.
    skipping: bool,
    /// A budget had no room at the last look.
    paused: bool,
}

/// What bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Bytes that are done with. What is left begins a line.
    pub consumed: usize,
    /// A budget has no room for the next lines: they are to be offered again, before more is read.
    pub blocked: bool,
}

/// Some lines, taken into the sink and not yet let in.
struct Taken {
    consumed: usize,
    skipping: bool,
    tally: crate::api::Tally,
    /// Why lines were passed over, one for each.
    faults: Vec<Problem>,
    /// What there is to say of the first of them.
    first: Option<String>,
}

impl Pipeline {
    /// Takes the whole lines of what was read.
    pub fn feed(&mut self, feed: &mut Feed, bytes: &[u8], now: Now) -> Fed {
        let mut consumed = 0;
        let mut together = TOGETHER;
        let mut blocked = false;
        loop {
            let taken = self.take_lines(feed.skipping, &bytes[consumed..], together, now);
            if taken.consumed == 0 {
                break;
            }
            match self.budgets.reserve(self.gathered.needs()) {
                Ok(()) => {
                    self.gathered.commit(0, taken.tally.namespace);
                    self.count_lines(&taken, None, now);
                }
                Err(Refused::TooLarge) if together > 1 => {
                    self.gathered.rollback();
                    together = 1;
                    continue;
                }
                Err(Refused::TooLarge) => {
                    self.gathered.rollback();
                    self.count_lines(&taken, Some(Problem::LargerThanBudget), now);
                }
                Err(Refused::Full) => {
                    self.gathered.rollback();
                    blocked = true;
                    break;
                }
            }
            consumed += taken.consumed;
            feed.skipping = taken.skipping;
            together = TOGETHER;
        }
        if blocked && !feed.paused {
            self.counters.line.pauses += 1;
        }
        feed.paused = blocked;
        self.hand_over(ReadId::NOBODY, now);
        Fed { consumed, blocked }
    }

    /// A connection was closed because nothing came on it.
    pub fn closed_idle_feed(&mut self) {
        self.counters.line.idle_closed += 1;
    }

    fn take_lines(&mut self, mut skipping: bool, bytes: &[u8], most: usize, now: Now) -> Taken {
        self.gathered.begin();
        let (sink, scratch) = (&mut self.gathered, &mut self.scratch);
        let line_bytes_max = self.api.line.line_bytes_max;
        let mut lines = self.api.lines(now.unix_seconds, scratch, sink);
        let mut faults = Vec::new();
        let mut first = None;
        let mut rest = bytes;
        for _ in 0..most {
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if line.len() > line_bytes_max && !skipping {
                lines.pass_over();
                faults.push(Problem::BodyTooLarge);
                skipping = true;
            }
            let Some(end) = end else {
                if skipping {
                    rest = &[];
                }
                break;
            };
            rest = &rest[end + 1..];
            if std::mem::take(&mut skipping) || line.trim_ascii().is_empty() {
                continue;
            }
            let taken = match parse_line(line) {
                Ok(line) => lines
                    .take(line.name, line.value, line.timestamp)
                    .map_err(|fault| {
                        if faults.is_empty() {
                            first = Some(self.api.told_of_line(line.name, &fault));
                        }
                        fault.problem
                    }),
                Err(_) => {
                    lines.pass_over();
                    Err(Problem::InvalidLine)
                }
            };
            faults.extend(taken.err());
        }
        Taken {
            consumed: bytes.len() - rest.len(),
            skipping,
            tally: lines.finish(),
            faults,
            first,
        }
    }

    /// Each bad line counts under its own reason; with a problem, the good ones under that.
    fn count_lines(&mut self, taken: &Taken, problem: Option<Problem>, now: Now) {
        let bad = taken.faults.len() as u32;
        let good = crate::api::Tally {
            received: taken.tally.received - bad,
            ..taken.tally
        };
        self.count(&good, problem);
        self.note_lines(taken, problem, good.received, now);
        for fault in &taken.faults {
            let one = crate::api::Tally {
                received: 1,
                namespace: taken.tally.namespace,
                ..Default::default()
            };
            self.count(&one, Some(*fault));
        }
        self.counters.line.points += u64::from(taken.tally.received);
    }

    /// As for requests: what there would be to tell.
    fn note_lines(&mut self, taken: &Taken, problem: Option<Problem>, good: u32, now: Now) {
        let mut note = |cause, points: u32, text: &str| {
            let (at, namespace) = (now.unix_seconds, taken.tally.namespace);
            self.refused
                .note(at, cause, namespace, points.into(), || text.to_owned());
        };
        match (problem, taken.tally.over_quota) {
            (Some(problem), _) => note(problem.reason(), good, problem.message()),
            (None, 0) => {}
            (None, over) => note(Reject::Quota, over, "over quota"),
        }
        let mut first = taken.first.as_deref();
        for fault in &taken.faults {
            let text = first.take().unwrap_or(fault.message());
            note(fault.reason(), 1, text);
        }
    }
}
