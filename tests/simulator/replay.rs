//! The populate core's part: what earlier runs have left is handed out again. What `runtime::replay` and
//! `runtime::survey` do, a step at a time.

use super::keeper::save_cursor;
use super::process::Phase;
use super::shard::{Mesh, Parcel};
use super::world::{Step, World};
use skyline_flux::budget::Budgets;
use skyline_flux::dedup::table::Table;
use skyline_flux::journal::SegmentId;
use skyline_flux::journal::cursor::Slots;
use skyline_flux::journal::recovery::{Ended, Plan, Replay, Stream, Turn};
use skyline_flux::journal::segment::next_run;
use skyline_flux::pipeline::{RecordId, Recovered, Report};
use skyline_flux::router::{NameHasher, owner_of};
use std::collections::BTreeMap;

const BUDGET_SHARE: usize = 4;
const PARCEL_BYTES: usize = 4 * 1024;
const HOUSEKEEPING_US: u64 = 250_000;

/// What a start has found.
pub struct Found {
    pub run: u64,
    pub tables: Vec<Table>,
    pub streams: Vec<Stream>,
    pub points: u64,
}

/// Reads through what earlier runs have left.
pub fn survey(world: &mut World, hasher: NameHasher, mut tables: Vec<Table>) -> Step<Found> {
    let cursor_runs: Vec<u64> = world.disk.cursors().map(|(run, ..)| run).collect();
    let runs = world.disk.segments().map(|id| id.run);
    let run = next_run(world.unix_ms(), runs.chain(cursor_runs));
    let plan = Plan::new(world.disk.segments(), world.disk.cursors());
    for id in plan.delivered {
        world.effect("delete before the start", [id.shard.into(), id.sequence])?;
        world.disk.remove(id);
    }
    for (run, shard) in plan.stale {
        world.effect("remove a stale cursor", [run, shard.into()])?;
        world.disk.remove_cursor(run, shard);
    }
    for (_, shard, _) in &plan.ignored {
        world.note("cursor ignored", [(*shard).into(), 0]);
    }
    let streams: Vec<Stream> = plan.runs.into_iter().flatten().collect();
    let mut points = 0;
    for stream in &streams {
        let mut replay = Replay::new(stream.clone());
        let mut file = None;
        loop {
            match replay.turn() {
                Turn::Read => break,
                Turn::More(id) => feed(&mut replay, id, &mut file, 1 << 18, world),
                Turn::Record => {
                    let found = replay.record().into_iter().flat_map(|record| record.iter());
                    for point in found.filter(|point| !point.fill) {
                        let hash = hasher.hash(point.name);
                        let owner = owner_of(hash, tables.len());
                        tables[owner].recovered(hash, point.timestamp);
                    }
                }
            }
        }
        points += replay.recovered_points;
    }
    world.note("found", [streams.len() as u64, points]);
    Ok(Found {
        run,
        tables,
        streams,
        points,
    })
}

fn feed(
    replay: &mut Replay,
    id: SegmentId,
    file: &mut Option<(SegmentId, usize)>,
    bytes: usize,
    world: &World,
) {
    let offset = file.filter(|(open, _)| *open == id).map_or(0, |(_, at)| at);
    let chunk = world.disk.read(id, offset, bytes);
    *file = Some((id, offset + chunk.len()));
    replay.push(&chunk);
    if chunk.is_empty() {
        replay.end_of_file();
    }
}

struct Active {
    replay: Replay,
    slots: Slots,
    settled: bool,
}

pub struct Core {
    budgets: Budgets,
    hasher: NameHasher,
    streams: Vec<Active>,
    /// The stream that is read, its parcels, and where its file is.
    reading: usize,
    parcels: Vec<Recovered>,
    file: Option<(SegmentId, usize)>,
    under_way: Vec<usize>,
    allowance: usize,
    allowance_held: bool,
    handed_out: bool,
    /// Points still to be handed out, and found at the start.
    pub waiting: u64,
    pub found: u64,
    settling: usize,
    keep_at_us: u64,
    kept: bool,
    earlier: BTreeMap<SegmentId, u64>,
}

impl Core {
    /// Takes its part of every budget until it is over.
    pub fn new(found: Found, budgets: Budgets, hasher: NameHasher, segment_bytes: u64) -> Core {
        let owners = budgets.owners();
        let allowance = budgets.limit() / BUDGET_SHARE;
        let handed_out = found.streams.is_empty();
        if !handed_out {
            let all = (0..owners).map(|owner| (owner, allowance));
            budgets.reserve(all).expect("nothing is admitted yet");
        }
        let segments = found.streams.iter().flat_map(|stream| {
            stream.segments.iter().map(|sequence| SegmentId {
                run: stream.run,
                shard: stream.shard,
                sequence: *sequence,
            })
        });
        Core {
            earlier: segments.map(|id| (id, segment_bytes)).collect(),
            budgets,
            hasher,
            streams: found
                .streams
                .into_iter()
                .map(|stream| Active {
                    replay: Replay::new(stream),
                    slots: Slots::default(),
                    settled: false,
                })
                .collect(),
            reading: 0,
            parcels: (0..owners).map(|_| Recovered::default()).collect(),
            file: None,
            under_way: vec![0; owners],
            allowance,
            allowance_held: !handed_out,
            handed_out,
            waiting: found.points,
            found: found.points,
            settling: 0,
            keep_at_us: 0,
            kept: false,
        }
    }

    /// Each shard's share of what earlier runs have left on the disk.
    pub fn earlier_bytes_per_shard(&self) -> u64 {
        let bytes: u64 = self.earlier.values().sum();
        bytes.div_ceil(self.budgets.owners() as u64)
    }

    /// Points that were read and not sent.
    pub fn packed(&self) -> u64 {
        self.parcels
            .iter()
            .map(|p| u64::from(p.block.points()))
            .sum()
    }

