//! Points → frames.

use crate::bodies::{POINTS, SECOND, names};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::carbon::frame;

#[divan::bench]
fn pickle(bencher: Bencher<'_, '_>) {
    let names = names();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        out.clear();
        let start = frame::open(&mut out);
        for name in black_box(&names) {
            frame::push_tuple(&mut out, name, SECOND, 1.5);
        }
        frame::close(&mut out, start);
        assert_eq!(out.len(), frame::FRAME_OVERHEAD_BYTES + POINTS * (40 + 21));
    });
}
