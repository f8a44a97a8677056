//! The jobs file at a start: damaged, another version's, and full.

use super::common::blackhole::Blackhole;
use super::common::flux::Flux;
use super::common::redis::Redis;
use super::common::remote::{Gate, Remote, graphite_series};
use super::common::{PATIENCE, now};
use super::{graphite_job, jobs, minute, post_to, wait_done};
use skyline_flux::populate::record::{FILE_HEADER_BYTES, RECORD_HEADER_BYTES};
use std::time::Instant;

/// Stopped with this many jobs that wait for the gate.
fn stopped_with(count: u32, remote: &Remote, carbon: &Blackhole, redis: &Redis) -> Flux {
    let mut flux = Flux::builder()
        .carbon(&carbon.endpoint())
        .redis(&redis.url())
        .shards(2)
        // Longer than the test: the remotes do not answer.
        .set("populate.read_timeout_ms", 120_000)
        .start();
    let mut client = flux.client();
    for index in 0..count {
        let urls = [remote.url(&format!("/render/?target={index}"))];
        let answer = post_to(&mut client, &graphite_job(&format!("file.{index}"), &urls));
        assert_eq!(answer.status, 204, "{answer:?}");
    }
    // Not even a chance to say farewell.
    flux.kill9();
    flux
}

fn gated(gate: &Gate) -> Remote {
    let held = gate.clone();
    let at = minute(now()) - 120;
    Remote::start(move |_| {
        held.wait();
        graphite_series([(at, Some(1.0))])
    })
}

#[test]
fn damage_costs_the_job_it_lies_in_and_is_told() {
    let (blackhole, redis, gate) = (Blackhole::start(), Redis::start(), Gate::default());
    let remote = gated(&gate);
    let mut flux = stopped_with(5, &remote, &blackhole, &redis);
    let file = flux.data_dir().join("jobs");
    let mut bytes = std::fs::read(&file).expect("the jobs file");
    // In the first job's payload; and a torn record at the end.
    bytes[FILE_HEADER_BYTES + RECORD_HEADER_BYTES + 3] ^= 0x40;
    let torn = bytes[FILE_HEADER_BYTES..FILE_HEADER_BYTES + 40].to_vec();
    bytes.extend_from_slice(&torn);
    std::fs::write(&file, bytes).expect("our own file");
    gate.open();
    flux.start_again();
    assert_eq!(jobs(&flux, "recovered"), 4.0);
    wait_done(&flux, 4);
    let said = flux.daemon.said();
    assert!(
        said.contains("jobs: 1 records damaged and 40 bytes unreadable"),
        "{said}"
    );
    assert!(
        !blackhole
            .points()
            .iter()
            .any(|point| point.name == "file.0")
    );
}

#[test]
fn a_file_that_is_none_is_damage_too() {
    let mut flux = Flux::builder().start();
    assert!(flux.stop().success());
    for content in [&b""[..], b"x", &[0; 5_000], b"fxjb"] {
        std::fs::write(flux.data_dir().join("jobs"), content).expect("our own file");
        flux.start_again();
        assert_eq!(jobs(&flux, "recovered"), 0.0);
        assert!(flux.stop().success());
    }
}

#[test]
fn another_versions_file_is_refused_in_one_line_and_left_alone() {
    let mut flux = Flux::builder().start();
    assert!(flux.stop().success());
    let file = flux.data_dir().join("jobs");
    let mut bytes = std::fs::read(&file).expect("the jobs file");
    bytes[4] = 9;
    let crc = crc32c::crc32c(&bytes[..20]).to_le_bytes();
    bytes[20..24].copy_from_slice(&crc);
    std::fs::write(&file, &bytes).expect("our own file");
    flux.launch_again();
    let status = flux.daemon.wait_exit(PATIENCE);
    let said = flux.daemon.stderr();
    assert!(!status.success());
    assert!(said.contains("version 9"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert_eq!(std::fs::read(&file).expect("it is still there"), bytes);
}

#[test]
fn thousands_of_jobs_are_taken_up_again_without_delay() {
    const COUNT: u32 = 3_000;
    let (blackhole, redis, gate) = (Blackhole::start(), Redis::start(), Gate::default());
    let remote = gated(&gate);
    let mut flux = stopped_with(COUNT, &remote, &blackhole, &redis);
    let started = Instant::now();
    flux.start_again();
    let took = started.elapsed();
    assert_eq!(jobs(&flux, "recovered"), f64::from(COUNT));
    // The start goes on without the owners after three seconds: it must not come to that.
    assert!(took.as_secs_f64() < 2.5, "{took:?}");
    // A store that hangs costs a look-up's deadline, not one for each job.
    redis.pause();
    flux.kill9();
    let started = Instant::now();
    flux.start_again();
    let took = started.elapsed();
    redis.resume();
    assert!(
        took.as_secs_f64() < 2.5,
        "with a store that hangs: {took:?}"
    );
    gate.open();
}
