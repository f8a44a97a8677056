//! Which metrics the embedded store surely has no mark of: a filter for each of its layers, and all of them together.
//!
//! May assume that hashes are keyed and uniform, so any of their bits will do, and that nobody but us writes the store.

use crate::point::NameHash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bits for each mark: of what is absent one in 10,000 passes, and there are ten and more filters to be passed. With 16 it
/// would be nine.
const BITS_PER_MARK: usize = 24;
/// Words of a line, in each of which one bit is set for a mark. They come from memory together, so one look at it answers;
/// of four bits in one word 4 in 1000 would pass, because words fill less evenly than lines.
const LINE_WORDS: usize = 8;

/// As the CPU's cache has them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u64; LINE_WORDS]);

/// The marks of one layer, of which a few bits each are kept.
#[derive(Debug)]
pub struct Filter(Box<[Line]>);

/// Multiples of eight, so that they can be halved a few times.
fn lines_for(marks: u64) -> usize {
    let bits = (marks as usize).saturating_mul(BITS_PER_MARK);
    let lines = bits.div_ceil(8 * size_of::<Line>());
    match lines {
        0..8 => lines.max(1),
        _ => lines.next_multiple_of(8),
    }
}

impl Filter {
    /// Room for so many marks. With fewer bytes than they want more passes that is absent; `None` with none at all.
    pub fn new(marks: u64, bytes_max: usize) -> Option<Filter> {
        let lines = lines_for(marks).min(bytes_max / size_of::<Line>());
        (lines > 0).then(|| Filter(vec![Line::default(); lines].into()))
    }

    /// There are fewer marks than it was made for: no more lines than they want, if it can be halved so far.
    pub fn fold(&mut self, marks: u64) {
        while self.0.len().is_multiple_of(2) && self.0.len() / 2 >= lines_for(marks) {
            // A place is a share of the length, so two neighbours share the one they fall into.
            let both = |two: &[Line]| Line(std::array::from_fn(|n| two[0].0[n] | two[1].0[n]));
            self.0 = self.0.chunks(2).map(both).collect();
        }
    }

    fn line(&self, hash: NameHash) -> usize {
        ((u128::from(hash as u64) * self.0.len() as u128) >> 64) as usize
    }

    pub fn add(&mut self, hash: NameHash) {
        let line = self.line(hash);
        for (word, bit) in self.0[line].0.iter_mut().zip(bits(hash)) {
            *word |= bit;
        }
    }

