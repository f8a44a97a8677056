//! One segment of the table: open addressing with linear probing, deletion by backward shift.
//!
//! May assume: hashes are uniform (they come from a keyed hash), and the table grows a segment before
//! it is full, so a probe always ends at an empty slot.

use crate::point::NameHash;

pub(super) const OCCUPIED: u32 = 1;
/// Looked at since the clock's hand last passed.
pub(super) const REFERENCED: u32 = 2;
pub(super) const UNSAVED: u32 = 4;
pub(super) const UNCHECKED: u32 = 8;
/// Looked at before the clock's hand last passed, after it had passed the time before.
pub(super) const SPARED: u32 = 16;

/// Slots that a search looks at together, before it goes from one to the next: most often what it
/// looks for is among them.
const FIRST_LOOK: usize = 3;

const SLOTS_PER_LINE: usize = 2;
/// Of the CPU's cache: what most of them look at.
const CHAIN_LINES: usize = 5;

/// Two halves instead of one `u128`, whose alignment of 16 would cost 8 bytes a slot.
#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    key: [u64; 2],
    pub timestamp: u32,
    pub flags: u32,
}

pub(super) const SLOT_BYTES: usize = size_of::<Slot>();
const _: () = assert!(SLOT_BYTES == 24);

impl Slot {
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The clock's hand goes by: what was looked at since it did last is spared until it comes again.
    pub fn pass(&mut self) {
        let spared = match self.has(REFERENCED) {
            true => SPARED,
            false => 0,
        };
        self.flags = self.flags & !(REFERENCED | SPARED) | spared;
    }
}

fn halves(hash: NameHash) -> [u64; 2] {
    [hash as u64, (hash >> 64) as u64]
}

/// Scales a uniform number to `0..bound` without a division, so any size will do.
fn scale(uniform: u64, bound: usize) -> usize {
    ((uniform as u128 * bound as u128) >> 64) as usize
}

/// Which of `segments` a hash lives in. Both halves are mixed in, here and in [`home`], because the
/// router has already spent some bits of the hash on choosing the owner shard.
pub(super) fn segment_of(hash: NameHash, segments: usize) -> usize {
    let [low, high] = halves(hash);
    scale(low ^ high.rotate_left(32), segments)
}

fn home(key: [u64; 2], slots: usize) -> usize {
    scale(key[1] ^ key[0].rotate_left(17), slots)
}

/// Four slots in five: a probe for an absent key then looks at 13 neighbouring slots on average, and
/// a slot of 24 bytes costs 30 to 45 bytes an entry between two growths of a half.
fn too_full(entries: usize, slots: usize) -> bool {
    entries * 5 > slots * 4
}

/// The fewest slots that hold this many entries.
pub(super) fn slots_for(entries: usize) -> usize {
    (entries * 5).div_ceil(4)
}

/// Cyclic, and without a division: a removal asks twice for each slot of a chain.
fn distance(from: usize, to: usize, slots: usize) -> usize {
    match to >= from {
        true => to - from,
        false => to + slots - from,
    }
}

#[derive(Default)]
pub(super) struct Segment {
    slots: Box<[Slot]>,
    entries: usize,
}

impl Segment {
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    pub fn slot(&mut self, index: usize) -> &mut Slot {
        &mut self.slots[index]
    }

    /// Brings the slots where a search would begin into the CPU's cache.
    #[inline]
    pub fn touch(&self, hash: NameHash) -> u32 {
        if self.entries == 0 {
            return 0;
        }
        let slots = self.slots.len();
        let home = home(halves(hash), slots);
        // From the first one's beginning to the last one's end are no more than two lines.
        let last = (home + FIRST_LOOK - 1).min(slots - 1);
        self.slots[home].key[0] as u32 ^ self.slots[last].flags
    }

    /// The slots that a search for what is not there will look at.
    #[inline]
    pub fn touch_chain(&self, hash: NameHash) -> u32 {
        let home = home(halves(hash), self.slots.len());
        let chain = self.slots.iter().skip(home).step_by(SLOTS_PER_LINE);
        chain
            .take(CHAIN_LINES)
            .fold(0, |seen, slot| seen ^ slot.flags)
    }

    #[inline]
    pub fn touch_slot(&self, index: usize) -> u32 {
        self.slots.get(index).map_or(0, |slot| slot.flags)
    }

    #[inline(always)]
    pub fn find_slot(&mut self, hash: NameHash) -> Option<&mut Slot> {
        if self.entries == 0 {
            return None;
        }
        let key = halves(hash);
        let mut index = home(key, self.slots.len());
        // How far it goes nobody can guess, and a wrong guess costs more than to look at some slots at once. A slot that has
        // the key is the one, whatever stands before it; one that is not occupied has none.
        if let Some(first) = self.slots.get(index..index + FIRST_LOOK) {
            let mut found = 0;
            for (at, slot) in first.iter().enumerate() {
                found |= usize::from(slot.key[0] == key[0]) << at;
            }
            let at = found.trailing_zeros() as usize;
            if let Some(slot) = first.get(at)
                && slot.key == key
                && slot.has(OCCUPIED)
            {
                return Some(&mut self.slots[index + at]);
            }
        }
        loop {
            let slot = &self.slots[index];
            if !slot.has(OCCUPIED) {
                return None;
            }
            if slot.key == key {
                return Some(&mut self.slots[index]);
            }
            index = self.after(index);
        }
    }

    /// One more entry needs more slots first.
    pub fn must_grow(&self) -> bool {
        too_full(self.entries + 1, self.slots.len())
    }

    pub fn grow(&mut self, slots: usize) {
        debug_assert!(!too_full(self.entries + 1, slots));
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); slots].into());
        for slot in old.iter().filter(|slot| slot.has(OCCUPIED)) {
            self.place(*slot);
        }
    }

    /// The key must be absent and there must be room.
    pub fn insert(&mut self, hash: NameHash, timestamp: u32, flags: u32) {
        debug_assert!(!self.must_grow());
        self.place(Slot {
            key: halves(hash),
            timestamp,
            flags: flags | OCCUPIED,
        });
        self.entries += 1;
    }

    /// Empties a slot and moves back what probed past it, so that no chain is cut.
    pub fn remove(&mut self, index: usize) {
        let slots = self.slots.len();
        let mut hole = index;
        let mut next = self.after(hole);
        while self.slots[next].has(OCCUPIED) {
            let home = home(self.slots[next].key, slots);
            // An entry moves when the hole lies between its home and itself.
            if distance(home, next, slots) >= distance(hole, next, slots) {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.slots[hole] = Slot::default();
        self.entries -= 1;
    }

    /// Puts it into the place of one on its chain that is not in use, so that no other has to move. The key must be absent.
    /// `false`: there is none.
    pub fn replace(&mut self, hash: NameHash, timestamp: u32, flags: u32) -> bool {
        if self.entries == 0 {
            return false;
        }
        let key = halves(hash);
        let mut index = home(key, self.slots.len());
        while self.slots[index].has(OCCUPIED) {
            if !self.slots[index].has(REFERENCED | SPARED | UNSAVED) {
                self.slots[index] = Slot {
                    key,
                    timestamp,
                    flags: flags | OCCUPIED,
                };
                return true;
            }
            index = self.after(index);
        }
        false
    }

    fn place(&mut self, slot: Slot) {
        let mut index = home(slot.key, self.slots.len());
        while self.slots[index].has(OCCUPIED) {
            index = self.after(index);
        }
        self.slots[index] = slot;
    }

    fn after(&self, index: usize) -> usize {
        if index + 1 == self.slots.len() {
            0
        } else {
            index + 1
        }
    }
}
