//! The sockets of clients, driven by a ring of our own beside glommio's (docs/decisions/0014).
//!
//! A receive stays armed and delivers into buffers that all connections share, so a request costs no
//! readiness poll and no call of its own to read it. [`driver`] is the one task that asks the kernel;
//! [`stream`] and [`listener`] are what connections hold; [`slots`] says what belongs to each descriptor.
//!
//! Everything is asked for and completed on the executor's own thread, inside our calls: what was received
//! and is not in the completion queue yet is still in the socket.

mod behind;
mod buffers;
mod driver;
mod listener;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

pub use driver::run;
pub use listener::Listener;
pub use stream::{Overrun, Received, Stream};

use super::bell::Eventfd;
use super::buffered::Buffered;
use super::doorbell::Doorbell;
use behind::Behind;
use buffers::{Buffers, GROUP, Size};
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use slots::{Receive, Slot, Slots};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// Asked for at once; more is handed over before the turn ends. Completions have four times the places, and
/// what finds none waits in the kernel.
const ENTRIES: u32 = 256;
/// A mebibyte for each shard. The kernel fills at most 32 of them for one connection in a row, a quarter: as
/// much as one read took. Whatever a turn delivers is taken or copied out in that turn, or three later where small
/// requests go first ([`behind`]), so they never run out for longer.
const BUFFERS: Size = Size {
    count: 128,
    bytes: 8 * 1024,
};

/// What a completion is of: the low bits of what the kernel hands back with it.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const READABLE: u64 = 2;
const CANCEL: u64 = 3;
/// Of no slot: another executor has rung.
const RUNG: u64 = 4;
const KIND_BITS: u32 = 3;

pub struct Ring {
    // Dropped first: the kernel gives the buffers up with it.
    uring: RefCell<IoUring>,
    buffers: Buffers,
    slots: RefCell<Slots>,
    /// Slots that were given bytes in the last turn.
    given: RefCell<Vec<u32>>,
    behind: RefCell<Behind>,
    /// The kernel has stopped telling that another executor has rung.
    unheard: Cell<bool>,
    /// Slots whose receive ended while their task waits for bytes.
    interrupted: RefCell<Vec<u32>>,
    /// Rung by whoever asks for something, and by [`super::bell`] for the kernel.
    door: Rc<Doorbell>,
    /// What the kernel and the other executors write to while glommio sleeps, which reads it.
    asleep: Eventfd,
    /// What the other executors write to while we doze. Not the same: with this one for both, a shard asleep in glommio
    /// was not woken by it (docs/decisions/0014).
    dozing: Eventfd,
    /// What came before anybody asked for it counts here.
    buffered: Rc<Buffered>,
}

impl Ring {
    /// Fails where the kernel is older than 6.1, or forbids it.
    pub fn new(
        buffered: Rc<Buffered>,
        door: Rc<Doorbell>,
        bells: [Eventfd; 2],
    ) -> io::Result<Rc<Ring>> {
        Ring::of_size(BUFFERS, buffered, door, bells)
    }

    fn of_size(
        size: Size,
        buffered: Rc<Buffered>,
        door: Rc<Doorbell>,
        bells: [Eventfd; 2],
    ) -> io::Result<Rc<Ring>> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(ENTRIES * 4)
            .build(ENTRIES)?;
        let buffers = Buffers::register(&uring.submitter(), size)?;
        let [asleep, dozing] = bells;
        uring.submitter().register_eventfd(asleep.as_raw_fd())?;
        Ok(Rc::new(Ring {
            uring: RefCell::new(uring),
            buffers,
            slots: RefCell::default(),
            given: RefCell::default(),
            behind: RefCell::default(),
            unheard: Cell::new(true),
            interrupted: RefCell::default(),
            door,
            asleep,
            dozing,
            buffered,
        }))
    }

    /// Queues what the next turn hands to the kernel.
    fn ask(&self, entry: &squeue::Entry) {
        let mut uring = self.uring.borrow_mut();
        // SAFETY: what an entry points to (buffers, `Slot::outgoing`) lasts until it has completed.
        while unsafe { uring.submission().push(entry) }.is_err() {
            // It is full. What the kernel does not take at once (EINTR, EAGAIN) it takes the next time.
            let _ = uring.submit();
        }
        drop(uring);
        self.door.ring();
    }

    fn ask_receive(&self, index: u32, slot: &mut Slot) {
        slot.receive = Receive::On;
        let descriptor = Fd(slot.descriptor.as_raw_fd());
        let entry = opcode::RecvMulti::new(descriptor, GROUP).build();
        self.ask(&entry.user_data(tag(index, RECEIVE)));
    }

    /// Each time it is rung there is a completion. It is never read: that it is written to counts.
    fn ask_rung(&self) {
        let rung =
            opcode::PollAdd::new(Fd(self.dozing.as_raw_fd()), libc::POLLIN as u32).multi(true);
        self.ask(&rung.build().user_data(RUNG));
    }

    fn ask_cancel(&self, index: u32, kind: u64) {
        let entry = opcode::AsyncCancel::new(tag(index, kind)).build();
        // What is cancelled completes by itself, and says so.
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        self.ask(&entry.user_data(tag(index, CANCEL)));
    }

    fn adopt(&self, descriptor: OwnedFd) -> u32 {
        self.slots.borrow_mut().insert(Slot::new(descriptor))
    }

    /// Its handle is gone. Cancels what is under way; the descriptor is closed after that.
    fn abandon(&self, index: u32) {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.held(index);
        slot.abandoned = true;
        slot.waiter = None;
        for chunk in slot.chunks.drain(..) {
            self.buffers.give_back(chunk);
        }
        self.buffered.change(slot.kept.len(), 0);
        slot.kept = Vec::new();
        if !slot.is_under_way() {
            slots.remove(index);
            return;
        }
        let under_way = [
            (slot.receive == Receive::On, RECEIVE),
            (slot.outgoing.is_some() && slot.sent.is_none(), SEND),
            (slot.polling, READABLE),
        ];
        for (_, kind) in under_way.into_iter().filter(|(is, _)| *is) {
            self.ask_cancel(index, kind);
        }
    }
}

fn tag(index: u32, kind: u64) -> u64 {
    u64::from(index) << KIND_BITS | kind
}

fn untag(completion: &cqueue::Entry) -> (u32, u64) {
    let tag = completion.user_data();
    ((tag >> KIND_BITS) as u32, tag & ((1 << KIND_BITS) - 1))
}
