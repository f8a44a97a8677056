//! Latency over its percentiles, both on logarithmic axes: each nine is as wide as the one before it.

use super::svg::{WIDTH, line, picture, text};
use crate::results::{Outcome, Results, quantile};

const LEFT: f64 = 52.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 300.0;
/// Nines that are drawn: up to 99.99 %.
const NINES: f64 = 4.0;

pub fn chart(results: &Results) -> String {
    let title = format!(
        "{}: time to the answer, by percentile",
        results.experiment.title
    );
    let curves: Vec<(&Outcome, Vec<(f64, f64)>)> = results
        .outcomes
        .iter()
        .map(|outcome| (outcome, curve(outcome)))
        .collect();
    let values = || {
        curves
            .iter()
            .flat_map(|(_, curve)| curve.iter().map(|point| point.1.log10()))
    };
    let low = values().fold(f64::MAX, f64::min).floor();
    let high = values().fold(f64::MIN, f64::max).ceil().max(low + 1.0);
    let x = |nines: f64| LEFT + nines / NINES * (WIDTH - LEFT - RIGHT);
    let y = |decade: f64| BOTTOM - (decade - low) / (high - low) * (BOTTOM - TOP);

    let mut inside = text(14.0, 24.0, "title", &title);
    let mut decade = low;
    while decade <= high {
        inside += &line("rule", [LEFT, y(decade), WIDTH - RIGHT, y(decade)]);
        inside += &text(LEFT - 6.0, y(decade) + 4.0, "soft end", &time(decade));
        decade += 1.0;
    }
    for (nines, label) in [
        (0.0, "0"),
        (0.301, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (NINES, "99.99 %"),
    ] {
        inside += &line("rule", [x(nines), TOP, x(nines), BOTTOM]);
        let class = if nines == NINES {
            "soft end"
        } else {
            "soft middle"
        };
        let at = if nines == NINES {
            x(nines) + RIGHT
        } else {
            x(nines)
        };
        inside += &text(at, BOTTOM + 16.0, class, label);
    }
    let mut legend = 14.0;
    for (index, (outcome, curve)) in curves.iter().enumerate() {
        let points: Vec<String> = curve
            .iter()
            .map(|(nines, micros)| format!("{:.1},{:.1}", x(*nines), y(micros.log10())))
            .collect();
        inside += &format!(
            "<polyline class=\"curve l{}\" points=\"{}\"/>",
            index % 4,
            points.join(" ")
        );
        inside += &format!(
            "<rect class=\"f{}\" x=\"{legend:.0}\" y=\"36\" width=\"12\" height=\"12\" rx=\"2\"/>",
            index % 4
        );
        inside += &text(legend + 17.0, 46.0, "", &outcome.target);
        legend += 34.0 + 7.0 * outcome.target.len() as f64;
    }
    picture(&title, BOTTOM + 28.0, &inside)
}

/// Pairs of nines and µs, as far as there are answers to tell them from.
fn curve(outcome: &Outcome) -> Vec<(f64, f64)> {
    let total: u64 = outcome.micros.values().sum();
    let last = (total.max(1) as f64).log10().min(NINES);
    let steps = (last * 25.0) as u32;
    (0..=steps)
        .map(|step| f64::from(step) / 25.0)
        .map(|nines| {
            (
                nines,
                quantile(&outcome.micros, 1.0 - 10_f64.powf(-nines)).max(1.0),
            )
        })
        .collect()
}

fn time(decade: f64) -> String {
    match decade as i32 {
        micros @ ..=2 => format!("{} µs", 10_u64.pow(micros.max(0) as u32)),
        millis @ 3..=5 => format!("{} ms", 10_u64.pow(millis as u32 - 3)),
        seconds => format!("{} s", 10_u64.pow(seconds as u32 - 6)),
    }
}
