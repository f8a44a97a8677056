//! HTTP as bytes: order, framing, deadlines and limits, and what a bad peer costs the others.

mod common;

use std::time::{Duration, Instant};

use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{Client, post, request, single};
use common::{now, wait_until};

#[test]
fn pipelined_answers_come_in_the_order_of_their_requests() {
    let flux = Flux::builder().shards(3).start();
    let at = now();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    // Far more than `pipeline_max`, over metrics of all owners, so that answers are ready out of order.
    for i in 0..300 {
        let good = single(KEY, &format!("pipe.{i}"), at, 1.0);
        let (status, one) = match i * 7 % 10 {
            0 | 3 | 5 | 8 => (204, post(&good)),
            1 => (400, post("{")),
            2 => (401, post(&single(&"x".repeat(32), "pipe.x", at, 1.0))),
            4 => (404, request("GET", "/nope", &[], b"")),
            6 => (405, request("GET", "/metric_data_post", &[], b"")),
            7 => (200, request("GET", "/metric_data?status=true", &[], b"")),
            _ => (400, post(&single(KEY, "pipe.bad{", at, 1.0))),
        };
        expected.push(status);
        bytes.extend(one);
    }
    let mut client = flux.client();
    client.send(&bytes);
    let answered: Vec<u16> = expected.iter().map(|_| client.answer().status).collect();
    assert_eq!(answered, expected);
}

