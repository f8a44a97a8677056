//! The tables, in Markdown that is aligned for a terminal: the rows of the targets, then what each experiment saw.

use crate::experiment::Row;
use crate::results::Results;

/// A row of the targets, worked out.
pub struct Verdict {
    pub label: String,
    pub value: Option<f64>,
    pub text: String,
    pub at_most: Option<f64>,
    pub aim: Option<f64>,
    pub unit: String,
}

impl Verdict {
    pub fn met(&self) -> Option<bool> {
        Some(self.value? <= self.at_most?)
    }
}

pub fn verdicts(results: &Results) -> Vec<Verdict> {
    results
        .experiment
        .rows
        .iter()
        .map(|row| verdict(results, row))
        .collect()
}

fn verdict(results: &Results, row: &Row) -> Verdict {
    let measured = |target: &str| {
        let outcome = results.outcome(target)?;
        Some((outcome, outcome.median(&row.measure)?))
    };
    let (value, text) = match (measured(&row.of), &row.against) {
        (None, _) => (None, "not measured".to_owned()),
        (Some((_, own)), None) => (Some(own), format!("{} {}", number(own), row.unit)),
        (Some((outcome, own)), Some(against)) => match measured(against) {
            Some((other, median)) => {
                let ratio = outcome.ratio(other, &row.measure);
                (
                    ratio.map(|it| it.median),
                    ratio.map_or(String::new(), |it| {
                        format!(
                            "{} × ({}-{}; {} : {} {})",
                            number(it.median),
                            number(it.low),
                            number(it.high),
                            number(own),
                            number(median),
                            row.unit
                        )
                    }),
                )
            }
            None => (
                None,
                format!("{} {} ({against} is missing)", number(own), row.unit),
            ),
        },
    };
    Verdict {
        label: row.label.clone(),
        value,
        text: text.trim_end().to_owned(),
        at_most: row.at_most,
        aim: row.aim,
        unit: if row.against.is_some() {
            "×".into()
        } else {
            row.unit.clone()
        },
    }
}

/// Three digits that mean something.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        small if small < 0.1 => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        small if small < 100.0 => format!("{value:.1}"),
        small if small < 10_000.0 => format!("{value:.0}"),
        _ => thousands(value),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn text(all: &[Results]) -> String {
    let mut targets = vec![
        ["", "measured", "target", "then aim for", "met"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for verdict in all.iter().flat_map(verdicts) {
        let bound = |limit: Option<f64>| {
            limit.map_or(String::new(), |limit| {
                format!("≤ {} {}", number(limit), verdict.unit)
            })
        };
        targets.push(vec![
            verdict.label.clone(),
            verdict.text.clone(),
            bound(verdict.at_most),
            bound(verdict.aim),
            verdict
                .met()
                .map_or("", |met| if met { "yes" } else { "**no**" })
                .to_owned(),
        ]);
    }
    let mut text = format!("\n{}", aligned(&targets));
    for results in all {
        text += &format!(
            "\n{} ({}): {}\n\n",
            results.experiment.title, results.name, results.experiment.about
        );
        text += &aligned(&details(results));
    }
    text
}

/// Measures worth a column: what they are called there, and in which unit.
const COLUMNS: [(&str, &str, f64); 18] = [
    ("cpu_us_per_request", "CPU µs/request", 1.0),
    ("cpu_us_per_point", "CPU µs/point", 1.0),
    ("p50_us", "p50 ms", 1e-3),
    ("p99_us", "p99 ms", 1e-3),
    ("quiet_p99_us", "p99 ms without hiccups", 1e-3),
    ("hiccup_percent", "hiccups %", 1.0),
    ("requests_per_second", "requests/s", 1.0),
    ("points_per_second", "points/s", 1.0),
    ("cpu_percent", "server busy %", 1.0),
    ("duplicates_percent", "duplicates %", 1.0),
    ("marks_per_point", "marks/point", 1.0),
    ("blackhole_cpu_percent", "blackhole CPU %", 1.0),
    ("blackhole_headroom", "blackhole headroom ×", 1.0),
    ("bytes_per_metric", "table B/metric", 1.0),
    ("process_bytes_per_metric", "process B/metric", 1.0),
    ("bytes_per_connection", "B/connection", 1.0),
    ("metrics_seen", "metrics in all", 1.0),
    ("resident_mb", "memory MB", 1.0),
];
/// Those whose rounds' range is worth the room.
const RANGED: [&str; 5] = [
    "cpu_us_per_request",
    "cpu_us_per_point",
    "p99_us",
    "quiet_p99_us",
    "hiccup_percent",
];

pub fn details(results: &Results) -> Vec<Vec<String>> {
    let seen = |measure: &str| {
        results
            .outcomes
            .iter()
            .any(|outcome| outcome.median(measure).is_some())
    };
    let columns: Vec<_> = COLUMNS.iter().filter(|column| seen(column.0)).collect();
    let mut rows = vec![
        std::iter::once(String::new())
            .chain(columns.iter().map(|column| column.1.to_owned()))
            .collect(),
    ];
    for outcome in &results.outcomes {
        let cell = |&&(measure, _, scale): &&(&str, &str, f64)| {
            let median = outcome.median(measure);
            let range = outcome.range(measure);
            match (median, range) {
                (Some(median), Some((low, high)))
                    if outcome.rounds.len() > 1 && RANGED.contains(&measure) =>
                {
                    format!(
                        "{} ({}-{})",
                        number(median * scale),
                        number(low * scale),
                        number(high * scale)
                    )
                }
                (Some(median), _) => number(median * scale),
                _ => String::new(),
            }
        };
        rows.push(
            std::iter::once(outcome.target.clone())
                .chain(columns.iter().map(cell))
                .collect(),
        );
    }
    rows
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let padded = |row: &Vec<String>| {
        let pad = |(cell, width): (&String, &usize)| {
            format!("{cell}{}", " ".repeat(width - cell.chars().count()))
        };
        line(row.iter().zip(&widths).map(pad).collect())
    };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text += &padded(row);
        if index == 0 {
            text += &line(
                widths
                    .iter()
                    .map(|width| "-".repeat((*width).max(3)))
                    .collect(),
            );
        }
    }
    text
}
