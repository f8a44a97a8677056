//! Jobs carried out against remotes that are a function of the URL.

use super::*;
use crate::config::populate::AllowedHost;
use crate::populate::job::Job;

/// 17:40:30 on 1 November 2016.
const NOW: u32 = 1_478_022_030;
const MINUTE: u32 = 1_478_022_000;

fn options() -> Options {
    Options {
        graphite: Some("http://local/render".to_owned()),
        resample_seconds: 60,
        submit_current_minute: false,
        hosts: Hosts::default(),
    }
}

fn accepted(remote: Remote, start: Start, urls: &[&str]) -> Accepted {
    Accepted {
        id: 7,
        accepted: NOW - 5,
        start,
        live: None,
        job: Job {
            metric: "vista.a".to_owned(),
            remote,
            target: "a".to_owned(),
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        },
    }
}

/// What was done, in order.
#[derive(Debug, Default)]
struct Log {
    asked: Vec<String>,
    kept: Vec<Option<u32>>,
    sent: Vec<Raw>,
    chunks: Vec<usize>,
}

fn run(
    work: &mut Work,
    live: Option<u32>,
    remote: impl Fn(&str) -> Result<String, Cause>,
) -> (Log, Outcome) {
    let mut log = Log::default();
    loop {
        match work.next(NOW) {
            Next::Fetch(ask) => {
                let url = ask.address.url().to_owned();
                assert_eq!(ask.local, url.starts_with("http://local/"), "{url}");
                let answer = remote(&url);
                log.asked.push(url);
                work.answered(answer.as_deref().map(str::as_bytes).map_err(|cause| *cause));
            }
            Next::Keep(mark) => {
                work.heard(live);
                if work.next(NOW) == Next::Keep(mark) {
                    log.kept.push(mark);
                    work.kept();
                }
            }
            Next::AskLive => work.live(live),
            Next::Send(bins) => {
                log.sent.extend_from_slice(bins);
                log.chunks.push(bins.len());
                work.sent();
            }
            Next::End(outcome) => return (log, outcome),
        }
    }
}

fn graphite(points: &[(Option<f64>, u32)]) -> Result<String, Cause> {
    let pair = |(value, at): &(Option<f64>, u32)| match value {
        Some(value) => format!("[{value:?}, {at}]"),
        None => format!("[null, {at}]"),
    };
    let pairs: Vec<String> = points.iter().map(pair).collect();
    Ok(format!(
        r#"[{{"target": "a", "datapoints": [{}]}}]"#,
        pairs.join(", ")
    ))
}

fn sent(outcome: &Outcome) -> &Sent {
    outcome.result.as_ref().expect("it did not fail")
}

#[test]
fn the_worked_example_from_urls_to_the_mark() {
    let at = 1_478_021_700;
    let mut work = Work::new(
        &accepted(
            Remote::Graphite,
            Start::Unknown,
            &["http://g/1", "http://g/2"],
        ),
        &options(),
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |url| match url {
        "http://g/1" => graphite(&[(Some(5.0), at + 190), (Some(1.0), at + 5)]),
        "http://g/2" => graphite(&[
            (Some(7.5), at + 205),
            (Some(3.0), at + 35),
            (None, at + 215),
        ]),
        _ => Ok("[]".to_owned()),
    });
    assert_eq!(log.asked.len(), 8, "six windows, two URLs");
    assert!(log.asked[0].starts_with("http://local/render/?from=-50mins&target=vista.a"));
    assert_eq!(log.kept, [None]);
    assert_eq!(log.sent, [(1_478_021_700, 2.0), (1_478_021_880, 6.25)]);
    let sent = sent(&outcome);
    assert_eq!(sent.mark, Some((1_478_021_880, Some(6.25))));
    assert_eq!(
        (sent.points, sent.discarded, sent.resolution),
        (2, 1, Some(30))
    );
    assert!(outcome.remember && sent.skipped.is_empty());
}

