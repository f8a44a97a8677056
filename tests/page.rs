//! The live page, in a real browser, over a real program under load.

mod common;

use std::path::Path;

use common::blackhole::Blackhole;
use common::browser::{Browser, Page};
use common::flux::{Flux, KEY};
use common::http::{Client, batch, post, request, single};
use common::ledger::Ledger;
use common::load::Load;
use common::remote::{Remote, graphite_series};
use common::{free_port, now, wait_until};
use serde_json::json;

/// The key of a namespace.
const TENANT: &str = "warehouse1warehouse1warehouse1wa";
const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);
/// Were it read as HTML, it would leave a mark.
const HOSTILE: &str = "<img src=x onerror=window.struck=1><script>window.struck=1</script>";

fn admin(flux: &Flux) -> String {
    format!("http://127.0.0.1:{}/", flux.admin_port)
}

fn populate(flux: &Flux, metric: &str, url: &str) {
    let body = json!({
        "remote_host_type": "graphite", "remote_target": format!("remote.{metric}"), "metric": metric,
        "namespace_prefix": "vista.graphite_example_org", "key": KEY, "token": "None", "user": "None",
        "password": "None", "fetch_resolution_urls": [url],
    });
    let fields = [("Content-Type", "application/json")];
    let mut client = flux.client();
    client.send(&request(
        "POST",
        "/populate_metric",
        &fields,
        body.to_string().as_bytes(),
    ));
    assert_eq!(client.answer().status, 204);
}

/// One request of each kind that is refused, and some that are accepted and not kept.
fn misbehave(flux: &Flux) {
    let at = now();
    let bad = [
        single(KEY, HOSTILE, at, 1.0),
        batch(
            KEY,
            [
                ("web.cpu.user", at, 1.0),
                ("web.cpu.system", at - 9_000, 1.0),
            ],
        ),
        single("Z".repeat(32).as_str(), "web.cpu", at, 1.0),
        "{\"metrics\": [".to_owned(),
        format!(
            r#"{{"key":"{TENANT}","metric":"host.{KEY}.cpu","timestamp":{at},"value":"high"}}"#
        ),
    ];
    for body in bad {
        let status = flux.post(&body).status;
        assert!((400..402).contains(&status), "{status}: {body}");
    }
    let nan = format!(r#"{{"key":"{KEY}","metric":"web.load","timestamp":{at},"value":NaN}}"#);
    assert_eq!(flux.post(&nan).status, 204);
}

/// Takes its pictures where it is told to: to be looked at, and for the documentation.
fn picture(page: &mut Page<'_>, name: &str) {
    if let Ok(folder) = std::env::var("FLUX_PICTURES") {
        page.screenshot(&Path::new(&folder).join(name));
    }
}

/// What the page says of a number since the start, and what `/metrics` says.
fn compare(page: &mut Page<'_>, flux: &Flux) {
    let metrics = flux.metrics();
    let written = |n: f64| {
        let digits = format!("{n}");
        let first = digits.len() % 3;
        let mut text = digits[..first].to_owned();
        for group in digits.as_bytes()[first..].chunks(3) {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(std::str::from_utf8(group).expect("digits"));
        }
        text
    };
    for (id, name) in [
        ("received", "flux_points_received_total"),
        ("accepted", "flux_points_accepted_total"),
        ("delivered", "flux_points_delivered_total"),
        ("duplicate", "flux_points_duplicate_total"),
        ("discarded", "flux_points_discarded_total"),
        ("rejected", "flux_points_rejected_total"),
        ("busy", "flux_busy_answers_total"),
    ] {
        let shown = page.text(&format!("#{id}-more"));
        assert_eq!(
            shown,
            format!("{} in all", written(metrics.sum(name))),
            "{name}"
        );
    }
    assert_eq!(
        page.text("#queued"),
        written(metrics.sum("flux_points_queued"))
    );
    assert!(metrics.sum("flux_points_accepted_total") > 1_000.0);
    assert!(metrics.sum("flux_points_rejected_total") >= 5.0);
}

/// Nothing a client sent is anything but text, nothing is written over the edge, nothing went wrong.
fn check(page: &mut Page<'_>) {
    assert_eq!(page.overflow(), 0);
    assert_eq!(page.eval("window.struck ?? 0"), 0);
    assert_eq!(
        page.eval("document.querySelectorAll('img, td script').length"),
        0
    );
    assert_eq!(page.troubles(), [""; 0]);
}

#[test]
fn the_page_shows_what_the_metrics_say_at_every_width_and_a_hostile_name_stays_text() {
    let mut carbon = Blackhole::start();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&carbon.endpoint())
        .set(
            "keys.namespaces",
            format!("{{ {TENANT} = \"warehouse-1\" }}"),
        )
        .set("populate.concurrency", 2)
        .start();
    let remote = Remote::start(|_| {
        let at = now() / 60 * 60 - 600;
        graphite_series((0..9).map(|n| (at + 60 * n, Some(f64::from(n)))))
    });
    let load = Load {
        lanes: 2,
        ..Load::default()
    };
    let ledger = Ledger::default();
    let load = load.start(&ledger, flux.port);
    populate(&flux, "good.one", &remote.url("/render"));
    let nobody = format!("http://127.0.0.1:{}/render", free_port());
    populate(&flux, "bad.one", &nobody);
    misbehave(&flux);

    let mut browser = Browser::start();
    let mut page = browser.open(&admin(&flux), DESKTOP.0, DESKTOP.1);
    // Rates and percentiles need two looks; the failed job needs its time.
    page.wait("!['–', '0'].includes(document.getElementById('accepted').textContent)");
    page.wait("document.querySelector('#times td').textContent !== '–'");
    page.wait("document.querySelectorAll('#jobs tr').length === 2");
    assert_eq!(page.text("#state"), "● ready");
    assert_eq!(page.eval("document.getElementById('notice').hidden"), true);
    assert_eq!(
        page.eval("document.querySelectorAll('#shards tr').length"),
        2
    );
    let jobs = page.text("#jobs");
    assert!(
        jobs.contains("bad.one") && jobs.contains("failed: no connection"),
        "{jobs}"
    );
    assert!(jobs.contains("good.one") && jobs.contains("done"), "{jobs}");
    let refused = page.text("#refused");
    for told in [
        "<img src=x onerror=window.struck=1>",
        "item 2 - metric \"web.cpu.system\" - timestamp is too old",
        "invalid key",
        "warehouse-1invalid value - metric hidden - not a number",
    ] {
        assert!(refused.contains(told), "{told} is not in {refused}");
    }
    assert!(!refused.contains(KEY) && !refused.contains(TENANT));
    check(&mut page);
    page.dark(true);
    page.resize(PHONE.0, PHONE.1);
    check(&mut page);
    page.dark(false);

    // For pictures with some past in them.
    if std::env::var("FLUX_PICTURES").is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(70));
        misbehave(&flux);
        page.dark(true);
        picture(&mut page, "phone-dark.png");
        page.resize(DESKTOP.0, DESKTOP.1);
        picture(&mut page, "desktop-dark.png");
        page.dark(false);
        picture(&mut page, "desktop-light.png");
        page.resize(PHONE.0, PHONE.1);
        picture(&mut page, "phone-light.png");
    }

    // Points at rest can be compared to the digit.
    load.stop();
    wait_until("everything is delivered", || {
        flux.metrics().sum("flux_points_queued") == 0.0
    });
    let seen = page.eval("answeredAt");
    page.wait(&format!("answeredAt > {seen}"));
    compare(&mut page, &flux);

    carbon.refuse();
    let answer = flux.post(&single(KEY, "waits.for.carbon", now(), 1.0));
    assert_eq!(answer.status, 204);
    page.wait("document.getElementById('state').textContent === '▲ carbon is down'");
    page.wait("document.getElementById('queued').textContent === '1'");
    check(&mut page);
    picture(&mut page, "phone-carbon-down.png");
}

