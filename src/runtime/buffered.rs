//! What a shard keeps of requests: bytes of some that are not whole yet, and bytes that came before anybody
//! asked for them. One bound for both.

use std::cell::Cell;

pub struct Buffered {
    bytes: Cell<usize>,
    max: Cell<usize>,
}

impl Buffered {
    pub fn new(max: usize) -> Buffered {
        Buffered {
            bytes: Cell::new(0),
            max: Cell::new(max),
        }
    }

    /// The configuration was read again.
    pub fn switch(&self, max: usize) {
        self.max.set(max);
    }

    /// Somebody keeps `now` bytes who kept `before`.
    pub fn change(&self, before: usize, now: usize) {
        self.bytes.set(self.bytes.get() - before + now);
    }

    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    pub fn is_full(&self) -> bool {
        self.bytes.get() >= self.max.get()
    }
}
