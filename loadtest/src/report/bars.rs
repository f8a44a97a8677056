//! Bars: a panel for each experiment, a bar for each target, and a mark where the target of flux's bar is.

use super::svg::{WIDTH, line, picture, text};
use super::table::number;
use crate::experiment::Chart;
use crate::results::Results;

const LEFT: f64 = 112.0;
const MARGIN: f64 = 14.0;
/// Room for the number after the longest bar.
const RIGHT: f64 = 62.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;

pub fn chart(title: &str, all: &[&Results]) -> String {
    let mut inside = text(MARGIN, 24.0, "title", title);
    let mut y = 34.0;
    for results in all {
        inside += &panel(results, &mut y);
    }
    picture(title, y + 8.0, &inside)
}

fn panel(results: &Results, y: &mut f64) -> String {
    let Some(Chart::Bars { measure, unit }) = results.experiment.charts.first() else {
        return String::new();
    };
    let bars: Vec<(&str, f64)> = results
        .outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.target.as_str(), outcome.median(measure)?)))
        .collect();
    let longest = bars
        .iter()
        .map(|bar| bar.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    *y += 16.0;
    let mut inside = text(
        MARGIN,
        *y,
        "soft",
        &format!("{}, {unit}", results.experiment.title),
    );
    *y += 8.0;
    for (index, (target, value)) in bars.iter().enumerate() {
        let (middle, width) = (*y + BAR / 2.0 + 4.0, (value * scale).max(1.0));
        inside += &text(LEFT - 8.0, middle, "end", target);
        inside += &format!(
            "<rect class=\"bar f{}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            index % 4
        );
        let mut after = LEFT + width;
        let limit = limit(results, target, measure).map(|limit| LEFT + limit * scale);
        if let Some(limit) = limit.filter(|limit| *limit < WIDTH - 8.0) {
            inside += &line("limit", [limit, *y - 3.0, limit, *y + BAR + 3.0]);
            // The number stands clear of the mark.
            if (after - 4.0..after + 44.0).contains(&limit) {
                after = limit;
            }
        }
        inside += &text(after + 6.0, middle, "", &number(*value));
        *y += STEP;
    }
    *y += 2.0;
    inside
}

/// What the target of this measure allows, in the measure's own unit.
fn limit(results: &Results, target: &str, measure: &str) -> Option<f64> {
    let row = results
        .experiment
        .rows
        .iter()
        .find(|row| row.of == target && row.measure == measure)?;
    match &row.against {
        Some(other) => Some(row.at_most? * results.outcome(other)?.median(measure)?),
        None => row.at_most,
    }
}