    /// `bits` are the hash's.
    #[inline]
    fn may_have(&self, hash: NameHash, bits: &Bits) -> bool {
        let line = &self.0[self.line(hash)];
        // All of them, whatever the first ones say: nobody can guess where an early end would come, and with one guess a
        // line ("not there") the CPU asks the next filters while this line is still on its way.
        let words = line.0.iter().zip(bits);
        words.fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// One for each word of the line.
type Bits = [u64; LINE_WORDS];

/// The router has spent the highest bits of the high half.
fn bits(hash: NameHash) -> Bits {
    let high = (hash >> 64) as u64;
    std::array::from_fn(|n| 1 << (high >> (6 * n) & 63))
}

/// Filters by layer. `None`: anything may be in it.
pub type Layers = Vec<(u64, Option<Arc<Filter>>)>;

/// What one shard knows of all layers, as of some moment. Says "surely" only while that is still the newest there is to
/// know.
#[derive(Clone, Debug, Default)]
pub struct Known {
    layers: Layers,
    version: u64,
    newest: Arc<AtomicU64>,
}

impl Known {
    /// Of a store that has these layers.
    pub fn new(layers: Layers) -> Known {
        let mut known = Known::default();
        known.renew(layers);
        known
    }

    /// Every earlier copy says "maybe" from here on, until its shard takes a new one.
    pub fn renew(&mut self, layers: Layers) {
        self.layers = layers;
        self.version = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
    }

    /// This layer is there in place of those.
    pub fn replace(&mut self, gone: &[u64], layer: u64, filter: Option<Filter>) {
        let mut layers = self.layers.clone();
        layers.retain(|(layer, _)| !gone.contains(layer));
        layers.push((layer, filter.map(Arc::new)));
        self.renew(layers);
    }

    /// There is no store that nobody else writes (the default), or the layer is not known here: maybe.
    pub fn may_be_in(&self, layer: u64, hash: NameHash) -> bool {
        let known = self.layers.iter().find(|(it, _)| *it == layer);
        let may_have = |filter: &Arc<Filter>| filter.may_have(hash, &bits(hash));
        known.is_none_or(|(_, filter)| filter.as_ref().is_none_or(may_have))
    }

    /// Brings what [`Known::surely_absent`] will look at into the CPU's cache: a line of each filter for each hash, and they
    /// are too many and too far away to be waited for one after the other.
    pub fn touch(&self, hashes: impl Iterator<Item = NameHash>) {
        let seen = hashes.fold(0, |seen, hash| {
            let filters = self.layers.iter().filter_map(|(_, filter)| filter.as_ref());
            filters.fold(seen, |seen, it| seen ^ it.0[it.line(hash)].0[0])
        });
        std::hint::black_box(seen);
    }

    pub fn is_newest(&self) -> bool {
        // Nobody renews a default.
        self.version > 0 && self.version == self.newest.load(Ordering::Acquire)
    }

    pub fn surely_absent(&self, hash: NameHash) -> bool {
        if !self.is_newest() {
            return false;
        }
        let bits = bits(hash);
        let mut filters = self.layers.iter().map(|(_, filter)| filter);
        filters.all(|it| it.as_ref().is_some_and(|it| !it.may_have(hash, &bits)))
    }

    pub fn bytes(&self) -> usize {
        self.bytes_without(&[])
    }

    pub fn bytes_without(&self, gone: &[u64]) -> usize {
        let layers = self.layers.iter();
        let rest = layers.filter(|(layer, _)| !gone.contains(layer));
        rest.filter_map(|(_, filter)| filter.as_ref())
            .map(|filter| filter.bytes())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Uniform, as keyed hashes are.
    fn hash(n: u64) -> NameHash {
        let half = |n: u64| {
            let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            n ^ (n >> 31)
        };
        u128::from(half(n)) << 64 | u128::from(half(!n))
    }

    #[test]
    fn what_is_in_it_passes_and_hardly_anything_else() {
        let mut filter = Filter::new(100_000, usize::MAX).unwrap();
        (0..100_000).for_each(|n| filter.add(hash(n)));
        assert!((0..100_000).all(|n| filter.may_have(hash(n), &bits(hash(n)))));
        let passed = (100_000..200_000).filter(|n| filter.may_have(hash(*n), &bits(hash(*n))));
        let passed = passed.count();
        assert!((1..50).contains(&passed), "{passed} of 100,000");
        assert_eq!(filter.bytes(), 300_032);
        filter.fold(40_000);
        assert_eq!(filter.bytes(), 150_016);
        assert!((0..100_000).all(|n| filter.may_have(hash(n), &bits(hash(n)))));
        assert!(Filter::new(100_000, 63).is_none());
        assert_eq!(Filter::new(100_000, 64).map(|it| it.bytes()), Some(64));
    }

    #[test]
    fn only_who_knows_the_newest_is_sure() {
        assert!(!Known::default().surely_absent(hash(1)));
        let mut store = Known::new(Vec::new());
        let early = store.clone();
        assert!(early.surely_absent(hash(1)));
        let mut filter = Filter::new(1, usize::MAX).unwrap();
        filter.add(hash(1));
        store.replace(&[], 1, Some(filter));
        assert!(!early.surely_absent(hash(1)) && !early.surely_absent(hash(2)));
        assert!(!store.surely_absent(hash(1)) && store.surely_absent(hash(2)));
        assert!(!store.may_be_in(1, hash(2)) && store.may_be_in(2, hash(2)));
        store.replace(&[1], 2, None);
        assert!(!store.surely_absent(hash(2)) && store.may_be_in(2, hash(2)));
        assert_eq!(store.bytes(), 0);
    }

    proptest! {
        #[test]
        fn what_a_store_holds_is_never_called_absent(
            layers in proptest::collection::vec((proptest::collection::vec(any::<u64>(), 1..50), 0..200usize), 0..8),
        ) {
            let mut known = Known::new(Vec::new());
            for (layer, (names, bytes_max)) in layers.iter().enumerate() {
                let mut filter = Filter::new(names.len() as u64, *bytes_max);
                for name in names {
                    filter.iter_mut().for_each(|it| it.add(hash(*name)));
                }
                known.replace(&[], layer as u64, filter);
            }
            for (layer, (names, _)) in layers.iter().enumerate() {
                for name in names {
                    prop_assert!(!known.surely_absent(hash(*name)));
                    prop_assert!(known.may_be_in(layer as u64, hash(*name)));
                }
            }
        }
    }
}
