//! Which segment a write goes to, which may be deleted, and when there is no room. Segments are created
//! one ahead, at their full size, so that an append does not meet a full disk.

use super::record::RECORD_BYTES_MAX;
use super::segment::{HEADER_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SegmentId};
use std::collections::VecDeque;

/// The longest record of a segment of this size: what does not fit at its end is a quarter at most.
pub fn record_bytes_max(segment_bytes: u64) -> usize {
    RECORD_BYTES_MAX.min(segment_bytes as usize / 4)
}

#[derive(Debug)]
struct Open {
    sequence: u64,
    offset: u64,
    /// The record after its last.
    end: u64,
}

#[derive(Debug)]
pub struct Segments {
    run: u64,
    shard: u16,
    segment_bytes: u64,
    count_max: u64,
    /// Of the next one to create.
    next: u64,
    creating: bool,
    /// The last attempt to create one failed: the disk is full or broken.
    refused: bool,
    /// Created and empty, in order.
    spare: VecDeque<u64>,
    current: Option<Open>,
    /// Not written any more, with the record after the last one each is needed for.
    done: VecDeque<(u64, u64)>,
    deleting: u64,
    /// Segments' worth of files of earlier runs that count against this shard's part of the bound.
    earlier: u64,
}

impl Segments {
    pub fn new(run: u64, shard: u16, segment_bytes: u64, shard_bytes_max: u64) -> Self {
        // The configuration's check says so to people.
        debug_assert!((SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes));
        Segments {
            run,
            shard,
            segment_bytes,
            count_max: shard_bytes_max / segment_bytes,
            next: 0,
            creating: false,
            refused: false,
            spare: VecDeque::new(),
            current: None,
            done: VecDeque::new(),
            deleting: 0,
            earlier: 0,
        }
    }

    /// This shard's share of what earlier runs have left on the disk.
    pub fn set_earlier_bytes(&mut self, bytes: u64) {
        self.earlier = bytes.div_ceil(self.segment_bytes);
    }

    pub fn id(&self, sequence: u64) -> SegmentId {
        SegmentId {
            run: self.run,
            shard: self.shard,
            sequence,
        }
    }

    fn count(&self) -> u64 {
        let open = u64::from(self.current.is_some()) + u64::from(self.creating);
        (self.spare.len() + self.done.len()) as u64 + open + self.deleting
    }

    /// A segment to create now: allocate all its bytes, write its header, and for `fsync` sync the file and
    /// its directory, or a synced record would be in a file without a name. Then say
    /// [`Segments::created`] or [`Segments::not_created`].
    pub fn wanted(&mut self) -> Option<SegmentId> {
        if self.creating || !self.spare.is_empty() || !self.has_place() {
            return None;
        }
        self.creating = true;
        let id = self.id(self.next);
        self.next += 1;
        Some(id)
    }

    pub fn created(&mut self, id: SegmentId) {
        self.creating = false;
        self.refused = false;
        self.spare.push_back(id.sequence);
    }

    /// It can be asked for again, after a pause. Whatever was left of the file is to be removed.
    pub fn not_created(&mut self) {
        self.creating = false;
        self.refused = true;
    }

    /// Nothing is ahead and nothing will be before something changes: new points are refused, what was
    /// admitted already goes into the rest of the current segment.
    pub fn is_full(&self) -> bool {
        self.spare.is_empty() && !self.creating && (self.refused || !self.has_place())
    }

    fn has_place(&self) -> bool {
        self.count() + self.earlier < self.count_max
    }

    /// None is ahead: the next write that does not fit waits until there is one.
    pub fn lacks_spare(&self) -> bool {
        self.spare.is_empty()
    }

    /// How many bytes of the next write fit, once a record of `first` bytes does. None: there is no
    /// segment for it yet.
    pub fn room(&mut self, first: usize) -> Option<(SegmentId, u64)> {
        let whole = self.segment_bytes;
        let fits = |open: &Open| open.offset + first as u64 <= whole;
        if !self.current.as_ref().is_some_and(fits) {
            let sequence = self.spare.pop_front()?;
            if let Some(full) = self.current.take() {
                self.done.push_back((full.sequence, full.end));
            }
            self.current = Some(Open {
                sequence,
                offset: HEADER_BYTES as u64,
                end: 0,
            });
        }
        let open = self.current.as_ref()?;
        Some((self.id(open.sequence), whole - open.offset))
    }

    /// Places a write of this size in the current segment; `end` is the record after its last. Returns
    /// the offset.
    pub fn place(&mut self, bytes: usize, end: u64) -> u64 {
        let open = self.current.as_mut().expect("room() has opened a segment");
        let offset = open.offset;
        open.offset += bytes as u64;
        open.end = end;
        offset
    }

    /// A write failed: the segment is never written again, and holds for certain only what stands
    /// before record `end`.
    pub fn abandon(&mut self, end: u64) {
        if let Some(open) = self.current.take() {
            self.done.push_back((open.sequence, end));
        }
    }

