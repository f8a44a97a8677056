//! The shard's socket to statsd: datagrams out, never waited for. The name is resolved off the shard, again every
//! minute (UDP does not tell when a host has moved) and soon after an error.

use super::SWEEP;
use super::control::Phase;
use super::health::Health;
use super::shard::Shard;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

/// Datagrams sent in one go: some hundred microseconds; then others have their turn.
const SENDS_PER_TURN: usize = 128;
const RESOLVE_EVERY: Duration = Duration::from_secs(60);
/// After an error. A statsd that is down refuses each datagram, and asking more often would not help.
const RETRY: Duration = Duration::from_secs(2);

struct Line {
    socket: RefCell<Option<UdpSocket>>,
    health: Health,
    /// Something went wrong since the name was resolved last.
    failed: Cell<bool>,
}

pub fn spawn(shard: &Rc<Shard>, host: &str, port: u16) {
    let line = Rc::new(Line {
        socket: RefCell::default(),
        health: Health::new("statsd"),
        failed: Cell::new(false),
    });
    let resolving = resolve(shard.clone(), line.clone(), host.to_owned(), port);
    glommio::spawn_local(resolving).detach();
    glommio::spawn_local(send(shard.clone(), line)).detach();
}

async fn resolve(shard: Rc<Shard>, line: Rc<Line>, host: String, port: u16) {
    while shard.control.phase() < Phase::Stopped {
        let name = host.clone();
        let opened = glommio::executor()
            .spawn_blocking(move || open(&name, port))
            .await;
        let wrong = line.failed.take();
        match opened {
            Ok(socket) => {
                *line.socket.borrow_mut() = Some(socket);
                if !wrong {
                    line.health.recovered();
                }
                shard.statsd.ring();
            }
            Err(error) => fail(&shard, &line, &error),
        }
        let mut waited = Duration::ZERO;
        while waited < RETRY || (waited < RESOLVE_EVERY && !line.failed.get()) {
            glommio::timer::sleep(RETRY).await;
            waited += RETRY;
            let now_seconds = shard.clock.now().unix_seconds;
            line.health.report(shard.logger, &shard.name(), now_seconds);
        }
    }
}

/// Blocking: a name server may take its time.
fn open(host: &str, port: u16) -> io::Result<UdpSocket> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let address = (host, port).to_socket_addrs()?.next().ok_or_else(none)?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

async fn send(shard: Rc<Shard>, line: Rc<Line>) {
    while shard.control.phase() < Phase::Stopped {
        if !send_some(&shard, &line) {
            shard.statsd.wait().await;
        } else {
            glommio::timer::sleep(SWEEP / 10).await;
        }
    }
}

/// True when more could be sent at once.
fn send_some(shard: &Shard, line: &Line) -> bool {
    let socket = line.socket.borrow();
    let mut pipeline = shard.pipeline.borrow_mut();
    let (Some(socket), Some(statsd)) = (&*socket, &mut pipeline.beside.statsd) else {
        return false;
    };
    for _ in 0..SENDS_PER_TURN {
        let Some(datagram) = statsd.front() else {
            return false;
        };
        let error = match socket.send(datagram) {
            Ok(_) => {
                statsd.sent();
                continue;
            }
            Err(error) => error,
        };
        match error.kind() {
            // The sweep rings again.
            io::ErrorKind::WouldBlock => return false,
            // It tells of an earlier one; this one was not sent.
            io::ErrorKind::ConnectionRefused => {}
            _ => statsd.give_up(),
        }
        fail(shard, line, &error);
    }
    true
}

fn fail(shard: &Shard, line: &Line, error: &io::Error) {
    line.failed.set(true);
    line.health.down(error);
    shard.statsd_errors.set(shard.statsd_errors.get() + 1);
}
