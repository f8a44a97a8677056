//! How many distinct metrics a namespace may have. A metric that is known is always taken; a new one takes the
//! next free place, or is refused when there is none.
//!
//! Each namespace with a quota has one [`Ledger`] for all shards: an array that only grows at its end, where a
//! place is claimed by one compare-and-swap. So its order is the same for every shard and no place is given
//! twice, without a lock. A shard keeps a set of what it has read of each ledger, so a known metric
//! costs a look-up in memory of its own (docs/decisions/0012).

use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

/// A metric in a ledger: 64 bits of a keyed hash of its name. Two names of a million share one with a chance
/// of one in 37 million, and then the second takes no place of its own.
pub type Print = u64;

/// No print: a place that is free.
const FREE: Print = 0;

/// The places of one namespace.
#[derive(Debug)]
struct Ledger {
    quota: usize,
    /// As many as the quota, or as were known before it was lowered.
    places: Box<[AtomicU64]>,
}

/// All ledgers, in the order of [`super::auth::Keys::namespaces`].
#[derive(Debug, Default)]
pub struct Quotas {
    key: [u8; 16],
    ledgers: Vec<Option<Ledger>>,
}

/// What one shard has read of the ledgers.
#[derive(Debug, Default)]
pub struct Known {
    read: Vec<HashSet<Print>>,
}

/// One namespace's quota, as one request sees it.
#[derive(Debug)]
pub struct Quota<'q> {
    key: [u8; 16],
    ledger: &'q Ledger,
    known: &'q mut HashSet<Print>,
}

impl Quotas {
    /// `namespaces` gives each its quota, if it has one, and the prints, by this `key`, of the metrics that
    /// were known before.
    pub fn new(
        key: [u8; 16],
        namespaces: impl IntoIterator<Item = Option<(usize, Vec<Print>)>>,
    ) -> Quotas {
        let ledger = |(quota, mut known): (usize, Vec<Print>)| {
            // A print that stood twice would never be read to its end.
            let mut once = HashSet::new();
            known.retain(|print| *print != FREE && once.insert(*print));
            let places = known.len().max(quota);
            let free = std::iter::repeat_n(FREE, places - known.len());
            let places = known.into_iter().chain(free).map(AtomicU64::new).collect();
            Ledger { quota, places }
        };
        let ledgers = namespaces.into_iter();
        Quotas {
            key,
            ledgers: ledgers.map(|namespace| namespace.map(ledger)).collect(),
        }
    }

    /// The quota of a key's namespace, if it has one.
    pub fn of<'q>(&'q self, namespace: Option<u16>, known: &'q mut Known) -> Option<Quota<'q>> {
        let index = usize::from(namespace?);
        let ledger = self.ledgers.get(index)?.as_ref()?;
        if known.read.len() < self.ledgers.len() {
            known.read.resize_with(self.ledgers.len(), HashSet::new);
        }
        Some(Quota {
            key: self.key,
            ledger,
            known: &mut known.read[index],
        })
    }

    /// The key of the prints.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    /// How many metrics are known, of all namespaces.
    pub fn taken(&self) -> usize {
        let taken = |place: &AtomicU64| place.load(Ordering::Acquire) != FREE;
        let ledgers = self.ledgers.iter().flatten();
        ledgers
            .map(|ledger| ledger.places.partition_point(taken))
            .sum()
    }

    /// The known metrics of each namespace, in the order they came; `None` where there is no quota.
    pub fn known(&self) -> impl Iterator<Item = Option<Vec<Print>>> + '_ {
        self.ledgers.iter().map(|ledger| {
            let ledger = ledger.as_ref()?;
            let places = ledger
                .places
                .iter()
                .map(|place| place.load(Ordering::Acquire));
            Some(places.take_while(|print| *print != FREE).collect())
        })
    }
}

