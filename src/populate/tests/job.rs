//! The bodies Vista posts, byte for byte, and what is wrong with others.

use super::*;
use crate::config::populate::AllowedHost;

const KEY: &str = "YOURown32charSkylineAPIkeySecret";

/// Reference 11.1, the bytes on the wire.
const GRAPHITE: &str = r#"{"remote_host_type": "graphite", "remote_target": "stats.web01.cpu.user", "metric": "vista.graphite_example_org.stats.web01.cpu.user", "namespace_prefix": "vista.graphite_example_org", "key": "YOURown32charSkylineAPIkeySecret", "token": "None", "user": "None", "password": "None", "fetch_resolution_urls": "\"['https://graphite.example.org/render/?from=-90days&until=-7days&format=json&target=stats.web01.cpu.user', 'https://graphite.example.org/render/?from=-7days&until=-24hours&format=json&target=stats.web01.cpu.user', 'https://graphite.example.org/render/?from=-24hours&until=-6hours&format=json&target=stats.web01.cpu.user', 'https://graphite.example.org/render/?from=-6hours&format=json&target=stats.web01.cpu.user']\""}"#;

fn read_with(body: &str, header: Option<&str>, hosts: &[&str]) -> Result<Posted, Refused> {
    let namespaces = [("k".repeat(32), String::new())];
    let allowed = hosts.iter().map(|host| AllowedHost::parse(host).unwrap());
    let checks = Checks {
        keys: &Keys::new(KEY, &namespaces.into()),
        limits: &PointLimits {
            age_seconds_max: 3600,
            future_seconds_max: 60,
            points_per_request_max: 1,
            whisper_path_bytes: 29,
        },
        hosts: &Hosts(allowed.collect()),
    };
    let header = header.map(str::as_bytes);
    read(body.as_bytes(), header, &checks, &mut Parser::default())
}

fn job(body: &str) -> Job {
    match read_with(body, None, &[]) {
        Ok(Posted::Job(job)) => job,
        other => panic!("{body}: {other:?}"),
    }
}

/// A document with this as its list of URLs, as JSON.
fn with_urls(json: &str) -> String {
    let (before, _) = GRAPHITE.split_once("\"fetch").unwrap();
    format!("{before}\"fetch_resolution_urls\": {json}}}")
}

/// The text as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn refused(body: &str) -> (u16, String) {
    let fault = read_with(body, None, &[]).expect_err(body).fault();
    (fault.problem.status(), fault.why.into_owned())
}

#[test]
fn the_example_is_read_from_the_bytes_on_the_wire() {
    let job = job(GRAPHITE);
    assert_eq!(
        job.metric,
        "vista.graphite_example_org.stats.web01.cpu.user"
    );
    assert_eq!(
        (job.remote, job.target.as_str()),
        (Remote::Graphite, "stats.web01.cpu.user")
    );
    let url = |range: &str| {
        format!(
            "https://graphite.example.org/render/?from={range}&format=json&target=stats.web01.cpu.user"
        )
    };
    let expected = [
        "-24hours&until=-6hours",
        "-6hours",
        "-7days&until=-24hours",
        "-90days&until=-7days",
    ];
    assert_eq!(job.urls, expected.map(url));
}

#[test]
fn prometheus_is_read_with_its_brackets() {
    let url = "http://prometheus.example.org:9090/api/v1/query?query=node_network_transmit_bytes_total%7Bdevice%3D%22eth0%22%7D[15d]";
    let body =
        with_urls(&quoted(&format!("\"['{url}']\""))).replace("\"graphite\"", "\"prometheus\"");
    let job = job(&body);
    assert_eq!(
        (job.remote, job.urls),
        (Remote::Prometheus, vec![url.to_owned()])
    );
}

