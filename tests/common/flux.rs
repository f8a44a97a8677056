//! The program under test: started as a user starts it, watched through what it shows a user.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use super::cgroup::MemoryLimit;
use super::http::Client;
use super::process::Daemon;
use super::shim::Shim;
use super::{PATIENCE, free_port, wait_until};

/// The key the tests send; any 32 letters and digits will do.
pub const KEY: &str = "abcdefghijklmnopqrstuvwxyz012345";

/// What can be said about a start before it happens.
pub struct Builder {
    settings: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    descriptors_max: Option<u64>,
    /// Listening sockets that are handed over as systemd does, and what they are called.
    activated: Vec<RawFd>,
    activated_name: String,
    /// What runs the program in its own stead.
    through: Vec<String>,
    /// A control group's file to enter it by.
    entrance: Option<CString>,
    /// Mounted over /etc/hosts, for this process alone.
    hosts: Option<CString>,
    port: u16,
    admin_port: u16,
}

impl Builder {
    /// One line of the configuration file: a dotted key, and its value as TOML.
    pub fn set(mut self, key: &str, value: impl ToString) -> Builder {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    pub fn unset(mut self, key: &str) -> Builder {
        self.settings.remove(key);
        self
    }

    pub fn set_text(self, key: &str, value: &str) -> Builder {
        self.set(key, format!("{value:?}"))
    }

    pub fn carbon(self, endpoint: &str) -> Builder {
        self.set_text("carbon.endpoint", endpoint)
    }

    pub fn redis(self, url: &str) -> Builder {
        self.set_text("last.store", url)
    }

    pub fn shards(self, count: u32) -> Builder {
        self.set("cpu.shards", count)
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Builder {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn arg(mut self, argument: &str) -> Builder {
        self.arguments.push(argument.to_owned());
        self
    }

    /// RLIMIT_NOFILE of the process.
    pub fn descriptors_max(mut self, count: u64) -> Builder {
        self.descriptors_max = Some(count);
        self
    }

    pub fn activated(mut self, descriptors: Vec<RawFd>) -> Builder {
        self.activated = descriptors;
        self
    }

    pub fn activated_name(mut self, name: &str) -> Builder {
        self.activated_name = name.to_owned();
        self
    }

    /// Started by these words, which become the program that follows them.
    pub fn through(mut self, words: &[&str]) -> Builder {
        self.through = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Where clients find it when it does not bind that itself.
    pub fn at_port(mut self, port: u16) -> Builder {
        self.port = port;
        self
    }

    pub fn memory(mut self, limit: &MemoryLimit) -> Builder {
        self.entrance = Some(c_path(&limit.entrance()));
        self
    }

    pub fn hosts(mut self, file: &Path) -> Builder {
        self.hosts = Some(c_path(file));
        self
    }

    pub fn shim(mut self, shim: &Shim) -> Builder {
        let environment = shim.environment();
        let variables = environment.map(|(name, value)| (name.to_owned(), value));
        self.environment.extend(variables);
        self
    }

    /// Started, and ready to serve.
    pub fn start(self) -> Flux {
        let mut flux = self.launch();
        flux.wait_ready();
        flux
    }

    /// Started only: for a start that is expected to be refused.
    pub fn launch(self) -> Flux {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let daemon = spawn(&self, dir.path());
        Flux {
            port: self.port,
            admin_port: self.admin_port,
            daemon,
            dir,
            builder: self,
        }
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path of our own")
}

fn checked(status: libc::c_int) -> std::io::Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The first descriptor of `LISTEN_FDS`.
const FIRST_ACTIVATED: RawFd = 3;
/// Above all that a test has open.
const ASIDE: RawFd = 900;

fn duplicated(from: RawFd, to: RawFd) -> std::io::Result<()> {
    // SAFETY: a plain system call.
    match unsafe { libc::dup2(from, to) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// In the child, between fork and exec. Only system calls on what was made before: nothing here may
/// allocate.
fn confine(
    descriptors: Option<&libc::rlimit>,
    activated: &[RawFd],
    entrance: Option<&CStr>,
    hosts: Option<&CStr>,
) -> std::io::Result<()> {
    // SAFETY: plain system calls; every pointer is to a value that outlives them.
    unsafe {
        if let Some(limit) = descriptors {
            checked(libc::setrlimit(libc::RLIMIT_NOFILE, limit))?;
        }
        // Where systemd's protocol wants them; out of the way first, so that none is overwritten before its turn.
        for (number, descriptor) in (0..).zip(activated) {
            duplicated(*descriptor, ASIDE + number)?;
        }
        for number in 0..activated.len() as RawFd {
            duplicated(ASIDE + number, FIRST_ACTIVATED + number)?;
            checked(libc::close(ASIDE + number))?;
        }
        if let Some(path) = entrance {
            let file = libc::open(path.as_ptr(), libc::O_WRONLY);
            if libc::write(file, c"0".as_ptr().cast(), 1) != 1 {
                return Err(std::io::Error::last_os_error());
            }
            checked(libc::close(file))?;
        }
        if let Some(path) = hosts {
            let none = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            checked(libc::unshare(libc::CLONE_NEWNS))?;
            checked(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
            let target = c"/etc/hosts".as_ptr();
            let bound = libc::mount(path.as_ptr(), target, none, libc::MS_BIND, none.cast());
            checked(bound)?;
        }
    }
    Ok(())
}

fn write_config(builder: &Builder, dir: &Path) {
    let config: String = builder
        .settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    fs::write(dir.join("flux.toml"), config).expect("a file of our own");
}

fn spawn(builder: &Builder, dir: &Path) -> Daemon {
    write_config(builder, dir);
    // Another build can be judged by the same tests: a release one, an installed one.
    let program = std::env::var("FLUX_UNDER_TEST");
    let program = program.as_deref().unwrap_or(env!("CARGO_BIN_EXE_flux"));
    let mut command = match builder.activated.len() {
        0 => {
            let words = builder.through.iter().map(String::as_str);
            let mut words = words.chain([program]);
            let mut command = Command::new(words.next().expect("the program at least"));
            command.args(words);
            command
        }
        // LISTEN_PID is the process's own, which nobody but itself knows before it runs.
        count => {
            let mut shell = Command::new("sh");
            let names = vec![builder.activated_name.as_str(); count].join(":");
            shell
                .args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\"", program])
                .env("LISTEN_FDS", count.to_string())
                .env("LISTEN_FDNAMES", names);
            shell
        }
    };
    command
        .args(["run", "--config", "flux.toml"])
        .args(&builder.arguments)
        .current_dir(dir);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLUX_")) {
        command.env_remove(name);
    }
    command.envs(builder.environment.iter().map(|(k, v)| (k, v)));
    let descriptors = builder.descriptors_max.map(|count| libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    });
    let (entrance, hosts) = (builder.entrance.clone(), builder.hosts.clone());
    let activated = builder.activated.clone();
    // SAFETY: `confine` makes system calls only.
    unsafe {
        command.pre_exec(move || {
            confine(
                descriptors.as_ref(),
                &activated,
                entrance.as_deref(),
                hosts.as_deref(),
            )
        });
    }
    Daemon::spawn("flux", &mut command)
}

pub struct Flux {
    pub port: u16,
    pub admin_port: u16,
    pub daemon: Daemon,
    dir: TempDir,
    builder: Builder,
}

impl Flux {
    /// Loopback ports of its own, a data folder of its own, [`KEY`]; all else as the program has it.
    pub fn builder() -> Builder {
        let (port, admin_port) = (free_port(), free_port());
        let builder = Builder {
            settings: BTreeMap::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            descriptors_max: None,
            activated: Vec::new(),
            activated_name: "http".to_owned(),
            through: Vec::new(),
            entrance: None,
            hosts: None,
            port,
            admin_port,
        };
        builder
            .set_text("data_dir", "data")
            .set_text("http.listen", &format!("127.0.0.1:{port}"))
            .set_text("admin.listen", &format!("127.0.0.1:{admin_port}"))
            .set_text("keys.self", KEY)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        let written = self.builder.settings["data_dir"].trim_matches('"');
        self.dir.path().join(written)
    }

    /// From the next start on.
    pub fn change(&mut self, change: impl FnOnce(Builder) -> Builder) {
        let blank = Builder {
            settings: BTreeMap::new(),
            environment: Vec::new(),
            arguments: Vec::new(),
            descriptors_max: None,
            activated: Vec::new(),
            activated_name: "http".to_owned(),
            through: Vec::new(),
            entrance: None,
            hosts: None,
            ..self.builder
        };
        self.builder = change(std::mem::replace(&mut self.builder, blank));
    }

    /// Changes the configuration's file and has it read again; `ok`: whether it is expected to be taken. Returns
    /// when it was, or was refused.
    pub fn reload(&mut self, ok: bool, change: impl FnOnce(Builder) -> Builder) {
        self.change(change);
        write_config(&self.builder, self.dir.path());
        let outcome = if ok { "ok" } else { "refused" };
        let before = self.reloads(outcome);
        self.daemon.signal(libc::SIGHUP);
        wait_until(&format!("a reload is {outcome}"), || {
            self.reloads(outcome) > before
        });
    }

    fn reloads(&self, outcome: &str) -> f64 {
        let label = format!("outcome=\"{outcome}\"");
        self.metrics().with("flux_config_reloads_total", &label)
    }

    pub fn wait_ready(&mut self) {
        let admin_port = self.admin_port;
        wait_until("flux is ready", || {
            assert!(self.daemon.exited().is_none(), "{}", self.daemon.said());
            ready(admin_port)
        });
    }

    pub fn is_ready(&self) -> bool {
        ready(self.admin_port)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// One POST on a connection of its own.
    pub fn post(&self, body: &str) -> super::http::Answer {
        self.client().post(body)
    }

    pub fn metrics(&self) -> Metrics {
        let answer = Client::connect(self.admin_port).get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.body)
    }

    /// Waits until the sum of a metric's series is exactly this.
    pub fn wait_metric(&self, name: &str, expected: f64) {
        let mut seen = f64::NAN;
        wait_until(&format!("{name} is {expected}"), || {
            seen = self.metrics().sum(name);
            seen == expected
        });
    }

    /// What `DATA/points.carbon` holds, in carbon's line protocol.
    pub fn points_file(&self) -> Vec<String> {
        let file = self.data_dir().join("points.carbon");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn sigterm(&self) {
        self.daemon.signal(libc::SIGTERM);
    }

    /// SIGTERM, and the exit status it led to.
    pub fn stop(&mut self) -> ExitStatus {
        self.sigterm();
        self.daemon.wait_exit(PATIENCE)
    }

    pub fn stop_within(&mut self, limit: Duration) -> ExitStatus {
        self.sigterm();
        self.daemon.wait_exit(limit)
    }

    pub fn kill9(&mut self) {
        self.daemon.kill9();
    }

    /// The same configuration, folder and ports, after [`Flux::stop`] or [`Flux::kill9`].
    pub fn start_again(&mut self) {
        self.launch_again();
        self.wait_ready();
    }

    /// As [`Flux::start_again`], without waiting until it serves.
    pub fn launch_again(&mut self) {
        assert!(self.daemon.exited().is_some(), "it still runs");
        self.daemon = spawn(&self.builder, self.dir.path());
    }

    /// User and system CPU time of the process so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.daemon.pid()));
        let stat = stat.expect("it runs");
        // The name in the second field may hold anything; what follows its bracket does not.
        let (_, fields) = stat.rsplit_once(") ").expect("a stat line");
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        // USER_HZ is 100 on every Linux that matters here.
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory now, and the most it ever was, in bytes.
    pub fn resident(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid()));
        let status = status.expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.expect("a field").trim().trim_end_matches(" kB");
            1024 * number.parse::<u64>().expect("a number")
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Names and sizes of what the journal's folder holds.
    pub fn journal_files(&self) -> BTreeMap<String, u64> {
        let Ok(folder) = fs::read_dir(self.data_dir().join("journal")) else {
            return BTreeMap::new();
        };
        // A segment may be deleted while we look.
        let sized = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, entry.metadata().ok()?.len()))
        };
        folder.flatten().filter_map(sized).collect()
    }

    /// Changes RLIMIT_NOFILE of the running process.
    pub fn limit_descriptors(&self, count: u64) {
        let limit = libc::rlimit {
            rlim_cur: count,
            rlim_max: count,
        };
        // SAFETY: a plain system call on our own child, reading a value that outlives it.
        let status = unsafe {
            libc::prlimit(
                self.daemon.pid() as libc::pid_t,
                libc::RLIMIT_NOFILE,
                &limit,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(status, 0, "our own child takes a lower limit");
    }

    /// Open descriptors of the process.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.daemon.pid());
        fs::read_dir(folder).expect("it runs").count()
    }
}

fn ready(admin_port: u16) -> bool {
    let Ok(mut client) = Client::try_connect(admin_port) else {
        return false;
    };
    let probe = super::http::request("GET", "/readyz", &[], b"");
    client.try_send(&probe).is_ok()
        && matches!(client.try_answer(), Ok(Some(answer)) if answer.status == 200)
}

/// A scrape: every series with its labels, as written.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        let series = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
                (series.to_owned(), value)
            });
        Metrics(series.collect())
    }

    /// All series of a metric together; 0 without one.
    pub fn sum(&self, name: &str) -> f64 {
        self.matching(name, "").sum()
    }

    /// The series of a metric that have this label, written `kind="same"`, together.
    pub fn with(&self, name: &str, label: &str) -> f64 {
        self.matching(name, label).sum()
    }

    fn matching(&self, name: &str, label: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(name)?;
            let ours = labels.is_empty() || labels.starts_with('{');
            (ours && labels.contains(label)).then_some(*value)
        })
    }
}
