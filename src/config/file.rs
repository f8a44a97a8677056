//! TOML text → members in the order of the file, each with its line. Pure.

use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::setting::{Given, Member};

/// Every syntax error, when there is one: what was recovered around it would be a guess.
pub fn parse(text: &str) -> Result<Vec<Member>, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(members(table.get_ref(), text));
    }
    let problem = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        Problem::new(
            format!("line {}", line_of(text, at)),
            error.message().trim().replace('\n', ", "),
            "write it as TOML (https://toml.io)",
        )
    };
    Err(errors.into_iter().map(problem).collect())
}

/// The parser sorts by name; people read by line.
fn members(table: &DeTable<'_>, text: &str) -> Vec<Member> {
    let mut sorted: Vec<_> = table.iter().collect();
    sorted.sort_by_key(|(key, _)| key.span().start);
    let mut members = Vec::with_capacity(sorted.len());
    for (key, value) in sorted {
        members.push(Member {
            name: key.get_ref().to_string(),
            value: given(value.get_ref(), text),
            line: line_of(text, key.span().start),
        });
    }
    members
}

fn given(value: &DeValue<'_>, text: &str) -> Given {
    match value {
        DeValue::String(string) => Given::Text(string.to_string()),
        DeValue::Boolean(flag) => Given::Flag(*flag),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Whole(number),
            Err(_) => Given::Other(number.to_string()),
        },
        DeValue::Float(number) => Given::Other(number.to_string()),
        DeValue::Datetime(date) => Given::Other(date.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| given(item.get_ref(), text));
            Given::List(items.collect())
        }
        DeValue::Table(table) => Given::Table(members(table, text)),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
