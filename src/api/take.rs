//! Where checked items go: into the sink, or, in test mode, into a report; and what is left out on the way.

use super::auth::Keys;
use super::partly::{Counts, LeftOut};
use super::quota::Quota;
use super::report::Report;
use super::skip::Skip;
use super::validate::{Fault, Item, Rules};
use super::{Decision, Tally, name, verdict};
use crate::point::{Point, PointSink};

/// Takes the items of one request, one after the other.
pub(super) struct Taker<'r, S> {
    pub rules: Rules<'r>,
    pub name: &'r mut String,
    pub sink: &'r mut S,
    pub tally: Tally,
    /// Set in test mode: nothing reaches the sink.
    pub report: Option<Report>,
    pub skip: Option<&'r Skip>,
    pub quota: Option<Quota<'r>>,
    /// Set while the items are only looked at: a place under a quota is taken once all of them are good.
    pub only_check: bool,
    pub left_out: LeftOut,
}

impl<S: PointSink> Taker<'_, S> {
    #[inline]
    pub fn take(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        let name = name::finish(item, &self.rules, self.name)?;
        if self.skip.is_some_and(|skip| skip.matches(name)) {
            if self.only_check {
                return Ok(());
            }
            self.tally.skipped += 1;
            if let Some(report) = &mut self.report {
                report.add(name, false);
            }
            return Ok(());
        }
        let (timestamp, value) = item.check_numbers(&self.rules)?;
        if self.only_check {
            return Ok(());
        }
        if let Some(report) = &mut self.report {
            report.add(name, value.is_finite());
            return Ok(());
        }
        if !value.is_finite() {
            self.tally.discarded_not_finite += 1;
            return Ok(());
        }
        if let Some(quota) = &mut self.quota {
            let sent = name.strip_prefix(self.rules.prefix).unwrap_or(name);
            if !quota.admit(name) {
                self.tally.over_quota += 1;
                self.left_out.lists().rejected.add(sent);
                return Ok(());
            }
            self.left_out.lists().processed.add(sent);
        }
        self.sink.push(Point {
            name,
            timestamp,
            value,
            fill: item.fill,
        });
        Ok(())
    }

    /// A value that no number can be made of, in a request that is accepted without it.
    pub fn drop_not_numeric(&mut self, name: &str) {
        if self.only_check {
            return;
        }
        self.tally.not_numeric += 1;
        match &mut self.report {
            Some(report) => report.add(name, false),
            None => self.left_out.lists().dropped.add(name),
        }
    }

    /// Values that no name can be made for.
    pub fn drop_unnamed(&mut self, values: u32) {
        if !self.only_check {
            self.tally.unnamed += values;
        }
    }

    /// Every item was good.
    #[inline]
    pub fn finish(&mut self, keys: &Keys) -> Decision {
        let all_taken = self.tally.over_quota == 0 && self.tally.not_numeric == 0;
        match all_taken && self.report.is_none() {
            true => Decision::Points(self.tally),
            false => self.finish_with_answer(keys),
        }
    }

    #[inline(never)]
    fn finish_with_answer(&mut self, keys: &Keys) -> Decision {
        if let Some(report) = self.report.take() {
            return report.answer(self.rules.prefix).into();
        }
        let tally = self.tally;
        let counts = Counts {
            submitted: tally.received - tally.not_numeric - tally.unnamed,
            rejected: tally.over_quota,
            skipped: tally.skipped,
            dropped: tally.not_numeric,
        };
        let answer = match &self.quota {
            Some(quota) if tally.over_quota > 0 => {
                let lists = self.left_out.lists();
                lists.over_quota(quota.max(), counts, keys)
            }
            _ if tally.not_numeric > 0 => self.left_out.lists().dropped(counts, keys),
            _ => return Decision::Points(tally),
        };
        Decision::Partly { answer, tally }
    }
}

/// Everything the request carried is rejected, for one reason.
pub(super) fn reject(fault: &Fault, place: &str, tally: Tally) -> Decision {
    let detail = match (place.is_empty(), fault.why.is_empty()) {
        (true, _) => fault.why.to_string(),
        (false, true) => place.to_owned(),
        (false, false) => format!("{place} - {}", fault.why),
    };
    Decision::Answer {
        answer: verdict::refuse(fault.problem, &detail),
        tally: Tally {
            received: tally.received,
            namespace: tally.namespace,
            problem: Some(fault.problem),
            ..Tally::default()
        },
    }
}
