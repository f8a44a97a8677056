//! Whether a request's points are let in, and what they count as.

use super::{Now, Pipeline, RETRY_AFTER_SECONDS};
use crate::api::Tally;
use crate::api::verdict::{self, Problem};
use crate::budget::Refused;
use crate::http::response::Answer;
use crate::request::{Due, ReadId};
use crate::telemetry::counters::{Discard, Reject};

impl Pipeline {
    /// Reserves for the points that were gathered. `answer`, once `owners` have decided, if there is room.
    #[inline]
    pub(super) fn reserve(
        &mut self,
        id: ReadId,
        tally: &Tally,
        answer: Due,
        now: Now,
        owners: &mut u16,
    ) -> Due {
        let reserved = self.budgets.reserve(self.gathered.needs());
        self.pressed = reserved.is_err();
        let (problem, refusal) = match reserved {
            Ok(()) => {
                self.count(tally, None);
                if let Some(answer) = &answer {
                    self.note(tally, None, answer, now);
                }
                *owners = self.gathered.commit(self.reads.len(id), tally.namespace);
                return answer;
            }
            Err(Refused::Full) => (Problem::Busy, verdict::busy(RETRY_AFTER_SECONDS)),
            Err(Refused::TooLarge) => (Problem::LargerThanBudget, verdict::larger_than_budget()),
        };
        self.gathered.rollback();
        self.count(tally, Some(problem));
        self.note(tally, Some(problem), &refusal, now);
        Some(Box::new(refusal))
    }

    /// Counts what a request's points came to; with a problem, all of them were rejected for it.
    pub(super) fn count(&mut self, tally: &Tally, problem: Option<Problem>) {
        let received = u64::from(tally.received);
        let points = &mut self.counters.points;
        points.received += received;
        match problem {
            None => {
                points.discard(Discard::NotFinite, tally.discarded_not_finite.into());
                points.discard(Discard::NotNumeric, tally.not_numeric.into());
                points.discard(Discard::Unnamed, tally.unnamed.into());
                points.discard(Discard::Skipped, tally.skipped.into());
                points.reject(Reject::Quota, tally.over_quota.into());
            }
            Some(problem) => points.reject(problem.reason(), received),
        }
        if let Some(namespace) = tally.namespace {
            let numbers = self.counters.namespace(namespace);
            numbers.received += received;
            numbers.rejected += match problem {
                Some(_) => received,
                None => tally.over_quota.into(),
            };
        }
    }

    /// Remembers what the sender of refused points is told, for people.
    pub(super) fn note(
        &mut self,
        tally: &Tally,
        problem: Option<Problem>,
        answer: &Answer,
        now: Now,
    ) {
        let (cause, points) = match problem {
            Some(problem) => (problem.reason(), tally.received),
            None if tally.over_quota > 0 => (Reject::Quota, tally.over_quota),
            None => return,
        };
        let told = || verdict::told(answer);
        self.refused.note(
            now.unix_seconds,
            cause,
            tally.namespace,
            points.into(),
            told,
        );
    }
}
