//! What the service cannot run without. Pure. A start is refused for it, and `flux tune check` shows it:
//! both go by the items of the list that have a need.

use std::io;

use super::Wishes;
use super::host::Host;

/// glommio's floor, for the operations it probes.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// glommio refuses to start an executor below this, whatever the kernel accounts.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Kernels before 5.12 count the rings as locked memory: an executor's three take about 60 KiB,
/// and its 64 KiB of buffers are registered with each of them.
const MEMLOCK_BYTES_PER_EXECUTOR: u64 = 256 * 1024;
const RINGS_UNCOUNTED_SINCE: (u32, u32) = (5, 12);

/// The process: standard streams, the last store's files, the admin listener and its clients.
const FILES_BASE: u64 = 64;
/// An executor: three rings, its event, its connections to carbon and the last store, and spares.
const FILES_PER_EXECUTOR: u64 = 32;

/// The cause and the cure, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("kernel: {release} is too old; run Linux 5.8 or newer")]
    Kernel { release: String },
    #[error(
        "io_uring: switched off by the sysctl kernel.io_uring_disabled = {value}; \
         run: sysctl -w kernel.io_uring_disabled=0"
    )]
    IoUringSysctl { value: String },
    #[error(
        "io_uring: refused by a seccomp profile ({errno}), as Docker's default one does; allow \
         io_uring_setup, io_uring_enter and io_uring_register in it, or run with \
         --security-opt seccomp=unconfined"
    )]
    IoUringSeccomp { errno: &'static str },
    #[error("io_uring: this kernel was built without it; run one built with CONFIG_IO_URING=y")]
    IoUringMissing,
    #[error(
        "io_uring: not enough locked memory for a ring (ENOMEM); \
         raise it: LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (Docker) or ulimit -l"
    )]
    IoUringMemory,
    #[error("io_uring: a ring cannot be set up ({0}); run a kernel and a container that allow it")]
    IoUring(io::Error),
    #[error(
        "memlock: {limit_bytes} bytes may be locked and {needed_bytes} are needed; \
         raise it: LimitMEMLOCK=infinity (systemd), --ulimit memlock=-1 (Docker) or ulimit -l"
    )]
    MemLock { limit_bytes: u64, needed_bytes: u64 },
    #[error(
        "nofile: {limit} files may be open and http.connections_max = {connections_max} needs \
         {needed}; raise it: LimitNOFILE={needed} (systemd), --ulimit nofile={needed} (Docker) or \
         ulimit -n, or {lower}"
    )]
    NoFile {
        limit: u64,
        needed: u64,
        connections_max: u32,
        /// What could be lowered instead, and to what.
        lower: String,
    },
}

pub fn kernel(host: &Host, _: &Wishes) -> Result<(), Fault> {
    let (release, version) = host.release();
    // A release we cannot read is not held against a kernel: the ring itself is tried next.
    if version.is_some_and(|version| version < KERNEL_MIN) {
        return Err(Fault::Kernel { release });
    }
    Ok(())
}

/// 1 leaves io_uring to a group and to the privileged: whether that is us, only a ring tells.
pub fn sysctl(host: &Host, _: &Wishes) -> Result<(), Fault> {
    match host.value("/proc/sys/kernel/io_uring_disabled") {
        Some(value) if value != "0" && value != "1" => Err(Fault::IoUringSysctl { value }),
        _ => Ok(()),
    }
}

pub fn ring(host: &Host, _: &Wishes) -> Result<(), Fault> {
    let Some(Err(errno)) = host.ring else {
        return Ok(());
    };
    let sysctl = host.value("/proc/sys/kernel/io_uring_disabled");
    let value = sysctl.unwrap_or_else(|| "0".to_owned());
    Err(match errno {
        libc::EPERM if value != "0" => Fault::IoUringSysctl { value },
        libc::EPERM => Fault::IoUringSeccomp { errno: "EPERM" },
        // A kernel without io_uring answers the same; without a filter it must be that.
        libc::ENOSYS if host.filtered() => Fault::IoUringSeccomp { errno: "ENOSYS" },
        libc::ENOSYS => Fault::IoUringMissing,
        libc::ENOMEM => Fault::IoUringMemory,
        errno => Fault::IoUring(io::Error::from_raw_os_error(errno)),
    })
}

pub fn memlock_bytes(host: &Host, wishes: &Wishes) -> u64 {
    match host.release().1 {
        Some(version) if version < RINGS_UNCOUNTED_SINCE => {
            MEMLOCK_BYTES_MIN.max(wishes.executors as u64 * MEMLOCK_BYTES_PER_EXECUTOR)
        }
        _ => MEMLOCK_BYTES_MIN,
    }
}

