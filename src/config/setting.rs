//! What one key of the configuration is: where it lives, what it means, how it is read and shown.
//! The list of them is in [`catalog`](super::catalog); the macros here keep that list short.

use super::Config;

/// One key. Loading, `flux check` and `flux config` are all driven by this, so they cannot disagree.
pub struct Setting {
    /// `""` for a key above all sections.
    pub section: &'static str,
    pub key: &'static str,
    /// What it is, in one sentence, with its unit.
    pub help: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
    pub kind: Kind,
    /// Its text is never repeated: not in a problem, not by `flux config`.
    pub secret: bool,
    pub read: fn(&Given, &mut Config) -> Result<(), Wrong>,
    /// The value as TOML; `None`: not set.
    pub show: fn(&Config) -> Shown,
}

pub enum Kind {
    Whole {
        min: u64,
        max: u64,
    },
    Flag,
    Choice(&'static [&'static str]),
    /// `expected` completes "expected …"; `example` is a value as TOML.
    Other {
        expected: &'static str,
        example: &'static str,
    },
}

#[derive(Debug, PartialEq)]
pub enum Shown {
    Value(String),
    /// Not set: printed as a comment that holds the example.
    Unset,
    /// Set, and holds a secret: printed as a comment without it.
    Hidden(String),
}

/// A value as it was given, from a file, the environment or a flag.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Text(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Given>),
    Table(Vec<Member>),
    /// Anything no key takes (a float, a date, a number of more than 64 bits), as written.
    Other(String),
}

/// A key of a file with its value, and the line it stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub name: String,
    pub value: Given,
    pub line: usize,
}

/// Why a value was not taken.
#[derive(Debug, PartialEq)]
pub enum Wrong {
    /// Not what the key's kind says; the message is made from the kind and the value.
    Kind,
    /// What is wrong with it, in words.
    Said(String),
    /// The same, for the members of a table.
    Several(Vec<String>),
}

impl Setting {
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.key.to_owned()
        } else {
            format!("{}.{}", self.section, self.key)
        }
    }

    /// Completes "expected …".
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Whole { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(words) => either(words),
            Kind::Other { expected, .. } => (*expected).to_owned(),
        }
    }

    /// Why a value was not taken, in words.
    pub fn said(&self, wrong: Wrong, given: &Given) -> Vec<String> {
        match wrong {
            Wrong::Kind => vec![format!(
                "expected {}, found {}",
                self.expected(),
                given.found(self.secret)
            )],
            Wrong::Said(said) => vec![said],
            Wrong::Several(said) => said,
        }
    }

    /// A value that is taken, as TOML.
    pub fn example(&self) -> String {
        if let Kind::Other { example, .. } = self.kind {
            return example.to_owned();
        }
        match (self.show)(&Config::default()) {
            Shown::Value(value) => value,
            Shown::Unset | Shown::Hidden(_) => unreachable!("these kinds always have a default"),
        }
    }
}

impl Given {
    pub fn whole(&self, min: u64, max: u64) -> Result<u64, Wrong> {
        let Given::Whole(number) = self else {
            return Err(Wrong::Kind);
        };
        let number = u64::try_from(*number).map_err(|_| Wrong::Kind)?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(Wrong::Kind)
        }
    }

    pub fn flag(&self) -> Result<bool, Wrong> {
        match self {
            Given::Flag(flag) => Ok(*flag),
            _ => Err(Wrong::Kind),
        }
    }

    pub fn text(&self) -> Result<&str, Wrong> {
        match self {
            Given::Text(text) => Ok(text),
            _ => Err(Wrong::Kind),
        }
    }

    /// Completes "found …".
    pub fn found(&self, secret: bool) -> String {
        match self {
            Given::Text(text) if secret => {
                format!("a text of {} characters (hidden)", text.chars().count())
            }
            _ if secret => "something else (hidden)".to_owned(),
            Given::Text(text) => quoted(text),
            Given::Whole(number) => number.to_string(),
            Given::Flag(flag) => flag.to_string(),
            Given::List(items) if items.is_empty() => "an empty list".to_owned(),
            Given::List(_) => "a list".to_owned(),
            Given::Table(_) => "a table".to_owned(),
            Given::Other(written) => written.clone(),
        }
    }
}

/// Text as TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn either(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// A whole number within bounds.
macro_rules! whole {
    ($section:ident . $key:ident, $min:literal ..= $max:literal, $help:literal, $why:literal) => {
        Setting {
            section: stringify!($section),
            key: stringify!($key),
            help: $help,
            why: $why,
            kind: Kind::Whole {
                min: $min,
                max: $max,
            },
            secret: false,
            read: |given, config| {
                let number = given.whole($min, $max)?;
                config.$section.$key = number
                    .try_into()
                    .expect("the catalog's bounds fit the field");
                Ok(())
            },
            show: |config| Shown::Value(config.$section.$key.to_string()),
        }
    };
}

/// True or false.
macro_rules! flag {
    ($section:ident . $key:ident, $help:literal, $why:literal) => {
        Setting {
            section: stringify!($section),
            key: stringify!($key),
            help: $help,
            why: $why,
            kind: Kind::Flag,
            secret: false,
            read: |given, config| {
                config.$section.$key = given.flag()?;
                Ok(())
            },
            show: |config| Shown::Value(config.$section.$key.to_string()),
        }
    };
}

/// One of a few words.
macro_rules! choice {
    ($section:ident . $key:ident, { $($word:literal => $variant:path),+ $(,)? }, $help:literal, $why:literal) => {
        Setting {
            section: stringify!($section),
            key: stringify!($key),
            help: $help,
            why: $why,
            kind: Kind::Choice(&[$($word),+]),
            secret: false,
            read: |given, config| {
                config.$section.$key = match given.text()? {
                    $($word => $variant,)+
                    _ => return Err(Wrong::Kind),
                };
                Ok(())
            },
            show: |config| {
                let word = match config.$section.$key {
                    $($variant => $word,)+
                };
                Shown::Value(quoted(word))
            },
        }
    };
}

/// A list of skip patterns.
macro_rules! patterns {
    ($section:ident . $key:ident, $help:literal, $why:literal) => {
        Setting {
            section: stringify!($section),
            key: stringify!($key),
            help: $help,
            why: $why,
            kind: Kind::Other {
                expected: "a list of texts",
                example: "[\"skyline.analyzer.\"]",
            },
            secret: false,
            read: |given, config| {
                config.$section.$key = patterns(given)?;
                Ok(())
            },
            show: |config| Shown::Value(patterns_text(&config.$section.$key)),
        }
    };
}

pub(super) use {choice, flag, patterns, whole};
