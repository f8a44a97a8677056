//! The shard's connection to carbon: what `runtime::link` does, a step at a time.

use super::carbon::State;
use super::ledger::Number;
use super::process::Phase;
use super::shard::{Mesh, Shard};
use super::world::{Step, World};
use skyline_flux::carbon::outbound::Frame;
use skyline_flux::config::Protocol;
use skyline_flux::pipeline::Pipeline;
use std::rc::Rc;

const FAREWELL_US: u64 = 500_000;
const USER_TIMEOUT_US: u64 = 15_000_000;
const CONNECT_TIMEOUT_US: u64 = 3_000_000;
/// The program goes up to 1.5 s; here a frame shall meet its bound of repeats within a life.
const BACKOFF_US: [u64; 2] = [20_000, 200_000];

enum Stage {
    Down { until_us: u64 },
    Up,
    Farewell { until_us: u64 },
    Gone,
}

pub struct Link {
    pub protocol: Protocol,
    stage: Stage,
    pipe: u64,
    frame: Option<(Rc<Frame>, usize)>,
    backoff_us: u64,
    began_us: u64,
    /// When the kernel of carbon last took something, or had nothing to take.
    heard_us: u64,
}

impl Link {
    pub fn new(protocol: Protocol) -> Link {
        Link {
            protocol,
            stage: Stage::Down { until_us: 0 },
            pipe: 0,
            frame: None,
            backoff_us: BACKOFF_US[0],
            began_us: 0,
            heard_us: 0,
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Farewell { .. })
    }

    /// Carbon is there, as far as the shard knows.
    pub fn is_up(&self) -> bool {
        self.is_connected()
    }

    /// Tells the outbound what has been acknowledged.
    pub fn acknowledge(&mut self, pipeline: &mut Pipeline, world: &World) {
        if self.is_connected() {
            let acknowledged = world.carbon.acknowledged(self.pipe);
            pipeline.outbound.acknowledged(acknowledged, world.now_ms());
            if world.carbon.all_acknowledged(self.pipe) {
                self.heard_us = world.now_us;
            }
        }
    }

    /// The process is gone.
    pub fn drop_pipe(&mut self, world: &mut World) {
        if self.is_connected() {
            let now_ms = world.now_ms();
            world.carbon.close(self.pipe, &mut world.ledger, now_ms);
            self.stage = Stage::Gone;
        }
    }

    fn back_off(&mut self, world: &mut World) {
        let us = self.backoff_us;
        self.backoff_us = (us * 2).min(BACKOFF_US[1]);
        let until_us = world.now_us + us / 2 + world.dice.below(us / 2);
        self.stage = Stage::Down { until_us };
    }
}

impl Shard {
    /// Live points that carbon has not taken, when nothing more will happen to them.
    pub fn undelivered(&mut self) -> Vec<Number> {
        let mut numbers = Vec::new();
        while let Some((frame, undelivered)) = self.pipeline.outbound.take_backlog() {
            if undelivered > 0 {
                frame.points(self.link.protocol, |p| numbers.push(p.value as usize - 1));
            }
        }
        numbers
    }

    pub fn link(&mut self, phase: Phase, mesh: &mut Mesh, world: &mut World) -> Step {
        match self.link.stage {
            Stage::Gone => Ok(()),
            Stage::Down { .. } if phase >= Phase::Keeping => {
                self.link.stage = Stage::Gone;
                Ok(())
            }
            Stage::Down { until_us } if world.now_us < until_us => Ok(()),
            Stage::Down { .. } => self.dial(mesh, world),
            Stage::Up => self.converse(phase, mesh, world),
            Stage::Farewell { until_us } => self.part(until_us, mesh, world),
        }
    }

    fn dial(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        world.effect("dial", [self.index as u64, 0])?;
        let Some(pipe) = world.carbon.dial(self.link.protocol) else {
            self.link.back_off(world);
            if world.carbon.mode == super::carbon::Mode::BlackHole {
                let until_us = world.now_us + CONNECT_TIMEOUT_US;
                self.link.stage = Stage::Down { until_us };
            }
            return Ok(());
        };
        world.note("connected", [self.index as u64, pipe]);
        self.link.pipe = pipe;
        self.link.frame = None;
        self.link.stage = Stage::Up;
        self.link.began_us = world.now_us;
        self.link.heard_us = world.now_us;
        self.turn(mesh, world, |p, _| p.outbound.connected())
    }

