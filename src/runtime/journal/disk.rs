//! A shard's journal on disk: one task that writes, one that keeps the folder.
//!
//! A write without a sync is made on the shard itself: into the page cache, of a file that was allocated
//! whole, it takes microseconds, and it carries everything that the connections ready in the same turn have
//! brought. When one takes long after all (the kernel is short of clean pages), the next ones are made off
//! the shard for a while. Whatever waits for a disk by nature (create, sync, delete) is never made on it.

use super::files::Folder;
use crate::config::Durability;
use crate::journal::cursor::Slots;
use crate::journal::{SegmentId, Write};
use crate::runtime::control::Phase;
use crate::runtime::doorbell::Doorbell;
use crate::runtime::health::Health;
use crate::runtime::shard::Shard;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A write on the shard that takes longer than this is a stall: ten sweeps, and a hundred times the usual.
const STALL_US: u64 = 20_000;
/// How long after a stall writes are made off the shard.
const CAREFUL_MS: u64 = 1000;
/// A segment that could not be created is tried again this often: the disk may have room again.
const RETRY_MS: u64 = 500;
/// After a failed write. Each one gives a segment up.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the cursor is saved when it has moved: a crash repeats what was delivered since.
const CURSOR_EVERY_MS: u64 = 250;

pub struct Disk {
    folder: Folder,
    segment_bytes: u64,
    durable: bool,
    open: RefCell<BTreeMap<u64, Arc<File>>>,
    /// Something is to be written.
    pub written: Doorbell,
    /// Time has passed, or a segment was taken into use.
    pub keeper: Doorbell,
    pub health: Health,
    pub stalls: Cell<u64>,
    careful_until_ms: Cell<u64>,
    /// The keeper has nothing more to do before the service stops.
    kept: Cell<bool>,
}

impl Disk {
    pub fn new(folder: Folder, segment_bytes: u64, durability: Durability) -> Disk {
        Disk {
            folder,
            segment_bytes,
            // The backlog of a stop without a journal is synced (see `Journal::keep_backlog`).
            durable: durability != Durability::Journal,
            open: RefCell::default(),
            written: Doorbell::default(),
            keeper: Doorbell::default(),
            health: Health::new("the journal"),
            stalls: Cell::new(0),
            careful_until_ms: Cell::new(0),
            kept: Cell::new(false),
        }
    }

    /// The file to write to. Those before it are never written again: a segment that waits for its delivery
    /// holds no descriptor.
    fn file(&self, segment: SegmentId) -> Option<Arc<File>> {
        let mut open = self.open.borrow_mut();
        open.retain(|sequence, _| *sequence >= segment.sequence);
        open.get(&segment.sequence).cloned()
    }

    /// Everything that a stop keeps is in its files.
    pub fn is_kept(&self) -> bool {
        self.kept.get()
    }
}

/// Writes until the service has stopped.
pub async fn write(shard: Rc<Shard>) {
    let disk = &shard.disk;
    while shard.control.phase() < Phase::Stopped {
        // Not a turn: that rings our bell as long as something is due, and where there is no segment for it
        // we would answer our own ring for ever, and nobody could make one.
        let next = shard.pipeline.borrow_mut().journal.start();
        let Some(write) = next else {
            disk.written.wait().await;
            continue;
        };
        let file = disk.file(write.segment);
        let began = shard.clock.now();
        let careful = write.sync || began.ms() < disk.careful_until_ms.get();
        let (write, result) = match file {
            Some(file) if careful => {
                let carry_out = move || {
                    let result = put(&file, &write);
                    (write, result)
                };
                glommio::executor().spawn_blocking(carry_out).await
            }
            Some(file) => {
                let result = put(&file, &write);
                (write, result)
            }
            None => (write, Err(io::Error::from(io::ErrorKind::NotFound))),
        };
        let took_us = shard.clock.now().us - began.us;
        if !careful && took_us > STALL_US {
            disk.stalls.set(disk.stalls.get() + 1);
            disk.careful_until_ms.set(began.ms() + CAREFUL_MS);
        }
        let written = result.is_ok();
        match result {
            Ok(()) => disk.health.recovered(),
            Err(error) => disk.health.down(error),
        }
        shard.turn(|pipeline, _| pipeline.journal_written(write, written, took_us));
        if shard.pipeline.borrow().journal.segments.lacks_spare() {
            disk.keeper.ring();
        }
        if !written {
            glommio::timer::sleep(PAUSE).await;
        }
    }
}

