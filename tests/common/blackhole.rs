//! A carbon that records every point exactly and misbehaves on demand.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{free_port, pickle, wait_until};

/// How long a thread may take to notice that it was told something else.
const TICK: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    pub name: String,
    pub timestamp: u32,
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Read,
    /// Connections stay open and nothing is read.
    Stall,
    CloseAfterAccept,
    /// A reset once this many bytes of a connection were read.
    ResetAfter(usize),
    /// One reset, after this many more bytes on any connection; everything is read again after it.
    ResetOnce(usize),
    /// Bytes are there, none is read, and the connection is closed: a reset, as the kernel of a killed
    /// process sends it.
    CloseUnread,
    /// The same with our end of the stream first: the peer sees a FIN before its frame was read.
    FinUnread,
    /// This many bytes, then a pause of a millisecond.
    Slow(usize),
    /// This many bytes a second.
    Rate(usize),
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    /// How often it was told something, and up to where each open connection has heard it.
    told: AtomicUsize,
    heard: Mutex<Vec<Arc<AtomicUsize>>>,
    points: Mutex<Vec<Received>>,
    /// What no sane carbon would take: the stream is not frames.
    faults: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    /// Connections that ended inside a frame.
    torn: AtomicUsize,
    /// Connections that we ended in a bad way because we were told to.
    broken: AtomicUsize,
}

pub struct Blackhole {
    pub port: u16,
    /// Where it listens, from the next [`Blackhole::listen`] on.
    pub address: Ipv4Addr,
    shared: Arc<Shared>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Blackhole {
    pub fn start() -> Blackhole {
        let mut blackhole = Blackhole::refusing();
        blackhole.listen();
        blackhole
    }

    /// Knows its port and does not listen yet: carbon is down.
    pub fn refusing() -> Blackhole {
        Blackhole::refusing_on(free_port())
    }

    pub fn refusing_on(port: u16) -> Blackhole {
        Blackhole {
            port,
            address: Ipv4Addr::LOCALHOST,
            shared: Arc::new(Shared {
                mode: Mutex::new(Mode::Read),
                told: AtomicUsize::new(0),
                heard: Mutex::default(),
                points: Mutex::default(),
                faults: Mutex::default(),
                accepted: AtomicUsize::new(0),
                torn: AtomicUsize::new(0),
                broken: AtomicUsize::new(0),
            }),
            listening: None,
        }
    }

    /// As `carbon.endpoint` wants it.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn listen(&mut self) {
        assert!(self.listening.is_none(), "it listens already");
        let listener = listener(self.address, self.port);
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stop_too) = (self.shared.clone(), stop.clone());
        let thread = std::thread::spawn(move || accept_until(&listener, &shared, &stop_too));
        self.listening = Some((stop, thread));
    }

    /// Closes the port and every connection; [`Blackhole::listen`] opens the same port again.
    pub fn refuse(&mut self) {
        if let Some((stop, thread)) = self.listening.take() {
            stop.store(true, SeqCst);
            thread.join().expect("the acceptor does not panic");
        }
    }

    /// In effect, on open connections too, when this returns.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().expect("no holder panics") = mode;
        let told = self.shared.told.fetch_add(1, SeqCst) + 1;
        let heard = self.shared.heard.lock().expect("no holder panics").clone();
        wait_until("the readers do as they are told", || {
            heard.iter().all(|heard| heard.load(SeqCst) >= told)
        });
    }

    /// Everything received, the program's own series left out.
    pub fn points(&self) -> Vec<Received> {
        let points = self.shared.points.lock().expect("no holder panics");
        points
            .iter()
            .filter(|point| !point.name.starts_with("skyline.flux."))
            .cloned()
            .collect()
    }

    pub fn wait_points(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("carbon received {count} points"), || {
            self.points().len() >= count
        });
        self.points()
    }

    pub fn has(&self, name: &str, timestamp: u32, value: f64) -> bool {
        self.points().iter().any(|point| {
            point.name == name
                && point.timestamp == timestamp
                && point.value.to_bits() == value.to_bits()
        })
    }

    pub fn connections_accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    pub fn torn(&self) -> usize {
        self.shared.torn.load(SeqCst)
    }

    pub fn broken(&self) -> usize {
        self.shared.broken.load(SeqCst)
    }

    /// Everything received after the first `position` points, whoever sent it.
    pub fn since(&self, position: usize) -> Vec<Received> {
        let points = self.shared.points.lock().expect("no holder panics");
        points.get(position..).unwrap_or_default().to_vec()
    }

    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().expect("no holder panics").clone()
    }
}

impl Drop for Blackhole {
    fn drop(&mut self) {
        self.refuse();
        let faults = self.faults();
        assert!(
            faults.is_empty() || std::thread::panicking(),
            "the stream to carbon is not frames: {faults:?}"
        );
    }
}

