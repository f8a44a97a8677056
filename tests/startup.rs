//! Starting: always in time, at any number of shards; and refusals that say what to do.

mod common;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::PATIENCE;
use common::flux::{Flux, KEY};
use common::http::single;
use common::now;

/// Start-up gives up after five seconds by itself; a stop without work is immediate.
const START_LIMIT: Duration = Duration::from_secs(6);

fn fifty_starts(shards: u32) {
    let mut slowest = Duration::ZERO;
    for i in 0..50 {
        let started = Instant::now();
        let mut flux = Flux::builder().env("FLUX_SHARDS", shards).start();
        slowest = slowest.max(started.elapsed());
        assert!(
            started.elapsed() < START_LIMIT,
            "start {i}: {:?}",
            started.elapsed()
        );
        let answer = flux.post(&single(KEY, "start.a", now(), 1.0));
        assert_eq!(answer.status, 204, "start {i}: {answer:?}");
        let status = flux.stop_within(START_LIMIT);
        assert_eq!(status.code(), Some(0), "start {i}: {}", flux.daemon.said());
    }
    println!("{shards} shards: the slowest of 50 starts took {slowest:?}");
}

#[test]
fn fifty_starts_with_2_shards() {
    fifty_starts(2);
}

#[test]
fn fifty_starts_with_8_shards() {
    fifty_starts(8);
}

#[test]
fn fifty_starts_with_16_shards() {
    fifty_starts(16);
}

#[test]
fn fifty_starts_with_32_shards() {
    fifty_starts(32);
}

/// The one line that a refused start says, and its exit code.
fn refusal(flux: &mut Flux) -> (i32, String) {
    let status = flux.daemon.wait_exit(PATIENCE);
    let said = flux.daemon.stderr();
    assert_eq!(said.trim_end().lines().count(), 1, "one line, not {said:?}");
    (status.code().expect("it exits by itself"), said)
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_behind() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("bound").to_string();
    let mut flux = Flux::builder().set_text("http.listen", &address).launch();
    let (code, said) = refusal(&mut flux);
    assert_ne!(code, 0);
    assert!(said.contains(&address), "{said}");
    assert!(!flux.data_dir().join("key").exists());
    assert!(!flux.data_dir().join("points.carbon").exists());
}

#[test]
fn a_second_instance_with_the_same_listener_is_refused() {
    let first = Flux::builder().shards(1).start();
    // SO_REUSEPORT alone would let it in silently.
    let address = format!("127.0.0.1:{}", first.port);
    let mut second = Flux::builder().set_text("http.listen", &address).launch();
    let (code, said) = refusal(&mut second);
    assert_ne!(code, 0);
    assert!(said.contains(&address), "{said}");
    assert_eq!(first.post(&single(KEY, "still.a", now(), 1.0)).status, 204);
}

#[test]
fn a_second_instance_on_the_same_data_directory_is_refused() {
    let first = Flux::builder().start();
    let folder = first.data_dir();
    let folder = folder.to_str().expect("a plain path");
    let mut second = Flux::builder().set_text("data_dir", folder).launch();
    let (code, said) = refusal(&mut second);
    assert_ne!(code, 0);
    assert!(said.contains(folder), "{said}");
    assert_eq!(first.post(&single(KEY, "still.b", now(), 1.0)).status, 204);
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let mut flux = Flux::builder()
        .set_text("data_dir", "flux.toml/data")
        .launch();
    let (code, said) = refusal(&mut flux);
    assert_ne!(code, 0);
    assert!(said.contains("flux.toml/data"), "{said}");
}

#[test]
fn a_bad_file_is_exit_78_before_anything_is_opened() {
    let mut flux = Flux::builder().set("carbon.no_such_key", 1).launch();
    let status = flux.daemon.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(78));
    assert!(
        flux.daemon.stderr().contains("no_such_key"),
        "{}",
        flux.daemon.said()
    );
    assert!(!flux.data_dir().exists());
}

fn flux(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flux"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

#[test]
fn check_finds_every_problem_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("flux.toml");
    let bad = "http.backlog = \"many\"\nlast.store = \"ftp://x\"\nkeys.self = \"short\"\n";
    fs::write(&file, bad).expect("our own file");
    let path = file.to_str().expect("a plain path");
    let output = flux(&["check", "--config", path]);
    assert_eq!(output.status.code(), Some(78));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    for key in ["http.backlog", "last.store", "keys.self"] {
        assert!(said.contains(key), "{key} is missing in: {said}");
    }
    assert!(
        !said.contains("\"short\""),
        "a key's value is shown: {said}"
    );
}

#[test]
fn the_printed_defaults_are_a_file_that_checks() {
    let output = flux(&["config"]);
    assert!(output.status.success(), "{output:?}");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("flux.toml");
    fs::write(&file, &output.stdout).expect("our own file");
    let path = file.to_str().expect("a plain path");
    let checked = flux(&["check", "--config", path]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}