fn put(file: &File, write: &Write) -> io::Result<()> {
    file.write_all_at(&write.bytes, write.offset)?;
    if write.sync {
        file.sync_data()?;
    }
    Ok(())
}

/// Creates a segment ahead, deletes delivered ones, saves the cursor, and tells admission whether there is
/// room; until the service has stopped.
pub async fn keep(shard: Rc<Shard>) {
    let mut keeper = Keeper {
        shard: &shard,
        slots: Slots::default(),
        retry_ms: 0,
        cursor_ms: 0,
    };
    if shard.pipeline.borrow().journal.durability() == Durability::Memory {
        shard.disk.health.recovered();
    }
    while shard.control.phase() < Phase::Stopped {
        let now_ms = shard.clock.now().ms();
        keeper.create(now_ms).await;
        keeper.delete().await;
        keeper.admit();
        if shard.control.phase() == Phase::Keeping && shard.turn(|p, _| p.keep_backlog()) {
            keeper.leave().await;
            return;
        }
        if now_ms >= keeper.cursor_ms {
            keeper.cursor_ms = now_ms + CURSOR_EVERY_MS;
            keeper.save().await;
        }
        shard.disk.keeper.wait().await;
    }
}

struct Keeper<'a> {
    shard: &'a Shard,
    slots: Slots,
    retry_ms: u64,
    cursor_ms: u64,
}

impl Keeper<'_> {
    async fn create(&mut self, now_ms: u64) {
        if now_ms < self.retry_ms {
            return;
        }
        let Some(id) = self.shard.turn(|pipeline, _| pipeline.journal.wanted()) else {
            return;
        };
        let disk = &self.shard.disk;
        let (folder, bytes, durable) = (disk.folder.clone(), disk.segment_bytes, disk.durable);
        let made = off(move || folder.create(id, bytes, durable)).await;
        match made {
            Ok(file) => {
                disk.open.borrow_mut().insert(id.sequence, Arc::new(file));
                disk.health.recovered();
                self.shard.turn(|p, _| p.journal.segments.created(id));
                disk.written.ring();
            }
            Err(error) => {
                disk.health.down(error);
                self.shard.turn(|p, _| p.journal.segments.not_created());
                self.retry_ms = now_ms + RETRY_MS;
            }
        }
    }

    async fn delete(&mut self) {
        while let Some(id) = self.shard.turn(|p, _| p.journal.take_delivered()) {
            self.remove(id).await;
            self.shard.turn(|p, _| p.journal.segments.deleted());
        }
    }

    /// Its descriptor is closed off the shard too: that is when the kernel gives its pages back.
    async fn remove(&self, id: SegmentId) {
        let disk = &self.shard.disk;
        let file = disk.open.borrow_mut().remove(&id.sequence);
        let folder = disk.folder.clone();
        let removed = off(move || {
            let removed = folder.remove(id);
            drop(file);
            removed
        });
        if let Err(error) = removed.await {
            // It is found again, and read again, at the next start: repeats.
            disk.health.complains(error);
        }
    }

    fn admit(&self) {
        let earlier = self.shard.control.earlier_bytes_per_shard();
        self.shard.turn(|pipeline, _| pipeline.admit(earlier));
    }

    async fn save(&mut self) {
        let cursor = self.shard.pipeline.borrow().journal.cursor();
        let held = self.shard.pipeline.borrow().journal.segments.held_bytes() > 0;
        let Some((offset, bytes)) = self.slots.next(cursor).filter(|_| held) else {
            return;
        };
        let folder = self.shard.disk.folder.clone();
        if let Err(error) = off(move || folder.write_cursor(&cursor, offset, &bytes)).await {
            self.shard.disk.health.complains(error);
        }
    }

    /// The last act of an orderly stop: a cursor where points are left, an empty folder where none are.
    async fn leave(&mut self) {
        let rest = self.shard.turn(|pipeline, _| pipeline.journal.take_rest());
        for id in &rest {
            self.remove(*id).await;
        }
        match rest.first() {
            None => self.save().await,
            Some(id) => {
                let (folder, run, shard) = (self.shard.disk.folder.clone(), id.run, id.shard);
                if let Err(error) = off(move || folder.remove_cursor(run, shard)).await {
                    self.shard.disk.health.complains(error);
                }
            }
        }
        self.shard.disk.kept.set(true);
    }
}

async fn off<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    glommio::executor().spawn_blocking(work).await
}