pub fn memlock(host: &Host, wishes: &Wishes) -> Result<(), Fault> {
    let needed_bytes = memlock_bytes(host, wishes);
    // Where the limits cannot be read the start itself will tell.
    let limit_bytes = host.limit(MEMLOCK).unwrap_or(u64::MAX);
    if limit_bytes < needed_bytes {
        return Err(Fault::MemLock {
            limit_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

/// Beside the clients' connections.
fn files_besides(wishes: &Wishes) -> u64 {
    FILES_BASE + wishes.executors as u64 * (FILES_PER_EXECUTOR + u64::from(wishes.listeners))
}

pub fn files(wishes: &Wishes) -> u64 {
    files_besides(wishes) + u64::from(wishes.connections_max)
}

pub fn nofile(host: &Host, wishes: &Wishes) -> Result<(), Fault> {
    let needed = files(wishes);
    let limit = host.limit(NOFILE).unwrap_or(u64::MAX);
    if limit < needed {
        return Err(Fault::NoFile {
            limit,
            needed,
            connections_max: wishes.connections_max,
            lower: match limit.checked_sub(files_besides(wishes)) {
                Some(fit) if fit > 0 => format!("write http.connections_max = {fit}"),
                _ => "write a smaller cpu.shards and http.connections_max".to_owned(),
            },
        });
    }
    Ok(())
}

/// Their lines in /proc/self/limits.
pub const MEMLOCK: &str = "Max locked memory";
pub const NOFILE: &str = "Max open files";

#[cfg(test)]
mod tests {
    use super::super::host::Reading;
    use super::*;

    fn host(files: &[(&str, &str)]) -> Host {
        let mut host = Host::default();
        for (path, text) in files {
            host.put((*path).to_owned(), Reading::Text((*text).to_owned()));
        }
        host
    }

    #[test]
    fn a_kernel_before_5_8_is_refused_and_one_that_does_not_say_is_not() {
        for (text, runs) in [
            ("6.18.44-fc-v657", true),
            ("5.8.0", true),
            ("5.7.19", false),
            ("4.18.0-553.el8", false),
            ("", true),
        ] {
            let host = host(&[("/proc/sys/kernel/osrelease", text)]);
            assert_eq!(kernel(&host, &Wishes::default()).is_ok(), runs, "{text}");
        }
    }

    #[test]
    fn each_answer_of_the_kernel_has_its_own_cause() {
        for (errno, sysctl, filtered, word) in [
            (libc::EPERM, Some("2\n"), false, "io_uring_disabled = 2"),
            (libc::EPERM, Some("1\n"), true, "io_uring_disabled = 1"),
            (libc::EPERM, Some("0\n"), true, "seccomp profile (EPERM)"),
            (libc::EPERM, None, true, "seccomp profile (EPERM)"),
            (libc::ENOSYS, None, true, "seccomp profile (ENOSYS)"),
            (libc::ENOSYS, None, false, "CONFIG_IO_URING"),
            (libc::ENOMEM, None, false, "LimitMEMLOCK"),
            (libc::EMFILE, None, false, "Too many open files"),
        ] {
            let status = if filtered {
                "Seccomp:\t2\n"
            } else {
                "Seccomp:\t0\n"
            };
            let mut host = host(&[("/proc/self/status", status)]);
            if let Some(value) = sysctl {
                let path = "/proc/sys/kernel/io_uring_disabled".to_owned();
                host.put(path, Reading::Text(value.to_owned()));
            }
            assert!(ring(&host, &Wishes::default()).is_ok(), "not tried");
            host.ring = Some(Err(errno));
            let said = ring(&host, &Wishes::default()).unwrap_err().to_string();
            assert!(said.contains(word) && said.contains("; "), "{said}");
        }
    }

    #[test]
    fn old_kernels_count_the_rings_as_locked_memory() {
        let wishes = Wishes {
            executors: 32,
            ..Wishes::default()
        };
        let needed = |release| {
            let host = host(&[("/proc/sys/kernel/osrelease", release)]);
            memlock_bytes(&host, &wishes)
        };
        assert_eq!(needed("5.12.0"), 512 * 1024);
        assert_eq!(needed("5.11.0"), 8 * 1024 * 1024);
        assert_eq!(needed("a kernel of its own"), 512 * 1024);
    }
}
