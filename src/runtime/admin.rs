//! The admin listener, on the populate core: the live page, `/metrics`, `/healthz`, `/readyz`. It asks every
//! shard for its counters and sums them; a shard that does not answer is shown as not up, not waited for.

use super::SWEEP;
use super::control::{Control, Phase};
use super::journal::replay::Replays;
use super::mesh::{Mesh, Parcel};
use super::populate::Populate;
use super::recent;
use crate::budget::Budgets;
use crate::http::{Decoded, Decoder, Limits};
use crate::telemetry::{Merge, Process, Snapshot};
use crate::telemetry::{page, prometheus};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A scrape waits this long for a shard: far longer than a busy one takes, far shorter than a scraper does.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// Scrapers and probes, not the public.
const CONNECTIONS_MAX: usize = 64;
const IDLE_DEADLINE: Duration = Duration::from_secs(30);
const LIMITS: Limits = Limits {
    head_bytes_max: 8 * 1024,
    body_bytes_max: 0,
};

pub struct Admin {
    control: Arc<Control>,
    budgets: Budgets,
    process: RefCell<Process>,
    mesh: Rc<Mesh>,
    replays: Rc<Replays>,
    populate: Rc<Populate>,
    shards: usize,
    /// The newest snapshot of each shard, and whether it came since it was last asked for.
    snapshots: RefCell<Vec<Snapshot>>,
    fresh: RefCell<Vec<bool>>,
    connections: Cell<usize>,
}

impl Admin {
    pub fn new(
        control: Arc<Control>,
        budgets: Budgets,
        process: Process,
        mesh: Rc<Mesh>,
        replays: Rc<Replays>,
        populate: Rc<Populate>,
    ) -> Admin {
        let shards = mesh.members() - 1;
        Admin {
            control,
            budgets,
            process: RefCell::new(process),
            mesh,
            replays,
            populate,
            shards,
            snapshots: RefCell::new(vec![Snapshot::default(); shards]),
            fresh: RefCell::new(vec![false; shards]),
            connections: Cell::new(0),
        }
    }

    /// The configuration was read again; to be told before any shard counts under new namespaces.
    pub fn switch(&self, namespaces: &[String]) {
        self.process.borrow_mut().namespaces = namespaces.to_vec();
    }

    pub fn observed(&self, shard: usize, snapshot: Snapshot) {
        self.snapshots.borrow_mut()[shard] = snapshot;
        self.fresh.borrow_mut()[shard] = true;
    }

    /// Points that populate has handed over.
    pub fn populate_points(&self) -> u64 {
        self.populate.snapshot().counters.populate.points
    }
}

pub async fn accept(admin: Rc<Admin>, listener: std::net::TcpListener) {
    // SAFETY: the listener gives its descriptor up.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    loop {
        match listener.accept().await {
            Ok(stream) if admin.connections.get() < CONNECTIONS_MAX => {
                let admin = admin.clone();
                glommio::spawn_local(async move {
                    admin.connections.set(admin.connections.get() + 1);
                    // An error is the client's going away.
                    let _ = converse(&admin, stream).await;
                    admin.connections.set(admin.connections.get() - 1);
                })
                .detach();
            }
            Ok(_) => {}
            Err(_) => glommio::timer::sleep(SWEEP).await,
        }
    }
}

