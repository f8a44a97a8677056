//! What is large goes behind what is small and came with it: who sends one point need not wait until others have had
//! hundreds decided.

/// A part of a request above this is large: some twenty points, which take longer to decide than to receive.
const SMALL_BYTES: usize = 2048;
/// Looks of the driver for which the large ones wait: in the first one the small ones are decided, in the second one the
/// journal is written, in the third one the answers are made. Whatever comes meanwhile, it is no more.
const LOOKS: u32 = 3;

pub fn is_large(bytes: usize) -> bool {
    bytes > SMALL_BYTES
}

/// Slots whose tasks are not woken yet.
#[derive(Default)]
pub struct Behind {
    slots: Vec<u32>,
    looks: u32,
}

impl Behind {
    pub fn push(&mut self, slot: u32) {
        self.slots.push(slot);
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// At the end of a look, which has brought something small or has not: whose turn has come.
    pub fn come(&mut self, small: bool) -> impl Iterator<Item = u32> {
        let begins = self.looks == 0 && small;
        let wait = !self.slots.is_empty() && (begins || (1..LOOKS).contains(&self.looks));
        self.looks = if wait { self.looks + 1 } else { 0 };
        let come = if wait { 0 } else { self.slots.len() };
        self.slots.drain(..come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_wait_for_the_small_that_came_with_them_and_no_longer() {
        let mut behind = Behind::default();
        for (new, small, come) in [
            (vec![1, 2], false, vec![1, 2]),
            (vec![], true, vec![]),
            (vec![3], true, vec![]),
            (vec![4], true, vec![]),
            (vec![], false, vec![]),
            (vec![5], true, vec![3, 4, 5]),
            (vec![6], true, vec![]),
        ] {
            new.iter().for_each(|slot| behind.push(*slot));
            assert_eq!(behind.come(small).collect::<Vec<_>>(), come);
        }
    }
}
