//! `flux config`: the configuration in effect, as TOML with a comment on every key. With nothing
//! configured it is the reference page. Secrets are hidden, and their lines commented out, so that
//! the output can be saved and loaded.

use super::Config;
use super::catalog::CATALOG;
use super::load::OVERRIDES;
use super::setting::{Kind, Setting, Shown};

const COLUMNS: usize = 100;

pub fn render(config: &Config) -> String {
    let mut out = String::new();
    comment(
        &mut out,
        &format!(
            "flux {}: the configuration in effect. A flag beats an environment variable, which beats \
             the file, which beats the default. Unknown keys are errors; `flux check` lists every \
             problem. DATA stands for data_dir.",
            env!("CARGO_PKG_VERSION")
        ),
    );
    let defaults = Config::default();
    let mut section = "";
    for setting in CATALOG {
        out.push('\n');
        if setting.section != section {
            section = setting.section;
            out.push_str(&format!("[{section}]\n"));
        }
        one(&mut out, setting, config, &defaults);
    }
    out
}

fn one(out: &mut String, setting: &Setting, config: &Config, defaults: &Config) {
    let default = match (setting.show)(defaults) {
        Shown::Value(value) => format!("{value}{}", in_words(setting, &value)),
        Shown::Unset | Shown::Hidden(_) => "not set".to_owned(),
    };
    // "Other" kinds say in their help what they take.
    let takes = match setting.kind {
        Kind::Other { .. } => String::new(),
        _ => format!(" Takes {}.", setting.expected()),
    };
    let elsewhere = OVERRIDES.iter().find(|o| o.path == setting.path());
    let elsewhere = elsewhere.map_or(String::new(), |known| match &known.flag {
        Some(flag) => format!(" Also {} and {}.", known.variable, flag.name),
        None => format!(" Also {}.", known.variable),
    });
    comment(out, &format!("{}{takes}{elsewhere}", setting.help));
    comment(out, &format!("Default {default}: {}", setting.why));
    let key = setting.key;
    out.push_str(&match (setting.show)(config) {
        Shown::Value(value) => format!("{key} = {value}\n"),
        Shown::Hidden(value) => format!("# {key} = {value}\n"),
        Shown::Unset => format!("# {key} = {}\n", setting.example()),
    });
}

fn in_words(setting: &Setting, value: &str) -> String {
    match value.parse::<u64>().ok().and_then(even_unit) {
        Some(words) if setting.key.contains("bytes") => format!(" ({words})"),
        _ => String::new(),
    }
}

/// Bytes in the unit people think in, where it comes out even.
pub fn even_unit(bytes: u64) -> Option<String> {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let even = units
        .iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    even.map(|(unit, name)| format!("{} {name}", bytes / unit))
}

fn comment(out: &mut String, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.chars().count() > COLUMNS {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push('#');
            column = 1;
        }
        out.push(' ');
        out.push_str(word);
        column += 1 + word.chars().count();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::last_store;
    use super::super::load::{Overrides, load};
    use super::*;

    fn load_back(text: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("flux.toml");
        std::fs::write(&file, text).unwrap();
        match load(Some(&file), &|_| None, &Overrides::default()) {
            Ok(config) => config,
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }

    #[test]
    fn the_printed_defaults_load_as_the_defaults_and_name_every_key() {
        let text = render(&Config::default());
        assert_eq!(load_back(&text), Config::default());
        for setting in CATALOG {
            assert!(
                text.contains(&format!("{} = ", setting.key)),
                "{}",
                setting.path()
            );
        }
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= COLUMNS + 60)
        );
    }

    #[test]
    fn what_is_changed_is_printed_and_loads_back() {
        let mut config = Config::default();
        config.http.listen = ["127.0.0.1:9", "unix:/run/a b"]
            .map(|text| super::super::endpoint::listen(text).unwrap())
            .to_vec();
        config.carbon.endpoint = Some(("::1".to_owned(), 2004));
        config.cpu.shards = Some(3);
        config.data_dir = "/var/lib/a \"b\"".into();
        config.last.store = last_store("redis+unix:///tmp/r?db=2").unwrap();
        assert_eq!(load_back(&render(&config)), config);
    }

    #[test]
    fn secrets_are_hidden_and_the_rest_still_loads() {
        let mut config = Config::default();
        let (own, other) = ("s".repeat(32), "n".repeat(32));
        config.keys.self_key = Some(own.clone());
        config
            .keys
            .namespaces
            .insert(other.clone(), "warehouse-1".to_owned());
        config.last.store = last_store("redis://sesame:sesame@r/1").unwrap();
        let text = render(&config);
        for secret in [own.as_str(), other.as_str(), "sesame"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("warehouse-1") && text.contains("redis://(hidden)@r:6379/1"));
        load_back(&text);
    }
}
