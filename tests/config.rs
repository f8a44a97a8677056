//! Configuration files as people write them, and what `flux check` says about the wrong ones.
//!
//! `tests/config/valid/*.toml` load. Of each `tests/config/invalid/*.toml`, every problem stands in
//! the `.txt` beside it; run with `FLUX_BLESS=1` to write those anew, and read the difference.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skyline_flux::config::{Config, Overrides, Problems, load, render};

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(kind);
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(file: &Path) -> Result<Config, Problems> {
    load(Some(file), &|_| None, &Overrides::default())
}

fn flux(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flux"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FLUX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).output().unwrap()
}

#[test]
fn every_valid_file_loads_and_what_is_printed_of_it_loads_again() {
    let directory = tempfile::tempdir().unwrap();
    for file in fixtures("valid") {
        let config = read(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let mut printed = render(&config);
        assert!(!printed.contains("sesame"), "{}", file.display());
        // A store with a password is hidden whole, and some keys only go with a store in Redis.
        if printed.contains("# store = \"redis") {
            printed =
                printed.replacen("[last]\n", "[last]\nstore = \"redis://redis.example\"\n", 1);
        }
        let again = directory.path().join("printed.toml");
        std::fs::write(&again, printed).unwrap();
        let mut again = read(&again).unwrap();
        // Secrets are hidden, so they do not come back.
        again.keys = config.keys.clone();
        again.last.store = config.last.store.clone();
        assert_eq!(again, config, "{}", file.display());
    }
}

#[test]
fn every_problem_of_an_invalid_file_is_told_at_once_with_its_cure_and_no_secret() {
    for file in fixtures("invalid") {
        let said = match read(&file) {
            Ok(_) => panic!("{} was taken", file.display()),
            Err(problems) => format!("{problems}\n"),
        };
        assert!(!said.contains("sesame"), "{said}");
        for line in said.lines() {
            let (path, rest) = line.split_once(": ").expect(line);
            assert!(!path.is_empty() && rest.contains("; "), "{line}");
        }
        let expected = file.with_extension("txt");
        if std::env::var_os("FLUX_BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, expected, "{}", file.display());
    }
}

#[test]
fn check_ends_with_0_or_78_and_lists_every_problem_on_a_line_of_its_own() {
    for file in fixtures("valid") {
        let output = flux(&["check", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", file.display());
    }
    for file in fixtures("invalid") {
        let expected = std::fs::read_to_string(file.with_extension("txt")).unwrap();
        let expected: Vec<String> = expected
            .lines()
            .map(|line| format!("flux: {line}"))
            .collect();
        for command in ["check", "run", "config"] {
            let output = flux(&[command, "--config", file.to_str().unwrap()]);
            assert_eq!(
                output.status.code(),
                Some(78),
                "{command} {}",
                file.display()
            );
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn the_reference_page_is_what_flux_config_prints() {
    let output = flux(&["config"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        render(&Config::default())
    );
}

/// What stands in docs/configuration.md between this heading and the next.
const TABLE_HEADING: &str = "## Every key\n";

/// The page's table, from what `flux config` prints: one block for each key, its comments first.
fn table(printed: &str) -> String {
    let mut rows = String::from("\n| key | default | what it is |\n|---|---|---|\n");
    let mut section = String::new();
    for block in printed.trim_end().split("\n\n").skip(1) {
        let mut lines: Vec<&str> = block.lines().collect();
        if lines[0].starts_with('[') {
            section = format!("{}.", lines.remove(0).trim_matches(['[', ']']));
        }
        // A list takes several lines, of which the first names the key.
        let own = lines.iter().rposition(|line| line.contains(" = "));
        let line = lines[own.expect("the key's own line")];
        lines.truncate(own.unwrap_or_default());
        let words: Vec<&str> = lines.iter().map(|l| l.trim_start_matches("# ")).collect();
        let comment = words.join(" ").replace('<', "&lt;");
        let (what, default) = comment.split_once(" Default ").expect("a default");
        let (default, _why) = default.split_once(": ").expect("a reason");
        let key = line.trim_start_matches("# ").split(" = ").next();
        rows += &format!("| `{section}{}` | {default} | {what} |\n", key.expect(line));
    }
    rows + "\n"
}

#[test]
fn the_configuration_page_has_every_key_as_it_is_printed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(TABLE_HEADING).expect(TABLE_HEADING);
    let (found, after) = rest.split_once("## ").expect("a heading behind the table");
    let expected = table(&render(&Config::default()));
    let keys = |table: &str| table.matches("\n| `").count();
    assert_eq!(keys(&expected), skyline_flux::config::paths().len());
    if std::env::var_os("FLUX_BLESS").is_some() {
        let blessed = format!("{before}{TABLE_HEADING}{expected}## {after}");
        std::fs::write(&page, blessed).unwrap();
        return;
    }
    assert_eq!(
        found, expected,
        "run with FLUX_BLESS=1 and read the difference"
    );
}

#[test]
fn the_configuration_page_lists_what_a_reload_takes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, rest) = text.split_once("## What a reload takes\n").unwrap();
    let (_, rest) = rest.split_once("names it:\n\n").unwrap();
    let (list, _) = rest.split_once("\n\n").unwrap();
    let words = list.split_whitespace();
    let listed: Vec<&str> = words
        .map(|word| word.trim_matches(['`', ',', '.']))
        .collect();
    assert_eq!(listed, skyline_flux::config::LIVE);
}

/// Run with `FLUX_BLESS=1` to write the expected text anew, and read the difference.
#[test]
fn a_skyline_s_settings_become_a_configuration_that_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/skyline");
    let settings = folder.join("settings.py");
    let output = flux(&["config", "--from-skyline", settings.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = folder.join("flux.toml");
    if std::env::var_os("FLUX_BLESS").is_some() {
        std::fs::write(&expected, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&expected).unwrap());

    let output = flux(&["check", "--config", expected.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let config = read(&expected).unwrap();
    assert_eq!(config.keys.namespaces.len(), 4);
    assert_eq!(
        config.carbon.endpoint,
        Some(("graphite.example".to_owned(), 2004))
    );
    // Every setting of these parts is told, whatever became of it.
    let source = std::fs::read_to_string(&settings).unwrap();
    let names = source.lines().filter_map(|line| line.split(" = ").next());
    for name in names.map(str::trim).filter(|name| {
        [
            "FLUX_",
            "VISTA_",
            "REDIS_",
            "GRAPHITE_",
            "SKYLINE_METRICS_CARBON_",
            "PROMETHEUS_",
            "VORTEX_",
            "MEMCACHE",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    }) {
        assert!(text.contains(name), "{name} is not told");
    }
    assert!(
        !text.contains("too-short"),
        "a key that is left out is not shown"
    );
}

/// The settings that the reference documents, whichever they are, stand in the file that is converted above, and
/// something is said of each.
#[test]
fn every_documented_setting_of_a_skyline_is_converted_or_named() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(reference) = std::fs::read_to_string(root.join("../shared/reference.md")) else {
        println!("skipped: no reference here to take the settings from");
        return;
    };
    let (_, rest) = reference.split_once("## 13. Settings").unwrap();
    let (section, _) = rest.split_once("## 14").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    // `FLUX_CARBON_HOST / PORT / PICKLE_PORT`: the last ones lack what the first begins with.
    let parts = ["PICKLE_PORT", "RENDER_URI"];
    let names: Vec<&str> = cells
        .flat_map(|cell| cell.split(|c| !is_part(c)))
        .filter(|name| name.contains('_') && !parts.contains(name))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let folder = root.join("tests/config/skyline");
    let settings = std::fs::read_to_string(folder.join("settings.py")).unwrap();
    let converted = std::fs::read_to_string(folder.join("flux.toml")).unwrap();
    for name in names {
        assert!(
            settings.contains(&format!("\n{name} = ")),
            "{name} is not among the settings that are converted"
        );
        // What belongs to another that is switched off is said of that one.
        let silent = ["FULL_DURATION"];
        assert!(
            converted.contains(name) || silent.contains(&name),
            "nothing is said of {name}"
        );
    }
}

#[test]
fn settings_that_cannot_be_read_are_named_with_the_cure() {
    let output = flux(&["config", "--from-skyline", "/nonexistent/settings.py"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/nonexistent/settings.py") && said.contains("; "),
        "{said}"
    );
}
