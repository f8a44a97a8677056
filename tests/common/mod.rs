//! The harness of the black-box tests: the program itself, and the real daemons around it.
//!
//! Nothing here waits for a guessed time. Everything that takes time is probed until it is so, and
//! fails with a sentence when its limit passes. Daemons are ended by their own process id, when the
//! value that stands for them is dropped.

// Every test file is a crate of its own and uses its own part of this.
#![allow(dead_code)]

pub mod apache;
pub mod blackhole;
pub mod browser;
pub mod carbon;
pub mod cgroup;
pub mod container;
pub mod datagrams;
pub mod disk;
pub mod flux;
pub mod graphite;
pub mod http;
pub mod ledger;
pub mod load;
pub mod netns;
pub mod nginx;
pub mod pickle;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod remote;
pub mod shim;
pub mod sink;
pub mod skipped;
pub mod stopped;
pub mod supervisor;

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Long enough for a busy machine, short enough to be waited for: a limit, not an expectation.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Asks until the answer is `Some`, and says what never happened when the limit passes.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || probe().then_some(()));
}

/// Looks again and again for this long, and fails as soon as it is no longer so: for what must not happen.
pub fn stays(what: &str, time: Duration, mut probe: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < time {
        assert!(probe(), "no longer after {:?}: {what}", started.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port nobody listens on, never the same twice: each test is a process and has sixteen of its own.
/// Below the kernel's range for outgoing connections, so that it is not taken by one of those while the
/// daemon that owns it is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let own = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (own % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Unix seconds.
pub fn now() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is after 1970")
        .as_secs() as u32
}