#[test]
fn a_stored_mark_is_not_searched_for_and_nothing_is_sent_twice() {
    let points: Vec<_> = (1..9)
        .map(|n| (Some(f64::from(n)), MINUTE - n * 60))
        .collect();
    let start = Start::Stored(MINUTE - 180);
    let mut work = Work::new(
        &accepted(Remote::Graphite, start, &["http://g/1"]),
        &options(),
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |_| graphite(&points));
    assert_eq!((log.asked.len(), log.kept.len()), (1, 0));
    assert_eq!(log.sent, [(MINUTE - 120, 2.0), (MINUTE - 60, 1.0)]);
    assert_eq!(sent(&outcome).old, 6);
    let start = Start::Stored(MINUTE - 60);
    let mut work = Work::new(
        &accepted(Remote::Graphite, start, &["http://g/1"]),
        &options(),
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |_| graphite(&points));
    assert_eq!(log.sent, []);
    // Vector 150; the target is known all the same.
    assert_eq!((sent(&outcome).mark, outcome.remember), (None, true));
    assert_eq!(sent(&outcome).resolution, None);
}

#[test]
fn graphite_gives_the_mark_from_the_first_window_that_has_a_value_older_than_the_job() {
    let mut work = Work::new(
        &accepted(
            Remote::Prometheus,
            Start::Unknown,
            &["http://p/q?query=a[15d]"],
        ),
        &options(),
        NOW,
    );
    let (log, _) = run(&mut work, None, |url| match url {
        _ if url.contains("from=-50mins") => Err(Cause::Timeout),
        _ if url.contains("from=-6hours") => graphite(&[(None, NOW - 4000)]),
        // The last was written by others since the job was accepted.
        _ if url.contains("from=-24hours") => graphite(&[
            (Some(0.0), NOW - 7200),
            (None, NOW - 7100),
            (Some(1.0), NOW - 1),
        ]),
        _ => Err(Cause::Empty),
    });
    assert_eq!(log.kept, [Some(NOW - 7200)]);
    // What Graphite has is recent however old it is: 120 minutes and 2.
    assert_eq!(log.asked[3], "http://p/q?query=a%5B122m%5D");
    let again = accepted(
        Remote::Prometheus,
        Start::Graphite(Some(NOW - 7200)),
        &["http://p/q?query=a[15d]"],
    );
    let (log, outcome) = run(&mut Work::new(&again, &options(), NOW), None, |_| {
        Err(Cause::Empty)
    });
    assert_eq!(
        log.asked,
        ["http://p/q?query=a%5B122m%5D"],
        "not asked again after a restart"
    );
    assert!(!outcome.remember);
    let stored = accepted(
        Remote::Prometheus,
        Start::Stored(NOW - 7200),
        &["http://p/q?query=a[15d]"],
    );
    let (log, _) = run(&mut Work::new(&stored, &options(), NOW), None, |_| {
        Err(Cause::Empty)
    });
    assert_eq!(
        log.asked,
        ["http://p/q?query=a%5B15d%5D"],
        "an old stored mark is not recent"
    );
}

#[test]
fn a_live_point_that_graphite_had_before_we_heard_of_it_is_no_mark() {
    let live = NOW - NOW % 60 - 1800;
    let job = accepted(Remote::Graphite, Start::Unknown, &["http://g/1"]);
    let mut work = Work::new(&job, &options(), NOW);
    let (log, outcome) = run(&mut work, Some(live), |url| match url {
        "http://g/1" => graphite(&[(Some(1.0), live - 600), (Some(2.0), live - 60)]),
        _ => graphite(&[(Some(9.0), live - 600), (Some(7.0), live)]),
    });
    // The same window once more, which then has only what is older.
    assert_eq!(log.asked.len(), 3);
    assert_eq!(log.asked[0], log.asked[1]);
    assert_eq!(log.kept, [Some(live - 600)]);
    assert_eq!(log.sent, [(live - 60, 2.0)]);
    assert_eq!(sent(&outcome).points, 1);
}

