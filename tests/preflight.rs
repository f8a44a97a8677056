//! Refused starts, each provoked by the real thing: a seccomp filter, a limit, a taken port, a held
//! lock. A refusal is one line with its cause and its cure, exits 1 and leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A refusal takes milliseconds; a start that was not refused serves until it is killed.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(20);

/// A start in a directory of its own, on ports that are free.
struct Start {
    directory: tempfile::TempDir,
    command: Command,
}

impl Start {
    fn new() -> Start {
        Start::with("")
    }

    /// `config` is put before a configuration that would start.
    fn with(config: &str) -> Start {
        let directory = tempfile::tempdir().unwrap();
        let admin = free_port();
        let file = format!("{config}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n");
        fs::write(directory.path().join("flux.toml"), file).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_flux"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FLUX_") {
                command.env_remove(name);
            }
        }
        command
            .args(["run", "--config", "flux.toml", "--data-dir", "a/data"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if !config.contains("listen") {
            command.args(["--listen", &format!("127.0.0.1:{}", free_port())]);
        }
        Start { directory, command }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs it and returns the one line, having checked what holds of every refusal.
    fn refused(&mut self) -> String {
        let before = listing(self.path());
        let mut child = self.command.spawn().unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > REFUSAL_DEADLINE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the start was not refused");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut said = String::new();
        child.stderr.unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("flux: ") && said.contains("; "), "{said}");
        assert_eq!(listing(self.path()), before, "{said}");
        said
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Every path below a directory.
fn listing(directory: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(listing(&path));
        }
        paths.push(path);
    }
    paths.sort();
    paths
}

/// What a container's profile does: io_uring_setup fails with `errno`, everything else passes.
fn refuse_io_uring(errno: i32) -> io::Result<()> {
    let [load, equal, answer] = [
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    ];
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        // The number of the system call stands first in seccomp's data.
        step(load, 0, 0, 0),
        step(equal, 0, 1, libc::SYS_io_uring_setup as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its filter outlive the calls.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn limit(resource: libc::__rlimit_resource_t, both: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: both,
        rlim_max: both,
    };
    // SAFETY: the struct is valid and outlives the call.
    match unsafe { libc::setrlimit(resource, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_seccomp_profile_without_io_uring_is_named() {
    for (errno, name) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let mut start = Start::new();
        // SAFETY: only system calls, no allocation.
        unsafe { start.command.pre_exec(move || refuse_io_uring(errno)) };
        let said = start.refused();
        let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        if errno == libc::EPERM && disabled.is_ok_and(|value| value.trim() != "0") {
            assert!(said.contains("kernel.io_uring_disabled"), "{said}");
        } else {
            assert!(
                said.contains(&format!("seccomp profile ({name})")),
                "{said}"
            );
        }
    }
}

#[test]
fn too_little_locked_memory_is_named_with_how_to_raise_it() {
    let mut start = Start::new();
    // SAFETY: one system call.
    unsafe {
        start
            .command
            .pre_exec(|| limit(libc::RLIMIT_MEMLOCK, 65_536))
    };
    let said = start.refused();
    assert!(said.contains("LimitMEMLOCK"), "{said}");
}

#[test]
fn too_few_open_files_is_refused_with_the_number_that_would_fit() {
    let mut start = Start::new();
    // SAFETY: one system call.
    unsafe { start.command.pre_exec(|| limit(libc::RLIMIT_NOFILE, 512)) };
    let said = start.refused();
    assert!(said.contains("nofile: 512 files"), "{said}");
    assert!(said.contains("write http.connections_max = "), "{said}");
}

#[test]
fn a_taken_port_is_refused_whichever_listener_it_was_meant_for() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let said = Start::with(&format!("http.listen = \"{taken}\"")).refused();
    assert!(
        said.contains(&format!("http.listen: {taken} is taken")),
        "{said}"
    );

    let mut start = Start::new();
    let file = format!("[admin]\nlisten = \"{taken}\"\n");
    fs::write(start.path().join("flux.toml"), file).unwrap();
    let said = start.refused();
    assert!(
        said.contains(&format!("admin.listen: {taken} is taken")),
        "{said}"
    );
}

#[test]
fn a_unix_socket_somebody_answers_on_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flux.sock");
    let _holder = UnixListener::bind(&path).unwrap();
    let said = Start::with(&format!("http.listen = \"unix:{}\"", path.display())).refused();
    assert!(said.contains("another process answers on"), "{said}");
}

#[test]
fn a_socket_for_lines_is_refused_under_its_own_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("line.sock");
    let _holder = UnixListener::bind(&path).unwrap();
    let free = free_port();
    let said = Start::with(&format!(
        "http.listen = \"127.0.0.1:{free}\"\nline.listen = \"unix:{}\"",
        path.display()
    ))
    .refused();
    assert!(
        said.contains("line.listen: another process answers on"),
        "{said}"
    );
}

#[test]
fn a_stale_unix_socket_stays_when_the_start_is_refused_for_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flux.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mut start = Start::with(&format!("http.listen = \"unix:{}\"", path.display()));
    fs::write(start.path().join("a"), "").unwrap();
    assert!(start.refused().contains("data_dir: "));
    assert!(path.exists());
}

#[test]
fn a_data_directory_that_cannot_be_is_refused() {
    let mut start = Start::new();
    fs::write(start.path().join("a"), "in the way").unwrap();
    let said = start.refused();
    assert!(said.contains("data_dir: a/data cannot be used"), "{said}");
}

#[test]
fn a_second_instance_on_the_same_data_directory_is_refused() {
    let mut start = Start::new();
    let data = start.path().join("a/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("lock"), "4711\n").unwrap();
    let held = File::open(data.join("lock")).unwrap();
    held.lock().unwrap();
    let said = start.refused();
    assert!(
        said.contains("another instance (process 4711) uses a/data"),
        "{said}"
    );
}

#[test]
fn a_bad_key_file_is_refused_and_nothing_made_for_the_start_stays() {
    let mut start = Start::new();
    let data = start.path().join("a/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("key"), "sesame").unwrap();
    fs::set_permissions(data.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = start.refused();
    assert!(said.contains("key: a/data/key does not hold"), "{said}");
    assert!(!said.contains("sesame"), "{said}");

    fs::set_permissions(data.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = start.refused();
    assert!(said.contains("chmod 600 a/data/key"), "{said}");
}

#[test]
fn a_populate_core_that_is_not_ours_is_refused() {
    let said = Start::with("cpu.populate_core = 9999").refused();
    assert!(said.contains("cpu.populate_core = 9999"), "{said}");
}
