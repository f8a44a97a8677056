//! Which of Skyline's settings becomes which key, and how.

use std::net::IpAddr;

use super::super::Config;
use super::super::reader::namespaces;
use super::super::setting::{Given, Member, Wrong, quoted};
use super::Known;
use crate::python::{Entry, Value};

/// Settings that start so are named whatever becomes of them.
pub const OURS: &[&str] = &[
    "FLUX_",
    "VISTA_",
    "REDIS_",
    "GRAPHITE_",
    "SKYLINE_METRICS_CARBON_",
    // Flux reads these too.
    "PROMETHEUS_",
    "VORTEX_",
    "MEMCACHE",
];

pub struct Rule {
    pub names: &'static [&'static str],
    pub path: &'static str,
    /// The second argument takes notes about parts that are left out.
    pub convert: fn(&Known<'_>, &mut Vec<String>) -> Outcome,
}

pub enum Outcome {
    Set(Given),
    /// It is understood, and there is nothing to set: why.
    Nothing(&'static str),
    LeftOut(String),
    /// Another rule has it.
    Silent,
}

/// What stands in Skyline's own settings.py.
const PUBLISHED_KEY: &str = "YOURown32charSkylineAPIkeySecret";

use Outcome::{LeftOut, Nothing, Silent};

macro_rules! rules {
    ($($path:literal <= $($name:literal)+ => $convert:expr;)+) => {
        &[$(Rule { path: $path, names: &[$($name),+], convert: $convert }),+]
    };
}

pub static RULES: &[Rule] = rules! {
    "http.listen" <= "FLUX_IP" "FLUX_PORT" => |known, _| listen(known);
    // Its default is the port that Skyline's was moved to.
    "admin.listen" <= "FLUX_PORT" => |known, _| match whole(known, "FLUX_PORT") {
        Ok(Some(8001)) => Outcome::Set(Given::Text("127.0.0.1:8002".to_owned())),
        _ => Silent,
    };
    "http.backlog" <= "FLUX_BACKLOG" => |known, _| number(known, "FLUX_BACKLOG");
    "cpu.shards" <= "FLUX_WORKERS" => |_, _| Nothing("cpu.shards is a thread for each CPU, by itself");
    "keys.self" <= "FLUX_SELF_API_KEY" => |known, notes| {
        if words(known, "FLUX_SELF_API_KEY") == Ok(Some(PUBLISHED_KEY)) {
            notes.push("everybody knows this key from Skyline's documentation: make one of your own".to_owned());
        }
        text(known, "FLUX_SELF_API_KEY")
    };
    "keys.namespaces" <= "FLUX_API_KEYS" "FLUX_NAMESPACE_QUOTAS" => keys;
    "points.age_seconds_max" <= "FLUX_MAX_AGE" "STALE_PERIOD" => |known, _| {
        // Skyline 1.3 has only the second; today's Flux does not look at it.
        let name = if known.line("FLUX_MAX_AGE").is_some() { "FLUX_MAX_AGE" } else { "STALE_PERIOD" };
        number(known, name)
    };
    "points.whisper_path" <= "FLUX_GRAPHITE_WHISPER_PATH" => |known, _| text(known, "FLUX_GRAPHITE_WHISPER_PATH");
    "points.skip" <= "SKIP_LIST" => |known, _| texts(known, "SKIP_LIST");
    "points.do_not_skip" <= "DO_NOT_SKIP_LIST" => |known, _| texts(known, "DO_NOT_SKIP_LIST");
    "carbon.endpoint" <= "FLUX_SEND_TO_CARBON" "FLUX_CARBON_HOST" "FLUX_CARBON_PICKLE_PORT" "FLUX_CARBON_PORT" =>
        |known, _| carbon(known);
    "carbon.protocol" <= "FLUX_CARBON_PORT" => |known, _| match known.get("FLUX_CARBON_PICKLE_PORT") {
        None if known.get("FLUX_CARBON_HOST").is_some() => Outcome::Set(Given::Text("line".to_owned())),
        _ => Silent,
    };
    "statsd.endpoint" <= "FLUX_SEND_TO_STATSD" "FLUX_STATSD_HOST" "FLUX_STATSD_PORT" => |known, _| statsd(known);
    "last.store" <= "REDIS_SOCKET_PATH" "REDIS_PASSWORD" => |known, _| redis(known);
    "last.layout" <= "FLUX_API_KEYS" "FLUX_MAX_AGE" "FLUX_CHECK_LAST_TIMESTAMP" =>
        // Settings of today's Skyline, whose Vista reads the hash first.
        |_, _| Outcome::Set(Given::Text("both".to_owned()));
    "last.check" <= "FLUX_CHECK_LAST_TIMESTAMP" => |known, _| flag(known, "FLUX_CHECK_LAST_TIMESTAMP", false);
    "journal.durability" <= "FLUX_PERSIST_QUEUE" => |_, _| Nothing("journal.durability survives a crash by default");
    "populate.graphite" <= "GRAPHITE_PROTOCOL" "GRAPHITE_HOST" "GRAPHITE_PORT" "GRAPHITE_RENDER_URI" =>
        |known, _| graphite(known);
    "populate.submit_current_minute" <= "VISTA_DO_NOT_SUBMIT_CURRENT_MINUTE" =>
        |known, _| flag(known, "VISTA_DO_NOT_SUBMIT_CURRENT_MINUTE", true);
    "skyline.filled_metrics" <= "IDENTIFY_AIRGAPS" => |known, _| match known.get("IDENTIFY_AIRGAPS") {
        Some(Value::Flag(true)) => flag(known, "IDENTIFY_AIRGAPS", false),
        _ => Nothing("back-filled metrics are not noted"),
    };
    "skyline.full_duration_seconds" <= "FULL_DURATION" => |known, _| match known.get("IDENTIFY_AIRGAPS") {
        Some(Value::Flag(true)) => number(known, "FULL_DURATION"),
        _ => Silent,
    };
    "vista" <= "VISTA_ENABLED" => |_, _| Nothing("names that start vista. are always checked for duplicates");
    "telemetry.host_name" <= "SERVER_METRICS_NAME" => |known, _| text(known, "SERVER_METRICS_NAME");
    "telemetry.to_carbon" <= "SKYLINE_METRICS_CARBON_HOST" "SKYLINE_METRICS_CARBON_PORT" "SKYLINE_METRICS_CARBON_PICKLE_PORT" =>
        |_, _| Nothing("the service's own series have no carbon of their own");
    "log.level" <= "FLUX_VERBOSE_LOGGING" => |_, _| Nothing("no level of log.level logs points");
    "log" <= "LOG_PATH" "PID_PATH" => |_, _| Nothing("logs go to standard error, and a service manager knows the process");
};

fn left_out(name: &str, value: &Value, expected: &str) -> String {
    format!("{name} is {}; {expected} was expected", value.kind())
}

/// A number, or the text of one: Skyline writes some ports as text.
fn whole(known: &Known<'_>, name: &str) -> Result<Option<i64>, String> {
    let wrong = |value| Err(left_out(name, value, "a whole number"));
    match known.get(name) {
        None => Ok(None),
        Some(Value::Whole(number)) => Ok(Some(*number)),
        Some(value @ Value::Text(text)) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => wrong(value),
        },
        Some(value) => wrong(value),
    }
}

