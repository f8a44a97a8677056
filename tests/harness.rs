//! The harness itself against the real daemons: what the other tests judge by must be right first.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use common::blackhole::{Blackhole, Mode};
use common::carbon::CarbonCache;
use common::http::Client;
use common::nginx::Nginx;
use common::redis::{Redis, Reply};
use common::{now, pickle, wait_until};

/// Frames as CPython makes them: `points` is a Python expression.
fn cpython_frame(points: &str, protocol: u8) -> Vec<u8> {
    let script = format!(
        "import pickle, struct, sys\n\
         payload = pickle.dumps({points}, protocol={protocol})\n\
         sys.stdout.buffer.write(struct.pack('!L', len(payload)) + payload)"
    );
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &script])
        .output()
        .expect("python runs");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn send(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the sink listens");
    stream.write_all(bytes).expect("the sink reads");
    stream
}

#[test]
fn a_frame_from_cpython_is_read_back_from_whisper_bit_for_bit() {
    let carbon = CarbonCache::start();
    let at = now() - 100;
    let points = format!("[('a.b', ({at}, 0.1)), ('a.b', ({}, -2e-308))]", at + 1);
    send(carbon.pickle_port, &cpython_frame(&points, 2));
    carbon.wait_point("a.b", at, 0.1);
    carbon.wait_point("a.b", at + 1, -2e-308);
    assert_eq!(carbon.points("a.b").len(), 2);
    assert!(carbon.points("a.c").is_empty());
}

#[test]
fn a_killed_carbon_comes_back_on_its_ports_with_its_files() {
    let mut carbon = CarbonCache::start();
    let at = now() - 100;
    send(carbon.line_port, format!("a.b 1.5 {at}\n").as_bytes());
    carbon.wait_point("a.b", at, 1.5);
    carbon.kill();
    assert!(TcpStream::connect(("127.0.0.1", carbon.pickle_port)).is_err());
    carbon.restart();
    send(carbon.line_port, format!("a.b 2.5 {}\n", at + 1).as_bytes());
    carbon.wait_point("a.b", at + 1, 2.5);
    carbon.wait_point("a.b", at, 1.5);
}

#[test]
fn the_blackhole_records_what_cpython_pickles() {
    let blackhole = Blackhole::start();
    // Above 1,000 items CPython starts a second run of appends, above 256 objects long memo slots;
    // a repeated name comes through the memo.
    let many = "[('m.%d' % (i % 7), (1478021700 + i, i / 3.0)) for i in range(450)]";
    let mut bytes = cpython_frame(many, 2);
    bytes.extend(cpython_frame(
        "[('small', (5, 1.0)), ('two', (300, 2)), ('long', (4294967295, -0.0)), ('caf\\u00e9', (1.0, 7))]",
        2,
    ));
    bytes.extend(cpython_frame("[]", 2));
    bytes.extend(cpython_frame("[('one', (1478021700, 1.0))]", 2));
    let half = bytes.len() / 2;
    let mut stream = send(blackhole.port, &bytes[..half]);
    stream.write_all(&bytes[half..]).expect("the sink reads");
    let points = blackhole.wait_points(455);
    assert_eq!(points.len(), 455);
    for (i, point) in points[..450].iter().enumerate() {
        assert_eq!(point.name, format!("m.{}", i % 7));
        assert_eq!(point.timestamp, 1_478_021_700 + i as u32);
        assert_eq!(point.value, i as f64 / 3.0);
    }
    assert!(blackhole.has("small", 5, 1.0) && blackhole.has("two", 300, 2.0));
    assert!(blackhole.has("long", u32::MAX, -0.0) && blackhole.has("café", 1, 7.0));
    assert!(blackhole.has("one", 1_478_021_700, 1.0));
    drop(stream);
    assert_eq!(blackhole.torn(), 0);
}

