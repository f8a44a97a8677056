//! `flux tune` on fake roots, and on the real machine where that changes nothing outside the test.

mod common;
#[path = "tune/host.rs"]
mod host;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use host::{make, put, tree};
use proptest::prelude::*;
use skyline_flux::config::Config;
use skyline_flux::tune::{Kind, Wishes, list, page, render};

/// `flux tune …` below a root.
fn tune(root: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLUX_") {
            command.env_remove(name);
        }
    }
    let output = command
        .arg("tune")
        .args(words)
        .arg("--root")
        .arg(root)
        .output()
        .expect("flux runs");
    Ran::from(output)
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().expect("an exit status"),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

const CONFIG: [&str; 2] = ["--config", "tests/tune/flux.toml"];

fn fake(text: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    make(root.path(), text);
    root
}

fn check(root: &Path, more: &[&str]) -> Ran {
    tune(root, &[&["check"], &CONFIG[..], more].concat())
}

fn apply(root: &Path, more: &[&str]) -> Ran {
    tune(root, &[&["apply"], &CONFIG[..], more].concat())
}

/// The text kept for it, or with GOLDEN=write in the environment: keeps this one.
fn golden(path: &str, text: &str) {
    if std::env::var_os("GOLDEN").is_some_and(|word| word == "write") {
        fs::write(path, text).expect("a golden file");
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "{path} is not what came; if that is right: GOLDEN=write\n{text}"
    );
}

#[test]
fn check_tells_wrong_from_unsupported_and_says_it_in_its_exit_status() {
    for (name, text, code, generator) in [
        ("fresh", include_str!("tune/fresh.host"), 1, true),
        ("refused", include_str!("tune/refused.host"), 2, false),
        ("ready", include_str!("tune/ready.host"), 0, true),
    ] {
        let root = fake(text);
        let before = tree(root.path());
        let side: &[&str] = if generator { &["--generator"] } else { &[] };
        let table = check(root.path(), side);
        let json = check(root.path(), &[side, &["--json"]].concat());
        assert_eq!((table.code, json.code), (code, code), "{}", table.err);
        assert_eq!(table.err.is_empty(), code == 0, "{}", table.err);
        golden(&format!("tests/tune/{name}.table"), &table.out);
        golden(&format!("tests/tune/{name}.json"), &json.out);
        let document: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
        assert_eq!(document["exit"], code);
        assert_eq!(tree(root.path()), before, "check only looks");
    }
}

