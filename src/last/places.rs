//! Where the writer's marks wait: slots, and which metric has which. Both grow a part at a time: a vector and a map of a
//! hundred thousand are moved as a whole when they grow, and the shard stands still for 10 ms and more.

use crate::point::NameHash;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Index, IndexMut};

/// Of a vector, at most so many elements stand in one piece.
const PIECE: usize = 1024;
/// A map of a million metrics has some 16,000 in each of its parts, which move in half a millisecond.
const PARTS: usize = 64;

/// A vector that never moves what is in it.
pub struct Pieces<T>(Vec<Vec<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Pieces(Vec::new())
    }
}

impl<T> Pieces<T> {
    pub fn len(&self) -> usize {
        self.0
            .last()
            .map_or(0, |last| (self.0.len() - 1) * PIECE + last.len())
    }

    pub fn push(&mut self, element: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < PIECE => last.push(element),
            // The first one grows as any vector: most services have few.
            None => self.0.push(vec![element]),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(element);
                self.0.push(piece);
            }
        }
    }
}

impl<T> Index<u32> for Pieces<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        &self.0[index as usize / PIECE][index as usize % PIECE]
    }
}

impl<T> IndexMut<u32> for Pieces<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.0[index as usize / PIECE][index as usize % PIECE]
    }
}

/// Names hash to themselves: they are keyed hashes already.
#[derive(Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u128 keys");
    }
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

type Part = HashMap<NameHash, u32, BuildHasherDefault<Identity>>;

/// Which metric has which slot.
pub struct ByHash([Part; PARTS]);

impl Default for ByHash {
    fn default() -> Self {
        ByHash(std::array::from_fn(|_| Part::default()))
    }
}

/// A part's own map takes the low half; the router has spent the highest bits of the high one.
fn part_of(hash: NameHash) -> usize {
    (hash >> 64) as usize % PARTS
}

impl ByHash {
    pub fn get(&self, hash: NameHash) -> Option<u32> {
        self.0[part_of(hash)].get(&hash).copied()
    }

    pub fn entry(&mut self, hash: NameHash) -> Entry<'_, NameHash, u32> {
        self.0[part_of(hash)].entry(hash)
    }

    pub fn remove(&mut self, hash: NameHash) {
        self.0[part_of(hash)].remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_a_vector() {
        let mut pieces = Pieces::default();
        for n in 0..5 * PIECE as u32 / 2 {
            assert_eq!(pieces.len(), n as usize);
            pieces.push(n);
            pieces[n] += 1;
        }
        assert!((0..5 * PIECE as u32 / 2).all(|n| pieces[n] == n + 1));
        assert!(pieces.0.iter().all(|piece| piece.capacity() == PIECE));
    }

    #[test]
    fn parts_are_a_map() {
        let mut map = ByHash::default();
        // Alike in the half that a part goes by, and in the half that chooses the part.
        let hashes = || (0..200u128).flat_map(|n| [n, n << 64, n << 64 | n]);
        for (slot, hash) in hashes().enumerate() {
            map.entry(hash).or_insert(slot as u32);
        }
        for (slot, hash) in hashes().enumerate().skip(3) {
            assert_eq!(map.get(hash), Some(slot as u32));
            map.remove(hash);
            assert_eq!(map.get(hash), None);
        }
        assert_eq!(map.get(0), Some(0));
    }
}
