//! One shard's journal: natural batching. Points and waiting answers pile up while a write is in flight;
//! the next write takes them all. Nobody waits for a timer, and nobody waits alone.
//!
//! A failed write fails the answers that waited for it. Its segment is never trusted or written again,
//! and its records, as far as carbon has not taken them meanwhile, lead the next write, to a new segment:
//! so a point that was accepted becomes durable late rather than never, and a duplicate of it that comes
//! afterwards waits for that.

use super::Durability;
use super::cursor::Cursor;
use super::ledger::Ledger;
use super::record::{self, HEADER_BYTES};
use super::segment::SegmentId;
use super::writer::{Segments, record_bytes_max};
use crate::carbon::frame::Encoded;
use crate::point::{Header, Point, Run};
use std::collections::VecDeque;

/// What a point costs at most beside its name in a record that has others.
const POINT_BYTES: usize = record::POINT_BYTES_MAX - HEADER_BYTES;

/// A buffer that grew above this is freed: one stall must not be remembered for ever.
const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub segment_bytes: u64,
    /// This shard's part of `journal.bytes_max`.
    pub shard_bytes_max: u64,
}

/// What to do at the edge, one at a time: write all bytes at the offset, then `fdatasync` if `sync`.
#[derive(Debug)]
pub struct Write {
    pub segment: SegmentId,
    pub offset: u64,
    pub bytes: Vec<u8>,
    pub sync: bool,
}

/// What became of an answer that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was promised holds.
    Durable,
    /// The write failed: 504. The points are delivered all the same.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    sequence: u64,
    bytes: usize,
    points: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub commits: u64,
    pub commits_failed: u64,
    pub bytes_written: u64,
}

/// `W` waits for an answer: a group, to the pipeline.
#[derive(Debug)]
pub struct Journal<W> {
    durability: Durability,
    record_bytes_max: usize,
    /// Records that no write has taken yet, with room for their headers; the last one may grow.
    bytes: Vec<u8>,
    pending: Vec<Pending>,
    in_flight: Vec<Pending>,
    writing: bool,
    /// Kept for its memory.
    spare: Vec<u8>,
    /// Of the next record.
    sequence: u64,
    /// Records below this were given to a write. Even a failed one may be on disk as it was, so it must
    /// not grow: replay takes a record's number for its content.
    given: u64,
    /// Who waits, and for which record and all before it.
    waiting: VecDeque<(u64, W)>,
    ledger: Ledger<u64>,
    pub segments: Segments,
    pub counts: Counts,
}

impl<W> Journal<W> {
    pub fn new(durability: Durability, run: u64, shard: u16, limits: Limits) -> Self {
        Journal {
            durability,
            record_bytes_max: record_bytes_max(limits.segment_bytes),
            bytes: Vec::new(),
            pending: Vec::new(),
            in_flight: Vec::new(),
            writing: false,
            spare: Vec::new(),
            sequence: 0,
            given: 0,
            waiting: VecDeque::new(),
            ledger: Ledger::default(),
            segments: Segments::new(run, shard, limits.segment_bytes, limits.shard_bytes_max),
            counts: Counts::default(),
        }
    }

    /// An orderly stop without a journal: from here on what is pushed (the backlog) is kept.
    pub fn keep_backlog(&mut self) {
        self.durability = Durability::Fsync;
    }

    /// A point was accepted.
    pub fn push(&mut self, point: Point<'_>) {
        let header = Header::of(0, point);
        self.push_run(Run::one(&header, point.name), point.fill);
    }

