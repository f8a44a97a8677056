//! What the main thread tells the executors, and they it: start, drain, stop. Read on the sweep, never
//! on the data path.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    Starting,
    Serving,
    /// No new connections; what is in flight is answered.
    Draining,
    /// Every shard has answered everything: what is accepted leaves for carbon and the last store.
    Flushing,
    Stopped,
}

#[derive(Debug)]
pub struct Control {
    phase: AtomicU8,
    /// Executors that are up, then those that have nothing unanswered, then those that are done.
    met: AtomicUsize,
    /// Points that could not be delivered before the drain deadline.
    left: AtomicUsize,
}

impl Default for Control {
    fn default() -> Self {
        Control {
            phase: AtomicU8::new(Phase::Starting as u8),
            met: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        }
    }
}

impl Control {
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            2 => Phase::Draining,
            3 => Phase::Flushing,
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
    pub fn leave(&self, points: u64) {
        self.left.fetch_add(points as usize, Ordering::AcqRel);
    }

    pub fn left(&self) -> usize {
        self.left.load(Ordering::Acquire)
    }

    pub fn met(&self) -> usize {
        self.met.load(Ordering::Acquire)
    }
}
