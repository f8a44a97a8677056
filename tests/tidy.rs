//! What a reviewer would otherwise repeat, held by a test: who may import what, where clocks and locks
//! are, what must be documented, what has grown large. Each exception carries its reason, and one that
//! excuses nothing any more fails too.
//!
//! It reads the source as text, with comments, strings and test code blanked out: simple rules that a
//! stranger can read here, not a parser.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::{Exception, settle};
use skyline_flux::telemetry::catalog::metrics;
use source::{Source, read, root, sources};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn glommio_is_imported_only_by_the_runtime() {
    let findings = rules::words(&sources(), &["glommio"]);
    settle(
        findings,
        &[Exception {
            at: "src/runtime/",
            reason: "it is the room that knows glommio",
        }],
    );
}

#[test]
fn clocks_are_read_only_at_the_edges() {
    let findings = rules::words(
        &sources(),
        &["Instant::now", "SystemTime::now", ".elapsed("],
    );
    settle(
        findings,
        &[
            Exception {
                at: "src/runtime/",
                reason: "the edge: it passes the time to everything else",
            },
            Exception {
                at: "src/cli.rs",
                reason: "`flux explain` judges points against the present",
            },
            Exception {
                at: "src/populate/fetch.rs",
                reason: "an edge: a fetch has a deadline for all its redirects together",
            },
            Exception {
                at: "src/preflight/listeners.rs",
                reason: "before the start: waits for the ports of a process that just ended",
            },
            Exception {
                at: "src/telemetry/log.rs",
                reason: "a line carries the time it was written",
            },
        ],
    );
}

#[test]
fn nothing_on_the_data_path_takes_a_lock() {
    let locks = [
        "Mutex",
        "RwLock",
        "Condvar",
        "OnceLock",
        "LazyLock",
        "static mut",
    ];
    settle(
        rules::words(&sources(), &locks),
        &[Exception {
            at: "src/last/embedded.rs",
            reason: "off the shards: its callers wait for a disk anyway",
        }],
    );
}

/// Each Pending poll of what glommio reads or receives, inside one of these, leaves a waker behind, until a
/// reference count overflows.
#[test]
fn who_waits_for_life_polls_one_thing_per_task() {
    const FOR_LIFE: [&str; 5] = ["mesh", "mail", "bell", "core", "ring/driver"];
    let all = sources();
    let is = |path: &str| {
        FOR_LIFE
            .iter()
            .any(|name| path == format!("src/runtime/{name}.rs"))
    };
    let mesh: Vec<Source> = all.into_iter().filter(|s| is(&s.path)).collect();
    assert_eq!(mesh.len(), FOR_LIFE.len());
    let combinators = [
        "select",
        "or(",
        "race",
        "FuturesUnordered",
        "try_join",
        "zip(",
    ];
    settle(rules::words(&mesh, &combinators), &[]);
}

#[test]
fn the_arrows_of_the_map_only_go_down() {
    let map = rules::map(&read(&root().join("src/lib.rs")));
    assert!(
        map.len() > 8,
        "the map in src/lib.rs was not found: {map:?}"
    );
    settle(rules::arrows(&sources(), &map), &[]);
}

#[test]
fn nothing_panics_or_prints_in_passing() {
    let words = [
        ".unwrap()",
        "todo!",
        "unimplemented!",
        "dbg!",
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
    ];
    settle(rules::words(&sources(), &words), &[]);
}

#[test]
fn files_and_functions_stay_readable() {
    let all = sources();
    let mut findings = rules::long_files(&all, FILE_LINES_MAX);
    findings.extend(rules::long_functions(&all, FUNCTION_LINES_MAX));
    settle(findings, &[]);
}

#[test]
fn every_metric_is_documented() {
    let page = read(&root().join("docs/operating.md"));
    let names: Vec<&str> = metrics().map(|metric| metric.name).collect();
    let missing = rules::undocumented(&page, &names);
    assert!(missing.is_empty(), "not in docs/operating.md: {missing:?}");
    let known = |name: &&str| !names.contains(name);
    let gone: Vec<&str> = rules::table_names(&page)
        .into_iter()
        .filter(known)
        .collect();
    assert!(
        gone.is_empty(),
        "documented and not in the catalog: {gone:?}"
    );
}

#[test]
fn every_key_is_documented() {
    let page = read(&root().join("docs/configuration.md"));
    let paths = skyline_flux::config::paths();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let missing = rules::undocumented(&page, &paths);
    assert!(
        missing.is_empty(),
        "not in docs/configuration.md: {missing:?}"
    );
}

#[test]
fn links_between_the_pages_lead_somewhere() {
    let broken = rules::broken_links(&root());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A rule that cannot fail is worth nothing: each is shown what it is there to find.
#[test]
fn the_rules_find_what_they_look_for() {
    let text = r##"
        //! Mutex in a comment
        use crate::{point, runtime::{self, mesh}};
        const A: &str = "Mutex \" dbg!(";
        const B: &[u8] = br#"Mutex "inside" "#;
        fn short<'a>(c: &'a char) -> bool { *c == '"' || *c == '\'' }
        fn long(a: [u8; 3]) {
            /* Mutex /* nested */ Mutex */
            Mutex::new(1).lock().unwrap();
            eprintln!("x");
        }
        #[cfg(test)]
        mod tests {
            fn f() { RwLock::new(1); println!("}"); }
        }
        struct MutexLike;
        "##;
    let bad = [Source::new("src/http/bad.rs", text)];
    let found = |words: &[&str]| -> Vec<String> {
        let findings = rules::words(&bad, words);
        findings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(found(&["Mutex"]), ["src/http/bad.rs:9: Mutex"]);
    assert_eq!(found(&["RwLock", "dbg!", "println!"]), [""; 0]);
    assert_eq!(found(&[".unwrap()", "eprintln!"]).len(), 2);
    let functions = rules::long_functions(&bad, 4);
    assert_eq!(functions.len(), 1);
    assert_eq!(
        functions[0].to_string(),
        "src/http/bad.rs:7: fn long has 5 lines"
    );
    assert_eq!(rules::long_files(&bad, 13).len(), 0);
    assert_eq!(rules::long_files(&bad, 12).len(), 1);

    let map = rules::map(
        "//! | [`point`] | a |\n//! | [`http`], [`api`] | b |\n//! | [`runtime`] | c |\n",
    );
    let arrows = rules::arrows(&bad, &map);
    assert_eq!(arrows.len(), 1, "http may use point, not runtime");
    assert_eq!(
        arrows[0].to_string(),
        "src/http/bad.rs:3: http uses runtime"
    );
    let stranger = [Source::new("src/cellar/mod.rs", "fn f() {}")];
    assert_eq!(rules::arrows(&stranger, &map).len(), 1, "not on the map");

    assert_eq!(
        rules::undocumented("| `a_total` | b |", &["a_total", "a"]),
        ["a"]
    );
    let links = "[a](b.md) [c](https://d/e) [f](#g) [h](i/j.md#k \"title\")\n```\n[x](y)\n```\n";
    assert_eq!(rules::links(links), ["b.md", "i/j.md"]);
}
