//! Where points end up: what the ledger asks for what was delivered. And a carbon in a process of its
//! own, which can be stopped and killed with our bytes unread in its kernel.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::blackhole::{Blackhole, Received};
use super::process::Daemon;
use super::{free_port, wait_until};

pub trait Sink {
    /// Tells sinks apart.
    fn id(&self) -> usize;
    /// Everything received after the first `position` points.
    fn since(&self, position: usize) -> Vec<Received>;
}

impl Sink for Blackhole {
    fn id(&self) -> usize {
        self.port.into()
    }

    fn since(&self, position: usize) -> Vec<Received> {
        Blackhole::since(self, position)
    }
}

/// The variable that makes this test binary, started again, a carbon: `PORT FILE`.
const ROLE: &str = "RIG_SINK_PROCESS";

/// Called by a test of the name that [`SinkProcess::start`] is given. Returns at once in a test run.
pub fn serve_if_told() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (port, file) = role.split_once(' ').expect("a port and a file");
    let mut blackhole = Blackhole::refusing_on(port.parse().expect("a port"));
    blackhole.listen();
    let mut file = File::create(file).expect("a file of the test");
    let mut position = 0;
    loop {
        let points = blackhole.since(position);
        position += points.len();
        let lines: String = points
            .iter()
            .map(|p| format!("{} {} {}\n", p.name, p.timestamp, p.value.to_bits()))
            .collect();
        // In the page cache at once: what was read is not forgotten by a kill.
        file.write_all(lines.as_bytes())
            .expect("a file of the test");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

pub struct SinkProcess {
    pub port: u16,
    daemon: Daemon,
    dir: TempDir,
    generation: usize,
}

impl SinkProcess {
    /// `entry`: the name of the test that calls [`serve_if_told`].
    pub fn start(entry: &str) -> SinkProcess {
        let (port, dir) = (free_port(), tempfile::tempdir().expect("a folder"));
        let file = dir.path().join("0");
        let daemon = spawn(entry, port, &file);
        let mut sink = SinkProcess {
            port,
            daemon,
            dir,
            generation: 0,
        };
        sink.wait_ready();
        sink
    }

    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Keeps its port and connections; its kernel goes on acknowledging until its buffers are full.
    pub fn pause(&self) {
        self.daemon.signal(libc::SIGSTOP);
    }

    /// Gone with whatever its kernel held.
    pub fn kill(&mut self) {
        self.daemon.kill9();
    }

    /// The same port after [`SinkProcess::kill`]; what the last one received is not forgotten.
    pub fn start_again(&mut self, entry: &str) {
        self.generation += 1;
        let file = self.file(self.generation);
        self.daemon = spawn(entry, self.port, &file);
        self.wait_ready();
    }

    fn file(&self, generation: usize) -> PathBuf {
        self.dir.path().join(generation.to_string())
    }

    fn wait_ready(&mut self) {
        let port = self.port;
        wait_until("the sink listens", || {
            assert!(self.daemon.exited().is_none(), "{}", self.daemon.said());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }
}

fn spawn(entry: &str, port: u16, file: &std::path::Path) -> Daemon {
    let program = std::env::current_exe().expect("a test knows its own program");
    let mut command = Command::new(program);
    command
        .args(["--exact", entry, "--nocapture"])
        .env(ROLE, format!("{port} {}", file.display()));
    Daemon::spawn("sink", &mut command)
}

impl Sink for SinkProcess {
    fn id(&self) -> usize {
        self.port.into()
    }

    fn since(&self, position: usize) -> Vec<Received> {
        let mut points = Vec::new();
        for generation in 0..=self.generation {
            let text = fs::read_to_string(self.file(generation)).unwrap_or_default();
            // A line that is not whole yet is read the next time; only the newest file can have one.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            points.extend(whole.lines().map(|line| {
                let mut words = line.split(' ');
                let mut word = || words.next().expect("three words");
                Received {
                    name: word().to_owned(),
                    timestamp: word().parse().expect("a number"),
                    value: f64::from_bits(word().parse().expect("a number")),
                }
            }));
        }
        points.drain(..position.min(points.len()));
        points
    }
}
