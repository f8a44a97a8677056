//! Every key of the configuration, once. To add one: a field in [`Config`](super::Config) with its
//! default, and an entry here; loading, `flux check` and `flux config` follow. What must hold
//! between keys is in [`check`](super::check).

use super::endpoint::{
    host_port, host_port_text, last_store, last_store_text, listen, listen_text,
};
use super::key::is_key;
use super::line;
use super::outputs;
use super::populate;
use super::reader::{
    Word, auto_or_number, listeners, namespaces, path, path_text, patterns, patterns_text,
};
use super::setting::{Kind, Setting, Shown, Wrong, choice, flag, patterns, quoted, whole};
use super::{Durability, Keys, Layout, Level, Listen, LogFormat, PopulateCore, Protocol};

/// More shards than this have never been tried together.
pub const SHARDS_MAX: u64 = 128;

/// Keys of later versions: known, so that nobody hunts for a typing error. A whole section is named
/// by its name alone.
pub const NOT_YET: &[&str] = &[];

/// In the order `flux config` prints them; keys of a section stand together.
pub static CATALOG: &[Setting] = &[
    Setting {
        section: "",
        key: "data_dir",
        help: "The directory for the key, the embedded last store and points.carbon.",
        why: "beside whatever the service was started in, so that a first try needs no rights.",
        kind: Kind::Other {
            expected: "a path",
            example: "\"/var/lib/flux\"",
        },
        secret: false,
        read: |given, config| {
            config.data_dir = path(given)?;
            Ok(())
        },
        show: |config| Shown::Value(path_text(&config.data_dir)),
    },
    Setting {
        section: "http",
        key: "listen",
        help: "Where metrics come in: one address or several; an IP address with a port, or unix:/path.",
        why: "Skyline's address, reachable from this host only.",
        kind: Kind::Other {
            expected: "an IP address with a port, unix:/path, or a list of them",
            example: "\"127.0.0.1:8000\"",
        },
        secret: false,
        read: |given, config| {
            config.http.listen = listeners(given)?;
            Ok(())
        },
        show: |config| {
            let texts: Vec<String> = config
                .http
                .listen
                .iter()
                .map(|l| quoted(&listen_text(l)))
                .collect();
            Shown::Value(match texts.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            })
        },
    },
    whole!(
        http.backlog,
        1..=65_535,
        "Connections the kernel keeps waiting to be accepted, of each listener.",
        "rides out a burst of agents that all report on the minute; the kernel caps it at net.core.somaxconn."
    ),
    whole!(
        http.connections_max,
        1..=1_000_000,
        "Open connections, all shards together.",
        "far above a fleet of agents, and each one costs little while it is idle."
    ),
    whole!(
        http.pipeline_max,
        1..=1_024,
        "Requests of one connection that may wait for their answers; then its reading stops.",
        "keeps a pipelining client busy over a round trip, and bounds what it can pile up."
    ),
    whole!(
        http.head_bytes_max,
        1_024..=1_048_576,
        "Bytes of a request's line and header fields together (431 above).",
        "four times what browsers and proxies send at their worst."
    ),
    whole!(
        http.body_bytes_max,
        1_024..=1_073_741_824,
        "Bytes of a request's body (413 above).",
        "a batch of 40,000 points with names of 50 characters; agents send about 500."
    ),
    whole!(
        http.inflated_bytes_max,
        1_024..=1_073_741_824,
        "Bytes of a gzip or deflate body once it is inflated, and of the names a Telegraf body spells out (413 above).",
        "twice the largest plain body: 50,000 points as Telegraf writes them take 3 MB."
    ),
    whole!(
        http.buffered_bytes_max,
        1_048_576..=68_719_476_736,
        "Bytes of requests that have not arrived whole, of each shard; above it they are answered 429 and closed.",
        "sixty bodies of the largest size at once, or thousands of usual ones: slow senders cannot fill the memory."
    ),
    whole!(
        http.head_deadline_ms,
        100..=3_600_000,
        "Milliseconds for a request's head to arrive, from its first byte (408 after).",
        "slower than any honest client, quick enough to be rid of one that drips bytes."
    ),
    whole!(
        http.request_deadline_ms,
        100..=3_600_000,
        "Milliseconds from a request's first byte to its answer (408 or 504 after).",
        "below the 60 s that proxies and agents commonly wait, so that they read our answer."
    ),
    whole!(
        http.idle_deadline_ms,
        100..=86_400_000,
        "Milliseconds a connection may be silent between requests before it is closed.",
        "longer than the 60 s between two reports, so that agents keep their connection."
    ),
    whole!(
        http.drain_deadline_ms,
        100..=3_600_000,
        "Milliseconds an orderly stop may take to answer what is under way and deliver what is queued.",
        "well inside the 30 s and 90 s that Kubernetes and systemd wait before they kill."
    ),
    whole!(
        http.drain_idle_ms,
        0..=3_600_000,
        "Milliseconds a connection without a request is kept in an orderly stop, so that its next one is answered, with Connection: close; at most a quarter of drain_deadline_ms.",
        "longer than the pause of a busy client, short enough for a stop that nobody notices."
    ),
    line::LISTEN,
    line::NAMESPACE,
    line::LINE_BYTES_MAX,
    line::IDLE_DEADLINE_MS,
    Setting {
        section: "keys",
        key: "self",
        help: "The service's own API key: 32 letters and digits.",
        why: "a random key is made on the first start and kept in DATA/key, readable by its owner only.",
        kind: Kind::Other {
            expected: "32 letters and digits",
            example: "\"<32 letters and digits>\"",
        },
        secret: true,
        read: |given, config| {
            let text = given.text()?;
            if !is_key(text) {
                return Err(Wrong::Kind);
            }
            config.keys.self_key = Some(text.to_owned());
            Ok(())
        },
        show: |config| match &config.keys {
            Keys {
                self_key: Some(_),
                self_file: None,
                ..
            } => Shown::Hidden(quoted("(hidden)")),
            _ => Shown::Unset,
        },
    },
    Setting {
        section: "keys",
        key: "self_file",
        help: "A file that holds the service's own API key, in place of keys.self.",
        why: "for keys that a secret manager mounts.",
        kind: Kind::Other {
            expected: "a path",
            example: "\"/run/secrets/flux-key\"",
        },
        secret: false,
        read: |given, config| {
            config.keys.self_file = Some(path(given)?);
            Ok(())
        },
        show: |config| match &config.keys.self_file {
            Some(path) => Shown::Value(path_text(path)),
            None => Shown::Unset,
        },
    },
    Setting {
        section: "keys",
        key: "namespaces",
        help: "Further keys, each with the prefix its metrics get (\"\" = none), or { prefix = …, quota = N }: how many distinct metrics the prefix may have; several keys may share one.",
        why: "only the service's own key is accepted.",
        kind: Kind::Other {
            expected: "a table of keys and their prefixes",
            example: "{ \"<32 letters and digits>\" = \"warehouse-1\" }",
        },
        secret: true,
        read: |given, config| namespaces(given, &mut config.keys),
        show: |config| {
            if config.keys.namespaces.is_empty() {
                return Shown::Unset;
            }
            let hidden = |prefix: &String| {
                let shown = match config.keys.quotas.get(prefix) {
                    Some(quota) => format!("{{ prefix = {}, quota = {quota} }}", quoted(prefix)),
                    None => quoted(prefix),
                };
                format!("\"(hidden)\" = {shown}")
            };
            let pairs: Vec<String> = config.keys.namespaces.values().map(hidden).collect();
            Shown::Hidden(format!("{{ {} }}", pairs.join(", ")))
        },
    },
    whole!(
        points.age_seconds_max,
        1..=4_294_967_295,
        "Seconds a point may be old (400 above); points marked `fill` are exempt.",
        "FLUX_MAX_AGE's default."
    ),
    whole!(
        points.future_seconds_max,
        0..=31_536_000,
        "Seconds a point may be ahead of this host's clock (400 above).",
        "Skyline's fixed minute: clocks drift."
    ),
    whole!(
        points.points_per_request_max,
        1..=10_000_000,
        "Points of one request; a larger one is refused whole.",
        "a hundred times what agents batch."
    ),
    whole!(
        points.in_flight_bytes_max,
        65_536..=68_719_476_736,
        "Bytes of points accepted and not yet delivered, of each shard (429 above); a point takes 80 and its name.",
        "a point counts until the redo window has passed, so this is also a rate: nearly three million points a second with names of 50 characters, or as many while carbon is away."
    ),
    Setting {
        section: "points",
        key: "whisper_path",
        help: "Where Graphite keeps its files: a metric whose file's path would pass 4,096 bytes is refused.",
        why: "FLUX_GRAPHITE_WHISPER_PATH's default.",
        kind: Kind::Other {
            expected: "an absolute path of at most 1024 bytes",
            example: "\"/opt/graphite/storage/whisper\"",
        },
        secret: false,
        read: |given, config| {
            let given = path(given)?;
            if !given.is_absolute() || given.as_os_str().len() > 1024 {
                return Err(Wrong::Kind);
            }
            config.points.whisper_path = given;
            Ok(())
        },
        show: |config| Shown::Value(path_text(&config.points.whisper_path)),
    },
    patterns!(
        points.skip,
        "Posted metrics that are answered as accepted and not kept: those whose name contains one of these, or has all its dotted elements.",
        "SKIP_LIST's default: what Skyline reports about itself."
    ),
    patterns!(
        points.do_not_skip,
        "Exceptions from points.skip, by the same rule.",
        "DO_NOT_SKIP_LIST's default: Skyline's key indicators."
    ),
    flag!(
        points.telegraf_sanitise,
        "Whether dots and slashes in Telegraf's host tag and measurement become _ and -, as they do in its other tags and in its fields.",
        "what Skyline Flux does, whatever its documentation says, so that no metric changes its name."
    ),
    Setting {
        section: "last",
        key: "store",
        help: "Where flux.last.<metric> is kept: \"embedded\" (in DATA), redis://[user:password@]host:6379/0, or redis+unix:///path[?db=N&username=…&password=…].",
        why: "needs nothing but this program; name Skyline's Redis to share its marks.",
        kind: Kind::Other {
            expected: "\"embedded\", redis://… or redis+unix://…",
            example: "\"redis+unix:///tmp/redis.sock\"",
        },
        secret: true,
        read: |given, config| {
            config.last.store = last_store(given.text()?).map_err(Wrong::Said)?;
            Ok(())
        },
        show: |config| match last_store_text(&config.last.store) {
            (text, true) => Shown::Hidden(quoted(&text)),
            (text, false) => Shown::Value(quoted(&text)),
        },
    },
    flag!(
        last.check,
        "Whether duplicates are recognised; false: only for metrics that start with \"vista.\".",
        "FLUX_CHECK_LAST_TIMESTAMP's default."
    ),
    choice!(last.layout, { "string" => Layout::String, "hash" => Layout::Hash, "both" => Layout::Both },
        "How a mark is written: a key of its own, a field of the hash flux.last.metric_data, or both; reads take the newer.",
        "the layout of Skyline 1.3, which every Vista reads; hash or both where today's Vista has marks in the hash already."),
    whole!(
        last.entries_max,
        1_000..=1_000_000_000,
        "Metrics remembered in memory, all shards together; one that was forgotten is looked up again.",
        "four million metrics take a few hundred MB."
    ),
    whole!(
        last.lookup_deadline_ms,
        1..=10_000,
        "Milliseconds a request may wait for the last store; then its points count as new.",
        "fifty times a healthy round trip."
    ),
    Setting {
        section: "carbon",
        key: "endpoint",
        help: "Graphite's carbon, host:port; pickle usually listens on 2004, line on 2003.",
        why: "without it points are appended to DATA/points.carbon, to be replayed with `nc carbon 2003`.",
        kind: Kind::Other {
            expected: "a host and a port",
            example: "\"graphite.example:2004\"",
        },
        secret: false,
        read: |given, config| {
            config.carbon.endpoint = Some(host_port(given.text()?).map_err(Wrong::Said)?);
            Ok(())
        },
        show: |config| match &config.carbon.endpoint {
            Some((host, port)) => Shown::Value(quoted(&host_port_text(host, *port))),
            None => Shown::Unset,
        },
    },
    choice!(carbon.protocol, { "pickle" => Protocol::Pickle, "line" => Protocol::Line },
        "How carbon is spoken to.",
        "cheaper for carbon to read, and what Skyline sends."),
    whole!(
        carbon.points_per_frame,
        1..=500,
        "Points of one frame, at most.",
        "Skyline's; carbon takes no more than 500 well."
    ),
    whole!(
        carbon.frame_bytes_max,
        8_192..=1_000_000,
        "Bytes of one frame, at most; carbon drops a connection that sends 1 MiB in one.",
        "480 points with long names fit, and a lost connection repeats little."
    ),
    whole!(
        carbon.flush_interval_ms,
        1..=60_000,
        "Milliseconds a point may wait for others to share its frame.",
        "fills frames under load, and nobody sees it at one point a minute."
    ),
    whole!(
        carbon.redo_window_ms,
        0..=600_000,
        "Milliseconds a connection must stay healthy after a frame before it counts as delivered.",
        "time for the reset of a dying carbon to arrive."
    ),
    whole!(
        carbon.redo_bytes,
        65_536..=1_073_741_824,
        "Last bytes written on a connection that are kept, and sent again when it is lost.",
        "what the sockets of both sides can hold unread."
    ),
    whole!(
        carbon.file_bytes_max,
        65_536..=1_099_511_627_776,
        "Bytes of DATA/points.carbon (429 above); only without an endpoint.",
        "about 20 million points, on any disk."
    ),
    outputs::STATSD_ENDPOINT,
    outputs::STATSD_DATAGRAM_BYTES_MAX,
    outputs::METRICS_SENT,
    outputs::FILLED_METRICS,
    outputs::FULL_DURATION_SECONDS,
    choice!(journal.durability, { "memory" => Durability::Memory, "journal" => Durability::Journal, "fsync" => Durability::Fsync },
        "What a 204 promises: \"memory\" = queued, a crash loses it; \"journal\" = written to a file, survives a crash of the process; \"fsync\" = and synced, survives a loss of power.",
        "a copy into the page cache is cheap, and processes die more often than machines."),
    whole!(
        journal.bytes_max,
        1_048_576..=17_592_186_044_416,
        "Bytes of DATA/journal, all shards together (429 above).",
        "the in-flight budgets of eight shards fit, and what a few crashes in a row leave behind."
    ),
    whole!(
        journal.segment_bytes,
        65_536..=16_777_216,
        "Bytes of one journal file; each shard has one ahead.",
        "the largest: a larger one would stall whoever deletes it."
    ),
    populate::GRAPHITE,
    populate::CONCURRENCY,
    populate::CONNECT_TIMEOUT_MS,
    populate::READ_TIMEOUT_MS,
    populate::TOTAL_TIMEOUT_MS,
    populate::RESPONSE_BYTES_MAX,
    populate::CA_FILE,
    populate::JOBS_MAX,
    populate::SUBMIT_CURRENT_MINUTE,
    populate::RESAMPLE_SECONDS,
    populate::POINTS_PER_SECOND_MAX,
    populate::ALLOWED_HOSTS,
    Setting {
        section: "cpu",
        key: "shards",
        help: "How many shards serve, each on a CPU: \"auto\" or a number; it may exceed the CPUs, for tests.",
        why: "as many as there are CPUs for them, at most 8.",
        kind: Kind::Other {
            expected: "\"auto\" or a whole number from 1 to 128",
            example: "\"auto\"",
        },
        secret: false,
        read: |given, config| {
            config.cpu.shards = match auto_or_number(given, 1, SHARDS_MAX)? {
                Word::Auto => None,
                Word::Number(number) => Some(number),
                Word::Shared => return Err(Wrong::Kind),
            };
            Ok(())
        },
        show: |config| {
            Shown::Value(match config.cpu.shards {
                Some(number) => number.to_string(),
                None => quoted("auto"),
            })
        },
    },
    Setting {
        section: "cpu",
        key: "populate_core",
        help: "Where the admin listener and populate run: \"auto\", the number of a CPU, or \"shared\" with the last shard.",
        why: "a core of its own, the last, from three CPUs up; below that it shares the last one.",
        kind: Kind::Other {
            expected: "\"auto\", \"shared\" or the number of a CPU",
            example: "\"auto\"",
        },
        secret: false,
        read: |given, config| {
            config.cpu.populate_core = match auto_or_number(given, 0, 65_535)? {
                Word::Auto => PopulateCore::Auto,
                Word::Shared => PopulateCore::Shared,
                Word::Number(cpu) => PopulateCore::Cpu(cpu),
            };
            Ok(())
        },
        show: |config| {
            Shown::Value(match config.cpu.populate_core {
                PopulateCore::Auto => quoted("auto"),
                PopulateCore::Shared => quoted("shared"),
                PopulateCore::Cpu(cpu) => cpu.to_string(),
            })
        },
    },
    Setting {
        section: "admin",
        key: "listen",
        help: "The address of the live page, /metrics, /healthz and /readyz.",
        why: "reachable from this host only: it asks for no key.",
        kind: Kind::Other {
            expected: "an IP address with a port",
            example: "\"127.0.0.1:8001\"",
        },
        secret: false,
        read: |given, config| match listen(given.text()?) {
            Ok(Listen::Tcp(address)) => {
                config.admin.listen = address;
                Ok(())
            }
            _ => Err(Wrong::Kind),
        },
        show: |config| Shown::Value(quoted(&config.admin.listen.to_string())),
    },
    outputs::TO_CARBON,
    outputs::HOST_NAME,
    outputs::INTERVAL_SECONDS,
    choice!(log.level, { "error" => Level::Error, "warn" => Level::Warn, "info" => Level::Info, "debug" => Level::Debug },
        "What is logged: this level and those before it in the list.",
        "starts, stops and changes of state; never a line per request."),
    choice!(log.format, { "text" => LogFormat::Text, "json" => LogFormat::Json },
        "One line of text, or of JSON, per event.",
        "people read it first."),
];

