//! A TCP proxy that misbehaves on demand, for a real server behind it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::free_port;

const TICK: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Pass,
    /// Connections stay open and nothing passes.
    Stall,
    /// Each piece of a reply is late by this much.
    Delay(Duration),
}

struct Shared {
    upstream: u16,
    verb: Mutex<Verb>,
    /// Each new connection takes one: its replies end after so many bytes.
    cuts: Mutex<VecDeque<usize>>,
    accepted: AtomicUsize,
    cut: AtomicUsize,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Proxy {
    pub fn in_front_of(upstream: u16) -> Proxy {
        let mut proxy = Proxy {
            port: free_port(),
            shared: Arc::new(Shared {
                upstream,
                verb: Mutex::new(Verb::Pass),
                cuts: Mutex::default(),
                accepted: AtomicUsize::new(0),
                cut: AtomicUsize::new(0),
            }),
            listening: None,
        };
        proxy.listen();
        proxy
    }

    pub fn listen(&mut self) {
        assert!(self.listening.is_none(), "it listens already");
        let listener = listener(self.port);
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stop_too) = (self.shared.clone(), stop.clone());
        let thread = std::thread::spawn(move || accept_until(&listener, &shared, &stop_too));
        self.listening = Some((stop, thread));
    }

    /// Closes the port and every connection; [`Proxy::listen`] opens the same port again.
    pub fn refuse(&mut self) {
        if let Some((stop, thread)) = self.listening.take() {
            stop.store(true, SeqCst);
            thread.join().expect("the acceptor does not panic");
        }
    }

    /// Takes effect on open connections too.
    pub fn set(&self, verb: Verb) {
        *self.shared.verb.lock().expect("no holder panics") = verb;
    }

    /// The next connections' replies end after so many bytes each, one connection after the other.
    pub fn cut_replies(&self, after: impl IntoIterator<Item = usize>) {
        let mut cuts = self.shared.cuts.lock().expect("no holder panics");
        cuts.extend(after);
    }

    /// How many connections were cut.
    pub fn cut(&self) -> usize {
        self.shared.cut.load(SeqCst)
    }

    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
    }
}

fn listener(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a TCP option");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.bind(&address.into()).expect("our port is free");
    socket.listen(64).expect("a bound socket listens");
    socket.set_nonblocking(true).expect("a TCP option");
    socket.into()
}

fn accept_until(listener: &TcpListener, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) {
    let mut pumps = Vec::new();
    while !stop.load(SeqCst) {
        match listener.accept() {
            Ok((client, _)) => {
                shared.accepted.fetch_add(1, SeqCst);
                let cut = shared.cuts.lock().expect("no holder panics").pop_front();
                // The server is down: so is this connection.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)) else {
                    continue;
                };
                for (from, to, cut) in [(&client, &server, None), (&server, &client, cut)] {
                    let replies = std::ptr::eq(from, &server);
                    let (from, to) = (clone(from), clone(to));
                    let (shared, stop) = (shared.clone(), stop.clone());
                    pumps.push(std::thread::spawn(move || {
                        pump(from, to, &shared, &stop, replies, cut);
                    }));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TICK),
            Err(error) => panic!("accept: {error}"),
        }
    }
    for pump in pumps {
        pump.join().expect("a pump does not panic");
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.set_nonblocking(false).expect("a TCP option");
    stream.set_nodelay(true).expect("a TCP option");
    stream.set_read_timeout(Some(TICK)).expect("above zero");
    stream.try_clone().expect("a descriptor more")
}

fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Shared,
    stop: &AtomicBool,
    replies: bool,
    cut: Option<usize>,
) {
    let mut chunk = vec![0; 64 * 1024];
    let mut left = cut.unwrap_or(usize::MAX);
    while !stop.load(SeqCst) {
        let verb = *shared.verb.lock().expect("no holder panics");
        if verb == Verb::Stall {
            std::thread::sleep(TICK);
            continue;
        }
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => {
                if let (Verb::Delay(late), true) = (verb, replies) {
                    std::thread::sleep(late);
                }
                let passed = count.min(left);
                if to.write_all(&chunk[..passed]).is_err() {
                    break;
                }
                left -= passed;
                if passed < count || (left == 0 && cut.is_some()) {
                    shared.cut.fetch_add(1, SeqCst);
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // Both directions end together, as when a proxy dies.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
