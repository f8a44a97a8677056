//! The one task that hands to the kernel what was asked for, and takes what has completed.
//!
//! While there is work it stays, letting the tasks it has woken run between two looks: a turn of glommio's
//! own (its timers, its rings, going to sleep and waking up) costs as much as a request. [`HOLD`] bounds that.

use super::super::STEP_ASIDE;
use super::super::bell;
use super::super::mesh::Rest;
use super::super::neighbours::Neighbours;
use super::behind;
use super::buffers::Chunk;
use super::slots::{Receive, Slot};
use super::{READABLE, RECEIVE, RUNG, Ring, SEND, untag};
use futures_lite::future;
use glommio::timer::Timer;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long glommio's timers and rings wait for us at the most while there is work.
const HOLD: Duration = Duration::from_micros(250);
/// The same where other shards take turns with us on one CPU. What they take of it glommio waits for in any case.
const HOLD_SHARED: Duration = Duration::from_millis(5);
/// glommio can go to sleep although we want to run (docs/decisions/0002). A timer of this length is pending
/// as long as we do.
const GUARD: Duration = Duration::from_micros(500);
/// Looks without anything new before the executor may sleep. The tasks that completions have woken, the
/// journal's write that they ask for, and those who wait for it have run by then.
const LOOKS: u32 = 4;

/// Drives the ring for life.
pub async fn run(ring: Rc<Ring>, neighbours: Option<Neighbours>) {
    glommio::spawn_local(bell::listen(ring.asleep.clone(), ring.door.clone())).detach();
    let neighbours = neighbours.as_ref();
    let mut hold = HOLD;
    loop {
        let mut guard = Timer::new(GUARD);
        // Only that it is pending counts.
        future::poll_once(&mut guard).await;
        if ring.stay(&mut hold, neighbours).await {
            Timer::new(STEP_ASIDE).await;
        } else {
            drop(guard);
            ring.sleep(neighbours).await;
        }
    }
}

impl Ring {
    /// Until glommio has to have its turn, or (`false`) until nothing is left to do.
    async fn stay(&self, hold: &mut Duration, neighbours: Option<&Neighbours>) -> bool {
        let began = Instant::now();
        let mut looks = 0;
        loop {
            // In this order: what a read makes due and what a group does is one write of the journal.
            let completed = self.turn();
            let mail = neighbours.is_some_and(Neighbours::take_mail);
            looks = if completed | mail { 0 } else { looks + 1 };
            future::yield_now().await;
            let now = Instant::now();
            if now - began >= *hold {
                return true;
            }
            if looks < LOOKS {
                continue;
            }
            if self.is_company(neighbours) {
                let others = now.elapsed();
                *hold = if others < HOLD { HOLD } else { HOLD_SHARED };
            } else if !self.doze(HOLD.saturating_sub(now - began), neighbours) {
                return false;
            }
            looks = 0;
        }
    }

    /// The other shards had their turn, and there is something to do after it.
    fn is_company(&self, neighbours: Option<&Neighbours>) -> bool {
        neighbours.is_some_and(Neighbours::go_first) || self.has_work()
    }

    /// A sleep that costs one call, where glommio's takes seven: its rings and timers wait meanwhile, so it is short,
    /// and only for when nobody waits for them. `false`: nothing has come.
    fn doze(&self, at_most: Duration, neighbours: Option<&Neighbours>) -> bool {
        if !neighbours
            .is_none_or(|neighbours| neighbours.may_doze() && neighbours.rest(Rest::Dozing))
        {
            return neighbours.is_some_and(Neighbours::has_mail);
        }
        let uring = self.uring.borrow();
        let until = Timespec::from(at_most);
        // How it ended (ETIME, EINTR) is seen from what has come.
        let _ = uring
            .submitter()
            .submit_with_args(1, &SubmitArgs::new().timespec(&until));
        drop(uring);
        if let Some(neighbours) = neighbours {
            neighbours.wake();
        }
        self.has_work()
    }

    /// Until there is something to do.
    async fn sleep(&self, neighbours: Option<&Neighbours>) {
        self.uring.borrow_mut().completion().enable_eventfd();
        self.door.hush();
        // What came before nobody rings for.
        if !self.has_work() && neighbours.is_none_or(|neighbours| neighbours.rest(Rest::Asleep)) {
            self.door.wait().await;
            if let Some(neighbours) = neighbours {
                neighbours.wake();
            }
        }
        self.uring.borrow_mut().completion().disable_eventfd();
    }

    fn has_work(&self) -> bool {
        let given = self.unheard.get()
            || !self.given.borrow().is_empty()
            || !self.behind.borrow().is_empty()
            || !self.interrupted.borrow().is_empty();
        given || has_come(&mut self.uring.borrow_mut())
    }

