//! A shard's side of its journal: what was written releases answers, and an orderly stop without a journal
//! writes its backlog.

use super::Pipeline;
use super::desk::Desk;
use crate::config::Durability;
use crate::journal::{Outcome, Write};
use crate::telemetry::latency::Stage;

/// Of a backlog, this much is handed to the journal at a time: frames leave the memory as their bytes
/// reach the file.
const BACKLOG_STEP_BYTES: usize = 4 * 1024 * 1024;

/// How far an orderly stop has come with the backlog of a shard that keeps no journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Backlog {
    /// Nothing was asked for; a shard with a journal needs nothing more.
    #[default]
    Queued,
    /// Undelivered points handed to the journal so far.
    Keeping(u64),
}

/// Undelivered points of a shard that stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The next start delivers them.
    pub journalled: u64,
    pub lost: u64,
}

impl Pipeline {
    /// A write that the journal had started is over: the answers that waited for it are due.
    pub fn journal_written(&mut self, write: Write, written: bool, took_us: u64) {
        self.latency.record(Stage::Commit, took_us);
        let Pipeline {
            journal,
            reads,
            gathered,
            effects,
            settings,
            ..
        } = self;
        let shard = settings.shard;
        let mut desk = Desk {
            shard,
            reads,
            gathered,
            effects,
        };
        journal.finished(write, written, |group, outcome| {
            desk.answer(group, outcome == Outcome::Unknown);
        });
    }

    /// Tells admission whether the journal has room; `earlier_bytes` is this shard's share of what earlier runs
    /// have left on the disk.
    pub fn admit(&mut self, earlier_bytes: u64) {
        self.journal.segments.set_earlier_bytes(earlier_bytes);
        self.settle_admission();
    }

    /// A write that takes long does not hold up carbon, so what is delivered gives its budget back while its
    /// record still waits: that too is bounded, or a disk that hangs would fill the memory.
    pub(super) fn settle_admission(&self) {
        let waits = self.journal.pending_bytes() > self.budgets.limit();
        match self.stopping || waits || self.journal.segments.is_full() {
            true => self.budgets.close(self.settings.shard),
            false => self.budgets.open(self.settings.shard),
        }
    }

    /// The service stops: nothing new is admitted, and what carbon has not taken goes to the journal, where it
    /// is not there already. A step at a time; true when everything is there.
    pub fn keep_backlog(&mut self) -> bool {
        self.stopping = true;
        self.settle_admission();
        // From here on also what was admitted before and is decided later: its answer waits for the journal.
        // And what is delivered and kept for a redo: carbon may die with it unread when nobody is here to
        // repeat it.
        if self.journal.durability() == Durability::Memory {
            self.journal.keep_backlog();
            self.backlog = Backlog::Keeping(0);
        }
        let Backlog::Keeping(kept) = &mut self.backlog else {
            return self.journal.is_idle();
        };
        let protocol = self.outbound.protocol();
        while self.journal.pending_bytes() < BACKLOG_STEP_BYTES {
            let Some((frame, undelivered)) = self.outbound.take_backlog() else {
                return self.journal.is_idle();
            };
            *kept += u64::from(undelivered);
            frame.points(protocol, |point| {
                self.journal.push(point);
            });
        }
        false
    }

    /// What a stop leaves behind.
    pub fn left(&self) -> Left {
        let queued = self.outbound.queued();
        // What earlier runs left is still in their segments.
        let (journalled, lost) = match (&self.backlog, self.journal.durability()) {
            (Backlog::Keeping(kept), _) => {
                let unwritten = self.journal.unwritten_points().min(*kept);
                (kept - unwritten, unwritten + queued.live)
            }
            (Backlog::Queued, Durability::Memory) => (0, queued.live),
            (Backlog::Queued, Durability::Journal | Durability::Fsync) => {
                // The deadline may have come before the last write: those are the newest, so hardly delivered.
                let lost = queued.live.min(self.journal.unwritten_points());
                (queued.live - lost, lost)
            }
        };
        Left {
            journalled: journalled + queued.recovered,
            lost,
        }
    }
}
