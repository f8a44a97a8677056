//! The owner shard of a name, and the points of one read gathered by owner.

mod sip;

use crate::budget;
use crate::point::{Block, NameHash, Point, PointSink};
use crate::request::ReadId;
use sip::Sip13;

/// Hashes names under a key made at start, so that nobody can choose names that collide.
#[derive(Clone, Copy, Debug)]
pub struct NameHasher(Sip13);

impl NameHasher {
    pub fn new(key: [u8; 16]) -> Self {
        NameHasher(Sip13::new(key))
    }

    #[inline(always)]
    pub fn hash(&self, name: &str) -> NameHash {
        self.hash_bytes(name.as_bytes())
    }

    #[inline(always)]
    pub fn hash_bytes(&self, name: &[u8]) -> NameHash {
        self.0.hash(name)
    }
}

/// Which shard alone holds this metric's last timestamp. The table uses the hash's low half, so the
/// owner comes from its high half.
pub fn owner_of(hash: NameHash, shards: usize) -> usize {
    let high = (hash >> 64) as u64;
    ((high as u128 * shards as u128) >> 64) as usize
}

/// The part of one request that went to one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which request of the read, counted from 0.
    pub request: u32,
    pub points: u32,
    /// Index into the configured namespaces, for the counters.
    pub namespace: Option<u16>,
}

/// Everything one read has for one owner: one message. It passes through many hands, so only its address moves.
pub type Group = Box<Contents>;

#[derive(Debug, Default)]
pub struct Contents {
    pub read: ReadId,
    /// The shard that read it and waits for the reply.
    pub from: usize,
    pub parts: Vec<Part>,
    pub block: Block,
}

impl Contents {
    pub fn cost(&self) -> usize {
        budget::cost(self.block.len_bytes(), self.block.points())
    }
}

/// An owner's answer to a group: every point was decided, or it failed and the outcome is unknown.
/// Brings the group back, so that its buffers are used again by the shard that made them.
#[derive(Debug)]
pub struct Reply {
    pub group: Group,
    /// The shard that decided.
    pub owner: usize,
    pub failed: bool,
}

/// Gathers the points of one read by owner.
#[derive(Debug)]
pub struct Gathered {
    hasher: NameHasher,
    shard: usize,
    owners: Vec<Group>,
    /// Block sizes where the current request began, for owners it touched: (owner, bytes, points).
    touched: Vec<(usize, usize, u32)>,
    spare: Vec<Group>,
}

/// Buffers kept for the next read, for each owner a few; more are freed.
const SPARE_GROUPS_MAX: usize = 64;
/// A spare block that grew above this is freed: one huge request must not be remembered for ever.
const SPARE_BLOCK_BYTES_MAX: usize = 256 * 1024;

impl Gathered {
    pub fn new(hasher: NameHasher, shard: usize, shards: usize) -> Self {
        Gathered {
            hasher,
            shard,
            owners: (0..shards).map(|_| Group::default()).collect(),
            touched: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub fn hash(&self, name: &str) -> NameHash {
        self.hasher.hash(name)
    }

    /// A request begins: what is pushed from here on can be rolled back.
    pub fn begin(&mut self) {
        self.touched.clear();
    }

    /// What the request needs of each owner it touches, in budget bytes.
    pub fn needs(&self) -> impl Iterator<Item = (usize, usize)> + Clone + '_ {
        self.touched.iter().map(|&(owner, bytes, points)| {
            let block = &self.owners[owner].block;
            let cost = budget::cost(block.len_bytes() - bytes, block.points() - points);
            (owner, cost)
        })
    }

    /// Takes back every point of the request.
    pub fn rollback(&mut self) {
        for (owner, bytes, points) in self.touched.drain(..) {
            self.owners[owner].block.truncate(bytes, points);
        }
    }

    /// The request stands: notes which owners must answer for it. Returns how many.
    #[inline]
    pub fn commit(&mut self, request: u32, namespace: Option<u16>) -> u16 {
        let owners = self.touched.len() as u16;
        for &(owner, _, points_before) in &self.touched {
            let group = &mut self.owners[owner];
            group.parts.push(Part {
                request,
                points: group.block.points() - points_before,
                namespace,
            });
        }
        self.touched.clear();
        owners
    }

    /// The read is over: its group for `owner`, if it has one.
    #[inline]
    pub fn take(&mut self, owner: usize, read: ReadId) -> Option<Group> {
        let gathered = self.owners.get_mut(owner)?;
        if gathered.parts.is_empty() {
            return None;
        }
        gathered.read = read;
        gathered.from = self.shard;
        let spare = self.spare.pop().unwrap_or_default();
        Some(std::mem::replace(gathered, spare))
    }

    /// Keeps an answered group's buffers for the next read.
    #[inline]
    pub fn recycle(&mut self, mut group: Group) {
        if self.spare.len() < SPARE_GROUPS_MAX && group.block.len_bytes() <= SPARE_BLOCK_BYTES_MAX {
            group.parts.clear();
            group.block.clear();
            self.spare.push(group);
        }
    }
}

impl PointSink for Gathered {
    // On the way of every point, from the two places where points are taken.
    #[inline(always)]
    fn push(&mut self, point: Point<'_>) {
        let hash = self.hasher.hash(point.name);
        let owner = owner_of(hash, self.owners.len());
        let block = &mut self.owners[owner].block;
        if !self.touched.iter().any(|touched| touched.0 == owner) {
            self.touched
                .push((owner, block.len_bytes(), block.points()));
        }
        block.push(hash, point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str) -> Point<'_> {
        Point {
            name,
            timestamp: 1,
            value: 1.0,
            fill: false,
        }
    }

    #[test]
    fn owners_share_the_names_evenly_and_each_name_has_one() {
        let hasher = NameHasher::new([7; 16]);
        let mut counts = [0; 8];
        for i in 0..8000 {
            let hash = hasher.hash(&format!("metric.{i}"));
            let owner = owner_of(hash, 8);
            assert_eq!(owner, owner_of(hasher.hash(&format!("metric.{i}")), 8));
            counts[owner] += 1;
        }
        assert!(
            counts.iter().all(|&n| (850..1150).contains(&n)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_rolled_back_request_leaves_the_requests_before_it_whole() {
        let mut gathered = Gathered::new(NameHasher::new([1; 16]), 0, 3);
        gathered.begin();
        (0..10).for_each(|i| gathered.push(point(&format!("kept.{i}"))));
        let owners = gathered.commit(0, None);
        gathered.begin();
        (0..10).for_each(|i| gathered.push(point(&format!("refused.{i}"))));
        assert!(gathered.needs().all(|(_, bytes)| bytes > 0));
        gathered.rollback();

        let groups: Vec<Group> = (0..3)
            .filter_map(|owner| gathered.take(owner, ReadId::default()))
            .collect();
        assert_eq!(groups.len(), owners as usize);
        let names: Vec<String> = groups
            .iter()
            .flat_map(|group| group.block.iter().map(|(_, p)| p.name.to_owned()))
            .collect();
        assert_eq!(names.len(), 10);
        assert!(names.iter().all(|name| name.starts_with("kept.")));
        assert_eq!(
            groups
                .iter()
                .flat_map(|g| &g.parts)
                .map(|p| p.points)
                .sum::<u32>(),
            10
        );
    }
}
