//! How many distinct metrics a namespace may have. A metric that is known is always taken; a new one takes the
//! next free place, or is refused when there is none.
//!
//! Each namespace with a quota has one [`Ledger`] for all shards: an array that only grows at its end, where a
//! place is claimed by one compare-and-swap. So its order is the same for every shard and no place is given
//! twice, without a lock. A shard keeps a set of what it has read of each ledger, so a known metric
//! costs a look-up in memory of its own (docs/decisions/0012).

use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;

/// A metric in a ledger: 64 bits of a keyed hash of its name. Two names of a million share one with a chance
/// of one in 37 million, and then the second takes no place of its own.
pub type Print = u64;

/// No print: a place that is free.
const FREE: Print = 0;

/// The places of one namespace.
#[derive(Clone, Debug)]
struct Ledger {
    /// `None` since a reload took it away: the places are kept, because the shards have read them.
    quota: Option<usize>,
    /// Together as many as the quota, or as were known before it was lowered. A reload that raises it adds a
    /// piece, so that shards that have not switched yet and those that have claim the same places.
    places: Vec<Arc<[AtomicU64]>>,
}

fn free(places: usize) -> Arc<[AtomicU64]> {
    (0..places).map(|_| AtomicU64::new(FREE)).collect()
}

impl Ledger {
    fn capacity(&self) -> usize {
        self.places.iter().map(|piece| piece.len()).sum()
    }

    fn place(&self, mut index: usize) -> Option<&AtomicU64> {
        for piece in &self.places {
            match piece.get(index) {
                Some(place) => return Some(place),
                None => index -= piece.len(),
            }
        }
        None
    }

    /// The same places under another quota.
    fn after(&self, quota: Option<usize>) -> Ledger {
        let mut ledger = Ledger {
            quota,
            ..self.clone()
        };
        let missing = quota.unwrap_or_default().saturating_sub(self.capacity());
        if missing > 0 {
            ledger.places.push(free(missing));
        }
        ledger
    }
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
    max: usize,
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
            Ledger {
                quota: Some(quota),
                places: vec![places],
            }
        };
        let ledgers = namespaces.into_iter();
        Quotas {
            key,
            ledgers: ledgers.map(|namespace| namespace.map(ledger)).collect(),
        }
    }

    /// Those of a configuration that was read again. A namespace that had a quota keeps its places.
    pub fn after(&self, quotas: impl IntoIterator<Item = Option<usize>>) -> Quotas {
        let ledgers = quotas.into_iter().enumerate().map(|(index, quota)| {
            match (self.ledgers.get(index), quota) {
                (Some(Some(ledger)), quota) => Some(ledger.after(quota)),
                (_, Some(quota)) => Some(Ledger {
                    quota: Some(quota),
                    places: vec![free(quota)],
                }),
                (_, None) => None,
            }
        });
        Quotas {
            key: self.key,
            ledgers: ledgers.collect(),
        }
    }

    /// Whether a key's namespace has a quota.
    #[inline]
    pub fn has(&self, namespace: Option<u16>) -> bool {
        namespace.is_some_and(|index| {
            let ledger = self.ledgers.get(usize::from(index));
            ledger.is_some_and(|ledger| ledger.as_ref().is_some_and(|it| it.quota.is_some()))
        })
    }

    /// The quota of a key's namespace, if it has one.
    pub fn of<'q>(&'q self, namespace: Option<u16>, known: &'q mut Known) -> Option<Quota<'q>> {
        let index = usize::from(namespace?);
        let ledger = self.ledgers.get(index)?.as_ref()?;
        let max = ledger.quota?;
        if known.read.len() < self.ledgers.len() {
            known.read.resize_with(self.ledgers.len(), HashSet::new);
        }
        Some(Quota {
            key: self.key,
            ledger,
            max,
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
        let pieces = self.ledgers.iter().flatten().flat_map(|l| &l.places);
        pieces.map(|piece| piece.partition_point(taken)).sum()
    }

    /// The known metrics of each namespace, in the order they came; `None` where there is no quota.
    pub fn known(&self) -> impl Iterator<Item = Option<Vec<Print>>> + '_ {
        self.ledgers.iter().map(|ledger| {
            let ledger = ledger.as_ref().filter(|ledger| ledger.quota.is_some())?;
            let places = ledger
                .places
                .iter()
                .flat_map(|piece| piece.iter())
                .map(|place| place.load(Ordering::Acquire));
            Some(places.take_while(|print| *print != FREE).collect())
        })
    }
}

impl Quota<'_> {
    pub fn max(&self) -> usize {
        self.max
    }

    /// Whether the metric is known, or has just become so.
    pub fn admit(&mut self, name: &str) -> bool {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(name.as_bytes());
        let print = hasher.finish().max(FREE + 1);
        if self.known.contains(&print) {
            return true;
        }
        loop {
            // What other shards have added, and this one not read yet. Every print stands once, so the
            // set is as long as what was read.
            while let Some(place) = self.ledger.place(self.known.len()) {
                match place.load(Ordering::Acquire) {
                    FREE => break,
                    other => self.known.insert(other),
                };
            }
            if self.known.contains(&print) {
                return true;
            }
            let next = self.known.len();
            let Some(place) = self.ledger.place(next).filter(|_| next < self.max) else {
                return false;
            };
            let claimed = place.compare_exchange(FREE, print, Ordering::AcqRel, Ordering::Acquire);
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

    /// A shard that has not switched yet and one that has claim the same places, whatever the quota became.
    #[test]
    fn a_reload_keeps_the_places_and_takes_the_new_quota() {
        let before = one(2);
        let (mut late, mut early) = (Known::default(), Known::default());
        let admit = |quotas: &Quotas, known: &mut Known, name: &str| {
            let quota = quotas.of(Some(1), known);
            quota.map(|mut quota| quota.admit(name))
        };
        assert_eq!(admit(&before, &mut late, "a"), Some(true));
        let raised = before.after([None, Some(3), Some(1)]);
        assert_eq!(admit(&raised, &mut early, "b"), Some(true));
        assert_eq!(admit(&before, &mut late, "c"), Some(false));
        assert_eq!(admit(&raised, &mut early, "c"), Some(true));
        assert_eq!(admit(&raised, &mut late, "d"), Some(false));
        assert_eq!(raised.taken(), 3);

        let lowered = raised.after([None, Some(1)]);
        assert_eq!(admit(&lowered, &mut early, "c"), Some(true), "known");
        assert_eq!(admit(&lowered, &mut early, "d"), Some(false));
        let without = lowered.after([None, None]);
        assert_eq!(admit(&without, &mut early, "e"), None);
        assert_eq!(without.known().collect::<Vec<_>>(), [None, None]);
        let again = without.after([Some(1), Some(4)]);
        assert_eq!(admit(&again, &mut early, "e"), Some(true));
        assert_eq!(admit(&again, &mut late, "f"), Some(false));
        let known = again.known().nth(1).flatten();
        assert_eq!(known.map(|known| known.len()), Some(4));
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
