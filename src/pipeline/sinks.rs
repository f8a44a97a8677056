//! The owner's side of a shard: what carbon and the last store are given, and what they give back.

use super::{Now, Pipeline};
use crate::budget::Budgets;
use crate::carbon::outbound::{Accepted, Delivery, Frame, Lane, Marking, Outbound};
use crate::dedup::{Accept, Owner};
use crate::journal::Journal;
use crate::last::Mark;
use crate::last::filter::Known;
use crate::outputs::beside::Beside;
use crate::point::{Point, Run, TOUCHED_AHEAD};
use crate::router::Group;
use crate::telemetry::latency::Stage;

/// Points of our own series that may wait for carbon: about an hour of them. Newer ones are left out.
const OWN_POINTS_MAX: u64 = 1000;

/// Accepted points go into the journal and into the outbound, encoded once, and beside.
pub(super) struct Into<'a> {
    pub outbound: &'a mut Outbound,
    pub journal: &'a mut Journal<Group>,
    pub beside: &'a mut Beside,
    pub now_ms: u64,
}

impl Accept for Into<'_> {
    fn accept(&mut self, run: Run<'_>, accepted: Accepted) {
        let fill = accepted == Accepted::Unmarked;
        let mut rest = run;
        while !rest.is_empty() {
            let (first, tuples, others) = self.journal.push_run(rest, fill);
            self.outbound
                .push_run(Lane::Live, first, tuples, accepted, self.now_ms);
            rest = others;
        }
        self.beside.accepted(run, self.now_ms);
    }
}

/// Of marks on their way to the writer: those whose metrics have none waiting there. Kept for its memory.
#[derive(Default)]
pub(super) struct Newcomers {
    places: Vec<usize>,
    names: Vec<u8>,
}

impl Pipeline {
    /// Runs one step of the outbound that may deliver frames, and books what it delivers.
    pub(super) fn delivered<T>(
        &mut self,
        now: Now,
        step: impl FnOnce(&mut Outbound, &mut dyn FnMut(&Frame, Delivery)) -> T,
    ) -> T {
        let Pipeline {
            outbound,
            writer,
            counters,
            latency,
            budgets,
            settings,
            journal,
            recovered,
            populate,
            newcomers,
            ..
        } = self;
        let protocol = outbound.protocol();
        let result = step(outbound, &mut |frame, delivery| {
            if frame.lane == Lane::Own {
                counters.own_series.sent += u64::from(frame.points);
                return;
            }
            counters.points.delivered += u64::from(frame.points);
            let waited_ms = now.ms().saturating_sub(frame.opened_ms);
            latency.record(Stage::Delivery, waited_ms * 1000);
            if delivery == Delivery::Unconfirmed {
                counters.points.unconfirmed += u64::from(frame.points);
            }
            match frame.lane {
                Lane::Live => {
                    budgets.release(settings.shard, frame.cost);
                    populate.delivered(frame.points.into());
                }
                Lane::Recovered => recovered.delivered(frame.cost),
                Lane::Own => {}
            }
            for some in frame.markings().chunks(TOUCHED_AHEAD) {
                writer.touch(some.iter().map(Marking::hash));
                newcomers.places.clear();
                for (place, marking) in some.iter().enumerate() {
                    if !writer.renew(marking.hash(), marking.mark()) {
                        newcomers.places.push(place);
                    }
                }
                let new = newcomers.places.iter().map(|&place| &some[place]);
                for (marking, name) in frame.named(new, &mut newcomers.names, protocol) {
                    writer.push(name, marking.hash(), marking.mark(), marking.unchecked());
                }
            }
        });
        let gone = outbound.take_gone();
        journal.released(gone.live);
        recovered.gone(gone.recovered);
        self.write_left();
        result
    }