async fn converse(admin: &Rc<Admin>, mut stream: TcpStream) -> io::Result<()> {
    stream
        .set_read_timeout(Some(IDLE_DEADLINE))
        .map_err(io::Error::from)?;
    let mut decoder = Decoder::new(LIMITS);
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let (path, consumed, keep_alive) = match decoder.next(&mut input) {
            Decoded::Message { message, consumed } => {
                let path = String::from_utf8_lossy(message.path).into_owned();
                (path, consumed, message.keep_alive)
            }
            Decoded::Incomplete { .. } => {
                let length = stream.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                input.extend_from_slice(&buffer[..length]);
                continue;
            }
            Decoded::Refused(refusal) => {
                let answer = Answer::text(refusal.status(), format!("{refusal}\n"));
                return stream.write_all(&response(&answer, false)).await;
            }
        };
        input.drain(..consumed);
        let answer = answer(admin, &path).await;
        stream.write_all(&response(&answer, keep_alive)).await?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// What is sent back, and as what.
struct Answer {
    status: u16,
    content_type: &'static str,
    /// What the page may load and run; nothing, on an answer that is no page.
    policy: Option<String>,
    text: String,
}

impl Answer {
    fn text(status: u16, text: impl Into<String>) -> Answer {
        Answer {
            status,
            content_type: "text/plain; charset=utf-8",
            policy: None,
            text: text.into(),
        }
    }
}

async fn answer(admin: &Admin, path: &str) -> Answer {
    match path {
        "/" => match page::render() {
            Ok(page) => Answer {
                status: 200,
                content_type: "text/html; charset=utf-8",
                policy: Some(page.policy),
                text: page.text,
            },
            Err(error) => Answer::text(500, format!("no randomness for the page: {error}\n")),
        },
        "/metrics" => Answer {
            content_type: prometheus::CONTENT_TYPE,
            ..Answer::text(200, metrics(admin).await)
        },
        "/recent" => {
            let snapshots = observe(admin).await;
            let jobs = admin.populate.recent();
            let process = admin.process.borrow();
            Answer {
                content_type: "application/json",
                ..Answer::text(
                    200,
                    recent::render(readiness(admin), &process, &snapshots, jobs),
                )
            }
        }
        "/populate" => Answer::text(200, admin.populate.report()),
        "/healthz" => Answer::text(200, "ok\n"),
        "/readyz" => match readiness(admin) {
            Ok(()) => Answer::text(200, "ready\n"),
            Err(why) => Answer::text(503, format!("{why}\n")),
        },
        _ => Answer::text(
            404,
            "/ (the live page), /metrics, /healthz, /readyz, /recent, /populate\n",
        ),
    }
}

async fn metrics(admin: &Admin) -> String {
    let snapshots = observe(admin).await;
    let mut core = admin.replays.snapshot();
    core.merge(&admin.populate.snapshot());
    let mut process = admin.process.borrow_mut();
    process.reloads = admin.control.reloads();
    process.ready = readiness(admin).is_ok();
    prometheus::render(&process, &snapshots, &core)
}

/// Whether new points are taken, or why not.
fn readiness(admin: &Admin) -> Result<(), &'static str> {
    match admin.control.phase() {
        Phase::Serving if admin.budgets.exhausted() => {
            let closed = (0..admin.shards).any(|shard| admin.budgets.is_closed(shard));
            Err(match closed {
                true => "the journal is full: its bound is met, or the disk",
                false => "every shard's budget is full: carbon does not keep up",
            })
        }
        Phase::Serving => Ok(()),
        Phase::Starting => Err("starting"),
        _ => Err("draining"),
    }
}

/// One snapshot per shard. A shard that does not answer in time is shown as it was last, so that no
/// counter goes back.
pub async fn observe(admin: &Admin) -> Vec<Snapshot> {
    admin.fresh.borrow_mut().fill(false);
    for shard in 0..admin.shards {
        let to = admin.shards;
        admin.mesh.send(shard, Parcel::Observe { to });
    }
    let mut waited = Duration::ZERO;
    while waited < ANSWER_DEADLINE && admin.fresh.borrow().contains(&false) {
        glommio::timer::sleep(Duration::from_millis(1)).await;
        waited += Duration::from_millis(1);
    }
    let mut snapshots = admin.snapshots.borrow().clone();
    for (snapshot, fresh) in snapshots.iter_mut().zip(admin.fresh.borrow().iter()) {
        snapshot.gauges.up = u64::from(*fresh);
    }
    snapshots
}

fn response(answer: &Answer, keep_alive: bool) -> Vec<u8> {
    let Answer {
        status,
        content_type,
        policy,
        text,
    } = answer;
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Refused",
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let mut out = Vec::with_capacity(text.len() + 600);
    write!(
        out,
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: {connection}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        text.len()
    )
    .expect("a Vec takes everything");
    if let Some(policy) = policy {
        write!(
            out,
            "Content-Security-Policy: {policy}\r\nReferrer-Policy: no-referrer\r\n"
        )
        .expect("a Vec takes everything");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text.as_bytes());
    out
}