#[test]
fn without_a_graphite_nothing_is_searched() {
    let options = Options {
        graphite: None,
        ..options()
    };
    let mut work = Work::new(
        &accepted(Remote::Graphite, Start::Unknown, &["http://g/1"]),
        &options,
        NOW,
    );
    let (log, _) = run(&mut work, None, |_| graphite(&[(Some(1.0), MINUTE - 60)]));
    assert_eq!((log.asked.len(), log.kept.len(), log.sent.len()), (1, 0, 1));
}

#[test]
fn a_failed_url_is_skipped_and_only_when_all_fail_the_job_does() {
    let urls = ["http://g/1", "http://g/2", "http://g/3"];
    let start = Start::Stored(1);
    let mut work = Work::new(&accepted(Remote::Graphite, start, &urls), &options(), NOW);
    let (log, outcome) = run(&mut work, None, |url| match url {
        "http://g/1" => Err(Cause::Status),
        "http://g/2" => Ok("<html>".to_owned()),
        _ => graphite(&[(Some(1.0), MINUTE - 60)]),
    });
    assert_eq!(log.sent, [(MINUTE - 60, 1.0)]);
    assert_eq!(sent(&outcome).skipped, [Cause::Status, Cause::Decode]);
    // Vector 149.
    let mut work = Work::new(&accepted(Remote::Graphite, start, &urls), &options(), NOW);
    let (log, outcome) = run(&mut work, None, |url| match url {
        "http://g/1" => Err(Cause::Status),
        _ => Ok("[]".to_owned()),
    });
    assert_eq!(
        (log.sent.len(), outcome),
        (
            0,
            Outcome {
                result: Err(Cause::Status),
                remember: false
            }
        )
    );
}

#[test]
fn a_series_that_is_null_now_gets_a_mark_without_a_value() {
    let last = |points: &[(Option<f64>, u32)], start: Start| {
        let points = points.to_vec();
        let mut work = Work::new(
            &accepted(Remote::Graphite, start, &["http://g/1"]),
            &options(),
            NOW,
        );
        let (log, outcome) = run(&mut work, None, move |_| graphite(&points));
        (log.sent.len(), sent(&outcome).mark, outcome.remember)
    };
    let unknown = Start::Graphite(None);
    let null = [(None, MINUTE - 120), (None, MINUTE - 60)];
    assert_eq!(last(&null, unknown), (0, Some((MINUTE - 60, None)), true));
    // The minute under way may get its points yet.
    let with_current = [null[0], null[1], (None, MINUTE)];
    assert_eq!(
        last(&with_current, unknown),
        (0, Some((MINUTE - 60, None)), true)
    );
    // Values that are known already and nothing since.
    let stopped = [(Some(1.0), MINUTE - 180), null[0], null[1]];
    assert_eq!(
        last(&stopped, Start::Stored(MINUTE - 180)),
        (0, Some((MINUTE - 60, None)), true)
    );
    // A value to send counts more than what is null behind it.
    assert_eq!(
        last(&stopped, unknown),
        (1, Some((MINUTE - 180, Some(1.0))), true)
    );
    let old = [(None, NOW - 120)];
    assert_eq!(last(&old, unknown), (0, None, false));
    let known = [(Some(1.0), MINUTE - 60)];
    assert_eq!(last(&known, Start::Stored(MINUTE - 60)), (0, None, true));
}