#[test]
fn applying_twice_is_applying_once_and_a_revert_leaves_no_trace() {
    let root = fake(include_str!("tune/fresh.host"));
    let before = tree(root.path());
    let first = apply(root.path(), &["--generator"]);
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    golden("tests/tune/fresh.apply", &first.out);
    let applied = tree(root.path());
    let read = |path: &str| fs::read_to_string(root.path().join(path)).expect(path);
    golden(
        "tests/tune/fresh.sysctl",
        &read("etc/sysctl.d/90-flux-tune.conf"),
    );
    golden(
        "tests/tune/fresh.tmpfiles",
        &read("etc/tmpfiles.d/90-flux-tune.conf"),
    );
    assert_eq!(read("proc/sys/net/ipv4/tcp_wmem"), "4096 65536 4194304");
    let hugepages = "sys/kernel/mm/transparent_hugepage/enabled";
    assert_eq!(read(hugepages), "always [madvise] never\n");

    let second = apply(root.path(), &["--generator"]);
    assert_eq!((second.code, &*second.out), (0, "nothing to change\n"));
    assert_eq!(tree(root.path()), applied);

    let after = check(root.path(), &["--generator", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&after.out).expect("JSON");
    for setting in document["settings"].as_array().expect("a list") {
        let open = setting["changes"].as_array().expect("a list");
        assert!(open.is_empty(), "{setting}");
    }

    let reverted = tune(root.path(), &["revert"]);
    assert_eq!(reverted.code, 0, "{}{}", reverted.out, reverted.err);
    assert_eq!(tree(root.path()), before);
    let again = tune(root.path(), &["revert"]);
    assert_eq!((again.code, &*again.out), (0, "nothing to revert\n"));
}

#[test]
fn a_file_that_was_there_keeps_its_lines_and_comes_back() {
    let root = fake(include_str!("tune/fresh.host"));
    let conf = "etc/sysctl.d/90-flux-tune.conf";
    put(root.path(), conf, "kernel.panic = 10");
    let before = tree(root.path());
    assert_eq!(apply(root.path(), &[]).code, 0);
    let text = fs::read_to_string(root.path().join(conf)).expect("the file");
    assert!(
        text.starts_with("kernel.panic = 10\n# Written by"),
        "{text}"
    );
    assert!(text.contains("\nnet.core.somaxconn = 1024\n"), "{text}");
    assert_eq!(tune(root.path(), &["revert"]).code, 0);
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_revert_refuses_what_somebody_else_has_changed_and_touches_nothing() {
    for (path, foreign) in [
        ("proc/sys/net/core/somaxconn", "8192"),
        ("etc/sysctl.d/90-flux-tune.conf", "# mine now"),
    ] {
        let root = fake(include_str!("tune/fresh.host"));
        let before = tree(root.path());
        assert_eq!(apply(root.path(), &[]).code, 0);
        put(root.path(), path, foreign);
        let changed = tree(root.path());
        let refused = tune(root.path(), &["revert"]);
        assert_eq!(refused.code, 1);
        assert!(
            refused.out.contains(&format!("foreign  /{path}")),
            "{}",
            refused.out
        );
        assert_eq!(tree(root.path()), changed);
        let forced = tune(root.path(), &["revert", "--force"]);
        assert_eq!(forced.code, 0, "{}", forced.out);
        assert_eq!(tree(root.path()), before);
    }
}

#[test]
fn a_second_apply_leaves_a_file_alone_that_somebody_has_edited() {
    let root = fake(include_str!("tune/fresh.host"));
    assert_eq!(apply(root.path(), &[]).code, 0);
    let conf = "etc/sysctl.d/90-flux-tune.conf";
    put(root.path(), conf, "# mine now");
    put(root.path(), "proc/sys/net/core/somaxconn", "64");
    let second = apply(root.path(), &[]);
    assert_eq!(second.code, 1);
    assert!(
        second
            .out
            .contains("changed  /proc/sys/net/core/somaxconn: 64 -> 1024")
    );
    assert!(
        second.out.contains("was edited since the last apply"),
        "{}",
        second.out
    );
    let text = fs::read_to_string(root.path().join(conf)).expect("the file");
    assert_eq!(text, "# mine now\n");
    assert_eq!(tune(root.path(), &["revert", "--force"]).code, 0);
    let before = fake(include_str!("tune/fresh.host"));
    assert_eq!(
        tree(root.path()),
        tree(before.path()),
        "the first original came back"
    );
}

#[test]
fn an_apply_that_was_cut_off_is_finished_by_the_next_and_can_be_reverted() {
    let root = fake(include_str!("tune/fresh.host"));
    let before = tree(root.path());
    assert_eq!(apply(root.path(), &[]).code, 0);
    let whole = tree(root.path());
    // As if it had ended after the first values: the rest is as it was, and nothing makes them last.
    let cut = || {
        for path in [
            "etc/sysctl.d/90-flux-tune.conf",
            "etc/tmpfiles.d/90-flux-tune.conf",
        ] {
            fs::remove_file(root.path().join(path)).expect("removed");
        }
        put(root.path(), "proc/sys/vm/swappiness", "60");
    };
    cut();
    let finished = apply(root.path(), &[]);
    assert_eq!(finished.code, 0, "{}", finished.out);
    assert_eq!(tree(root.path()), whole);
    fs::remove_file(root.path().join("etc/sysctl.d/90-flux-tune.conf")).expect("removed");
    let lasting = apply(root.path(), &[]);
    assert_eq!(lasting.code, 0, "{}", lasting.out);
    assert!(
        lasting.out.starts_with("written  /etc/sysctl.d/"),
        "{}",
        lasting.out
    );
    assert_eq!(tree(root.path()), whole);
    cut();
    assert_eq!(tune(root.path(), &["revert"]).code, 0);
    assert_eq!(tree(root.path()), before);
}

#[test]
fn a_value_that_somebody_has_put_back_already_is_no_obstacle() {
    let root = fake(include_str!("tune/fresh.host"));
    let before = tree(root.path());
    assert_eq!(apply(root.path(), &[]).code, 0);
    put(root.path(), "proc/sys/net/core/somaxconn", "128");
    assert_eq!(tune(root.path(), &["revert"]).code, 0);
    assert_eq!(tree(root.path()), before);
}

/// The kernel's own read-only file, because root may write any other.
#[test]
fn an_apply_that_fails_half_way_says_what_was_done_and_can_be_reverted() {
    let root = fake(include_str!("tune/fresh.host"));
    let stuck = root.path().join("proc/sys/net/core/somaxconn");
    fs::remove_file(&stuck).expect("removed");
    let read_only = "/proc/sys/kernel/random/poolsize";
    let size: u32 = fs::read_to_string(read_only)
        .expect("a number")
        .trim()
        .parse()
        .expect("one");
    assert!(size < 1024, "{size} would do");
    std::os::unix::fs::symlink(read_only, &stuck).expect("a link");
    let before = tree(root.path());
    let half = apply(root.path(), &[]);
    assert_eq!(half.code, 1);
    assert!(
        half.out
            .contains("failed   /proc/sys/net/core/somaxconn: stays"),
        "{}",
        half.out
    );
    assert!(
        half.out
            .contains("changed  /proc/sys/net/ipv4/tcp_migrate_req: 0 -> 1"),
        "{}",
        half.out
    );
    let conf = root.path().join("etc/sysctl.d/90-flux-tune.conf");
    let conf = fs::read_to_string(conf).expect("the file");
    assert!(
        conf.contains("tcp_migrate_req") && !conf.contains("somaxconn"),
        "{conf}"
    );
    assert_eq!(tune(root.path(), &["revert"]).code, 0);
    assert_eq!(tree(root.path()), before);
}

#[test]
fn without_a_place_for_the_originals_nothing_is_changed() {
    let root = fake(include_str!("tune/fresh.host"));
    put(root.path(), "var/lib/flux-tune", "in the way");
    let before = tree(root.path());
    let refused = apply(root.path(), &[]);
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("/var/lib/flux-tune/tune.json cannot be"),
        "{}",
        refused.err
    );
    assert_eq!(tree(root.path()), before);
}

#[test]
fn the_disk_of_the_data_directory_is_found() {
    let root = fake(include_str!("tune/fresh.host"));
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(root.path()).expect("there"));
    let queue = format!(
        "/sys/dev/block/{}:{}/queue",
        libc::major(device),
        libc::minor(device)
    );
    put(root.path(), &format!("{queue}/scheduler"), "none [bfq]");
    let before = tree(root.path());
    let data = root.path().join("not/yet").display().to_string();
    let applied = apply(root.path(), &["--data-dir", &data]);
    assert!(
        applied.out.contains("/queue/scheduler: bfq -> none\n"),
        "{}",
        applied.out
    );
    assert_eq!(tune(root.path(), &["revert"]).code, 0);
    assert_eq!(tree(root.path()), before);
}

