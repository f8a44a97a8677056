//! One life of the program: its shards, its mesh, and how it starts, drains and ends.

use super::KEY;
use super::keeper::{Keeper, Writing};
use super::link::Link;
use super::marks::Marks;
use super::replay::{Core, survey};
use super::shard::{Mesh, Shard};
use super::world::{AGE_SECONDS_MAX, FUTURE_SECONDS_MAX, Killed, Step, World};
use skyline_flux::api::{Api, PointLimits, auth::Keys};
use skyline_flux::budget::Budgets;
use skyline_flux::carbon::outbound::{Limits as OutboundLimits, Outbound};
use skyline_flux::config::{Protocol, budget_bytes_max};
use skyline_flux::dedup::{Owner, lookup::Lookups, table::Table};
use skyline_flux::journal::segment::SEGMENT_BYTES_MIN;
use skyline_flux::journal::{Durability, Journal, commit};
use skyline_flux::last::writer::Writer;
use skyline_flux::pipeline::{Left, Pipeline, Settings, Stages};
use skyline_flux::populate::address::Hosts;
use skyline_flux::router::{Gathered, NameHasher};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    Draining,
    Flushing,
    Keeping,
    Stopped,
}

/// How one life is configured.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub shards: usize,
    pub durability: Durability,
    pub outbound: OutboundLimits,
    pub budget: usize,
    pub shard_bytes_max: u64,
    pub entries_max: usize,
    pub request_deadline_ms: u64,
    pub drain_deadline_ms: u64,
}

impl Recipe {
    pub fn throw(world: &mut World) -> Recipe {
        let dice = &mut world.dice;
        let shards = 1 + dice.index(4);
        let redo_bytes = dice.pick(&[500, 5000, 30_000]);
        let shard_bytes_max = SEGMENT_BYTES_MIN * dice.pick(&[7, 10, 40]);
        let fits = budget_bytes_max(shard_bytes_max, SEGMENT_BYTES_MIN, redo_bytes as u64);
        let budget = dice.pick(&[8000, 40_000, 1 << 20]).min(fits as usize);
        Recipe {
            shards,
            durability: match dice.below(5) {
                0 => Durability::Memory,
                1..=3 => Durability::Journal,
                _ => Durability::Fsync,
            },
            outbound: OutboundLimits {
                protocol: if dice.one_in(4) {
                    Protocol::Line
                } else {
                    Protocol::Pickle
                },
                points_per_frame: dice.pick(&[1, 3, 20]),
                frame_bytes_max: dice.pick(&[400, 4000]),
                flush_interval_ms: dice.pick(&[0, 20, 100]),
                redo_window_ms: dice.pick(&[20, 200, 1000]),
                redo_bytes,
            },
            budget,
            shard_bytes_max,
            entries_max: if dice.one_in(10) { 2 } else { 1000 },
            request_deadline_ms: dice.pick(&[300, 1000, 5000]),
            drain_deadline_ms: dice.pick(&[200, 2000, 20_000]),
        }
    }
}

/// What all shards have counted.
#[derive(Debug, Default)]
pub struct Sum {
    pub received: u64,
    /// Rejected or discarded.
    pub refused: u64,
    pub accepted: u64,
    pub unchecked: u64,
    /// How often a look-up was given up.
    pub silences: u64,
    pub duplicate: u64,
    pub delivered: u64,
    pub unconfirmed: u64,
    pub queued: u64,
    pub repeated: u64,
    pub evicted: u64,
    pub evicted_unsaved: u64,
}

pub struct Process {
    pub recipe: Recipe,
    pub shards: Vec<Shard>,
    pub core: Core,
    pub mesh: Mesh,
    budgets: Budgets,
    pub phase: Phase,
    phase_until_us: u64,
    drain_until_us: u64,
}

