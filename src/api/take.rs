//! Where checked items go: into the sink, or, in test mode, into a report.

use super::report::Report;
use super::validate::{Fault, Item, Rules};
use super::{Decision, Tally, verdict};
use crate::point::{Point, PointSink};

/// Takes the items of one request, one after the other.
pub(super) struct Taker<'r, S> {
    pub rules: Rules<'r>,
    pub name: &'r mut String,
    pub sink: &'r mut S,
    pub tally: Tally,
    /// Set in test mode: nothing reaches the sink.
    pub report: Option<Report>,
}

impl<S: PointSink> Taker<'_, S> {
    pub fn take(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        let checked = item.check(&self.rules, self.name)?;
        let finite = checked.value.is_finite();
        if let Some(report) = &mut self.report {
            report.add(checked.name, finite);
        } else if finite {
            self.sink.push(Point {
                name: checked.name,
                timestamp: checked.timestamp,
                value: checked.value,
                fill: item.fill,
            });
        } else {
            self.tally.discarded_not_finite += 1;
        }
        Ok(())
    }

    /// Every item was good.
    pub fn finish(self) -> Decision {
        match self.report {
            Some(report) => report.answer(self.rules.prefix).into(),
            None => Decision::Points(self.tally),
        }
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
            discarded_not_finite: 0,
            problem: Some(fault.problem),
            ..tally
        },
    }
}
