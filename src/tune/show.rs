//! The answer of `flux tune check`: a table for people, JSON for programs. Pure.

use std::fmt::Write;

use serde::Serialize;

use super::check::{Row, exit_code};
use super::{Severity, Status};

/// A longer value keeps its column from being read as one.
const CELL_CHARS_MAX: usize = 40;

pub fn table(rows: &[Row]) -> String {
    let mut lines: Vec<[String; 6]> = vec![
        [
            "STATUS", "SEVERITY", "SETTING", "CURRENT", "REQUIRED", "REASON",
        ]
        .map(str::to_owned),
    ];
    for row in rows {
        lines.push([
            row.status.word().to_owned(),
            row.item.severity.word().to_owned(),
            row.item.id.to_owned(),
            cell(&row.current),
            cell(&row.required),
            row.reason.clone(),
        ]);
    }
    let mut widths = [0; 5];
    for line in &lines {
        for (width, text) in widths.iter_mut().zip(line) {
            *width = (*width).max(text.chars().count());
        }
    }
    let mut out = String::new();
    for line in &lines {
        // Writing to a String cannot fail.
        for (text, width) in line.iter().zip(widths) {
            let _ = write!(out, "{text:width$}  ");
        }
        let _ = writeln!(out, "{}", line[5]);
    }
    let _ = writeln!(out, "{}", summary(rows));
    out
}

fn cell(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text if text.chars().count() > CELL_CHARS_MAX => {
            let cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
            cut + "…"
        }
        text => text.to_owned(),
    }
}

pub fn summary(rows: &[Row]) -> String {
    let count = |status, severity: Option<Severity>| {
        let of = |row: &&Row| severity.is_none_or(|severity| row.item.severity == severity);
        let rows = rows.iter().filter(|row| row.status == status);
        rows.filter(of).count()
    };
    let wrong = |severity| count(Status::Wrong, Some(severity));
    format!(
        "{} ok, {} wrong ({} required, {} advised, {} to note), {} unsupported here, {} do not apply, {} unknown",
        count(Status::Ok, None),
        count(Status::Wrong, None),
        wrong(Severity::Required),
        wrong(Severity::Advised),
        wrong(Severity::Note),
        count(Status::Unsupported, None),
        count(Status::NotApplicable, None),
        count(Status::Unknown, None),
    )
}

#[derive(Serialize)]
struct Document<'a> {
    exit: u8,
    settings: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    status: &'a str,
    severity: &'a str,
    kind: &'a str,
    current: &'a str,
    required: &'a str,
    reason: &'a str,
    when: &'a str,
    risk: &'a str,
    needs_reboot: bool,
    reads: &'a [&'a str],
    /// What `apply` would write, path and value.
    changes: Vec<(&'a str, &'a str)>,
}

pub fn json(rows: &[Row]) -> String {
    let settings = rows.iter().map(|row| Entry {
        id: row.item.id,
        status: row.status.word(),
        severity: row.item.severity.word(),
        kind: row.item.kind.word(),
        current: &row.current,
        required: &row.required,
        reason: &row.reason,
        when: row.item.when,
        risk: row.item.risk,
        needs_reboot: row.item.reboot,
        reads: row.item.reads,
        changes: row
            .changes
            .iter()
            .map(|change| (&*change.path, &*change.after))
            .collect(),
    });
    let document = Document {
        exit: exit_code(rows),
        settings: settings.collect(),
    };
    let text = serde_json::to_string_pretty(&document);
    text.expect("texts and numbers become JSON") + "\n"
}