fn listener(address: Ipv4Addr, port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("a TCP option");
    // Small, so that a stalled reader holds little before the writer feels it.
    socket.set_recv_buffer_size(32 * 1024).expect("a size");
    let address = SocketAddr::from((address, port));
    socket.bind(&address.into()).expect("our port is free");
    socket.listen(64).expect("a bound socket listens");
    socket.set_nonblocking(true).expect("a TCP option");
    socket.into()
}

fn accept_until(listener: &TcpListener, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) {
    let mut connections = Vec::new();
    while !stop.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                shared.accepted.fetch_add(1, SeqCst);
                let (shared, stop) = (shared.clone(), stop.clone());
                connections.push(std::thread::spawn(move || {
                    read_until(stream, &shared, &stop);
                }));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(TICK),
            Err(error) => panic!("accept: {error}"),
        }
    }
    for connection in connections {
        connection.join().expect("a reader does not panic");
    }
}

fn read_until(stream: TcpStream, shared: &Shared, stop: &AtomicBool) {
    let heard = Arc::new(AtomicUsize::new(0));
    let all = || shared.heard.lock().expect("no holder panics");
    all().push(heard.clone());
    read(stream, shared, stop, &heard);
    all().retain(|other| !Arc::ptr_eq(other, &heard));
    // For those that wait for it already.
    heard.store(usize::MAX, SeqCst);
}

fn read(mut stream: TcpStream, shared: &Shared, stop: &AtomicBool, heard: &AtomicUsize) {
    stream.set_nonblocking(false).expect("a TCP option");
    stream.set_read_timeout(Some(TICK)).expect("above zero");
    let mut unread = Vec::new();
    let mut total = 0;
    let mut told = (Mode::Read, 0);
    let mut chunk = vec![0; 64 * 1024];
    while !stop.load(SeqCst) {
        heard.store(shared.told.load(SeqCst), SeqCst);
        let mode = *shared.mode.lock().expect("no holder panics");
        if mode != told.0 {
            told = (mode, total);
        }
        let limit = match mode {
            Mode::Read => chunk.len(),
            Mode::Stall => {
                std::thread::sleep(TICK);
                continue;
            }
            Mode::CloseAfterAccept => return,
            Mode::ResetAfter(bytes) if total >= bytes => {
                reset(&stream, shared);
                break;
            }
            Mode::ResetAfter(bytes) => (bytes - total).min(chunk.len()),
            Mode::ResetOnce(bytes) if total >= told.1 + bytes && has_bytes(&stream) => {
                let mut mode = shared.mode.lock().expect("no holder panics");
                // Another connection may have been the one.
                if *mode == Mode::ResetOnce(bytes) {
                    *mode = Mode::Read;
                    reset(&stream, shared);
                    break;
                }
                continue;
            }
            Mode::ResetOnce(bytes) if total >= told.1 + bytes => continue,
            Mode::ResetOnce(bytes) => (told.1 + bytes - total).min(chunk.len()),
            Mode::CloseUnread | Mode::FinUnread if has_bytes(&stream) => {
                if mode == Mode::FinUnread {
                    // An error means that the peer was faster.
                    let _ = stream.shutdown(Shutdown::Write);
                    std::thread::sleep(2 * TICK);
                }
                shared.broken.fetch_add(1, SeqCst);
                break;
            }
            Mode::CloseUnread | Mode::FinUnread => continue,
            Mode::Slow(bytes) => {
                std::thread::sleep(Duration::from_millis(1));
                bytes.min(chunk.len())
            }
            Mode::Rate(bytes) => {
                std::thread::sleep(Duration::from_millis(50));
                (bytes / 20).clamp(1, chunk.len())
            }
        };
        match stream.read(&mut chunk[..limit]) {
            Ok(0) => break,
            Ok(n) => {
                total += n;
                unread.extend_from_slice(&chunk[..n]);
                if let Err(fault) = record(&mut unread, shared) {
                    shared.faults.lock().expect("no holder panics").push(fault);
                    return;
                }
            }
            Err(error) if is_timeout(&error) => {}
            Err(_) => break,
        }
    }
    if !unread.is_empty() {
        shared.torn.fetch_add(1, SeqCst);
    }
}

fn reset(stream: &TcpStream, shared: &Shared) {
    let now = Some(Duration::ZERO);
    SockRef::from(stream).set_linger(now).expect("an option");
    shared.broken.fetch_add(1, SeqCst);
}

/// Waits a tick for bytes that could be read.
fn has_bytes(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Ok(1))
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Takes the whole frames off the front.
fn record(unread: &mut Vec<u8>, shared: &Shared) -> Result<(), String> {
    let mut taken = 0;
    let mut found = Vec::new();
    while let Some((payload, bytes)) = pickle::frame(&unread[taken..])? {
        let count = pickle::points(payload, |name, timestamp, value| {
            found.push(Received {
                name: name.to_owned(),
                timestamp: timestamp as u32,
                value,
            });
        })?;
        if count > 500 {
            return Err(format!("a frame of {count} points"));
        }
        taken += bytes;
    }
    unread.drain(..taken);
    let mut points = shared.points.lock().expect("no holder panics");
    points.append(&mut found);
    Ok(())
}
