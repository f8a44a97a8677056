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
    // On the way of every request: what it takes and gives does not fit into registers.
    #[inline(always)]
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
        if let Err(refused) = reserved {
            return self.refuse_points(tally, refused, now);
        }
        self.count(tally, None);
        if let Some(answer) = &answer {
            self.note(tally, None, answer, now);
        }
        *owners = self.gathered.commit(self.reads.len(id), tally.namespace);
        answer
    }

    /// The same of points some of which were left out: the answer says which.
    #[inline(never)]
    pub(super) fn reserve_partly(
        &mut self,
        id: ReadId,
        tally: &Tally,
        answer: Answer,
        now: Now,
        owners: &mut u16,
    ) -> Due {
        self.reserve(id, tally, Some(Box::new(answer)), now, owners)
    }

    #[cold]
    fn refuse_points(&mut self, tally: &Tally, refused: Refused, now: Now) -> Due {
        let (problem, refusal) = match refused {
            Refused::Full => (Problem::Busy, verdict::busy(RETRY_AFTER_SECONDS)),
            Refused::TooLarge => (Problem::LargerThanBudget, verdict::larger_than_budget()),
        };
        self.gathered.rollback();
        self.count(tally, Some(problem));
        self.note(tally, Some(problem), &refusal, now);
        Some(Box::new(refusal))
    }

    /// Counts what a request's points came to; with a problem, all of them were rejected for it.
    #[inline]
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