impl Process {
    pub fn start(recipe: Recipe, world: &mut World) -> Step<Process> {
        let Recipe { shards, .. } = recipe;
        world.note("start", [shards as u64, recipe.durability as u64]);
        world.note("table of", [recipe.entries_max as u64, 0]);
        world.carbon.unread_max = recipe.outbound.redo_bytes;
        world.carbon.send_max = world.dice.pick(&[300, 5000, 50_000]);
        if recipe.durability == Durability::Fsync {
            // What an earlier run had not synced is taken for durable from here on.
            world.disk.sync_all();
        }
        let hasher = NameHasher::new([9; 16]);
        let tables = (0..shards)
            .map(|_| Table::new(recipe.entries_max))
            .collect();
        let mut found = survey(world, hasher, tables)?;
        let budgets = Budgets::new(shards, recipe.budget);
        let api = Arc::new(Api::new(
            Keys::new(KEY, &BTreeMap::new()),
            PointLimits {
                age_seconds_max: AGE_SECONDS_MAX,
                future_seconds_max: FUTURE_SECONDS_MAX,
                points_per_request_max: 1000,
                whisper_path_bytes: 30,
            },
        ));
        let tables = std::mem::take(&mut found.tables);
        let run = found.run;
        let tables = tables.into_iter().enumerate();
        let made = tables.map(|(index, table)| {
            recipe.shard(
                index,
                table,
                run,
                hasher,
                api.clone(),
                budgets.clone(),
                world,
            )
        });
        Ok(Process {
            shards: made.collect(),
            core: Core::new(found, budgets.clone(), hasher, SEGMENT_BYTES_MIN),
            mesh: Mesh::new(shards + 1),
            budgets,
            recipe,
            phase: Phase::Serving,
            phase_until_us: 0,
            drain_until_us: 0,
        })
    }

    /// One thing happens somewhere.
    pub fn step(&mut self, world: &mut World) -> Step {
        for at in 0..self.shards.len() {
            if world.now_us >= self.shards[at].next_sweep_us {
                self.shards[at].sweep(&mut self.mesh, world)?;
            }
        }
        let at = world.dice.index(self.shards.len());
        let shards = self.shards.len();
        let Process {
            mesh, core, phase, ..
        } = self;
        let earlier = core.earlier_bytes_per_shard();
        let shard = &mut self.shards[at];
        match world.dice.below(12) {
            0 | 1 => {
                let from = world.dice.index(shards + 1);
                shard.receive(from, mesh, world)
            }
            2 | 3 if shard.served.is_empty() => Ok(()),
            2..=4 => {
                let index = world.dice.index(shard.served.len().max(1));
                match shard.served.is_empty() {
                    true => Ok(()),
                    false => shard.serve(index, mesh, world),
                }
            }
            5 | 6 => shard.write(mesh, world),
            7 => shard.keep(*phase, earlier, mesh, world),
            8 => shard.link(*phase, mesh, world),
            9 => shard.marks(mesh, world),
            10 => {
                core.receive(at, mesh, world);
                core.hand_out(*phase, mesh, world)
            }
            _ => core.keep(*phase, world),
        }
    }

    /// SIGTERM.
    pub fn stop(&mut self, world: &mut World) {
        world.note("stop", [0, 0]);
        self.drain_until_us = world.now_us + self.recipe.drain_deadline_ms * 1000;
        self.enter(Phase::Draining, world);
    }

    fn enter(&mut self, phase: Phase, world: &mut World) {
        self.phase = phase;
        let left = self.drain_until_us.saturating_sub(world.now_us);
        let share = if phase == Phase::Keeping { 1 } else { 2 };
        self.phase_until_us = world.now_us + left / share;
        world.note("phase", [phase as u64, left / 1000]);
        for shard in &mut self.shards {
            shard.draining = true;
        }
    }

