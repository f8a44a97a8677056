//! The other executors, which send us parcels, and which may have to share our CPU.
//!
//! A shard with nothing to do lets them run once before it goes to sleep. What they send meanwhile is there when its
//! turn comes again, and it takes all of it at once: nobody had to put it to sleep and wake it for each
//! (docs/decisions/0002). On a CPU of its own that is one short call.

use super::mail;
use super::mesh::Rest;
use super::shard::Shard;
use std::rc::Rc;

pub struct Neighbours {
    shard: Rc<Shard>,
    /// There is another shard.
    many: bool,
}

impl Neighbours {
    pub fn of(shard: &Rc<Shard>) -> Neighbours {
        Neighbours {
            shard: shard.clone(),
            // One member is the populate core.
            many: shard.mesh.members() > 2,
        }
    }

    /// Does what they have sent. `false`: nothing has come.
    pub fn take_mail(&self) -> bool {
        mail::take(&self.shard)
    }

    pub fn has_mail(&self) -> bool {
        self.shard.mesh.has_mail()
    }

    /// Lets those run that can. Whether something has come from them.
    pub fn go_first(&self) -> bool {
        if self.many {
            std::thread::yield_now();
        }
        self.has_mail()
    }

    /// Nobody waits for what only a turn of glommio's can bring: a disk, a store, a timer.
    pub fn may_doze(&self) -> bool {
        self.shard.connections.aside.get() == 0 && !self.shard.pipeline.borrow().is_awaited()
    }

    /// They ring from here on. `false`: something has come.
    pub fn rest(&self, rest: Rest) -> bool {
        self.shard.mesh.rest(rest)
    }

    pub fn wake(&self) {
        self.shard.mesh.wake();
    }
}
