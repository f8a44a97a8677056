//! While other shards owe us replies: a short timer here, and a nudge for an owner that does not move.
//!
//! glommio can put an executor to sleep although it was rung for, when the wake-up comes at the wrong moment
//! (docs/decisions/0002); then only something else wakes it, the sweep at the latest. Ringing once more is something
//! else. It was seen once in about a hundred hops, when glommio's channels were the mesh.

use super::doorbell::Doorbell;
use super::shard::Shard;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Twice what a hop takes, so that most need no nudge; well below the millisecond a hop may take.
const PATIENCE: Duration = Duration::from_micros(400);

/// What each owner owes.
pub struct Owed {
    owners: Box<[Owner]>,
    total: Cell<u32>,
    bell: Doorbell,
}

#[derive(Default)]
struct Owner {
    groups: Cell<u32>,
    replies: Cell<u64>,
}

impl Owed {
    pub fn new(members: usize) -> Owed {
        Owed {
            owners: (0..members).map(|_| Owner::default()).collect(),
            total: Cell::new(0),
            bell: Doorbell::default(),
        }
    }

    pub fn sent(&self, owner: usize) {
        let groups = &self.owners[owner].groups;
        groups.set(groups.get() + 1);
        if self.total.replace(self.total.get() + 1) == 0 {
            self.bell.ring();
        }
    }

    pub fn replied(&self, owner: usize) {
        let owner = &self.owners[owner];
        owner.groups.set(owner.groups.get() - 1);
        owner.replies.set(owner.replies.get() + 1);
        self.total.set(self.total.get() - 1);
    }
}

pub async fn run(shard: Rc<Shard>) {
    let owed = &shard.owed;
    let mut seen = vec![0; owed.owners.len()];
    loop {
        owed.bell.wait().await;
        while owed.total.get() > 0 {
            for (seen, owner) in seen.iter_mut().zip(&owed.owners) {
                *seen = owner.replies.get();
            }
            glommio::timer::sleep(PATIENCE).await;
            for (index, owner) in owed.owners.iter().enumerate() {
                if owner.groups.get() > 0 && owner.replies.get() == seen[index] {
                    shard.mesh.nudge(index);
                }
            }
        }
    }
}
