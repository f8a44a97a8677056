//! The package on a clean Debian with a systemd of its own: installed, pointed at a real Redis and carbon, tuned,
//! restarted and upgraded under load, purged. tests/debian.sh makes the root it runs in and starts it.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::blackhole::Blackhole;
use common::carbon::CarbonCache;
use common::container::Container;
use common::flux::{KEY, Metrics};
use common::graphite::GraphiteWeb;
use common::http::{Client, single};
use common::ledger::{Ledger, reconcile};
use common::load::Load;
use common::netns::OwnNetwork;
use common::redis::Redis;
use common::{now, wait_until};

/// As flux.socket and the defaults have them; the network is our own.
const PORT: u16 = 8000;
const ADMIN: u16 = 8001;
/// The journal's replay and the redo window, on a busy machine.
const SETTLE: Duration = Duration::from_secs(60);
/// `systemd-analyze security`: 0 is best, 10 worst; below 2 is "ok". It was 1.2.
const EXPOSURE_MAX: f64 = 1.5;

fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .unwrap_or_else(|| panic!("{variable} is set by tests/debian.sh"))
}

fn is_ready() -> bool {
    Client::try_connect(ADMIN).is_ok_and(|mut client| client.get("/readyz").status == 200)
}

fn metrics() -> Metrics {
    Metrics::parse(&Client::connect(ADMIN).get("/metrics").body)
}

/// What an administrator writes into /etc/flux/flux.toml.
fn configure(root: &Path, redis: &Redis, carbon: &str) {
    let text = format!(
        "data_dir = \"/var/lib/flux\"\nkeys.self = \"{KEY}\"\ncarbon.endpoint = \"{carbon}\"\n\
         last.store = \"{}\"\n",
        redis.url()
    );
    std::fs::write(root.join("etc/flux/flux.toml"), text).expect("the package made it");
}

