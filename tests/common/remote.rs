//! A remote that answers, or misbehaves, by the path it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait_until;

/// How long a thread may take to notice that something has changed.
const TICK: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub enum Reply {
    /// 200 with this body.
    Body(String),
    /// Another status, with its head's other lines.
    Status(u16, String),
    /// The same as `Status(302)` to this address.
    Redirect(String),
    /// Nothing, until the client goes away or the remote ends.
    Hang,
    /// A 200 without a length that gives a byte now and then and never ends.
    Drip,
    /// A 200 that says how long it is, and gives as many bytes as the client takes.
    Long(u64),
    /// The same without saying so.
    Endless,
    /// A 200 that breaks off.
    Cut,
}

struct Shared {
    asked: Mutex<Vec<String>>,
    ended: AtomicBool,
}

pub struct Remote {
    pub port: u16,
    shared: Arc<Shared>,
}

/// Holds replies back until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    pub fn open(&self) {
        self.0.store(true, SeqCst);
    }

    /// Called by what replies. Ends by itself, so that a failed test does not hang.
    pub fn wait(&self) {
        for _ in 0..20_000 {
            if self.0.load(SeqCst) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }
}

impl Remote {
    /// `reply` is given the path with its query; it may wait.
    pub fn start(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Remote {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            asked: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let (ours, reply) = (shared.clone(), Arc::new(reply));
        // Threads end with their connections, and all of them with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, reply) = (shared.clone(), reply.clone());
                // A peer that goes away is no fault here.
                std::thread::spawn(move || serve(stream, &shared, &*reply));
            }
        });
        Remote { port, shared: ours }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Every path so far, in the order they were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no holder panics").clone()
    }

    pub fn wait_asked(&self, count: usize) {
        wait_until(&format!("the remote was asked {count} times"), || {
            self.asked().len() >= count
        });
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
    }
}

fn serve(stream: TcpStream, shared: &Shared, reply: &dyn Fn(&str) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        shared
            .asked
            .lock()
            .expect("no holder panics")
            .push(path.clone());
        match reply(&path) {
            Reply::Body(body) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                out.write_all(head.as_bytes())?;
                out.write_all(body.as_bytes())?;
            }
            Reply::Status(status, fields) => write!(
                out,
                "HTTP/1.1 {status} Test\r\n{fields}Content-Length: 4\r\n\r\nnone"
            )?,
            Reply::Redirect(to) => write!(
                out,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
            )?,
            other => return misbehave(&other, &mut out, shared),
        }
    }
}

fn misbehave(reply: &Reply, out: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    let open = || !shared.ended.load(SeqCst);
    match reply {
        Reply::Hang => {
            out.set_nonblocking(true)?;
            let waits = |out: &TcpStream| {
                let peeked = out.peek(&mut [0]);
                peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
            };
            while open() && waits(out) {
                std::thread::sleep(TICK);
            }
        }
        Reply::Drip => {
            write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[")?;
            while open() {
                std::thread::sleep(10 * TICK);
                out.write_all(b" ")?;
            }
        }
        Reply::Long(bytes) => {
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
            flood(out, open)?;
        }
        Reply::Endless => {
            write!(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            flood(out, open)?;
        }
        Reply::Cut => write!(out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{{")?,
        Reply::Body(_) | Reply::Status(..) | Reply::Redirect(_) => {}
    }
    Ok(())
}

fn flood(out: &mut TcpStream, open: impl Fn() -> bool) -> std::io::Result<()> {
    let blanks = vec![b' '; 64 * 1024];
    while open() {
        out.write_all(&blanks)?;
    }
    Ok(())
}

/// An answer of Graphite's render API.
pub fn graphite_series(points: impl IntoIterator<Item = (u32, Option<f64>)>) -> Reply {
    let pairs: Vec<String> = points
        .into_iter()
        .map(|(at, value)| match value {
            Some(value) => format!("[{value:?}, {at}]"),
            None => format!("[null, {at}]"),
        })
        .collect();
    Reply::Body(format!(
        "[{{\"target\": \"t\", \"datapoints\": [{}]}}]",
        pairs.join(", ")
    ))
}
