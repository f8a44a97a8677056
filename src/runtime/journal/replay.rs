//! What earlier runs have left is handed out again, on the populate core, beside live traffic.
//!
//! The files are read in chunks, and what is on its way is bounded, so a journal of any size can be
//! replayed. Records stay in their segments until they are delivered for good.

use super::files::Folder;
use super::survey::Found;
use crate::budget::Budgets;
use crate::journal::cursor::{CURSOR_BYTES, Cursor, Slots};
use crate::journal::recovery::{Ended, Replay};
use crate::journal::segment::SegmentId;
use crate::pipeline::Report;
use crate::router::NameHasher;
use crate::runtime::SWEEP;
use crate::runtime::clock::unix_seconds;
use crate::runtime::control::{Control, Phase};
use crate::runtime::doorbell::Doorbell;
use crate::telemetry::Snapshot;
use crate::telemetry::log::Logger;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The part of an owner's budget that is kept for a replay while there is one: what of it may be on its way
/// to carbon, and so how fast a replay can be while live traffic fills the rest.
const BUDGET_SHARE: usize = 4;
/// How often cursors are saved and delivered segments deleted.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// What is to be done with a stream's cursor file.
enum CursorWork {
    None,
    Save(Cursor, Slot),
    /// Nothing will change it any more.
    Last(Cursor, Slot),
    Remove(u64, u16),
}

/// Where in the file, and what.
type Slot = (u64, [u8; CURSOR_BYTES]);

/// One stream of an earlier run.
struct Active {
    replay: Replay,
    slots: Slots,
    /// Delivered, and nothing of it is left on disk that is ours to delete.
    settled: bool,
}

/// A replay under way.
pub struct Replays {
    pub(super) folder: Folder,
    control: Arc<Control>,
    budgets: Budgets,
    pub(super) hasher: NameHasher,
    pub(super) logger: Logger,
    streams: RefCell<Vec<Active>>,
    lengths: RefCell<BTreeMap<SegmentId, u64>>,
    /// When what is not delivered yet was written.
    written: RefCell<BTreeMap<SegmentId, u64>>,
    /// Cost of what each owner has and has not delivered.
    under_way: RefCell<Vec<usize>>,
    /// What of it there may be.
    allowance: usize,
    handed_out: Cell<bool>,
    /// Owners that have stopped and will report no more.
    silent_owners: Cell<usize>,
    /// Points still to be handed out.
    waiting_points: Cell<u64>,
    found_points: u64,
    cursors_ignored: u64,
    bell: Doorbell,
}

impl Replays {
    /// Takes its part of every budget until it is over.
    pub fn new(
        found: Found,
        control: Arc<Control>,
        budgets: Budgets,
        hasher: NameHasher,
        logger: Logger,
    ) -> Rc<Replays> {
        let owners = budgets.owners();
        let streams: Vec<_> = found
            .streams
            .into_iter()
            .map(|stream| Active {
                replay: Replay::new(stream),
                slots: Slots::default(),
                settled: false,
            })
            .collect();
        let allowance = budgets.limit() / BUDGET_SHARE;
        let handed_out = streams.is_empty();
        if !handed_out {
            let all = (0..owners).map(|owner| (owner, allowance));
            let reserved = budgets.reserve(all);
            debug_assert!(reserved.is_ok(), "nothing is admitted before the start");
        }
        let replays = Replays {
            folder: found.folder,
            control,
            budgets,
            hasher,
            logger,
            streams: RefCell::new(streams),
            lengths: RefCell::new(found.lengths),
            written: RefCell::new(found.written),
            under_way: RefCell::new(vec![0; owners]),
            allowance,
            handed_out: Cell::new(handed_out),
            silent_owners: Cell::new(0),
            waiting_points: Cell::new(found.points),
            found_points: found.points,
            cursors_ignored: found.cursors_ignored,
            bell: Doorbell::default(),
        };
        replays.tell_earlier_bytes();
        Rc::new(replays)
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.borrow().len()
    }

    pub(super) fn owners(&self) -> usize {
        self.budgets.owners()
    }

    /// One step with the reader of a stream.
    pub(super) fn with<T>(&self, stream: usize, step: impl FnOnce(&mut Replay) -> T) -> T {
        step(&mut self.streams.borrow_mut()[stream].replay)
    }

    /// These points of a record are on their way to their owners.
    pub(super) fn taken_up(&self, points: u32) {
        let waiting = self.waiting_points.get();
        self.waiting_points
            .set(waiting.saturating_sub(points.into()));
    }

    /// An owner is given more.
    pub(super) fn given(&self, owner: usize, cost: usize) {
        self.under_way.borrow_mut()[owner] += cost;
    }

    pub fn are_handed_out(&self) -> bool {
        self.handed_out.get()
    }

    pub(super) fn all_handed_out(&self) {
        self.handed_out.set(true);
    }