    /// Points were accepted; `fill` says that they move no mark. Takes as many from the start as surely go into one
    /// record, and returns these, their tuples for the frame (nothing when nothing is journalled), and the others.
    // What it takes and gives does not fit into registers: on the way of every point it is passed to nobody.
    #[inline(always)]
    pub fn push_run<'r>(
        &mut self,
        run: Run<'r>,
        fill: bool,
    ) -> (Run<'r>, Option<Encoded<'_>>, Run<'r>) {
        if self.durability == Durability::Memory {
            return (run, None, Run::default());
        }
        let (first, others) = match self.has_room(run) {
            true => (run, Run::default()),
            false => self.make_room(run),
        };
        let open = self.pending.last_mut().expect("there is room in it");
        let encoded = record::push_run(&mut self.bytes, first, fill);
        open.bytes += encoded.bytes.len();
        open.points += first.points() as u32;
        self.ledger.add(open.sequence, first.points() as u32);
        (first, Some(encoded), others)
    }

    /// A record is open that may grow by these points, however long they become.
    fn has_room(&self, run: Run<'_>) -> bool {
        self.pending.last().is_some_and(|open| {
            let bytes = open.bytes + run.bytes_with(POINT_BYTES);
            open.sequence >= self.given && bytes <= self.record_bytes_max
        })
    }

    /// Opens a record where not even the first point has room. Returns the points that have it then, and the others.
    fn make_room<'r>(&mut self, run: Run<'r>) -> (Run<'r>, Run<'r>) {
        let (one, _) = run.fit(1, 0, 0);
        if !self.has_room(one) {
            self.pending.push(Pending {
                sequence: self.sequence,
                bytes: HEADER_BYTES,
                points: 0,
            });
            self.sequence += 1;
            self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        }
        let taken = self.pending.last().map_or(0, |open| open.bytes);
        let room = self.record_bytes_max.saturating_sub(taken);
        run.fit(usize::MAX, POINT_BYTES, room)
    }

    /// An answer that promises everything pushed so far, duplicates' originals included. Comes back at
    /// once when that holds already.
    pub fn wait(&mut self, waiter: W) -> Option<W> {
        let nothing_under_way = self.pending.is_empty() && !self.writing;
        if self.durability == Durability::Memory || nothing_under_way {
            return Some(waiter);
        }
        self.waiting.push_back((self.sequence - 1, waiter));
        None
    }

    /// The next write, when none is in flight, something waits, and there is a segment for it.
    pub fn start(&mut self) -> Option<Write> {
        if self.writing {
            return None;
        }
        let (segment, room) = self.segments.room(self.pending.first()?.bytes)?;
        let salt = segment.salt();
        let (mut taken, mut records) = (0, 0);
        for next in &self.pending {
            if (taken + next.bytes) as u64 > room {
                break;
            }
            let record = &mut self.bytes[taken..taken + next.bytes];
            record::seal(record, salt, next.sequence, next.points);
            taken += next.bytes;
            records += 1;
        }
        debug_assert!(self.in_flight.is_empty(), "one write at a time");
        std::mem::swap(&mut self.in_flight, &mut self.pending);
        if records < self.in_flight.len() {
            self.pending.extend(self.in_flight.drain(records..));
        }
        // What does not fit any more begins the next segment.
        let mut rest = std::mem::take(&mut self.spare);
        rest.clear();
        rest.extend_from_slice(&self.bytes[taken..]);
        self.bytes.truncate(taken);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        let end = self.in_flight.last().map_or(0, |last| last.sequence + 1);
        self.writing = true;
        self.given = self.given.max(end);
        Some(Write {
            segment,
            offset: self.segments.place(taken, end),
            bytes,
            sync: self.durability == Durability::Fsync,
        })
    }

    /// The write is over; `written` is false when any part of it failed, the sync included.
    pub fn finished(&mut self, write: Write, written: bool, mut answer: impl FnMut(W, Outcome)) {
        debug_assert!(self.writing, "a write was started");
        self.writing = false;
        self.counts.commits += 1;
        let last = self.in_flight.last().map(|last| last.sequence);
        let outcome = if written {
            self.counts.bytes_written += write.bytes.len() as u64;
            self.in_flight.clear();
            self.keep_buffer(write.bytes);
            Outcome::Durable
        } else {
            self.counts.commits_failed += 1;
            self.again(write.bytes);
            Outcome::Unknown
        };
        while self
            .waiting
            .front()
            .is_some_and(|(record, _)| Some(*record) <= last)
        {
            if let Some((_, waiter)) = self.waiting.pop_front() {
                answer(waiter, outcome);
            }
        }
    }

    fn keep_buffer(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= BUFFER_BYTES_MAX {
            self.spare = buffer;
        }
    }

    /// Puts a failed write's records back in front, without those that carbon has taken: else a disk that
    /// fails for long would fill the memory.
    fn again(&mut self, failed: Vec<u8>) {
        let first = self
            .in_flight
            .first()
            .map_or(self.sequence, |first| first.sequence);
        self.segments.abandon(first);
        let needed = self.undelivered_from();
        let done = self
            .in_flight
            .partition_point(|record| record.sequence < needed);
        let gone: usize = self
            .in_flight
            .drain(..done)
            .map(|record| record.bytes)
            .sum();
        let mut bytes = failed;
        bytes.drain(..gone);
        bytes.extend_from_slice(&self.bytes);
        self.bytes = bytes;
        self.in_flight.append(&mut self.pending);
        std::mem::swap(&mut self.in_flight, &mut self.pending);
    }

    /// The outbound will never send its oldest `points` again: delivered, and out of the redo window.
    pub fn released(&mut self, points: u64) {
        if self.durability != Durability::Memory {
            self.ledger.released(points, |_| {});
        }
    }

    /// All records below this have no point left to deliver.
    fn undelivered_from(&self) -> u64 {
        // The last record may grow: it is not done while no write has taken it.
        let open = self
            .pending
            .last()
            .map_or(self.sequence, |open| open.sequence);
        self.ledger.oldest().copied().unwrap_or(open)
    }

    /// For the cursor file, now and then: an older one costs repeats only.
    pub fn cursor(&self) -> Cursor {
        let record = self.undelivered_from();
        let segment = self.segments.oldest_needed(record);
        let SegmentId { run, shard, .. } = self.segments.id(segment);
        Cursor {
            run,
            shard,
            segment,
            record,
        }
    }

    /// The next segment to create, unless nothing is journalled.
    pub fn wanted(&mut self) -> Option<SegmentId> {
        match self.durability {
            Durability::Memory => None,
            Durability::Journal | Durability::Fsync => self.segments.wanted(),
        }
    }

    /// A segment to delete.
    pub fn take_delivered(&mut self) -> Option<SegmentId> {
        let record = self.undelivered_from();
        self.segments.take_delivered(record)
    }

    /// Nothing waits to be written, and no write is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.writing
    }

    /// Points of records that no write has brought to its end.
    pub fn unwritten_points(&self) -> u64 {
        let records = self.pending.iter().chain(&self.in_flight);
        records.map(|record| u64::from(record.points)).sum()
    }

    /// Bytes that wait to be written.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Everything of this run is delivered and nothing waits: its segments may all go.
    pub fn take_rest(&mut self) -> Vec<SegmentId> {
        match self.is_idle() && self.ledger.points() == 0 {
            true => self.segments.take_all(),
            false => Vec::new(),
        }
    }

    /// Something waits to be written.
    pub fn is_due(&self) -> bool {
        !self.pending.is_empty() && !self.writing
    }

    /// Points in the journal, or on their way to it, that are still needed.
    pub fn points(&self) -> u64 {
        self.ledger.points()
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::SEGMENT_BYTES_MIN;
    use super::*;
    use crate::point::Block;

    fn journal(durability: Durability) -> Journal<u32> {
        let limits = Limits {
            segment_bytes: SEGMENT_BYTES_MIN,
            shard_bytes_max: 100 * SEGMENT_BYTES_MIN,
        };
        let mut journal = Journal::new(durability, 1, 0, limits);
        create(&mut journal);
        journal
    }

    fn create(journal: &mut Journal<u32>) {
        if let Some(id) = journal.wanted() {
            journal.segments.created(id);
        }
    }

    fn push(journal: &mut Journal<u32>, timestamp: u32) {
        journal.push(Point {
            name: "a",
            timestamp,
            value: 1.0,
            fill: false,
        });
    }

    fn finish(journal: &mut Journal<u32>, write: Write, written: bool) -> Vec<(u32, Outcome)> {
        let mut answers = vec![];
        journal.finished(write, written, |waiter, outcome| {
            answers.push((waiter, outcome))
        });
        answers
    }

    #[test]
    fn what_arrives_during_a_write_goes_together_in_the_next() {
        let mut j = journal(Durability::Fsync);
        push(&mut j, 1);
        assert_eq!(j.wait(1), None);
        let first = j.start().unwrap();
        assert!(first.sync);
        push(&mut j, 2);
        assert_eq!(j.wait(2), None);
        push(&mut j, 3);
        assert_eq!(j.wait(3), None);
        assert!(j.start().is_none(), "one in flight");
        assert_eq!(finish(&mut j, first, true), [(1, Outcome::Durable)]);
        let second = j.start().unwrap();
        assert_eq!(second.bytes.len(), HEADER_BYTES + 2 * 23, "one record");
        assert_eq!(j.unwritten_points(), 2, "given to a write is not written");
        assert_eq!(
            j.wait(4),
            None,
            "only duplicates: their originals are in flight"
        );
        let durable = [2, 3, 4].map(|waiter| (waiter, Outcome::Durable));
        assert_eq!(finish(&mut j, second, true), durable);
        assert_eq!(j.unwritten_points(), 0);
        assert_eq!(j.wait(5), Some(5), "nothing is under way");
        assert!(j.start().is_none());
    }

    #[test]
    fn a_failed_write_fails_who_waited_for_it_and_is_repeated_in_a_new_segment() {
        let mut j = journal(Durability::Fsync);
        push(&mut j, 1);
        j.wait(1);
        let failing = j.start().unwrap();
        create(&mut j);
        push(&mut j, 2);
        j.wait(2);
        assert_eq!(finish(&mut j, failing, false), [(1, Outcome::Unknown)]);
        assert_eq!(
            j.wait(3),
            None,
            "a duplicate of the first point is not safe yet"
        );
        let again = j.start().unwrap();
        assert_eq!(
            (again.segment.sequence, again.bytes.len()),
            (1, 2 * (HEADER_BYTES + 23))
        );
        assert_eq!(
            finish(&mut j, again, true),
            [(2, Outcome::Durable), (3, Outcome::Durable)]
        );
        assert_eq!(j.counts.commits_failed, 1);
        assert_eq!(
            j.take_delivered(),
            Some(j.segments.id(0)),
            "nothing in it counts"
        );
    }

    #[test]
    fn a_record_that_may_be_on_disk_does_not_grow() {
        let mut j = journal(Durability::Journal);
        push(&mut j, 1);
        let write = j.start().unwrap();
        create(&mut j);
        finish(&mut j, write, false);
        push(&mut j, 2);
        let write = j.start().unwrap();
        assert_eq!(write.bytes.len(), 2 * (HEADER_BYTES + 23), "two records");
    }

    #[test]
    fn a_disk_that_goes_on_failing_does_not_fill_the_memory() {
        let mut j = journal(Durability::Journal);
        for round in 0..100 {
            push(&mut j, round);
            let write = j.start().unwrap();
            assert!(!write.sync);
            assert_eq!(write.bytes.len(), HEADER_BYTES + 23);
            j.released(1);
            finish(&mut j, write, false);
            while j.take_delivered().is_some() {
                j.segments.deleted();
            }
            create(&mut j);
        }
        assert!(j.segments.held_bytes() <= 2 * SEGMENT_BYTES_MIN);
    }

    #[test]
    fn a_record_that_may_still_grow_is_not_done() {
        let mut j = journal(Durability::Journal);
        push(&mut j, 1);
        j.released(1);
        assert_eq!(j.cursor().record, 0);
        push(&mut j, 2);
        let write = j.start().unwrap();
        finish(&mut j, write, true);
        assert_eq!((j.cursor().record, j.points()), (0, 1));
        j.released(1);
        assert_eq!((j.cursor().record, j.points()), (1, 0));
    }

    #[test]
    fn without_a_journal_everything_is_durable_at_once_and_the_backlog_can_be_kept() {
        let mut j = Journal::new(
            Durability::Memory,
            1,
            0,
            Limits {
                segment_bytes: SEGMENT_BYTES_MIN,
                shard_bytes_max: 4 * SEGMENT_BYTES_MIN,
            },
        );
        push(&mut j, 1);
        assert_eq!((j.wait(1), j.wanted(), j.is_due()), (Some(1), None, false));
        j.released(1);
        j.keep_backlog();
        push(&mut j, 2);
        assert_eq!(j.wait(2), None);
        create(&mut j);
        let write = j.start().unwrap();
        assert!(write.sync);
        assert_eq!(finish(&mut j, write, true), [(2, Outcome::Durable)]);
    }

    #[test]
    fn a_large_commit_is_several_records_and_crosses_into_the_next_segment() {
        let mut j = journal(Durability::Journal);
        let name = "n".repeat(1000);
        for timestamp in 0..100 {
            let point = Point {
                name: &name,
                timestamp,
                value: 1.0,
                fill: false,
            };
            j.push(point);
        }
        let headers = j.pending.len() * HEADER_BYTES;
        assert_eq!(j.pending_bytes(), headers + 100 * 1022);
        j.wait(1);
        let first = j.start().unwrap();
        assert!(first.bytes.len() as u64 <= SEGMENT_BYTES_MIN);
        assert_eq!(finish(&mut j, first, true), []);
        create(&mut j);
        let second = j.start().unwrap();
        assert_eq!((second.segment.sequence, second.offset), (1, 36));
        assert_eq!(finish(&mut j, second, true), [(1, Outcome::Durable)]);
    }
    #[test]
    fn runs_become_the_records_that_their_points_become_one_by_one() {
        let (mut one_by_one, mut in_runs) =
            (journal(Durability::Journal), journal(Durability::Journal));
        for turn in 0..40 {
            let mut block = Block::default();
            for at in 0..50 {
                let name = "n".repeat((turn * 7919 + at * 104_729) % 900);
                let point = Point {
                    name: &name,
                    timestamp: if at % 3 == 0 { u32::MAX } else { at as u32 },
                    value: turn as f64,
                    fill: turn % 2 == 0,
                };
                one_by_one.push(point);
                block.push(0, point);
            }
            let mut rest = block.all();
            while !rest.is_empty() {
                let (first, tuples, others) = in_runs.push_run(rest, turn % 2 == 0);
                let tuples = tuples.unwrap();
                let bytes: usize = first.bytes_with(tuples.gap + 21)
                    + 2 * first
                        .headers()
                        .iter()
                        .filter(|h| h.timestamp == u32::MAX)
                        .count();
                assert_eq!(tuples.bytes.len(), bytes);
                rest = others;
            }
            if turn % 8 == 7 {
                create(&mut one_by_one);
                create(&mut in_runs);
                let (one, run) = (one_by_one.start(), in_runs.start());
                let (one, run) = (one.unwrap(), run.unwrap());
                assert!(one.bytes == run.bytes, "turn {turn}");
                finish(&mut one_by_one, one, true);
                finish(&mut in_runs, run, true);
            }
        }
        assert!(one_by_one.bytes == in_runs.bytes);
        assert_eq!(one_by_one.points(), in_runs.points());
        assert_eq!(one_by_one.cursor(), in_runs.cursor());
    }
}
