//! Replay: which files in which order, what has been delivered before, and how far it has come now.
//!
//! A metric had one owner per run, so the shards of one run may be read side by side; another run may have
//! had other owners, so a run begins when every record of the one before it has been handed out, and taken
//! in by its owner. Records stay in the segments they are in until they are delivered: nothing is
//! journalled twice.

use super::cursor::{Cursor, Ignored};
use super::ledger::Progress;
use super::reader::{Counts, Next, Reader, Record};
use super::segment::SegmentId;
use std::collections::BTreeMap;

/// One shard's segments of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    pub run: u64,
    pub shard: u16,
    /// Sequences, oldest first; never empty.
    pub segments: Vec<u64>,
    /// Records below this are delivered.
    pub from: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Oldest run first; the streams of one run in any order.
    pub runs: Vec<Vec<Stream>>,
    /// Segments that are delivered: to be deleted.
    pub delivered: Vec<SegmentId>,
    /// Cursor files without segments: to be deleted.
    pub stale: Vec<(u64, u16)>,
    /// Cursors that were not believed.
    pub ignored: Vec<(u64, u16, Ignored)>,
}

impl Plan {
    /// From all segment names found, and from all cursor files: run and shard of the name, and content.
    pub fn new(
        segments: impl Iterator<Item = SegmentId>,
        cursors: impl Iterator<Item = (u64, u16, Result<Cursor, Ignored>)>,
    ) -> Plan {
        let mut plan = Plan::default();
        let mut streams: BTreeMap<(u64, u16), Stream> = BTreeMap::new();
        let mut segments: Vec<SegmentId> = segments.collect();
        segments.sort_unstable();
        for SegmentId {
            run,
            shard,
            sequence,
        } in segments
        {
            let stream = streams.entry((run, shard)).or_insert_with(|| Stream {
                run,
                shard,
                segments: Vec::new(),
                from: 0,
            });
            stream.segments.push(sequence);
        }
        for (run, shard, cursor) in cursors {
            match (streams.get_mut(&(run, shard)), cursor) {
                (None, _) => plan.stale.push((run, shard)),
                (Some(_), Err(why)) => plan.ignored.push((run, shard, why)),
                (Some(stream), Ok(cursor)) => match stream.begin(cursor, &mut plan.delivered) {
                    Ok(()) => {}
                    Err(why) => plan.ignored.push((run, shard, why)),
                },
            }
        }
        for stream in streams.into_values() {
            match plan.runs.last_mut() {
                Some(run) if run[0].run == stream.run => run.push(stream),
                _ => plan.runs.push(vec![stream]),
            }
        }
        plan
    }
}

impl Stream {
    fn begin(&mut self, cursor: Cursor, delivered: &mut Vec<SegmentId>) -> Result<(), Ignored> {
        if (cursor.run, cursor.shard) != (self.run, self.shard) {
            return Err(Ignored::Stranger);
        }
        if self
            .segments
            .last()
            .is_none_or(|last| cursor.segment > *last)
        {
            return Err(Ignored::Ahead);
        }
        let needed = self
            .segments
            .partition_point(|sequence| *sequence < cursor.segment);
        delivered.extend(self.segments.drain(..needed).map(|sequence| SegmentId {
            run: cursor.run,
            shard: cursor.shard,
            sequence,
        }));
        self.from = cursor.record;
        Ok(())
    }

    fn id(&self, sequence: u64) -> SegmentId {
        SegmentId {
            run: self.run,
            shard: self.shard,
            sequence,
        }
    }
}

/// What to do with a segment that is not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Delete(SegmentId),
    /// All that could be read is delivered; put it aside for people.
    PutAside(SegmentId),
    /// Of another version, or under another's name: leave it where it is.
    Keep(SegmentId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Hand the points of [`Replay::record`] to their owners, then say [`Replay::handed`].
    Record,
    /// Push a chunk of this segment, or say [`Replay::end_of_file`].
    More(SegmentId),
    /// Every record has been handed out; segments and cursor follow as owners report.
    Read,
}

/// One stream, on its way out.
#[derive(Debug)]
pub struct Replay {
    stream: Stream,
    /// How many of its segments have been read, and how each of those ended that have not been given back.
    read: usize,
    reader: Option<Reader>,
    unusual: BTreeMap<u64, Ended>,
    /// Records below this have been handed out.
    next: u64,
    progress: Progress,
    /// The oldest segment that is still needed.
    needed: u64,
    /// Where the cursor stays from the first segment that was not read: a program that can read it must
    /// find nothing of it covered.
    frozen: Option<Cursor>,
    counts: Counts,
    /// Records that were delivered before, or stand there twice.
    pub repeats: u64,
    pub recovered_points: u64,
}

