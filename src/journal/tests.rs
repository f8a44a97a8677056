//! A model: a disk that can lose what was not synced, a carbon that takes points in order, crashes at any
//! step, replay that crashes too. What was acknowledged is delivered, nothing is invented, and nothing
//! stays behind.

use super::commit::Limits;
use super::cursor::{Cursor, FILE_BYTES, Slots};
use super::recovery::{Ended, Plan, Replay, Turn};
use super::segment::{HEADER_BYTES, SEGMENT_BYTES_MIN, next_run};
use super::*;
use crate::point::Point;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What the kernel of a lost machine may have written of each unsynced change: all or nothing of these.
const SECTOR: usize = 512;
const NAMES: usize = 5;
const STEPS: u64 = 250;

/// Small and seeded: a failing case is its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Default)]
struct File {
    cached: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Default)]
struct Disk {
    segments: BTreeMap<SegmentId, File>,
    cursors: BTreeMap<(u64, u16), Vec<u8>>,
}

impl Disk {
    fn create(&mut self, id: SegmentId) {
        let mut bytes = vec![0; SEGMENT_BYTES_MIN as usize];
        bytes[..HEADER_BYTES].copy_from_slice(&id.header());
        let file = File {
            cached: bytes.clone(),
            synced: bytes,
        };
        assert!(
            self.segments.insert(id, file).is_none(),
            "a name is used once"
        );
    }

    fn write(&mut self, write: &Write, bytes: usize) {
        let file = self
            .segments
            .get_mut(&write.segment)
            .expect("it was created");
        let at = write.offset as usize;
        let place = &mut file.cached[at..at + write.bytes.len()];
        assert!(
            place.iter().all(|byte| *byte == 0),
            "nothing is overwritten"
        );
        place[..bytes].copy_from_slice(&write.bytes[..bytes]);
    }

    fn sync(&mut self, id: SegmentId) {
        let file = self.segments.get_mut(&id).expect("it was created");
        file.synced.clone_from(&file.cached);
    }

    fn power_lost(&mut self, dice: &mut Dice) {
        for file in self.segments.values_mut() {
            let sectors = file
                .cached
                .chunks_mut(SECTOR)
                .zip(file.synced.chunks_mut(SECTOR));
            for (cached, synced) in sectors {
                if cached != synced {
                    let kept = if dice.one_in(2) { &*cached } else { &*synced };
                    let kept = kept.to_vec();
                    cached.copy_from_slice(&kept);
                    synced.copy_from_slice(&kept);
                }
            }
        }
    }

    fn save(&mut self, cursor: Cursor, slots: &mut Slots, dice: &mut Dice) {
        let Some((at, bytes)) = slots.next(cursor) else {
            return;
        };
        let key = (cursor.run, cursor.shard);
        let file = self
            .cursors
            .entry(key)
            .or_insert_with(|| vec![0; FILE_BYTES]);
        let len = if dice.one_in(5) {
            dice.below(40) as usize
        } else {
            bytes.len()
        };
        file[at as usize..][..len].copy_from_slice(&bytes[..len]);
    }
}

/// A point's number is its value; its metric and its size follow from it.
fn name(number: u64) -> String {
    let metric = number % NAMES as u64;
    format!("m{metric}.{}", "x".repeat(20 + 300 * metric as usize))
}

/// What outlives the program, and the test's ledgers.
struct World {
    dice: Dice,
    durability: Durability,
    power: bool,
    disk: Disk,
    attempted: u64,
    acknowledged: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
}

impl World {
    fn deliver(&mut self, number: u64) {
        self.delivered.insert(number);
    }

    fn plan(&self) -> Plan {
        let cursors = self
            .disk
            .cursors
            .iter()
            .map(|(&(run, shard), file)| (run, shard, Cursor::read(file, run, shard)));
        Plan::new(self.disk.segments.keys().copied(), cursors)
    }

    /// One run of the program: recovers as far as it gets, works for a while, ends one way or another.
    fn run(&mut self) {
        let found = self.disk.segments.keys().map(|id| id.run);
        let run = next_run(5, found.chain(self.disk.cursors.keys().map(|key| key.0)));
        let patience = 1 + self.dice.below(400);
        if self.replay(patience) {
            self.work(run);
        }
    }

