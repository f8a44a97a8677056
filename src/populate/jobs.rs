//! The jobs that are accepted and not yet done: which one runs next, what is appended to the jobs file
//! about it, and what of the file is still needed. Pure: the caller writes, and calls after a restart with
//! the bytes it finds.
//!
//! At most one job of a metric runs at a time, the oldest first.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::cause::Cause;
use super::job::Job;
use super::record::{
    self, Accepted, Ended, Entry, FILE_HEADER_BYTES, OtherVersion, RECORD_HEADER_BYTES, Read, Start,
};

/// What all jobs together may take, in memory and after a compaction in the file: `jobs_max` usual ones,
/// and far fewer of the largest.
pub const JOBS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many failures are remembered for the admin listener.
pub const FAILURES_KEPT: usize = 32;
/// Likewise of the last jobs, whatever became of them: enough for a page, and a burst of good ones pushes
/// no failure out.
pub const ENDED_KEPT: usize = 16;
/// A file below this is not worth a compaction.
const COMPACTION_BYTES_MIN: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub jobs_max: usize,
    pub bytes_max: usize,
}

/// A bound is reached: nothing of the job was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many jobs are waiting as may")]
pub struct Full;

/// What became of a posted job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    New(u64),
    /// The same job waits already: it will do. Its answer waits for the same write.
    Waiting(u64),
}

/// What a start found in the file beside its jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Records whose content is lost.
    pub records: u32,
    /// Bytes that belong to no record, a torn one at the end included.
    pub bytes: u64,
}

/// A job that gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub metric: String,
    pub cause: Cause,
    /// Unix seconds.
    pub at: u32,
}

/// One of the last jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    pub metric: String,
    /// Unix seconds.
    pub at: u32,
    /// Points, and URLs that gave nothing.
    pub result: Result<(u64, u16), Cause>,
}

/// Monotonic, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub accepted: u64,
    /// Posted while the same job was waiting.
    pub repeated: u64,
    pub recovered: u64,
    pub done: u64,
    pub failed: [u64; Cause::ALL.len()],
}

#[derive(Debug)]
struct Slot {
    accepted: Accepted,
    running: bool,
    record_bytes: usize,
}

#[derive(Debug)]
pub struct Jobs {
    limits: Limits,
    next_id: u64,
    slots: BTreeMap<u64, Slot>,
    waiting: BTreeSet<u64>,
    by_metric: HashMap<String, Vec<u64>>,
    /// Of all jobs, as records.
    bytes: usize,
    unwritten: Vec<u8>,
    file_bytes: usize,
    /// The file's end is unknown since a write failed: only a snapshot may follow.
    broken: bool,
    failures: VecDeque<Failure>,
    last: VecDeque<Last>,
    pub counts: Counts,
}

