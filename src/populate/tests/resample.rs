//! Worked examples, and an oracle that goes minute by minute.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// 17:35:00 on 1 November 2016, the start of a minute.
const START: u32 = 1_478_021_700;

const RULES: Rules = Rules {
    mark: None,
    asked: u32::MAX,
    resample_seconds: 60,
    submit_current_minute: false,
};

fn bins(points: &[Raw], rules: Rules) -> Vec<Raw> {
    resample(points.to_vec(), &rules).bins
}

#[test]
fn the_worked_example_without_its_empty_minutes() {
    let points = [
        (START + 5, 1.0),
        (START + 35, 3.0),
        (START + 190, 5.0),
        (START + 205, 7.5),
    ];
    let expected = [(1_478_021_700, 2.0), (1_478_021_880, 6.25)];
    assert_eq!(bins(&points, RULES), expected);
    let mut turned = points;
    turned.reverse();
    assert_eq!(bins(&turned, RULES), expected);
}

#[test]
fn only_bins_newer_than_the_mark_are_left() {
    let points = [
        (START, 1.0),
        (START + 59, 2.0),
        (START + 60, 3.0),
        (START + 119, 4.0),
    ];
    for (mark, expected) in [
        (START - 1, vec![(START, 1.5), (START + 60, 3.5)]),
        // The minute at the mark was sent as a whole: its later points are no news.
        (START, vec![(START + 60, 3.5)]),
        // A live point somewhere in the minute stands for it.
        (START + 30, vec![(START + 60, 3.5)]),
        (START + 59, vec![(START + 60, 3.5)]),
        (START + 60, vec![]),
    ] {
        assert_eq!(
            bins(
                &points,
                Rules {
                    mark: Some(mark),
                    ..RULES
                }
            ),
            expected,
            "{mark}"
        );
    }
}

#[test]
fn what_is_not_over_is_left_out_unless_configured() {
    let points = [
        (START + 59, 1.0),
        (START + 60, 2.0),
        (START + 119, 3.0),
        (START + 120, 4.0),
    ];
    let left = |asked: u32, resample_seconds: u32, submit_current_minute: bool| {
        let rules = Rules {
            asked,
            resample_seconds,
            submit_current_minute,
            ..RULES
        };
        bins(&points, rules).len()
    };
    assert_eq!(left(START + 60, 60, false), 1);
    assert_eq!(left(START + 119, 60, false), 1);
    assert_eq!(left(START + 120, 60, false), 2);
    assert_eq!(left(START + 60, 60, true), 3);
    // With long bins the one under way, with short ones the minute.
    assert_eq!(left(START + 299, 300, false), 0);
    assert_eq!(left(START + 300, 300, false), 1);
    assert_eq!(left(START + 119, 1, false), 1);
    assert_eq!(left(START + 120, 1, false), 3);
}

#[test]
fn a_point_from_two_urls_counts_twice() {
    let points = [(START, 1.0), (START, 1.0), (START + 30, 4.0)];
    assert_eq!(bins(&points, RULES), [(START, 2.0)]);
}

#[test]
fn large_and_small_values_give_their_mean() {
    let mean =
        |values: &[f64]| super::mean(&values.iter().map(|v| (START, *v)).collect::<Vec<_>>());
    assert_eq!(mean(&[f64::MAX, f64::MAX]), f64::MAX);
    assert_eq!(mean(&[-f64::MAX, f64::MAX]), 0.0);
    assert_eq!(mean(&[1e16, 1.0, -1e16]), 1.0 / 3.0);
    assert_eq!(mean(&[0.1; 10]), 0.1);
    assert_eq!(mean(&[-0.0]).to_bits(), (-0.0f64).to_bits());
    assert_eq!(mean(&[5e-324, 5e-324]), 5e-324);
}

#[test]
fn the_resolution_is_the_most_common_gap_of_the_last_thirty() {
    let at = |times: &[u32]| times.iter().map(|t| (START + t, 1.0)).collect::<Vec<_>>();
    let of = |times: &[u32]| resample(at(times), &RULES).resolution;
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[0]), None);
    assert_eq!(of(&[0, 60, 120, 130]), Some(60));
    assert_eq!(
        of(&[0, 10, 70]),
        Some(10),
        "the first of equally common ones"
    );
    assert_eq!(of(&[0, 0, 0, 60]), None);
    // 40 gaps of 10 s, and then 29 of 60 s: only these are looked at.
    let mut times: Vec<u32> = (0..40).map(|n| n * 10).collect();
    times.extend((0..30).map(|n| 1000 + n * 60));
    assert_eq!(of(&times), Some(60));
}

