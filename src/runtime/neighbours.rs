//! The other executors, which send us parcels, and which may have to share our CPU.
//!
//! A shard with nothing to do lets them run once before it goes to sleep. What they send meanwhile is there when its
//! turn comes again, and it takes all of it at once: nobody had to put it to sleep and wake it for each
//! (docs/decisions/0002). On a CPU of its own that is one short call.

use super::mail;
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

    /// Lets those run that can. Whether something has come from them.
    pub fn go_first(&self) -> bool {
        if self.many {
            std::thread::yield_now();
        }
        self.shard.mesh.has_mail()
    }

    /// They ring from here on. `false`: something has come.
    pub fn sleep(&self) -> bool {
        self.shard.mesh.sleep()
    }

    pub fn wake(&self) {
        self.shard.mesh.wake();
    }
}
