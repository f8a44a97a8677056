//! Remotes that fail, each counted by its reason; jobs that are refused; and others that go on.

use super::common::blackhole::Blackhole;
use super::common::flux::{Flux, KEY};
use super::common::graphite::{Authority, GraphiteWeb, whisper};
use super::common::http::Client;
use super::common::remote::{Gate, Remote, Reply, graphite_series};
use super::common::{free_port, now, wait_until};
use super::{
    body, failed, graphite_job, hurried, jobs, minute, post, sent, wait_done, wait_idle,
    wait_reconciled,
};
use serde_json::json;
use std::time::{Duration, Instant};

fn report(flux: &Flux) -> String {
    let answer = Client::connect(flux.admin_port).get("/populate");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

fn good() -> Reply {
    let at = minute(now()) - 600;
    graphite_series((0..5).map(|index| (at + 60 * index, Some(f64::from(index)))))
}

/// By the first step of the path.
fn bad(path: &str) -> Reply {
    let step = path.trim_start_matches('/').split(['/', '?']).next();
    match step.unwrap_or_default() {
        "hang" => Reply::Hang,
        "drip" => Reply::Drip,
        "status" => Reply::Status(500, String::new()),
        "empty" => Reply::Body("[]".to_owned()),
        "html" => Reply::Body("<html><body>Sign in</body></html>".to_owned()),
        "long" => Reply::Long(1 << 30),
        "endless" => Reply::Endless,
        "loop" => Reply::Redirect(path.to_owned()),
        "cut" => Reply::Cut,
        "away" => Reply::Redirect("http://graphite.example.org/render".to_owned()),
        _ => good(),
    }
}

#[test]
fn every_fault_of_a_remote_is_counted_by_its_reason_and_others_go_on() {
    let blackhole = Blackhole::start();
    let remote = Remote::start(bad);
    let plain = format!("http://127.0.0.1:{}/render", free_port());
    let flux = hurried(Flux::builder())
        .carbon(&blackhole.endpoint())
        .set("populate.allowed_hosts", "[\"127.0.0.1\"]")
        .start();
    let faults = [
        ("refused", vec![plain]),
        ("timeout", vec![remote.url("/hang"), remote.url("/drip")]),
        ("status", vec![remote.url("/status")]),
        ("empty", vec![remote.url("/empty")]),
        ("decode", vec![remote.url("/html")]),
        (
            "too_large",
            vec![remote.url("/long"), remote.url("/endless")],
        ),
        ("redirect", vec![remote.url("/loop")]),
        ("lost", vec![remote.url("/cut")]),
        ("host_not_allowed", vec![remote.url("/away")]),
    ];
    let (_, before) = flux.resident();
    for (reason, urls) in &faults {
        for (index, url) in urls.iter().enumerate() {
            let job = graphite_job(&format!("bad.{reason}.{index}"), std::slice::from_ref(url));
            let answer = post(&flux, &job);
            assert_eq!(answer.status, 204, "{url}: {answer:?}");
        }
        let job = graphite_job(&format!("good.{reason}"), &[remote.url("/good")]);
        assert_eq!(post(&flux, &job).status, 204);
    }
    wait_done(&flux, faults.len() as u32);
    wait_idle(&flux);
    let report = report(&flux);
    for (reason, urls) in &faults {
        assert_eq!(
            failed(&flux, reason),
            urls.len() as f64,
            "{reason}\n{report}"
        );
        let line = format!("bad.{reason}.0: {reason}");
        assert!(report.contains(&line), "{line}\n{report}");
    }
    assert!(report.contains("failed 11"), "{report}");
    blackhole.wait_points(5 * faults.len());
    let (_, after) = flux.resident();
    // A thread for each of four jobs, and a mebibyte for each answer.
    assert!(
        after - before < 48 << 20,
        "{} MiB more",
        (after - before) >> 20
    );
    wait_reconciled(&flux);
}

#[test]
fn a_url_that_fails_costs_its_job_only_what_it_alone_would_have_given() {
    let blackhole = Blackhole::start();
    let remote = Remote::start(bad);
    let flux = hurried(Flux::builder())
        .carbon(&blackhole.endpoint())
        .start();
    let urls = ["/good", "/status", "/html"].map(|path| remote.url(path));
    assert_eq!(post(&flux, &graphite_job("partly.a", &urls)).status, 204);
    wait_done(&flux, 1);
    assert_eq!(blackhole.wait_points(5).len(), 5);
    let skipped = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        flux.metrics()
            .with("flux_populate_fetches_failed_total", &label)
    };
    assert_eq!((skipped("status"), skipped("decode")), (1.0, 1.0));
    assert_eq!(flux.metrics().sum("flux_populate_jobs_failed_total"), 0.0);
}

#[test]
fn remotes_that_hang_hold_only_their_own_jobs() {
    let blackhole = Blackhole::start();
    let remote = Remote::start(bad);
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    // One fewer than may run at a time; each would take ten seconds.
    for index in 0..3 {
        let job = graphite_job(&format!("slow.{index}"), &[remote.url("/hang")]);
        assert_eq!(post(&flux, &job).status, 204);
    }
    remote.wait_asked(3);
    let started = Instant::now();
    for index in 0..20 {
        let job = graphite_job(&format!("quick.{index}"), &[remote.url("/good")]);
        assert_eq!(post(&flux, &job).status, 204);
    }
    wait_done(&flux, 20);
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(flux.metrics().sum("flux_populate_jobs_failed_total"), 0.0);
}

