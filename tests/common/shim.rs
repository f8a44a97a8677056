//! What a C library between the program and the kernel can do to it (`shim.c`, compiled by the test):
//! disk writes that fail or hang on chosen files, and a wall clock that jumps.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Pass = 0,
    /// EIO.
    Fail = 1,
    /// The call does not return before the verb is another one.
    Hold = 2,
}

pub struct Shim {
    dir: TempDir,
    control: File,
    pattern: String,
}

impl Shim {
    /// For files whose path contains `pattern`. `Err`: why this machine cannot do it.
    pub fn build(pattern: &str) -> Result<Shim, String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let source = dir.path().join("shim.c");
        fs::write(&source, include_str!("shim.c")).expect("a file of our own");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"])
            .current_dir(dir.path())
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let control = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(dir.path().join("control"))
            .expect("a file of our own");
        control.set_len(16).expect("a file of our own");
        Ok(Shim {
            dir,
            control,
            pattern: pattern.to_owned(),
        })
    }

    /// For the program's environment.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let path = |name: &str| -> PathBuf { self.dir.path().join(name) };
        [
            ("LD_PRELOAD", path("shim.so").display().to_string()),
            ("SHIM_CONTROL", path("control").display().to_string()),
            ("SHIM_PATTERN", self.pattern.clone()),
        ]
    }

    pub fn set(&self, verb: Verb) {
        self.write(0, &(verb as i32).to_ne_bytes());
    }

    /// Moves the program's wall clock to this many seconds from the true one.
    pub fn shift_clock(&self, seconds: i64) {
        self.write(8, &seconds.to_ne_bytes());
    }

    /// How many calls were failed or held so far.
    pub fn struck(&self) -> i32 {
        let mut bytes = [0; 4];
        self.control
            .read_exact_at(&mut bytes, 4)
            .expect("a file of our own");
        i32::from_ne_bytes(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.control
            .write_all_at(bytes, at)
            .expect("a file of our own");
    }
}