impl Jobs {
    pub fn new(limits: Limits) -> Jobs {
        Jobs {
            limits,
            next_id: 1,
            slots: BTreeMap::new(),
            waiting: BTreeSet::new(),
            by_metric: HashMap::new(),
            bytes: 0,
            unwritten: Vec::new(),
            file_bytes: 0,
            broken: false,
            failures: VecDeque::new(),
            last: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// The jobs of an earlier run; those that ran then wait again. Bounds do not apply to them: they were
    /// promised. The caller writes a [`Jobs::snapshot`] before it appends, so that nothing is ever
    /// appended behind a torn record.
    pub fn load(limits: Limits, file: &[u8]) -> Result<(Jobs, Damage), OtherVersion> {
        let mut jobs = Jobs::new(limits);
        let mut damage = Damage::default();
        let mut rest = file;
        if let Some(next_id) = record::read_file_header(file)? {
            jobs.next_id = next_id;
            rest = &file[FILE_HEADER_BYTES..];
        }
        while !rest.is_empty() {
            let taken = match record::read(rest) {
                Read::Record(id, entry, length) => {
                    jobs.replay(id, entry);
                    length
                }
                Read::Damaged(length) => {
                    damage.records += 1;
                    length
                }
                Read::Torn => {
                    damage.bytes += rest.len() as u64;
                    rest.len()
                }
                Read::Nothing(length) => {
                    damage.bytes += length as u64;
                    length
                }
            };
            rest = &rest[taken..];
        }
        jobs.file_bytes = file.len();
        jobs.counts = Counts {
            recovered: jobs.slots.len() as u64,
            ..Counts::default()
        };
        Ok((jobs, damage))
    }

    fn replay(&mut self, id: u64, entry: Entry) {
        self.next_id = self.next_id.max(id.saturating_add(1));
        match entry {
            Entry::Accepted(accepted) if !self.slots.contains_key(&id) => {
                let mut bytes = Vec::new();
                let entry = Entry::Accepted(accepted);
                record::push(&mut bytes, id, &entry);
                let Entry::Accepted(accepted) = entry else {
                    return;
                };
                self.insert(accepted, bytes.len());
            }
            Entry::Accepted(_) => {}
            Entry::Found(mark) => self.set_found(id, mark),
            Entry::Live(from) => self.set_live(id, from),
            Entry::Done(ended) => {
                self.end(id, Some(ended));
            }
            Entry::Failed(_) => {
                self.end(id, None);
            }
        }
    }

    /// Whether one more may come; asked before the owner is asked for its mark. Not while the file cannot
    /// be written: nothing could be promised.
    pub fn has_room(&self) -> bool {
        self.has_room_for(0)
    }

    /// The same, when `asked` others are being asked for at the moment.
    pub fn has_room_for(&self, asked: usize) -> bool {
        !self.broken
            && self.slots.len() + asked < self.limits.jobs_max
            && self.bytes < self.limits.bytes_max
    }

    /// Takes a job in. It may start at once; the answer waits until what [`Jobs::take_unwritten`] gives
    /// next is written.
    pub fn accept(&mut self, job: Job, start: Start, now: u32) -> Result<Posted, Full> {
        if let Some(id) = self.same(&job) {
            self.counts.repeated += 1;
            return Ok(Posted::Waiting(id));
        }
        if !self.has_room() {
            return Err(Full);
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry::Accepted(Accepted {
            id,
            accepted: now,
            start,
            live: None,
            job,
        });
        let record_bytes = self.append(id, &entry);
        if let Entry::Accepted(accepted) = entry {
            self.insert(accepted, record_bytes);
        }
        self.counts.accepted += 1;
        Ok(Posted::New(id))
    }

    /// Waiting, not running: a job that runs may have asked its remote already.
    fn same(&self, job: &Job) -> Option<u64> {
        let mut ids = self.by_metric.get(&job.metric)?.iter().copied();
        ids.find(|id| self.waiting.contains(id) && self.slots[id].accepted.job == *job)
    }

    fn insert(&mut self, accepted: Accepted, record_bytes: usize) {
        let id = accepted.id;
        let metric = accepted.job.metric.clone();
        self.bytes += record_bytes;
        self.waiting.insert(id);
        self.by_metric.entry(metric).or_default().push(id);
        let slot = Slot {
            accepted,
            running: false,
            record_bytes,
        };
        self.slots.insert(id, slot);
    }

    /// The oldest job whose metric has none running; it runs from now on.
    pub fn start(&mut self) -> Option<&Accepted> {
        let free = |id: &&u64| {
            let metric = &self.slots[id].accepted.job.metric;
            !self.by_metric[metric]
                .iter()
                .any(|id| self.slots[id].running)
        };
        let id = *self.waiting.iter().find(free)?;
        self.waiting.remove(&id);
        let slot = self.slots.get_mut(&id)?;
        slot.running = true;
        Some(&slot.accepted)
    }

    /// Graphite has said from where this job's history is missing: it is not asked again after a restart.
    pub fn found(&mut self, id: u64, mark: Option<u32>) {
        self.set_found(id, mark);
        self.append(id, &Entry::Found(mark));
    }

    fn set_found(&mut self, id: u64, mark: Option<u32>) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.accepted.start == Start::Unknown
        {
            slot.accepted.start = Start::Graphite(mark);
        }
    }

    /// The owner has accepted a first live point of a job's metric since the job was accepted.
    pub fn live(&mut self, id: u64, from: u32) {
        let known = self.get(id).and_then(|accepted| accepted.live);
        if known.is_some_and(|known| known <= from) {
            return;
        }
        self.set_live(id, from);
        self.append(id, &Entry::Live(from));
    }

    fn set_live(&mut self, id: u64, from: u32) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let live = &mut slot.accepted.live;
            *live = Some(live.map_or(from, |known| known.min(from)));
        }
    }

    pub fn done(&mut self, id: u64, ended: Ended) {
        if self.end(id, Some(ended)).is_some() {
            self.counts.done += 1;
            self.append(id, &Entry::Done(ended));
        }
    }

    /// For people: a job has ended.
    pub fn remember(&mut self, last: Last) {
        self.last.truncate(ENDED_KEPT - 1);
        self.last.push_front(last);
    }