    fn converse(&mut self, phase: Phase, mesh: &mut Mesh, world: &mut World) -> Step {
        let pipe = self.link.pipe;
        let silent = world.now_us > self.link.heard_us + USER_TIMEOUT_US;
        let lost = world.carbon.state(pipe) != State::Open;
        if silent || lost || phase >= Phase::Keeping {
            return self.lose(phase, mesh, world);
        }
        for _ in 0..world.dice.between(1, 4) {
            if self.link.frame.is_none() && !self.next_frame(mesh, world)? {
                let outbound = &self.pipeline.outbound;
                let parts = phase == Phase::Flushing || outbound.wants_confirmation();
                if parts && outbound.all_written() {
                    world.effect("farewell", [self.index as u64, pipe])?;
                    world.carbon.finish(pipe);
                    let until_us = world.now_us + FAREWELL_US;
                    self.link.stage = Stage::Farewell { until_us };
                }
                return Ok(());
            }
            if !self.write_on(world)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn next_frame(&mut self, mesh: &mut Mesh, world: &mut World) -> Step<bool> {
        let frame = self.turn(mesh, world, |p, now| p.outbound.next_due(now.ms()))?;
        let Some(frame) = frame else {
            return Ok(false);
        };
        let mut points = Vec::new();
        frame.points(self.link.protocol, |p| points.push(p.value as usize - 1));
        points.iter().for_each(|point| world.ledger.written(*point));
        world
            .carbon
            .begin(self.link.pipe, frame.bytes.len(), points);
        self.link.frame = Some((frame, 0));
        Ok(true)
    }

    /// True when the frame is with our kernel as a whole.
    fn write_on(&mut self, world: &mut World) -> Step<bool> {
        let Some((frame, written)) = self.link.frame.take() else {
            return Ok(false);
        };
        let most = frame.bytes.len() - written;
        let part = if world.dice.one_in(4) {
            world.dice.part(most)
        } else {
            most
        };
        world.effect("frame", [self.index as u64, part as u64])?;
        let bytes = &frame.bytes[written..written + part];
        let written = written + world.carbon.write(self.link.pipe, bytes);
        let whole = written == frame.bytes.len();
        self.link.frame = (!whole).then_some((frame, written));
        Ok(whole)
    }

    fn lose(&mut self, phase: Phase, mesh: &mut Mesh, world: &mut World) -> Step {
        world.effect("connection lost", [self.index as u64, self.link.pipe])?;
        let now_ms = world.now_ms();
        world
            .carbon
            .close(self.link.pipe, &mut world.ledger, now_ms);
        self.link.frame = None;
        if world.now_us > self.link.began_us + 1_000_000 {
            self.link.backoff_us = BACKOFF_US[0];
        }
        match phase >= Phase::Keeping {
            true => self.link.stage = Stage::Gone,
            false => self.link.back_off(world),
        }
        self.turn(mesh, world, |p, now| p.carbon_lost(now))
    }

    /// Our side of the stream has ended. Only when carbon ends its own, with everything acknowledged, has it
    /// read all of it: one that is stopped acknowledges as well.
    fn part(&mut self, until_us: u64, mesh: &mut Mesh, world: &mut World) -> Step {
        let pipe = self.link.pipe;
        let state = world.carbon.state(pipe);
        if state == State::Open && world.now_us < until_us {
            return Ok(());
        }
        if state == State::Ended && world.carbon.all_acknowledged(pipe) {
            world.note("carbon has read all", [self.index as u64, pipe]);
            world.carbon.confirm(pipe, &mut world.ledger);
            self.turn(mesh, world, |p, now| p.sink_confirmed(now))?;
        }
        self.lose(Phase::Flushing, mesh, world)
    }
}
