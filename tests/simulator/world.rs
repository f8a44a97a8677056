//! What outlives the program: time, the disk, carbon, the last store, the clients, and chance.

use super::carbon::{self, Carbon};
use super::client::Client;
use super::dice::Dice;
use super::disk::Disk;
use super::ledger::Ledger;
use super::store::{self, Store};
use super::trace::Trace;
use skyline_flux::pipeline::Now;

/// Where the wall clock begins.
const BEGAN: i64 = 1_478_021_700;
/// Older and newer ones are refused.
pub const AGE_SECONDS_MAX: u32 = 3600;
pub const FUTURE_SECONDS_MAX: u32 = 60;
const HOUR: i64 = 3600;

/// The process was killed here.
#[derive(Debug)]
pub struct Killed;

pub type Step<T = ()> = Result<T, Killed>;

/// What a seed is about.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub batch_max: usize,
    /// Steps between its changes, about.
    pub weather_every: u64,
    pub check: bool,
    /// The power is lost, and not only the process.
    pub power: bool,
    pub carbon_fails: bool,
    pub store_fails: bool,
    pub disk_fails: bool,
    pub clock_jumps: bool,
    /// The machine stands still for a while.
    pub stalls: bool,
    pub bits_flip: bool,
}

pub struct World {
    pub plan: Plan,
    pub dice: Dice,
    pub trace: Trace,
    pub now_us: u64,
    wall_offset: i64,
    /// How much time passes between steps: at ten, what takes long comes to its end within a life.
    pub pace: u64,
    /// Effects until the process is killed.
    pub effects_left: u64,
    pub disk: Disk,
    pub carbon: Carbon,
    pub store: Store,
    pub ledger: Ledger,
    pub clients: Vec<Option<Client>>,
    /// Until when writes and creations take long.
    pub slow_until_us: u64,
}

