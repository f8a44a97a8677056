//! What systemd does for a service, without it: holds listening sockets while the service is restarted, and is
//! told what state it is in.

use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};
use tempfile::TempDir;

use super::flux::Builder;
use super::{PATIENCE, free_port, wait_for};

pub struct Supervisor {
    pub port: u16,
    sockets: Vec<Socket>,
    notified: UnixDatagram,
    dir: TempDir,
}

impl Supervisor {
    /// Holds this many sockets of one address, as several `ListenStream=` with `ReusePort=` do.
    pub fn with_sockets(count: usize) -> Supervisor {
        let port = free_port();
        let address = SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let listening = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address)?;
            socket.listen(4096)?;
            Ok::<_, std::io::Error>(socket)
        };
        let sockets = (0..count).map(|_| listening().expect("a free port"));
        Supervisor::holding(sockets.collect(), port)
    }

    /// Holds what is no listener.
    pub fn with_datagrams() -> Supervisor {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        Supervisor::holding(vec![socket], free_port())
    }

    fn holding(sockets: Vec<Socket>, port: u16) -> Supervisor {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let notified = UnixDatagram::bind(dir.path().join("notify")).expect("our own folder");
        let patience = Some(PATIENCE);
        notified.set_read_timeout(patience).expect("a time");
        Supervisor {
            port,
            sockets,
            notified,
            dir,
        }
    }

    /// A service that this supervisor starts.
    pub fn of(&self, builder: Builder) -> Builder {
        let descriptors: Vec<RawFd> = self.sockets.iter().map(Socket::as_raw_fd).collect();
        let notify = self.dir.path().join("notify");
        builder
            .unset("http.listen")
            .at_port(self.port)
            .activated(descriptors)
            .env("NOTIFY_SOCKET", notify.display())
    }

    /// The next message, as its lines; fails the test when none comes.
    pub fn told(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.notified.recv(&mut message).expect("a message in time");
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// Reads messages until one has this line, and returns that one.
    pub fn wait_told(&self, line: &str) -> Vec<String> {
        wait_for(&format!("it says {line}"), PATIENCE, || {
            let told = self.told();
            told.iter().any(|said| said == line).then_some(told)
        })
    }

    /// How many messages with this line come within this time.
    pub fn count(&self, line: &str, time: Duration) -> usize {
        let until = std::time::Instant::now() + time;
        let mut count = 0;
        let mut message = [0; 4096];
        while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
            let left = Some(left.max(Duration::from_millis(1)));
            self.notified.set_read_timeout(left).expect("a time");
            if let Ok(length) = self.notified.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]);
                count += usize::from(text.lines().any(|said| said == line));
            }
        }
        self.notified
            .set_read_timeout(Some(PATIENCE))
            .expect("a time");
        count
    }
}
