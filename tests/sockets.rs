//! Clients' sockets as the program drives them: timers on time under many connections, clients that do not
//! read, a Unix socket, and a kernel without what our ring needs.

mod common;

use common::flux::{Flux, KEY};
use common::http::{Client, post, request, single};
use common::shim::Shim;
use common::{PATIENCE, now};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

const BY: &str = "le=\"0.005\"";
const SWEEPS: &str = "flux_sweep_lateness_seconds";

/// A driver that stays with its ring as long as there is something in it makes every timer late: by 10 to
/// 40 ms here. On a machine whose CPUs are busy with something else single sweeps are late too.
#[test]
fn with_512_busy_connections_the_sweep_is_on_time() {
    let flux = Flux::builder().shards(1).start();
    let until = Instant::now() + Duration::from_secs(3);
    let clients: Vec<_> = (0..4)
        .map(|thread| {
            let mut connections: Vec<Client> = (0..128).map(|_| flux.client()).collect();
            thread::spawn(move || {
                let first = now() - 3000;
                for round in 0.. {
                    if Instant::now() > until {
                        return;
                    }
                    for (index, client) in connections.iter_mut().enumerate() {
                        let name = format!("sockets.t{thread}.m{index}");
                        client.send(&post(&single(KEY, &name, first + round, 1.0)));
                    }
                    for client in &mut connections {
                        assert_eq!(client.answer().status, 204);
                    }
                }
            })
        })
        .collect();
    let before = flux.metrics();
    for client in clients {
        client.join().expect("every request is answered");
    }
    let after = flux.metrics();
    let grown = |name: &str, label| after.with(name, label) - before.with(name, label);
    let all = grown(&format!("{SWEEPS}_count"), "");
    let on_time = grown(&format!("{SWEEPS}_bucket"), BY);
    assert!(all > 50.0, "there were only {all} sweeps");
    assert!(
        on_time > 0.9 * all,
        "{on_time} of {all} sweeps were on time"
    );
}

#[test]
fn who_does_not_read_holds_nobody_up_and_finds_every_answer_in_order() {
    const QUESTIONS: usize = 60_000;
    let flux = Flux::builder().shards(1).start();
    let mut slow = flux.client();
    let mut writer = slow.clone_sender();
    // Answers of different lengths, so that their order shows.
    let asking = thread::spawn(move || {
        for index in 0..QUESTIONS {
            let target = ["/metric_data?status=true", "/nowhere"][index % 2];
            if writer.write_all(&request("GET", target, &[], b"")).is_err() {
                return;
            }
        }
    });
    let mut other = flux.client();
    let began = Instant::now();
    for _ in 0..200 {
        assert_eq!(other.get("/metric_data?status=true").status, 200);
    }
    assert!(began.elapsed() < PATIENCE);
    for index in 0..QUESTIONS {
        assert_eq!(
            slow.answer().status,
            [200, 404][index % 2],
            "answer {index}"
        );
    }
    asking.join().expect("all questions were taken");
}

#[test]
fn a_unix_socket_is_served_like_any_other() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("flux.sock");
    let listen = format!(
        "[\"127.0.0.1:{}\", \"unix:{}\"]",
        common::free_port(),
        path.display()
    );
    let mut flux = Flux::builder().shards(2).set("http.listen", listen).start();
    let mut stream = UnixStream::connect(&path).expect("it listens");
    let body = single(KEY, "sockets.unix", now(), 1.0);
    for _ in 0..3 {
        stream.write_all(&post(&body)).expect("it reads");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"HTTP/1.1 204");
        // The rest of the head.
        let mut byte = [0; 1];
        let mut end = Vec::new();
        while !end.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("it answers");
            end.push(byte[0]);
        }
    }
    assert!(flux.stop().success());
    // Idle connections are closed by the drain.
    assert_eq!(stream.read(&mut [0; 8]).expect("an end, not an error"), 0);
}

#[test]
fn a_kernel_without_our_ring_is_served_by_polls_and_told_so() {
    let shim = match Shim::build("none") {
        Ok(shim) => shim,
        Err(why) => return eprintln!("not tested: {why}"),
    };
    let flux = Flux::builder()
        .shards(1)
        .shim(&shim)
        .env("SHIM_NO_DEFER_TASKRUN", "1")
        .start();
    let mut client = flux.client();
    for second in 0..3 {
        let body = single(KEY, "sockets.polled", now() - second, 1.0);
        assert_eq!(client.post(&body).status, 204);
    }
    let said = flux.daemon.said();
    assert_eq!(said.matches("readiness polls").count(), 1, "{said}");
}