impl Replay {
    pub fn new(stream: Stream) -> Self {
        Replay {
            next: stream.from,
            progress: Progress::new(stream.from),
            needed: stream.segments.first().copied().unwrap_or(0),
            frozen: None,
            stream,
            read: 0,
            reader: None,
            unusual: BTreeMap::new(),
            counts: Counts::default(),
            repeats: 0,
            recovered_points: 0,
        }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        if let Some(reader) = &mut self.reader {
            reader.push(chunk);
        }
    }

    pub fn end_of_file(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.end_of_file();
        }
    }

    /// On to the next record that was not delivered, past what the cursor covers.
    pub fn turn(&mut self) -> Turn {
        loop {
            let Some(&sequence) = self.stream.segments.get(self.read) else {
                return Turn::Read;
            };
            let id = self.stream.id(sequence);
            let reader = self.reader.get_or_insert_with(|| Reader::new(id));
            match reader.advance() {
                Next::More => return Turn::More(id),
                Next::End => self.segment_ended(id),
                Next::Record => match reader.record() {
                    Some(record) if record.sequence >= self.next => {
                        self.next = record.sequence + 1;
                        self.recovered_points += u64::from(record.points);
                        return Turn::Record;
                    }
                    _ => self.repeats += 1,
                },
            }
        }
    }

    /// What the last [`Turn::Record`] found.
    pub fn record(&self) -> Option<Record<'_>> {
        self.reader.as_ref()?.record()
    }

    fn segment_ended(&mut self, id: SegmentId) {
        let counts = self
            .reader
            .take()
            .map(|reader| *reader.counts())
            .unwrap_or_default();
        self.counts.add(&counts);
        if counts.strangers > 0 {
            self.unusual.insert(id.sequence, Ended::Keep(id));
        } else if counts.has_damage() {
            self.unusual.insert(id.sequence, Ended::PutAside(id));
        }
        self.progress.ended(id.sequence);
        self.read += 1;
    }

    /// The record just read went to this many owners.
    pub fn handed(&mut self, owners: u32) {
        self.progress.handed(self.next - 1, owners);
    }

    /// One owner will never send its points of this record again.
    pub fn owner_done(&mut self, record: u64) {
        self.progress.owner_done(record);
    }

    /// A segment that is not needed any more. Ask until there is none, then write the cursor.
    pub fn take_ended(&mut self) -> Option<Ended> {
        let sequence = self.progress.take_ended()?;
        let usual = Ended::Delete(self.stream.id(sequence));
        let ended = self.unusual.remove(&sequence).unwrap_or(usual);
        self.needed = sequence;
        if let Ended::Keep(_) = ended {
            self.frozen = Some(self.cursor());
        }
        self.needed = sequence + 1;
        Some(ended)
    }

    /// For this stream's cursor file. Not any more when [`Replay::is_over`]: then the file goes.
    pub fn cursor(&self) -> Cursor {
        self.frozen.unwrap_or(Cursor {
            run: self.stream.run,
            shard: self.stream.shard,
            segment: self.needed,
            record: self.progress.done(),
        })
    }

    /// Run and shard of the stream.
    pub fn name(&self) -> (u64, u16) {
        (self.stream.run, self.stream.shard)
    }

    /// Everything was handed out and is done.
    pub fn is_over(&self) -> bool {
        self.read == self.stream.segments.len() && self.progress.is_empty()
    }

    /// Everything was handed out: the next run may begin once the owners have taken it in.
    pub fn is_read(&self) -> bool {
        self.read == self.stream.segments.len()
    }

    /// Records on their way: stop reading at a bound.
    pub fn outstanding(&self) -> usize {
        self.progress.outstanding()
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;
    use crate::point::Point;

    fn id(run: u64, shard: u16, sequence: u64) -> SegmentId {
        SegmentId {
            run,
            shard,
            sequence,
        }
    }

    fn cursor(segment: u64, record: u64) -> (u64, u16, Result<Cursor, Ignored>) {
        let cursor = Cursor {
            run: 1,
            shard: 0,
            segment,
            record,
        };
        (1, 0, Ok(cursor))
    }

    fn plan(cursors: Vec<(u64, u16, Result<Cursor, Ignored>)>) -> Plan {
        let ids = [id(2, 0, 0), id(1, 0, 4), id(1, 1, 0), id(1, 0, 3)];
        Plan::new(ids.into_iter(), cursors.into_iter())
    }

    #[test]
    fn older_runs_come_first_and_a_cursor_says_where_to_begin() {
        let plan = plan(vec![cursor(4, 70)]);
        let order: Vec<Vec<_>> = plan
            .runs
            .iter()
            .map(|run| {
                run.iter()
                    .map(|s| (s.run, s.shard, s.segments.clone(), s.from))
                    .collect()
            })
            .collect();
        assert_eq!(
            order,
            [
                vec![(1, 0, vec![4], 70), (1, 1, vec![0], 0)],
                vec![(2, 0, vec![0], 0)]
            ]
        );
        assert_eq!(plan.delivered, [id(1, 0, 3)]);
    }

    #[test]
    fn a_cursor_that_cannot_be_right_changes_nothing() {
        let without = plan(vec![]);
        let (_, _, other) = cursor(3, 1);
        for (cursor, why) in [
            (cursor(5, 1), Ignored::Ahead),
            ((1, 1, other), Ignored::Stranger),
            ((1, 0, Err(Ignored::Damaged)), Ignored::Damaged),
        ] {
            let with = plan(vec![cursor]);
            assert_eq!((&with.runs, &with.delivered), (&without.runs, &vec![]));
            assert_eq!(with.ignored, [(cursor.0, cursor.1, why)]);
        }
        assert_eq!(plan(vec![(9, 0, Err(Ignored::Version))]).stale, [(9, 0)]);
        let older = plan(vec![cursor(0, 0)]);
        assert_eq!((older.runs, older.ignored), (without.runs, vec![]));
    }

    fn segment(id: SegmentId, sequences: &[u64]) -> Vec<u8> {
        let mut bytes = id.header().to_vec();
        for &sequence in sequences {
            let mut record = vec![0; record::HEADER_BYTES];
            let point = Point {
                name: "a",
                timestamp: sequence as u32,
                value: 1.0,
                fill: false,
            };
            record::push(&mut record, point);
            record::seal(&mut record, id.salt(), sequence, 1);
            bytes.extend(record);
        }
        bytes
    }

    /// Reads everything; the timestamps in order.
    fn read(replay: &mut Replay, files: &BTreeMap<u64, Vec<u8>>) -> Vec<u32> {
        let mut stamps = vec![];
        let mut pushed = None;
        loop {
            match replay.turn() {
                Turn::Record => {
                    stamps.extend(replay.record().unwrap().iter().map(|p| p.timestamp));
                    replay.handed(1);
                }
                Turn::More(id) if pushed == Some(id) => replay.end_of_file(),
                Turn::More(id) => {
                    replay.push(&files[&id.sequence]);
                    pushed = Some(id);
                }
                Turn::Read => return stamps,
            }
        }
    }

    #[test]
    fn what_is_covered_or_stands_there_twice_is_passed_and_damage_is_put_aside() {
        let mut files = BTreeMap::from([
            (3, segment(id(1, 0, 3), &[5, 6, 7])),
            (4, segment(id(1, 0, 4), &[7, 8, 9, 10])),
            (5, segment(id(1, 0, 5), &[11])),
        ]);
        if let Some(byte) = files.get_mut(&4).and_then(|file| file.get_mut(150)) {
            *byte ^= 1;
        }
        let stream = Stream {
            run: 1,
            shard: 0,
            segments: vec![3, 4, 5],
            from: 6,
        };
        let mut replay = Replay::new(stream);
        let stamps = read(&mut replay, &files);
        assert_eq!(stamps, [6, 7, 8, 10, 11]);
        assert_eq!((replay.repeats, replay.counts().damaged), (2, 1));
        assert_eq!((replay.recovered_points, replay.outstanding()), (5, 5));
        assert_eq!(replay.take_ended(), None);
        for record in [6, 8, 7] {
            replay.owner_done(record);
        }
        assert_eq!(replay.take_ended(), Some(Ended::Delete(id(1, 0, 3))));
        assert_eq!(replay.take_ended(), None);
        let Cursor {
            segment, record, ..
        } = replay.cursor();
        assert_eq!((segment, record), (4, 9));
        replay.owner_done(10);
        replay.owner_done(11);
        assert_eq!(replay.take_ended(), Some(Ended::PutAside(id(1, 0, 4))));
        assert!(!replay.is_over());
        assert_eq!(replay.take_ended(), Some(Ended::Delete(id(1, 0, 5))));
        assert!(replay.is_over());
    }

    #[test]
    fn a_segment_that_is_not_ours_stays_and_the_cursor_does_not_pass_it() {
        let files = BTreeMap::from([
            (0, segment(id(1, 0, 0), &[0, 1])),
            (1, segment(id(1, 0, 9), &[2])),
            (2, segment(id(1, 0, 2), &[3])),
        ]);
        let stream = Stream {
            run: 1,
            shard: 0,
            segments: vec![0, 1, 2],
            from: 0,
        };
        let mut replay = Replay::new(stream);
        assert_eq!(read(&mut replay, &files), [0, 1, 3]);
        [0, 1, 3]
            .into_iter()
            .for_each(|record| replay.owner_done(record));
        let ended: Vec<_> = std::iter::from_fn(|| replay.take_ended()).collect();
        assert_eq!(
            ended,
            [
                Ended::Delete(id(1, 0, 0)),
                Ended::Keep(id(1, 0, 1)),
                Ended::Delete(id(1, 0, 2))
            ]
        );
        let Cursor {
            segment, record, ..
        } = replay.cursor();
        assert_eq!((segment, record), (1, 2));
    }
}
