//! The list as the second half of docs/tuning.md. Pure.

use std::fmt::Write;

use super::{Item, Side, Wishes, check, list};

/// What follows is made from the list; a test compares.
pub const BEGIN: &str = "## The list\n";

pub fn page(wishes: &Wishes) -> String {
    let mut out = String::from(BEGIN);
    for item in list::all() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n### {}\n", item.id);
        let _ = writeln!(out, "{}\n", facts(item, wishes));
        let _ = writeln!(out, "{}.\n", sentence(item.why));
        let _ = writeln!(out, "- When: {}", item.when);
        let _ = writeln!(out, "- Risk: {}", item.risk);
        let _ = writeln!(out, "- From: {}", item.source);
    }
    out
}

fn facts(item: &Item, wishes: &Wishes) -> String {
    let paths: Vec<String> = item.reads.iter().map(|path| format!("`{path}`")).collect();
    let mut facts = format!(
        "**{}** · {} · {} · reads {}",
        check::required(item, wishes),
        item.kind.word(),
        item.severity.word(),
        paths.join(", "),
    );
    if let Some(applies) = item.applies {
        facts += &format!(" · only if {}", applies.only_if);
    }
    if item.side == Side::Generator {
        facts += " · only with `--generator`";
    }
    if item.reboot {
        facts += " · needs a reboot";
    }
    facts
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // A name that is written small stays so.
        Some(first)
            if !text
                .split(' ')
                .next()
                .is_some_and(|word| word.contains('_')) =>
        {
            first.to_uppercase().collect::<String>() + chars.as_str()
        }
        _ => text.to_owned(),
    }
}
