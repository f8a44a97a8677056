//! The commands of the pages, run as they stand there: each page in a folder and a network of its own, where
//! every port is free and nothing else listens.

mod common;
#[path = "tune/host.rs"]
mod host;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::blackhole::Blackhole;
use common::netns::OwnNetwork;
use common::redis::Redis;
use tempfile::TempDir;

/// Lines that no test can run as they stand, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("make test", "it is what runs this"),
    ("make load", "it takes minutes and wants a quiet machine"),
    ("make faults", "it takes twenty minutes"),
    ("make deb", "tests/debian.sh builds the package"),
    (
        "apt install",
        "tests/debian.rs installs it on a clean Debian",
    ),
    ("cat /var/lib/flux/key", "of the installed service"),
    ("systemctl ", "the service manager of the reader's host"),
    ("docker run", "there is no Docker here"),
];

/// Waits for the reload, then uses the new key.
const RELOADED: &str = r#"
until curl -s 127.0.0.1:8001/metrics | grep -q '^flux_config_reloads_total{outcome="ok"} 1'; do sleep 0.02; done
curl -o /dev/null -w '%{http_code}' -d '{"metric":"a","value":1,"key":"K2abcdefghijklmnopqrstuvwxyz0123"}' 127.0.0.1:8000/metric_data_post
"#;

struct Page {
    folder: TempDir,
    _network: OwnNetwork,
    script: String,
    skipped: Vec<&'static str>,
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of the page's `sh` blocks.
fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(project().join(page)).expect("the page is there");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

impl Page {
    fn open(page: &str) -> Page {
        // Root is needed, as for all of the fault rig; a test that is skipped would be a page nobody runs.
        let network = OwnNetwork::enter().expect("a network of its own");
        let mut script = String::new();
        let mut skipped = Vec::new();
        for line in commands(page) {
            match NOT_HERE.iter().find(|(begin, _)| line.starts_with(begin)) {
                Some((begin, _)) => skipped.push(*begin),
                None => script = script + &line + "\n",
            }
        }
        Page {
            folder: tempfile::tempdir().expect("a folder"),
            _network: network,
            script,
            skipped,
        }
    }

    /// What is somebody's own in the page becomes ours.
    fn with(mut self, theirs: &str, ours: &str) -> Page {
        assert!(self.script.contains(theirs), "{theirs}: {}", self.script);
        self.script = self.script.replace(theirs, ours);
        self
    }

    fn file(self, name: &str, text: &str) -> Page {
        std::fs::write(self.folder.path().join(name), text).expect("a file in the folder");
        self
    }

    /// What the page takes for granted.
    fn first(mut self, line: &str) -> Page {
        self.script = format!("{line}\n{}", self.script);
        self
    }

    /// What shows that the page has done what it says.
    fn last(mut self, lines: &str) -> Page {
        self.script += lines;
        self
    }

    /// Runs all of it in one shell, and gives what it printed.
    fn run(&self) -> String {
        let bin = self.folder.path().join("bin");
        std::fs::create_dir(&bin).expect("a folder for the binary");
        let flux = PathBuf::from(env!("CARGO_BIN_EXE_flux"));
        std::os::unix::fs::symlink(flux, bin.join("flux")).expect("a link to the binary");
        let prologue = project().join("tests/docs/prologue.sh");
        let script = format!("source {}\n{}", prologue.display(), self.script);
        let output = Command::new("timeout")
            .args(["--kill-after=5", "60", "bash", "-euo", "pipefail", "-c"])
            .arg(&script)
            .current_dir(self.folder.path())
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()),
            )
            .output()
            .expect("bash runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{:?}\n{script}\n--- out\n{text}\n--- err\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }
}

/// How often the text is there.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn the_front_door_opens() {
    let page = Page::open("README.md");
    assert!(page.skipped.contains(&"make test"), "{:?}", page.skipped);
    let carbon = Blackhole::start();
    let redis = Redis::start();
    let said = page
        .with("graphite.example:2004", &carbon.endpoint())
        .with("redis://127.0.0.1:6379/0", &redis.url())
        .run();
    assert!(said.starts_with("204\na.b 1.5 "), "{said}");
}

