//! Marks → one command to the last store.

use crate::bodies::{POINTS, SECOND, names};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::last::Mark;
use skyline_flux::last::writer::{Pushed, Writer};

#[divan::bench]
fn write_marks(bencher: Bencher<'_, '_>) {
    let names = names();
    let mut writer = Writer::new(1_000_000);
    let mut saved = Vec::new();
    let mark = Mark {
        timestamp: SECOND,
        value: Some(1.5),
    };
    bencher.counter(ItemsCount::new(POINTS)).bench_local(|| {
        for (hash, name) in black_box(&names).iter().enumerate() {
            assert_eq!(
                writer.push(name, hash as u128, mark, false),
                Pushed::Waiting
            );
        }
        let id = writer.take_batch(1000).expect("marks wait").id;
        writer.stored(id, &mut saved);
        assert_eq!(saved.len(), POINTS);
        saved.clear();
    });
}
