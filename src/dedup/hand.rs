//! The clock's hand of one segment of the table.
//!
//! It does not go from slot to slot: entries stand in the order of their hashes and new ones come anywhere, so what it has
//! just passed would be empty, and what lies before it twice as full as the rest, which is more than there are slots. It
//! leaps, by about the golden ratio of the segment, and is everywhere once in each round.

/// Slots it looks at between two leaps: neighbours come from memory together.
const NEIGHBOURS: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hand {
    /// The segment's size when the leap was chosen.
    slots: usize,
    leap: usize,
    /// Of as many slots as are neighbours.
    group: usize,
    neighbour: usize,
}

impl Hand {
    /// The next of so many slots.
    #[inline]
    pub fn next(&mut self, slots: usize) -> usize {
        if self.slots != slots {
            *self = Hand::of(slots);
        }
        let slot = self.peek();
        self.neighbour += 1;
        // The last group may be a part of one.
        if self.neighbour == NEIGHBOURS || slot + 1 >= slots {
            self.neighbour = 0;
            self.group = (self.group + self.leap) % slots.div_ceil(NEIGHBOURS);
        }
        slot
    }

    /// What comes next, unless the segment has another size by then.
    #[inline]
    pub fn peek(&self) -> usize {
        self.group * NEIGHBOURS + self.neighbour
    }

    fn of(slots: usize) -> Hand {
        let groups = slots.div_ceil(NEIGHBOURS);
        // Without a common divisor the leaps come by every group before they come by one again.
        let mut leap = groups * 618 / 1000 + 1;
        while common_divisor(leap, groups) != 1 {
            leap += 1;
        }
        Hand {
            slots,
            leap,
            group: 0,
            neighbour: 0,
        }
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_passes_each_slot_once_and_no_part_of_the_segment_for_long() {
        for slots in (1..300).chain([10_240, 10_922, 12_289]) {
            let mut hand = Hand::default();
            for _ in 0..3 {
                let mut passed = vec![0; slots];
                (0..slots).for_each(|_| passed[hand.next(slots)] += 1);
                assert!(passed.iter().all(|&times| times == 1), "{slots}");
            }
        }
        // Of any hundredth of a large segment, about a hundredth is passed in a tenth of a round.
        let slots = 10_240;
        let mut hand = Hand::default();
        for _ in 0..10 {
            let mut passed = vec![0; 100];
            (0..slots / 10).for_each(|_| passed[hand.next(slots) * 100 / slots] += 1);
            assert!(
                passed.iter().all(|times| (1..=24).contains(times)),
                "{passed:?}"
            );
        }
    }
}