    /// False: crashed in between.
    fn replay(&mut self, patience: u64) -> bool {
        let plan = self.plan();
        for id in plan.delivered {
            self.disk.segments.remove(&id);
        }
        for key in plan.stale {
            self.disk.cursors.remove(&key);
        }
        let mut patience = patience;
        for stream in plan.runs.into_iter().flatten() {
            let key = (stream.run, stream.shard);
            let mut replay = Replay::new(stream);
            let mut slots = Slots::default();
            // Each owner takes its points in order; two owners at the most.
            let mut owners = [VecDeque::new(), VecDeque::new()];
            let mut stamps: BTreeMap<String, u32> = BTreeMap::new();
            let mut at = 0;
            while !replay.is_over() {
                if patience == 0 {
                    return false;
                }
                patience -= 1;
                match replay.turn() {
                    Turn::Record => {
                        let record = replay.record().expect("it was found");
                        let sequence = record.sequence;
                        let count = 1 + self.dice.below(2) as u32;
                        for found in record.iter() {
                            let number = found.value as u64;
                            assert!(number < self.attempted, "invented");
                            assert_eq!(found, point(number, &name(number)));
                            let last = stamps.insert(found.name.to_owned(), found.timestamp);
                            assert!(last < Some(found.timestamp), "the order of a metric");
                            let owner = &mut owners[found.timestamp as usize % count as usize];
                            owner.push_back((sequence, Some(number)));
                        }
                        owners.iter_mut().take(count as usize).for_each(|owner| {
                            owner.push_back((sequence, None));
                        });
                        replay.handed(count);
                    }
                    Turn::More(id) => {
                        let file = &self.disk.segments[&id].cached;
                        let chunk = 1 + self.dice.below(20_000) as usize;
                        let chunk = &file[at..file.len().min(at + chunk)];
                        at += chunk.len();
                        replay.push(chunk);
                        if chunk.is_empty() {
                            replay.end_of_file();
                            at = 0;
                        }
                    }
                    Turn::Read => {}
                }
                let which = self.dice.below(2) as usize;
                for _ in 0..self.dice.below(100) {
                    match owners[which].pop_front() {
                        Some((record, None)) => replay.owner_done(record),
                        Some((_, Some(number))) => self.deliver(number),
                        None => break,
                    }
                }
                while let Some(ended) = replay.take_ended() {
                    match ended {
                        Ended::Delete(id) | Ended::PutAside(id) => {
                            self.disk.segments.remove(&id);
                        }
                        Ended::Keep(id) => panic!("{id:?} is ours"),
                    }
                }
                if self.dice.one_in(4) {
                    self.disk.save(replay.cursor(), &mut slots, &mut self.dice);
                }
            }
            self.disk.cursors.remove(&key);
        }
        true
    }

    fn work(&mut self, run: u64) {
        let limits = Limits {
            segment_bytes: SEGMENT_BYTES_MIN,
            shard_bytes_max: 40 * SEGMENT_BYTES_MIN,
        };
        let mut journal: Journal<Vec<u64>> = Journal::new(self.durability, run, 0, limits);
        let mut slots = Slots::default();
        // What carbon has not taken, oldest first; and what it has, with the redo window still open.
        let mut queued: VecDeque<u64> = VecDeque::new();
        let mut sent = 0;
        let mut writing: Option<Write> = None;
        for _ in 0..self.dice.below(STEPS) {
            match self.dice.below(10) {
                0..=2 if !journal.segments.is_full() => {
                    let group = self.group(&mut journal, &mut queued);
                    // A crash is what `memory` does not survive: only the backlog is promised.
                    if let Some(group) = journal.wait(group)
                        && self.durability != Durability::Memory
                    {
                        self.acknowledged.extend(group);
                    }
                }
                3 => writing = writing.or_else(|| journal.start()),
                4 => {
                    if let Some(write) = writing.take() {
                        self.finish(&mut journal, write);
                    }
                }
                5 => {
                    sent += self.dice.below(1 + (queued.len() - sent) as u64) as usize;
                    for number in queued.range(..sent).copied().collect::<Vec<_>>() {
                        self.deliver(number);
                    }
                }
                6 => {
                    let released = self.dice.below(1 + sent as u64);
                    queued.drain(..released as usize);
                    sent -= released as usize;
                    journal.released(released);
                }
                7 => match journal.wanted() {
                    Some(_) if self.dice.one_in(10) => journal.segments.not_created(),
                    Some(id) => {
                        self.disk.create(id);
                        journal.segments.created(id);
                    }
                    None => {}
                },
                8 => {
                    if let Some(id) = journal.take_delivered() {
                        assert!(self.disk.segments.remove(&id).is_some());
                        journal.segments.deleted();
                    }
                }
                _ => self.disk.save(journal.cursor(), &mut slots, &mut self.dice),
            }
            let held = journal.segments.held_bytes();
            assert!(held <= limits.shard_bytes_max);
            let ours = self.disk.segments.keys().filter(|id| id.run == run).count() as u64;
            assert!(ours * SEGMENT_BYTES_MIN <= held);
        }
        if !self.dice.one_in(3) {
            return self.crash(writing);
        }
        self.stop(&mut journal, writing, queued);
        self.disk.save(journal.cursor(), &mut slots, &mut self.dice);
    }

