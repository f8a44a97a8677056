//! Admission: one byte budget for each owner shard, the only state that shards share
//! (but for the ledgers of namespaces with a quota, [`crate::api::quota`]).
//!
//! The shard that read a request reserves for every owner it touches, as if every point were fresh. If
//! one refuses, it gives the rest back and the request is answered 429. It never waits while holding.

use crate::point::{BLOCK_HEADER_BYTES, POINT_COST_BYTES};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The cost of a group, in the bytes that budgets count.
pub fn cost(block_bytes: usize, points: u32) -> usize {
    block_bytes + points as usize * (POINT_COST_BYTES - BLOCK_HEADER_BYTES)
}

/// Set in a budget whose owner takes nothing for now: above any number of bytes, so that no reservation fits
/// and none needs a second look.
const CLOSED: usize = 1 << (usize::BITS - 2);

/// A cache line of its own: an owner's traffic must not slow its neighbour's.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Budget {
    reserved: AtomicUsize,
}

#[derive(Clone, Debug)]
pub struct Budgets {
    limit: usize,
    owners: Arc<[Budget]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// An owner's budget has no room now: 429.
    Full,
    /// No empty budget could hold it: 413.
    TooLarge,
}

impl Budgets {
    pub fn new(owners: usize, limit: usize) -> Self {
        Budgets {
            limit,
            owners: (0..owners).map(|_| Budget::default()).collect(),
        }
    }

    /// Reserves for all `(owner, bytes)` or for none.
    #[inline(always)]
    pub fn reserve(
        &self,
        needs: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Result<(), Refused> {
        for (taken, (owner, bytes)) in needs.clone().enumerate() {
            let before = self.owners[owner]
                .reserved
                .fetch_add(bytes, Ordering::Relaxed);
            if before + bytes > self.limit {
                self.release(owner, bytes);
                for (owner, bytes) in needs.clone().take(taken) {
                    self.release(owner, bytes);
                }
                return Err(if bytes > self.limit {
                    Refused::TooLarge
                } else {
                    Refused::Full
                });
            }
        }
        Ok(())
    }

    pub fn release(&self, owner: usize, bytes: usize) {
        let before = self.owners[owner]
            .reserved
            .fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "released more than was reserved");
    }

    pub fn reserved(&self, owner: usize) -> usize {
        self.owners[owner].reserved.load(Ordering::Relaxed) & !CLOSED
    }

    /// The owner's journal has no room: nothing more is admitted to it until it is opened again.
    pub fn close(&self, owner: usize) {
        self.owners[owner]
            .reserved
            .fetch_or(CLOSED, Ordering::Relaxed);
    }

    pub fn open(&self, owner: usize) {
        self.owners[owner]
            .reserved
            .fetch_and(!CLOSED, Ordering::Relaxed);
    }

    pub fn is_closed(&self, owner: usize) -> bool {
        self.owners[owner].reserved.load(Ordering::Relaxed) & CLOSED != 0
    }

    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// No owner has room even for a short point: a request can be refused without a look at its body.
    pub fn exhausted(&self) -> bool {
        let least = POINT_COST_BYTES + 1;
        (0..self.owners.len())
            .all(|owner| self.is_closed(owner) || self.reserved(owner) + least > self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reservation_leaves_every_budget_as_it_was() {
        let budgets = Budgets::new(3, 100);
        budgets.reserve([(0, 60), (2, 100)].into_iter()).unwrap();
        assert_eq!(
            budgets.reserve([(0, 40), (1, 50), (2, 1)].into_iter()),
            Err(Refused::Full)
        );
        assert_eq!(
            [
                budgets.reserved(0),
                budgets.reserved(1),
                budgets.reserved(2)
            ],
            [60, 0, 100]
        );
        assert_eq!(
            budgets.reserve([(1, 101)].into_iter()),
            Err(Refused::TooLarge)
        );
        assert_eq!(budgets.reserved(1), 0);
    }

    #[test]
    fn budgets_are_exhausted_only_when_no_owner_has_room() {
        let budgets = Budgets::new(2, 1000);
        budgets.reserve([(0, 1000)].into_iter()).unwrap();
        assert!(!budgets.exhausted());
        budgets.reserve([(1, 950)].into_iter()).unwrap();
        assert!(budgets.exhausted());
        budgets.release(1, 950);
        assert!(!budgets.exhausted());
    }

    #[test]
    fn a_closed_budget_refuses_everything_and_forgets_nothing() {
        let budgets = Budgets::new(2, 1000);
        budgets.reserve([(1, 600)].into_iter()).unwrap();
        budgets.close(1);
        budgets.close(1);
        assert_eq!(
            budgets.reserve([(0, 1), (1, 1)].into_iter()),
            Err(Refused::Full)
        );
        assert_eq!((budgets.reserved(0), budgets.reserved(1)), (0, 600));
        assert!(!budgets.exhausted(), "the other has room");
        budgets.close(0);
        assert!(budgets.exhausted());
        budgets.release(1, 600);
        budgets.open(1);
        budgets.reserve([(1, 1000)].into_iter()).unwrap();
    }
}
