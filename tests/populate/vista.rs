//! Vista's part, end to end: a Graphite that is asked over https, and a Graphite that gets the history.

use std::collections::BTreeMap;
use std::path::Path;

use super::common::carbon::CarbonCache;
use super::common::flux::{Flux, KEY};
use super::common::graphite::{Authority, GraphiteWeb, whisper};
use super::common::redis::{Redis, Reply};
use super::common::{now, wait_until};
use super::{body, dice, jobs, minute, post, sent, value, wait_done};
use serde_json::{Value, json};

const DAY: u32 = 86_400;
const METRIC: &str = "vista.graphite_example_org.stats.web01.cpu.user";
const TARGET: &str = "stats.web01.cpu.user";
/// The remote's fine archive, and how far it reaches back; the coarse one is of five minutes.
const FINE: u32 = 30;
const FINE_SECONDS: u32 = 2 * DAY;
const COARSE: u32 = 300;

/// Whether the remote has a point there, and which.
fn point(at: u32) -> Option<f64> {
    (!dice(1, at).is_multiple_of(17)).then(|| value(2, at))
}

fn mean(points: impl Iterator<Item = u32>) -> Option<f64> {
    let values: Vec<f64> = points.filter_map(point).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// 90 days: points of five minutes, and of 30 seconds in the last two days.
fn history(folder: &Path, metric: &str, now: u32) {
    let coarse = (now - 91 * DAY..now - FINE_SECONDS)
        .map(|at| at - at % COARSE)
        .step_by(COARSE as usize);
    let fine = (now - FINE_SECONDS + FINE..=now)
        .map(|at| at - at % FINE)
        .step_by(FINE as usize);
    let points = coarse.chain(fine).filter_map(|at| Some((at, point(at)?)));
    let archives = [(FINE, FINE_SECONDS / FINE), (COARSE, 100 * DAY / COARSE)];
    whisper(folder, metric, &archives, points);
}

/// What Graphite has to hold for a minute: `None` where it depends on when exactly a window was asked for.
fn oracle(at: u32, now: u32) -> Option<Option<f64>> {
    let age = now - at;
    let borders = [6 * 3600, DAY, FINE_SECONDS, 7 * DAY, 90 * DAY];
    if borders
        .iter()
        .any(|border| age.abs_diff(*border) <= 2 * COARSE)
    {
        return None;
    }
    Some(match age {
        0..DAY => mean([at, at + FINE].into_iter()),
        _ if !at.is_multiple_of(COARSE) => None,
        DAY..FINE_SECONDS => mean((at..at + COARSE).step_by(FINE as usize)),
        _ if age < 90 * DAY => point(at),
        _ => None,
    })
}

/// The bytes of reference.md 11.1, with a key and a port.
fn example(authority: &str) -> String {
    let urls: Vec<String> = ["from=-90days&until=-7days", "from=-7days&until=-24hours"]
        .into_iter()
        .chain(["from=-24hours&until=-6hours", "from=-6hours"])
        .map(|window| format!("'https://{authority}/render/?{window}&format=json&target={TARGET}'"))
        .collect();
    format!(
        "{{\"remote_host_type\": \"graphite\", \"remote_target\": \"{TARGET}\", \"metric\": \"{METRIC}\", \
         \"namespace_prefix\": \"vista.graphite_example_org\", \"key\": \"{KEY}\", \"token\": \"None\", \
         \"user\": \"None\", \"password\": \"None\", \"fetch_resolution_urls\": \"\\\"[{}]\\\"\"}}",
        urls.join(", ")
    )
}

fn members(redis: &Redis) -> Vec<String> {
    let Reply::Array(members) = redis.command(&["SMEMBERS", "vista.fetcher.unique_metrics"]) else {
        panic!("a set has members");
    };
    let text = |member| match member {
        Reply::Bulk(Some(text)) => text,
        other => panic!("{other:?}"),
    };
    members.into_iter().map(text).collect()
}

fn mark(redis: &Redis, metric: &str) -> Option<(u32, Value)> {
    let text = redis.get(&format!("flux.last.{metric}"))?;
    let pair: Value = serde_json::from_str(&text).expect("as Python writes it");
    Some((pair[0].as_u64().expect("a time") as u32, pair[1].clone()))
}

/// A local Graphite, a store, and the program between them.
struct Stand {
    carbon: CarbonCache,
    local: GraphiteWeb,
    redis: Redis,
    flux: Flux,
    /// Mounted over /etc/hosts at each start.
    hosts: tempfile::NamedTempFile,
}

/// Knows where graphite.example.org is, and whom to trust.
fn stand(ca_file: Option<&Path>) -> Stand {
    let carbon = CarbonCache::keeping("60s:100d");
    let local = GraphiteWeb::of(&carbon);
    let redis = Redis::start();
    let hosts = tempfile::NamedTempFile::new().expect("a file of our own");
    let names = "127.0.0.1 localhost graphite.example.org\n";
    std::fs::write(hosts.path(), names).expect("a file of our own");
    let mut builder = Flux::builder()
        .carbon(&format!("127.0.0.1:{}", carbon.pickle_port))
        .redis(&redis.url())
        .shards(2)
        .hosts(hosts.path())
        .set_text("populate.graphite", &local.render_address());
    if let Some(file) = ca_file {
        builder = builder.set_text("populate.ca_file", &file.display().to_string());
    }
    let flux = builder.start();
    Stand {
        carbon,
        local,
        redis,
        flux,
        hosts,
    }
}

#[test]
fn vistas_graphite_example_fills_a_graphite_once() {
    let authority = Authority::for_names(&["graphite.example.org"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let began = now();
    history(folder.path(), TARGET, began);
    let remote = GraphiteWeb::over_tls(folder.path(), &authority);
    let stand = stand(Some(&authority.file()));
    let Stand {
        local, redis, flux, ..
    } = &stand;

    let example = example(&format!("graphite.example.org:{}", remote.port));
    let answer = post(flux, &example);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    wait_done(flux, 1);
    let ended = now();
    let points = sent(flux);
    assert!(
        (27_000 - 2_000..27_500).contains(&points),
        "{points} points"
    );

    // The mark is there once the owner has written it; carbon reads at its own pace.
    wait_until("the mark is written", || mark(redis, METRIC).is_some());
    let (last, last_value) = mark(redis, METRIC).expect("it is written");
    assert!(
        minute(began) - 120 <= last && last < minute(ended),
        "{last}"
    );
    let held = || local.values(METRIC, began - 91 * DAY, ended);
    wait_until("carbon has all of it", || held().len() as u64 == points);
    let held = held();
    assert_eq!(last_value.as_f64(), Some(held[&last]));
    compare(&held, began);
    assert_eq!(members(redis), [TARGET]);
    let key = format!("vista.last.resolution.{METRIC}");
    assert_eq!(redis.get(&key).as_deref(), Some("30"));
    let ttl = redis.command(&["TTL", &key]);
    assert!(matches!(ttl, Reply::Int(3_000..=3_600)), "{ttl:?}");

    // The remote has nothing new since: the same again sends nothing, whether the store or only
    // Graphite knows the metric.
    assert_eq!(post(flux, &example).status, 204);
    wait_done(flux, 2);
    stand.redis.command(&["FLUSHALL"]);
    let mut stand = stand;
    assert!(stand.flux.stop().success());
    stand.flux.start_again();
    assert_eq!(post(&stand.flux, &example).status, 204);
    wait_done(&stand.flux, 1);
    // The last minute may have ended since it was asked for the first time.
    let repeated = sent(&stand.flux);
    assert!(repeated <= 1, "{repeated} points were sent again");
    assert_eq!(jobs(&stand.flux, "done"), 1.0);
    drop(stand.carbon);
}

fn compare(held: &BTreeMap<u32, f64>, began: u32) {
    let mut compared = 0;
    for at in (minute(began - 90 * DAY)..minute(began)).step_by(60) {
        let Some(expected) = oracle(at, began) else {
            continue;
        };
        let found = held.get(&at).copied();
        assert_eq!(
            found.map(f64::to_bits),
            expected.map(f64::to_bits),
            "at {at}: {found:?}"
        );
        compared += u32::from(expected.is_some());
    }
    assert!(compared > 25_000, "{compared} minutes compared");
}

#[test]
fn every_form_of_the_list_and_quotes_in_targets_reach_the_same_history() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let began = now();
    history(folder.path(), TARGET, began);
    let remote = GraphiteWeb::over(folder.path());
    let Stand {
        carbon,
        local,
        flux,
        redis,
        hosts: _hosts,
    } = stand(None);
    let base = format!("http://graphite.example.org:{}/render/", remote.port);
    let single = format!("{base}?from=-6hours&format=json&target={TARGET}");
    let with_single = format!("{base}?from=-6hours&format=json&target=alias({TARGET},'cpu')");
    let with_double = format!("{base}?from=-6hours&format=json&target=alias({TARGET},\"cpu\")");
    let forms = [
        json!(format!("\"['{single}']\"")),
        // As Python renders an element with a single quote in it.
        json!(format!("\"[\"{with_single}\"]\"")),
        json!(format!("\"['{with_double}']\"")),
        json!(format!("['{single}']")),
        json!([with_single]),
        json!([with_double]),
    ];
    for (index, urls) in forms.iter().enumerate() {
        let metric = format!("forms.f{index}");
        let target = format!("alias({TARGET},'{index}')");
        let answer = post(&flux, &body("graphite", &target, &metric, urls.clone()));
        assert_eq!(answer.status, 204, "{urls}: {answer:?}");
    }
    wait_done(&flux, forms.len() as u32);
    for index in 0..forms.len() {
        let metric = format!("forms.f{index}");
        let (from, until) = (began - 6 * 3600 + 600, minute(began) - 60);
        let expected: BTreeMap<u32, f64> = (minute(from) + 60..=until)
            .step_by(60)
            .filter_map(|at| Some((at, mean([at, at + FINE].into_iter())?)))
            .collect();
        wait_until(&format!("{metric} is whole"), || {
            local.values(&metric, minute(from), until) == expected
        });
        wait_until("the target is known", || {
            members(&redis).contains(&format!("alias({TARGET},'{index}')"))
        });
    }
    drop(carbon);
}
