//! Flags over environment over file over defaults; every problem is found before one is reported.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::Config;
use super::catalog::{CATALOG, NOT_YET};
use super::check::check;
use super::key;
use super::problem::{Problem, Problems};
use super::setting::{Given, Setting, Wrong};

/// What the command line says; text, because it is checked where everything else is.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub listen: Option<String>,
    pub carbon: Option<String>,
    pub redis: Option<String>,
    pub data_dir: Option<String>,
    pub shards: Option<String>,
}

/// (key, environment variable)
const ENVIRONMENT: &[(&str, &str)] = &[
    ("http.listen", "FLUX_LISTEN"),
    ("carbon.endpoint", "FLUX_CARBON"),
    ("last.store", "FLUX_REDIS"),
    ("data_dir", "FLUX_DATA_DIR"),
    ("cpu.shards", "FLUX_SHARDS"),
    ("keys.self", "FLUX_SELF_API_KEY"),
];

impl Overrides {
    fn each(&self) -> [(&'static str, &'static str, &Option<String>); 5] {
        [
            ("http.listen", "--listen", &self.listen),
            ("carbon.endpoint", "--carbon", &self.carbon),
            ("last.store", "--redis", &self.redis),
            ("data_dir", "--data-dir", &self.data_dir),
            ("cpu.shards", "--shards", &self.shards),
        ]
    }
}

