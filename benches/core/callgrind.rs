//! This program again, under callgrind.

use crate::case::{Bytes, Case};
use crate::rig::Rig;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Counted as what a request costs. A function of its own that is never inlined: callgrind finds it by its name.
#[inline(never)]
pub fn answered(rig: &mut Rig, reads: &mut [Bytes]) {
    rig.read_to_answers(reads);
}

/// Counted as what comes after the answer.
#[inline(never)]
pub fn delivered(rig: &mut Rig) {
    rig.frames_to_marks();
}

fn output(counted: &str) -> PathBuf {
    let name = format!("flux-bench-{}-{counted}.callgrind", std::process::id());
    std::env::temp_dir().join(name)
}

/// Runs a case, counting inside one of the two functions; `None` without valgrind.
fn run(case: &Case, counted: &str, output: &Path) -> Option<()> {
    let program = std::env::current_exe().expect("Linux knows what it runs");
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect=core::callgrind::{counted}*"))
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(program)
        .args(["--run", case.name])
        .stderr(Stdio::null())
        .status()
        .ok()?;
    assert!(status.success(), "{} failed under valgrind", case.name);
    Some(())
}

/// Instructions of all turns of a case.
pub fn count(case: &Case, counted: &str) -> Option<u64> {
    let output = output(counted);
    run(case, counted, &output)?;
    let text = std::fs::read_to_string(&output).expect("callgrind wrote it");
    let _ = std::fs::remove_file(&output);
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    let total = total.expect("callgrind writes a total");
    assert!(total > 0, "callgrind did not find the function {counted}");
    Some(total)
}

/// The functions that a case spends its instructions in.
pub fn profile(case: &Case) {
    let output = output("profile");
    run(case, "answered", &output).expect("valgrind is there");
    let annotate = Command::new("callgrind_annotate").arg(&output).status();
    assert!(annotate.expect("it comes with valgrind").success());
    println!("kept in {}", output.display());
}
