//! The words of a Prometheus query, held against the catalog. Not a parser: promtool is one.

use std::collections::BTreeSet;

use skyline_flux::telemetry::catalog::{Kind, Metric, metrics};
use skyline_flux::telemetry::{Process, Snapshot, prometheus};

/// What the queries use of PromQL.
const WORDS: &[&str] = &[
    "absent",
    "and",
    "avg",
    "by",
    "changes",
    "count",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "offset",
    "predict_linear",
    "rate",
    "sum",
    "time",
    "topk",
];
/// Prometheus adds these labels to all that it scrapes, and this series for each target.
const TARGET_LABELS: &[&str] = &["job", "instance"];
const TARGET_SERIES: &str = "up";

#[derive(Debug, PartialEq)]
enum Token<'t> {
    Word(&'t str),
    Text(&'t str),
    Sign(char),
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let length = if first == '"' {
            let end = rest[1..].find('"').expect("a text ends");
            found.push(Token::Text(&rest[1..1 + end]));
            end + 2
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            if !first.is_ascii_digit() {
                found.push(Token::Word(&rest[..end]));
            }
            end
        } else {
            if !first.is_whitespace() {
                found.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The metric that a series belongs to, and whether it is a histogram's.
fn metric(series: &str) -> Option<(&'static Metric, bool)> {
    metrics().find_map(|metric| {
        let rest = series.strip_prefix(metric.name)?;
        let histogram = metric.kind == Kind::Histogram;
        let known = match histogram {
            true => ["_bucket", "_sum", "_count"].contains(&rest),
            false => rest.is_empty(),
        };
        known.then_some((metric, histogram))
    })
}

/// Whether a metric can have this value under a label, as far as it shows its values before it counts.
fn has_value(metric: &Metric, label: &str, value: &str) -> bool {
    let process = Process {
        version: "",
        started_at_seconds: 0,
        namespaces: Vec::new(),
        reloads: Default::default(),
        ready: true,
    };
    let text = prometheus::render(&process, &[Snapshot::default()], &Snapshot::default());
    let begin = format!("{}{{", metric.name);
    let shown: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(&begin))
        .collect();
    let pair = format!("{label}=\"{value}\"");
    shown.is_empty() || shown.iter().any(|line| line.contains(&pair))
}

/// What a query names that is not there.
pub fn faults(query: &str) -> Vec<String> {
    let all = tokens(query);
    let mut found = Vec::new();
    let mut labels: BTreeSet<&str> = TARGET_LABELS.iter().copied().collect();
    // Labels after `by` may be those of any metric of the query.
    for token in &all {
        if let Token::Word(word) = token
            && let Some((metric, histogram)) = metric(word)
        {
            labels.extend(metric.labels);
            labels.extend(histogram.then_some("le"));
        }
    }
    let mut at = 0;
    let mut selected: Option<&'static Metric> = None;
    let (mut in_braces, mut after_by) = (false, false);
    while at < all.len() {
        match &all[at] {
            Token::Sign('{') => in_braces = true,
            Token::Sign('}') => (in_braces, selected) = (false, None),
            Token::Sign(')') => after_by = false,
            Token::Word(label) if in_braces => {
                let own = selected.is_some_and(|metric| metric.labels.contains(label));
                let le = *label == "le" && selected.is_some_and(|m| m.kind == Kind::Histogram);
                if !own && !le && !TARGET_LABELS.contains(label) {
                    found.push(format!("label {label} in {query}"));
                } else if own
                    && let Some(metric) = selected
                    && let Some(Token::Text(value)) = all[at + 1..]
                        .iter()
                        .find(|token| matches!(token, Token::Text(_)))
                    && !has_value(metric, label, value)
                {
                    found.push(format!("value {value} of {label} in {query}"));
                }
            }
            Token::Word(label) if after_by => {
                if !labels.contains(label) {
                    found.push(format!("label {label} in {query}"));
                }
            }
            Token::Word("by") => after_by = true,
            Token::Word(word) if WORDS.contains(word) || *word == TARGET_SERIES => {}
            Token::Word(word) => match metric(word) {
                Some((metric, _)) => selected = Some(metric),
                None => found.push(format!("{word} in {query}")),
            },
            Token::Text(_) | Token::Sign(_) => {}
        }
        at += 1;
    }
    found
}
