//! The other shards, which may have to share our CPU.
//!
//! A shard with nothing to do lets them run once before it goes to sleep. What they send meanwhile is there when its
//! turn comes again, and it takes all of it at once: nobody had to put it to sleep and wake it for each
//! (docs/decisions/0002). On a CPU of its own that is one short call.

use super::shard::Shard;
use std::rc::Rc;

pub struct Neighbours(Rc<Shard>);

impl Neighbours {
    /// `None`: there is no other shard.
    pub fn of(shard: &Rc<Shard>) -> Option<Neighbours> {
        // One member is the populate core.
        (shard.mesh.members() > 2).then(|| Neighbours(shard.clone()))
    }

    /// Lets those run that can. Whether something has come from them.
    pub fn go_first(&self) -> bool {
        std::thread::yield_now();
        self.0.mesh.has_mail()
    }
}