#[test]
fn live_points_take_over_where_the_first_of_them_is() {
    let points: Vec<_> = (1..6)
        .map(|n| (Some(f64::from(n)), MINUTE - n * 60))
        .collect();
    let work = || {
        Work::new(
            &accepted(Remote::Graphite, Start::Stored(1), &["http://g/1"]),
            &options(),
            NOW,
        )
    };
    let remote = |_: &str| graphite(&points);
    let (log, outcome) = run(&mut work(), Some(MINUTE - 119), remote);
    assert_eq!(log.sent.len(), 4);
    assert_eq!(sent(&outcome).mark, Some((MINUTE - 120, Some(2.0))));
    let (log, _) = run(&mut work(), Some(MINUTE - 120), remote);
    assert_eq!(log.sent.last(), Some(&(MINUTE - 180, 3.0)));
    let (log, outcome) = run(&mut work(), Some(5), remote);
    assert_eq!((log.sent.len(), sent(&outcome).mark), (0, None));
    // What the jobs file said before a restart counts too.
    let mut before = accepted(Remote::Graphite, Start::Stored(1), &["http://g/1"]);
    before.live = Some(MINUTE - 240);
    let (log, _) = run(
        &mut Work::new(&before, &options(), NOW),
        Some(MINUTE - 60),
        remote,
    );
    assert_eq!(log.sent.last(), Some(&(MINUTE - 300, 5.0)));
}

#[test]
fn a_live_point_in_the_middle_stops_what_is_not_handed_over() {
    let count = 3 * CHUNK_POINTS as u32 + 1;
    let first = MINUTE - count * 60;
    let points: Vec<_> = (0..count).map(|n| (Some(1.0), first + n * 60)).collect();
    let mut work = Work::new(
        &accepted(Remote::Graphite, Start::Stored(1), &["http://g/1"]),
        &options(),
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |_| graphite(&points));
    assert_eq!(log.chunks, [CHUNK_POINTS, CHUNK_POINTS, CHUNK_POINTS, 1]);
    assert_eq!(sent(&outcome).points, u64::from(count));
    let mut work = Work::new(
        &accepted(Remote::Graphite, Start::Stored(1), &["http://g/1"]),
        &options(),
        NOW,
    );
    while !matches!(work.next(NOW), Next::Send(_)) {
        match work.next(NOW) {
            Next::Fetch(_) => work.answered(Ok(graphite(&points).unwrap().as_bytes())),
            _ => work.live(None),
        }
    }
    work.sent();
    let from = first + 60 * (CHUNK_POINTS as u32 + 10);
    work.live(Some(from));
    assert!(matches!(work.next(NOW), Next::Send(bins) if bins.len() == 10));
    work.live(Some(5));
    let Next::End(outcome) = work.next(NOW) else {
        panic!("nothing is left to hand over");
    };
    let last = first + 60 * (CHUNK_POINTS as u32 - 1);
    assert_eq!(
        (sent(&outcome).points, sent(&outcome).mark),
        (480, Some((last, Some(1.0))))
    );
}

#[test]
fn a_host_that_is_not_allowed_any_more_is_skipped_and_our_own_graphite_is_exempt() {
    let hosts = Hosts(vec![AllowedHost::parse("g").unwrap()]);
    let options = Options { hosts, ..options() };
    let urls = ["http://evil/1", "http://g/1"];
    let mut work = Work::new(
        &accepted(Remote::Graphite, Start::Unknown, &urls),
        &options,
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |_| graphite(&[(Some(1.0), MINUTE - 60)]));
    assert_eq!(log.asked.len(), 2);
    assert_eq!(sent(&outcome).skipped, [Cause::HostNotAllowed]);
}

#[test]
fn prometheus_nans_are_no_values() {
    let body = r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1478021705.123,"1"],[1478021735,"NaN"],[1478021790,"NaN"]]}]}}"#;
    let start = Start::Graphite(None);
    let mut work = Work::new(
        &accepted(Remote::Prometheus, start, &["http://p/q?query=a[15d]"]),
        &options(),
        NOW,
    );
    let (log, outcome) = run(&mut work, None, |_| Ok(body.to_owned()));
    // Vector 148: the mean skips them, and a bin of nothing else is not sent.
    assert_eq!(log.sent, [(1_478_021_700, 1.0)]);
    assert_eq!(
        (sent(&outcome).discarded, sent(&outcome).mark),
        (2, Some((1_478_021_700, Some(1.0))))
    );
}
