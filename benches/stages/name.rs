//! A name → the same, checked.

use crate::bodies::{LIMITS, POINTS, SECOND, names};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::api::name::{self, Letters};
use skyline_flux::api::skip::Skip;
use skyline_flux::api::validate::{Given, Item, Rules};
use skyline_flux::config::Config;

#[divan::bench(args = ["", "warehouse-1."])]
fn check(bencher: Bencher<'_, '_>, prefix: &str) {
    let names = names();
    let rules = Rules {
        limits: &LIMITS,
        now: SECOND,
        prefix,
        letters: Letters::Ascii,
    };
    let mut buffer = String::new();
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        for name in black_box(&names) {
            let item = Item {
                metric: Given::Text(name),
                ..Item::default()
            };
            let finished = name::finish(&item, &rules, &mut buffer);
            assert_eq!(finished.map(str::len).ok(), Some(prefix.len() + name.len()));
        }
    });
}

#[divan::bench]
fn skip(bencher: Bencher<'_, '_>) {
    let names = names();
    let points = Config::default().points;
    let skip = Skip::new(&points.skip, &points.do_not_skip);
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        assert!(!black_box(&names).iter().any(|name| skip.matches(name)));
    });
}
