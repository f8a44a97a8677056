//! What a machine cannot do is told, and counted in the summary of `make test`. Where root and loop devices are,
//! nothing may be left out.

use std::io::Write;
use std::path::Path;

/// The file that tests/all.sh counts the lines of.
const LIST: &str = "FLUX_SKIPPED";

pub fn skipped(what: &str, why: &str) {
    // SAFETY: a plain system call.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(
        !(root && Path::new("/dev/loop-control").exists()),
        "left out where it could be done: {what}: {why}"
    );
    println!("skipped: {what}: {why}");
    if let Some(list) = std::env::var_os(LIST) {
        let opened = std::fs::OpenOptions::new().append(true).open(list);
        let mut list = opened.expect("the list of tests/all.sh");
        writeln!(list, "{what}: {why}").expect("the list of tests/all.sh");
    }
}