#[test]
fn the_unpickler_refuses_what_carbon_would_hang_up_on() {
    let whole = cpython_frame("[('a', (1, 1.0)), ('b', (2, 2.0))]", 2);
    let payload = &whole[4..];
    assert_eq!(pickle::points(payload, |_, _, _| {}), Ok(2));
    for cut in 0..payload.len() {
        assert!(pickle::points(&payload[..cut], |_, _, _| {}).is_err());
        assert_eq!(pickle::frame(&whole[..cut]), Ok(None));
    }
    assert!(pickle::points(&cpython_frame("[('a', (1, 1.0))]", 4)[4..], |_, _, _| {}).is_err());
    for odd in ["[('a', 1, 2)]", "[1]", "('a', (1, 2))", "[('a', ('1', 2))]"] {
        assert!(
            pickle::points(&cpython_frame(odd, 2)[4..], |_, _, _| {}).is_err(),
            "{odd}"
        );
    }
    assert!(pickle::frame(&[0, 0x20, 0, 0]).is_err());
    assert!(pickle::frame(b"\0\0\0\x09GET /").is_err());
    let trailing = [payload, b"."].concat();
    assert!(pickle::points(&trailing, |_, _, _| {}).is_err());
}

#[test]
fn the_blackhole_misbehaves_when_told() {
    let frame = cpython_frame("[('a', (1478021700, 1.0))]", 2);
    let mut blackhole = Blackhole::start();

    blackhole.set(Mode::Stall);
    let _stalled = send(blackhole.port, &frame);
    wait_until("it accepts", || blackhole.connections_accepted() == 1);
    assert!(blackhole.points().is_empty());
    blackhole.set(Mode::Read);
    blackhole.wait_points(1);

    blackhole.set(Mode::CloseAfterAccept);
    assert!(Client::connect(blackhole.port).ends_or_resets());

    blackhole.set(Mode::ResetAfter(10));
    let mut client = Client::connect(blackhole.port);
    client.send(&frame);
    assert!(client.ends_or_resets());
    assert_eq!(blackhole.points().len(), 1, "cut inside the frame");

    blackhole.set(Mode::Slow(3));
    let _slow = send(blackhole.port, &frame);
    blackhole.wait_points(2);

    blackhole.refuse();
    assert!(Client::try_connect(blackhole.port).is_err());
    blackhole.set(Mode::Read);
    blackhole.listen();
    let _again = send(blackhole.port, &frame);
    blackhole.wait_points(3);
}

#[test]
fn redis_can_be_paused_made_read_only_killed_and_brought_back() {
    let mut redis = Redis::with_password("s3cret");
    redis.set("flux.last.a", "[1478021700, 1.0]");
    assert_eq!(
        redis.get("flux.last.a").as_deref(),
        Some("[1478021700, 1.0]")
    );
    assert!(redis.socket().exists());

    redis.make_read_only();
    assert_eq!(
        redis.get("flux.last.a").as_deref(),
        Some("[1478021700, 1.0]")
    );
    let refused = redis.command(&["SET", "a", "b"]);
    assert!(matches!(refused, Reply::Error(why) if why.starts_with("READONLY")));
    redis.make_writable();
    redis.set("a", "b");

    redis.pause();
    redis.resume();
    assert_eq!(redis.get("a").as_deref(), Some("b"));

    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    redis.restart();
    assert_eq!(redis.get("a"), None);
}

#[test]
fn nginx_strips_the_prefix_speaks_http_1_0_and_makes_the_double_slash() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = upstream.local_addr().expect("bound").port();
    let seen = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for _ in 0..2 {
            use std::io::Read;
            let (mut stream, _) = upstream.accept().expect("nginx connects");
            let mut head = [0; 2048];
            let n = stream.read(&mut head).expect("nginx sends");
            heads.push(String::from_utf8_lossy(&head[..n]).into_owned());
            stream
                .write_all(b"HTTP/1.0 204 No Content\r\n\r\n")
                .expect("nginx reads");
        }
        heads
    });
    let nginx = Nginx::in_front_of(port);
    let mut client = Client::connect(nginx.port);
    assert_eq!(client.get("/flux/metric_data?a=b").status, 204);
    assert_eq!(client.get("/apache/metric_data?a=b").status, 204);
    let heads = seen.join().expect("two requests");
    assert!(
        heads[0].starts_with("GET /metric_data?a=b HTTP/1.0\r\n"),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains("Connection: close\r\n"), "{}", heads[0]);
    assert!(
        heads[1].starts_with("GET //metric_data?a=b HTTP/1.0\r\n"),
        "{}",
        heads[1]
    );
}
