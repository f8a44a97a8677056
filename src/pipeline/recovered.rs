//! Points of earlier runs on their way through their owner: into the lane of their own, and back to whoever
//! reads the journal as "delivered" and as "done with".

use super::{Now, Pipeline};
use crate::budget;
use crate::carbon::outbound::{Accepted, Lane};
use crate::journal::ledger::Ledger;
use crate::point::Block;

/// Names a record being replayed: which of the streams found at the start, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    pub stream: u32,
    pub sequence: u64,
}

/// Points of several records for one owner.
#[derive(Debug, Default)]
pub struct Recovered {
    /// In order, with how many of the points belong to each.
    pub records: Vec<(RecordId, u32)>,
    /// A point that moves no mark is a fill.
    pub block: Block,
}

impl Recovered {
    /// In the bytes that admission counts.
    pub fn cost(&self) -> usize {
        budget::cost(self.block.len_bytes(), self.block.points())
    }
}

/// What an owner tells the reader of the journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cost of what was delivered: there is room for as much again.
    pub delivered_cost: usize,
    /// This owner will never send its points of these records again.
    pub done: Vec<RecordId>,
}

/// What this owner has of earlier runs.
#[derive(Debug, Default)]
pub(super) struct Books {
    ledger: Ledger<RecordId>,
    report: Report,
}

impl Books {
    pub fn delivered(&mut self, cost: usize) {
        self.report.delivered_cost += cost;
    }

    pub fn gone(&mut self, points: u64) {
        let done = &mut self.report.done;
        self.ledger.released(points, |record| done.push(record));
    }
}

impl Pipeline {
    /// Takes points of an earlier run. They were accepted then: nothing is decided here, and the table knows
    /// them from the start. What the store holds by now is looked up before their marks are written.
    pub fn recover(&mut self, recovered: &Recovered, now: Now) {
        for &(record, points) in &recovered.records {
            self.recovered.ledger.add(record, points);
        }
        for (hash, point) in recovered.block.iter() {
            let accepted = match point.fill {
                true => Accepted::Unmarked,
                false => Accepted::Unchecked,
            };
            self.outbound
                .push(Lane::Recovered, (hash, point), accepted, now.ms());
        }
    }

    /// What there is to tell since the last call.
    pub fn take_report(&mut self) -> Option<Report> {
        let report = std::mem::take(&mut self.recovered.report);
        (report != Report::default()).then_some(report)
    }
}