    /// The newest first.
    pub fn last(&self) -> impl Iterator<Item = &Last> {
        self.last.iter()
    }

    pub fn failed(&mut self, id: u64, cause: Cause, now: u32) {
        let Some(ended) = self.end(id, None) else {
            return;
        };
        self.append(id, &Entry::Failed(cause));
        let index = Cause::ALL.iter().position(|known| *known == cause);
        self.counts.failed[index.unwrap_or(0)] += 1;
        self.failures.truncate(FAILURES_KEPT - 1);
        self.failures.push_front(Failure {
            metric: ended.job.metric,
            cause,
            at: now,
        });
    }

    /// Takes a job out. What a whole one delivered, the metric's waiting jobs need not send again.
    fn end(&mut self, id: u64, ended: Option<Ended>) -> Option<Accepted> {
        let slot = self.slots.remove(&id)?;
        self.waiting.remove(&id);
        self.bytes -= slot.record_bytes;
        let metric = &slot.accepted.job.metric;
        if let Some(ids) = self.by_metric.get_mut(metric) {
            ids.retain(|other| *other != id);
            if let Some(Ended {
                newest: Some(newest),
                skipped: 0,
            }) = ended
            {
                for other in ids.iter() {
                    if let Some(slot) = self.slots.get_mut(other) {
                        slot.accepted.start = raised(slot.accepted.start, newest);
                    }
                }
            }
            if ids.is_empty() {
                self.by_metric.remove(metric);
            }
        }
        Some(slot.accepted)
    }

    /// How long the record is. What a broken file lacks is in the next snapshot.
    fn append(&mut self, id: u64, entry: &Entry) -> usize {
        let before = self.unwritten.len();
        record::push(&mut self.unwritten, id, entry);
        let record_bytes = self.unwritten.len() - before;
        if self.broken {
            self.unwritten.clear();
        }
        record_bytes
    }

    /// What must be appended to the file, right behind what was appended last.
    pub fn take_unwritten(&mut self) -> Option<Vec<u8>> {
        if self.unwritten.is_empty() {
            return None;
        }
        self.file_bytes += self.unwritten.len();
        Some(std::mem::take(&mut self.unwritten))
    }

    /// The last write, of an append or of a snapshot, failed.
    pub fn write_failed(&mut self) {
        self.broken = true;
        self.unwritten.clear();
    }

    /// The file has to be replaced: it cannot be appended to, or most of it is about jobs that are done.
    pub fn wants_snapshot(&self) -> bool {
        let large = self.file_bytes >= COMPACTION_BYTES_MIN;
        self.broken || large && self.file_bytes / 4 > self.bytes
    }

    /// A whole new file, to be put in the place of the old one. It holds what was not written yet too.
    pub fn snapshot(&mut self) -> Vec<u8> {
        let mut file = Vec::with_capacity(FILE_HEADER_BYTES + self.bytes);
        file.extend_from_slice(&record::file_header(self.next_id));
        for (id, slot) in &self.slots {
            record::push(&mut file, *id, &Entry::Accepted(slot.accepted.clone()));
        }
        self.unwritten.clear();
        self.file_bytes = file.len();
        self.broken = false;
        file
    }

    pub fn get(&self, id: u64) -> Option<&Accepted> {
        self.slots.get(&id).map(|slot| &slot.accepted)
    }

    /// All that are accepted and not done, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Accepted> {
        self.slots.values().map(|slot| &slot.accepted)
    }

    pub fn of_metric(&self, metric: &str) -> &[u64] {
        self.by_metric.get(metric).map_or(&[], Vec::as_slice)
    }

    pub fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty() || self.broken
    }

    pub fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub fn running(&self) -> usize {
        self.slots.len() - self.waiting.len()
    }

    /// The newest first.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.failures.iter()
    }

    /// Bytes of the jobs, and of the file with its appended records.
    pub fn held_bytes(&self) -> (usize, usize) {
        (self.bytes, self.file_bytes)
    }
}

/// What a job delivered is a mark like a stored one.
fn raised(start: Start, newest: u32) -> Start {
    match start {
        Start::Stored(mark) => Start::Stored(mark.max(newest)),
        Start::Graphite(Some(mark)) if mark > newest => start,
        Start::Unknown | Start::Graphite(_) => Start::Stored(newest),
    }
}

/// A job alone in its file is admitted.
const _: () = assert!(JOBS_BYTES_MAX > RECORD_HEADER_BYTES + record::PAYLOAD_BYTES_MAX);

#[cfg(test)]
#[path = "tests/jobs.rs"]
mod tests;
