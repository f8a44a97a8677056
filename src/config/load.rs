//! Flags over environment over file over defaults; every problem is found before one is reported.

use std::path::Path;

use super::Config;
use super::catalog::{CATALOG, NOT_YET};
use super::check::check;
use super::file;
use super::key;
use super::problem::{Problem, Problems};
use super::setting::{Given, Member, Setting};

/// What the command line says; text, because it is checked where everything else is.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub listen: Option<String>,
    pub carbon: Option<String>,
    pub redis: Option<String>,
    pub data_dir: Option<String>,
    pub shards: Option<String>,
}

/// A key that can be given without a file.
pub struct Override {
    pub path: &'static str,
    pub variable: &'static str,
    pub flag: Option<Flag>,
}

pub struct Flag {
    pub name: &'static str,
    text: fn(&Overrides) -> Option<&String>,
}

macro_rules! overrides {
    ($($path:literal, $variable:literal $(, $flag:literal => $field:ident)?;)+) => {
        &[$(Override {
            path: $path,
            variable: $variable,
            flag: overrides!(@flag $($flag => $field)?),
        }),+]
    };
    (@flag $flag:literal => $field:ident) => {
        Some(Flag { name: $flag, text: |flags| flags.$field.as_ref() })
    };
    (@flag) => { None };
}

pub static OVERRIDES: &[Override] = overrides! {
    "http.listen", "FLUX_LISTEN", "--listen" => listen;
    "carbon.endpoint", "FLUX_CARBON", "--carbon" => carbon;
    "last.store", "FLUX_REDIS", "--redis" => redis;
    "data_dir", "FLUX_DATA_DIR", "--data-dir" => data_dir;
    "cpu.shards", "FLUX_SHARDS", "--shards" => shards;
    // Not a flag: every user can read a command line.
    "keys.self", "FLUX_SELF_API_KEY";
};

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
    for known in OVERRIDES {
        let variable = known.variable;
        // An empty variable is one not set: that is how compose files leave one out.
        if let Some(text) = env(variable).filter(|text| !text.is_empty()) {
            reading.override_by(known.path, variable, &format!("{variable}="), &text);
        }
    }
    for known in OVERRIDES {
        if let Some(flag) = &known.flag
            && let Some(text) = (flag.text)(flags)
        {
            reading.override_by(known.path, flag.name, &format!("{} ", flag.name), text);
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
        match file::parse(text) {
            Ok(members) => members.iter().for_each(|member| self.top_level(member)),
            Err(problems) => return self.problems.extend(problems),
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

    fn top_level(&mut self, member: &Member) {
        let name = member.name.as_str();
        if let Some(setting) = find("", name) {
            return self.read(setting, &member.value);
        }
        if !CATALOG.iter().any(|setting| setting.section == name) {
            return self.unknown("", member);
        }
        let Given::Table(members) = &member.value else {
            self.problems.push(Problem::new(
                name,
                format!("expected a section, found {}", member.value.found(true)),
                format!("write [{name}] on a line of its own, and its keys below it"),
            ));
            return;
        };
        for member in members {
            match find(name, &member.name) {
                Some(setting) => self.read(setting, &member.value),
                None => self.unknown(name, member),
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

    fn take(&mut self, setting: &Setting, given: &Given, place: &str, cure: &str) {
        let Err(wrong) = (setting.read)(given, &mut self.config) else {
            return;
        };
        let said = setting.said(wrong, given);
        self.failed.push(setting.path());
        for what in said {
            self.problems.push(Problem::new(place, what, cure));
        }
    }

    fn unknown(&mut self, section: &str, member: &Member) {
        /// Longer than any name of ours: it may be an API key that stands in the wrong place.
        const NAME_CHARACTERS_MAX: usize = 24;
        let key = member.name.as_str();
        let characters = key.chars().count();
        let name = if characters > NAME_CHARACTERS_MAX {
            format!("({characters} characters on line {}, hidden)", member.line)
        } else {
            key.to_owned()
        };
        let path = if section.is_empty() {
            name
        } else {
            format!("{section}.{name}")
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
        assert_eq!(env.len(), OVERRIDES.len());
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