fn words<'k>(known: &'k Known<'_>, name: &str) -> Result<Option<&'k str>, String> {
    match known.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(value) => Err(left_out(name, value, "a text")),
    }
}

/// What was found, or why not.
fn set(found: Result<Option<Given>, String>) -> Outcome {
    match found {
        Ok(Some(given)) => Outcome::Set(given),
        Ok(None) => Nothing("it is not set there either"),
        Err(why) => LeftOut(why),
    }
}

fn number(known: &Known<'_>, name: &str) -> Outcome {
    set(whole(known, name).map(|number| number.map(Given::Whole)))
}

fn text(known: &Known<'_>, name: &str) -> Outcome {
    set(words(known, name).map(|text| text.map(|text| Given::Text(text.to_owned()))))
}

fn flag(known: &Known<'_>, name: &str, opposite: bool) -> Outcome {
    set(match known.get(name) {
        None => Ok(None),
        Some(Value::Flag(flag)) => Ok(Some(Given::Flag(*flag != opposite))),
        Some(value) => Err(left_out(name, value, "True or False")),
    })
}

fn texts(known: &Known<'_>, name: &str) -> Outcome {
    let wrong = |value| Err(left_out(name, value, "a list of texts"));
    let text = |item: &Value| match item {
        Value::Text(text) => Some(Given::Text(text.clone())),
        _ => None,
    };
    set(match known.get(name) {
        None => Ok(None),
        Some(value @ Value::List(items)) => match items.iter().map(text).collect() {
            Some(items) => Ok(Some(Given::List(items))),
            None => wrong(value),
        },
        Some(value) => wrong(value),
    })
}

