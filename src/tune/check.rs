//! What is there against what is wanted, one row per item. Pure.

use super::host::{Host, Reading, chosen, value};
use super::{Item, Kind, Severity, Side, Status, Wishes, list};

/// One line of `flux tune check`.
pub struct Row {
    pub item: &'static Item,
    pub status: Status,
    pub current: String,
    pub required: String,
    /// Why it matters, or what exactly is wrong and how it is cured.
    pub reason: String,
    /// What would make it right.
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    /// As it was read, byte for byte.
    pub before: String,
    /// The value to write.
    pub after: String,
}

/// How one file's text stands to an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    Good,
    /// This value would do.
    Change(String),
    /// None of the values it can have is a wanted one.
    NotOffered,
    NotUnderstood,
}

pub fn rows(host: &Host, wishes: &Wishes) -> Vec<Row> {
    let looked_at = |item: &&Item| item.side == Side::Service || wishes.generator;
    let items = list::all().filter(looked_at);
    items.map(|item| row(item, host, wishes)).collect()
}

fn row(item: &'static Item, host: &Host, wishes: &Wishes) -> Row {
    let mut row = match item.kind {
        Kind::Report(judge) => {
            let judged = judge(host, wishes);
            Row {
                item,
                status: judged.status,
                current: judged.current,
                required: judged.required,
                reason: judged.because.unwrap_or_else(|| item.why.to_owned()),
                changes: Vec::new(),
            }
        }
        _ => written(item, host, wishes),
    };
    if let Some(applies) = item.applies
        && !(applies.holds)(host, wishes)
    {
        row.status = Status::NotApplicable;
        row.reason = format!("only if {}", applies.only_if);
        row.changes.clear();
    }
    row
}

fn written(item: &'static Item, host: &Host, wishes: &Wishes) -> Row {
    let mut row = Row {
        item,
        status: Status::Ok,
        current: String::new(),
        required: required(item, wishes),
        reason: item.why.to_owned(),
        changes: Vec::new(),
    };
    let offered = item.offered.and_then(|path| host.text(path));
    let pattern = wishes.path(item.reads[0]);
    let mut values: Vec<String> = Vec::new();
    let mut worst = None;
    for (path, reading) in host.matching(&pattern) {
        let text = match reading {
            Reading::Text(text) => text,
            Reading::Missing => continue,
            Reading::Unreadable(why) => {
                row.reason = format!("cannot be read ({why})");
                worst = worst.or(Some(Status::Unknown));
                continue;
            }
        };
        let current = value(text);
        if !values.contains(&current) {
            values.push(current);
        }
        match fit(&item.kind, text, offered, wishes) {
            Fit::Good => {}
            Fit::Change(after) => row.changes.push(Change {
                path: path.to_owned(),
                before: text.to_owned(),
                after,
            }),
            Fit::NotOffered => worst = Some(Status::Unsupported),
            Fit::NotUnderstood => worst = worst.or(Some(Status::Unknown)),
        }
    }
    row.current = values.join(", ");
    row.status = match worst {
        _ if !row.changes.is_empty() => Status::Wrong,
        Some(worst) => worst,
        None if values.is_empty() => Status::Unsupported,
        None => Status::Ok,
    };
    if row.status == Status::Wrong
        && let Some(Err(fault)) = item.need.map(|need| need(host, wishes))
    {
        row.reason = fault.to_string();
    }
    row
}

pub fn required(item: &Item, wishes: &Wishes) -> String {
    let words = |numbers: Vec<u64>| {
        let words: Vec<String> = numbers.iter().map(u64::to_string).collect();
        words.join(" ")
    };
    match item.kind {
        Kind::Minimum(least) => format!("at least {}", words(least(wishes))),
        Kind::Covers(low, high) => format!("at least {low} to {high}"),
        Kind::Exact(value) => value.to_owned(),
        Kind::OneOf(values) => values.join(" or "),
        Kind::Report(judge) => judge(&Host::default(), wishes).required,
    }
}

