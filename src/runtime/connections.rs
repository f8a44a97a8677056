//! The connections of one shard: who waits, and for how long. One sweep looks at all deadlines; a read
//! has no timer of its own.

use super::buffered::Buffered;
use super::connection::Bounds;
use super::ring::Received;
use super::socket::Stream;
use crate::config;
use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What a connection is waiting for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// For a first byte: nothing is lost when it is closed.
    Idle,
    /// For more lines, which nobody answers.
    Lines,
    /// For the rest of a request: answered 408.
    Request,
    /// For its points' owners; they have a deadline of their own.
    Owners,
    /// For the client to take what it is sent, or to stop sending.
    Client,
}

struct Entry {
    descriptor: RawFd,
    received: Option<Received>,
    waits: Waits,
    deadline_ms: u64,
    timed_out: bool,
    waker: Option<Waker>,
}

pub struct Connections {
    entries: RefCell<Vec<Option<Entry>>>,
    free: RefCell<Vec<usize>>,
    open: Cell<usize>,
    /// Connections with something to do after a turn of glommio's.
    pub aside: Cell<u32>,
    max: usize,
    pub buffered: Rc<Buffered>,
    /// A reload changes them: the limits for connections from then on, the deadlines for all.
    pub bounds: Cell<Bounds>,
    pub accepted: Cell<u64>,
}

impl Connections {
    pub fn new(max: usize, http: &config::Http, line: &config::Line) -> Self {
        Connections {
            entries: RefCell::default(),
            free: RefCell::default(),
            open: Cell::new(0),
            aside: Cell::new(0),
            max,
            buffered: Rc::new(Buffered::new(http.buffered_bytes_max)),
            bounds: Cell::new(Bounds::of(http, line)),
            accepted: Cell::new(0),
        }
    }

    /// The configuration was read again.
    pub fn switch(&self, http: &config::Http, line: &config::Line) {
        self.buffered.switch(http.buffered_bytes_max);
        self.bounds.set(Bounds::of(http, line));
    }

    pub fn open(&self, stream: &Stream, deadline_ms: u64) -> usize {
        self.add(stream.as_raw_fd(), stream.received(), deadline_ms)
    }

    fn add(&self, descriptor: RawFd, received: Option<Received>, deadline_ms: u64) -> usize {
        let entry = Some(Entry {
            descriptor,
            received,
            waits: Waits::Idle,
            deadline_ms,
            timed_out: false,
            waker: None,
        });
        self.open.set(self.open.get() + 1);
        self.accepted.set(self.accepted.get() + 1);
        let mut entries = self.entries.borrow_mut();
        match self.free.borrow_mut().pop() {
            Some(index) => {
                entries[index] = entry;
                index
            }
            None => {
                entries.push(entry);
                entries.len() - 1
            }
        }
    }

    /// Before the descriptor is closed: the sweep must never touch one that belongs to somebody else.
    pub fn close(&self, index: usize) {
        self.entries.borrow_mut()[index] = None;
        self.free.borrow_mut().push(index);
        self.open.set(self.open.get() - 1);
    }

    pub fn max(&self) -> usize {
        self.max
    }

    pub fn count(&self) -> usize {
        self.open.get()
    }

    pub fn full(&self) -> bool {
        self.open.get() >= self.max
    }

    pub fn waits(&self, index: usize, waits: Waits, deadline_ms: u64) {
        if let Some(entry) = &mut self.entries.borrow_mut()[index] {
            entry.waits = waits;
            entry.deadline_ms = deadline_ms;
        }
    }

    pub fn timed_out(&self, index: usize) -> bool {
        self.entries.borrow()[index]
            .as_ref()
            .is_some_and(|entry| entry.timed_out)
    }

    pub fn wake(&self, index: usize) {
        let mut entries = self.entries.borrow_mut();
        if let Some(waker) = entries
            .get_mut(index)
            .and_then(Option::as_mut)
            .and_then(|entry| entry.waker.take())
        {
            waker.wake();
        }
    }

    /// Sleeps until the next [`wake`](Self::wake); the caller looks again at what it waits for.
    pub async fn woken(&self, index: usize) {
        let mut slept = false;
        futures_lite::future::poll_fn(|context| {
            if std::mem::replace(&mut slept, true) {
                return Poll::Ready(());
            }
            if let Some(entry) = &mut self.entries.borrow_mut()[index] {
                entry.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Ends the waiting of those past their deadline, by shutting their sockets down: the read or write
    /// under way returns and its task finds out why.
    ///
    /// `idle_until_ms`: idle connections give way from then on (the cap is met, or the service drains).
    pub fn sweep(&self, now_ms: u64, idle_until_ms: u64) {
        for entry in self.entries.borrow_mut().iter_mut().flatten() {
            let how = match entry.waits {
                Waits::Idle if now_ms >= entry.deadline_ms.min(idle_until_ms) => {
                    // Its request is here, and its task reads it next.
                    if has_unread(entry) {
                        continue;
                    }
                    libc::SHUT_RD
                }
                // What has arrived is still read, then comes the end.
                Waits::Lines if now_ms >= entry.deadline_ms || idle_until_ms < u64::MAX => {
                    libc::SHUT_RD
                }
                Waits::Request if now_ms >= entry.deadline_ms => {
                    entry.timed_out = true;
                    libc::SHUT_RD
                }
                Waits::Client if now_ms >= entry.deadline_ms => libc::SHUT_RDWR,
                _ => continue,
            };
            // Once is enough; what follows has a deadline of its own.
            entry.deadline_ms = u64::MAX;
            // SAFETY: `close` is called before the descriptor is; a refusal means that the peer was faster.
            unsafe { libc::shutdown(entry.descriptor, how) };
        }
    }
}

fn has_unread(entry: &Entry) -> bool {
    if entry.received.as_ref().is_some_and(Received::has_bytes) {
        return true;
    }
    let (mut byte, look) = (0u8, libc::MSG_PEEK | libc::MSG_DONTWAIT);
    // SAFETY: the descriptor is open as in `sweep`, and the buffer is as long as is said.
    unsafe { libc::recv(entry.descriptor, (&raw mut byte).cast(), 1, look) > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_idle_connection_ends_and_one_with_an_unread_request_does_not() {
        let config = Config::default();
        let connections = Connections::new(2, &config.http, &config.line);
        let (mut idle, _peer) = UnixStream::pair().unwrap();
        let (mut asked, mut client) = UnixStream::pair().unwrap();
        for stream in [&idle, &asked] {
            connections.add(stream.as_raw_fd(), None, u64::MAX);
        }
        client.write_all(b"GET").unwrap();
        connections.sweep(5, 5);
        assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0);
        // The rest still comes through.
        assert_eq!(asked.read(&mut [0; 8]).unwrap(), 3);
        client.write_all(b" /").unwrap();
        assert_eq!(asked.read(&mut [0; 8]).unwrap(), 2);
    }
}
