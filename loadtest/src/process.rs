//! A program on a CPU of its own, which ends when we do.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(20);

pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The command, pinned to a CPU and killed when the caller dies.
pub fn pinned(cpu: usize, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "-c"]);
    command
        .arg(cpu.to_string())
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// This program, as `verb`.
pub fn ourselves(cpu: usize, verb: &str) -> Command {
    let path = std::env::current_exe().unwrap_or_else(|_| "loadtest".into());
    let mut command = pinned(cpu, &path.to_string_lossy());
    command.arg(verb);
    command
}

/// The same, and before everything else there.
pub fn first(cpu: usize, verb: &str) -> Command {
    let path = std::env::current_exe().unwrap_or_else(|_| "loadtest".into());
    let mut command = pinned(cpu, "chrt");
    command.args(["--fifo", "90"]).arg(path).arg(verb);
    command
}

impl Program {
    pub fn spawn(name: &'static str, command: &mut Command, dir: &Path) -> Result<Program> {
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let child = command
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Program { name, child, log })
    }

    /// Asks until it says yes; an error if it ends before or takes too long.
    pub fn wait(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !ready() {
            let ended = self.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > until {
                return Err(format!("{} is not there: {}", self.name, self.said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn all_said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of it.
    pub fn said(&self) -> String {
        let text = self.all_said();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of all its threads so far, in µs.
    pub fn cpu_micros(&self) -> Result<f64> {
        ticks(&format!("/proc/{}/stat", self.pid())).ok_or_else(|| self.gone())
    }

    /// Bytes of memory that are its own.
    pub fn resident_bytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(path).map_err(|_| self.gone())?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Anonymous:"));
        let kilobytes =
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kilobytes.map(|n| n * 1024.0).ok_or_else(|| self.gone())
    }

    fn gone(&self) -> String {
        format!("{} is gone: {}", self.name, self.said())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing of it is needed any more, its data included.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ticks(path: &str) -> Option<f64> {
    let stat = fs::read_to_string(path).ok()?;
    // The name in the second field may hold anything; what follows its bracket does not.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // USER_HZ is 100 on every Linux that matters here.
    Some(ticks * 10_000.0)
}

/// Below the range for outgoing connections, and nobody listens on it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let own = std::process::id().wrapping_mul(16) + NEXT.fetch_add(1, Relaxed);
        let port = 10_000 + (own % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
