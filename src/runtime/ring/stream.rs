//! A client's connection on the ring.

use super::slots::Receive;
use super::{Ring, SEND, tag};
use futures_lite::future;
use io_uring::opcode;
use io_uring::types::Fd;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

/// The client sent more than may be kept while nothing was read from it.
#[derive(Debug, thiserror::Error)]
#[error("more than may be kept came before it was asked for")]
pub struct Overrun;

/// Its descriptor is closed some time after it is dropped, once the kernel has given it up.
pub struct Stream {
    ring: Rc<Ring>,
    index: u32,
    descriptor: RawFd,
}

/// For who must know whether a stream's task has something to read.
pub struct Received {
    ring: Rc<Ring>,
    index: u32,
}

impl Received {
    /// The ring has taken bytes from the socket, and the stream's task has not come to read them. As long as the stream
    /// lives.
    pub fn has_bytes(&self) -> bool {
        let mut slots = self.ring.slots.borrow_mut();
        slots.find(self.index).is_some_and(|slot| slot.has_bytes())
    }
}

impl Stream {
    pub fn received(&self) -> Received {
        Received {
            ring: self.ring.clone(),
            index: self.index,
        }
    }

    /// The socket blocks, as far as it is concerned: on one that does not, the kernel would not wait.
    pub fn new(ring: Rc<Ring>, descriptor: OwnedFd) -> Stream {
        let raw = descriptor.as_raw_fd();
        let index = ring.adopt(descriptor);
        Stream {
            ring,
            index,
            descriptor: raw,
        }
    }

    /// Waits for bytes and lends them to `take`, where the kernel has put them or, when they are in several
    /// pieces, in `shared`. `None` at the end of the stream.
    pub async fn receive<T>(
        &mut self,
        shared: &RefCell<Box<[u8]>>,
        take: impl FnOnce(&mut [u8]) -> T,
    ) -> io::Result<Option<T>> {
        match future::poll_fn(|context| self.poll_bytes(context)).await? {
            true => Ok(Some(self.lend(&mut shared.borrow_mut(), take))),
            false => Ok(None),
        }
    }

    /// Whether there are bytes; if not, it is the end.
    fn poll_bytes(&self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut slots = self.ring.slots.borrow_mut();
        let slot = slots.held(self.index);
        slot.receives = false;
        if slot.has_bytes() {
            return Poll::Ready(Ok(true));
        }
        if slot.overrun {
            return Poll::Ready(Err(io::Error::other(Overrun)));
        }
        // Only once: whoever reads on asks the kernel again.
        match slot.end.take() {
            Some(0) => return Poll::Ready(Ok(false)),
            Some(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(error))),
            None => {}
        }
        slot.receives = true;
        slot.waiter = Some(context.waker().clone());
        if slot.receive == Receive::Off {
            self.ring.ask_receive(self.index, slot);
        }
        Poll::Pending
    }

    fn lend<T>(&self, shared: &mut [u8], take: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut slots = self.ring.slots.borrow_mut();
        let slot = slots.held(self.index);
        if !slot.kept.is_empty() {
            let mut kept = std::mem::take(&mut slot.kept);
            drop(slots);
            self.ring.buffered.change(kept.len(), 0);
            return take(&mut kept);
        }
        let buffers = &self.ring.buffers;
        if slot.chunks.len() == 1
            && let Some(mut chunk) = slot.chunks.pop_front()
        {
            drop(slots);
            let taken = take(buffers.bytes(&mut chunk));
            buffers.give_back(chunk);
            return taken;
        }
        let mut filled = 0;
        while let Some(mut chunk) = slot.chunks.pop_front() {
            let bytes = buffers.bytes(&mut chunk);
            let Some(room) = shared.get_mut(filled..filled + bytes.len()) else {
                slot.chunks.push_front(chunk);
                break;
            };
            room.copy_from_slice(bytes);
            filled += bytes.len();
            buffers.give_back(chunk);
        }
        drop(slots);
        take(&mut shared[..filled])
    }

    /// Sends everything; at most as much as the client's window takes is not waited for.
    pub async fn send(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let sent = send_now(self.descriptor, bytes)?;
            if sent == bytes.len() {
                bytes.clear();
                return Ok(());
            }
            bytes.drain(..sent);
            self.ask_send(std::mem::take(bytes));
            let (rest, result) = future::poll_fn(|context| self.poll_sent(context)).await;
            *bytes = rest;
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result));
            }
            bytes.drain(..result as usize);
            if bytes.is_empty() {
                return Ok(());
            }
        }
    }

    fn ask_send(&self, bytes: Vec<u8>) {
        let entry = opcode::Send::new(Fd(self.descriptor), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.ring.slots.borrow_mut().held(self.index).outgoing = Some(bytes);
        self.ring.ask(&entry.user_data(tag(self.index, SEND)));
    }

    fn poll_sent(&self, context: &mut Context<'_>) -> Poll<(Vec<u8>, i32)> {
        let mut slots = self.ring.slots.borrow_mut();
        let slot = slots.held(self.index);
        if let Some(result) = slot.sent.take() {
            return Poll::Ready((slot.outgoing.take().unwrap_or_default(), result));
        }
        slot.waiter = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.ring.abandon(self.index);
    }
}

/// What fits into the socket's buffer at once.
fn send_now(descriptor: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        // SAFETY: the descriptor is ours as long as the stream lives.
        let sent = unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(0),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}
