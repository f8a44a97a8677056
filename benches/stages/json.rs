//! A body → its checked points.

use crate::bodies::{KEY, LIMITS, POINTS, SECOND, batch, single};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use skyline_flux::api::{Api, Decision, Scratch, auth::Keys, json::Parser};
use skyline_flux::http::{Fields, Message, Method};
use skyline_flux::point::{Point, PointSink};
use std::collections::BTreeMap;

#[derive(Default)]
struct Count(usize);

impl PointSink for Count {
    fn push(&mut self, point: Point<'_>) {
        assert_eq!(point.timestamp, SECOND);
        self.0 += 1;
    }
}

#[divan::bench(args = ["single", "batch"])]
fn tape(bencher: Bencher<'_, '_>, what: &str) {
    let (body, points) = body(what);
    let mut parser = Parser::default();
    bencher.counter(ItemsCount::new(points)).bench_local(|| {
        let nodes = parser.read(black_box(body.as_bytes()), |nodes| nodes.map(<[_]>::len));
        assert!(nodes.is_ok_and(|nodes| nodes > 7 * points));
    });
}

#[divan::bench(args = ["single", "batch"])]
fn decide(bencher: Bencher<'_, '_>, what: &str) {
    let (body, points) = body(what);
    let api = Api::new(Keys::new(KEY, &BTreeMap::new()), LIMITS);
    let message = Message {
        method: Method::Post,
        path: b"/metric_data_post",
        query: None,
        fields: Fields::default(),
        body: body.as_bytes(),
        http_1_0: false,
        keep_alive: true,
    };
    let mut scratch = Scratch::default();
    bencher.counter(ItemsCount::new(points)).bench_local(|| {
        let mut sink = Count::default();
        let decision = api.decide(black_box(&message), SECOND, &mut scratch, &mut sink);
        assert!(matches!(decision, Decision::Points(_)));
        assert_eq!(sink.0, points);
    });
}

fn body(what: &str) -> (String, usize) {
    match what {
        "single" => (single(), 1),
        _ => (batch(), POINTS),
    }
}
