//! How the values that are more than a number or a word are read. Pure.

use std::path::{Path, PathBuf};

use super::endpoint::listen;
use super::key::{KEY_CHARACTERS, is_key};
use super::setting::{Given, Wrong, quoted};
use super::{Keys, Listen};

pub fn path(given: &Given) -> Result<PathBuf, Wrong> {
    match given.text()? {
        text if text.is_empty() || text.contains('\0') => Err(Wrong::Kind),
        text => Ok(PathBuf::from(text)),
    }
}

pub fn path_text(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A list, one address, or (from the environment and flags) several with commas between.
pub fn listeners(given: &Given) -> Result<Vec<Listen>, Wrong> {
    let one = |text: &str| listen(text.trim()).map_err(Wrong::Said);
    let listeners: Vec<Listen> = match given {
        Given::List(items) => items
            .iter()
            .map(|item| one(item.text()?))
            .collect::<Result<_, _>>()?,
        _ => given
            .text()?
            .split(',')
            .map(one)
            .collect::<Result<_, _>>()?,
    };
    if listeners.is_empty() {
        return Err(Wrong::Kind);
    }
    Ok(listeners)
}

pub enum Word {
    Auto,
    Shared,
    Number(u32),
}

/// The environment and flags give numbers as text.
pub fn auto_or_number(given: &Given, min: u64, max: u64) -> Result<Word, Wrong> {
    let number = match given {
        Given::Text(text) if text == "auto" => return Ok(Word::Auto),
        Given::Text(text) if text == "shared" => return Ok(Word::Shared),
        Given::Text(text) => Given::Whole(text.parse().map_err(|_| Wrong::Kind)?),
        other => other.clone(),
    };
    let number = number.whole(min, max)?;
    Ok(Word::Number(number.try_into().map_err(|_| Wrong::Kind)?))
}

/// Skip patterns; as many and as long as anybody ever listed, and few enough to be compiled.
pub fn patterns(given: &Given) -> Result<Vec<String>, Wrong> {
    const PATTERNS_MAX: usize = 1000;
    const PATTERN_BYTES_MAX: usize = 255;
    let Given::List(items) = given else {
        return Err(Wrong::Kind);
    };
    if items.len() > PATTERNS_MAX {
        return Err(Wrong::Said(format!(
            "{} patterns; at most {PATTERNS_MAX}",
            items.len()
        )));
    }
    let pattern = |item: &Given| match item.text()? {
        "" => Err(Wrong::Said(
            "an empty pattern matches everything".to_owned(),
        )),
        text if text.len() > PATTERN_BYTES_MAX => Err(Wrong::Said(format!(
            "a pattern of {} bytes; at most {PATTERN_BYTES_MAX}",
            text.len()
        ))),
        text => Ok(text.to_owned()),
    };
    items.iter().map(pattern).collect()
}

pub fn patterns_text(patterns: &[String]) -> String {
    let lines = patterns.iter().map(|text| format!("\n  {},", quoted(text)));
    match patterns {
        [] => "[]".to_owned(),
        _ => format!("[{}\n]", lines.collect::<String>()),
    }
}

/// Entries are named by their line: the key itself is a secret.
pub fn namespaces(given: &Given, keys: &mut Keys) -> Result<(), Wrong> {
    let Given::Table(members) = given else {
        return Err(Wrong::Kind);
    };
    let mut wrong = Vec::new();
    for member in members {
        let (key, prefix, line) = (&member.name, &member.value, member.line);
        if !is_key(key) {
            wrong.push(format!(
                "the key on line {line} has {} characters or others than letters and digits (hidden); \
                 a key is {KEY_CHARACTERS} letters and digits",
                key.chars().count()
            ));
        }
        let (prefix, quota) = match namespace(prefix) {
            Ok(read) => read,
            Err(fault) => {
                wrong.push(format!("the prefix on line {line} {fault}"));
                continue;
            }
        };
        if let Some(quota) = quota
            && *keys.quotas.entry(prefix.to_owned()).or_insert(quota) != quota
        {
            wrong.push(format!(
                "the quota of {} on line {line} differs from the one before it",
                quoted(prefix)
            ));
        }
        keys.namespaces.insert(key.clone(), prefix.to_owned());
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Wrong::Several(wrong))
    }
}

/// A prefix, alone or in a table with its quota; the error completes "the prefix on line N …".
fn namespace(given: &Given) -> Result<(&str, Option<usize>), String> {
    /// A place takes 8 bytes, and some 16 on each shard.
    const QUOTA_MAX: u64 = 1_000_000;
    let (mut prefix, mut quota) = (None, None);
    match given {
        Given::Text(text) => prefix = Some(text.as_str()),
        Given::Table(members) => {
            for member in members {
                match (member.name.as_str(), &member.value) {
                    ("prefix", Given::Text(text)) => prefix = Some(text),
                    ("quota", value) => {
                        let number = value.whole(1, QUOTA_MAX);
                        let fault = format!(
                            "has a quota of {}; a quota is a whole number from 1 to {QUOTA_MAX}",
                            value.found(false)
                        );
                        let number = number.map_err(|_| fault)?;
                        quota = Some(usize::try_from(number).unwrap_or(usize::MAX));
                    }
                    // The name may be a key in the wrong place: it is not shown.
                    _ => return Err("has members other than prefix, a text, and quota".to_owned()),
                }
            }
        }
        other => {
            return Err(format!(
                "is {}; a prefix is a text, \"\" for none, or {{ prefix = …, quota = N }}",
                other.found(false)
            ));
        }
    }
    let Some(prefix) = prefix else {
        return Err("is missing in its table".to_owned());
    };
    if let Some(fault) = prefix_fault(prefix) {
        return Err(format!("is {}, which {fault}", quoted(prefix)));
    }
    if prefix.is_empty() && quota.is_some() {
        return Err("is empty and has a quota; a quota is a namespace's".to_owned());
    }
    Ok((prefix, quota))
}

/// A prefix is put before names that were already checked, so it must keep to their rules itself.
pub fn prefix_fault(prefix: &str) -> Option<&'static str> {
    /// Whisper makes one directory per dot; a longer prefix leaves names no room.
    const PREFIX_BYTES_MAX: usize = 255;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-%._/=:".contains(c);
    if !prefix.chars().all(allowed) {
        Some("has characters no metric may have; letters, digits and + - % . _ / = : are allowed")
    } else if prefix.starts_with('.') || prefix.ends_with('.') || prefix.contains("..") {
        Some("has a dot too many; the dot between prefix and name is added")
    } else if prefix.len() > PREFIX_BYTES_MAX {
        Some("is too long; at most 255 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_keeps_to_the_rules_of_names() {
        for good in ["", "warehouse-1", "a.b", "a=b:c/d%+_"] {
            assert_eq!(prefix_fault(good), None, "{good}");
        }
        for bad in ["a b", "a.", ".a", "a..b", "a;b", "café"] {
            assert!(prefix_fault(bad).is_some(), "{bad}");
        }
    }
}
