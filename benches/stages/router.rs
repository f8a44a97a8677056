//! Points → groups for their owners.

use crate::bodies::{POINTS, SECOND, names};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::point::{Point, PointSink};
use skyline_flux::request::ReadId;
use skyline_flux::router::{Gathered, NameHasher};

pub fn push_all(gathered: &mut Gathered, names: &[String], timestamp: u32) {
    gathered.begin();
    for name in names {
        gathered.push(Point {
            name,
            timestamp,
            value: 1.5,
            fill: false,
        });
    }
    gathered.commit(0, None);
}

#[divan::bench(args = [1, 8])]
fn gather(bencher: Bencher<'_, '_>, shards: usize) {
    let names = names();
    let mut gathered = Gathered::new(NameHasher::new([9; 16]), 0, shards);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        push_all(&mut gathered, black_box(&names), SECOND);
        let mut points = 0;
        for owner in 0..shards {
            if let Some(group) = gathered.take(owner, ReadId::default()) {
                points += group.block.points() as usize;
                gathered.recycle(group);
            }
        }
        assert_eq!(points, POINTS);
    });
}

#[divan::bench]
fn hash(bencher: Bencher<'_, '_>) {
    let names = names();
    let hasher = NameHasher::new([9; 16]);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        let all = black_box(&names).iter();
        assert_ne!(all.fold(0, |all, name| all ^ hasher.hash(name)), 0);
    });
}
