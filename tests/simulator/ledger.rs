//! What clients were told, what carbon was given, and whether the two agree (interface, section 7).
//!
//! Each point's value is its number here plus one, so a value found anywhere names its point. A *slot* is
//! a metric at a timestamp: several values may be tried for it, and de-duplication lets one through.

use skyline_flux::journal::Durability;
use std::collections::{BTreeMap, BTreeSet};

/// The number of a point.
pub type Number = usize;

/// After how many writes a frame counts as delivered, whatever became of it (carbon::outbound).
const WRITES_MAX: u32 = 64;

#[derive(Debug)]
pub struct Attempt {
    pub run: u32,
    /// A point of the metric at or after this timestamp had been answered 204 before, in this run.
    pub after: Option<u32>,
}

#[derive(Debug)]
pub struct Point {
    pub metric: usize,
    pub timestamp: u32,
    /// Not de-duplicated.
    pub fill: bool,
    attempts: Vec<Attempt>,
    /// What its 204s promise that still stands: in which run, and how much.
    promises: Vec<(u32, Durability)>,
    /// It was in a request that was not refused.
    possible: bool,
    pub delivered: u32,
    /// Writes of frames with it to a connection, in this run.
    writes: u32,
    /// Counted as delivered when that was all that could be known, and then lost with what could have repeated it:
    /// written too often, or held by a kernel of carbon that died when nothing that survived had it for a redo.
    given_up: bool,
    /// Since when the kernel of carbon has it, in milliseconds; and that it had it for the redo window.
    acknowledged_ms: Option<u64>,
    matured: bool,
}

#[derive(Debug)]
pub struct Metric {
    pub name: String,
    /// The one whose outcome is still open: nothing newer is sent before it is settled.
    pub current: Option<Number>,
    pub last: u32,
    /// The newest timestamp answered 204, by run.
    acknowledged: BTreeMap<u32, u32>,
}

/// How a run ended and what happened in it, as far as duplicates are concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exactness {
    /// Nothing that the run before knew was lost between them.
    pub joined: bool,
    /// The bound of the table forced an unsaved entry out, or the store was not there to ask.
    pub inexact: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub metrics: Vec<Metric>,
    pub points: Vec<Point>,
    slots: BTreeMap<(usize, u32), Vec<Number>>,
    pub runs: Vec<Exactness>,
    pub redo_window_ms: u64,
    /// Whose story is told.
    pub watched: Option<Number>,
    names: BTreeMap<String, usize>,
}

impl Ledger {
    pub fn metric(&mut self, name: String) {
        self.names.insert(name.clone(), self.metrics.len());
        self.metrics.push(Metric {
            name,
            current: None,
            last: 0,
            acknowledged: BTreeMap::new(),
        });
    }

    fn tell(&self, number: Number, what: &str) {
        if self.watched == Some(number) {
            eprintln!("                    {what}: {:?}", self.points[number]);
        }
    }

    fn run(&self) -> u32 {
        self.runs.len() as u32 - 1
    }

    pub fn point(&mut self, metric: usize, timestamp: u32, fill: bool) -> Number {
        let number = self.points.len();
        self.points.push(Point {
            metric,
            timestamp,
            fill,
            attempts: Vec::new(),
            promises: Vec::new(),
            possible: false,
            delivered: 0,
            writes: 0,
            given_up: false,
            acknowledged_ms: None,
            matured: false,
        });
        if !fill {
            self.slots
                .entry((metric, timestamp))
                .or_default()
                .push(number);
        }
        number
    }

    /// It is sent now.
    pub fn attempted(&mut self, number: Number) {
        let run = self.run();
        let Point {
            metric, timestamp, ..
        } = self.points[number];
        let mut newest_first = self.metrics[metric].acknowledged.iter().rev();
        let after = newest_first.find(|(_, newest)| **newest >= timestamp);
        let after = after.map(|(run, _)| *run);
        self.points[number].attempts.push(Attempt { run, after });
        self.tell(number, "attempted");
    }

