//! The client's side of the books. Every point is unique: its value is its sequence number, so whatever
//! arrives anywhere can be held against what was sent, bit for bit.
//!
//! A point is *attempted*, then *acked* (any 204 of it, a retry's too), *rejected* (every answer was a
//! 4xx) or *unknown* (a 504, or cut off). What must hold (the contract's invariants): no loss (acked is
//! delivered), no invention (what is delivered was attempted, as it is), no split decision (of a
//! rejected request nothing is delivered), and the last store never ahead of what was delivered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::flux::Metrics;
use super::redis::{Redis, Reply};
use super::sink::Sink;
use super::{wait_for, wait_until};

/// What all of the ledger's metrics start with; everything else is outside the books.
pub const PREFIX: &str = "ledger.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Open,
    Acked,
    Rejected,
    Unknown,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: Arc<str>,
    pub timestamp: u32,
    pub side: Side,
    /// How often it was delivered.
    pub times: u32,
}

/// One answer, for rates and latencies.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub at: Instant,
    pub took: Duration,
    /// 0: cut off.
    pub status: u16,
    pub points: u32,
}

#[derive(Default)]
struct Book {
    /// By sequence number.
    entries: Vec<Entry>,
    answers: Vec<Answered>,
    /// How far each sink was read.
    positions: HashMap<usize, usize>,
    lanes: u32,
    /// Promises made from now on are those of a machine without power.
    void: bool,
}