    /// On the populate core: our own series, of now.
    pub fn push_own(&mut self, series: &[(String, f64)], now: Now) {
        if self.outbound.queued().own + series.len() as u64 > OWN_POINTS_MAX {
            self.counters.own_series.dropped += series.len() as u64;
            return;
        }
        for (name, value) in series {
            let point = Point {
                name,
                timestamp: now.unix_seconds,
                value: *value,
                fill: false,
            };
            self.outbound
                .push(Lane::Own, (0, point), Accepted::Unmarked, now.ms());
        }
    }

    /// Nothing waits for company any more: the service is draining.
    pub fn flush(&mut self) {
        self.outbound.flush();
        if let Some(statsd) = &mut self.beside.statsd {
            statsd.seal();
        }
    }

    /// The sink has everything written so far.
    pub fn sink_confirmed(&mut self, now: Now) {
        self.delivered(now, |outbound, on_delivered| {
            outbound.confirmed(on_delivered)
        });
    }

    pub fn carbon_lost(&mut self, now: Now) {
        self.delivered(now, |outbound, on_delivered| outbound.lost(on_delivered));
    }

    /// The next batch of names to look up.
    pub fn take_lookup(&mut self) -> Option<(u64, Vec<String>)> {
        self.owner.lookups.take()
    }

    /// The store has answered a look-up.
    pub fn looked_up(&mut self, id: u64, marks: impl Iterator<Item = Option<u32>>, now: Now) {
        self.owner.store_answers();
        if let Some(wanted_ms) = self.owner.lookups.wanted_ms(id) {
            let waited_ms = now.ms().saturating_sub(wanted_ms);
            self.latency.record(Stage::Lookup, waited_ms * 1000);
        }
        self.resolve(now, |owner, accept, done| {
            owner.found(id, marks, accept, done)
        });
    }

    /// The store did not answer within the look-up deadline, or refused to.
    pub fn store_silent(&mut self, now: Now) {
        self.resolve(now, |owner, accept, done| owner.store_silent(accept, done));
    }

    fn resolve(
        &mut self,
        now: Now,
        step: impl FnOnce(&mut Owner, &mut Into<'_>, &mut dyn FnMut(Group)),
    ) {
        let mut finished = Vec::new();
        let mut accept = Into {
            outbound: &mut self.outbound,
            journal: &mut self.journal,
            beside: &mut self.beside,
            now_ms: now.ms(),
        };
        step(&mut self.owner, &mut accept, &mut |group| {
            finished.push(group);
        });
        for group in finished {
            self.finish(group);
        }
        self.release_duplicates();
        self.tell_core();
    }

    pub fn store_answers(&mut self) {
        self.owner.store_answers();
    }

    /// What needs no look-up from here on. Returns what was known before.
    pub fn store_knows(&mut self, known: Known) -> Known {
        std::mem::replace(&mut self.owner.lookups.known, known)
    }

    /// The connection is gone: what was under way is written or asked again.
    pub fn store_lost(&mut self) {
        self.writer.lost();
    }

    /// Marks looked up before their first write.
    pub fn marks_checked(&mut self, id: u64, found: &[Option<Mark>]) {
        let mut newer = std::mem::take(&mut self.settled);
        self.writer.checked(id, found, &mut newer);
        for (hash, timestamp) in newer.drain(..) {
            self.owner.raise(hash, timestamp);
        }
        self.settled = newer;
    }

    /// Marks written: from here on a restart remembers them.
    pub fn marks_stored(&mut self, id: u64) {
        let mut saved = std::mem::take(&mut self.settled);
        self.writer.stored(id, &mut saved);
        self.counters.last.marks_written += saved.len() as u64;
        self.owner.saved(&saved);
        saved.clear();
        self.settled = saved;
    }

    /// Something waits for the last store's task.
    pub fn wants_store(&self) -> bool {
        self.owner.lookups.waiting()
    }

    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    pub fn owner_mut(&mut self) -> &mut Owner {
        &mut self.owner
    }

    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }
}
