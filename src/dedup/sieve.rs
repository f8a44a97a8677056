//! Which hashes are surely not in a small set: asked for every point, when the set holds a few metrics of
//! millions. May assume that hashes are keyed and uniform, so any of their bits will do.

use crate::point::NameHash;

/// 8 KiB: with a thousand members one hash in 65 is looked up for nothing.
const BITS: usize = 1 << 16;

#[derive(Debug)]
pub struct Sieve {
    words: Box<[u64]>,
    /// Members put in since it was made; those that have left are in it still.
    held: usize,
}

impl Default for Sieve {
    fn default() -> Sieve {
        Sieve {
            words: vec![0; BITS / 64].into(),
            held: 0,
        }
    }
}

fn place(hash: NameHash) -> (usize, u64) {
    let bit = hash as usize % BITS;
    (bit / 64, 1 << (bit % 64))
}

impl Sieve {
    pub fn hold(&mut self, hash: NameHash) {
        let (word, bit) = place(hash);
        self.words[word] |= bit;
        self.held += 1;
    }

    #[inline]
    pub fn may_hold(&self, hash: NameHash) -> bool {
        let (word, bit) = place(hash);
        self.words[word] & bit != 0
    }

    /// So much of it is of members that have left that it should be made anew.
    pub fn is_stale(&self, members: usize) -> bool {
        self.held > 2 * members + BITS / 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_passes_and_hardly_anything_else() {
        // Uniform as keyed hashes are.
        let hash = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 7;
        let mut sieve = Sieve::default();
        assert!((0..10_000).all(|n| !sieve.may_hold(hash(n))));
        (0..1_000).for_each(|n| sieve.hold(hash(n)));
        assert!((0..1_000).all(|n| sieve.may_hold(hash(n))));
        let passed = (1_000..101_000)
            .filter(|n| sieve.may_hold(hash(*n)))
            .count();
        assert!(passed < 2_500, "{passed} of 100,000");
        assert!(!sieve.is_stale(1_000) && !sieve.is_stale(0));
        (0..4_000).for_each(|n| sieve.hold(hash(n)));
        assert!(sieve.is_stale(10) && !sieve.is_stale(4_000));
    }
}