#[test]
fn every_way_of_quoting_the_list_gives_the_same_urls() {
    let urls = [
        "https://g/render/?target=aliasByNode(a.b,'x')&format=json",
        "https://g/render/?target=movingAverage(c,\"5min\")&format=json",
    ];
    let python = format!(r#"["{}", '{}']"#, urls[0], urls[1]);
    for json in [
        quoted(&format!("\"{python}\"")),
        quoted(&python),
        quoted(&format!(
            "\"['{}', '{}']\"",
            urls[0].replace('\'', "\\'"),
            urls[1]
        )),
        quoted(&serde_json::to_string(&urls).unwrap()),
        quoted(&format!("\"{}\"", serde_json::to_string(&urls).unwrap())),
        serde_json::to_string(&urls).unwrap(),
    ] {
        assert_eq!(job(&with_urls(&json)).urls, urls, "{json}");
    }
}

#[test]
fn the_self_key_is_required_wherever_it_stands() {
    let urls = |key: &str| GRAPHITE.replace(&format!("\"{KEY}\""), key);
    for (key, status) in [
        ("\"None\"", 401),
        ("null", 401),
        ("5", 401),
        ("\"\"", 401),
        ("\"abc\"", 401),
        ("\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"", 401),
        // A namespace's key, even one without a prefix.
        ("\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\"", 401),
    ] {
        assert_eq!(refused(&urls(key)), (status, String::new()), "{key}");
    }
    let without = GRAPHITE.replace(&format!("\"key\": \"{KEY}\", "), "");
    assert_eq!(refused(&without).0, 400);
    assert!(read_with(&without, Some(KEY), &[]).is_ok(), "in the header");
    assert_eq!(
        read_with(GRAPHITE, Some("x"), &[]),
        Err(Refused::WrongKey),
        "the header wins"
    );
    assert!(
        read_with(GRAPHITE, Some(""), &[]).is_ok(),
        "an empty one is none"
    );
    // Nothing else is told to a stranger.
    assert_eq!(refused(r#"{"key": "x"}"#).0, 401);
}

#[test]
fn what_cannot_be_decoded_is_refused_at_the_request() {
    for body in ["", "{", "{}", "[]", "null", "\"x\"", "[1]"] {
        assert_eq!(refused(body).0, 400, "{body}");
    }
    for json in [
        "null",
        "\"None\"",
        "\"\\\"None\\\"\"",
        "\"\"",
        "\"[[\"",
        "\"\\\"[\\\"\"",
        "\"http://g/\"",
        "5",
        "true",
        "{}",
        "[5]",
        "[null]",
        "[[\"http://g/\"]]",
        "\"['ftp://g/']\"",
        "\"['http://']\"",
        "[\"http://g/\", \"file:///etc/passwd\"]",
    ] {
        assert_eq!(refused(&with_urls(json)).0, 400, "{json}");
    }
    for member in [
        "remote_host_type",
        "remote_target",
        "metric",
        "namespace_prefix",
        "fetch_resolution_urls",
    ] {
        let without = GRAPHITE.replace(&format!("\"{member}\""), "\"other\"");
        let (status, why) = refused(&without);
        assert!(status == 400 && why.contains(member), "{why}");
    }
    assert_eq!(read_with("\u{feff}{", None, &[]), Err(Refused::NotJson));
    let checks = |body: &[u8]| {
        let limits = PointLimits::from(&crate::config::Config::default().points);
        let keys = Keys::new(KEY, &Default::default());
        let checks = Checks {
            keys: &keys,
            limits: &limits,
            hosts: &Hosts::default(),
        };
        read(body, None, &checks, &mut Parser::default())
    };
    assert_eq!(checks(b"{\"key\": \"\xff\"}"), Err(Refused::NotUtf8));
}

#[test]
fn an_empty_list_is_done_at_once() {
    for json in ["[]", "\"()\"", "\"[]\"", "\"\\\"()\\\"\"", "\"\\\"[]\\\"\""] {
        assert_eq!(
            read_with(&with_urls(json), None, &[]),
            Ok(Posted::Nothing),
            "{json}"
        );
    }
}

#[test]
fn number_and_length_of_what_is_fetched_are_bounded() {
    let many = |count: usize| {
        let urls: Vec<String> = (0..count).map(|n| format!("http://g/{n}")).collect();
        serde_json::to_string(&urls).unwrap()
    };
    assert_eq!(job(&with_urls(&many(URLS_MAX))).urls.len(), URLS_MAX);
    for json in [many(URLS_MAX + 1), quoted(&many(URLS_MAX + 1))] {
        let error = read_with(&with_urls(&json), None, &[]);
        assert_eq!(error, Err(Refused::TooManyUrls(URLS_MAX + 1)));
    }
    let long = format!("[\"http://g/\", \"http://g/{}\"]", "x".repeat(8192));
    let why = Unusable::TooLong;
    assert_eq!(
        read_with(&with_urls(&long), None, &[]),
        Err(Refused::Url { place: 2, why })
    );
    for target in [String::new(), "t".repeat(TARGET_BYTES_MAX + 1)] {
        let body = GRAPHITE.replace("\"stats.web01.cpu.user\"", &quoted(&target));
        assert_eq!(read_with(&body, None, &[]), Err(Refused::Target));
    }
}

#[test]
fn a_metric_keeps_to_the_rules_of_names_and_may_have_letters_beyond_ascii() {
    let named =
        |json: &str| GRAPHITE.replace("\"vista.graphite_example_org.stats.web01.cpu.user\"", json);
    assert_eq!(job(&named("\"vista.café\"")).metric, "vista.café");
    assert_eq!(job(&named("5")).metric, "5");
    for json in [
        "\"\"",
        "null",
        "\"a\\nb\"",
        "\"a;b\"",
        "[]",
        &quoted(&"x".repeat(300)),
    ] {
        let (status, _) = refused(&named(json));
        assert_eq!(status, 400, "{json}");
    }
}

#[test]
fn a_job_for_a_host_that_is_not_allowed_is_refused_whole() {
    assert!(read_with(GRAPHITE, None, &["graphite.example.org"]).is_ok());
    let other = read_with(GRAPHITE, None, &["prometheus.example.org"]);
    assert_eq!(other, Err(Refused::HostNotAllowed(1)));
    let mixed = with_urls("[\"https://graphite.example.org/\", \"http://169.254.169.254/\"]");
    let error = read_with(&mixed, None, &["graphite.example.org"]).unwrap_err();
    assert_eq!(error, Refused::HostNotAllowed(2));
    assert_eq!(error.fault().problem.status(), 400);
}

#[test]
fn two_posts_of_one_job_are_the_same_job_whatever_the_order() {
    let one = job(&with_urls(r#"["http://g/a", "http://g/b", "http://g/a"]"#));
    let two = job(&with_urls(r#""\"['http://g/b', 'http://g/a']\"""#));
    assert_eq!(one, two);
}
