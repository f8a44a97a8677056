//! How long an executor waits between two sweeps: a moment while something is due soon, longer while nothing is.
//!
//! A sweep out of sleep costs a tenth of a millisecond of a CPU that others may need, so an executor with nothing under
//! way makes none of its own. The timer of 50 ms that every executor has for life (`sweep::guard`) ends a lull, and so
//! does whoever brings work.

use super::doorbell::Doorbell;
use std::cell::Cell;

#[derive(Default)]
pub struct Lull {
    on: Cell<bool>,
    bell: Doorbell,
}

impl Lull {
    pub async fn wait(&self) {
        self.on.set(true);
        self.bell.wait().await;
    }

    /// The next sweep is due at once. Nothing, where no lull is on.
    #[inline]
    pub fn end(&self) {
        if self.on.take() {
            self.bell.ring();
        }
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.get()
    }
}