impl Quota<'_> {
    pub fn max(&self) -> usize {
        self.ledger.quota
    }

    /// Whether the metric is known, or has just become so.
    pub fn admit(&mut self, name: &str) -> bool {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(name.as_bytes());
        let print = hasher.finish().max(FREE + 1);
        if self.known.contains(&print) {
            return true;
        }
        let places = &self.ledger.places;
        loop {
            // What other shards have added, and this one not read yet. Every print stands once, so the
            // set is as long as what was read.
            while let Some(place) = places.get(self.known.len()) {
                match place.load(Ordering::Acquire) {
                    FREE => break,
                    other => self.known.insert(other),
                };
            }
            if self.known.contains(&print) {
                return true;
            }
            let next = self.known.len();
            if next >= self.ledger.quota {
                return false;
            }
            let claimed =
                places[next].compare_exchange(FREE, print, Ordering::AcqRel, Ordering::Acquire);
            if claimed.is_ok() {
                self.known.insert(print);
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn one(quota: usize) -> Quotas {
        Quotas::new([7; 16], [None, Some((quota, Vec::new()))])
    }

    #[test]
    fn known_metrics_are_always_taken_and_new_ones_while_there_is_a_place() {
        let quotas = one(2);
        let mut known = Known::default();
        assert!(quotas.of(None, &mut known).is_none());
        assert!(quotas.of(Some(0), &mut known).is_none());
        let mut quota = quotas.of(Some(1), &mut known).unwrap();
        let admitted = ["a", "b", "c", "a", "b", "c"].map(|name| quota.admit(name));
        assert_eq!(admitted, [true, true, false, true, true, false]);
        assert_eq!(quota.max(), 2);
    }

    #[test]
    fn a_restart_remembers_and_a_lowered_quota_keeps_what_was_known() {
        let quotas = one(3);
        let mut known = Known::default();
        let mut quota = quotas.of(Some(1), &mut known).unwrap();
        assert!(["a", "b", "c"].iter().all(|name| quota.admit(name)));
        let remembered: Vec<_> = quotas.known().collect();
        assert_eq!(remembered[0], None);
        for (max, new) in [(1, false), (4, true)] {
            // As a damaged file might have them.
            let twice = |known: &Vec<Print>| [known.as_slice(), &[FREE], known].concat();
            let namespaces = remembered
                .iter()
                .map(|known| Some((max, twice(known.as_ref()?))));
            let quotas = Quotas::new(quotas.key(), namespaces);
            let mut known = Known::default();
            let mut quota = quotas.of(Some(1), &mut known).unwrap();
            assert_eq!(quota.admit("d"), new);
            assert!(["a", "b", "c"].iter().all(|name| quota.admit(name)));
            assert!(!quota.admit("e"));
        }
    }

    /// Shards that all find the same names new: no more and no fewer than the quota get in, and all
    /// shards agree which.
    #[test]
    fn every_shard_decides_alike_and_no_place_is_given_twice() {
        const SHARDS: usize = 4;
        for round in 0..50 {
            let quotas = one(100);
            let barrier = Barrier::new(SHARDS);
            let shard = |shard: usize| {
                let mut known = Known::default();
                let mut quota = quotas.of(Some(1), &mut known).unwrap();
                barrier.wait();
                // Each starts elsewhere among the same 150 names.
                let names = (0..150).map(|i| (i + shard * 37) % 150);
                let first: Vec<_> = names.filter(|i| quota.admit(&format!("m.{i}"))).collect();
                barrier.wait();
                let again = (0..150).filter(|i| quota.admit(&format!("m.{i}")));
                (first, again.collect::<HashSet<_>>())
            };
            let seen: Vec<_> = std::thread::scope(|scope| {
                let spawned: Vec<_> = (0..SHARDS).map(|i| scope.spawn(move || shard(i))).collect();
                spawned.into_iter().map(|s| s.join().unwrap()).collect()
            });
            let (_, agreed) = &seen[0];
            assert_eq!(agreed.len(), 100, "round {round}");
            for (first, again) in &seen {
                assert_eq!(again, agreed, "round {round}");
                assert!(first.iter().all(|i| agreed.contains(i)), "round {round}");
            }
            let places = quotas.known().nth(1).unwrap().unwrap();
            assert_eq!(places.iter().collect::<HashSet<_>>().len(), 100);
        }
    }
}
