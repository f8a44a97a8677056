//! The rows of `POST /populate_metric`: which bodies are jobs, and what a remote's answer comes to.

use skyline_flux::api::auth::Keys;
use skyline_flux::api::json::Parser;
use skyline_flux::api::verdict;
use skyline_flux::populate::address::Hosts;
use skyline_flux::populate::cause::Cause;
use skyline_flux::populate::job::{self, Checks, Job, Posted, Remote};
use skyline_flux::populate::parse::Raw;
use skyline_flux::populate::record::{Accepted, Start};
use skyline_flux::populate::work::{Next, Options, Work};

use super::{KEY, limits};

pub enum Want {
    /// 204, and these addresses are fetched.
    Queued(&'static [&'static str]),
    Refused(u16, &'static str),
}
use Want::{Queued, Refused};

pub struct Row(
    pub &'static str,
    /// `KEY` in braces stands for the service's own.
    pub &'static str,
    pub &'static str,
    pub Want,
    pub &'static str,
);

const OWN_KEY_ONLY: &str = "whoever posts here makes this host fetch addresses";
const FOUND_AT_ONCE: &str = "what is accepted can be carried out";

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    vec![
        Row("138", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"vista.t","namespace_prefix":"vista","key":"{KEY}","token":"None","user":"None","password":"None","fetch_resolution_urls":"\"['https://g.example/render/?from=-90days&until=-7days&format=json&target=t', 'https://g.example/render/?from=-7days&format=json&target=t']\""}"#, "204, queued", Queued(&["https://g.example/render/?from=-7days&format=json&target=t", "https://g.example/render/?from=-90days&until=-7days&format=json&target=t"]), ""),
        Row("139", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"None","fetch_resolution_urls":["http://g/1"]}"#, "204", Refused(401, "invalid key"), OWN_KEY_ONLY),
        Row("139", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":null,"fetch_resolution_urls":["http://g/1"]}"#, "204", Refused(401, "invalid key"), OWN_KEY_ONLY),
        Row("140", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","fetch_resolution_urls":["http://g/1"]}"#, "204", Refused(401, "invalid key"), OWN_KEY_ONLY),
        Row("141", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"abc","fetch_resolution_urls":["http://g/1"]}"#, "400", Refused(401, "invalid key"), "as on the other endpoints"),
        Row("141", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","fetch_resolution_urls":["http://g/1"]}"#, "400", Refused(400, "no key passed"), ""),
        Row("142", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":null}"#, "400", Refused(400, "Invalid parameter received - fetch_resolution_urls is None"), ""),
        Row("142", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":"None"}"#, "400", Refused(400, "Invalid parameter received - fetch_resolution_urls is None"), ""),
        Row("143", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":"[["}"#, "204, fails in the worker", Refused(400, "Invalid parameter received - fetch_resolution_urls: "), FOUND_AT_ONCE),
        Row("143", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}"}"#, "204, fails in the worker", Refused(400, "Invalid parameter received - the document has no fetch_resolution_urls"), FOUND_AT_ONCE),
        Row("144", r#"{"remote_host_type":"graphite","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":["http://g/1"]}"#, "400", Refused(400, "Invalid parameter received - the document has no remote_target"), ""),
        Row("145", "{", "400", Refused(400, "invalid json data"), ""),
        Row("145", "{}", "400", Refused(400, "no POST data received"), ""),
        // 146 is among the requests. Ours alone, and what real senders were seen to do (section 18).
        Row("s6", r#"{"remote_host_type":"graphite","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":"\"['http://g/?target=alias(t,\"x\")']\""}"#, "204, another job's URLs are fetched", Queued(&["http://g/?target=alias(t,\"x\")"]), ""),
        Row("s13", r#"{"remote_host_type":"influx","remote_target":"t","metric":"m","namespace_prefix":"","key":"{KEY}","fetch_resolution_urls":["http://g/1"]}"#, "204, sends nothing", Refused(400, "Invalid parameter received - remote_host_type is neither"), FOUND_AT_ONCE),
    ]
}

#[test]
fn a_body_is_a_job_or_is_refused_as_the_table_says() {
    let (keys, limits, hosts) = (Keys::new(KEY, &[].into()), limits(), Hosts::default());
    let checks = Checks {
        keys: &keys,
        limits: &limits,
        hosts: &hosts,
    };
    let mut parser = Parser::default();
    for Row(number, body, _, want, _) in rows() {
        let body = body.replace("{KEY}", KEY);
        let posted = job::read(body.as_bytes(), None, &checks, &mut parser);
        match (want, posted) {
            (Queued(urls), Ok(Posted::Job(job))) => assert_eq!(job.urls, urls, "row {number}"),
            (Refused(status, start), Err(refused)) => {
                let fault = refused.fault();
                let answer = verdict::refuse(fault.problem, &fault.why);
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                let start = format!("{{\"code\": {status}, \"message\": \"{start}");
                assert_eq!(answer.status, status, "row {number}: {body}");
                assert!(body.starts_with(&start), "row {number}: {body}");
            }
            (_, posted) => panic!("row {number}: {posted:?}"),
        }
    }
}

/// 2016-11-01 17:40:30.
const NOW: u32 = 1_478_022_030;
/// A whole minute ten before.
const T: u32 = 1_478_021_400;

pub struct History {
    pub number: &'static str,
    remote: Remote,
    /// What the store holds.
    mark: Option<u32>,
    /// `T+n` in braces stands for a time.
    answer: Result<&'static str, Cause>,
    pub theirs: &'static str,
    /// Points and the mark that are left behind.
    ours: (&'static [Raw], Option<(u32, Option<f64>)>),
    pub why: &'static str,
}

const ONE: (&[Raw], Option<(u32, Option<f64>)>) = (&[(T, 1.0)], Some((T, Some(1.0))));
const NOTHING: (&[Raw], Option<(u32, Option<f64>)>) = (&[], None);

pub fn histories() -> Vec<History> {
    let row = |number, remote, answer, theirs, ours, why| History {
        number,
        remote,
        mark: None,
        answer,
        theirs,
        ours,
        why,
    };
    let (graphite, prometheus) = (Remote::Graphite, Remote::Prometheus);
    let nulls = r#"[{"target":"t","datapoints":[[null,{T-60}],[1.0,{T+0}]]}]"#;
    let values =
        r#"{"data":{"result":[{"values":[[{T+5}.123,"1"],[{T+35},"NaN"],[{T+65},"NaN"]]}]}}"#;
    vec![
        row("147", graphite, Ok(nulls), "the second", ONE, ""),
        row(
            "148",
            prometheus,
            Ok(values),
            "the first minute's mean, and NaN for the second",
            ONE,
            "what has no value is not sent",
        ),
        row(
            "149",
            graphite,
            Err(Cause::Status),
            "nothing, no cursor",
            NOTHING,
            "",
        ),
        row("149", graphite, Ok("[]"), "nothing, no cursor", NOTHING, ""),
        History {
            mark: Some(T),
            ..row("150", graphite, Ok(nulls), "nothing", NOTHING, "")
        },
    ]
}

#[test]
fn a_remotes_answer_comes_to_what_the_table_says() {
    for row in histories() {
        let accepted = Accepted {
            id: 1,
            accepted: NOW,
            start: row.mark.map_or(Start::Unknown, Start::Stored),
            live: None,
            job: Job {
                metric: "m".to_owned(),
                remote: row.remote,
                target: "t".to_owned(),
                urls: vec!["http://g/1".to_owned()],
            },
        };
        let options = Options {
            graphite: None,
            resample_seconds: 60,
            submit_current_minute: false,
            hosts: Hosts::default(),
        };
        let answer = row.answer.map(|text| {
            let mut text = text.to_owned();
            for offset in [-60i64, 0, 5, 35, 65] {
                let at = i64::from(T) + offset;
                text = text.replace(&format!("{{T{offset:+}}}"), &at.to_string());
            }
            text
        });
        let mut work = Work::new(&accepted, &options, NOW);
        let mut sent = Vec::new();
        let outcome = loop {
            match work.next(NOW) {
                Next::Fetch(_) => {
                    work.answered(answer.as_deref().map(str::as_bytes).map_err(|c| *c))
                }
                Next::Keep(_) => work.kept(),
                Next::AskLive => work.live(None),
                Next::Send(points) => {
                    sent.extend_from_slice(points);
                    work.sent();
                }
                Next::End(outcome) => break outcome,
            }
        };
        let mark = outcome.result.ok().and_then(|sent| sent.mark);
        assert_eq!((&sent[..], mark), row.ours, "row {}", row.number);
    }
}