    fn group(&mut self, journal: &mut Journal<Vec<u64>>, queued: &mut VecDeque<u64>) -> Vec<u64> {
        // Duplicates only, of anything accepted in this run and not refused since.
        let points = self.dice.below(40);
        if points == 0 {
            return queued.iter().copied().collect();
        }
        (0..points)
            .map(|_| {
                let number = self.attempted;
                self.attempted += 1;
                journal.push(point(number, &name(number)));
                queued.push_back(number);
                number
            })
            .collect()
    }

    fn finish(&mut self, journal: &mut Journal<Vec<u64>>, write: Write) {
        let failed = self.dice.one_in(6);
        // A failed sync may have written everything; a failed write, any part.
        let part = self.dice.below(1 + write.bytes.len() as u64) as usize;
        self.disk
            .write(&write, if failed { part } else { write.bytes.len() });
        if write.sync && !failed {
            self.disk.sync(write.segment);
        }
        let acknowledged = &mut self.acknowledged;
        journal.finished(write, !failed, |group, outcome| {
            if outcome == Outcome::Durable {
                acknowledged.extend(group);
            }
        });
    }

    fn crash(&mut self, writing: Option<Write>) {
        if let Some(write) = writing {
            let part = self.dice.below(1 + write.bytes.len() as u64) as usize;
            self.disk.write(&write, part);
        }
        if self.power {
            self.disk.power_lost(&mut self.dice);
        }
    }

    /// Writes what waits, then delivers half of what is queued; the rest is for the next run.
    fn stop(
        &mut self,
        journal: &mut Journal<Vec<u64>>,
        mut writing: Option<Write>,
        mut queued: VecDeque<u64>,
    ) {
        if self.durability == Durability::Memory {
            journal.keep_backlog();
            for number in &queued {
                journal.push(point(*number, &name(*number)));
            }
            // An orderly stop promises the backlog.
            self.acknowledged.extend(&queued);
        }
        while writing.is_some() || journal.is_due() {
            if let Some(id) = journal.wanted() {
                self.disk.create(id);
                journal.segments.created(id);
            }
            if let Some(write) = writing.take().or_else(|| journal.start()) {
                self.finish(journal, write);
            }
            let room = journal.take_delivered();
            if let Some(id) = room {
                self.disk.segments.remove(&id);
                journal.segments.deleted();
            }
            if journal.segments.is_full() && room.is_none() {
                break;
            }
        }
        let half = queued.len() / 2;
        for number in queued.drain(..half) {
            self.deliver(number);
        }
        journal.released(half as u64);
    }
}

fn point(number: u64, name: &str) -> Point<'_> {
    Point {
        name,
        timestamp: number as u32,
        value: number as f64,
        fill: number.is_multiple_of(7),
    }
}

fn check(seed: u64, durability: Durability, power: bool) {
    let mut world = World {
        dice: Dice(seed),
        durability,
        power,
        disk: Disk::default(),
        attempted: 0,
        acknowledged: BTreeSet::new(),
        delivered: BTreeSet::new(),
    };
    for _ in 0..6 {
        world.run();
    }
    assert!(world.replay(u64::MAX));
    assert!(world.delivered.last() < Some(&world.attempted), "invented");
    let lost: Vec<_> = world.acknowledged.difference(&world.delivered).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(world.disk.segments.is_empty() && world.disk.cursors.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_acknowledged_survives_a_crash(seed in any::<u64>()) {
        check(seed, Durability::Journal, false);
    }

    #[test]
    fn what_is_synced_survives_the_loss_of_power(seed in any::<u64>()) {
        check(seed, Durability::Fsync, true);
    }

    #[test]
    fn a_backlog_survives_an_orderly_stop(seed in any::<u64>()) {
        check(seed, Durability::Memory, false);
    }
}