fn install(container: &Container) {
    container.run(&["dpkg", "--install", "/root/flux_1.deb"]);
    wait_until("the package's service serves", is_ready);
    let said = container.run(&["journalctl", "--unit=flux.service", "--output=cat"]);
    assert!(
        said.contains("(2 sockets of the service manager)"),
        "{said}"
    );
    let owner = container.run(&["stat", "--format=%U:%G %a", "/var/lib/flux"]);
    assert_eq!(owner.trim(), "flux:flux 750");
    let owner = container.run(&["stat", "--format=%U:%G %a", "/etc/flux/flux.toml"]);
    assert_eq!(owner.trim(), "root:flux 640");
    for file in [
        "/usr/share/man/man1/flux.1.gz",
        "/usr/share/bash-completion/completions/flux",
        "/usr/share/doc/flux/operating.md",
    ] {
        container.run(&["test", "-s", file]);
    }
    let said = container.run(&["systemd-analyze", "security", "flux.service"]);
    let level = said
        .split("flux.service: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let level: f64 = level.and_then(|text| text.parse().ok()).expect(&said);
    println!("systemd-analyze security: {level}");
    assert!(level <= EXPOSURE_MAX, "{said}");
}

/// `flux tune` reads the host's settings; what they are on the machine of the test is not the test's matter.
fn tune(container: &Container) {
    if !container.run(&["flux", "--help"]).contains("  tune ") {
        return println!("flux tune is not in this build");
    }
    let output = container.output(&["flux", "tune", "check"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let told = matches!(output.status.code(), Some(0..=2)) && said.lines().count() > 5;
    assert!(told, "{output:?}");
}

fn a_point_is_seen_in_graphite(carbon: &CarbonCache) {
    let graphite = GraphiteWeb::of(carbon);
    let at = now();
    let answer = Client::connect(PORT).post(&single(KEY, "debian.first", at, 4.5));
    assert_eq!(answer.status, 204, "{answer:?}");
    wait_until("Graphite shows the point", || {
        let seen = graphite.values("debian.first", at - 1, at + 1);
        seen.get(&at) == Some(&4.5)
    });
}

fn a_bad_configuration_is_refused_and_the_service_stays(container: &Container, root: &Path) {
    let file = root.join("etc/flux/flux.toml");
    let good = std::fs::read_to_string(&file).expect("we wrote it");
    std::fs::write(&file, format!("{good}http.backlog = \"many\"\n")).expect("a file");
    assert!(container.fails(&["systemctl", "reload", "flux.service"]));
    assert!(is_ready());
    std::fs::write(&file, format!("{good}log.level = \"warn\"\n")).expect("a file");
    container.run(&["systemctl", "reload", "flux.service"]);
    let reloads = |outcome: &str| metrics().with("flux_config_reloads_total", outcome);
    assert_eq!(reloads("outcome=\"ok\""), 1.0);
    assert_eq!(
        reloads("outcome=\"refused\""),
        0.0,
        "it never heard of the bad one"
    );
    std::fs::write(&file, good).expect("a file");
}

/// Everybody is answered 204, by one process or the other.
fn unnoticed(what: &str, ledger: &Ledger, change: impl FnOnce()) {
    let load = |fresh, pause_ms| Load {
        fresh,
        pause: Duration::from_millis(pause_ms),
        ..Load::default()
    };
    let before = ledger.answers().len();
    let clients = [load(false, 0), load(true, 1), load(false, 150)];
    let clients = clients.map(|load| load.start(ledger, PORT));
    ledger.wait_acked(ledger.tally().acked + 10_000);
    let began = Instant::now();
    change();
    let took = began.elapsed();
    wait_until("it serves again", is_ready);
    ledger.wait_acked(ledger.tally().acked + 1_000);
    for clients in clients {
        clients.stop();
    }
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for answer in &ledger.answers()[before..] {
        *answers.entry(answer.status).or_default() += 1;
    }
    println!("{what}: {took:?}, answers by status: {answers:?}");
    assert!(answers.keys().eq([&204]), "0 is none at all: {answers:?}");
}

#[test]
#[ignore = "tests/debian.sh makes the root it runs in"]
fn from_installed_to_purged() {
    let root = named("FLUX_DEBIAN_ROOT");
    let _network = OwnNetwork::enter().expect("root can have a network of its own");
    let container = Container::boot(&root);
    install(&container);

    let (redis, carbon) = (Redis::start(), CarbonCache::start());
    configure(&root, &redis, &format!("127.0.0.1:{}", carbon.pickle_port));
    container.run(&["systemctl", "restart", "flux.service"]);
    wait_until("it serves again", is_ready);
    tune(&container);
    a_point_is_seen_in_graphite(&carbon);
    a_bad_configuration_is_refused_and_the_service_stays(&container, &root);

    // From here on a carbon that counts.
    let blackhole = Blackhole::start();
    configure(&root, &redis, &blackhole.endpoint());
    container.run(&["systemctl", "restart", "flux.service"]);
    wait_until("it serves again", is_ready);
    let ledger = Ledger::default();
    unnoticed("restart", &ledger, || {
        container.run(&["systemctl", "restart", "flux.service"]);
    });
    let key = container.run(&["cat", "/var/lib/flux/key"]);
    unnoticed("upgrade", &ledger, || {
        container.run(&["dpkg", "--install", "--force-confold", "/root/flux_2.deb"]);
    });
    let (tally, _) = ledger.settle(&blackhole, SETTLE);
    println!("{tally:?}");
    assert_eq!(tally.unknown + tally.rejected, 0, "{tally:?}");
    wait_until("nothing is queued", || {
        metrics().sum("flux_points_queued") == 0.0
    });
    reconcile(&metrics());
    assert_eq!(
        container.run(&["cat", "/var/lib/flux/key"]),
        key,
        "the data directory stays"
    );

    container.run(&["dpkg", "--remove", "flux"]);
    assert!(Client::try_connect(PORT).is_err(), "the sockets are gone");
    container.run(&["test", "-s", "/var/lib/flux/key"]);
    container.run(&["dpkg", "--purge", "flux"]);
    for gone in [
        "/var/lib/flux",
        "/etc/flux",
        "/usr/bin/flux",
        "/usr/share/doc/flux",
    ] {
        assert!(container.fails(&["test", "-e", gone]), "{gone} is left");
    }
    assert!(
        container.fails(&["getent", "passwd", "flux"]),
        "the user is left"
    );
    let units = container.run(&["find", "/etc/systemd", "/lib/systemd", "-name", "flux*"]);
    assert_eq!(units, "");
    container.power_off();
}