    /// Carries the drain on. `hurry`: a second signal ends the waiting.
    pub fn drain(&mut self, hurry: bool, world: &mut World) {
        if self.phase == Phase::Flushing {
            self.shards
                .iter_mut()
                .for_each(|s| s.pipeline.outbound.flush());
        }
        let late = hurry || world.now_us >= self.phase_until_us;
        let next = match self.phase {
            Phase::Serving | Phase::Stopped => return,
            Phase::Draining => Phase::Flushing,
            Phase::Flushing => Phase::Keeping,
            Phase::Keeping => Phase::Stopped,
        };
        if late || self.is_done() {
            self.enter(next, world);
        }
    }

    fn is_done(&self) -> bool {
        let phase = self.phase;
        let core = phase != Phase::Keeping || self.core.is_kept();
        core && self.shards.iter().all(|shard| match phase {
            Phase::Serving | Phase::Stopped => false,
            Phase::Draining => shard.connections() == 0,
            Phase::Flushing => {
                let journalled = self.recipe.durability != Durability::Memory;
                let delivered = shard.pipeline.outbound.points_queued() == 0;
                (delivered || (journalled && !shard.link.is_up()))
                    && shard.pipeline.writer.waiting() == 0
            }
            Phase::Keeping => shard.keeper.has_left(),
        })
    }

    pub fn left(&self) -> Left {
        let mut sum = Left::default();
        for left in self.shards.iter().map(|shard| shard.pipeline.left()) {
            sum.journalled += left.journalled;
            sum.lost += left.lost;
        }
        sum
    }

    /// The process is no more; what it had handed to the kernels goes its own way.
    pub fn end(mut self, power_lost: bool, world: &mut World) {
        for shard in &mut self.shards {
            shard.drop_write(world);
            let exact = shard.pipeline.owner().evicted_unsaved == 0;
            shard.marks.drop_wire(exact, world);
            shard.link.drop_pipe(world);
        }
        if power_lost {
            world.carbon.host_lost();
            world.disk.power_lost(&mut world.dice);
        }
        cut_off(world);
    }

