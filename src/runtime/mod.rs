//! The only importer of glommio: executors, sockets, clocks and signals around the pure pipeline.
//!
//! [`run`] is the recipe: bind, connect the mesh, spawn, serve, drain.

mod admin;
mod arrivals;
mod aside;
mod bell;
mod buffered;
mod clock;
mod connection;
mod connections;
mod control;
mod core;
mod dial;
mod doorbell;
mod drain;
mod executor;
mod file_link;
mod health;
mod journal;
mod line;
mod link;
mod listener;
mod lull;
mod mail;
mod mesh;
mod neighbours;
mod nudge;
mod own_series;
mod pace;
mod plan;
mod populate;
mod quota_file;
mod recent;
mod recipe;
mod reload;
mod ring;
mod shard;
mod signals;
mod skyline;
mod socket;
mod statsd;
mod store;
mod supervisor;
mod sweep;

use crate::config::Config;
use crate::config::endpoint::listen_text;
use crate::pipeline::Left;
use crate::preflight::Ready;
use crate::telemetry::log::Logger;
use control::{Control, Phase};
use glommio::ExecutorJoinHandle;
use recipe::Recipe;
use reload::Reloader;
use signals::{Signal, Signals};
use std::io;
use std::time::{Duration, Instant};
use supervisor::Supervisor;

/// The period of the sweep that every executor runs for life: flush intervals, acknowledgements and
/// look-up deadlines are met to within this. It is longer in a lull.
const SWEEP: Duration = Duration::from_millis(5);
/// Between two steps of what takes long everything else has its turn, the executor's own looks included; as short as a timer
/// can be.
const STEP_ASIDE: Duration = Duration::from_micros(1);
/// What carbon has of a stop that was asked for twice: twice what one that reads takes to say so (`link::FAREWELL`).
const HURRIED_FLUSH: Duration = Duration::from_secs(1);
/// An executor that does not serve by then never will.
const START_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: String, cause: io::Error },
    #[error("cannot open {path}: {cause}")]
    PointsFile { path: String, cause: io::Error },
    #[error(
        "the journal in {path} cannot be used ({cause}); make it readable and writable for this user"
    )]
    Journal { path: String, cause: io::Error },
    #[error("the jobs in {path} cannot be used: {cause}")]
    Jobs {
        path: String,
        cause: populate::OpenError,
    },
    #[error(transparent)]
    Populate(#[from] crate::populate::fetch::CaFile),
    #[error(transparent)]
    LastStore(#[from] crate::last::embedded::OpenError),
    #[error(
        "cannot start executor {name}: {cause}; run flux with fewer shards or raise its limits"
    )]
    Executor { name: String, cause: io::Error },
    #[error("cannot connect the executors with each other: {0}; raise the limit of open files")]
    Mesh(io::Error),
    #[error("the executors were not all there within {START_DEADLINE:?}; start again")]
    Slow,
    #[error("no randomness for the hash key: {0}")]
    Randomness(String),
}

/// Serves until it is told to stop. `reread` reads the configuration again, or says line by line what is wrong
/// with it; `started` is called once, when everything serves.
pub fn run(
    config: &Config,
    ready: &Ready,
    reread: impl Fn() -> Result<Config, Vec<String>>,
    started: impl FnOnce(),
) -> Result<(), Error> {
    let signals = Signals::block();
    abort_on_panic();
    let log = logger(config);
    let recipe = Recipe::prepare(config, ready, log)?;
    let mut reloader = Reloader::new(config, &recipe, log);
    let control = recipe.control.clone();
    let members = recipe.members();
    let executors = recipe.spawn()?;
    meet(&control, members, START_DEADLINE, || false)
        .then_some(())
        .ok_or(Error::Slow)?;
    control.enter(Phase::Serving);
    started();

    let mut supervisor = Supervisor::new(&control, log);
    let status = status(config, members - 1);
    supervisor.ready(&status);
    loop {
        match signals.wait(supervisor.period()) {
            Some(Signal::Stop) => break,
            Some(Signal::Reload) => {
                supervisor.reloading();
                reloader.reload(reread());
                supervisor.ready(&status);
            }
            None => {}
        }
        supervisor.beat(&control);
    }
    supervisor.stopping();
    let stop = || {
        supervisor.beat(&control);
        signals.wait(Duration::ZERO) == Some(Signal::Stop)
    };
    drain(&control, members, reloader.running(), stop, log);
    join(executors);
    tell_left(&control, log);
    Ok(())
}

/// What `systemctl status` shows.
fn status(config: &Config, shards: usize) -> String {
    let listen: Vec<String> = config.http.listen.iter().map(listen_text).collect();
    let listen = listen.join(", ");
    match shards {
        1 => format!("serving on {listen}, 1 shard"),
        _ => format!("serving on {listen}, {shards} shards"),
    }
}

fn tell_left(control: &Control, log: Logger) {
    match control.left() {
        Left {
            journalled: 0,
            lost: 0,
        } => {
            log.info(format_args!("drained: everything accepted was delivered"));
        }
        Left {
            journalled,
            lost: 0,
        } => log.info(format_args!(
            "drained: {journalled} points wait in the journal for the next start"
        )),
        Left { lost, .. } => log.error(format_args!(
            "{lost} points were neither delivered nor kept before http.drain_deadline_ms"
        )),
    }
}

/// Waits until all executors have done what the phase asks for.
fn meet(
    control: &Control,
    members: usize,
    at_most: Duration,
    mut stop: impl FnMut() -> bool,
) -> bool {
    let until = Instant::now() + at_most;
    while control.met() < members {
        if Instant::now() >= until || stop() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Answers what is in flight, hands what is accepted to carbon and its marks to the last store, and what
/// carbon has not taken to the journal, within the drain deadline. `stop`: a further signal ends the waiting, for
/// clients or for carbon. What is to be kept still is, unless another one ends that.
fn drain(
    control: &Control,
    members: usize,
    config: &Config,
    mut stop: impl FnMut() -> bool,
    log: Logger,
) {
    let began = Instant::now();
    let deadline = Duration::from_millis(u64::from(config.http.drain_deadline_ms));
    log.info(format_args!("draining: answering what is in flight"));
    let mut hurried = false;
    for (phase, share) in [
        (Phase::Draining, 2),
        (Phase::Flushing, 2),
        (Phase::Keeping, 1),
    ] {
        control.enter(phase);
        let mut at_most = deadline.saturating_sub(began.elapsed()) / share;
        if hurried && phase == Phase::Flushing {
            at_most = at_most.min(HURRIED_FLUSH);
        }
        meet(control, members, at_most, || {
            let again = stop();
            hurried |= again;
            again
        });
    }
    control.enter(Phase::Stopped);
}

fn join(executors: Vec<ExecutorJoinHandle<()>>) {
    for executor in executors {
        // A panic ended the process already (abort_on_panic).
        let _ = executor.join();
    }
}

/// A shard that panicked would leave its metrics without an owner and its clients without an answer:
/// the process ends, and what restarts it finds everything that was promised.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        let thread = std::thread::current();
        if thread.name().is_some_and(recipe::is_executor_name) {
            std::process::abort();
        }
    }));
}

fn logger(config: &Config) -> Logger {
    Logger::new(config.log.level, config.log.format)
}
