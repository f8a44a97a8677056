//! What the main thread tells the executors, and they it: start, drain, stop. Read on the sweep, never
//! on the data path.

use crate::pipeline::Left;
use crate::telemetry::Reloads;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    Starting,
    Serving,
    /// No new connections; what is in flight is answered.
    Draining,
    /// Every shard has answered everything: what is accepted leaves for carbon and the last store.
    Flushing,
    /// Nothing leaves any more: what carbon has not taken is in the journal, or goes there now.
    Keeping,
    Stopped,
}

#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    /// Executors that are up, then those that have nothing unanswered, then those that are done.
    met: AtomicUsize,
    /// Points that were not delivered before the drain deadline.
    journalled: AtomicU64,
    lost: AtomicU64,
    /// Bytes of journal segments of earlier runs, for each shard to count against its part of the bound.
    earlier_bytes_per_shard: AtomicU64,
    /// Configurations that every executor has switched to, and those that were refused.
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
    /// One for each executor: how many sweeps it has made.
    sweeps: Box<[AtomicU64]>,
}

impl Control {
    pub fn new(members: usize) -> Self {
        Control {
            phase: AtomicU8::new(Phase::Starting as u8),
            met: AtomicUsize::new(0),
            journalled: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            earlier_bytes_per_shard: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            sweeps: (0..members).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            3 => Phase::Flushing,
            4 => Phase::Keeping,
            _ => Phase::Stopped,
        }
    }

    /// Moves on; a phase never comes back.
    pub fn enter(&self, phase: Phase) {
        self.met.store(0, Ordering::Release);
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
    }

    /// One executor has done what this phase asks for.
    pub fn meet(&self) {
        self.met.fetch_add(1, Ordering::AcqRel);
    }

    /// An executor ends with this many points undelivered.
    pub fn leave(&self, left: Left) {
        self.journalled.fetch_add(left.journalled, Ordering::AcqRel);
        self.lost.fetch_add(left.lost, Ordering::AcqRel);
    }

    pub fn left(&self) -> Left {
        Left {
            journalled: self.journalled.load(Ordering::Acquire),
            lost: self.lost.load(Ordering::Acquire),
        }
    }

    pub fn set_earlier_bytes(&self, bytes: u64, shards: usize) {
        let share = bytes.div_ceil(shards as u64);
        self.earlier_bytes_per_shard.store(share, Ordering::Release);
    }

    pub fn earlier_bytes_per_shard(&self) -> u64 {
        self.earlier_bytes_per_shard.load(Ordering::Acquire)
    }

    /// Every executor has switched to the configuration that was read again.
    pub fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::AcqRel);
    }

    pub fn refused_reload(&self) {
        self.reloads_refused.fetch_add(1, Ordering::AcqRel);
    }

    pub fn reloads(&self) -> Reloads {
        Reloads {
            ok: self.reloads.load(Ordering::Acquire),
            refused: self.reloads_refused.load(Ordering::Acquire),
        }
    }

    /// An executor's sweep has turned once more.
    pub fn swept(&self, member: usize) {
        self.sweeps[member].fetch_add(1, Ordering::Relaxed);
    }

    pub fn sweeps(&self) -> Vec<u64> {
        let sweeps = self.sweeps.iter();
        sweeps.map(|one| one.load(Ordering::Relaxed)).collect()
    }

    pub fn met(&self) -> usize {
        self.met.load(Ordering::Acquire)
    }
}
