//! A shard's journal on disk: what `runtime::disk` does, a step at a time.

use super::process::Phase;
use super::shard::{Mesh, Shard};
use super::world::{Step, World};
use skyline_flux::journal::cursor::{CURSOR_BYTES, Cursor, Slots};
use skyline_flux::journal::{Durability, SegmentId, Write};

const RETRY_MS: u64 = 500;
const PAUSE_US: u64 = 100_000;
const CURSOR_EVERY_MS: u64 = 250;

/// The task that writes.
#[derive(Default)]
pub struct Writing {
    in_flight: Option<(Write, u64)>,
    pause_until_us: u64,
}

enum Stage {
    Create,
    Creating(SegmentId),
    Delete,
    Deleting(SegmentId),
    Admit,
    Saving(Cursor, (u64, [u8; CURSOR_BYTES])),
    Leave(Vec<SegmentId>, bool),
    Gone,
}

/// The task that keeps the folder.
pub struct Keeper {
    pub durability: Durability,
    stage: Stage,
    slots: Slots,
    busy_until_us: u64,
    retry_ms: u64,
    cursor_ms: u64,
}

impl Keeper {
    pub fn new(durability: Durability) -> Keeper {
        Keeper {
            durability,
            stage: Stage::Create,
            slots: Slots::default(),
            busy_until_us: 0,
            retry_ms: 0,
            cursor_ms: 0,
        }
    }

    /// Everything that a stop keeps is in its files.
    pub fn has_left(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }
}

impl Shard {
    pub fn write(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        if let Some((write, due_us)) = self.writing.in_flight.take() {
            if world.now_us < due_us {
                self.writing.in_flight = Some((write, due_us));
                return Ok(());
            }
            return self.carry_out(write, mesh, world);
        }
        if world.now_us < self.writing.pause_until_us {
            return Ok(());
        }
        let Some(write) = self.turn(mesh, world, |p, _| p.journal.start())? else {
            return Ok(());
        };
        let takes_us = world.disk_takes_us();
        if takes_us > 0 {
            self.writing.in_flight = Some((write, world.now_us + takes_us));
            return Ok(());
        }
        self.carry_out(write, mesh, world)
    }

    fn carry_out(&mut self, write: Write, mesh: &mut Mesh, world: &mut World) -> Step {
        let whole = write.bytes.len();
        let numbers = [self.index as u64, whole as u64];
        if let Err(killed) = world.effect("write", numbers) {
            let part = world.dice.part(whole);
            world.disk.write(&write, part);
            return Err(killed);
        }
        let fails = world.disk.broken == Some(self.index as u16) && !world.dice.one_in(4);
        let part = match fails {
            // A failed sync may have written everything; a failed write, any part.
            true => world.dice.part(whole),
            false => whole,
        };
        world.disk.write(&write, part);
        if write.sync && !fails {
            world.effect("sync", numbers)?;
            world.disk.sync(write.segment);
        }
        if fails {
            world.note("write fails", numbers);
            self.writing.pause_until_us = world.now_us + PAUSE_US;
        }
        self.turn(mesh, world, |p, _| p.journal_written(write, !fails, 1))
    }

    /// The process is gone; what it had asked of the disk may be done all the same.
    pub fn drop_write(&mut self, world: &mut World) {
        if let Some((write, _)) = self.writing.in_flight.take() {
            let part = world.dice.part(write.bytes.len());
            world.disk.write(&write, part);
        }
    }

