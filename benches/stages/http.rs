//! Bytes → a message, and an answer → bytes.

use crate::bodies::{batch, post, single};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use skyline_flux::http::response::{self, Answer, ReplyTo};
use skyline_flux::http::{Decoded, Decoder, Limits};

const LIMITS: Limits = Limits {
    head_bytes_max: 16 * 1024,
    body_bytes_max: 4 * 1024 * 1024,
};

#[divan::bench(args = ["single", "batch"])]
fn decode(bencher: Bencher<'_, '_>, what: &str) {
    let body = if what == "single" { single() } else { batch() };
    let mut bytes = post(&body).into_bytes();
    let mut decoder = Decoder::new(LIMITS);
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| {
            let whole = bytes.len();
            match decoder.next(black_box(&mut bytes)) {
                Decoded::Message { message, consumed } => {
                    assert_eq!((message.body.len(), consumed), (body.len(), whole));
                }
                other => panic!("{other:?}"),
            }
        });
}

#[divan::bench]
fn answer_204(bencher: Bencher<'_, '_>) {
    let to = ReplyTo {
        keep_alive: true,
        http_1_0: false,
        head_only: false,
    };
    let date = response::http_date(1_478_021_700);
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        out.clear();
        response::write(&mut out, black_box(&Answer::empty(204)), to, &date);
        assert!(out.starts_with(b"HTTP/1.1 204 No Content\r\n"));
    });
}