/// Every key with its section, in the order of `flux config`.
pub fn paths() -> Vec<String> {
    CATALOG.iter().map(Setting::path).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::setting::Given;
    use super::*;

    #[test]
    fn every_default_is_shown_and_read_back_as_itself() {
        for setting in CATALOG {
            let Shown::Value(value) = (setting.show)(&Config::default()) else {
                continue;
            };
            let text = format!("x = {value}");
            let table: toml::Table = text.parse().expect("shown as TOML");
            let given = match &table["x"] {
                toml::Value::String(text) => Given::Text(text.clone()),
                toml::Value::Integer(number) => Given::Whole(*number),
                toml::Value::Boolean(flag) => Given::Flag(*flag),
                toml::Value::Array(items) => {
                    let text = |item: &toml::Value| item.as_str().map(str::to_owned);
                    let texts = items
                        .iter()
                        .map(|item| text(item).expect("a list of texts"));
                    Given::List(texts.map(Given::Text).collect())
                }
                other => panic!("{}: {other}", setting.path()),
            };
            let mut config = Config::default();
            assert_eq!(
                (setting.read)(&given, &mut config),
                Ok(()),
                "{}",
                setting.path()
            );
            assert_eq!(config, Config::default(), "{}", setting.path());
        }
    }

    #[test]
    fn both_ends_of_every_number_fit_their_field_and_the_next_is_refused() {
        for setting in CATALOG {
            let Kind::Whole { min, max } = setting.kind else {
                continue;
            };
            for (number, taken) in [
                (min as i64, true),
                (max as i64, true),
                (max as i64 + 1, false),
                (min as i64 - 1, false),
            ] {
                let mut config = Config::default();
                let read = (setting.read)(&Given::Whole(number), &mut config);
                assert_eq!(read.is_ok(), taken, "{} = {number}", setting.path());
                if taken {
                    let shown = (setting.show)(&config);
                    assert_eq!(
                        shown,
                        Shown::Value(number.to_string()),
                        "{}",
                        setting.path()
                    );
                }
            }
        }
    }

    #[test]
    fn keys_of_a_section_stand_together_and_none_is_there_twice() {
        let mut seen: Vec<String> = Vec::new();
        let mut sections: Vec<&str> = Vec::new();
        for setting in CATALOG {
            assert!(!seen.contains(&setting.path()), "{}", setting.path());
            seen.push(setting.path());
            if sections.last() != Some(&setting.section) {
                assert!(
                    !sections.contains(&setting.section),
                    "[{}]",
                    setting.section
                );
                sections.push(setting.section);
            }
        }
    }

    #[test]
    fn help_is_a_sentence_and_the_reason_one_too() {
        for setting in CATALOG {
            assert!(setting.help.ends_with('.'), "{}", setting.path());
            assert!(setting.why.ends_with('.'), "{}", setting.path());
        }
    }
}
