//! A vector that grows a part at a time: one of a hundred thousand is moved as a whole when it grows, and the shard
//! stands still for milliseconds.

use std::ops::{Index, IndexMut};

/// Of a vector, at most so many elements stand in one piece.
const PIECE: usize = 1024;

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
}
