//! The journal's folder: pages that the kernel holds, and what has reached the disk of them.

use super::dice::Dice;
use super::ledger::Ledger;
use skyline_flux::journal::cursor::{Cursor, FILE_BYTES, Ignored};
use skyline_flux::journal::reader::{Next, Reader};
use skyline_flux::journal::{SegmentId, Write};
use std::collections::{BTreeMap, BTreeSet};

/// Power is lost between sectors of this size.
const SECTOR: usize = 512;
/// The zeros behind the last record are as long as the segment; a few show the same.
const ZEROS: usize = 100;

#[derive(Clone, Debug)]
struct File {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// Its name survives a loss of power.
    named: bool,
}

#[derive(Default)]
pub struct Disk {
    files: BTreeMap<SegmentId, File>,
    cursors: BTreeMap<(u64, u16), Vec<u8>>,
    /// Removed, which may not have reached the disk.
    removed: BTreeMap<SegmentId, File>,
    pub full: bool,
    /// The owner whose writes fail.
    pub broken: Option<u16>,
    pub put_aside: u64,
    /// Since a run began.
    pub damaged: bool,
}

impl Disk {
    pub fn segments(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.files.keys().copied()
    }

    pub fn cursors(&self) -> impl Iterator<Item = (u64, u16, Result<Cursor, Ignored>)> + '_ {
        let files = self.cursors.iter();
        files.map(|(&(run, shard), file)| (run, shard, Cursor::read(file, run, shard)))
    }

    pub fn create(&mut self, id: SegmentId, durable: bool) {
        let header = id.header().to_vec();
        let file = File {
            synced: if durable { header.clone() } else { Vec::new() },
            cached: header,
            named: durable,
        };
        assert!(self.files.insert(id, file).is_none(), "a name is used once");
    }

    /// Writes so many of its bytes.
    pub fn write(&mut self, write: &Write, bytes: usize) {
        let file = self.files.get_mut(&write.segment).expect("it was created");
        let at = write.offset as usize;
        if file.cached.len() < at + bytes {
            file.cached.resize(at + bytes, 0);
        }
        let place = &mut file.cached[at..at + bytes];
        assert!(
            place.iter().all(|byte| *byte == 0),
            "nothing is overwritten"
        );
        place.copy_from_slice(&write.bytes[..bytes]);
    }

    pub fn sync(&mut self, id: SegmentId) {
        let file = self.files.get_mut(&id).expect("it was created");
        file.synced.clone_from(&file.cached);
        file.named = true;
    }

    pub fn sync_all(&mut self) {
        let all: Vec<_> = self.segments().collect();
        all.into_iter().for_each(|id| self.sync(id));
    }

    pub fn read(&self, id: SegmentId, offset: usize, bytes: usize) -> Vec<u8> {
        let file = &self.files[&id].cached;
        let end = file.len() + ZEROS;
        let mut chunk: Vec<u8> = file.iter().skip(offset).take(bytes).copied().collect();
        chunk.resize(bytes.min(end.saturating_sub(offset)), 0);
        chunk
    }

    pub fn remove(&mut self, id: SegmentId) {
        let file = self.files.remove(&id).expect("it was there");
        self.removed.insert(id, file);
    }

    pub fn put_aside(&mut self, id: SegmentId) {
        self.files.remove(&id).expect("it was there");
        self.put_aside += 1;
    }

    pub fn write_cursor(&mut self, cursor: &Cursor, offset: u64, bytes: &[u8]) {
        let key = (cursor.run, cursor.shard);
        let file = self
            .cursors
            .entry(key)
            .or_insert_with(|| vec![0; FILE_BYTES]);
        file[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    pub fn remove_cursor(&mut self, run: u64, shard: u16) {
        self.cursors.remove(&(run, shard));
    }

    /// Of any cursor, or all of one: it is only a hint.
    pub fn lose_cursor(&mut self, dice: &mut Dice) {
        let keys: Vec<_> = self.cursors.keys().copied().collect();
        if keys.is_empty() {
            return;
        }
        let key = dice.pick(&keys);
        match dice.below(2) {
            0 => {
                self.cursors.remove(&key);
            }
            _ => {
                let file = self.cursors.get_mut(&key).expect("one of them");
                let at = dice.index(file.len());
                file[at] ^= 1 << dice.below(8);
            }
        }
    }

    /// Each sector as it was synced or as it was written, each unsynced name there or not.
    pub fn power_lost(&mut self, dice: &mut Dice) {
        for (id, file) in std::mem::take(&mut self.removed) {
            if dice.one_in(3) {
                self.files.insert(id, file);
            }
        }
        self.files.retain(|_, file| file.named || dice.one_in(2));
        for file in self.files.values_mut() {
            file.synced
                .resize(file.cached.len().max(file.synced.len()), 0);
            file.cached.resize(file.synced.len(), 0);
            let sectors = file
                .cached
                .chunks_mut(SECTOR)
                .zip(file.synced.chunks(SECTOR));
            for (cached, synced) in sectors {
                if cached != synced && dice.one_in(2) {
                    cached.copy_from_slice(synced);
                }
            }
            file.synced.clone_from(&file.cached);
            file.named = true;
        }
    }

    /// A bit of a segment is not what it was: one record at the most is lost, and nothing else changes.
    pub fn flip_a_bit(&mut self, dice: &mut Dice, ledger: &mut Ledger) {
        let ids: Vec<_> = self.segments().collect();
        if ids.is_empty() {
            return;
        }
        let id = dice.pick(&ids);
        let file = self.files.get_mut(&id).expect("one of them");
        let before = records(id, &file.cached);
        let at = dice.index(file.cached.len());
        file.cached[at] ^= 1 << dice.below(8);
        let after = records(id, &file.cached);
        let missing: Vec<_> = before.iter().filter(|r| !after.contains(r)).collect();
        assert!(
            missing.len() <= 1,
            "one flip cost {} records",
            missing.len()
        );
        assert!(
            after.iter().all(|r| before.contains(r)),
            "a flip invented a record"
        );
        for number in missing.into_iter().flat_map(|(_, numbers)| numbers) {
            ledger.damaged(*number);
        }
        self.damaged = true;
    }

    pub fn count(&self, which: impl Fn(&SegmentId) -> bool) -> u64 {
        self.files.keys().filter(|id| which(id)).count() as u64
    }

    /// Every point that a start would find; after a loss of power, if `synced`.
    pub fn points(&self, synced: bool) -> BTreeSet<usize> {
        let files = self.files.iter();
        let found = files.flat_map(|(id, file)| match synced {
            true if !file.named => Vec::new(),
            true => records(*id, &file.synced),
            false => records(*id, &file.cached),
        });
        found.flat_map(|(_, numbers)| numbers).collect()
    }
}

fn records(id: SegmentId, bytes: &[u8]) -> Vec<(u64, Vec<usize>)> {
    let mut reader = Reader::new(id);
    reader.push(bytes);
    reader.end_of_file();
    let mut records = Vec::new();
    while reader.advance() == Next::Record {
        let record = reader.record().expect("it was found");
        let numbers = record
            .iter()
            .map(|point| point.value as usize - 1)
            .collect();
        records.push((record.sequence, numbers));
    }
    records
}