    /// A segment all of whose records are below `record`, to be deleted; then say [`Segments::deleted`].
    pub fn take_delivered(&mut self, record: u64) -> Option<SegmentId> {
        let &(sequence, end) = self.done.front()?;
        if end > record {
            return None;
        }
        self.done.pop_front();
        self.deleting += 1;
        Some(self.id(sequence))
    }

    /// The run is over and nothing in them is needed: all segments, to be deleted.
    pub fn take_all(&mut self) -> Vec<SegmentId> {
        let done = self.done.drain(..).map(|(sequence, _)| sequence);
        let open = self.current.take().map(|open| open.sequence);
        let all: Vec<u64> = done.chain(open).chain(self.spare.drain(..)).collect();
        all.into_iter().map(|sequence| self.id(sequence)).collect()
    }

    pub fn deleted(&mut self) {
        self.deleting -= 1;
    }

    /// The oldest segment with something at or after `record`.
    pub fn oldest_needed(&self, record: u64) -> u64 {
        let done = self.done.iter().find(|(_, end)| *end > record);
        done.map(|(sequence, _)| *sequence)
            .or(self.current.as_ref().map(|open| open.sequence))
            .or(self.spare.front().copied())
            .unwrap_or(self.next)
    }

    /// May be on disk, with this shard's part of what earlier runs left.
    pub fn bytes_max(&self) -> u64 {
        self.count_max * self.segment_bytes
    }

    /// On disk now.
    pub fn held_bytes(&self) -> u64 {
        self.count() * self.segment_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = SEGMENT_BYTES_MIN;

    fn segments(count_max: u64) -> Segments {
        Segments::new(1, 0, SEGMENT, count_max * SEGMENT)
    }

    fn create(segments: &mut Segments) -> u64 {
        let id = segments.wanted().unwrap();
        segments.created(id);
        id.sequence
    }

    #[test]
    fn one_segment_is_ahead_and_a_write_that_does_not_fit_goes_there() {
        let mut s = segments(10);
        assert_eq!(s.room(10), None);
        assert_eq!(create(&mut s), 0);
        assert_eq!(s.wanted(), None, "one ahead is enough");
        let (id, room) = s.room(10).unwrap();
        assert_eq!((id.sequence, room), (0, SEGMENT - HEADER_BYTES as u64));
        assert_eq!(s.place(room as usize - 9, 3), HEADER_BYTES as u64);
        assert_eq!(s.room(9).unwrap().1, 9, "to the last byte");
        assert_eq!(s.room(10), None, "the next is not there yet");
        assert_eq!(create(&mut s), 1);
        assert_eq!(s.room(10).unwrap().0.sequence, 1);
        s.place(10, 4);
        assert_eq!(s.take_delivered(2), None);
        assert_eq!((s.oldest_needed(2), s.oldest_needed(3)), (0, 1));
        assert_eq!(s.take_delivered(3), Some(s.id(0)));
        assert_eq!(s.take_delivered(4), None, "the current one stays");
    }

    #[test]
    fn at_its_bound_or_on_a_full_disk_it_is_full_until_something_changes() {
        let mut s = segments(3);
        for end in 1..=3 {
            create(&mut s);
            let room = s.room(SEGMENT as usize - HEADER_BYTES).unwrap().1;
            s.place(room as usize, end);
            assert_eq!(s.is_full(), end == 3);
        }
        assert_eq!((s.wanted(), s.held_bytes()), (None, 3 * SEGMENT));
        assert!(s.take_delivered(1).is_some());
        assert_eq!(s.wanted(), None, "the file is still there");
        s.deleted();
        assert!(!s.is_full());
        s.set_earlier_bytes(1);
        assert!(s.is_full(), "what earlier runs left counts too");
        s.set_earlier_bytes(0);
        assert!(s.wanted().is_some());
        s.not_created();
        assert!(s.is_full());
        create(&mut s);
        assert!(!s.is_full());
    }

    #[test]
    fn an_abandoned_segment_is_needed_for_what_came_before_the_failure() {
        let mut s = segments(5);
        create(&mut s);
        s.room(10);
        s.place(10, 1);
        s.room(10);
        s.place(10, 2);
        s.abandon(1);
        assert_eq!(s.room(10), None);
        create(&mut s);
        assert_eq!(s.room(10).unwrap().0.sequence, 1);
        assert_eq!(s.take_delivered(0), None);
        assert_eq!(s.take_delivered(1), Some(s.id(0)));
    }

    /// What the configuration counts on, before there is a journal.
    #[test]
    fn the_segments_beside_those_in_need_are_as_many_as_the_budget_leaves_out() {
        let usable = SEGMENT - HEADER_BYTES as u64 - record_bytes_max(SEGMENT) as u64;
        assert_eq!(
            crate::config::budget_bytes_max(5 * SEGMENT, SEGMENT, 0),
            usable
        );
        let large = SEGMENT_BYTES_MAX;
        let usable = large - HEADER_BYTES as u64 - RECORD_BYTES_MAX as u64;
        assert_eq!(crate::config::budget_bytes_max(5 * large, large, 0), usable);
    }
}
