//! Marks waiting to be written: latest per metric, many per command, never moving one back.
//!
//! A mark arrives here once its point was delivered. It waits in a slot of its metric, where newer
//! marks replace it, until a batch takes it; while a batch is under way newer marks wait in the same
//! slot, so a metric is never in two commands at once. What was accepted without knowing the stored
//! mark (`unchecked`) is looked up before its first write and dropped when the store is as new.
//!
//! The caller carries batches to the store and says how each ended. It must make sure that a
//! connection given up ([`Writer::lost`]) writes nothing any more: Redis may still read what was sent
//! on a socket that was closed in order, so reset it (linger 0).

use std::collections::VecDeque;

use super::Mark;
use super::pieces::Pieces;
use super::waiting::Waiting;
use crate::point::{NameHash, TOUCHED_AHEAD};

/// A name longer than this gives its memory back when its slot becomes free: most names are shorter,
/// and free slots must not add up to `marks_max` of the longest ones.
const FREE_NAME_BYTES_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be written, or a newer one is waiting already.
    Waiting,
    /// `marks_max` metrics are waiting: this mark is not written. It costs a repeat after a restart.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// In the queue of look-ups, or in one under way.
    Unchecked,
    Looking,
    /// In the queue of writes, or in one under way.
    Ready,
    Writing,
}

struct Slot {
    name: String,
    hash: NameHash,
    /// What is written, while it is.
    mark: Mark,
    stage: Stage,
}

struct Batch {
    id: u64,
    slots: Vec<u32>,
}

pub struct Writer {
    marks_max: usize,
    slots: Pieces<Slot>,
    free: Vec<u32>,
    /// The newest mark that came for each metric that has a slot.
    newest: Waiting,
    unchecked: VecDeque<u32>,
    ready: VecDeque<u32>,
    under_way: VecDeque<Batch>,
    last_id: u64,
    refused_marks: u64,
}

/// Marks to write in one command, as they are now.
pub struct Writes<'w> {
    pub id: u64,
    writer: &'w Writer,
}

impl Writes<'_> {
    pub fn marks(&self) -> impl ExactSizeIterator<Item = (&str, Mark)> + Clone {
        let slots = self.writer.newest_batch().iter();
        slots.map(|&slot| {
            let slot = &self.writer.slots[slot];
            (slot.name.as_str(), slot.mark)
        })
    }
}

/// Names to look up in one command.
pub struct Names<'w> {
    pub id: u64,
    writer: &'w Writer,
}

impl Names<'_> {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let slots = self.writer.newest_batch().iter();
        slots.map(|&slot| self.writer.slots[slot].name.as_str())
    }
}

impl Writer {
    /// At most `marks_max` metrics wait; each costs its name and about 150 bytes.
    pub fn new(marks_max: usize) -> Self {
        Writer {
            marks_max,
            slots: Pieces::default(),
            free: Vec::new(),
            newest: Waiting::default(),
            unchecked: VecDeque::new(),
            ready: VecDeque::new(),
            under_way: VecDeque::new(),
            last_id: 0,
            refused_marks: 0,
        }
    }

    /// Metrics whose mark waits or is under way.
    pub fn waiting(&self) -> usize {
        self.newest.len()
    }

    /// Whether there is something to write.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Marks that were turned away because the writer was full; never goes down.
    pub fn refused_marks(&self) -> u64 {
        self.refused_marks
    }

    /// Brings what [`Writer::renew`] will look at into the CPU's cache: these loads do not depend on each other, and
    /// those of one look-up on the next do.
    pub fn touch(&self, hashes: impl Iterator<Item = NameHash>) {
        let seen = hashes.fold(0, |seen, hash| seen ^ self.newest.touch(hash));
        std::hint::black_box(seen);
    }

    /// A mark of a metric that waits already, which is all but one between two writes. `false`: it does not.
    #[inline]
    pub fn renew(&mut self, hash: NameHash, mark: Mark) -> bool {
        // Whatever the slot waits for still holds: a mark in it that was checked is newer than
        // the store's, and so is a newer one.
        let newest = self.newest.find(hash);
        newest.map(|newest| newest.raise(mark)).is_some()
    }

