//! What stands around the program: the units, the container's seccomp profile, the package's configuration, what the
//! program prints for man and for shells.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::flux::{Flux, KEY};
use common::http::single;
use common::{PATIENCE, now};
use serde_json::Value;

/// `systemd-analyze security`: 0 is best, 10 worst; below 2 is "ok". It was 1.3.
const EXPOSURE_MAX: f64 = 1.5;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn flux(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flux"));
    command.args(arguments).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The units with the program where it was built, in a folder of their own.
fn units() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for unit in ["flux.service", "flux.socket"] {
        let written = std::fs::read_to_string(root().join("tuning/systemd").join(unit));
        let written = written
            .expect("a unit")
            .replace("/usr/bin/flux", env!("CARGO_BIN_EXE_flux"));
        std::fs::write(dir.path().join(unit), written).expect("our own folder");
    }
    dir
}

#[test]
fn systemd_understands_the_units() {
    let dir = units();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(["flux.service", "flux.socket"].map(|unit| dir.path().join(unit)))
        .output()
        .expect("systemd-analyze runs");
    let said = text(&output);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("flux")).collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_service_is_confined_and_can_still_pin_its_shards() {
    let unit = root().join("tuning/systemd/flux.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes"])
        .arg(&unit)
        .output()
        .expect("systemd-analyze runs");
    let said = text(&output);
    let level = said
        .split("flux.service: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let level: f64 = level.and_then(|text| text.parse().ok()).expect(&said);
    println!("systemd-analyze security: {level}");
    assert!(level <= EXPOSURE_MAX, "{said}");
    let unit = std::fs::read_to_string(unit).expect("a unit");
    let filters = unit
        .lines()
        .filter(|line| line.starts_with("SystemCallFilter="));
    let filters: Vec<&str> = filters.collect();
    assert!(
        !filters.iter().any(|line| line.contains("~@resources")),
        "{filters:?}"
    );
    assert!(
        filters.iter().any(|line| line.contains("io_uring_setup")),
        "{filters:?}"
    );
}

/// Loads the profile, without the calls of the first argument, and becomes the rest of the arguments.
const CONFINED: &str = "
import json, os, sys
from seccomp import ALLOW, ERRNO, SyscallFilter
profile = json.load(open(sys.argv[1]))
assert profile['defaultAction'] == 'SCMP_ACT_ERRNO'
kernel = SyscallFilter(ERRNO(profile['defaultErrnoRet']))
for entry in profile['syscalls']:
    for name in entry['names']:
        if not name.startswith(sys.argv[2]):
            kernel.add_rule(ALLOW, name)
kernel.load()
os.execv(sys.argv[3], sys.argv[3:])
";

fn confined(without: &str) -> Flux {
    let profile = root().join("tuning/seccomp.json").display().to_string();
    let words = ["/usr/bin/python3", "-c", CONFINED, &profile, without];
    Flux::builder().shards(2).through(&words).launch()
}

#[test]
fn it_serves_under_the_containers_seccomp_profile() {
    let mut flux = confined("-");
    flux.wait_ready();
    let status = std::fs::read_to_string(format!("/proc/{}/status", flux.daemon.pid()));
    assert!(
        status.expect("it runs").contains("Seccomp:\t2"),
        "it is not confined"
    );
    assert_eq!(
        flux.post(&single(KEY, "confined.a", now(), 1.0)).status,
        204
    );
    flux.wait_metric("flux_points_delivered_total", 1.0);
    assert_eq!(flux.stop().code(), Some(0), "{}", flux.daemon.said());
}

#[test]
fn without_io_uring_in_the_profile_the_start_is_refused_and_says_why() {
    let mut flux = confined("io_uring");
    assert_eq!(flux.daemon.wait_exit(PATIENCE).code(), Some(1));
    let said = flux.daemon.stderr();
    assert!(
        said.contains("seccomp") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn the_profile_names_no_call_twice() {
    let profile = std::fs::read_to_string(root().join("tuning/seccomp.json")).expect("a profile");
    let profile: Value = serde_json::from_str(&profile).expect("JSON");
    let entries = profile["syscalls"].as_array().expect("a list");
    let names = entries
        .iter()
        .flat_map(|entry| entry["names"].as_array().expect("a list"));
    let mut names: Vec<&str> = names.map(|name| name.as_str().expect("a text")).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn the_packages_configuration_checks() {
    let file: PathBuf = root().join("packaging/flux.toml");
    let checked = flux(&["check", "--config", file.to_str().expect("a plain path")]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
}

#[test]
fn man_and_shells_take_what_it_prints() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let page = dir.path().join("flux.1");
    std::fs::write(&page, flux(&["man"]).stdout).expect("our own folder");
    let shown = Command::new("man").arg("--local-file").arg(&page).output();
    let shown = text(&shown.expect("man runs"));
    for words in ["flux journal verify", "--data-dir", "/etc/flux/flux.toml"] {
        assert!(
            shown.to_lowercase().contains(words),
            "{words} is missing in {shown}"
        );
    }
    let script = dir.path().join("flux.bash");
    std::fs::write(&script, flux(&["completions", "bash"]).stdout).expect("our own folder");
    let typed = "source \"$0\"; COMP_WORDS=(flux jour); COMP_CWORD=1; _flux flux jour flux; echo ${COMPREPLY[*]}";
    let completed = Command::new("bash")
        .args(["-c", typed])
        .arg(&script)
        .output();
    assert_eq!(text(&completed.expect("bash runs")).trim(), "journal");
}