impl World {
    pub fn new(seed: u64, show: bool) -> World {
        let mut dice = Dice::new(seed);
        let calm = dice.one_in(8);
        let mut fails = || !calm && dice.one_in(2);
        let plan = Plan {
            power: fails(),
            carbon_fails: fails(),
            store_fails: fails(),
            disk_fails: fails(),
            clock_jumps: fails() && fails(),
            stalls: fails(),
            bits_flip: fails() && fails(),
            weather_every: dice.pick(&[50, 150, 1000]),
            batch_max: dice.pick(&[1, 4, 12]),
            check: !dice.one_in(12),
        };
        let mut ledger = Ledger::default();
        let long = dice.one_in(4);
        for metric in 0..dice.between(2, 16) {
            // Long names fill segments quickly.
            let nodes = if long {
                15
            } else {
                dice.pick(&[0, 0, 1, 3, 15])
            };
            let space = if dice.one_in(4) { "vista." } else { "" };
            let node = format!(".{}", "x".repeat(99));
            ledger.metric(format!("{space}m{metric}{}", node.repeat(nodes)));
        }
        World {
            plan,
            dice,
            trace: Trace::new(seed, show),
            now_us: 0,
            wall_offset: 0,
            pace: 1,
            effects_left: u64::MAX,
            disk: Disk::default(),
            carbon: Carbon::new(),
            store: Store::new(),
            ledger,
            clients: Vec::new(),
            slow_until_us: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now {
            unix_seconds: self.unix_seconds(),
            us: self.now_us,
        }
    }

    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    pub fn unix_ms(&self) -> u64 {
        ((BEGAN + self.wall_offset) * 1000) as u64 + self.now_ms()
    }

    pub fn unix_seconds(&self) -> u32 {
        (self.unix_ms() / 1000) as u32
    }

    pub fn is_in_window(&self, timestamp: u32) -> bool {
        let now = self.unix_seconds();
        (now - AGE_SECONDS_MAX..=now + FUTURE_SECONDS_MAX).contains(&timestamp)
    }

    pub fn is_checked(&self, name: &str) -> bool {
        self.plan.check || name.starts_with("vista.")
    }

    pub fn note(&mut self, what: &'static str, numbers: [u64; 2]) {
        self.trace.note(self.now_us, what, numbers);
    }

    /// Something that others can see: the process may be killed just before it.
    pub fn effect(&mut self, what: &'static str, numbers: [u64; 2]) -> Step {
        if self.effects_left == 0 {
            return Err(Killed);
        }
        self.effects_left -= 1;
        self.note(what, numbers);
        Ok(())
    }

    /// Time passes: mostly a little.
    pub fn pass(&mut self) {
        self.now_us += match self.dice.below(1000) {
            0..800 => 0,
            800..950 => self.pace * self.dice.below(1000),
            950..999 => self.pace * self.dice.between(1000, 5000),
            _ if self.plan.stalls => {
                let us = self.dice.pick(&[50_000, 400_000, 3_000_000, 16_000_000]);
                self.note("stands still", [us, 0]);
                us
            }
            _ => 5000,
        };
    }

    /// How long something takes that waits for a disk.
    pub fn disk_takes_us(&mut self) -> u64 {
        if self.now_us < self.slow_until_us {
            return self.dice.between(100_000, 20_000_000);
        }
        self.dice.pick(&[0, 0, 100, 2000, 10_000])
    }

    /// Something outside breaks, or is well again.
    pub fn weather(&mut self) {
        if !self.dice.one_in(self.plan.weather_every) {
            return;
        }
        match self.dice.below(8) {
            0..=2 if self.plan.carbon_fails => self.carbon_weather(),
            3 | 4 if self.plan.store_fails => self.store_weather(),
            5 | 6 if self.plan.disk_fails => self.disk_weather(),
            7 if self.plan.clock_jumps => {
                self.wall_offset = self.dice.pick(&[0, HOUR, -HOUR, 1, -1]);
                self.note("the clock jumps", [self.unix_ms() / 1000, 0]);
            }
            _ => {}
        }
    }

    fn carbon_weather(&mut self) {
        use carbon::Mode;
        let bytes = self.dice.between(1, 5000);
        let (mode, what) = match self.dice.below(12) {
            0..=3 => (Mode::Up, "carbon is up"),
            4 => (Mode::Slow, "carbon is slow"),
            5 => (Mode::Stalled, "carbon is stalled"),
            6 => (Mode::BlackHole, "carbon is a black hole"),
            7 => (Mode::Resets(bytes), "carbon resets"),
            8 => (Mode::Down, "carbon is down"),
            9 => {
                self.carbon.hang_up();
                (Mode::Up, "carbon hangs up")
            }
            _ => {
                self.carbon.die();
                (self.dice.pick(&[Mode::Up, Mode::Down]), "carbon is killed")
            }
        };
        if mode == Mode::Down {
            self.carbon.die();
        }
        self.carbon.mode = mode;
        self.note(what, [0, 0]);
    }

    fn store_weather(&mut self) {
        use store::Mode;
        let (mode, what) = match self.dice.below(12) {
            0..=3 => (Mode::Up, "the store is up"),
            4 | 5 => (Mode::Down, "the store is down"),
            6 => (Mode::Stalled, "the store is stalled"),
            7 => (Mode::ReadOnly, "the store is read-only"),
            8 => (Mode::Refuses, "the store refuses"),
            9 => {
                self.store.save();
                (self.store.mode, "the store is saved")
            }
            10 => {
                self.store.restore();
                (Mode::Up, "the store is an older one")
            }
            _ => {
                self.store.flush();
                (Mode::Up, "the store is flushed")
            }
        };
        self.store.mode = mode;
        self.note(what, [0, 0]);
    }

    fn disk_weather(&mut self) {
        match self.dice.below(8) {
            0 | 1 => self.disk.full = true,
            2..=4 => self.disk.broken = Some(self.dice.below(3) as u16),
            5 => self.slow_until_us = self.now_us + self.dice.between(1000, 3_000_000),
            _ => {
                self.disk.full = false;
                self.disk.broken = None;
                self.slow_until_us = 0;
            }
        }
        let broken = self.disk.broken.map_or(0, |owner| 1 + u64::from(owner));
        self.note("the disk's state", [self.disk.full.into(), broken]);
    }

    /// Nothing fails any more.
    pub fn calm(&mut self) {
        self.plan = Plan {
            power: false,
            carbon_fails: false,
            store_fails: false,
            disk_fails: false,
            clock_jumps: false,
            stalls: false,
            bits_flip: false,
            ..self.plan
        };
        self.carbon.mode = carbon::Mode::Up;
        self.store.mode = store::Mode::Up;
        self.disk.full = false;
        self.disk.broken = None;
        self.slow_until_us = 0;
        self.note("calm", [0, 0]);
    }

    pub fn carbon_step(&mut self) {
        let now_ms = self.now_ms();
        self.carbon.step(&mut self.ledger, &mut self.dice, now_ms);
    }
}