/// The configuration in effect. `env` looks up an environment variable.
pub fn load(
    file: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<Config, Problems> {
    let mut reading = Reading::default();
    if let Some(file) = file {
        match std::fs::read_to_string(file) {
            Ok(text) => reading.file(&text),
            Err(why) => reading.problems.push(Problem::new(
                file.display().to_string(),
                format!("cannot be read ({why})"),
                "name a readable file with --config",
            )),
        }
    }
    reading.environment(env);
    for (path, flag, text) in flags.each() {
        if let Some(text) = text {
            reading.override_by(path, flag, &format!("{flag} "), text);
        }
    }
    reading.self_file();
    reading.finish()
}

#[derive(Default)]
struct Reading {
    config: Config,
    problems: Vec<Problem>,
    /// Keys that could not be read.
    failed: Vec<String>,
}

impl Reading {
    fn file(&mut self, text: &str) {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What was recovered around a syntax error is a guess: nothing more is said about it.
            for error in errors {
                let at = error.span().map_or(0, |span| span.start);
                self.problems.push(Problem::new(
                    format!("line {}", line_of(text, at)),
                    error.message().trim().replace('\n', ", "),
                    "write it as TOML (https://toml.io)",
                ));
            }
            return;
        }
        // The parser sorts by name; people read by line.
        let mut entries: BTreeMap<usize, (&str, &DeValue<'_>)> = BTreeMap::new();
        for (name, value) in table.get_ref() {
            entries.insert(name.span().start, (name.get_ref(), value.get_ref()));
        }
        for (name, value) in entries.values() {
            self.top_level(name, value, text);
        }
        if self.config.keys.self_key.is_some() && self.config.keys.self_file.is_some() {
            self.problems.push(Problem::new(
                "keys.self_file",
                "keys.self is set too",
                "keep one of them",
            ));
            self.failed.push("keys.self_file".to_owned());
        }
    }

    fn top_level(&mut self, name: &str, value: &DeValue<'_>, text: &str) {
        if let Some(setting) = find("", name) {
            return self.read(setting, &given(value, text));
        }
        let known = CATALOG.iter().any(|s| s.section == name);
        if NOT_YET.contains(&name) || !known {
            return self.unknown("", name);
        }
        let DeValue::Table(members) = value else {
            self.problems.push(Problem::new(
                name,
                format!(
                    "expected a section, found {}",
                    given(value, text).found(false)
                ),
                format!("write [{name}] on a line of its own, and its keys below it"),
            ));
            return;
        };
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in sorted {
            match find(name, key.get_ref()) {
                Some(setting) => self.read(setting, &given(value.get_ref(), text)),
                None => self.unknown(name, key.get_ref()),
            }
        }
    }

    fn read(&mut self, setting: &Setting, given: &Given) {
        let cure = format!("write for example {} = {}", setting.key, setting.example());
        self.take(setting, given, &setting.path(), &cure);
    }

    /// A value from a place that only knows text.
    fn override_by(&mut self, path: &str, place: &str, before_value: &str, text: &str) {
        let setting = CATALOG
            .iter()
            .find(|setting| setting.path() == path)
            .expect("the tests look up every override");
        let example = setting.example();
        let cure = format!(
            "write for example {before_value}{}",
            example.trim_matches('"')
        );
        self.take(setting, &Given::Text(text.to_owned()), place, &cure);
        if path == "keys.self" {
            self.config.keys.self_file = None;
        }
    }

    /// An empty variable is one not set: that is how compose files leave one out.
    fn environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for (path, variable) in ENVIRONMENT {
            if let Some(text) = env(variable).filter(|text| !text.is_empty()) {
                self.override_by(path, variable, &format!("{variable}="), &text);
            }
        }
    }

    fn take(&mut self, setting: &Setting, given: &Given, place: &str, cure: &str) {
        let said = match (setting.read)(given, &mut self.config) {
            Ok(()) => return,
            Err(Wrong::Kind) => vec![format!(
                "expected {}, found {}",
                setting.expected(),
                given.found(setting.secret)
            )],
            Err(Wrong::Said(said)) => vec![said],
            Err(Wrong::Several(said)) => said,
        };
        self.failed.push(setting.path());
        for what in said {
            self.problems.push(Problem::new(place, what, cure));
        }
    }

    fn unknown(&mut self, section: &str, key: &str) {
        let path = if section.is_empty() {
            key.to_owned()
        } else {
            format!("{section}.{key}")
        };
        if NOT_YET.contains(&path.as_str()) {
            let what = "not in this version yet";
            self.problems.push(Problem::new(path, what, "leave it out"));
            return;
        }
        let cure = match CATALOG.iter().find(|s| s.key == key) {
            Some(elsewhere) if elsewhere.section.is_empty() => {
                format!("{key} stands above all sections")
            }
            Some(elsewhere) => format!("{key} is a key of [{}]", elsewhere.section),
            None if section.is_empty() => {
                format!(
                    "the sections are {}",
                    list(CATALOG.iter().map(|s| s.section))
                )
            }
            None => {
                let members = CATALOG.iter().filter(|s| s.section == section);
                format!("[{section}] has {}", list(members.map(|s| s.key)))
            }
        };
        self.problems.push(Problem::new(path, "unknown key", cure));
    }

    fn self_file(&mut self) {
        let failed = self.failed.iter().any(|path| path == "keys.self_file");
        let Some(file) = self.config.keys.self_file.clone().filter(|_| !failed) else {
            return;
        };
        match key::read_file(&file) {
            Ok(key) => self.config.keys.self_key = Some(key),
            Err(what) => {
                let cure = "name a readable file that holds 32 letters and digits";
                self.problems
                    .push(Problem::new("keys.self_file", what, cure));
                self.failed.push("keys.self_file".to_owned());
            }
        }
    }

    fn finish(mut self) -> Result<Config, Problems> {
        self.problems.extend(check(&self.config, &self.failed));
        if self.problems.is_empty() {
            Ok(self.config)
        } else {
            Err(Problems(self.problems))
        }
    }
}

