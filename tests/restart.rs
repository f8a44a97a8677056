//! A restart under a service manager that holds the sockets: no client notices, no point is lost.

mod common;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{Client, single};
use common::ledger::{Ledger, reconcile};
use common::load::{Load, Running};
use common::process::Daemon;
use common::stopped::Stopped;
use common::supervisor::Supervisor;
use common::{PATIENCE, free_port, now, wait_until};

const SETTLE: Duration = Duration::from_secs(30);

/// Busy clients with kept connections, slow ones, and some with a new connection for every request.
fn clients(ledger: &Ledger, port: u16) -> Vec<Running> {
    let load = |lanes, fresh, pause_ms| Load {
        lanes,
        fresh,
        pause: Duration::from_millis(pause_ms),
        ..Load::default()
    };
    [
        load(4, false, 0),
        load(4, false, 1),
        load(4, true, 1),
        load(8, false, 150),
    ]
    .map(|load| load.start(ledger, port))
    .into()
}

/// wrk with kept connections, or with one for every request. It is told of every error a client can have.
fn wrk(port: u16, seconds: u32, fresh: bool) -> Daemon {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c16", "--timeout", "10s"]);
    command.arg(format!("-d{seconds}s"));
    if fresh {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(format!("http://127.0.0.1:{port}/metric_data?status=true"));
    Daemon::spawn("wrk", &mut command)
}

fn restarts_unnoticed(sockets: usize, shards: u32, restarts: u32) {
    let supervisor = Supervisor::with_sockets(sockets);
    let blackhole = Blackhole::start();
    let builder = Flux::builder().shards(shards);
    let mut flux = supervisor.of(builder.carbon(&blackhole.endpoint())).start();
    let ledger = Ledger::default();
    let clients = clients(&ledger, flux.port);
    let seconds = 2 + 3 * restarts;
    let mut benchmarks = [false, true].map(|fresh| wrk(flux.port, seconds, fresh));
    for _ in 0..restarts {
        let acked = ledger.tally().acked;
        ledger.wait_acked(acked + 1_000);
        let began = Instant::now();
        let status = flux.stop_within(Duration::from_secs(8));
        assert_eq!(status.code(), Some(0), "{}", flux.daemon.said());
        let stopped = began.elapsed();
        flux.start_again();
        println!("out after {stopped:?}, back after {:?}", began.elapsed());
    }
    let acked = ledger.tally().acked;
    ledger.wait_acked(acked + 1_000);
    for benchmark in &mut benchmarks {
        benchmark.wait_exit(Duration::from_secs(60));
        let said = benchmark.stdout();
        println!("{said}");
        let failed = ["Socket errors", "Non-2xx"].map(|trouble| said.contains(trouble));
        assert_eq!(failed, [false, false], "{said}");
    }
    for clients in clients {
        clients.stop();
    }
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for answer in ledger.answers() {
        *answers.entry(answer.status).or_default() += 1;
    }
    let slowest = ledger.answers().into_iter().map(|answer| answer.took).max();
    println!("answers by status: {answers:?}, the slowest after {slowest:?}");
    assert!(answers.keys().eq([&204]), "0 is none at all: {answers:?}");
    let (tally, _) = ledger.settle(&blackhole, SETTLE);
    println!("{tally:?}");
    assert_eq!(tally.unknown + tally.rejected, 0, "{tally:?}");
    flux.wait_metric("flux_points_queued", 0.0);
    reconcile(&flux.metrics());
}

#[test]
fn with_a_socket_for_every_shard_nobody_notices() {
    restarts_unnoticed(2, 2, 3);
}

#[test]
fn with_one_socket_that_three_shards_share_nobody_notices() {
    restarts_unnoticed(1, 3, 1);
}

#[test]
fn with_more_sockets_than_shards_nobody_notices() {
    restarts_unnoticed(3, 2, 1);
}

#[test]
fn a_request_that_was_not_read_when_idle_connections_end_is_answered() {
    let supervisor = Supervisor::with_sockets(1);
    let mut flux = supervisor
        .of(Flux::builder().shards(1).set("http.drain_idle_ms", 0))
        .start();
    let mut client = flux.client();
    assert_eq!(client.get("/metric_data?status=true").status, 200);
    let bytes = common::http::post(&single(KEY, "late.a", now(), 1.0));
    let (first, rest) = bytes.split_at(bytes.len() - 10);
    {
        // While its shard stands still, both are on their way: a request's beginning, and the end of idle connections.
        let _stopped = Stopped::thread(flux.daemon.pid(), "shard-0");
        client.send(first);
        flux.sigterm();
        supervisor.wait_told("STOPPING=1");
    }
    wait_until("it is draining", || !flux.is_ready());
    client.send(rest);
    let answer = client.answer();
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(flux.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn who_connects_between_two_processes_is_answered_by_the_second() {
    let supervisor = Supervisor::with_sockets(2);
    let mut flux = supervisor.of(Flux::builder().shards(2)).start();
    assert_eq!(flux.stop().code(), Some(0));
    let mut clients: Vec<Client> = (0..40).map(|_| flux.client()).collect();
    for client in &mut clients {
        client.send(&common::http::post(&single(KEY, "between.a", now(), 1.0)));
    }
    flux.start_again();
    for client in &mut clients {
        assert_eq!(client.answer().status, 204);
    }
    let text = format!("listening on 127.0.0.1:{} (2 sockets of", flux.port);
    assert!(
        flux.daemon.stderr().contains(&text),
        "{}",
        flux.daemon.said()
    );
}

#[test]
fn its_state_is_told_as_systemd_wants_it() {
    let supervisor = Supervisor::with_sockets(1);
    let mut flux = supervisor.of(Flux::builder().shards(1)).launch();
    let ready = supervisor.told();
    let status = format!("STATUS=serving on 127.0.0.1:{}, 1 shard", flux.port);
    assert_eq!(ready, ["READY=1", &status]);
    assert!(flux.is_ready(), "it said so and is not");
    for (ok, key, value) in [(true, "log.level", "warn"), (false, "log.level", "loud")] {
        flux.reload(ok, |builder| builder.set_text(key, value));
        let reloading = supervisor.told();
        assert_eq!(reloading[0], "RELOADING=1");
        let at = reloading[1].strip_prefix("MONOTONIC_USEC=");
        assert!(
            at.is_some_and(|at| at.parse::<u64>().is_ok()),
            "{reloading:?}"
        );
        assert_eq!(supervisor.told()[0], "READY=1", "ok: {ok}");
    }
    flux.sigterm();
    assert_eq!(supervisor.told()[0], "STOPPING=1");
    assert_eq!(flux.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_shard_that_stands_still_ends_the_signs_of_life() {
    let supervisor = Supervisor::with_sockets(1);
    let builder = Flux::builder().shards(2);
    let deadline = Duration::from_millis(800);
    let flux = supervisor
        .of(builder.env("WATCHDOG_USEC", deadline.as_micros()))
        .start();
    supervisor.wait_told("WATCHDOG=1");
    {
        let _stopped = Stopped::thread(flux.daemon.pid(), "shard-1");
        // One may still be on its way.
        supervisor.count("WATCHDOG=1", deadline / 2);
        assert_eq!(supervisor.count("WATCHDOG=1", deadline * 2), 0);
    }
    supervisor.wait_told("WATCHDOG=1");
    assert!(supervisor.count("WATCHDOG=1", deadline * 4) >= 4);
}

#[test]
fn systemds_own_tool_hands_its_sockets_over() {
    let (port, admin) = (free_port(), free_port());
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = format!("admin.listen = \"127.0.0.1:{admin}\"\nkeys.self = \"{KEY}\"\n");
    std::fs::write(dir.path().join("flux.toml"), config).expect("our own folder");
    let mut command = Command::new("systemd-socket-activate");
    command
        .args(["-l", &format!("127.0.0.1:{port}"), "--fdname=flux.socket"])
        .args([env!("CARGO_BIN_EXE_flux"), "run", "--config", "flux.toml"])
        .current_dir(dir.path())
        .stdin(Stdio::null());
    let mut daemon = Daemon::spawn("systemd-socket-activate", &mut command);
    wait_until("it listens", || Client::try_connect(port).is_ok());
    // The first connection starts the program, which then answers it.
    let answer = Client::connect(port).post(&single(KEY, "activated.a", now(), 1.0));
    assert_eq!(answer.status, 204, "{}", daemon.said());
    daemon.signal(libc::SIGTERM);
    assert_eq!(
        daemon.wait_exit(PATIENCE).code(),
        Some(0),
        "{}",
        daemon.said()
    );
    assert!(
        daemon
            .stderr()
            .contains("(1 socket of the service manager)")
    );
}

#[test]
fn sockets_that_it_cannot_use_refuse_the_start() {
    let refused = |supervisor: &Supervisor, name: &str| {
        let builder = Flux::builder().activated_name(name);
        let mut flux = supervisor.of(builder).launch();
        let status = flux.daemon.wait_exit(PATIENCE);
        assert_eq!(status.code(), Some(1), "{}", flux.daemon.said());
        flux.daemon.stderr()
    };
    let supervisor = Supervisor::with_sockets(1);
    let said = refused(&supervisor, "metrics");
    assert!(
        said.contains("FileDescriptorName=") && said.lines().count() == 1,
        "{said}"
    );
    let said = refused(&Supervisor::with_datagrams(), "http");
    assert!(
        said.contains("ListenStream=") && said.lines().count() == 1,
        "{said}"
    );
}
