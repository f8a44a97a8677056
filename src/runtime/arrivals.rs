//! Waiting for connections without taking one. An accept that is cancelled may have taken a connection that nobody
//! will then serve, and a drain cancels; so the ring is only asked whether somebody waits, and the accept is a
//! plain call that happens at once or not at all (docs/decisions/0015).

use futures_lite::{AsyncRead, future};
use glommio::net::TcpStream;
use socket2::Socket;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::Pin;

pub struct Arrivals(Socket);

impl Arrivals {
    pub fn of(socket: Socket) -> io::Result<Arrivals> {
        socket.set_nonblocking(true)?;
        Ok(Arrivals(socket))
    }

    /// The next connection. Dropping this loses none: who waits in the backlog still waits there.
    pub async fn next(&self) -> io::Result<TcpStream> {
        loop {
            match self.0.accept() {
                Ok((socket, _)) => return Ok(stream(socket)),
                // Another shard on the same socket may have been faster.
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => return Err(why),
            }
            self.readable().await?;
        }
    }

    /// glommio has no readiness of its own to ask for; but a stream asks the ring for it as soon as it is made, and
    /// the read that follows fails, because a listener is not connected.
    async fn readable(&self) -> io::Result<()> {
        let mut poll = stream(self.0.try_clone()?);
        let _ = future::poll_fn(|context| Pin::new(&mut poll).poll_read(context, &mut [0])).await;
        Ok(())
    }
}

fn stream(socket: Socket) -> TcpStream {
    // SAFETY: the socket gives its descriptor up to the stream.
    unsafe { TcpStream::from_raw_fd(socket.into_raw_fd()) }
}