    pub fn keep(&mut self, phase: Phase, earlier: u64, mesh: &mut Mesh, world: &mut World) -> Step {
        let now_ms = world.now_ms();
        if world.now_us < self.keeper.busy_until_us {
            return Ok(());
        }
        let stage = std::mem::replace(&mut self.keeper.stage, Stage::Create);
        self.keeper.stage = match stage {
            Stage::Create if now_ms < self.keeper.retry_ms => Stage::Delete,
            Stage::Create => match self.turn(mesh, world, |p, _| p.journal.wanted())? {
                Some(id) => {
                    self.keeper.busy_until_us = world.now_us + world.disk_takes_us();
                    Stage::Creating(id)
                }
                None => Stage::Delete,
            },
            Stage::Creating(id) => {
                self.create(id, mesh, world)?;
                Stage::Delete
            }
            Stage::Delete => match self.turn(mesh, world, |p, _| p.journal.take_delivered())? {
                Some(id) => {
                    self.keeper.busy_until_us = world.now_us + world.disk_takes_us();
                    Stage::Deleting(id)
                }
                None => Stage::Admit,
            },
            Stage::Deleting(id) => {
                world.effect("delete", [id.shard.into(), id.sequence])?;
                world.disk.remove(id);
                self.turn(mesh, world, |p, _| p.journal.segments.deleted())?;
                Stage::Delete
            }
            Stage::Admit => {
                self.turn(mesh, world, |p, _| p.admit(earlier))?;
                let leaves =
                    phase >= Phase::Keeping && self.turn(mesh, world, |p, _| p.keep_backlog())?;
                match leaves {
                    true => {
                        Stage::Leave(self.turn(mesh, world, |p, _| p.journal.take_rest())?, false)
                    }
                    false => self.save_now_and_then(now_ms),
                }
            }
            Stage::Saving(cursor, slot) => {
                save_cursor(world, &cursor, slot)?;
                Stage::Create
            }
            Stage::Leave(rest, some) => self.leave(rest, some, world)?,
            Stage::Gone => Stage::Gone,
        };
        Ok(())
    }

    fn create(&mut self, id: SegmentId, mesh: &mut Mesh, world: &mut World) -> Step {
        world.effect("create", [id.shard.into(), id.sequence])?;
        if world.disk.full || world.disk.broken == Some(id.shard) {
            world.note("no segment", [id.shard.into(), 0]);
            self.keeper.retry_ms = world.now_ms() + RETRY_MS;
            return self.turn(mesh, world, |p, _| p.journal.segments.not_created());
        }
        // The backlog of a stop without a journal is synced.
        world
            .disk
            .create(id, self.keeper.durability != Durability::Journal);
        self.turn(mesh, world, |p, _| p.journal.segments.created(id))
    }

    fn save_now_and_then(&mut self, now_ms: u64) -> Stage {
        if now_ms < self.keeper.cursor_ms {
            return Stage::Create;
        }
        self.keeper.cursor_ms = now_ms + CURSOR_EVERY_MS;
        self.next_cursor()
            .map_or(Stage::Create, |(c, slot)| Stage::Saving(c, slot))
    }

    fn next_cursor(&mut self) -> Option<(Cursor, (u64, [u8; CURSOR_BYTES]))> {
        let cursor = self.pipeline.journal.cursor();
        let held = self.pipeline.journal.segments.held_bytes() > 0;
        let slot = self.keeper.slots.next(cursor).filter(|_| held)?;
        Some((cursor, slot))
    }

    /// A cursor where points are left, an empty folder where none are.
    fn leave(&mut self, mut rest: Vec<SegmentId>, some: bool, world: &mut World) -> Step<Stage> {
        if let Some(id) = rest.pop() {
            world.effect("delete the rest", [id.shard.into(), id.sequence])?;
            world.disk.remove(id);
            if rest.is_empty() {
                world.disk.remove_cursor(id.run, id.shard);
            }
            return Ok(Stage::Leave(rest, true));
        }
        if !some && let Some((cursor, slot)) = self.next_cursor() {
            save_cursor(world, &cursor, slot)?;
        }
        Ok(Stage::Gone)
    }
}

/// A killed process may have written a part of it.
pub fn save_cursor(world: &mut World, cursor: &Cursor, slot: (u64, [u8; CURSOR_BYTES])) -> Step {
    let (offset, bytes) = slot;
    let saved = world.effect("cursor", [cursor.segment, cursor.record]);
    let length = if saved.is_ok() {
        bytes.len()
    } else {
        world.dice.part(bytes.len())
    };
    world.disk.write_cursor(cursor, offset, &bytes[..length]);
    saved
}
