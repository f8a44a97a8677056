//! What earlier runs have left is handed out again, on the populate core, beside live traffic.
//!
//! The files are read in chunks, and what is on its way is bounded, so a journal of any size can be
//! replayed. Records stay in their segments until they are delivered for good.

use super::control::{Control, Phase};
use super::files::Folder;
use super::mesh::{Mesh, Parcel};
use super::shard::Doorbell;
use super::survey::{CHUNK_BYTES, Found, feed};
use crate::budget::Budgets;
use crate::journal::cursor::{CURSOR_BYTES, Cursor, Slots};
use crate::journal::recovery::{Ended, Replay, Turn};
use crate::journal::segment::SegmentId;
use crate::pipeline::{RecordId, Recovered, Report};
use crate::router::{NameHasher, owner_of};
use crate::telemetry::Snapshot;
use crate::telemetry::log::Logger;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The part of an owner's budget that is kept for a replay while there is one: what of it may be on its way
/// to carbon, and so how fast a replay can be while live traffic fills the rest.
const BUDGET_SHARE: usize = 4;
/// A parcel for an owner is sent at this size, or when its chunk has been read.
const PARCEL_BYTES: usize = 64 * 1024;
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
    folder: Folder,
    control: Arc<Control>,
    budgets: Budgets,
    hasher: NameHasher,
    logger: Logger,
    streams: RefCell<Vec<Active>>,
    lengths: RefCell<BTreeMap<SegmentId, u64>>,
    /// Cost of what each owner has and has not delivered.
    under_way: RefCell<Vec<usize>>,
    /// What of it there may be.
    allowance: usize,
    handed_out: Cell<bool>,
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
            under_way: RefCell::new(vec![0; owners]),
            allowance,
            handed_out: Cell::new(handed_out),
            waiting_points: Cell::new(found.points),
            found_points: found.points,
            cursors_ignored: found.cursors_ignored,
            bell: Doorbell::default(),
        };
        replays.tell_earlier_bytes();
        Rc::new(replays)
    }

    /// An owner has delivered some of it.
    pub fn report(&self, owner: usize, report: &Report) {
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

    fn stopping(&self) -> bool {
        self.control.phase() >= Phase::Keeping
    }

    /// Waits until every owner may be given more.
    async fn room(&self) {
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

/// Hands everything out, oldest run first. One reader and one channel to each owner: a metric's points stay in
/// the order they were accepted in, also over runs and numbers of shards.
pub async fn hand_out(replays: Rc<Replays>, mesh: Rc<Mesh>) {
    let streams = replays.streams.borrow().len();
    for stream in 0..streams {
        let mut reading = Reading {
            replays: &replays,
            mesh: &mesh,
            stream,
            parcels: (0..replays.budgets.owners())
                .map(|_| Recovered::default())
                .collect(),
            file: None,
        };
        loop {
            replays.room().await;
            if replays.stopping() {
                return;
            }
            match reading.turn() {
                Turn::Record => reading.record(),
                Turn::More(id) => {
                    reading.send_all();
                    reading.chunk(id).await;
                }
                Turn::Read => break,
            }
        }
        reading.send_all();
    }
    replays.handed_out.set(true);
}

/// One stream while it is read.
struct Reading<'a> {
    replays: &'a Replays,
    mesh: &'a Mesh,
    stream: usize,
    /// For each owner.
    parcels: Vec<Recovered>,
    file: Option<(SegmentId, Arc<File>, u64)>,
}

impl Reading<'_> {
    fn turn(&mut self) -> Turn {
        self.replays.streams.borrow_mut()[self.stream].replay.turn()
    }

    fn record(&mut self) {
        let mut streams = self.replays.streams.borrow_mut();
        let replay = &mut streams[self.stream].replay;
        let mut owners = 0;
        let mut points = 0;
        if let Some(record) = replay.record() {
            let id = RecordId {
                stream: self.stream as u32,
                sequence: record.sequence,
            };
            points = record.points;
            for point in record.iter() {
                let hash = self.replays.hasher.hash(point.name);
                let parcel = &mut self.parcels[owner_of(hash, self.replays.budgets.owners())];
                parcel.block.push(hash, point);
                match parcel.records.last_mut() {
                    Some((last, count)) if *last == id => *count += 1,
                    _ => {
                        parcel.records.push((id, 1));
                        owners += 1;
                    }
                }
            }
        }
        replay.handed(owners);
        let waiting = &self.replays.waiting_points;
        waiting.set(waiting.get().saturating_sub(points.into()));
        drop(streams);
        for owner in 0..self.parcels.len() {
            if self.parcels[owner].block.len_bytes() >= PARCEL_BYTES {
                self.send(owner);
            }
        }
    }

    fn send(&mut self, owner: usize) {
        let parcel = std::mem::take(&mut self.parcels[owner]);
        if !parcel.block.is_empty() {
            self.replays.under_way.borrow_mut()[owner] += parcel.cost();
            self.mesh.send(owner, Parcel::Recovered(parcel));
        }
    }

    fn send_all(&mut self) {
        (0..self.parcels.len()).for_each(|owner| self.send(owner));
    }

    /// Reads on. What cannot be read ends its segment, and is told: the rest is delivered all the same.
    async fn chunk(&mut self, id: SegmentId) {
        let (file, offset) = match self.file.take() {
            Some((open, file, offset)) if open == id => (Some(file), offset),
            _ => (None, 0),
        };
        let folder = self.replays.folder.clone();
        let read = move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(folder.read(id)?),
            };
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = file.read_at(&mut chunk, offset)?;
            chunk.truncate(length);
            io::Result::Ok((file, chunk))
        };
        let mut chunk = Vec::new();
        match glommio::executor().spawn_blocking(read).await {
            Ok((file, bytes)) => {
                self.file = Some((id, file, offset + bytes.len() as u64));
                chunk = bytes;
            }
            Err(error) => self.replays.logger.error(format_args!(
                "journal: {} cannot be read on ({error})",
                id.file_name()
            )),
        }
        feed(
            &mut self.replays.streams.borrow_mut()[self.stream].replay,
            &chunk,
        );
    }
}

/// Deletes what is delivered and saves how far that goes, until the service stops.
pub async fn keep(replays: Rc<Replays>) {
    let mut allowance_held = !replays.handed_out.get();
    loop {
        let stopping = replays.stopping();
        let streams = replays.streams.borrow().len();
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
        if stopping || (over && !allowance_held) {
            return;
        }
        glommio::timer::sleep(HOUSEKEEPING).await;
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