fn listen(known: &Known<'_>) -> Outcome {
    let found = || {
        let ip = words(known, "FLUX_IP")?.unwrap_or("127.0.0.1");
        let port = whole(known, "FLUX_PORT")?.unwrap_or(8000);
        let Ok(ip) = ip.parse::<IpAddr>() else {
            return Err(
                "FLUX_IP is not an IP address: write the one that http.listen is to have"
                    .to_owned(),
            );
        };
        let address = match ip {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        Ok(Some(Given::Text(address)))
    };
    set(found())
}

fn endpoint(host: &str, port: i64) -> Given {
    let bracketed = host.contains(':') && !host.starts_with('[');
    Given::Text(match bracketed {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

fn carbon(known: &Known<'_>) -> Outcome {
    if known.get("FLUX_SEND_TO_CARBON") == Some(&Value::Flag(false)) {
        return Nothing("nothing is sent to carbon: points are appended to DATA/points.carbon");
    }
    let found = || {
        let Some(host) = words(known, "FLUX_CARBON_HOST")? else {
            return Ok(None);
        };
        let pickle = whole(known, "FLUX_CARBON_PICKLE_PORT")?;
        let line = whole(known, "FLUX_CARBON_PORT")?;
        Ok(Some(endpoint(host, pickle.or(line).unwrap_or(2004))))
    };
    match found() {
        Ok(None) => LeftOut(
            "FLUX_CARBON_HOST is missing: without carbon.endpoint points are appended to DATA/points.carbon"
                .to_owned(),
        ),
        found => set(found),
    }
}

fn statsd(known: &Known<'_>) -> Outcome {
    if known.get("FLUX_SEND_TO_STATSD") != Some(&Value::Flag(true)) {
        return Nothing("nothing is sent to statsd");
    }
    let found = || {
        let host = words(known, "FLUX_STATSD_HOST")?;
        let port = whole(known, "FLUX_STATSD_PORT")?.unwrap_or(8125);
        Ok(host.map(|host| endpoint(host, port)))
    };
    set(found())
}

fn redis(known: &Known<'_>) -> Outcome {
    let found = || {
        let Some(path) = words(known, "REDIS_SOCKET_PATH")? else {
            return Err("REDIS_SOCKET_PATH is missing: write last.store".to_owned());
        };
        let Ok(mut url) = url::Url::parse("redis+unix:///") else {
            return Ok(None);
        };
        // What stands for itself in a path must not begin a query or an escape.
        url.set_path(&path.replace('%', "%25"));
        if let Some(password) = words(known, "REDIS_PASSWORD")? {
            url.query_pairs_mut().append_pair("password", password);
        }
        Ok(Some(Given::Text(url.to_string())))
    };
    set(found())
}

fn graphite(known: &Known<'_>) -> Outcome {
    let found = || {
        let Some(host) = words(known, "GRAPHITE_HOST")? else {
            return Ok(None);
        };
        let protocol = words(known, "GRAPHITE_PROTOCOL")?.unwrap_or("http");
        let path = words(known, "GRAPHITE_RENDER_URI")?.unwrap_or("render");
        let path = path.trim_matches('/');
        let port = match whole(known, "GRAPHITE_PORT")? {
            Some(port) => format!(":{port}"),
            None => String::new(),
        };
        Ok(Some(Given::Text(format!(
            "{protocol}://{host}{port}/{path}"
        ))))
    };
    set(found())
}

/// Each key by itself: one that is wrong does not cost the others.
fn keys(known: &Known<'_>, notes: &mut Vec<String>) -> Outcome {
    let quotas = dict(known, "FLUX_NAMESPACE_QUOTAS", notes);
    let own = known.get("FLUX_SELF_API_KEY");
    let mut members: Vec<Member> = Vec::new();
    let mut prefixes = Vec::new();
    for entry in dict(known, "FLUX_API_KEYS", notes) {
        if own == Some(&entry.key) {
            let line = entry.line;
            notes.push(format!(
                "the key on line {line} is the service's own, which has no prefix"
            ));
            continue;
        }
        prefixes.push(&entry.value);
        match member(entry, quotas) {
            Ok(member) => {
                // Of a key that is there twice, Python takes the last.
                members.retain(|before| before.name != member.name);
                members.push(member);
            }
            Err(why) => notes.extend(why),
        }
    }
    for quota in quotas
        .iter()
        .filter(|quota| !prefixes.contains(&&quota.key))
    {
        let name = match &quota.key {
            Value::Text(name) => quoted(name),
            other => other.kind().to_owned(),
        };
        let line = quota.line;
        notes.push(format!(
            "the quota on line {line}: no key has the prefix {name}"
        ));
    }
    match members.is_empty() {
        true => Nothing("there is no key beside the service's own"),
        false => Outcome::Set(Given::Table(members)),
    }
}

fn dict<'k>(known: &'k Known<'_>, name: &str, notes: &mut Vec<String>) -> &'k [Entry] {
    match known.get(name) {
        None => &[],
        Some(Value::Dict(entries)) => entries,
        Some(value) => {
            notes.push(left_out(name, value, "a dict"));
            &[]
        }
    }
}

/// One key with its prefix, and its quota if there is one.
fn member(entry: &Entry, quotas: &[Entry]) -> Result<Member, Vec<String>> {
    let line = entry.line;
    let Value::Text(key) = &entry.key else {
        return Err(vec![format!(
            "the key on line {line} is {}",
            entry.key.kind()
        )]);
    };
    let prefix = match &entry.value {
        Value::None => "",
        Value::Text(prefix) => prefix,
        other => {
            return Err(vec![format!(
                "the prefix on line {line} is {}",
                other.kind()
            )]);
        }
    };
    let mut value = Given::Text(prefix.to_owned());
    let own = |quota: &&Entry| quota.key == Value::Text(prefix.to_owned());
    if let Some(quota) = quotas.iter().rfind(own) {
        let Value::Whole(number) = quota.value else {
            let (line, kind) = (quota.line, quota.value.kind());
            return Err(vec![format!(
                "the quota of {} on line {line} is {kind}",
                quoted(prefix)
            )]);
        };
        let part = |name: &str, value| Member {
            name: name.to_owned(),
            value,
            line,
        };
        value = Given::Table(vec![
            part("prefix", value),
            part("quota", Given::Whole(number)),
        ]);
    }
    let member = Member {
        name: key.clone(),
        value,
        line,
    };
    let alone = Given::Table(vec![member]);
    match (namespaces(&alone, &mut Config::default().keys), alone) {
        (Ok(()), Given::Table(mut members)) => members.pop().ok_or_else(Vec::new),
        (Err(Wrong::Several(said)), _) => Err(said),
        (Err(Wrong::Said(said)), _) => Err(vec![said]),
        _ => Err(vec![format!("the key on line {line} is not taken")]),
    }
}
