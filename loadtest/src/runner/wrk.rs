//! wrk under one of the scripts in `loadtest/wrk`, which prints what our generator prints.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::generator::{self, Form, Offered};
use crate::process::pinned;
use crate::target::{LOAD_CPU, Target};
use crate::{KEY, Result};

pub struct Wrk {
    script: String,
    connections: usize,
    first_timestamp: u32,
    pool: Option<(TempDir, PathBuf)>,
}

/// Bodies of the pool: so many for each of so many timestamps.
const POOL_BODIES: usize = 40;
const POOL_TIMESTAMPS: u32 = 800;
const POOL_POINTS: usize = 450;

impl Wrk {
    pub fn new(script: &str, connections: usize, first_timestamp: u32) -> Result<Wrk> {
        Ok(Wrk {
            script: script.to_owned(),
            connections,
            first_timestamp,
            pool: match script {
                "gzip.lua" => Some(pool(first_timestamp).map_err(|error| error.to_string())?),
                _ => None,
            },
        })
    }

    pub fn run(&self, target: &Target, seconds: f64) -> Result<Offered> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("wrk");
        let form = match target.form {
            Form::Flux => "flux",
            Form::Opentsdb => "opentsdb",
        };
        let mut command = pinned(LOAD_CPU, "wrk");
        command
            .args(["-t1", &format!("-c{}", self.connections)])
            .arg(format!("-d{}s", seconds.ceil()))
            .arg("-s")
            .arg(scripts.join(&self.script))
            .arg(format!("http://127.0.0.1:{}/", target.port))
            .env("LOAD_DIR", &scripts)
            .env("LOAD_KEY", KEY)
            .env("LOAD_FORM", form)
            .env("LOAD_FROM", target.timestamp.to_string());
        if let Some((_, path)) = &self.pool {
            command
                .env("LOAD_POOL", path)
                .env("LOAD_POOL_FROM", self.first_timestamp.to_string());
        }
        let output = command.output().map_err(|error| format!("wrk: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("LOAD "));
        let errors = String::from_utf8_lossy(&output.stderr);
        let line = line.ok_or_else(|| {
            format!("wrk is missing (run tests/install.sh) or failed: {text}{errors}")
        })?;
        serde_json::from_str(line).map_err(|error| format!("wrk: {error}: {line:.200}"))
    }
}

fn pool(first_timestamp: u32) -> std::io::Result<(TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("pool");
    let mut file = std::io::BufWriter::new(File::create(&path)?);
    writeln!(file, "{POOL_BODIES}")?;
    let mut bodies = generator::plain(POOL_BODIES, POOL_POINTS, first_timestamp);
    for _ in 0..POOL_BODIES * POOL_TIMESTAMPS as usize {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let number = bodies.next()?;
        encoder.write_all(bodies.body(number))?;
        bodies.free(number);
        let packed = encoder.finish()?;
        writeln!(file, "{}", packed.len())?;
        file.write_all(&packed)?;
    }
    file.flush()?;
    Ok((dir, path))
}