    /// An owner has delivered some of it.
    pub fn report(&self, owner: usize, report: &Report, last: bool) {
        self.silent_owners
            .set(self.silent_owners.get() + usize::from(last));
        self.under_way.borrow_mut()[owner] -= report.delivered_cost;
        let mut streams = self.streams.borrow_mut();
        for done in &report.done {
            streams[done.stream as usize]
                .replay
                .owner_done(done.sequence);
        }
        self.bell.ring();
    }

    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.counters.points.recovered = self.found_points;
        snapshot.gauges.journal_points = self.waiting_points.get();
        snapshot.gauges.journal_bytes = self.lengths.borrow().values().sum();
        let oldest = self.written.borrow().values().min().copied();
        let now = u64::from(unix_seconds());
        snapshot.gauges.journal_age = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
        let journal = &mut snapshot.counters.journal;
        journal.cursors_ignored = self.cursors_ignored;
        for Active { replay, .. } in self.streams.borrow().iter() {
            let counts = replay.counts();
            journal.damaged += counts.damaged + counts.headers_damaged;
            journal.torn += counts.torn;
            journal.segments_kept += counts.strangers;
            journal.repeats += replay.repeats;
        }
        snapshot
    }

    fn tell_earlier_bytes(&self) {
        let bytes = self.lengths.borrow().values().sum();
        self.control.set_earlier_bytes(bytes, self.budgets.owners());
    }

    fn take_ended(&self, stream: usize) -> Option<Ended> {
        self.streams.borrow_mut()[stream].replay.take_ended()
    }

    async fn end_segment(&self, ended: Ended) {
        let (Ended::Delete(id) | Ended::PutAside(id) | Ended::Keep(id)) = ended;
        let name = id.file_name();
        let why = match ended {
            Ended::Delete(_) => None,
            Ended::PutAside(_) => {
                Some("has damage: what can be read is delivered; it is put aside")
            }
            Ended::Keep(_) => Some("is of another version, or under another's name: left as it is"),
        };
        if let Some(why) = why {
            self.logger.error(format_args!("journal: {name} {why}"));
        }
        let folder = self.folder.clone();
        let carry_out = move || match ended {
            Ended::Delete(id) => folder.remove(id),
            Ended::PutAside(id) => folder.put_aside(id),
            Ended::Keep(_) => Ok(()),
        };
        if let Err(error) = glommio::executor().spawn_blocking(carry_out).await {
            self.logger.error(format_args!("journal: {name}: {error}"));
        }
        self.written.borrow_mut().remove(&id);
        if !matches!(ended, Ended::Keep(_)) {
            self.lengths.borrow_mut().remove(&id);
            self.tell_earlier_bytes();
        }
    }

    fn cursor_work(&self, stream: usize) -> CursorWork {
        let mut streams = self.streams.borrow_mut();
        let Active { replay, slots, .. } = &mut streams[stream];
        // A segment that stays keeps its cursor, for a program that can read it.
        let stays = replay.counts().strangers > 0;
        if replay.is_over() && !stays {
            let (run, shard) = replay.name();
            return CursorWork::Remove(run, shard);
        }
        let cursor = replay.cursor();
        match slots.next(cursor) {
            Some(slot) if replay.is_over() => CursorWork::Last(cursor, slot),
            Some(slot) => CursorWork::Save(cursor, slot),
            None => CursorWork::None,
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.control.phase() >= Phase::Keeping
    }

    /// Waits until every owner may be given more.
    pub(super) async fn room(&self) {
        while self
            .under_way
            .borrow()
            .iter()
            .any(|cost| *cost >= self.allowance)
            && !self.stopping()
        {
            self.bell.wait().await;
        }
    }

    /// Wakes whoever waits, to look at the phase.
    pub fn ring(&self) {
        self.bell.ring();
    }
}

/// Deletes what is delivered and saves how far that goes, until the service stops.
pub async fn keep(replays: Rc<Replays>) {
    let mut allowance_held = !replays.handed_out.get();
    loop {
        let stopping = replays.stopping();
        // What owners delivered at the very end is heard too, unless the time is up.
        let heard = replays.silent_owners.get() == replays.owners();
        let leave = stopping && (heard || replays.control.phase() == Phase::Stopped);
        let streams = replays.streams();
        let mut over = true;
        for stream in 0..streams {
            over &= settle(&replays, stream).await;
        }
        let delivered = replays.under_way.borrow().iter().all(|cost| *cost == 0);
        if allowance_held && replays.handed_out.get() && delivered {
            allowance_held = false;
            (0..replays.budgets.owners())
                .for_each(|owner| replays.budgets.release(owner, replays.allowance));
        }
        if leave || (over && !allowance_held) {
            return;
        }
        let pause = if stopping { SWEEP } else { HOUSEKEEPING };
        glommio::timer::sleep(pause).await;
    }
}

/// Carries out what a stream does not need any more. True when nothing of it is left to do.
async fn settle(replays: &Replays, stream: usize) -> bool {
    if replays.streams.borrow()[stream].settled {
        return true;
    }
    while let Some(ended) = replays.take_ended(stream) {
        replays.end_segment(ended).await;
    }
    let work = replays.cursor_work(stream);
    let over = matches!(work, CursorWork::Remove(..) | CursorWork::Last(..));
    let folder = replays.folder.clone();
    let carry_out = move || match work {
        CursorWork::Save(cursor, (offset, bytes)) | CursorWork::Last(cursor, (offset, bytes)) => {
            folder.write_cursor(&cursor, offset, &bytes)
        }
        CursorWork::Remove(run, shard) => folder.remove_cursor(run, shard),
        CursorWork::None => Ok(()),
    };
    if let Err(error) = glommio::executor().spawn_blocking(carry_out).await {
        // An older cursor costs repeats only.
        replays
            .logger
            .error(format_args!("journal: cursor: {error}"));
    }
    replays.streams.borrow_mut()[stream].settled = over;
    over
}
