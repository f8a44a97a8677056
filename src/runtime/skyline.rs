//! What Skyline's other programs find in Redis beside marks: heartbeats, what was populated, sent and filled. Best
//! effort: no answer is looked at, and what Redis does not take is not tried again.

use super::shard::Shard;
use crate::last::redis::Session;
use crate::outputs::names::MINUTE_SECONDS;
use crate::pipeline::Extra;
use std::cell::Cell;

/// What Vista takes as populated.
const TARGETS_KEY: &str = "vista.fetcher.unique_metrics";
/// Thunder takes Flux for dead when these are gone.
const LISTEN_KEY: &str = "flux.listen";
const WORKER_KEY: &str = "flux.worker";
/// This minute's metrics, and those of the minute before.
const SENT_KEY: &str = "flux.workers.metrics_sent";
const SENT_BEFORE_KEY: &str = "aet.flux.workers.metrics_sent";
/// What Analyzer should sort and de-duplicate.
const FILLED_KEY: &str = "flux.filled_metrics";
/// Names in one command.
const NAMES_MAX: usize = 1000;

/// How a connection does it.
pub struct Courtesies {
    /// The first shard's business; others have nothing to say once a minute.
    speaks: bool,
    metrics_sent: bool,
    full_duration_seconds: u32,
    /// The minute in which the worker's heartbeat was last written on this connection.
    minute: Cell<Option<u32>>,
}

impl Courtesies {
    pub fn new(shard: &Shard, skyline: crate::config::Skyline) -> Courtesies {
        Courtesies {
            speaks: shard.index == 0,
            metrics_sent: skyline.metrics_sent,
            full_duration_seconds: skyline.full_duration_seconds,
            minute: Cell::new(None),
        }
    }

    /// Appends the commands that are due. `unanswered_max` bounds those under way.
    pub fn ask(
        &self,
        shard: &Shard,
        session: &mut Session,
        unanswered_max: usize,
        out: &mut Vec<u8>,
    ) {
        let now = shard.clock.now().unix_seconds;
        while let Some(extra) = shard.turn(|pipeline, _| pipeline.take_extra()) {
            match extra {
                Extra::Target(target) => session.add_to_set(TARGETS_KEY, &[target], out),
                Extra::Resolution { metric, seconds } => session.resolution(&metric, seconds, out),
            }
        }
        if shard.heartbeat_due.take() {
            session.heartbeat(LISTEN_KEY, u64::from(now), out);
        }
        if self.speaks {
            self.speak(now, session, out);
        }
        self.names(shard, now, session, unanswered_max, out);
    }

    /// Once a minute, and at once on a new connection: Redis may have lost what it held.
    fn speak(&self, now: u32, session: &mut Session, out: &mut Vec<u8>) {
        let minute = now / MINUTE_SECONDS;
        let before = self.minute.replace(Some(minute));
        if before == Some(minute) {
            return;
        }
        session.heartbeat(WORKER_KEY, u64::from(now), out);
        if self.metrics_sent && before.is_some() {
            session.rename(SENT_KEY, SENT_BEFORE_KEY, out);
        }
    }

    fn names(
        &self,
        shard: &Shard,
        now: u32,
        session: &mut Session,
        unanswered_max: usize,
        out: &mut Vec<u8>,
    ) {
        let mut pipeline = shard.pipeline.borrow_mut();
        let beside = &mut pipeline.beside;
        while session.unanswered() < unanswered_max && beside.wants_store() {
            let sent = beside.sent.as_mut().map(|names| names.take(NAMES_MAX));
            if let Some(names) = sent.filter(|names| !names.is_empty()) {
                session.add_to_set(SENT_KEY, &names, out);
            }
            let filled = beside.filled.as_mut().map(|names| names.take(NAMES_MAX));
            if let Some(names) = filled.filter(|names| !names.is_empty()) {
                let expiry = self.full_duration_seconds;
                let text = format!("{{'expiry': {expiry}, 'filled_at': {now}}}");
                session.set_fields(FILLED_KEY, &names, &text, out);
            }
        }
    }
}
