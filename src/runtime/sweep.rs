//! The life of an executor after its start: one timer that meets every deadline and carries the shard through its
//! drain.

use super::SWEEP;
use super::control::Phase;
use super::drain::Drain;
use super::mesh::Parcel;
use super::pace::Pace;
use super::shard::Shard;
use crate::config::Durability;
use crate::telemetry::latency::Stage;
use glommio::Task;
use std::rc::Rc;
use std::time::Duration;

/// glommio can go to sleep with tasks that want to run (docs/decisions/0002), until something else
/// happens. So something always does: timers of these periods, of which not all expire together.
const GUARDS: [Duration; 4] = [
    LULL,
    Duration::from_millis(170),
    Duration::from_millis(530),
    Duration::from_millis(1900),
];
/// The longest lull: so much later may a delivered frame be booked, a mark be written, a stop begin.
pub const LULL: Duration = Duration::from_millis(50);
/// Deadlines of connections are seconds: not every sweep looks at all of them.
const CONNECTIONS_EVERY_MS: u64 = 100;
/// The store's task looks whether its minute is over.
const MINUTE_EVERY_MS: u64 = 1000;

/// On every executor, before anything else. The shortest of them ends lulls.
pub fn guard(shard: &Rc<Shard>) {
    for period in GUARDS {
        let shard = shard.clone();
        glommio::spawn_local(async move {
            loop {
                glommio::timer::sleep(period).await;
                shard.lull.end();
            }
        })
        .detach();
    }
}

/// Sweeps until the service has stopped.
pub async fn run(shard: &Rc<Shard>, mut accepting: Vec<Task<()>>) {
    let (mut connections_due_ms, mut minute_due_ms) = (0, 0);
    let mut met = Phase::Starting;
    let mut drain = Drain::default();
    loop {
        pause(shard).await;
        shard.control.swept(shard.index);
        let mut pace = Pace::new(&shard.clock);
        while tick(shard) {
            pace.piece_done().await;
        }
        report(shard, false);
        shard.disk.keeper.ring();
        let now_ms = shard.clock.now().ms();
        if now_ms >= minute_due_ms {
            minute_due_ms = now_ms + MINUTE_EVERY_MS;
            shard.store.ring();
        }
        let phase = shard.control.phase();
        if now_ms >= connections_due_ms || phase == Phase::Draining {
            connections_due_ms = now_ms + CONNECTIONS_EVERY_MS;
            meet_deadlines(shard, phase, &mut drain);
        }
        let done = match phase {
            Phase::Starting | Phase::Serving => continue,
            Phase::Draining => {
                // Dropped, not awaited: glommio's `cancel` can wait for ever. Who waits in the backlog of a socket
                // that somebody holds for us is the next process's.
                accepting.clear();
                shard.turn(|pipeline, _| pipeline.drain());
                drain.is_over(shard.connections.count())
            }
            Phase::Flushing => {
                shard.turn(|pipeline, _| pipeline.flush());
                shard.link.ring();
                shard.store.ring();
                let pipeline = shard.pipeline.borrow();
                let journalled = pipeline.journal.durability() != Durability::Memory;
                let delivered = pipeline.outbound.points_queued() == 0;
                let sent = match shard.carbon.is_up() {
                    // Its farewell is waited for: then nothing need be kept for a redo.
                    true => delivered && pipeline.outbound.is_empty(),
                    // What is journalled need not wait for a carbon that is not there.
                    false => delivered || journalled,
                };
                let written = pipeline.writer.waiting() == 0 && pipeline.is_populate_idle();
                // Jobs whose points are delivered only now leave their marks here.
                sent && shard.left.get() && written
            }
            Phase::Keeping => shard.disk.is_kept(),
            Phase::Stopped => break,
        };
        if done && met < phase {
            met = phase;
            if phase == Phase::Keeping {
                report(shard, true);
            }
            shard.control.meet();
        }
    }
    let left = shard.pipeline.borrow().left();
    shard.control.leave(left);
}

/// Until the next sweep is due.
async fn pause(shard: &Shard) {
    if is_idle(shard) {
        return shard.lull.wait().await;
    }
    let due_us = shard.clock.now().us + SWEEP.as_micros() as u64;
    glommio::timer::sleep(SWEEP).await;
    let late_us = shard.clock.now().us.saturating_sub(due_us);
    shard.turn(|pipeline, _| pipeline.latency.record(Stage::Sweep, late_us));
}

/// Nothing is due within a few milliseconds.
pub fn is_idle(shard: &Shard) -> bool {
    shard.control.phase() == Phase::Serving && shard.pipeline.borrow().is_idle()
}

/// Those of connections; and tells when carbon, the store or the journal has come or gone.
fn meet_deadlines(shard: &Shard, phase: Phase, drain: &mut Drain) {
    let (now, connections) = (shard.clock.now(), &shard.connections);
    let grace_ms = connections.bounds.get().drain_idle_ms;
    let idle_until_ms = drain.idle_until_ms(phase, connections.full(), now.ms(), grace_ms);
    connections.sweep(now.ms(), idle_until_ms);
    for health in [&shard.carbon, &shard.last, &shard.disk.health] {
        health.report(shard.logger, &shard.name(), now.unix_seconds);
    }
}

/// What is due by the clock. True: more of it.
fn tick(shard: &Shard) -> bool {
    shard.turn(|pipeline, now| {
        let more = pipeline.tick(now);
        if pipeline.outbound.is_due(now.ms()) || pipeline.outbound.wants_confirmation() {
            shard.link.ring();
        }
        if pipeline.writer.waiting() > 0 || pipeline.beside.wants_store() {
            shard.store.ring();
        }
        more
    })
}

/// Tells the populate core what became of points of earlier runs.
fn report(shard: &Shard, last: bool) {
    let report = shard.turn(|pipeline, _| pipeline.take_report());
    if report.is_some() || last {
        let parcel = Parcel::Report {
            from: shard.index,
            report: report.unwrap_or_default(),
            last,
        };
        shard.mesh.send(shard.mesh.members() - 1, parcel);
    }
}
