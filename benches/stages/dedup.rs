//! A group → accepted points and duplicates.

use crate::bodies::{POINTS, SECOND, names};
use crate::router::push_all;
use divan::Bencher;
use divan::counter::ItemsCount;
use skyline_flux::carbon::outbound::Accepted;
use skyline_flux::dedup::{Accept, Owner, lookup::Lookups, table::Table};
use skyline_flux::point::Run;
use skyline_flux::request::ReadId;
use skyline_flux::router::{Gathered, NameHasher};

#[derive(Default)]
struct Count(usize);

impl Accept for Count {
    fn accept(&mut self, run: Run<'_>, _: Accepted) {
        self.0 += run.points();
    }
}

#[divan::bench(args = ["new", "duplicates"])]
fn decide(bencher: Bencher<'_, '_>, what: &str) {
    let names = names();
    let mut gathered = Gathered::new(NameHasher::new([9; 16]), 0, 1);
    let mut owner = Owner::new(Table::new(1_000_000), true, 0, Lookups::new(50));
    let mut sink = Count::default();
    owner.store_silent(&mut sink, |_| ());
    let mut timestamp = SECOND;
    let mut turn = |timestamp| {
        push_all(&mut gathered, &names, timestamp);
        let group = gathered.take(0, ReadId::default()).expect("points for it");
        let before = sink.0;
        let decided = owner.decide(group, &mut sink, 0).expect("nothing waits");
        gathered.recycle(decided);
        sink.0 - before
    };
    turn(SECOND);
    let (step, accepted) = if what == "new" { (1, POINTS) } else { (0, 0) };
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        timestamp += step;
        assert_eq!(turn(timestamp), accepted);
    });
}