/// Points by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub attempted: usize,
    pub acked: usize,
    pub rejected: usize,
    pub unknown: usize,
    /// Different points.
    pub delivered: usize,
    /// Deliveries beyond a point's first.
    pub repeated: usize,
    /// Acked and not delivered.
    pub lost: usize,
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no holder panics")
    }

    /// Lanes (one per connection) have names of their own, because points of one metric must be sent in
    /// order to be new.
    pub(super) fn next_lane(&self) -> u32 {
        let mut book = self.book();
        book.lanes += 1;
        book.lanes
    }

    /// Notes points that are about to be sent. Returns their sequence numbers.
    pub fn attempt(&self, names: &[Arc<str>], timestamp: u32) -> std::ops::Range<usize> {
        let mut book = self.book();
        let first = book.entries.len();
        book.entries.extend(names.iter().map(|name| Entry {
            name: name.clone(),
            timestamp,
            side: Side::Open,
            times: 0,
        }));
        first..book.entries.len()
    }

    /// Notes one answer to a request of these points; `None`: none came.
    pub fn answered(&self, points: std::ops::Range<usize>, status: Option<u16>, asked: Instant) {
        let side = match status {
            Some(204) => Side::Acked,
            Some(504) | None => Side::Unknown,
            Some(400..500) => Side::Rejected,
            Some(other) => panic!("an answer that the contract does not know: {other}"),
        };
        let mut book = self.book();
        let side = match (side, book.void) {
            (Side::Acked, true) => Side::Unknown,
            (side, _) => side,
        };
        book.answers.push(Answered {
            at: Instant::now(),
            took: asked.elapsed(),
            status: status.unwrap_or(0),
            points: points.len() as u32,
        });
        for entry in &mut book.entries[points] {
            // One promise is enough; one doubt outweighs a refusal.
            entry.side = match (entry.side, side) {
                (Side::Acked, _) | (_, Side::Acked) => Side::Acked,
                (Side::Unknown, _) | (_, Side::Unknown) => Side::Unknown,
                (_, side) => side,
            };
        }
    }

    /// No promise counts from now on: where a real machine would be dead, ours still answers.
    pub fn void_promises(&self) {
        self.book().void = true;
    }

    pub fn answers(&self) -> Vec<Answered> {
        self.book().answers.clone()
    }

    /// Takes in what a sink received, and fails on anything that was not sent as it came.
    pub fn absorb(&self, sink: &dyn Sink) {
        let position = *self.book().positions.entry(sink.id()).or_default();
        let received = sink.since(position);
        let mut book = self.book();
        book.positions.insert(sink.id(), position + received.len());
        for point in received {
            if !point.name.starts_with(PREFIX) {
                continue;
            }
            let sequence = point.value as usize;
            let entry = book.entries.get_mut(sequence);
            let entry = entry.unwrap_or_else(|| panic!("invented: {point:?}"));
            let same = *entry.name == *point.name
                && entry.timestamp == point.timestamp
                && point.value.to_bits() == (sequence as f64).to_bits();
            assert!(same, "invented: {point:?} where {entry:?} was sent");
            entry.times += 1;
        }
    }

    /// Another sink at the same port comes after this one, and is read from its beginning.
    pub fn forget(&self, sink: &dyn Sink) {
        self.absorb(sink);
        self.book().positions.remove(&sink.id());
    }

    /// The books as they are. Fails when a refused request was delivered all the same.
    pub fn tally(&self) -> Tally {
        let book = self.book();
        let mut tally = Tally {
            attempted: book.entries.len(),
            ..Tally::default()
        };
        for entry in &book.entries {
            match entry.side {
                Side::Acked => tally.acked += 1,
                Side::Rejected => tally.rejected += 1,
                Side::Unknown | Side::Open => tally.unknown += 1,
            }
            tally.delivered += usize::from(entry.times > 0);
            tally.repeated += entry.times.saturating_sub(1) as usize;
            tally.lost += usize::from(entry.side == Side::Acked && entry.times == 0);
            assert!(
                entry.side != Side::Rejected || entry.times == 0,
                "refused and delivered: {entry:?}"
            );
        }
        tally
    }

    /// Some points that are lost, for a failure's message.
    fn lost(&self) -> Vec<(usize, Entry)> {
        let some = self.undelivered().into_iter().take(5);
        some.map(|i| (i, self.book().entries[i].clone())).collect()
    }

    /// What was acknowledged by now and has not arrived.
    pub fn undelivered(&self) -> Vec<usize> {
        let book = self.book();
        let waits = |(_, entry): &(usize, &Entry)| entry.side == Side::Acked && entry.times == 0;
        let numbered = book.entries.iter().enumerate();
        numbered.filter(waits).map(|(i, _)| i).collect()
    }

    /// Waits until what is acknowledged by now has arrived, whatever is sent meanwhile.
    pub fn wait_backlog(&self, sink: &dyn Sink, limit: Duration) -> Duration {
        let started = Instant::now();
        self.absorb(sink);
        let mut backlog = self.undelivered();
        let total = backlog.len();
        while !backlog.is_empty() {
            let left = backlog.len();
            assert!(
                started.elapsed() < limit,
                "{left} of {total} have not arrived"
            );
            // Seldom, and only what is left: whoever sends needs the book too.
            std::thread::sleep(Duration::from_millis(20));
            self.absorb(sink);
            let book = self.book();
            while backlog
                .last()
                .is_some_and(|last| book.entries[*last].times > 0)
            {
                backlog.pop();
            }
        }
        started.elapsed()
    }

    /// Waits until everything that was acknowledged has arrived. Returns the books, and how long it took.
    pub fn settle(&self, sink: &dyn Sink, limit: Duration) -> (Tally, Duration) {
        let started = Instant::now();
        loop {
            self.absorb(sink);
            let tally = self.tally();
            if tally.lost == 0 {
                return (tally, started.elapsed());
            }
            assert!(
                started.elapsed() < limit,
                "not delivered within {limit:?}: {tally:?}, among them {:?}",
                self.lost()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn wait_acked(&self, points: usize) {
        wait_until(&format!("{points} points are acknowledged"), || {
            self.tally().acked >= points
        });
    }

    /// The newest delivered timestamp of every metric.
    fn newest(&self) -> HashMap<Arc<str>, u32> {
        let mut newest = HashMap::new();
        for entry in &self.book().entries {
            if entry.times > 0 {
                let at: &mut u32 = newest.entry(entry.name.clone()).or_default();
                *at = entry.timestamp.max(*at);
            }
        }
        newest
    }

    /// No mark in the store is ahead of what the sink has. Only for a sink that reads.
    pub fn check_marks(&self, redis: &Redis, sink: &dyn Sink) {
        // The marks first: what is delivered in between can only make it easier.
        let marks = marks(redis);
        self.absorb(sink);
        let newest = self.newest();
        for (name, at) in marks {
            let delivered = newest.get(name.as_str());
            assert!(
                delivered.is_some_and(|newest| *newest >= at),
                "the store is ahead: {name} is marked {at}, delivered up to {delivered:?}"
            );
        }
    }

    /// The store has caught up: every mark is the newest delivered timestamp.
    pub fn wait_marks(&self, redis: &Redis, limit: Duration) {
        let newest = self.newest();
        let mut behind = Vec::new();
        let probe = || {
            let marks = marks(redis);
            let is_behind = |(name, at): &(&Arc<str>, &u32)| marks.get(&***name) != Some(*at);
            behind = newest.iter().filter(is_behind).take(3).collect();
            behind.is_empty().then_some(())
        };
        wait_for("every mark is the newest delivered point", limit, probe);
    }
}

/// The ledger's marks in Redis: metric and timestamp.
pub fn marks(redis: &Redis) -> HashMap<String, u32> {
    let Reply::Array(keys) = redis.command(&["KEYS", &format!("flux.last.{PREFIX}*")]) else {
        panic!("KEYS answers with an array");
    };
    let keys: Vec<String> = keys
        .into_iter()
        .filter_map(|key| match key {
            Reply::Bulk(key) => key,
            _ => None,
        })
        .collect();
    let mut marks = HashMap::new();
    for part in keys.chunks(500) {
        let words: Vec<&str> = ["MGET"]
            .into_iter()
            .chain(part.iter().map(String::as_str))
            .collect();
        let Reply::Array(values) = redis.command(&words) else {
            panic!("MGET answers with an array");
        };
        for (key, value) in part.iter().zip(values) {
            // Gone since, or of another type.
            let Reply::Bulk(Some(text)) = value else {
                continue;
            };
            let timestamp = text.trim_start_matches('[').split(',').next();
            // What is no mark counts as none.
            if let Some(timestamp) = timestamp.and_then(|text| text.parse().ok()) {
                marks.insert(key.trim_start_matches("flux.last.").to_owned(), timestamp);
            }
        }
    }
    marks
}

/// The program's own books, once nothing is under way: each point is in one place.
pub fn reconcile(metrics: &Metrics) {
    let of = |name: &str| metrics.sum(&format!("flux_points_{name}"));
    let decided = ["accepted", "duplicate", "discarded", "rejected"]
        .map(|name| of(&format!("{name}_total")))
        .iter()
        .sum::<f64>();
    assert_eq!(of("received_total"), decided, "received and decided");
    let taken = of("accepted_total") + of("recovered_total");
    let waiting = metrics.sum("flux_journal_points");
    let placed = of("delivered_total") + of("queued") + waiting + of("dropped_total");
    assert_eq!(taken, placed, "taken in and placed: {metrics:?}");
}