/// What the script does to a host is what apply does, but for the originals, which it does not keep.
#[test]
fn the_rendered_script_comes_to_the_same_as_apply() {
    let script = render::script(&Wishes {
        generator: true,
        ..wishes()
    });
    for text in [
        include_str!("tune/fresh.host"),
        include_str!("tune/refused.host"),
        include_str!("tune/ready.host"),
    ] {
        // A number that is none ends the script, as it should.
        let text = text.replace("many\n", "128\n");
        let (applied, scripted) = (fake(&text), fake(&text));
        apply(applied.path(), &["--generator"]);
        let run = |root: &Path| {
            let output = Command::new("/bin/sh")
                .args(["-c", &script])
                .env("ROOT", root)
                .output()
                .expect("a shell");
            assert!(output.status.success(), "{output:?}");
        };
        run(scripted.path());
        let values = |root: &Path| {
            let mut all = Vec::new();
            for (path, text) in tree(root) {
                let text = String::from_utf8(text.unwrap_or_default()).expect("UTF-8");
                if path.starts_with("proc/") || path.starts_with("sys/") {
                    all.push((path, skyline_flux::tune::host::value(&text)));
                } else if path.ends_with(".conf") {
                    let lines = text.lines().filter(|line| !line.starts_with('#'));
                    all.push((path, lines.collect::<Vec<_>>().join("\n")));
                }
            }
            all
        };
        assert_eq!(values(scripted.path()), values(applied.path()));
        let once = tree(scripted.path());
        run(scripted.path());
        assert_eq!(
            tree(scripted.path()),
            once,
            "the second run changes nothing"
        );
    }
}

fn wishes() -> Wishes {
    Wishes::of(&Config::default(), 1)
}

#[test]
fn render_touches_nothing_and_the_folder_tuning_holds_what_it_prints() {
    let root = fake(include_str!("tune/fresh.host"));
    let before = tree(root.path());
    let rendered = tune(root.path(), &["render", "--data-dir", "/proc"]);
    assert_eq!(rendered.code, 0, "{}", rendered.err);
    assert_eq!(tree(root.path()), before);
    golden("tuning/tune.sh", &rendered.out);
    golden(
        "tuning/90-flux-tune.conf",
        &render::sysctl_example(&wishes()),
    );
}

#[test]
fn every_setting_is_on_its_page_as_the_list_has_it() {
    let path = "docs/tuning.md";
    let text = fs::read_to_string(path).expect("the page");
    let (by_hand, _) = text.split_once(page::BEGIN).expect("the list");
    golden(path, &format!("{by_hand}{}", page::page(&wishes())));
}

