//! Whether a peer (carbon, the last store) is there: told by the task that talks to it, logged on
//! change only, shown as a gauge.

use crate::telemetry::log::{Logger, Watch};
use std::cell::{Cell, RefCell};

pub struct Health {
    what: &'static str,
    up: Cell<bool>,
    why: RefCell<String>,
    /// Assumed up: a peer that is there from the start is no news.
    watch: RefCell<Watch<bool>>,
    pub connects: Cell<u64>,
}

impl Health {
    pub fn new(what: &'static str) -> Health {
        Health {
            what,
            up: Cell::new(false),
            why: RefCell::default(),
            watch: RefCell::new(Watch::new(true)),
            connects: Cell::new(0),
        }
    }

    pub fn is_up(&self) -> bool {
        self.up.get()
    }

    pub fn up(&self) {
        self.up.set(true);
        self.connects.set(self.connects.get() + 1);
    }

    /// Up again without a new connection.
    pub fn recovered(&self) {
        self.up.set(true);
    }

    pub fn down(&self, why: impl ToString) {
        self.up.set(false);
        *self.why.borrow_mut() = why.to_string();
    }

    /// Something is wrong although the peer is there; part of the next line about it.
    pub fn complains(&self, why: impl ToString) {
        *self.why.borrow_mut() = why.to_string();
    }

    /// `whose`: the shard, or the populate core.
    pub fn report(&self, logger: Logger, whose: &str, now_seconds: u32) {
        let due = self
            .watch
            .borrow_mut()
            .observe(self.up.get(), now_seconds.into());
        let what = self.what;
        match due {
            Some(_) if self.up.get() => logger.info(format_args!("{whose}: {what} is up")),
            Some(changes) => logger.warn(format_args!(
                "{whose}: {what} is down ({changes} changes): {}",
                self.why.borrow()
            )),
            None => {}
        }
    }
}
