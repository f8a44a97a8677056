//! Carbon's line protocol, in, through real sockets.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{Client, single};
use common::{PATIENCE, free_port, now, stays, wait_until};

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time");
    stream
}

#[test]
fn lines_are_points_like_any_others() {
    let blackhole = Blackhole::start();
    let port = free_port();
    let mut flux = Flux::builder()
        .shards(3)
        .carbon(&blackhole.endpoint())
        .set_text("line.listen", &format!("127.0.0.1:{port}"))
        .set_text("line.namespace", "hosts")
        .start();
    let at = now();
    let mut stream = connect(port);
    for i in 0..100 {
        stream
            .write_all(format!("a.{i} {i} {at}\n").as_bytes())
            .expect("taken");
    }
    // In two pieces; a duplicate; a bad one; a half one at the end.
    stream.write_all(b"hosts.split 1.").expect("taken");
    flux.wait_metric("flux_line_points_received_total", 100.0);
    let rest = format!("5 {at}\na.7 7 {at}\nno line\nhalf 1 {at}");
    stream.write_all(rest.as_bytes()).expect("taken");
    drop(stream);
    assert_eq!(blackhole.wait_points(101).len(), 101);
    assert!(blackhole.has("hosts.a.7", at, 7.0));
    assert!(
        blackhole.has("hosts.split", at, 1.5),
        "its prefix is not put twice"
    );
    flux.wait_metric("flux_line_points_received_total", 103.0);
    let metrics = flux.metrics();
    assert_eq!(metrics.sum("flux_points_duplicate_total"), 1.0);
    assert_eq!(
        metrics.with("flux_points_rejected_total", "reason=\"line\""),
        1.0
    );
    let recent = Client::connect(flux.admin_port).get("/recent").body;
    assert!(recent.contains("\"told\":\"invalid line\""), "{recent}");
    let hosts = "namespace=\"hosts\"";
    assert_eq!(
        metrics.with("flux_namespace_points_received_total", hosts),
        103.0
    );
    assert_eq!(
        metrics.with("flux_namespace_points_rejected_total", hosts),
        1.0
    );

    // What was posted under the same name is the same metric.
    assert_eq!(flux.post(&single(KEY, "hosts.a.7", at, 7.0)).status, 204);
    flux.wait_metric("flux_points_duplicate_total", 2.0);
    flux.reload(true, |b| b.set_text("line.namespace", "other"));
    let mut stream = connect(port);
    stream
        .write_all(format!("a 1 {at}\n").as_bytes())
        .expect("taken");
    wait_until("the new prefix", || blackhole.has("other.a", at, 1.0));
    // An idle sender does not hold up the end.
    assert_eq!(flux.stop().code(), Some(0), "{}", flux.daemon.said());
}

#[test]
fn a_sender_that_falls_silent_is_closed_and_one_that_sends_is_not() {
    let blackhole = Blackhole::start();
    let port = free_port();
    let mut flux = Flux::builder()
        .shards(1)
        .carbon(&blackhole.endpoint())
        .set_text("line.listen", &format!("127.0.0.1:{port}"))
        .set("line.idle_deadline_ms", 1_000)
        .start();
    let (mut silent, mut half, mut busy) = (connect(port), connect(port), connect(port));
    let at = now();
    half.write_all(format!("kept 1 {at}\nhalf 1").as_bytes())
        .expect("taken");
    let mut sent = 0;
    wait_until("both are closed", || {
        sent += 1;
        busy.write_all(format!("busy.{sent} 1 {at}\n").as_bytes())
            .expect("it is not closed");
        flux.metrics().sum("flux_line_idle_closed_total") >= 2.0
    });
    for stream in [&mut silent, &mut half] {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let end = stream.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "{end:?}");
    }
    // What was whole of it is a point, and the rest holds no memory.
    assert_eq!(blackhole.wait_points(sent + 1).len(), sent + 1);
    assert!(blackhole.has("kept", at, 1.0));
    flux.wait_metric("flux_buffered_bytes", 0.0);

    // A longer one holds for what the next read waits for, on a connection of before too.
    flux.reload(true, |b| b.set("line.idle_deadline_ms", 60_000));
    busy.write_all(format!("busy.last 1 {at}\n").as_bytes())
        .expect("taken");
    wait_until("its line", || blackhole.has("busy.last", at, 1.0));
    stays("it is kept", Duration::from_millis(1_500), || {
        flux.metrics().sum("flux_line_idle_closed_total") == 2.0
    });
    assert_eq!(flux.stop().code(), Some(0), "{}", flux.daemon.said());
}

#[test]
fn with_full_budgets_nothing_is_read_and_nothing_is_lost() {
    let mut blackhole = Blackhole::refusing();
    let port = free_port();
    let flux = Flux::builder()
        .shards(2)
        .carbon(&blackhole.endpoint())
        .set("http.body_bytes_max", 16 * 1024)
        .set("http.inflated_bytes_max", 16 * 1024)
        .set("points.in_flight_bytes_max", 512 * 1024)
        .set("carbon.redo_bytes", 64 * 1024)
        .set_text("line.listen", &format!("127.0.0.1:{port}"))
        .start();
    let mut stream = connect(port);
    stream.set_nonblocking(true).expect("a socket");
    // As many as the budgets and the sockets' buffers hold, and then no more.
    let at = now();
    let (mut sent, mut pending) = (0, Vec::new());
    let mut write = |pending: &mut Vec<u8>, sent: &mut usize| loop {
        if pending.is_empty() {
            *pending = format!("line.{sent}{} 1 {at}\n", "n".repeat(100)).into_bytes();
            *sent += 1;
        }
        match stream.write(pending) {
            Ok(n) => drop(pending.drain(..n)),
            Err(why) if why.kind() == ErrorKind::WouldBlock => return,
            Err(why) => panic!("{why}"),
        }
        assert!(*sent < 1_000_000, "nothing stopped the sender");
    };
    wait_until("a connection is not read on", || {
        write(&mut pending, &mut sent);
        flux.metrics().sum("flux_line_pauses_total") >= 1.0
    });
    // The buffers fill up to their end, and stay so.
    let mut before = 0;
    wait_until("the sender is held back", || {
        std::mem::replace(&mut before, sent) == {
            write(&mut pending, &mut sent);
            sent
        }
    });
    let received = flux.metrics().sum("flux_points_received_total");
    assert!(received < sent as f64, "{received} of {sent}");
    stays("the line is not read", Duration::from_millis(300), || {
        flux.metrics().sum("flux_points_received_total") == received
    });
    assert_eq!(flux.client().get("/metric_data?status=true").status, 200);

    blackhole.listen();
    wait_until("the sender goes on to its last line", || {
        let full = match stream.write(&pending) {
            Ok(n) => {
                pending.drain(..n);
                !pending.is_empty()
            }
            Err(_) => true,
        };
        !full
    });
    drop(stream);
    assert_eq!(blackhole.wait_points(sent).len(), sent);
    flux.wait_metric("flux_points_accepted_total", sent as f64);
}