fn find(section: &str, key: &str) -> Option<&'static Setting> {
    CATALOG
        .iter()
        .find(|s| s.section == section && s.key == key)
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    names.dedup();
    names.join(", ")
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
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
        DeValue::Array(items) => Given::List(
            items
                .iter()
                .map(|item| given(item.get_ref(), text))
                .collect(),
        ),
        DeValue::Table(members) => Given::Table(
            members
                .iter()
                .map(|(key, value)| {
                    let line = line_of(text, key.span().start);
                    (
                        key.get_ref().to_string(),
                        given(value.get_ref(), text),
                        line,
                    )
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Listen;
    use super::*;

    const KEY: &str = "0123456789abcdefghijABCDEFGHIJ01";

    fn loaded(text: &str, env: &[(&str, &str)], flags: &Overrides) -> Result<Config, Problems> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flux.toml");
        std::fs::write(&file, text).unwrap();
        let env = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        load(Some(&file), &env, flags)
    }

    fn messages(result: Result<Config, Problems>) -> Vec<String> {
        result
            .unwrap_err()
            .0
            .iter()
            .map(|p| p.to_string())
            .collect()
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(
            load(None, &|_| None, &Overrides::default()),
            Ok(Config::default())
        );
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let file =
            "[http]\nlisten = \"127.0.0.1:1\"\n[cpu]\nshards = 1\n[carbon]\nendpoint = \"a:1\"";
        let env = [
            ("FLUX_LISTEN", "127.0.0.1:2, unix:/run/f"),
            ("FLUX_SHARDS", "2"),
        ];
        let flags = Overrides {
            shards: Some("3".to_owned()),
            ..Overrides::default()
        };
        let config = loaded(file, &env, &flags).unwrap();
        assert_eq!(config.carbon.endpoint, Some(("a".to_owned(), 1)));
        let two = Listen::Tcp("127.0.0.1:2".parse().unwrap());
        assert_eq!(config.http.listen, [two, Listen::Unix("/run/f".into())]);
        assert_eq!(config.cpu.shards, Some(3));
    }

    #[test]
    fn every_override_has_its_key() {
        let env = [
            ("FLUX_LISTEN", "127.0.0.1:5"),
            ("FLUX_CARBON", "c:2004"),
            ("FLUX_REDIS", "redis://r"),
            ("FLUX_DATA_DIR", "/d"),
            ("FLUX_SHARDS", "auto"),
            ("FLUX_SELF_API_KEY", KEY),
        ];
        assert_eq!(env.len(), ENVIRONMENT.len());
        let from_env = loaded("", &env, &Overrides::default()).unwrap();
        let flags = Overrides {
            listen: Some("127.0.0.1:5".to_owned()),
            carbon: Some("c:2004".to_owned()),
            redis: Some("redis://r".to_owned()),
            data_dir: Some("/d".to_owned()),
            shards: Some("auto".to_owned()),
        };
        let mut from_flags = loaded("", &[], &flags).unwrap();
        assert_eq!(from_flags.keys.self_key, None);
        from_flags.keys.self_key = Some(KEY.to_owned());
        assert_eq!(from_env, from_flags);
        assert_ne!(from_env, Config::default());
    }

    #[test]
    fn a_problem_names_the_variable_or_the_flag_it_came_from() {
        let flags = Overrides {
            shards: Some("0".to_owned()),
            ..Overrides::default()
        };
        let env = [
            ("FLUX_SELF_API_KEY", "sesame"),
            ("FLUX_REDIS", "redis://:sesame@r/x"),
        ];
        assert_eq!(
            messages(loaded("", &env, &flags)),
            [
                "FLUX_REDIS: the database is not a whole number; write for example FLUX_REDIS=redis+unix:///tmp/redis.sock",
                "FLUX_SELF_API_KEY: expected 32 letters and digits, found a text of 6 characters (hidden); write for example FLUX_SELF_API_KEY=<32 letters and digits>",
                "--shards: expected \"auto\" or a whole number from 1 to 128, found \"0\"; write for example --shards auto",
            ]
        );
    }

    #[test]
    fn an_empty_variable_is_one_not_set() {
        let config = loaded("", &[("FLUX_CARBON", "")], &Overrides::default());
        assert_eq!(config, Ok(Config::default()));
    }

    #[test]
    fn the_key_file_is_read_and_the_environment_beats_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("k");
        let text = format!("[keys]\nself_file = \"{}\"", file.display());
        let none = Overrides::default();
        assert!(messages(loaded(&text, &[], &none))[0].starts_with("keys.self_file: "));
        // A variable beats the file, so what the file names is not looked at.
        assert!(loaded(&text, &[("FLUX_SELF_API_KEY", KEY)], &none).is_ok());
        std::fs::write(&file, format!("{KEY}\n")).unwrap();
        let config = loaded(&text, &[], &none).unwrap();
        assert_eq!(config.keys.self_key.as_deref(), Some(KEY));
        std::fs::write(&file, "sesame").unwrap();
        let said = messages(loaded(&text, &[], &none));
        assert!(said[0].starts_with("keys.self_file: ") && !said[0].contains("sesame"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem() {
        let said = messages(load(
            Some(Path::new("/nonexistent")),
            &|_| None,
            &Overrides::default(),
        ));
        assert!(
            said[0].starts_with("/nonexistent: cannot be read (No such file"),
            "{said:?}"
        );
    }
}