#[test]
fn getting_started_starts() {
    let page = Page::open("docs/getting-started.md");
    let carbon = Blackhole::start();
    let redis = Redis::start();
    let said = page
        .with("graphite.example:2004", &carbon.endpoint())
        .with("redis://127.0.0.1:6379/0", &redis.url())
        .run();
    // A point, a batch, a GET, a compressed batch, a job.
    assert_eq!(count(&said, "HTTP/1.1 204 No Content"), 5, "{said}");
    assert!(said.contains("\na.b 1.5 "), "{said}");
    assert!(said.contains("1 a.c accepted "), "{said}");
    assert!(
        said.contains("2 x refused: invalid value - not a number"),
        "{said}"
    );
    assert!(said.contains("flux_points_accepted_total"), "{said}");
}

#[test]
fn the_configuration_is_shown_and_checked() {
    let settings = project().join("tests/config/skyline/settings.py");
    let said = Page::open("docs/configuration.md")
        .file("flux.toml", "cpu.shards = 1\n")
        .with(
            "/opt/skyline/github/skyline/skyline/settings.py",
            settings.to_str().expect("a path in UTF-8"),
        )
        .run();
    assert!(said.contains("shards = 1"), "{said}");
}

#[test]
fn somebody_moves() {
    let settings = project().join("tests/config/skyline/settings.py");
    let point = r#"{"metric":"a.b","value":1,"key":"YOURown32charSkylineAPIkeySecret"}"#;
    let said = Page::open("docs/migrating.md")
        .file("a-real-batch.json", point)
        .with("/tmp/flux-try", "flux-try")
        .with(
            "/opt/skyline/github/skyline/skyline/settings.py",
            settings.to_str().expect("a path in UTF-8"),
        )
        .run();
    assert!(said.contains("{\"status\": \"ok\"}"), "{said}");
}

#[test]
fn the_runbook_runs() {
    let page = Page::open("docs/runbook.md");
    let redis = Redis::start_on(6379);
    redis.set("flux.last.a.b", "[1478021700, 1.5]");
    let said = page
        .file("flux.toml", "cpu.shards = 1\n")
        .file("body.json", r#"{"metric":"a.b","value":"one"}"#)
        .first("flux run --config flux.toml")
        // Its network is its own and its processes are not: another test's flux must not be told.
        .with("$(pidof flux)", "$service")
        .last(RELOADED)
        .run();
    assert!(said.contains("flux_carbon_connected"), "{said}");
    assert!(said.contains("a.b refused: invalid value"), "{said}");
    assert!(said.contains("[1478021700, 1.5]"), "{said}");
    assert!(said.ends_with("204"), "{said}");
}

#[test]
fn a_host_is_tuned_and_put_back() {
    let page = Page::open("docs/tuning.md");
    let root = page.folder.path().join("host");
    host::make(&root, include_str!("tune/fresh.host"));
    let before = host::tree(&root);
    // The page's host is a folder here, and something advised is wrong with it.
    let page = page
        .first("export HOST=host")
        .with("flux tune check", "flux tune check || [ $? = 1 ]");
    let said = page.run();
    assert!(said.contains("tcp_slow_start_after_idle"), "{said}");
    assert_eq!(host::tree(&root), before);
}

#[test]
fn every_page_with_commands_has_its_test_and_every_exception_its_line() {
    let tested = [
        "README.md",
        "docs/configuration.md",
        "docs/getting-started.md",
        "docs/migrating.md",
        "docs/runbook.md",
        "docs/tuning.md",
    ];
    let mut seen = Vec::new();
    let pages = std::fs::read_dir(project().join("docs")).expect("a folder of pages");
    let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().display()));
    for page in pages.chain(["README.md".to_owned()]) {
        if !page.ends_with(".md") {
            continue;
        }
        for line in commands(&page) {
            match NOT_HERE.iter().find(|(begin, _)| line.starts_with(begin)) {
                Some((begin, _)) => seen.push(*begin),
                None => assert!(tested.contains(&page.as_str()), "{page}: {line}"),
            }
        }
    }
    for (begin, why) in NOT_HERE {
        assert!(seen.contains(begin), "no page has {begin} ({why})");
    }
}
