//! `DATA/quotas`: the metrics each namespace with a quota is known by, so that a restart does not give their
//! places to others. Read at the start; written on the populate core, never by a shard.
//!
//! A text: a line with the key of the prints, then a line `[namespace]` and one print a line. Names are not kept.

use crate::api::Api;
use crate::api::auth::Keys;
use crate::api::quota::{Print, Quotas};
use crate::config::Config;
use crate::telemetry::log::Logger;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HEADER: &str = "flux quotas 1 ";

/// What the configuration and the file say. A file that cannot be read costs only what it remembered.
pub fn load(config: &Config, logger: Logger) -> Quotas {
    let quotas = &config.keys.quotas;
    if quotas.is_empty() {
        // A reload may bring some.
        return Quotas::new(fresh().0, []);
    }
    let file = path(config);
    let known = std::fs::read_to_string(&file).map(|text| parse(&text));
    let (key, mut known) = match known {
        Ok(Some(known)) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => fresh(),
        Ok(None) | Err(_) => {
            logger.error(format_args!(
                "{} cannot be read: namespaces take their places anew",
                file.display()
            ));
            fresh()
        }
    };
    let own = config.keys.self_key.as_deref().unwrap_or_default();
    // In the order in which a key's grant counts them.
    let names = Keys::new(own, &config.keys.namespaces);
    let of = |name: &String| Some((*quotas.get(name)?, known.remove(name).unwrap_or_default()));
    Quotas::new(key, names.namespaces().iter().map(of))
}

type Known = ([u8; 16], BTreeMap<String, Vec<Print>>);

fn fresh() -> Known {
    let mut key = [0; 16];
    // Without randomness the prints can be foreseen, and somebody could make two names share one.
    let _ = getrandom::fill(&mut key);
    (key, BTreeMap::new())
}

fn path(config: &Config) -> PathBuf {
    config.data_dir.join("quotas")
}

fn parse(text: &str) -> Option<Known> {
    let mut lines = text.lines();
    let key = lines.next()?.strip_prefix(HEADER)?;
    let key = u128::from_str_radix(key, 16).ok()?.to_be_bytes();
    let mut known: BTreeMap<String, Vec<Print>> = BTreeMap::new();
    let mut prints = None;
    for line in lines {
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(namespace) => prints = Some(known.entry(namespace.to_owned()).or_default()),
            None => prints.as_mut()?.push(Print::from_str_radix(line, 16).ok()?),
        }
    }
    Some((key, known))
}

fn render(api: &Api) -> String {
    let mut text = format!("{HEADER}{:032x}\n", u128::from_be_bytes(api.quotas.key()));
    for (namespace, known) in api.keys.namespaces().iter().zip(api.quotas.known()) {
        let Some(known) = known else { continue };
        let _ = writeln!(text, "[{namespace}]");
        for print in known {
            let _ = writeln!(text, "{print:016x}");
        }
    }
    text
}

/// Keeps the file up to date.
pub struct QuotaFile {
    api: Arc<Api>,
    path: PathBuf,
    logger: Logger,
    /// How many metrics the file has; places are only ever added.
    saved: usize,
    failed: bool,
}

impl QuotaFile {
    pub fn new(config: &Config, api: Arc<Api>, logger: Logger) -> QuotaFile {
        QuotaFile {
            saved: api.quotas.taken(),
            path: path(config),
            api,
            logger,
            failed: false,
        }
    }

    /// The configuration was read again.
    pub fn switch(&mut self, api: Arc<Api>) {
        // Namespaces may have come or gone, so that it is written whatever the number is.
        self.saved = usize::MAX;
        self.api = api;
    }

    /// Writes the file if there is anything new.
    pub fn save(&mut self) {
        let now = self.api.quotas.taken();
        if now == self.saved {
            return;
        }
        match write(&self.path, &render(&self.api)) {
            Ok(()) => (self.saved, self.failed) = (now, false),
            Err(error) if !std::mem::replace(&mut self.failed, true) => {
                let path = self.path.display();
                self.logger
                    .error(format_args!("cannot write {path}: {error}"));
            }
            Err(_) => {}
        }
    }
}

/// Whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(directory: &Path, quota: usize) -> Config {
        let mut config = Config {
            data_dir: directory.to_owned(),
            ..Config::default()
        };
        for (key, namespace) in [("a", "free"), ("b", "w.1"), ("c", "w.2")] {
            let keys = &mut config.keys.namespaces;
            keys.insert(key.repeat(32), namespace.to_owned());
        }
        config.keys.quotas.insert("w.1".to_owned(), quota);
        config.keys.quotas.insert("w.2".to_owned(), 5);
        config
    }

    fn logger() -> Logger {
        super::super::logger(&Config::default())
    }

    #[test]
    fn what_was_known_is_known_after_a_restart_and_damage_costs_only_that() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), 2);
        let start = || {
            let api = Arc::new(Api::of(&config, load(&config, logger())));
            (api.clone(), QuotaFile::new(&config, api, logger()))
        };
        let admit = |api: &Api, namespace: u16, name: &str| {
            let mut known = Default::default();
            let quota = api.quotas.of(Some(namespace), &mut known);
            quota.is_none_or(|mut quota| quota.admit(name))
        };
        let (api, mut file) = start();
        assert!(admit(&api, 0, "anything") && admit(&api, 1, "a") && admit(&api, 2, "c"));
        file.save();
        let written = std::fs::read(path(&config)).unwrap();
        assert!(admit(&api, 1, "b") && !admit(&api, 1, "c"));
        file.save();
        assert_ne!(std::fs::read(path(&config)).unwrap(), written);

        let (api, mut file) = start();
        assert!(admit(&api, 1, "a") && admit(&api, 1, "b") && !admit(&api, 1, "c"));
        let before = std::fs::metadata(path(&config))
            .unwrap()
            .modified()
            .unwrap();
        file.save();
        let after = std::fs::metadata(path(&config))
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(before, after, "nothing new, nothing written");

        for damaged in ["", "flux quotas 2 0\n", "flux quotas 1 0\nzz\n"] {
            std::fs::write(path(&config), damaged).unwrap();
            let (api, _) = start();
            assert!(admit(&api, 1, "c") && admit(&api, 1, "d") && !admit(&api, 1, "e"));
        }
    }
}