pub fn fit(kind: &Kind, text: &str, offered: Option<&str>, wishes: &Wishes) -> Fit {
    let current = value(text);
    match kind {
        Kind::Exact(wanted) => one_of(text, &current, &[wanted], offered),
        Kind::OneOf(wanted) => one_of(text, &current, wanted, offered),
        Kind::Report(_) => Fit::Good,
        Kind::Minimum(_) | Kind::Covers(..) => {
            let words = current.split(' ').map(|word| word.parse().ok());
            let has: Option<Vec<u64>> = words.collect();
            match has.and_then(|has| Some((raised(kind, &has, wishes)?, has))) {
                None => Fit::NotUnderstood,
                Some((wanted, has)) if wanted == has => Fit::Good,
                Some((wanted, _)) => {
                    let words: Vec<String> = wanted.iter().map(u64::to_string).collect();
                    Fit::Change(words.join(" "))
                }
            }
        }
    }
}

/// A minimum never comes out lower than it was, in any of its numbers, and a range never narrower.
fn raised(kind: &Kind, has: &[u64], wishes: &Wishes) -> Option<Vec<u64>> {
    match (kind, has) {
        (Kind::Covers(low, high), [has_low, has_high]) => {
            Some(vec![*has_low.min(low), *has_high.max(high)])
        }
        (Kind::Minimum(least), has) => {
            let least = least(wishes);
            let pairs = has.iter().zip(&least);
            (has.len() == least.len()).then(|| pairs.map(|(has, least)| *has.max(least)).collect())
        }
        _ => None,
    }
}

fn one_of(text: &str, current: &str, wanted: &[&str], offered: Option<&str>) -> Fit {
    if wanted.contains(&current) {
        return Fit::Good;
    }
    // A file of choices names its own.
    let offered = offered.or_else(|| chosen(text).map(|_| text));
    let is_offered = |value: &&&str| {
        offered.is_none_or(|words| words.split_whitespace().any(|word| word == **value))
    };
    match wanted.iter().find(is_offered) {
        Some(value) => Fit::Change((*value).to_owned()),
        None => Fit::NotOffered,
    }
}

/// 0: all is well; 1: something advised is wrong; 2: the service cannot run.
pub fn exit_code(rows: &[Row]) -> u8 {
    let wrong = rows.iter().filter(|row| row.status == Status::Wrong);
    match wrong.map(|row| row.item.severity).max() {
        Some(Severity::Required) => 2,
        Some(Severity::Advised) => 1,
        Some(Severity::Note) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_choice_that_is_not_offered_is_not_wrong_but_unsupported() {
        let kind = Kind::OneOf(&["mq-deadline", "none"]);
        let fit = |text: &str, offered| fit(&kind, text, offered, &Wishes::default());
        let change = |value: &str| Fit::Change(value.to_owned());
        assert_eq!(fit("none [bfq] mq-deadline\n", None), change("mq-deadline"));
        assert_eq!(fit("none [bfq]\n", None), change("none"));
        assert_eq!(fit("[bfq]\n", None), Fit::NotOffered);
        assert_eq!(fit("bfq\n", None), change("mq-deadline"));
        assert_eq!(fit("bfq\n", Some("bfq none\n")), change("none"));
        assert_eq!(fit("bfq\n", Some("bfq\n")), Fit::NotOffered);
        assert_eq!(fit("[none] bfq\n", None), Fit::Good);
    }

    proptest! {
        #[test]
        fn a_minimum_is_never_lowered_and_is_met_afterwards(
            has in proptest::collection::vec(any::<u64>(), 3),
        ) {
            let kind = Kind::Minimum(|_| vec![4096, 131_072, 6_291_456]);
            let text = format!("{}\t{}\t{}\n", has[0], has[1], has[2]);
            let fits = |text: &str| fit(&kind, text, None, &Wishes::default());
            match fits(&text) {
                Fit::Good => {}
                Fit::Change(after) => {
                    let then: Vec<u64> =
                        after.split(' ').map(|word| word.parse().unwrap()).collect();
                    prop_assert!(then.iter().zip(&has).all(|(then, has)| then >= has));
                    prop_assert_eq!(fits(&after), Fit::Good);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_text_of_a_file_is_a_surprise(text in "\\PC{0,40}") {
            for item in list::all() {
                let fits = |text: &str| fit(&item.kind, text, None, &Wishes::default());
                if let Fit::Change(after) = fits(&text) {
                    prop_assert_eq!(fits(&after), Fit::Good, "{}", item.id);
                }
            }
        }
    }
}
