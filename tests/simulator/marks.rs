//! The shard's side of the last store: what `runtime::store` does, a step at a time.

use super::shard::{Mesh, Shard};
use super::store::{Asked, Mode, Reply, Wire};
use super::world::{Step, World};

const MARKS_PER_WRITE_MAX: usize = 5;
const UNANSWERED_MAX: usize = 4;
const RETRY_MS: u64 = 500;

#[derive(Default)]
pub struct Marks {
    wire: Option<Wire>,
    dial_us: u64,
    writes_after_ms: u64,
}

impl Marks {
    /// The process is gone. What the store had taken in is carried out, or not.
    pub fn drop_wire(&mut self, world: &mut World) {
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        for _ in 0..world.dice.part(wire.asked.len()) {
            let now_ms = world.now_ms();
            world.store.step(&mut wire, &world.ledger, now_ms);
        }
    }
}

impl Shard {
    pub fn marks(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        if world.now_us < self.marks.dial_us {
            return Ok(());
        }
        let Some(mut wire) = self.marks.wire.take() else {
            return self.reach(mesh, world);
        };
        let broken = world.plan.store_fails && world.dice.one_in(300);
        if world.store.mode == Mode::Down || broken {
            // Given up with a reset: what was not carried out never will be.
            world.effect("store lost", [self.index as u64, wire.unanswered() as u64])?;
            self.marks.dial_us = world.now_us + world.dice.between(10_000, 1_500_000);
            return self.turn(mesh, world, |p, _| p.store_lost());
        }
        let now_ms = world.now_ms();
        if world.dice.one_in(2) {
            world.store.step(&mut wire, &world.ledger, now_ms);
        }
        if world.dice.one_in(2) {
            while let Some((asked, reply)) = wire.answered.pop_front() {
                self.reply(asked, reply, mesh, world)?;
            }
        }
        self.ask(&mut wire, mesh, world)?;
        self.marks.wire = Some(wire);
        Ok(())
    }

    fn reach(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        world.effect("dial the store", [self.index as u64, 0])?;
        if world.store.mode == Mode::Down {
            self.marks.dial_us = world.now_us + world.dice.between(10_000, 1_500_000);
            return Ok(());
        }
        self.marks.wire = Some(Wire::default());
        self.marks.writes_after_ms = 0;
        match world.store.mode {
            // The greeting is not answered.
            Mode::Stalled => Ok(()),
            _ => self.turn(mesh, world, |p, _| p.store_answers()),
        }
    }

    fn ask(&mut self, wire: &mut Wire, mesh: &mut Mesh, world: &mut World) -> Step {
        while wire.unanswered() < UNANSWERED_MAX {
            let Some((id, names)) = self.turn(mesh, world, |p, _| p.take_lookup())? else {
                break;
            };
            world.effect("look up", [self.index as u64, names.len() as u64])?;
            wire.asked.push_back(Asked::Lookup(id, names));
        }
        if world.now_ms() < self.marks.writes_after_ms {
            return Ok(());
        }
        while wire.unanswered() < UNANSWERED_MAX {
            let writer = &mut self.pipeline.writer;
            let asked = if let Some(names) = writer.take_unchecked(MARKS_PER_WRITE_MAX) {
                Asked::Check(names.id, names.names().map(str::to_owned).collect())
            } else if let Some(writes) = writer.take_batch(MARKS_PER_WRITE_MAX) {
                let marks = writes.marks().map(|(name, mark)| (name.to_owned(), mark));
                Asked::Write(writes.id, marks.collect())
            } else {
                break;
            };
            let what = match asked {
                Asked::Write(..) => "marks",
                Asked::Lookup(..) | Asked::Check(..) => "look up a mark",
            };
            world.effect(what, [self.index as u64, 0])?;
            wire.asked.push_back(asked);
        }
        Ok(())
    }

    fn reply(&mut self, asked: Asked, reply: Reply, mesh: &mut Mesh, world: &mut World) -> Step {
        let refused = matches!(reply, Reply::Refused);
        if refused {
            world.note("the store refused", [self.index as u64, 0]);
            self.marks.writes_after_ms = world.now_ms() + RETRY_MS;
        }
        match (asked, reply) {
            (Asked::Lookup(id, _), Reply::Found(marks)) => {
                let marks = marks.into_iter().map(|mark| mark.map(|m| m.timestamp));
                self.turn(mesh, world, |p, now| p.looked_up(id, marks, now))
            }
            (Asked::Lookup(..), _) => self.turn(mesh, world, |p, now| p.store_silent(now)),
            (Asked::Check(id, _), Reply::Found(marks)) => {
                self.turn(mesh, world, |p, _| p.marks_checked(id, &marks))
            }
            (Asked::Write(id, _), Reply::Stored) => {
                self.turn(mesh, world, |p, _| p.marks_stored(id))
            }
            (Asked::Check(id, _) | Asked::Write(id, _), _) => {
                self.turn(mesh, world, |p, _| p.writer.refused(id))
            }
        }
    }
}