    /// What is reserved for it in each budget.
    pub fn allowance_held(&self) -> usize {
        if self.allowance_held {
            self.allowance
        } else {
            0
        }
    }

    /// Its part of a stop is done.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Everything is with carbon, though the last of it may be kept for a redo.
    pub fn is_delivered(&self) -> bool {
        self.handed_out && !self.allowance_held
    }

    fn is_over(&self) -> bool {
        self.handed_out && !self.allowance_held && self.streams.iter().all(|s| s.settled)
    }

    pub fn receive(&mut self, from: usize, mesh: &mut Mesh, world: &World) {
        let core = mesh.members() - 1;
        match mesh.receive(from, core, world.now_us) {
            Some(Parcel::Report(owner, report)) => self.report(owner, &report),
            Some(_) => unreachable!("only reports go to the populate core"),
            None => {}
        }
    }

    fn report(&mut self, owner: usize, report: &Report) {
        self.under_way[owner] -= report.delivered_cost;
        for done in &report.done {
            let stream = &mut self.streams[done.stream as usize];
            stream.replay.owner_done(done.sequence);
        }
    }

    /// The task that hands out.
    pub fn hand_out(&mut self, phase: Phase, mesh: &mut Mesh, world: &mut World) -> Step {
        let room = self.under_way.iter().all(|cost| *cost < self.allowance);
        if self.handed_out || !room || phase >= Phase::Keeping {
            return Ok(());
        }
        match self.streams[self.reading].replay.turn() {
            Turn::Record => self.record(mesh, world),
            Turn::More(id) => {
                self.send_all(mesh, world)?;
                let bytes = world.dice.pick(&[100, 3000, 20_000, 1 << 18]);
                let replay = &mut self.streams[self.reading].replay;
                feed(replay, id, &mut self.file, bytes, world);
                Ok(())
            }
            Turn::Read => {
                self.send_all(mesh, world)?;
                self.reading += 1;
                self.handed_out = self.reading == self.streams.len();
                Ok(())
            }
        }
    }

    fn record(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        let replay = &mut self.streams[self.reading].replay;
        let mut owners = 0;
        let mut points = 0;
        if let Some(record) = replay.record() {
            let id = RecordId {
                stream: self.reading as u32,
                sequence: record.sequence,
            };
            points = record.points;
            for point in record.iter() {
                let hash = self.hasher.hash(point.name);
                let parcel = &mut self.parcels[owner_of(hash, self.budgets.owners())];
                parcel.block.push(hash, point);
                match parcel.records.last_mut() {
                    Some((last, count)) if *last == id => *count += 1,
                    _ => {
                        parcel.records.push((id, 1));
                        owners += 1;
                    }
                }
            }
        }
        replay.handed(owners);
        assert!(
            self.waiting >= u64::from(points),
            "the survey has found less"
        );
        self.waiting -= u64::from(points);
        for owner in 0..self.parcels.len() {
            if self.parcels[owner].block.len_bytes() >= PARCEL_BYTES {
                self.send(owner, mesh, world)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, owner: usize, mesh: &mut Mesh, world: &mut World) -> Step {
        let parcel = std::mem::take(&mut self.parcels[owner]);
        if !parcel.block.is_empty() {
            world.note("recovered", [owner as u64, parcel.block.points().into()]);
            self.under_way[owner] += parcel.cost();
            mesh.send(mesh.members() - 1, owner, Parcel::Recovered(parcel), world)?;
        }
        Ok(())
    }

    fn send_all(&mut self, mesh: &mut Mesh, world: &mut World) -> Step {
        (0..self.parcels.len()).try_for_each(|owner| self.send(owner, mesh, world))
    }

    /// The task that deletes and saves cursors: one thing at a time.
    pub fn keep(&mut self, phase: Phase, world: &mut World) -> Step {
        if self.kept || world.now_us < self.keep_at_us {
            return Ok(());
        }
        if self.settling < self.streams.len() {
            if self.settle(self.settling, world)? {
                self.settling += 1;
            }
            return Ok(());
        }
        self.settling = 0;
        self.keep_at_us = world.now_us + HOUSEKEEPING_US;
        let delivered = self.under_way.iter().all(|cost| *cost == 0);
        if self.allowance_held && self.handed_out && delivered {
            self.allowance_held = false;
            let owners = 0..self.budgets.owners();
            owners.for_each(|owner| self.budgets.release(owner, self.allowance));
        }
        self.kept = phase >= Phase::Keeping || self.is_over();
        Ok(())
    }

    /// True when there is nothing more to do for this stream now.
    fn settle(&mut self, stream: usize, world: &mut World) -> Step<bool> {
        let Active {
            replay,
            slots,
            settled,
        } = &mut self.streams[stream];
        if *settled {
            return Ok(true);
        }
        if let Some(ended) = replay.take_ended() {
            match ended {
                Ended::Delete(id) => {
                    world.effect("replayed, deleted", [id.run, id.sequence])?;
                    world.disk.remove(id);
                    self.earlier.remove(&id);
                }
                Ended::PutAside(id) => {
                    world.effect("replayed, put aside", [id.run, id.sequence])?;
                    world.disk.put_aside(id);
                    self.earlier.remove(&id);
                }
                Ended::Keep(id) => panic!("{id:?} is ours"),
            }
            return Ok(false);
        }
        if replay.is_over() {
            let (run, shard) = replay.name();
            world.effect("replayed, cursor removed", [run, shard.into()])?;
            world.disk.remove_cursor(run, shard);
            *settled = true;
        } else if let Some(slot) = slots.next(replay.cursor()) {
            save_cursor(world, &replay.cursor(), slot)?;
        }
        Ok(true)
    }
}
