//! Points → a sealed record.

use crate::bodies::{POINTS, SECOND, names};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::journal::{Durability, Journal, commit};
use skyline_flux::point::Point;

#[divan::bench]
fn commit(bencher: Bencher<'_, '_>) {
    let names = names();
    let limits = commit::Limits {
        segment_bytes: 16 * 1024 * 1024,
        shard_bytes_max: 1024 * 1024 * 1024,
    };
    let mut journal: Journal<()> = Journal::new(Durability::Journal, 1, 0, limits);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        while let Some(id) = journal.wanted() {
            journal.segments.created(id);
        }
        for name in black_box(&names) {
            journal.push(Point {
                name,
                timestamp: SECOND,
                value: 1.5,
                fill: false,
            });
        }
        let write = journal.start().expect("there is a segment");
        assert!(write.bytes.len() > POINTS * (40 + 22));
        journal.finished(write, true, |(), _| ());
        journal.released(POINTS as u64);
        while journal.take_delivered().is_some() {
            journal.segments.deleted();
        }
    });
}
