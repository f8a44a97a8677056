//! What a running service takes from a configuration that was read again, and what waits for a restart. Pure.

use super::catalog::CATALOG;
use super::check::check;
use super::problem::Problems;
use super::setting::Setting;
use super::{Config, Http, Line, Log, Points};

/// Keys that a reload takes; [`reload`] does it section by section, and a test holds the two together.
pub const LIVE: &[&str] = &[
    "http.pipeline_max",
    "http.head_bytes_max",
    "http.body_bytes_max",
    "http.inflated_bytes_max",
    "http.buffered_bytes_max",
    "http.head_deadline_ms",
    "http.request_deadline_ms",
    "http.idle_deadline_ms",
    "http.drain_deadline_ms",
    "http.drain_idle_ms",
    "line.namespace",
    "line.line_bytes_max",
    "line.idle_deadline_ms",
    "keys.self",
    "keys.self_file",
    "keys.namespaces",
    "points.age_seconds_max",
    "points.future_seconds_max",
    "points.points_per_request_max",
    "points.whisper_path",
    "points.skip",
    "points.do_not_skip",
    "points.telegraf_sanitise",
    "log.level",
];

#[derive(Debug, PartialEq)]
pub struct Reloaded {
    /// What is in effect from now on: the live keys as they were read, the others as they are.
    pub config: Config,
    /// Paths of the keys that change.
    pub changed: Vec<String>,
    /// Paths of the keys that were read and wait for a restart.
    pub restart: Vec<String>,
}

/// `read` holds together by itself; it must do so too with what stays as it is.
pub fn reload(running: &Config, read: &Config) -> Result<Reloaded, Problems> {
    let Config {
        http, points, log, ..
    } = running;
    let config = Config {
        http: Http {
            listen: http.listen.clone(),
            backlog: http.backlog,
            // The start made sure that there may be as many descriptors.
            connections_max: http.connections_max,
            ..read.http.clone()
        },
        line: Line {
            listen: running.line.listen.clone(),
            ..read.line.clone()
        },
        keys: read.keys.clone(),
        points: Points {
            in_flight_bytes_max: points.in_flight_bytes_max,
            ..read.points.clone()
        },
        log: Log {
            level: read.log.level,
            ..*log
        },
        ..running.clone()
    };
    let problems = check(&config, &[]);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let paths = |one: &Config, other: &Config| {
        let changed = CATALOG.iter().filter(|s| differs(s, one, other));
        changed.map(Setting::path).collect()
    };
    Ok(Reloaded {
        changed: paths(running, &config),
        restart: paths(&config, read),
        config,
    })
}

fn differs(setting: &Setting, one: &Config, other: &Config) -> bool {
    // What is shown of a secret says nothing about it.
    match setting.path().as_str() {
        "keys.self" => one.keys.self_key != other.keys.self_key,
        "keys.namespaces" => {
            let of = |config: &Config| (config.keys.namespaces.clone(), config.keys.quotas.clone());
            of(one) != of(other)
        }
        "last.store" => one.last.store != other.last.store,
        _ => (setting.show)(one) != (setting.show)(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Overrides, load};
    use super::*;

    fn every_key() -> Config {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/config/valid/every_key.toml"
        );
        let mut config = load(Some(file.as_ref()), &|_| None, &Overrides::default()).unwrap();
        // Beside keys.self it may not stand in a file.
        config.keys.self_file = Some("/run/key".into());
        // Beside a hidden store they would not be read back, so they do not stand in it.
        config.skyline.metrics_sent = true;
        config.skyline.filled_metrics = true;
        config
    }

    #[test]
    fn every_key_is_taken_at_once_or_waits_for_a_restart_and_the_list_says_which() {
        let read = every_key();
        let mut running = Config::default();
        // What the other file's bodies need, and does not change at once.
        running.points.in_flight_bytes_max = 1 << 30;
        let reloaded = reload(&running, &read).unwrap();
        assert_eq!(reloaded.changed, LIVE);
        let all = super::super::paths();
        let others: Vec<_> = all
            .iter()
            .filter(|path| !LIVE.contains(&path.as_str()))
            .collect();
        assert_eq!(reloaded.restart.iter().collect::<Vec<_>>(), others);

        let again = reload(&reloaded.config, &read).unwrap();
        assert_eq!(again.changed, [""; 0]);
        assert_eq!(again.restart, reloaded.restart, "told until it is done");
        let nothing = reload(&read, &read).unwrap();
        assert_eq!((nothing.changed.len(), nothing.restart.len()), (0, 0));
        assert_eq!(nothing.config, read);
    }

    #[test]
    fn a_change_that_needs_another_with_a_restart_is_refused() {
        let running = Config::default();
        let mut read = running.clone();
        read.http.body_bytes_max *= 128;
        read.points.in_flight_bytes_max *= 128;
        let problems = reload(&running, &read).unwrap_err();
        assert_eq!(problems.0[0].path, "http.body_bytes_max");
    }
}