/// Whatever it is, this machine is told something sensible.
#[test]
fn the_real_machine_is_checked() {
    let ran = check(Path::new("/"), &["--json"]);
    assert!((0..=2).contains(&ran.code), "{}", ran.err);
    let document: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let settings = document["settings"].as_array().expect("a list");
    let status = |id: &str| {
        let setting = settings.iter().find(|setting| setting["id"] == id);
        setting.expect(id)["status"]
            .as_str()
            .expect("a word")
            .to_owned()
    };
    assert_eq!(status("kernel"), "ok");
    assert_eq!(status("seccomp"), "ok", "the other tests run flux here");
    assert_ne!(status("somaxconn"), "unsupported here");
}

/// Its network settings are its own: the kernel's real files, and nobody else's values.
#[test]
fn a_network_of_its_own_is_tuned_and_put_back() {
    let tuned = std::thread::spawn(|| {
        common::netns::OwnNetwork::enter()?;
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("proc/sys")).expect("a directory");
        std::os::unix::fs::symlink("/proc/sys/net", root.path().join("proc/sys/net"))
            .expect("a link");
        let mut kept: Vec<(&str, String)> = Vec::new();
        for item in list::all().filter(|item| !matches!(item.kind, Kind::Report(_))) {
            let path = item.reads[0];
            if path.starts_with("/proc/sys/net/")
                && let Ok(text) = fs::read_to_string(path)
            {
                kept.push((path, text));
            }
        }
        assert!(kept.len() > 5, "{kept:?}");
        let config = root.path().join("flux.toml");
        fs::write(&config, "http.backlog = 20000\n").expect("a file");
        let config = config.display().to_string();
        let words = ["apply", "--generator", "--config", &config];
        let first = tune(root.path(), &words);
        assert_eq!(first.code, 0, "{}{}", first.out, first.err);
        let read = |path: &str| fs::read_to_string(path).expect(path).trim().to_owned();
        assert_eq!(read("/proc/sys/net/core/somaxconn"), "20000");
        let range = read("/proc/sys/net/ipv4/ip_local_port_range");
        assert_eq!(range, "10240\t65535");
        assert_eq!(tune(root.path(), &words).out, "nothing to change\n");
        let back = tune(root.path(), &["revert"]);
        assert_eq!(back.code, 0, "{}{}", back.out, back.err);
        for (path, text) in kept {
            assert_eq!(fs::read_to_string(path).expect(path), text);
        }
        Ok::<(), String>(())
    });
    match tuned.join() {
        Ok(Ok(())) => {}
        // SAFETY: it only asks who we are.
        Ok(Err(why)) if unsafe { libc::geteuid() } != 0 => eprintln!("skipped: {why}"),
        Ok(Err(why)) => panic!("root has networks of its own: {why}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn any_host() -> impl Strategy<Value = Vec<(String, String)>> {
    let number = prop_oneof![0u64..5000, any::<u64>().prop_map(|n| n >> 16)];
    let text = prop_oneof![
        number.clone().prop_map(|n| n.to_string()),
        proptest::collection::vec(number, 2..4).prop_map(|all| all
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join("\t")),
        "[a-z]{1,8}( [a-z]{1,8})?",
        Just("[always] madvise never".to_owned()),
        Just("none [bfq] mq-deadline".to_owned()),
    ];
    let files: Vec<_> = list::all()
        .flat_map(|item| item.reads.iter().copied().chain(item.offered))
        .filter(|path| !path.contains("{disk}"))
        .map(|path| {
            let path = path.replace('*', "7");
            proptest::option::weighted(0.8, text.clone())
                .prop_map(move |text| text.map(|text| (path.clone(), text)))
        })
        .collect();
    files.prop_map(|files| files.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_the_host_apply_is_done_once_and_revert_undoes_it(files in any_host()) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in &files {
            put(root.path(), path, text);
        }
        let before = tree(root.path());
        let first = apply(root.path(), &["--generator"]);
        prop_assert_eq!(first.code, 0, "{}{}", first.out, first.err);
        let applied = tree(root.path());
        let second = apply(root.path(), &["--generator"]);
        prop_assert_eq!((second.code, &*second.out), (0, "nothing to change\n"));
        prop_assert_eq!(&tree(root.path()), &applied);
        for item in list::all() {
            let Kind::Minimum(_) = item.kind else { continue };
            let path = item.reads[0].trim_start_matches('/').to_owned();
            let numbers = |tree: &std::collections::BTreeMap<String, Option<Vec<u8>>>| {
                let text = tree.get(&path).cloned().flatten().unwrap_or_default();
                let text = String::from_utf8(text).expect("UTF-8");
                text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect::<Vec<u64>>()
            };
            let (was, is) = (numbers(&before), numbers(&applied));
            prop_assert!(was.iter().zip(&is).all(|(was, is)| was <= is), "{}", path);
        }
        prop_assert_eq!(tune(root.path(), &["revert"]).code, 0);
        prop_assert_eq!(tree(root.path()), before);
    }
}
