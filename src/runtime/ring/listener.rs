//! Accepts as many as are wanted and no more: the rest stay in the backlog.

use super::{READABLE, Ring, Stream, tag};
use futures_lite::future;
use io_uring::opcode;
use io_uring::types::Fd;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

/// In a row; then everybody else has a turn.
const ACCEPTS_MAX: u32 = 32;

pub struct Listener {
    ring: Rc<Ring>,
    index: u32,
    descriptor: RawFd,
    accepts: Cell<u32>,
}

impl Listener {
    /// The socket is bound, listens and does not block.
    pub fn new(ring: Rc<Ring>, socket: OwnedFd) -> Listener {
        let descriptor = socket.as_raw_fd();
        let index = ring.adopt(socket);
        Listener {
            ring,
            index,
            descriptor,
            accepts: Cell::new(0),
        }
    }

    pub async fn accept(&self) -> io::Result<Stream> {
        loop {
            if self.accepts.get() >= ACCEPTS_MAX {
                self.readable().await;
            }
            self.accepts.set(self.accepts.get() + 1);
            match accept(self.descriptor) {
                Ok(descriptor) => return Ok(Stream::new(self.ring.clone(), descriptor)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable().await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn readable(&self) {
        self.accepts.set(0);
        self.ask_readable();
        future::poll_fn(|context| self.poll_readable(context)).await;
    }

    fn ask_readable(&self) {
        let mut slots = self.ring.slots.borrow_mut();
        // One that nobody waited for to its end is still there.
        if !std::mem::replace(&mut slots.held(self.index).polling, true) {
            let entry = opcode::PollAdd::new(Fd(self.descriptor), libc::POLLIN as u32).build();
            self.ring.ask(&entry.user_data(tag(self.index, READABLE)));
        }
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut slots = self.ring.slots.borrow_mut();
        let slot = slots.held(self.index);
        if std::mem::take(&mut slot.ready) {
            return Poll::Ready(());
        }
        slot.waiter = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ring.abandon(self.index);
    }
}

fn accept(listener: RawFd) -> io::Result<OwnedFd> {
    let nobody = std::ptr::null_mut();
    // SAFETY: the listener's descriptor lives as long as its slot; the address is not wanted.
    let accepted = unsafe { libc::accept4(listener, nobody, nobody.cast(), libc::SOCK_CLOEXEC) };
    if accepted < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(accepted) })
}