    /// `unchecked`: the point was accepted without knowing what the store holds.
    pub fn push(&mut self, name: &str, hash: NameHash, mark: Mark, unchecked: bool) -> Pushed {
        if self.newest.len() >= self.marks_max {
            return match self.renew(hash, mark) {
                true => Pushed::Waiting,
                false => {
                    self.refused_marks += 1;
                    Pushed::Full
                }
            };
        }
        if !self.newest.insert(hash, mark) {
            return Pushed::Waiting;
        }
        let (stage, queue) = match unchecked {
            true => (Stage::Unchecked, &mut self.unchecked),
            false => (Stage::Ready, &mut self.ready),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                name: String::new(),
                hash,
                mark,
                stage,
            });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index];
        slot.name.push_str(name);
        (slot.hash, slot.mark, slot.stage) = (hash, mark, stage);
        queue.push_back(index);
        Pushed::Waiting
    }

    /// The next marks to write, the longest waiting first; `None` when none is ready.
    pub fn take_batch(&mut self, marks_max: usize) -> Option<Writes<'_>> {
        let taken = self.ready.len().min(marks_max);
        let slots: Vec<u32> = self.ready.drain(..taken).collect();
        for some in slots.chunks(TOUCHED_AHEAD) {
            self.touch(some.iter().map(|&slot| self.slots[slot].hash));
            for &slot in some {
                let slot = &mut self.slots[slot];
                slot.stage = Stage::Writing;
                if let Some(newest) = self.newest.find(slot.hash) {
                    slot.mark = newest.mark();
                }
            }
        }
        let id = self.begin(slots)?;
        Some(Writes { id, writer: self })
    }

    /// The next names whose stored mark must be known before theirs is written.
    pub fn take_unchecked(&mut self, names_max: usize) -> Option<Names<'_>> {
        let taken = self.unchecked.len().min(names_max);
        let slots: Vec<u32> = self.unchecked.drain(..taken).collect();
        for &slot in &slots {
            self.slots[slot].stage = Stage::Looking;
        }
        let id = self.begin(slots)?;
        Some(Names { id, writer: self })
    }

    fn begin(&mut self, slots: Vec<u32>) -> Option<u64> {
        if slots.is_empty() {
            return None;
        }
        self.last_id += 1;
        let id = self.last_id;
        self.under_way.push_back(Batch { id, slots });
        Some(id)
    }

    fn newest_batch(&self) -> &[u32] {
        &self.under_way.back().expect("just begun").slots
    }

    /// The look-up was answered, one element per name in their order. Appends the metrics whose
    /// stored mark is as new or newer, with its timestamp: nothing is written for them, and the
    /// de-duplication table may be raised to it.
    pub fn checked(&mut self, id: u64, found: &[Option<Mark>], newer: &mut Vec<(NameHash, u32)>) {
        let Some(slots) = self.end(id) else {
            return;
        };
        assert_eq!(slots.len(), found.len(), "one answer per name");
        for (index, found) in slots.into_iter().zip(found) {
            let slot = &mut self.slots[index];
            match found {
                Some(found) if self.newest.settle(slot.hash, found.timestamp) => {
                    newer.push((slot.hash, found.timestamp));
                    self.release(index);
                }
                _ => {
                    slot.stage = Stage::Ready;
                    self.ready.push_back(index);
                }
            }
        }
    }

    /// The write was answered. Appends each metric written with its timestamp; where a newer mark
    /// came meanwhile, that one is written next.
    pub fn stored(&mut self, id: u64, saved: &mut Vec<(NameHash, u32)>) {
        let slots = self.end(id).unwrap_or_default();
        for some in slots.chunks(TOUCHED_AHEAD) {
            self.touch(some.iter().map(|&slot| self.slots[slot].hash));
            for &index in some {
                let slot = &mut self.slots[index];
                let timestamp = slot.mark.timestamp;
                saved.push((slot.hash, timestamp));
                if self.newest.settle(slot.hash, timestamp) {
                    self.release(index);
                } else {
                    slot.stage = Stage::Ready;
                    self.ready.push_back(index);
                }
            }
        }
    }

    /// The write or look-up was refused: its marks wait again, merged with what came meanwhile.
    pub fn refused(&mut self, id: u64) {
        for index in self.end(id).unwrap_or_default() {
            self.wait_again(index);
        }
    }

    /// The connection is gone: so for everything under way, done or not.
    pub fn lost(&mut self) {
        while let Some(batch) = self.under_way.pop_front() {
            batch
                .slots
                .into_iter()
                .for_each(|index| self.wait_again(index));
        }
    }

    /// The slots of a batch under way; `None` when it was lost before its answer came.
    fn end(&mut self, id: u64) -> Option<Vec<u32>> {
        let at = self.under_way.iter().position(|batch| batch.id == id)?;
        self.under_way.remove(at).map(|batch| batch.slots)
    }

    fn wait_again(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        let (stage, queue) = match slot.stage {
            Stage::Unchecked | Stage::Looking => (Stage::Unchecked, &mut self.unchecked),
            Stage::Ready | Stage::Writing => (Stage::Ready, &mut self.ready),
        };
        slot.stage = stage;
        queue.push_back(index);
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index];
        slot.name.clear();
        slot.name.shrink_to(FREE_NAME_BYTES_MAX);
        self.free.push(index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::HashMap;

    use super::*;

    fn mark(timestamp: u32) -> Mark {
        Mark {
            timestamp,
            value: Some(f64::from(timestamp)),
        }
    }

    fn push(
        writer: &mut Writer,
        name: &str,
        hash: NameHash,
        timestamp: u32,
        unchecked: bool,
    ) -> Pushed {
        writer.push(name, hash, mark(timestamp), unchecked)
    }

    fn written(writer: &mut Writer) -> (u64, Vec<(String, u32)>) {
        let batch = writer.take_batch(10).expect("marks are ready");
        let marks = batch
            .marks()
            .map(|(name, mark)| (name.to_owned(), mark.timestamp));
        (batch.id, marks.collect())
    }

    #[test]
    fn a_metric_waits_once_with_its_newest_mark_and_is_in_one_command_at_a_time() {
        let mut writer = Writer::new(10);
        for timestamp in [5, 7, 6] {
            push(&mut writer, "a", 1, timestamp, false);
        }
        let (id, marks) = written(&mut writer);
        assert_eq!(marks, [("a".to_owned(), 7)]);
        push(&mut writer, "a", 1, 8, false);
        assert!(writer.take_batch(10).is_none());
        let mut saved = Vec::new();
        writer.stored(id, &mut saved);
        assert_eq!(saved, [(1, 7)]);
        assert_eq!(written(&mut writer).1, [("a".to_owned(), 8)]);
    }

    #[test]
    fn what_was_not_checked_is_looked_up_first_and_dropped_when_the_store_is_as_new() {
        let mut writer = Writer::new(10);
        for (name, hash) in [("a", 1), ("b", 2), ("c", 3)] {
            push(&mut writer, name, hash, 5, true);
        }
        assert!(writer.take_batch(10).is_none());
        let names = writer.take_unchecked(10).expect("three names");
        assert_eq!(names.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        let id = names.id;
        let mut newer = Vec::new();
        writer.checked(id, &[Some(mark(4)), Some(mark(5)), None], &mut newer);
        assert_eq!(newer, [(2, 5)]);
        let expected = [("a".to_owned(), 5), ("c".to_owned(), 5)];
        assert_eq!(written(&mut writer).1, expected);
    }

    #[test]
    fn a_full_writer_turns_new_metrics_away_and_still_merges() {
        let mut writer = Writer::new(1);
        assert_eq!(push(&mut writer, "a", 1, 5, false), Pushed::Waiting);
        assert_eq!(push(&mut writer, "b", 2, 5, false), Pushed::Full);
        assert_eq!(push(&mut writer, "a", 1, 6, false), Pushed::Waiting);
        assert_eq!((writer.waiting(), writer.refused_marks()), (1, 1));
        let (id, marks) = written(&mut writer);
        assert_eq!(marks, [("a".to_owned(), 6)]);
        writer.stored(id, &mut Vec::new());
        let long = "b".repeat(4096);
        assert_eq!(push(&mut writer, &long, 2, 5, false), Pushed::Waiting);
        let (id, marks) = written(&mut writer);
        assert_eq!(marks, [(long, 5)]);
        writer.stored(id, &mut Vec::new());
        assert!(writer.slots[0].name.capacity() <= FREE_NAME_BYTES_MAX);
        assert_eq!((writer.waiting(), writer.slots.len()), (0, 1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u128, u32),
        Write(usize),
        Look(usize),
        /// The server carries out its oldest command and answers.
        Answer,
        Refuse,
        /// The server carries out this many more commands, then the connection is lost.
        Lose(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u128..6, 1u32..40).prop_map(|(name, timestamp)| Step::Push(name, timestamp)),
            2 => (1usize..4).prop_map(Step::Write),
            2 => (1usize..4).prop_map(Step::Look),
            3 => Just(Step::Answer),
            1 => Just(Step::Refuse),
            1 => (0usize..3).prop_map(Step::Lose),
        ]
    }

    enum Sent {
        Write(u64, Vec<(String, Mark)>),
        Look(u64, Vec<String>),
    }

    /// A store behind one connection, and a table that knows what was reported to it.
    struct World {
        writer: Writer,
        sent: VecDeque<Sent>,
        stored: HashMap<String, u32>,
        known: HashMap<NameHash, u32>,
        newest: HashMap<String, u32>,
    }

    const MARKS_MAX: usize = 4;

    impl World {
        fn run(&mut self, step: Step) {
            match step {
                Step::Push(hash, timestamp) => {
                    let known = self.known.get(&hash);
                    if known.is_some_and(|&known| timestamp <= known) {
                        return; // the table calls it a duplicate
                    }
                    let name = format!("m{hash}");
                    let unchecked = known.is_none();
                    let pushed = push(&mut self.writer, &name, hash, timestamp, unchecked);
                    if pushed == Pushed::Waiting {
                        let newest = self.newest.entry(name).or_default();
                        *newest = timestamp.max(*newest);
                    }
                }
                Step::Write(max) => {
                    if let Some(batch) = self.writer.take_batch(max) {
                        let marks = batch.marks().map(|(name, mark)| (name.to_owned(), mark));
                        self.sent.push_back(Sent::Write(batch.id, marks.collect()));
                    }
                }
                Step::Look(max) => {
                    if let Some(batch) = self.writer.take_unchecked(max) {
                        let names = batch.names().map(str::to_owned).collect();
                        self.sent.push_back(Sent::Look(batch.id, names));
                    }
                }
                Step::Answer => self.answer(),
                Step::Refuse => match self.sent.pop_front() {
                    Some(Sent::Write(id, _) | Sent::Look(id, _)) => self.writer.refused(id),
                    None => {}
                },
                Step::Lose(carried_out) => {
                    for sent in self.sent.drain(..).take(carried_out) {
                        if let Sent::Write(_, marks) = sent {
                            store(&mut self.stored, marks);
                        }
                    }
                    self.sent.clear();
                    self.writer.lost();
                }
            }
            assert!(self.writer.waiting() <= MARKS_MAX);
        }

        fn answer(&mut self) {
            let mut reports = Vec::new();
            match self.sent.pop_front() {
                Some(Sent::Write(id, marks)) => {
                    store(&mut self.stored, marks);
                    self.writer.stored(id, &mut reports);
                }
                Some(Sent::Look(id, names)) => {
                    let stored = |name| self.stored.get(name).map(|&timestamp| mark(timestamp));
                    let found: Vec<_> = names.iter().map(stored).collect();
                    self.writer.checked(id, &found, &mut reports);
                }
                None => {}
            }
            for (hash, timestamp) in reports {
                assert!(self.stored[&format!("m{hash}")] >= timestamp);
                let known = self.known.entry(hash).or_default();
                *known = timestamp.max(*known);
            }
        }
    }

    fn store(stored: &mut HashMap<String, u32>, marks: Vec<(String, Mark)>) {
        for (name, mark) in marks {
            let before = stored.insert(name, mark.timestamp);
            assert!(
                before.is_none_or(|before| before <= mark.timestamp),
                "moved back"
            );
        }
    }

    proptest! {
        #[test]
        fn no_interleaving_moves_a_mark_back_and_in_the_end_the_newest_are_stored(
            before in proptest::collection::hash_map(0u128..6, 1u32..40, 0..6),
            steps in proptest::collection::vec(step(), 0..80),
        ) {
            let stored: HashMap<_, _> =
                before.into_iter().map(|(hash, timestamp)| (format!("m{hash}"), timestamp)).collect();
            let mut world = World {
                writer: Writer::new(MARKS_MAX),
                sent: VecDeque::new(),
                newest: stored.clone(),
                stored,
                known: HashMap::new(),
            };
            steps.into_iter().for_each(|step| world.run(step));
            for _ in 0..20 {
                for step in [Step::Look(9), Step::Write(9), Step::Answer] {
                    world.run(step);
                }
            }
            while !world.sent.is_empty() {
                world.answer();
            }
            prop_assert_eq!(world.writer.waiting(), 0);
            prop_assert_eq!(world.stored, world.newest);
        }
    }
}
