//! One seed: several lives of the program, then calm, and the reckoning.

use super::carbon::Mode;
use super::process::{Phase, Process, Recipe, cut_off, survived};
use super::shard::Shard;
use super::trace::Trace;
use super::world::{Killed, World};
use skyline_flux::journal::Durability;
use skyline_flux::pipeline::Left;

/// Steps of a life, at the most.
const STEPS: u64 = 4000;
/// Invariant 9: after the faults, everything has arrived and all is quiet within this many steps.
const CALM_STEPS: u64 = 400_000;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    PowerLost,
    /// Everything was kept, and the last store knows everything that was delivered.
    Clean,
    /// Its deadline passed first.
    Late,
}

pub fn seed(seed: u64, show: bool) -> Trace {
    let mut world = World::new(seed, show);
    world.ledger.watched = super::number("FLUX_SIMULATOR_POINT").map(|number| number as usize);
    let lives = world.dice.between(1, 6);
    let mut end = End::Clean;
    for _ in 0..lives {
        end = life(&mut world, end);
        between(&mut world);
    }
    world.calm();
    aftermath(&mut world, end);
    world.ledger.check();
    let World { trace, .. } = world;
    trace
}

fn begin(world: &mut World, before: End) -> Recipe {
    world.effects_left = u64::MAX;
    let recipe = Recipe::throw(world);
    let forgot = std::mem::take(&mut world.store.forgot) | std::mem::take(&mut world.disk.damaged);
    let joined = before == End::Clean && !forgot;
    world
        .ledger
        .run_begins(recipe.outbound.redo_window_ms, joined);
    world.pace = world.dice.pick(&[1, 1, 10, 100]);
    if world.plan.carbon_fails && world.dice.one_in(3) {
        // Long enough for a backlog that the next life has not delivered before it ends.
        world.note("carbon is not well", [0, 0]);
        world.carbon.die();
        let bytes = world.dice.between(1, 3000);
        world.carbon.mode = world
            .dice
            .pick(&[Mode::Down, Mode::Stalled, Mode::Resets(bytes)]);
    }
    recipe
}

fn life(world: &mut World, before: End) -> End {
    let recipe = begin(world, before);
    world.effects_left = match world.dice.below(4) {
        0 => world.dice.below(100),
        1 | 2 => world.dice.below(3000),
        _ => u64::MAX,
    };
    let mut process = match Process::start(recipe, world) {
        Ok(process) => process,
        Err(Killed) => return killed(None, world),
    };
    let steps = world.dice.between(10, STEPS);
    let traffic = world.dice.pick(&[5, 30, 200]);
    for _ in 0..steps {
        world.weather();
        world.pass();
        world.carbon_step();
        visit(&mut process, traffic, world);
        if !survived(process.step(world)) {
            return killed(Some(process), world);
        }
        if world.dice.one_in(16) {
            process.check(world);
        }
    }
    // A kill at a time that no effect names.
    if world.dice.one_in(3) {
        return killed(Some(process), world);
    }
    stop(process, world)
}

/// Clients come, send and go.
fn visit(process: &mut Process, traffic: u64, world: &mut World) {
    if !world.dice.one_in(traffic) {
        return;
    }
    let open = world.clients.iter().flatten().count();
    if open < 6 {
        let at = world.dice.index(process.shards.len());
        process.shards[at].accept(world);
    }
    let clients: Vec<usize> = (0..world.clients.len())
        .filter(|at| world.clients[*at].as_ref().is_some_and(|c| !c.gone))
        .collect();
    if clients.is_empty() {
        return;
    }
    let client = world.dice.pick(&clients);
    let unanswered = world.clients[client].as_ref().map_or(0, |c| c.unanswered());
    if world.dice.one_in(40) {
        world.note("a client hangs up", [client as u64, unanswered as u64]);
        world.clients[client].iter_mut().for_each(|c| c.gone = true);
    } else if unanswered < 6 {
        let pipelined = world.dice.pick(&[1, 1, 1, 3]);
        (0..pipelined).for_each(|_| world.send(client));
    }
}

fn killed(process: Option<Process>, world: &mut World) -> End {
    let power = world.plan.power && world.dice.one_in(2);
    let what = if power { "power lost" } else { "killed" };
    world.note(what, [0, 0]);
    world.effects_left = u64::MAX;
    let mut durability = Durability::Fsync;
    if let Some(process) = process {
        durability = process.recipe.durability;
        note_inexactness(&process, world);
        process.end(power, world);
    } else if power {
        world.disk.power_lost(&mut world.dice);
    }
    cut_off(world);
    world.ledger.killed(power, durability);
    if power { End::PowerLost } else { End::Killed }
}