#[test]
fn pipelined_requests_are_decided_in_wire_order() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder()
        .shards(3)
        .carbon(&blackhole.endpoint())
        .start();
    let at = now() - 300;
    let bytes: Vec<u8> = (0..200)
        .flat_map(|i| post(&single(KEY, "order.a", at + i, f64::from(i))))
        .collect();
    let mut client = flux.client();
    client.send(&bytes);
    for _ in 0..200 {
        assert_eq!(client.answer().status, 204);
    }
    // Ascending timestamps: any other order would make some of them duplicates.
    let values: Vec<f64> = blackhole.wait_points(200).iter().map(|p| p.value).collect();
    assert_eq!(values, (0..200).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn a_request_may_arrive_in_any_pieces() {
    let flux = Flux::builder().start();
    let bytes = [
        post(&single(KEY, "piece.a", now(), 1.0)),
        format!(
            "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\n{{\"k\r\n{:x};ext=1\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
            single(KEY, "piece.b", now(), 1.0).len() - 3,
            &single(KEY, "piece.b", now(), 1.0)[3..]
        )
        .into_bytes(),
    ]
    .concat();
    // `{"k` starts the object that serde_json writes with its members in order: key comes first.
    assert!(single(KEY, "piece.b", now(), 1.0).starts_with("{\"k"));
    let mut byte_by_byte = flux.client();
    for byte in &bytes {
        byte_by_byte.send(&[*byte]);
    }
    assert_eq!(byte_by_byte.answer().status, 204);
    assert_eq!(byte_by_byte.answer().status, 204);
    assert_eq!(flux.metrics().sum("flux_points_accepted_total"), 2.0);
}

#[test]
fn keep_alive_follows_the_version_and_the_connection_field() {
    let flux = Flux::builder().start();
    let probe = |head: &str| {
        let mut client = flux.client();
        client.send(head.as_bytes());
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{head:?}: {answer:?}");
        client
    };
    let target = "GET /metric_data?status=true";
    assert!(probe(&format!("{target} HTTP/1.0\r\n\r\n")).ends());
    assert!(
        probe(&format!(
            "{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        ))
        .ends()
    );
    let mut kept = probe(&format!(
        "{target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    ));
    assert_eq!(kept.get("/metric_data?status=true").status, 200);
    let mut kept = probe(&format!("\r\n\r\n{target} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert_eq!(kept.get("/metric_data?status=true").status, 200);
}

#[test]
fn a_client_that_half_closes_after_its_requests_gets_its_answers() {
    let flux = Flux::builder().start();
    let mut client = flux.client();
    let one = post(&single(KEY, "half.a", now(), 1.0));
    client.send(&[one.clone(), one].concat());
    client.finish_sending();
    assert_eq!(client.answer().status, 204);
    assert_eq!(client.answer().status, 204);
    assert!(client.ends());
}

#[test]
fn a_slow_head_and_a_slow_body_are_408_while_others_are_served() {
    let flux = Flux::builder()
        .shards(1)
        .set("http.head_deadline_ms", 400)
        .set("http.request_deadline_ms", 800)
        .start();
    let mut slow_head = flux.client();
    slow_head.send(b"POST /metric_data_post HTTP/1.1\r\nHost:");
    let mut slow_body = flux.client();
    slow_body.send(b"POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    let started = Instant::now();
    assert_eq!(flux.post(&single(KEY, "slow.a", now(), 1.0)).status, 204);
    assert!(
        started.elapsed() < Duration::from_millis(400),
        "others do not wait"
    );
    for mut client in [slow_head, slow_body] {
        let answer = client.answer();
        assert_eq!(answer.status, 408, "{answer:?}");
        assert!(answer.closes() && client.ends());
    }
}

#[test]
fn a_dripping_client_does_not_extend_its_deadline() {
    let flux = Flux::builder().set("http.head_deadline_ms", 500).start();
    let mut client = flux.client();
    let started = Instant::now();
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n");
    // One byte at a time for far longer than the deadline; the answer, or the close, must come first.
    while client.try_send(b"x").is_ok() && client.silent_for(Duration::from_millis(50)) {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "bytes extend the deadline"
        );
    }
}

#[test]
fn an_idle_connection_is_closed_without_an_answer() {
    let flux = Flux::builder().set("http.idle_deadline_ms", 400).start();
    let mut client = flux.client();
    assert_eq!(client.get("/metric_data?status=true").status, 200);
    assert!(client.ends(), "and nothing was sent before");
}

#[test]
fn one_hundred_continue_is_sent_once_and_only_when_the_head_is_acceptable() {
    let flux = Flux::builder().set("http.body_bytes_max", 65_536).start();
    let body = single(KEY, "expect.a", now(), 1.0);
    let head = |length: usize, expectation: &str| {
        format!(
            "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
             Expect: {expectation}\r\n\r\n"
        )
    };
    let mut client = flux.client();
    client.send(head(body.len(), "100-continue").as_bytes());
    assert_eq!(client.answer().status, 100);
    client.send(body.as_bytes());
    assert_eq!(client.answer().status, 204);

    // A client that does not wait for it.
    client.send((head(body.len(), "100-Continue") + &body).as_bytes());
    let first = client.answer().status;
    let last = if first == 100 {
        client.answer().status
    } else {
        first
    };
    assert_eq!(last, 204);

    let mut unknown = flux.client();
    unknown.send(head(5, "200-maybe").as_bytes());
    assert_eq!(unknown.answer().status, 417);
    let mut large = flux.client();
    large.send(head(65_537, "100-continue").as_bytes());
    assert_eq!(large.answer().status, 413, "before its body is asked for");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let flux = Flux::builder().set("http.body_bytes_max", 65_536).start();
    for refused in [
        "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n",
        "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    ] {
        // It reads only after it has sent a good deal more than it was refused for.
        let mut client = flux.client();
        client.send(refused.as_bytes());
        for _ in 0..16 {
            client.send(&[b' '; 16 * 1024]);
        }
        let answer = client.answer();
        assert!(matches!(answer.status, 400 | 413), "{answer:?}");
        assert!(answer.closes());
    }
}

#[test]
fn a_client_that_never_stops_sending_is_cut_off() {
    let flux = Flux::builder().set("http.body_bytes_max", 65_536).start();
    let mut client = flux.client();
    client.send(b"POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n");
    let mut sent = 0_u64;
    while client.try_send(&[b' '; 64 * 1024]).is_ok() {
        sent += 64 * 1024;
        assert!(sent < 1 << 30, "a gigabyte was read from a refused client");
    }
}

/// Each of them loses the connection's framing.
const FRAMING_ERRORS: [&str; 22] = [
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: x\r\nA: b\nB: c\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "GET /metric_data HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET /metric_data\r\n\r\n",
    "GET /metric_data HTTP/2.7\r\nHost: x\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ng\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n\r\n",
];

#[test]
fn after_a_framing_error_nothing_on_that_connection_is_executed() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let at = now();
    for (i, error) in FRAMING_ERRORS.iter().enumerate() {
        let before = post(&single(KEY, &format!("framing.before.{i}"), at, 1.0));
        let after = post(&single(KEY, &format!("framing.after.{i}"), at, 1.0));
        let mut client = flux.client();
        client.send(&[before, error.as_bytes().to_vec(), after].concat());
        assert_eq!(
            client.answer().status,
            204,
            "{error:?}: what came before it counts"
        );
        let answer = client.answer();
        assert!(
            matches!(answer.status, 400 | 413 | 505),
            "{error:?}: {answer:?}"
        );
        assert!(answer.closes(), "{error:?}: {answer:?}");
        assert!(
            client.ends_or_resets(),
            "{error:?}: something more was answered"
        );
    }
    let count = FRAMING_ERRORS.len();
    let points = blackhole.wait_points(count);
    assert!(
        points
            .iter()
            .all(|point| point.name.starts_with("framing.before."))
    );
    assert_eq!(
        flux.metrics().sum("flux_points_accepted_total"),
        count as f64
    );
}

#[test]
fn above_the_connection_cap_the_busy_keep_their_place_and_the_idle_give_way() {
    let flux = Flux::builder()
        .shards(1)
        .set("http.connections_max", 8)
        .start();
    let probe = request("GET", "/metric_data?status=true", &[], b"");
    let (begun, rest) = probe.split_at(20);
    let mut busy: Vec<Client> = (0..8).map(|_| flux.client()).collect();
    for client in &mut busy {
        client.send(begun);
    }
    let open = |flux: &Flux| flux.metrics().sum("flux_connections_open");
    wait_until("all places are taken", || open(&flux) == 8.0);
    let mut waiting = flux.client();
    waiting.send(&probe);
    assert!(
        waiting.silent_for(Duration::from_millis(300)),
        "there is no place for it"
    );
    assert_eq!(open(&flux), 8.0);
    // A request is finished: its connection is idle, and gives way to the one that waits.
    busy[0].send(rest);
    assert_eq!(busy[0].answer().status, 200);
    assert_eq!(waiting.answer().status, 200);
    for client in &mut busy[1..] {
        client.send(rest);
        assert_eq!(client.answer().status, 200, "the busy ones kept theirs");
    }
}

#[test]
fn bodies_that_do_not_arrive_whole_are_bounded_together() {
    const BOUND: usize = 1024 * 1024;
    let flux = Flux::builder()
        .shards(1)
        .set("http.buffered_bytes_max", BOUND)
        .set("http.body_bytes_max", 500_000)
        .set("http.inflated_bytes_max", 100_000)
        .start();
    let head = "POST /metric_data_post HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n";
    let part = [head.as_bytes(), &[b' '; 400_000]].concat();
    let mut slow: Vec<Client> = (0..8).map(|_| flux.client()).collect();
    for client in &mut slow {
        // The ones that are refused may be closed before all of it is sent.
        let _ = client.try_send(&part);
    }
    let buffered = || flux.metrics().sum("flux_buffered_bytes");
    wait_until("some are turned away", || {
        flux.metrics().sum("flux_busy_answers_total") >= 1.0
    });
    // One more read of each is on its way when the bound is met.
    let slack = 8 * 512 * 1024;
    assert!(buffered() <= (BOUND + slack) as f64, "{}", buffered());
    assert_eq!(flux.post(&single(KEY, "a", now(), 1.0)).status, 204);
    drop(slow);
    wait_until("nothing is kept", || buffered() == 0.0);
}

#[test]
fn running_out_of_descriptors_stops_neither_the_served_nor_the_server() {
    let flux = Flux::builder().shards(1).start();
    let mut early = flux.client();
    assert_eq!(early.get("/metric_data?status=true").status, 200);
    flux.limit_descriptors(flux.descriptors() as u64 + 5);
    let crowd: Vec<Client> = (0..40).map(|_| flux.client()).collect();

    let cpu_before = flux.cpu_time();
    let started = Instant::now();
    // A second of requests on the old connection while 35 wait to be accepted.
    while started.elapsed() < Duration::from_millis(1_000) {
        assert_eq!(early.get("/metric_data?status=true").status, 200);
        assert!(early.silent_for(Duration::from_millis(50)));
    }
    let cpu = flux.cpu_time() - cpu_before;
    assert!(
        cpu < Duration::from_millis(500),
        "{cpu:?} of CPU: accept is retried in a circle"
    );

    drop(crowd);
    wait_until("new connections are served again", || {
        let mut client = flux.client();
        let probe = request("GET", "/metric_data?status=true", &[], b"");
        client.try_send(&probe).is_ok()
            && matches!(client.try_answer(), Ok(Some(answer)) if answer.status == 200)
    });
}

#[test]
fn connections_leave_no_descriptor_behind() {
    let flux = Flux::builder().shards(2).start();
    let visit = |i: usize| {
        let mut client = flux.client();
        match i % 4 {
            0 => assert_eq!(client.get("/metric_data?status=true").status, 200),
            1 => client.send(b"POST /metric_data_post HTTP/1.1\r\nHost"),
            2 => client.send(b"nonsense\r\n\r\n"),
            _ => {}
        }
    };
    (0..8).for_each(visit);
    let quiet = || {
        let mut last = 0;
        wait_until("the number of descriptors settles", || {
            let before = std::mem::replace(&mut last, flux.descriptors());
            before == last
        });
        last
    };
    let before = quiet();
    (0..400).for_each(visit);
    wait_until("they are all closed", || flux.descriptors() <= before);
}