    /// A request with it was answered 204. `owed`: it was the only way to its timestamp, so it must arrive.
    pub fn acknowledged(&mut self, number: Number, owed: bool, durability: Durability) {
        let run = self.run();
        let point = &mut self.points[number];
        point.possible = true;
        if owed {
            point.promises.push((run, durability));
        }
        if !point.fill {
            let newest = self.metrics[point.metric]
                .acknowledged
                .entry(run)
                .or_default();
            *newest = point.timestamp.max(*newest);
        }
        self.tell(number, "acknowledged");
    }

    /// Nothing newer of its metric was sent yet.
    pub fn is_newest(&self, number: Number) -> bool {
        let point = &self.points[number];
        point.fill || self.metrics[point.metric].last == point.timestamp
    }

    /// The next point of its metric may be sent.
    pub fn settled(&mut self, number: Number) {
        let current = &mut self.metrics[self.points[number].metric].current;
        if *current == Some(number) {
            *current = None;
        }
    }

    /// A request with it may have been carried out.
    pub fn unknown(&mut self, number: Number) {
        self.points[number].possible = true;
        self.tell(number, "unknown");
    }

    pub fn is_acknowledged(&self, number: Number) -> bool {
        !self.points[number].promises.is_empty()
    }

    /// Carbon has read it.
    pub fn delivered(&mut self, name: &str, timestamp: u32, value: f64) {
        let number = (value - 1.0) as usize;
        let point = self.points.get_mut(number).filter(|point| {
            let known = self.names.get(name) == Some(&point.metric);
            let same = (number as f64 + 1.0).to_bits() == value.to_bits();
            known && same && point.timestamp == timestamp && !point.attempts.is_empty()
        });
        let Some(point) = point else {
            panic!("invented: {name} {timestamp} {value}");
        };
        point.delivered += 1;
        self.tell(number, "delivered");
    }

    /// A frame with it begins to be written to a connection.
    pub fn written(&mut self, number: Number) {
        let point = &mut self.points[number];
        point.writes += 1;
        point.given_up |= point.writes >= WRITES_MAX;
        self.tell(number, "written");
    }

    /// The kernel of carbon has the frame it is in.
    pub fn held(&mut self, number: Number, now_ms: u64) {
        self.points[number].acknowledged_ms.get_or_insert(now_ms);
        self.tell(number, "held");
    }

    /// The connection it was written to is over, as far as the program knows.
    pub fn let_go(&mut self, number: Number, now_ms: u64) {
        let window_ms = self.redo_window_ms;
        let point = &mut self.points[number];
        point.matured |= point.has_matured(now_ms, window_ms);
        point.acknowledged_ms = None;
        self.tell(number, "let go");
    }

    /// The sink has said that it has read everything.
    pub fn confirmed(&mut self, number: Number) {
        self.points[number].matured = true;
    }

    /// Invariant 5: a mark is written only for what was delivered.
    pub fn marked(&self, name: &str, timestamp: u32, value: Option<f64>, now_ms: u64) {
        let number = value.map(|value| (value - 1.0) as usize);
        let point = number.and_then(|number| self.points.get(number));
        let point = point.unwrap_or_else(|| panic!("a mark of nothing: {name} {timestamp}"));
        assert_eq!(self.names.get(name), Some(&point.metric));
        assert_eq!(point.timestamp, timestamp);
        self.tell(number.unwrap_or_default(), "marked");
        assert!(!point.fill, "a back-fill moves no mark");
        assert!(
            point.has_matured(now_ms, self.redo_window_ms) || point.given_up,
            "the store is ahead: point {number:?} at {timestamp} was not delivered"
        );
    }

    /// The process was killed; with `power_lost`, and with it what was not synced.
    pub fn killed(&mut self, power_lost: bool, durability: Durability) {
        let run = self.run();
        let lost = match durability {
            Durability::Memory => true,
            Durability::Journal => power_lost,
            Durability::Fsync => false,
        };
        for point in &mut self.points {
            point.given_up |= lost && point.matured;
            point.promises.retain(|&(of, durability)| match durability {
                Durability::Memory => of != run,
                Durability::Journal => !power_lost,
                Durability::Fsync => true,
            });
        }
    }

    /// An orderly stop has kept everything; an original of an earlier run as well as it was kept then.
    pub fn kept(&mut self, synced: &BTreeSet<Number>) {
        for (number, point) in self.points.iter_mut().enumerate() {
            let now = match synced.contains(&number) {
                true => Durability::Fsync,
                false => Durability::Journal,
            };
            for (_, durability) in &mut point.promises {
                if *durability == Durability::Memory {
                    *durability = now;
                }
            }
        }
    }

