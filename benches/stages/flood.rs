//! Names that come once each, a table that is full, and a store that may have them in any of its layers: what this costs
//! is memory, which a count of instructions does not show.

use crate::bodies::SECOND;
use crate::router::push_all;
use divan::Bencher;
use divan::counter::ItemsCount;
use skyline_flux::carbon::outbound::Accepted;
use skyline_flux::dedup::{Accept, Owner, lookup::Lookups, table::Table};
use skyline_flux::last::filter::{Filter, Known};
use skyline_flux::point::{NameHash, Run};
use skyline_flux::request::ReadId;
use skyline_flux::router::{Gathered, Group, NameHasher};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

const ENTRIES: usize = 1_000_000;
const BATCH: usize = 50;
/// As many as a second brings.
const UNSAVED: usize = 100_000;
/// Between two batches of a hundred thousand names a second: a CPU that has slept comes back to cold caches.
const PAUSE: Duration = Duration::from_micros(400);
/// Marks of each, as in the middle of a flood.
const LAYERS: [usize; 8] = [
    800_000, 800_000, 800_000, 100_000, 100_000, 100_000, 100_000, 100_000,
];

struct Flood {
    gathered: Gathered,
    owner: Owner,
    new: NewNames,
    next: usize,
}

/// Those accepted whose marks are not stored yet.
#[derive(Default)]
struct NewNames(VecDeque<(NameHash, u32)>);

impl Accept for NewNames {
    fn accept(&mut self, run: Run<'_>, _: Accepted) {
        let headers = run.headers().iter();
        self.0
            .extend(headers.map(|header| (header.hash, header.timestamp)));
    }
}

impl Flood {
    /// It has gone on for as long as a quarter of the table takes.
    fn under_way() -> RefCell<Flood> {
        let hasher = NameHasher::new([9; 16]);
        let mut stored = 0..;
        let layers = LAYERS.map(|marks| {
            let mut filter = Filter::new(marks as u64, usize::MAX).expect("bytes for it");
            for number in stored.by_ref().take(marks) {
                filter.add(hasher.hash(&format!("stored.{number}")));
            }
            Some(filter.into())
        });
        let mut lookups = Lookups::new(50);
        lookups.known = Known::new((1..).zip(layers).collect());
        let mut flood = Flood {
            gathered: Gathered::new(hasher, 0, 1),
            owner: Owner::new(Table::new(ENTRIES), true, 0, lookups),
            new: NewNames::default(),
            next: 0,
        };
        while flood.owner.evicted < ENTRIES as u64 / 4 {
            let group = flood.group();
            flood.decide(group);
            let stored = flood.stored();
            flood.owner.saved(&stored);
        }
        RefCell::new(flood)
    }

    fn group(&mut self) -> Group {
        let numbers = self.next..self.next + BATCH;
        self.next = numbers.end;
        let names: Vec<String> = numbers.map(|it| format!("a.flood.of.names.{it}")).collect();
        push_all(&mut self.gathered, &names, SECOND);
        let read = ReadId::default();
        self.gathered.take(0, read).expect("points for it")
    }

    /// The few that a filter lets pass wait for the store, which has none of them.
    fn decide(&mut self, group: Group) {
        if let Some(decided) = self.owner.decide(group, &mut self.new, 0) {
            self.gathered.recycle(decided);
        }
        while let Some((id, names)) = self.owner.lookups.take() {
            let none = names.iter().map(|_| None);
            self.owner.found(id, none, &mut self.new, |_| ());
        }
    }

    fn stored(&mut self) -> Vec<(NameHash, u32)> {
        let over = self.new.0.len().saturating_sub(UNSAVED);
        self.new.0.drain(..over).collect()
    }
}

#[divan::bench(sample_size = 1, sample_count = 3000)]
fn decide(bencher: Bencher<'_, '_>) {
    let flood = Flood::under_way();
    let input = || {
        let mut flood = flood.borrow_mut();
        let stored = flood.stored();
        flood.owner.saved(&stored);
        std::thread::sleep(PAUSE);
        flood.group()
    };
    let points = bencher.counter(ItemsCount::new(BATCH)).with_inputs(input);
    points.bench_local_values(|group| {
        let mut flood = flood.borrow_mut();
        let evicted = flood.owner.evicted;
        flood.decide(group);
        assert_eq!(flood.owner.evicted - evicted, BATCH as u64);
    });
}

#[divan::bench(sample_size = 1, sample_count = 3000)]
fn save(bencher: Bencher<'_, '_>) {
    let flood = Flood::under_way();
    let input = || {
        let mut flood = flood.borrow_mut();
        let group = flood.group();
        flood.decide(group);
        std::thread::sleep(PAUSE);
        flood.stored()
    };
    let marks = bencher.counter(ItemsCount::new(BATCH)).with_inputs(input);
    marks.bench_local_values(|stored| {
        let mut flood = flood.borrow_mut();
        let unsaved = flood.owner.table().unsaved();
        flood.owner.saved(&stored);
        assert_eq!(unsaved - flood.owner.table().unsaved(), stored.len());
    });
}