#[test]
fn it_says_that_the_service_drains_and_then_that_nobody_answers() {
    let mut flux = Flux::builder().shards(1).start();
    let mut browser = Browser::start();
    let mut page = browser.open(&admin(&flux), DESKTOP.0, DESKTOP.1);
    page.wait("document.getElementById('state').textContent === '● ready'");
    // A request that has begun is waited for.
    let bytes = post(&single(KEY, "drain.a", now(), 1.0));
    let (first, rest) = bytes.split_at(bytes.len() - 10);
    let mut client = flux.client();
    client.send(first);
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);
    flux.sigterm();
    page.wait("document.getElementById('notice').textContent.includes('draining')");
    assert_eq!(page.text("#state"), "▲ not ready");
    assert_eq!(page.troubles(), [""; 0]);
    client.send(rest);
    assert_eq!(client.answer().status, 204);
    flux.daemon.wait_exit(common::PATIENCE);
    page.wait("document.getElementById('notice').textContent.includes('does not answer')");
    assert_eq!(page.text("#state"), "▲ no answer");
    picture(&mut page, "no-answer.png");
}

#[test]
fn the_page_is_served_under_strict_headers_and_needs_nobody_else() {
    let flux = Flux::builder().shards(1).start();
    let answer = Client::connect(flux.admin_port).get("/");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"));
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"));
    let recent = Client::connect(flux.admin_port).get("/recent");
    assert_eq!(recent.header("content-type"), Some("application/json"));
    assert_eq!(recent.header("x-content-type-options"), Some("nosniff"));
    // A quiet browser, too, has nothing to complain of.
    let mut browser = Browser::start();
    let mut page = browser.open(&admin(&flux), PHONE.0, PHONE.1);
    page.wait("document.getElementById('state').textContent === '● ready'");
    check(&mut page);
    assert!(page.text("#refused").contains("Nothing was refused"));
}