#[test]
fn an_https_remote_is_trusted_only_by_the_authority_in_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = minute(now()) - 600;
    whisper(folder.path(), "a", &[(60, 1440)], [(at, 1.5)]);
    let ours = Authority::for_names(&["127.0.0.1"]);
    let others = Authority::for_names(&["127.0.0.1"]);
    let remote = GraphiteWeb::over_tls(folder.path(), &ours);
    let url = format!(
        "https://127.0.0.1:{}/render/?from=-1hours&format=json&target=a",
        remote.port
    );
    let blackhole = Blackhole::start();
    let mut flux = hurried(Flux::builder())
        .carbon(&blackhole.endpoint())
        .set_text("populate.ca_file", &others.file().display().to_string())
        .start();
    assert_eq!(
        post(&flux, &graphite_job("tls.a", std::slice::from_ref(&url))).status,
        204
    );
    wait_until("it is not trusted", || failed(&flux, "tls") == 1.0);
    assert!(flux.stop().success());
    flux.change(|builder| builder.set_text("populate.ca_file", &ours.file().display().to_string()));
    flux.start_again();
    assert_eq!(post(&flux, &graphite_job("tls.a", &[url])).status, 204);
    wait_done(&flux, 1);
    blackhole.wait_points(1);
    assert!(blackhole.has("tls.a", at, 1.5));
}

#[test]
fn what_cannot_be_a_job_is_refused_at_the_request_and_asks_nobody() {
    let remote = Remote::start(bad);
    let flux = Flux::builder().start();
    let url = remote.url("/good");
    let job = graphite_job("refused.a", std::slice::from_ref(&url));
    let refused = |body: &str| {
        let answer = post(&flux, body);
        (answer.status, answer.message())
    };
    assert_eq!(
        refused(&job.replace(KEY, &"x".repeat(32))),
        (401, "invalid key".to_owned())
    );
    assert_eq!(refused(&job.replace("\"key\"", "\"kex\"")).0, 400);
    for urls in [
        json!(null),
        json!("None"),
        json!("\"None\""),
        json!(""),
        json!("nonsense"),
        json!(format!("\"['{url}\"")),
        json!(format!("\"['{url}']\" and more")),
        json!(format!("\"['{url}', 1]\"")),
        json!([1]),
        json!(["ftp://127.0.0.1/a"]),
        json!(["not a url"]),
        json!({"0": url}),
        json!(7),
    ] {
        let (status, message) = refused(&body("graphite", "t", "refused.a", urls.clone()));
        assert_eq!(status, 400, "{urls}: {message}");
    }
    let (status, message) = refused(&body("rrd", "t", "refused.a", json!([url])));
    assert_eq!(status, 400, "{message}");
    assert_eq!(refused(&body("graphite", "t", "", json!([url]))).0, 400);
    assert_eq!(refused("{").0, 400);
    assert_eq!(refused("{}").0, 400);
    assert_eq!(flux.client().get("/populate_metric").status, 405);
    // An empty list is nothing to do, and that is done.
    assert_eq!(
        post(&flux, &body("graphite", "t", "refused.a", json!("\"[]\""))).status,
        204
    );
    assert_eq!(jobs(&flux, "accepted"), 0.0);
    assert!(remote.asked().is_empty());
}

#[test]
fn more_jobs_than_may_wait_are_told_to_come_again() {
    let blackhole = Blackhole::start();
    let gate = Gate::default();
    let held = gate.clone();
    let remote = Remote::start(move |_| {
        held.wait();
        good()
    });
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("populate.jobs_max", 5)
        .set("populate.concurrency", 2)
        .start();
    let job = |index: u32| graphite_job(&format!("many.{index}"), &[remote.url("/good")]);
    for index in 0..5 {
        assert_eq!(post(&flux, &job(index)).status, 204);
    }
    let answer = post(&flux, &job(5));
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    remote.wait_asked(2);
    let metrics = flux.metrics();
    let state = |state: &str| metrics.with("flux_populate_jobs", &format!("state=\"{state}\""));
    assert_eq!((state("queued"), state("running")), (3.0, 2.0));
    gate.open();
    wait_done(&flux, 5);
    assert_eq!(post(&flux, &job(5)).status, 204);
    wait_done(&flux, 6);
    assert_eq!(sent(&flux), 30);
}

#[test]
fn jobs_wait_for_a_carbon_that_is_down_and_hold_a_bounded_memory() {
    let mut blackhole = Blackhole::refusing();
    let remote = Remote::start(|_| {
        let end = minute(now()) - 60;
        graphite_series((0..100_000).map(|index| (end - 60 * index, Some(f64::from(index)))))
    });
    let flux = Flux::builder()
        .carbon(&blackhole.endpoint())
        .set("points.in_flight_bytes_max", 32 * 1024 * 1024)
        .start();
    let (before, _) = flux.resident();
    let count = 12;
    for index in 0..count {
        let job = graphite_job(&format!("wait.{index}"), &[remote.url("/good")]);
        assert_eq!(post(&flux, &job).status, 204);
    }
    // As many as run at a time have their history, and no more is asked for.
    remote.wait_asked(4);
    wait_until("there is no more room", || {
        let queued = flux.metrics().sum("flux_points_queued");
        std::thread::sleep(Duration::from_millis(200));
        queued > 0.0 && queued == flux.metrics().sum("flux_points_queued")
    });
    let (_, most) = flux.resident();
    assert!(
        most - before < 160 << 20,
        "{} MiB more",
        (most - before) >> 20
    );
    assert_eq!(jobs(&flux, "done"), 0.0);
    // Live points have room all the same.
    let live = super::common::http::single(KEY, "wait.live", now(), 1.0);
    assert_eq!(flux.post(&live).status, 204);
    blackhole.listen();
    wait_done(&flux, count);
    assert_eq!(
        blackhole.wait_points(count as usize * 100_000 + 1).len(),
        count as usize * 100_000 + 1
    );
    wait_reconciled(&flux);
}