    /// The record with it was damaged on disk: it may have stood for others at its timestamp.
    pub fn damaged(&mut self, number: Number) {
        let Point {
            metric,
            timestamp,
            fill,
            ..
        } = self.points[number];
        self.points[number].promises.clear();
        let slot = self.slots.get(&(metric, timestamp)).filter(|_| !fill);
        for rival in slot.into_iter().flatten() {
            self.points[*rival].promises.clear();
        }
    }

    pub fn run_begins(&mut self, redo_window_ms: u64, joined: bool) {
        self.redo_window_ms = redo_window_ms;
        self.runs.push(Exactness {
            joined,
            inexact: false,
        });
        for point in &mut self.points {
            point.writes = 0;
        }
    }

    /// Acknowledged and neither delivered nor kept, with nothing to excuse it.
    pub fn owed(&self, kept: &BTreeSet<Number>) -> Vec<Number> {
        let is_safe = |number: &Number| {
            let point = &self.points[*number];
            point.delivered > 0 || point.given_up || kept.contains(number)
        };
        let is_owed = |number: &Number| {
            let point = &self.points[*number];
            let slot = self.slots.get(&(point.metric, point.timestamp));
            let rivals = slot.filter(|_| !point.fill).into_iter().flatten();
            !point.promises.is_empty() && !is_safe(number) && !rivals.into_iter().any(is_safe)
        };
        (0..self.points.len()).filter(is_owed).collect()
    }

    /// A point and all others at its timestamp.
    pub fn rivals(&self, number: Number) -> Vec<(Number, &Point)> {
        let point = &self.points[number];
        let slot = self.slots.get(&(point.metric, point.timestamp));
        let numbers = slot.map_or(vec![number], Clone::clone);
        numbers.into_iter().map(|n| (n, &self.points[n])).collect()
    }

    /// Invariants 1, 3 and 4, when everything has arrived.
    pub fn check(&self) {
        let owed: Vec<_> = self.owed(&BTreeSet::new());
        let owed: Vec<_> = owed.iter().map(|number| self.rivals(*number)).collect();
        assert!(owed.is_empty(), "acknowledged and lost: {owed:#?}");
        let eras = self.eras();
        for (number, point) in self.points.iter().enumerate() {
            assert!(
                point.delivered == 0 || point.possible,
                "point {number} was refused and delivered: {point:?}"
            );
            let stale = point.attempts.iter().all(|attempt| {
                let (era, inexact) = eras[attempt.run as usize];
                let before = attempt.after.map(|run| eras[run as usize].0);
                !inexact && before == Some(era)
            });
            assert!(
                point.fill || point.delivered == 0 || !stale,
                "point {number} was delivered though a newer one had been accepted: {point:?}"
            );
        }
        self.check_slots(&eras);
    }

    /// No second value at a timestamp among those that could only be accepted in one era.
    fn check_slots(&self, eras: &[(u32, bool)]) {
        for (slot, numbers) in &self.slots {
            let mut once = BTreeMap::new();
            for number in numbers {
                let point = &self.points[*number];
                let mut of = point.attempts.iter().map(|a| eras[a.run as usize]);
                let Some((era, false)) = of.next() else {
                    continue;
                };
                if point.delivered > 0 && of.all(|other| other == (era, false)) {
                    let second = once.insert(era, number);
                    assert_eq!(second, None, "two values for {slot:?}, also {number}");
                }
            }
        }
    }

    /// For each run: which stretch of exact memory it belongs to, and whether it was inexact itself.
    fn eras(&self) -> Vec<(u32, bool)> {
        let mut era = 0;
        self.runs
            .iter()
            .map(|run| {
                era += u32::from(!run.joined);
                (era, run.inexact)
            })
            .collect()
    }
}

impl Point {
    fn has_matured(&self, now_ms: u64, window_ms: u64) -> bool {
        let stayed = |since: u64| now_ms >= since + window_ms;
        self.matured || self.acknowledged_ms.is_some_and(stayed)
    }
}