    /// The counters of all shards.
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for Shard { pipeline, .. } in &self.shards {
            let points = &pipeline.counters.points;
            sum.received += points.received;
            sum.refused += points.rejected.iter().sum::<u64>();
            sum.refused += points.discarded.iter().sum::<u64>();
            sum.delivered += points.delivered;
            sum.unconfirmed += points.unconfirmed;
            for decided in pipeline.owner().decided() {
                sum.accepted += decided.accepted;
                sum.unchecked += decided.unchecked;
                sum.duplicate += decided.same + decided.older;
            }
            sum.silences += pipeline.owner().lookups.timeouts;
            sum.queued += pipeline.outbound.points_queued();
            sum.repeated += pipeline.outbound.frames_repeated;
            sum.evicted += pipeline.owner().evicted;
            sum.evicted_unsaved += pipeline.owner().evicted_unsaved;
        }
        sum
    }

    /// Invariants 6 and 11, as far as they hold at any moment.
    pub fn check(&self, world: &World) {
        let sum = self.sum();
        let decided = sum.accepted + sum.duplicate + sum.refused;
        assert!(decided <= sum.received, "{sum:?}");
        let under_way = self.core.packed() + self.mesh.recovered_points();
        if self.phase < Phase::Keeping {
            assert_eq!(
                sum.accepted + self.core.found,
                sum.delivered + sum.queued + self.core.waiting + under_way,
                "{sum:?}"
            );
        }
        for shard in &self.shards {
            self.check_bounds(shard, world);
        }
    }

    /// Of one shard: what it holds is bounded by its budget, the redo, and what one record is.
    fn check_bounds(&self, shard: &Shard, world: &World) {
        let owner = shard.index;
        let Recipe {
            budget,
            shard_bytes_max,
            outbound,
            ..
        } = self.recipe;
        assert!(self.budgets.reserved(owner) <= budget);
        let journal = &shard.pipeline.journal;
        assert!(journal.segments.held_bytes() <= shard_bytes_max);
        let run = journal.segments.id(0).run;
        let files = world
            .disk
            .count(|id| id.run == run && usize::from(id.shard) == owner);
        let held = journal.segments.held_bytes() / SEGMENT_BYTES_MIN;
        // The rest goes all at once when a stop needs none of it.
        let counted = files <= held || self.phase >= Phase::Keeping;
        assert!(counted, "{files} files, {held} counted");
        let redo = outbound.redo_bytes + outbound.frame_bytes_max + 2000;
        let pending_max = 2 * budget + redo + SEGMENT_BYTES_MIN as usize;
        let pending = journal.pending_bytes();
        assert!(
            pending <= pending_max || self.phase >= Phase::Keeping,
            "{pending} bytes wait for the journal of {owner}, at the most {pending_max}"
        );
    }

    /// What is still under way; empty when all is quiet.
    pub fn unrest(&self, world: &World) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        let mut note = |under_way: bool, what: &'static str| {
            if under_way {
                reasons.push(what);
            }
        };
        for shard in &self.shards {
            let pipeline = &shard.pipeline;
            note(pipeline.outbound.points_queued() > 0, "points are queued");
            note(pipeline.writer.waiting() > 0, "marks wait");
            note(!pipeline.journal.is_idle(), "a write waits");
            note(pipeline.owner().parked_metrics() > 0, "points are parked");
            note(
                self.budgets.is_closed(shard.index),
                "an owner takes nothing",
            );
        }
        let waits = |client: &super::client::Client| client.unanswered() > 0;
        note(world.clients.iter().flatten().any(waits), "a client waits");
        note(!self.mesh.is_quiet(), "a parcel is under way");
        note(!self.core.is_over(), "a replay is not over");
        reasons
    }

    /// Invariant 11, at rest: each point in one place, and every byte given back.
    pub fn check_at_rest(&self) {
        let sum = self.sum();
        let decided = sum.accepted + sum.duplicate + sum.refused;
        assert_eq!(sum.received, decided, "{sum:?}");
        assert_eq!(sum.accepted + self.core.found, sum.delivered, "{sum:?}");
        for owner in 0..self.shards.len() {
            assert_eq!(self.budgets.reserved(owner), self.core.allowance_held());
        }
    }
}

/// The clients of a process that is no more.
pub fn cut_off(world: &mut World) {
    for client in world.clients.drain(..).flatten() {
        client.cut_off(&mut world.ledger);
    }
}

impl Recipe {
    #[allow(clippy::too_many_arguments)]
    fn shard(
        &self,
        index: usize,
        table: Table,
        run: u64,
        hasher: NameHasher,
        api: Arc<Api>,
        budgets: Budgets,
        world: &World,
    ) -> Shard {
        let settings = Settings {
            shard: index,
            shards: self.shards,
            pipeline_max: 4,
            request_deadline_ms: self.request_deadline_ms,
            hosts: Hosts(Vec::new()),
            tick_ms: super::shard::SWEEP_US / 1000,
        };
        let journal = commit::Limits {
            segment_bytes: SEGMENT_BYTES_MIN,
            shard_bytes_max: self.shard_bytes_max,
        };
        let pipeline = Pipeline::new(
            settings,
            api,
            budgets,
            Stages {
                gathered: Gathered::new(hasher, index, self.shards),
                owner: Owner::new(table, world.plan.check, 0, Lookups::new(50)),
                journal: Journal::new(self.durability, run, index as u16, journal),
                outbound: Outbound::new(self.outbound),
                writer: Writer::new(self.entries_max),
            },
        );
        Shard {
            index,
            pipeline,
            served: Vec::new(),
            writing: Writing::default(),
            keeper: Keeper::new(self.durability),
            link: Link::new(self.outbound.protocol),
            marks: Marks::default(),
            next_sweep_us: world.now_us,
            request_deadline_ms: self.request_deadline_ms,
            draining: false,
        }
    }
}

/// For a match on how a life ended.
pub fn survived(step: Step) -> bool {
    !matches!(step, Err(Killed))
}