#[test]
fn the_ends_of_time_are_bins_like_others() {
    let rules = Rules {
        submit_current_minute: true,
        resample_seconds: 86_400,
        ..RULES
    };
    let first_and_last = bins(&[(0, 1.0), (u32::MAX, 2.0)], rules);
    assert_eq!(
        first_and_last,
        [(0, 1.0), (u32::MAX - u32::MAX % 86_400, 2.0)]
    );
    assert_eq!(bins(&[(0, 1.0)], Rules { asked: 0, ..RULES }), []);
}

/// For whole numbers every sum is exact, so the oracle needs no care: it walks over all seconds of each bin.
fn oracle(points: &[Raw], rules: Rules) -> Vec<Raw> {
    let mut by_second: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (at, value) in points {
        by_second.entry(*at).or_default().push(*value);
    }
    let (first, last) = (START, START + 2000);
    let step = rules.resample_seconds;
    let mut found = Vec::new();
    let mut start = first / step * step;
    while start <= last {
        let mut values = Vec::new();
        for second in start..start + step {
            let over = rules.submit_current_minute
                || (second / 60 < rules.asked / 60 && second / step < rules.asked / step);
            if over && rules.mark.is_none_or(|mark| start > mark) {
                values.extend(by_second.get(&second).into_iter().flatten());
            }
        }
        if !values.is_empty() {
            found.push((start, values.iter().sum::<f64>() / values.len() as f64));
        }
        start += step;
    }
    found
}

proptest! {
    #[test]
    fn every_minute_is_the_mean_of_its_seconds(
        points in proptest::collection::vec((START..START + 2000, -1_000_000i32..1_000_000), 0..200),
        mark in proptest::option::of(START - 100..START + 2100),
        asked in START..START + 2100,
        step in prop::sample::select(vec![1u32, 7, 10, 60, 90, 300]),
        submit: bool,
    ) {
        let points: Vec<Raw> = points.into_iter().map(|(at, value)| (at, f64::from(value))).collect();
        let rules = Rules { mark, asked, resample_seconds: step, submit_current_minute: submit };
        prop_assert_eq!(bins(&points, rules), oracle(&points, rules));
    }

    #[test]
    fn the_order_of_the_points_does_not_matter_to_the_last_bit(
        points in proptest::collection::vec((START..START + 100, any::<f64>().prop_filter("finite", |v| v.is_finite())), 0..60),
        seed: u64,
    ) {
        let mut other = points.clone();
        other.sort_by_key(|(at, value)| (seed ^ value.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15 | 1) ^ u64::from(*at));
        let (a, b) = (bins(&points, RULES), bins(&other, RULES));
        let bits = |bins: &[Raw]| bins.iter().map(|(at, value)| (*at, value.to_bits())).collect::<Vec<_>>();
        prop_assert_eq!(bits(&a), bits(&b));
        prop_assert!(a.iter().all(|(_, value)| value.is_finite()));
    }

    /// What was sent once is not sent again, whatever came between.
    #[test]
    fn the_next_job_sends_only_newer_bins_and_all_of_them(
        points in proptest::collection::vec((START..START + 2000, -1000i32..1000), 1..200),
        first in START + 60..START + 2000,
        later in 60u32..1000,
    ) {
        let points: Vec<Raw> = points.into_iter().map(|(at, value)| (at, f64::from(value))).collect();
        let seen = |asked: u32| points.iter().copied().filter(|(at, _)| *at <= asked).collect::<Vec<_>>();
        let mut sent = bins(&seen(first), Rules { asked: first, ..RULES });
        let mark = sent.last().map(|(at, _)| *at);
        let asked = first + later;
        sent.extend(bins(&seen(asked), Rules { asked, mark, ..RULES }));
        prop_assert_eq!(sent, bins(&seen(asked), Rules { asked, ..RULES }));
    }
}
