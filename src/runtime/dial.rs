//! Outgoing connections: the name is resolved and the socket connected on the executor's blocking
//! pool, because both can wait and glommio would resolve on the executor itself.

use glommio::net::TcpStream;
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Per address. A black hole costs this long on the blocking pool, never on a shard.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes unacknowledged for this long mean that the peer is gone (TCP_USER_TIMEOUT).
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// An idle connection is probed after this long, so that a vanished peer is noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Both directions of one connection: separate streams over the same socket, so that a posted read
/// never stands in the way of a write.
pub struct Dialled {
    pub reader: TcpStream,
    pub writer: TcpStream,
}

pub async fn dial(target: &Target) -> io::Result<Dialled> {
    let target = target.clone();
    let (one, other) = glommio::executor()
        .spawn_blocking(move || connect(&target))
        .await?;
    // SAFETY: both descriptors were just made here and are owned by nobody else.
    Ok(unsafe {
        Dialled {
            reader: TcpStream::from_raw_fd(one.into_raw_fd()),
            writer: TcpStream::from_raw_fd(other.into_raw_fd()),
        }
    })
}

fn connect(target: &Target) -> io::Result<(OwnedFd, OwnedFd)> {
    let socket = match target {
        Target::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.connect_timeout(&SockAddr::unix(path)?, CONNECT_TIMEOUT)?;
            socket
        }
        Target::Tcp(host, port) => connect_any(host, *port)?,
    };
    let other = socket.try_clone()?;
    Ok((socket.into(), other.into()))
}

fn connect_any(host: &str, port: u16) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let attempt = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.connect_timeout(&address.into(), CONNECT_TIMEOUT)?;
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
            Ok(socket)
        };
        match attempt() {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Bytes written to the socket that its peer's kernel has not acknowledged (SIOCOUTQ).
pub fn unacknowledged(descriptor: std::os::fd::RawFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (= SIOCOUTQ on sockets) writes one int.
    let result = unsafe { libc::ioctl(descriptor, libc::TIOCOUTQ, &mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes.max(0) as u64)
}

/// Ends both directions at once, so that whoever reads or writes on it is woken with an error.
pub fn sever(stream: &TcpStream) {
    // SAFETY: the descriptor is open for as long as the stream is.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // An error means that it is severed already.
    let _ = SockRef::from(&descriptor).shutdown(std::net::Shutdown::Both);
}

/// Delays between attempts: doubling, with jitter, so that N shards do not storm a peer that comes back.
pub struct Backoff {
    next_ms: u64,
    seed: u64,
}

const BACKOFF_FIRST_MS: u64 = 20;
/// Short enough that a peer that is back is found within two seconds.
const BACKOFF_MAX_MS: u64 = 1500;

impl Backoff {
    pub fn new(seed: u64) -> Self {
        Backoff {
            next_ms: BACKOFF_FIRST_MS,
            seed: seed | 1,
        }
    }

    pub fn reset(&mut self) {
        self.next_ms = BACKOFF_FIRST_MS;
    }

    /// Between half and the whole of the current step.
    pub fn delay(&mut self) -> Duration {
        // xorshift64: jitter needs no better randomness.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let step = self.next_ms;
        self.next_ms = (step * 2).min(BACKOFF_MAX_MS);
        Duration::from_millis(step / 2 + self.seed % (step / 2 + 1))
    }
}

/// Closes without delivering what is still queued (a reset).
pub fn abort(stream: &TcpStream) {
    // SAFETY: the descriptor is open for as long as the stream is.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    // A Unix socket has no lingering to set; its close drops nothing the peer has not been given.
    let _ = SockRef::from(&descriptor).set_linger(Some(Duration::ZERO));
}
