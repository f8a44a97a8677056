//! Where groups come back to once every point of them is decided: on the shard that read them their requests are
//! answered, and their buffers are used again.

use super::{Effects, Now, Pipeline};
use crate::api::verdict;
use crate::request::Reads;
use crate::router::{Gathered, Group, Reply};
use crate::telemetry::latency::Stage;

/// What an answer to a group needs of a pipeline, so that the journal can be asked for the groups meanwhile.
pub(super) struct Desk<'p> {
    pub shard: usize,
    pub reads: &'p mut Reads,
    pub gathered: &'p mut Gathered,
    pub effects: &'p mut Effects,
}

impl Desk<'_> {
    /// This owner's answer to a group, wherever it was read.
    #[inline]
    pub fn answer(&mut self, group: Group, failed: bool) {
        if group.from == self.shard {
            return self.decided(group, failed);
        }
        let reply = Reply {
            owner: self.shard,
            failed,
            group,
        };
        self.effects.replies.push((reply.group.from, reply));
    }

    /// An owner's answer to a group that was read here.
    #[inline]
    pub fn decided(&mut self, group: Group, failed: bool) {
        let unknown = failed.then(verdict::outcome_unknown);
        let requests = group.parts.iter().map(|part| part.request);
        let woken = self.reads.decided(group.read, requests, unknown.as_ref());
        if let Some(connection) = woken {
            self.effects.wake.push(connection);
        }
        self.gathered.recycle(group);
    }
}

impl Pipeline {
    /// Every point of the group is decided. Its answer waits for the journal: for its own points, and for
    /// the originals of its duplicates.
    #[inline]
    pub(super) fn finish(&mut self, group: Group) {
        if let Some(group) = self.journal.wait(group) {
            self.desk().answer(group, false);
        }
    }

    /// Another owner's reply to a group of ours.
    pub fn reply(&mut self, reply: Reply, now: Now) {
        if let Some(began_us) = self.reads.began_us(reply.group.read) {
            self.latency.record(Stage::Owner, now.us - began_us);
        }
        self.desk().decided(reply.group, reply.failed);
    }

    fn desk(&mut self) -> Desk<'_> {
        Desk {
            shard: self.settings.shard,
            reads: &mut self.reads,
            gathered: &mut self.gathered,
            effects: &mut self.effects,
        }
    }
}
