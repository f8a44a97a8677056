//! Clients' sockets, whichever way they are driven: by our own ring, or, where the kernel does not have what
//! that needs, by glommio's readiness polls.

use super::arrivals::Arrivals;
use super::ring::{self, Ring};
use futures_lite::{AsyncRead, AsyncWriteExt, future};
use glommio::net::TcpStream;
use socket2::Socket;
use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;

pub use ring::Overrun;

pub enum Listener {
    Ring(ring::Listener),
    Polled(Arrivals),
}

impl Listener {
    /// The socket is bound and listens, whoever did that.
    pub fn new(socket: Socket, ring: Option<Rc<Ring>>) -> io::Result<Listener> {
        if let Some(ring) = ring {
            socket.set_nonblocking(true)?;
            return Ok(Listener::Ring(ring::Listener::new(ring, socket.into())));
        }
        Ok(Listener::Polled(Arrivals::of(socket)?))
    }

    /// Dropping this loses nobody: who waits in the backlog still waits there (docs/decisions/0015).
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Ring(listener) => listener.accept().await.map(Stream::Ring),
            Listener::Polled(arrivals) => arrivals.next().await.map(Stream::Polled),
        }
    }
}

pub enum Stream {
    Ring(ring::Stream),
    Polled(TcpStream),
}

impl Stream {
    /// Reads once and lends what came to `take`: nobody else sees it, and it is gone afterwards. `None` at the end
    /// of the stream. `shared` is borrowed only while bytes are in it.
    pub async fn receive<T>(
        &mut self,
        shared: &RefCell<Box<[u8]>>,
        take: impl FnOnce(&mut [u8]) -> T,
    ) -> io::Result<Option<T>> {
        let stream = match self {
            Stream::Ring(stream) => return stream.receive(shared, take).await,
            Stream::Polled(stream) => stream,
        };
        let length = future::poll_fn(|context| {
            Pin::new(&mut *stream).poll_read(context, &mut shared.borrow_mut())
        })
        .await?;
        // Nothing runs between the read's return and here: the bytes are still ours.
        Ok((length > 0).then(|| take(&mut shared.borrow_mut()[..length])))
    }

    /// Sends all of it, and leaves the buffer empty.
    pub async fn send(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Stream::Ring(stream) => stream.send(bytes).await,
            Stream::Polled(stream) => {
                stream.write_all(bytes).await?;
                bytes.clear();
                Ok(())
            }
        }
    }

    /// What a look into the socket does not show.
    pub fn received(&self) -> Option<ring::Received> {
        match self {
            Stream::Ring(stream) => Some(stream.received()),
            Stream::Polled(_) => None,
        }
    }

    /// Nothing more will be sent.
    pub fn half_close(&self) -> io::Result<()> {
        // SAFETY: open as long as the stream lives.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) };
        socket2::SockRef::from(&descriptor).shutdown(Shutdown::Write)
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Ring(stream) => stream.as_raw_fd(),
            Stream::Polled(stream) => stream.as_raw_fd(),
        }
    }
}