fn stop(mut process: Process, world: &mut World) -> End {
    process.stop(world);
    let impatient = world.dice.one_in(6);
    while process.phase < Phase::Stopped {
        world.weather();
        world.pass();
        if world.dice.one_in(4) {
            world.now_us += 1000;
        }
        world.carbon_step();
        if !survived(process.step(world)) {
            return killed(Some(process), world);
        }
        process.drain(impatient && world.dice.one_in(300), world);
        if world.dice.one_in(16) {
            process.check(world);
        }
    }
    note_inexactness(&process, world);
    stopped(process, world)
}

/// What a stop says that it leaves behind is what it leaves behind.
fn stopped(mut process: Process, world: &mut World) -> End {
    let left = process.left();
    let durability = process.recipe.durability;
    world.note("stopped", [left.journalled, left.lost]);
    let knows = |shard: &Shard| {
        shard.pipeline.writer.waiting() == 0 && shard.pipeline.writer.refused_marks() == 0
    };
    let marks = process.shards.iter().all(knows);
    let whole = process.shards.iter().all(|shard| shard.keeper.has_left());
    let undelivered: Vec<usize> = process
        .shards
        .iter_mut()
        .flat_map(Shard::undelivered)
        .collect();
    process.end(false, world);
    let found = world.disk.points(false);
    let missing = undelivered.iter().filter(|number| !found.contains(number));
    let missing = missing.count() as u64;
    assert!(
        missing <= left.lost,
        "{missing} points are lost, not {}",
        left.lost
    );
    if !whole {
        world.note("stopped too late", [left.lost, missing]);
        if durability == Durability::Memory {
            world.ledger.killed(false, durability);
        }
        return End::Late;
    }
    // What was decided after its shard had kept everything was promised to nobody: its client had gone.
    world.ledger.kept(&world.disk.points(true));
    check_kept(world);
    if marks { End::Clean } else { End::Late }
}

/// What is owed and not with carbon is in the files.
fn check_kept(world: &World) {
    if !world.carbon.is_quiet() {
        return;
    }
    let owed = world.ledger.owed(&world.disk.points(false));
    let owed: Vec<_> = owed.iter().map(|n| world.ledger.rivals(*n)).collect();
    assert!(owed.is_empty(), "neither delivered nor kept: {owed:#?}");
}

fn note_inexactness(process: &Process, world: &mut World) {
    let sum = process.sum();
    let run = world.ledger.runs.last_mut().expect("it has begun");
    run.inexact |= sum.evicted_unsaved > 0;
    run.inexact |= sum.evicted > 0 && (sum.silences > 0 || world.store.forgot);
    run.joined &= sum.silences == 0;
    for (what, count) in [
        ("evicted", sum.evicted),
        ("evicted before it was saved", sum.evicted_unsaved),
        ("unchecked", sum.unchecked),
        ("the store was silent", sum.silences),
        ("unconfirmed", sum.unconfirmed),
        ("frames repeated", sum.repeated),
        ("duplicates", sum.duplicate),
    ] {
        if count > 0 {
            world.note(what, [count, 0]);
        }
    }
}

/// While nobody runs.
fn between(world: &mut World) {
    for _ in 0..world.dice.below(30) {
        world.now_us += world.dice.below(100_000);
        world.weather();
        world.carbon_step();
    }
    if world.plan.bits_flip && world.dice.one_in(2) {
        world.note("a bit flips", [0, 0]);
        world.disk.flip_a_bit(&mut world.dice, &mut world.ledger);
    }
    if world.dice.one_in(8) {
        world.note("a cursor is lost", [0, 0]);
        world.disk.lose_cursor(&mut world.dice);
    }
}

/// The last life: nothing fails, and everything that is owed arrives.
fn aftermath(world: &mut World, before: End) {
    let recipe = begin(world, before);
    let mut process = Process::start(recipe, world).unwrap_or_else(|Killed| unreachable!());
    let busy = world.dice.below(4000);
    for step in 0.. {
        world.pass();
        world.carbon_step();
        if step < busy {
            visit(&mut process, 30, world);
        } else if world.dice.one_in(10) {
            world.now_us += 3000;
        }
        assert!(survived(process.step(world)), "nobody kills it");
        if step >= busy && step % 64 == 0 {
            process.check(world);
            let unrest = process.unrest(world);
            if unrest.is_empty() {
                break;
            }
            assert!(step < CALM_STEPS, "it does not come to rest: {unrest:?}");
        }
    }
    process.check_at_rest();
    process.stop(world);
    while process.phase < Phase::Stopped {
        world.now_us += 200;
        world.pass();
        world.carbon_step();
        assert!(survived(process.step(world)), "nobody kills it");
        process.drain(false, world);
    }
    // What is kept for a redo may stay in the files: it is delivered, and repeated by the next start.
    assert_eq!(process.left(), Left::default());
    note_inexactness(&process, world);
    process.end(false, world);
    while !world.carbon.is_quiet() {
        world.carbon_step();
    }
}
