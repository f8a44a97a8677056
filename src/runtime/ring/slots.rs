//! What the ring knows of each descriptor it drives. A slot is free again, and its descriptor closed, only
//! when the kernel has finished everything that was asked for it: so no completion meets another's slot.

use super::buffers::Chunk;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::task::Waker;

/// A multishot receive: it goes on by itself until something ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receive {
    Off,
    On,
    /// Told to end; what it received before is still to come.
    Stopping,
}

#[derive(Debug)]
pub struct Slot {
    pub descriptor: OwnedFd,
    /// The one task that waits: for bytes, for room, or for the descriptor to become readable.
    pub waiter: Option<Waker>,
    pub receive: Receive,
    /// It waits for bytes.
    pub receives: bool,
    /// Received, in the ring's buffers: to be taken in the same turn.
    pub chunks: VecDeque<Chunk>,
    /// Received before, and not taken in its turn: copied out.
    pub kept: Vec<u8>,
    /// There was no room to keep what came.
    pub overrun: bool,
    /// How receiving ended: 0 for the end of the stream, else the error's number.
    pub end: Option<i32>,
    /// Under way to the client, and what came of it.
    pub outgoing: Option<Vec<u8>>,
    pub sent: Option<i32>,
    pub polling: bool,
    pub ready: bool,
    /// Nobody has it any more: it ends when nothing is under way.
    pub abandoned: bool,
}

impl Slot {
    pub fn new(descriptor: OwnedFd) -> Slot {
        Slot {
            descriptor,
            waiter: None,
            receive: Receive::Off,
            receives: false,
            chunks: VecDeque::new(),
            kept: Vec::new(),
            overrun: false,
            end: None,
            outgoing: None,
            sent: None,
            polling: false,
            ready: false,
            abandoned: false,
        }
    }

    pub fn has_bytes(&self) -> bool {
        !self.kept.is_empty() || !self.chunks.is_empty()
    }

    /// Its task sleeps until there are some, and nothing will bring them.
    pub fn waits_for_bytes(&self) -> bool {
        let nothing = !self.has_bytes() && self.end.is_none() && self.receive == Receive::Off;
        nothing && self.receives && self.waiter.is_some()
    }

    pub fn is_under_way(&self) -> bool {
        let sending = self.outgoing.is_some() && self.sent.is_none();
        self.receive != Receive::Off || sending || self.polling
    }

    pub fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

#[derive(Default)]
pub struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

impl Slots {
    pub fn insert(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(slot);
                index
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32 - 1
            }
        }
    }

    pub fn remove(&mut self, index: u32) {
        self.slots[index as usize] = None;
        self.free.push(index);
    }

    pub fn find(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// For whoever holds a stream or listener.
    pub fn held(&mut self, index: u32) -> &mut Slot {
        self.find(index)
            .expect("a slot lasts as long as its handle")
    }
}