    /// One look. `false`: there was nothing.
    fn turn(&self) -> bool {
        self.settle();
        let waited = !self.behind.borrow().is_empty();
        let given = self.given.borrow().len();
        let come = self.take_completions();
        let small = self.given.borrow().len() > given;
        self.wake_large(small);
        come || waited
    }

    /// True: something was handed over, or has completed.
    fn take_completions(&self) -> bool {
        let mut uring = self.uring.borrow_mut();
        let mut come = !uring.submission().is_empty();
        if come || promises(&mut uring) {
            // After a doze everything is here already. What it does not take at once (EINTR, EAGAIN) it takes in the
            // next turn.
            let _ = uring.submit();
        }
        for completion in uring.completion() {
            come = true;
            self.complete(&completion);
        }
        come
    }

    fn wake_large(&self, small: bool) {
        for index in self.behind.borrow_mut().come(small) {
            if let Some(slot) = self.slots.borrow_mut().find(index) {
                self.given.borrow_mut().push(index);
                slot.wake();
            }
        }
    }

    /// After the tasks of the last turn have run. What was not taken is copied out, and the client is not
    /// read any further; who still waits for bytes and is not receiving any more (the buffers had run out, or it
    /// was stopped) receives again.
    fn settle(&self) {
        if self.unheard.take() {
            self.ask_rung();
        }
        for index in self.given.borrow_mut().drain(..) {
            if let Some(slot) = self.slots.borrow_mut().find(index)
                && !slot.chunks.is_empty()
            {
                self.keep(index, slot);
            }
        }
        for index in self.interrupted.borrow_mut().drain(..) {
            if let Some(slot) = self.slots.borrow_mut().find(index)
                && slot.waits_for_bytes()
            {
                self.ask_receive(index, slot);
            }
        }
    }

    fn keep(&self, index: u32, slot: &mut Slot) {
        if slot.receive == Receive::On {
            slot.receive = Receive::Stopping;
            self.ask_cancel(index, RECEIVE);
        }
        for mut chunk in slot.chunks.drain(..) {
            slot.overrun |= self.buffered.is_full();
            if !slot.overrun {
                let bytes = self.buffers.bytes(&mut chunk);
                slot.kept.extend_from_slice(bytes);
                self.buffered.change(0, bytes.len());
            }
            self.buffers.give_back(chunk);
        }
    }

    fn complete(&self, completion: &cqueue::Entry) {
        let (index, kind) = untag(completion);
        if kind == RUNG {
            if !cqueue::more(completion.flags()) {
                self.unheard.set(true);
            }
            return;
        }
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.find(index) else {
            return;
        };
        match kind {
            RECEIVE => self.received(index, slot, completion),
            SEND => {
                slot.sent = Some(completion.result());
                slot.wake();
            }
            READABLE => {
                slot.polling = false;
                slot.ready = true;
                slot.wake();
            }
            // A cancel that came too late; what it was for completes without it.
            _ => return,
        }
        if slot.abandoned && !slot.is_under_way() {
            slots.remove(index);
        }
    }

    fn received(&self, index: u32, slot: &mut Slot, completion: &cqueue::Entry) {
        let (result, flags) = (completion.result(), completion.flags());
        if let Some(buffer) = cqueue::buffer_select(flags) {
            let chunk = Chunk::new(buffer, result.max(0) as usize);
            if result > 0 && !slot.abandoned {
                // What follows something that was not taken yet is a part of it.
                let large = behind::is_large(result as usize) || !slot.chunks.is_empty();
                slot.chunks.push_back(chunk);
                if large {
                    self.behind.borrow_mut().push(index);
                } else {
                    self.given.borrow_mut().push(index);
                    slot.wake();
                }
            } else {
                self.buffers.give_back(chunk);
            }
        }
        if cqueue::more(flags) {
            return;
        }
        slot.receive = Receive::Off;
        match -result {
            // The last bytes of this receive; no buffer was left; we have stopped it.
            ..0 | libc::ENOBUFS | libc::ECANCELED => {}
            end => {
                slot.end = Some(end);
                slot.wake();
            }
        }
        if slot.waits_for_bytes() {
            self.interrupted.borrow_mut().push(index);
        }
    }
}

/// Something to hand over, or something to take.
fn has_come(uring: &mut IoUring) -> bool {
    if uring.submission().is_empty() && promises(uring) {
        let _ = uring.submit();
    }
    !uring.submission().is_empty() || !uring.completion().is_empty()
}

/// Completions are made when we ask for them: until then the kernel only says that there would be some. It may say so
/// when there are none any more, and goes on saying it until the next one: it puts the work into our list first and the
/// flag after it, and we may have done the work in between. So nothing is believed but what comes of asking.
fn promises(uring: &mut IoUring) -> bool {
    let entries = uring.submission();
    entries.taskrun() || entries.cq_overflow()
}
