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
        match prefix {
            Given::Text(prefix) => match prefix_fault(prefix) {
                None => {
                    keys.namespaces.insert(key.clone(), prefix.clone());
                }
                Some(fault) => wrong.push(format!(
                    "the prefix {} on line {line} {fault}",
                    quoted(prefix)
                )),
            },
            other => wrong.push(format!(
                "the prefix on line {line} is {}; a prefix is a text, \"\" for none",
                other.found(false)
            )),
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(Wrong::Several(wrong))
    }
}

/// A prefix is put before names that were already checked, so it must keep to their rules itself.
fn prefix_fault(prefix: &str) -> Option<&'static str> {
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
