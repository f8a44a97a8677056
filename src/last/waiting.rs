//! The newest mark of each metric that waits, found by the hash of the metric's name: open addressing, deletion by
//! backward shift.
//!
//! Every point that was delivered comes by here, a metric's next one long after its entry has left the CPU's cache: what it
//! costs are the lines of memory it waits for. So what a look-up needs stands in half a line, and two entries that may
//! be meant by the same hash in the same one. The names are elsewhere, with who writes them.
//!
//! May assume: hashes are uniform (they come from a keyed hash).

use super::Mark;
use crate::point::NameHash;

/// Of a line of 64 bytes.
const ENTRIES_PER_LINE: usize = 2;
/// The first allocation; below this the steps would be many and tiny.
const LINES_MIN: usize = 8;
/// A table of a hundred thousand is moved as a whole when it grows, and the shard stands still for 10 ms and more. So it is
/// many: a million metrics are some 16,000 in each, which move in half a millisecond.
const PARTS: usize = 64;

/// A metric whose mark waits.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Two halves instead of one `u128`, whose alignment would cost as much again.
    key: [u64; 2],
    /// Not a number where the mark has none: points that are not finite are never accepted.
    value: f64,
    timestamp: u32,
    vacant: bool,
}

const EMPTY: Entry = Entry {
    key: [0; 2],
    value: 0.0,
    timestamp: 0,
    vacant: true,
};

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([Entry; ENTRIES_PER_LINE]);

const _: () = assert!(size_of::<Line>() == 64);

impl Entry {
    fn of(hash: NameHash, mark: Mark) -> Entry {
        Entry {
            key: halves(hash),
            value: mark.value.unwrap_or(f64::NAN),
            timestamp: mark.timestamp,
            vacant: false,
        }
    }

    pub fn mark(&self) -> Mark {
        Mark {
            timestamp: self.timestamp,
            value: (!self.value.is_nan()).then_some(self.value),
        }
    }

    /// The newer one stays.
    #[inline]
    pub fn raise(&mut self, mark: Mark) {
        if mark.timestamp > self.timestamp {
            self.timestamp = mark.timestamp;
            self.value = mark.value.unwrap_or(f64::NAN);
        }
    }
}

