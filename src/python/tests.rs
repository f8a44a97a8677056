//! The interpreter itself is the oracle.

use proptest::prelude::*;

use super::settings::{Why, read};
use super::{Entry, Value};
use crate::last::text::tests::python;

fn one(text: &str) -> Option<Value> {
    let mut settings = read(&format!("X = {text}\n"));
    let assigned = settings.assigned.pop()?;
    assert_eq!((assigned.name.as_str(), settings.left_out.len()), ("X", 0));
    Some(assigned.value)
}

/// As Python's `json.dumps` would have it, so that the two can be compared.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Flag(flag) => (*flag).into(),
        Value::Whole(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Dict(entries) => {
            let pair = |entry: &Entry| (key(&entry.key), json(&entry.value));
            entries.iter().map(pair).collect()
        }
    }
}

fn key(value: &Value) -> String {
    match json(value) {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

const LITERALS: &[&str] = &[
    "'a'",
    "\"it's\"",
    "'''a\n'b' \\x41\n'''",
    "\"\"\"a\n\"\"\"",
    "r'a\\d\\''",
    "u'caf\\u00e9' U'x'",
    "'a' 'b' \\\n  \"c\"",
    "('a'\n  # why\n  'b')",
    "''",
    "0",
    "-17",
    "+1_000",
    "0x_fF",
    "0o17",
    "0b101",
    "00",
    "1.5",
    ".5",
    "5.",
    "1e3",
    "-1.5E-07",
    "1_0.0_1",
    "1e0_1",
    "True",
    "False",
    "None",
    "[]",
    "()",
    "(1)",
    "(1,)",
    "[1, 'a', [True, None],]",
    "1, 2",
    "1,",
    "{}",
    "{'a': 1, 'b': {'c': [1.0]},  # why\n}",
    "{\n  'a':\n  'x'\n  'y',\n}",
    "'a'; Y_ = 1",
    "'\\101\\7\\q\\\n'",
    "9223372036854775807",
];

#[test]
fn literals_are_what_python_says_they_are() {
    let script = "
import json, sys
for text in json.load(sys.stdin):
    space = {}
    exec('X = ' + text, space)
    print(json.dumps(space['X']))
";
    let input = serde_json::to_vec(LITERALS).unwrap();
    let Some(said) = python("python3", script, input) else {
        return;
    };
    let said = String::from_utf8(said).unwrap();
    assert_eq!(said.lines().count(), LITERALS.len());
    for (text, line) in LITERALS.iter().zip(said.lines()) {
        let expected: serde_json::Value = serde_json::from_str(line).unwrap();
        let settings = read(&format!("X = {text}\n"));
        let x = settings.assigned.iter().find(|known| known.name == "X");
        let x = x.unwrap_or_else(|| panic!("{text} was not read: {settings:?}"));
        assert_eq!(json(&x.value), expected, "{text}");
    }
}

#[test]
fn what_is_no_literal_is_named_with_its_line_and_left_out() {
    for text in [
        "1 + 2",
        "a",
        "f('x')",
        "f'x'",
        "b'x'",
        "rb'x'",
        "'%s' % x",
        "'a' + 'b'",
        "[1, a]",
        "[1 2]",
        "[,]",
        "{1}",
        "{'a' 1}",
        "{**a}",
        "[x for x in y]",
        "lambda: 1",
        "1j",
        "0777",
        "10L",
        "1__0",
        "1_",
        "0x",
        "'a",
        "'\\x4'",
        "'\\ud800'",
        "-'a'",
        "--1",
        "1 if a else 2",
        "x = 1",
        "",
        "99999999999999999999",
        "not True",
        "...",
        "1.2.3",
        "1e",
    ] {
        let settings = read(&format!("\nX = {text}\nY = 1\n"));
        let left: Vec<_> = settings
            .left_out
            .iter()
            .map(|l| (&*l.name, l.line, l.why))
            .collect();
        assert_eq!(left, [("X", 2, Why::NoLiteral)], "{text}");
        assert_eq!(settings.assigned.len(), 1, "{text}: {settings:?}");
    }
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    assert_eq!(read(&format!("X = {deep}")).left_out[0].why, Why::NoLiteral);
}

#[test]
fn a_settings_file_is_read_to_its_end_whatever_stands_in_it() {
    let text = r#"
"""
:var A: = 'not an assignment'
"""
import os, sys
from os.path import dirname, \
    abspath
A = 'first'  # a comment
B = (A, "x",
     # another
     ")")
C = '%s/x' % A
@decorator
def f(a, b={'c': "d"}):
    D = 1
    return """
G = 1
"""
if A == 'x':
    E = 1
E = 2
F = [1]
F += [2]
G = {}
G['a'] = 1
H = 1; I = H
try:
    I = 3
except: pass
A = 'last'
J = {'k1': A,
     'k2': None}
"#;
    let settings = read(text);
    let assigned: Vec<_> = settings
        .assigned
        .iter()
        .map(|known| (&*known.name, known.line))
        .collect();
    assert_eq!(
        assigned,
        [("B", 9), ("E", 21), ("H", 26), ("A", 30), ("J", 31)]
    );
    let value = |name: &str| {
        settings
            .assigned
            .iter()
            .find(|known| known.name == name)
            .map(|k| json(&k.value))
    };
    assert_eq!(value("B"), Some(serde_json::json!(["first", "x", ")"])));
    assert_eq!(
        value("J"),
        Some(serde_json::json!({"k1": "last", "k2": null}))
    );
    let left: Vec<_> = settings
        .left_out
        .iter()
        .map(|left| (&*left.name, left.line, left.why))
        .collect();
    assert_eq!(
        left,
        [
            ("import", 5, Why::Statement),
            ("from", 6, Why::Statement),
            ("C", 12, Why::NoLiteral),
            ("", 13, Why::Statement),
            ("def", 14, Why::Statement),
            ("D", 15, Why::InBlock),
            ("return", 16, Why::Statement),
            ("if", 19, Why::Statement),
            ("F", 23, Why::Changed),
            ("G", 25, Why::Changed),
            ("try", 27, Why::Statement),
            ("I", 28, Why::InBlock),
            ("except", 29, Why::Statement),
        ]
    );
}

#[test]
fn line_ends_and_a_mark_of_other_editors_change_nothing() {
    let settings = read("\u{feff}A = 1\r\nB = '''x\r\ny'''\rC = 2");
    assert_eq!(settings.left_out, []);
    let values: Vec<_> = settings
        .assigned
        .iter()
        .map(|known| (json(&known.value), known.line))
        .collect();
    assert_eq!(values, [(1.into(), 1), ("x\ny".into(), 2), (2.into(), 4)]);
}

#[test]
fn what_has_no_end_takes_the_rest_with_it_and_says_so() {
    for text in ["X = [1,\nY = 2\n", "X = '''a\nY = 2\n", "X = f(\nY = 2"] {
        let settings = read(text);
        assert_eq!(settings.assigned, [], "{text}");
        let left: Vec<_> = settings
            .left_out
            .iter()
            .map(|l| (&*l.name, l.line, l.why))
            .collect();
        assert_eq!(left, [("X", 1, Why::NoEnd)], "{text}");
    }
}

#[test]
fn a_value_is_told_by_its_kind_alone() {
    assert_eq!(one("'secret'").map(|value| value.kind()), Some("a text"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\](){}'\"\\\\,=:;#.uUrxbfeXY_0-9+\\- é\t\n]{0,60}") {
        let _ = read(&text);
    }
}
