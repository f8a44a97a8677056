//! The programs that are compared, each alone on its CPU while it has its turn.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::experiment::{Contender, Kind};
use crate::generator::Form;
use crate::process::{Program, free_port, ourselves, pinned};
use crate::{KEY, Result, http};

/// The server alone on one CPU; wrk, the generator and the blackhole on the other.
pub const SERVER_CPU: usize = 0;
pub const LOAD_CPU: usize = 1;

pub struct Target {
    pub name: String,
    pub port: u16,
    pub form: Form,
    pub program: Program,
    /// Of the next point: each turn goes on where the last one ended, so that points stay new.
    pub timestamp: u32,
    pub admin: u16,
    pub blackhole: Option<Blackhole>,
    _dir: TempDir,
}

pub struct Blackhole {
    pub program: Program,
    pub report: u16,
}

pub fn installed(kind: Kind) -> bool {
    match kind {
        Kind::Flux => true,
        Kind::Nginx => path_of("nginx").is_some(),
        Kind::Victoria => path_of("victoria-metrics").is_some(),
    }
}

/// Debian's daemons live in sbin, which a plain user's PATH leaves out.
fn path_of(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut found = path.split(':').map(|dir| PathBuf::from(dir).join(program));
    found.find(|file| file.is_file())
}

fn command(program: &str) -> Result<Command> {
    let path =
        path_of(program).ok_or_else(|| format!("{program} is missing: run tests/install.sh"))?;
    Ok(pinned(SERVER_CPU, &path.to_string_lossy()))
}

impl Target {
    pub fn start(contender: &Contender, first_timestamp: u32) -> Result<Target> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (port, admin) = (free_port(), free_port());
        let mut blackhole = None;
        let program = match contender.program {
            Kind::Flux => {
                let carbon = free_port();
                blackhole = Some(Blackhole::start(carbon, &dir)?);
                flux(contender, &dir, [port, admin, carbon])?
            }
            Kind::Nginx => nginx(&dir, port)?,
            Kind::Victoria => victoria(&dir, port, admin)?,
        };
        Ok(Target {
            name: contender.name.clone(),
            port,
            form: match contender.program {
                Kind::Victoria => Form::Opentsdb,
                Kind::Flux | Kind::Nginx => Form::Flux,
            },
            program,
            timestamp: first_timestamp,
            admin,
            blackhole,
            _dir: dir,
        })
    }

    /// Whether it tells what it has counted.
    pub fn counts(&self) -> bool {
        self.blackhole.is_some() || self.form == Form::Opentsdb
    }

    pub fn scrape(&self) -> Result<String> {
        http::get(self.admin, "/metrics")
            .map_err(|error| format!("{}: {error}; {}", self.name, self.program.said()))
    }
}

impl Blackhole {
    fn start(carbon: u16, dir: &TempDir) -> Result<Blackhole> {
        let report = free_port();
        let mut command = ourselves(LOAD_CPU, "blackhole");
        command.args([carbon.to_string(), report.to_string()]);
        let mut program = Program::spawn("blackhole", &mut command, dir.path())?;
        program.wait(|| http::get(report, "/").is_ok())?;
        Ok(Blackhole { program, report })
    }
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf> {
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn flux(contender: &Contender, dir: &TempDir, [port, admin, carbon]: [u16; 3]) -> Result<Program> {
    let mut config = format!(
        "data_dir = {:?}\nhttp.listen = \"127.0.0.1:{port}\"\nadmin.listen = \"127.0.0.1:{admin}\"\n\
         carbon.endpoint = \"127.0.0.1:{carbon}\"\nkeys.self = \"{KEY}\"\n",
        dir.path().join("data")
    );
    if !contender.set.contains_key("cpu.shards") {
        config += "cpu.shards = 1\n";
    }
    for (key, value) in &contender.set {
        config += &format!("{key} = {value}\n");
    }
    let file = write(dir.path().join("flux.toml"), &config)?;
    let ours = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = pinned(SERVER_CPU, &ours.with_file_name("flux").to_string_lossy());
    command.arg("run").arg("--config").arg(file);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLUX_")) {
        command.env_remove(name);
    }
    let mut program = Program::spawn("flux", &mut command, dir.path())?;
    program.wait(|| http::get(admin, "/readyz").is_ok())?;
    Ok(program)
}

/// It parses the head, discards the body and answers 204: about the least a server can do.
fn nginx(dir: &TempDir, port: u16) -> Result<Program> {
    let path = dir.path().display();
    let config = format!(
        "daemon off; master_process off; pid {path}/nginx.pid; error_log stderr warn;\n\
         worker_rlimit_nofile 20000;\n\
         events {{ worker_connections 10000; }}\n\
         http {{\n\
           access_log off; keepalive_requests 1000000000; client_max_body_size 8m;\n\
           client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
           fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
           server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n\
         }}\n"
    );
    let file = write(dir.path().join("nginx.conf"), &config)?;
    let mut command = command("nginx")?;
    command.arg("-p").arg(dir.path()).arg("-c").arg(file);
    let mut program = Program::spawn("nginx", &mut command, dir.path())?;
    program.wait(|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(program)
}

fn victoria(dir: &TempDir, port: u16, admin: u16) -> Result<Program> {
    let mut command = command("victoria-metrics")?;
    command
        .arg(format!(
            "-storageDataPath={}",
            dir.path().join("data").display()
        ))
        .arg(format!("-httpListenAddr=127.0.0.1:{admin}"))
        .arg(format!("-opentsdbHTTPListenAddr=127.0.0.1:{port}"))
        .arg("-retentionPeriod=1");
    let mut program = Program::spawn("victoria", &mut command, dir.path())?;
    program.wait(|| {
        http::get(admin, "/health").is_ok() && TcpStream::connect(("127.0.0.1", port)).is_ok()
    })?;
    Ok(program)
}