/// Never gives memory back: it is bounded by how many metrics may wait.
#[derive(Debug)]
pub struct Waiting {
    parts: [Part; PARTS],
    entries: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting {
            parts: std::array::from_fn(|_| Part::default()),
            entries: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Part {
    /// None, or a power of two.
    lines: Box<[Line]>,
    entries: usize,
}

fn halves(hash: NameHash) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

/// The router has spent the highest bits of the high half.
fn part_of(hash: NameHash) -> usize {
    (hash >> 64) as usize % PARTS
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Something of the line where a search would begin, which brings it into the CPU's cache.
    #[inline]
    pub fn touch(&self, hash: NameHash) -> u32 {
        self.parts[part_of(hash)].touch(hash)
    }

    #[inline]
    pub fn find(&mut self, hash: NameHash) -> Option<&mut Entry> {
        self.parts[part_of(hash)].find(hash)
    }

    /// Another metric waits. `false`: it did already, and its newer mark stays.
    pub fn insert(&mut self, hash: NameHash, mark: Mark) -> bool {
        let new = self.parts[part_of(hash)].insert(hash, mark);
        self.entries += usize::from(new);
        new
    }

    /// A mark at this timestamp is stored: its metric waits no more, unless a newer one came.
    pub fn settle(&mut self, hash: NameHash, timestamp: u32) -> bool {
        let settles = self.parts[part_of(hash)].settle(hash, timestamp);
        self.entries -= usize::from(settles);
        settles
    }
}

impl Part {
    #[inline]
    fn touch(&self, hash: NameHash) -> u32 {
        match self.lines.is_empty() {
            true => 0,
            false => self.lines[self.home(halves(hash))].0[0].timestamp,
        }
    }

    #[inline]
    fn find(&mut self, hash: NameHash) -> Option<&mut Entry> {
        if self.lines.is_empty() {
            return None;
        }
        let key = halves(hash);
        let mut index = self.home(key);
        loop {
            let line = &self.lines[index].0;
            // Both at once: which of the two it is nobody can guess.
            let [first, second] = [line[0].key == key, line[1].key == key];
            if first | second {
                let entry = &mut self.lines[index].0[usize::from(!first)];
                // A hash may be what vacant ones have in its place.
                return (!entry.vacant).then_some(entry);
            }
            if line[1].vacant {
                return None;
            }
            index = (index + 1) & (self.lines.len() - 1);
        }
    }

    fn insert(&mut self, hash: NameHash, mark: Mark) -> bool {
        // Three entries in four: a search then looks at 1.2 lines on average.
        if (self.entries + 1) * 4 > self.lines.len() * ENTRIES_PER_LINE * 3 {
            self.grow();
        }
        let at = self.search(halves(hash));
        let entry = self.at_mut(at);
        if !entry.vacant {
            entry.raise(mark);
            return false;
        }
        *entry = Entry::of(hash, mark);
        self.entries += 1;
        true
    }

    fn settle(&mut self, hash: NameHash, timestamp: u32) -> bool {
        let at = self.search(halves(hash));
        let entry = self.at(at);
        let settles = !entry.vacant && entry.timestamp <= timestamp;
        if settles {
            self.remove(at);
        }
        settles
    }

    fn remove(&mut self, mut hole: usize) {
        // What probed past it moves back, so that no chain is cut.
        let mut next = self.after(hole);
        while !self.at(next).vacant {
            let home = self.home(self.at(next).key) * ENTRIES_PER_LINE;
            // Distances are cyclic: an entry moves when the hole lies between its home and itself.
            let mask = self.lines.len() * ENTRIES_PER_LINE - 1;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                *self.at_mut(hole) = *self.at(next);
                hole = next;
            }
            next = self.after(next);
        }
        *self.at_mut(hole) = EMPTY;
        self.entries -= 1;
    }

    fn grow(&mut self) {
        let lines = (self.lines.len() * 2).max(LINES_MIN);
        let larger = vec![Line([EMPTY; ENTRIES_PER_LINE]); lines].into();
        let old = std::mem::replace(&mut self.lines, larger);
        let entries = old.iter().flat_map(|line| line.0);
        for entry in entries.filter(|entry| !entry.vacant) {
            let at = self.search(entry.key);
            *self.at_mut(at) = entry;
        }
    }

    /// Where the key's entry is, or would be.
    #[inline]
    fn search(&self, key: [u64; 2]) -> usize {
        let mut index = self.home(key) * ENTRIES_PER_LINE;
        while self.at(index).key != key && !self.at(index).vacant {
            index = self.after(index);
        }
        index
    }

    /// The line where a search begins. Both halves are mixed in, because the router has already spent some bits of the
    /// hash on choosing the owner shard.
    fn home(&self, key: [u64; 2]) -> usize {
        (key[1] ^ key[0].rotate_left(17)) as usize & (self.lines.len() - 1)
    }

    #[inline]
    fn at(&self, index: usize) -> &Entry {
        &self.lines[index / ENTRIES_PER_LINE].0[index % ENTRIES_PER_LINE]
    }

    #[inline]
    fn at_mut(&mut self, index: usize) -> &mut Entry {
        &mut self.lines[index / ENTRIES_PER_LINE].0[index % ENTRIES_PER_LINE]
    }

    fn after(&self, index: usize) -> usize {
        (index + 1) & (self.lines.len() * ENTRIES_PER_LINE - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// Two parts and few homes, so that chains are long and wrap around; 0 is also what vacant entries have for a key.
    fn hash() -> impl Strategy<Value = NameHash> {
        let high = |(home, part)| home * PARTS as u128 + part;
        (0u128..6, 0u128..2)
            .prop_map(high)
            .prop_flat_map(|high| (0u128..12).prop_map(move |low| high << 64 | low << 47))
    }

    fn mark() -> impl Strategy<Value = Mark> {
        (0u32..9, proptest::option::of(-1e300..1e300f64))
            .prop_map(|(timestamp, value)| Mark { timestamp, value })
    }

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in proptest::collection::vec((hash(), mark(), 0..3u32), 0..400),
        ) {
            let (mut waiting, mut map) = (Waiting::default(), HashMap::new());
            let found = |waiting: &mut Waiting, hash| {
                waiting.find(hash).map(|entry| entry.mark())
            };
            for (hash, mark, what) in steps {
                prop_assert_eq!(found(&mut waiting, hash), map.get(&hash).copied());
                let known: Option<&mut Mark> = map.get_mut(&hash);
                match (what, waiting.find(hash)) {
                    (0, Some(_)) => {
                        let settles = map[&hash].timestamp <= mark.timestamp;
                        prop_assert_eq!(waiting.settle(hash, mark.timestamp), settles);
                        if settles {
                            map.remove(&hash);
                        }
                    }
                    (_, None) => {
                        prop_assert!(waiting.insert(hash, mark));
                        map.insert(hash, mark);
                    }
                    (_, Some(entry)) => {
                        match what {
                            1 => entry.raise(mark),
                            _ => prop_assert!(!waiting.insert(hash, mark)),
                        }
                        if let Some(known) = known && known.timestamp < mark.timestamp {
                            *known = mark;
                        }
                    }
                }
                waiting.touch(hash);
                prop_assert_eq!(waiting.len(), map.len());
            }
            for (hash, expected) in map {
                prop_assert_eq!(found(&mut waiting, hash), Some(expected));
            }
        }
    }
}
