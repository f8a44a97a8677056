//! The kernel's age, and whether it lets us have an io_uring: asked by setting one up.

use std::io;

use super::Refusal;

/// glommio's floor, for the operations it probes.
const MINIMUM: (u32, u32) = (5, 8);

pub struct Release {
    pub text: String,
    pub version: (u32, u32),
}

pub fn release() -> Result<Release, Refusal> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    checked(text.trim().to_owned())
}

fn checked(text: String) -> Result<Release, Refusal> {
    let version = version(&text);
    // A release we cannot read is not held against a kernel: the ring itself is tried next.
    if version.is_some_and(|version| version < MINIMUM) {
        return Err(Refusal::Kernel { release: text });
    }
    Ok(Release {
        text,
        version: version.unwrap_or(MINIMUM),
    })
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub fn io_uring() -> Result<(), Refusal> {
    // struct io_uring_params: 120 bytes, all zero = nothing asked for.
    let mut params = [0u64; 15];
    // SAFETY: `params` is as large as the kernel's struct, aligned, and outlives the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, params.as_mut_ptr()) };
    if ring >= 0 {
        // SAFETY: the descriptor was just returned to us and nobody else knows it.
        unsafe { libc::close(ring as libc::c_int) };
        return Ok(());
    }
    let why = io::Error::last_os_error();
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Err(cause(why, sysctl.ok().as_deref(), filtered(&status)))
}

/// Whether a seccomp filter is in force.
fn filtered(status: &str) -> bool {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("Seccomp:"))
        .any(|mode| mode.trim() == "2")
}

fn cause(why: io::Error, sysctl: Option<&str>, filtered: bool) -> Refusal {
    let sysctl = sysctl.map_or("0", str::trim);
    match why.raw_os_error() {
        Some(libc::EPERM) if sysctl != "0" => Refusal::IoUringSysctl {
            value: sysctl.to_owned(),
        },
        Some(libc::EPERM) => Refusal::IoUringSeccomp { errno: "EPERM" },
        // A kernel without io_uring answers the same; without a filter it must be that.
        Some(libc::ENOSYS) if filtered => Refusal::IoUringSeccomp { errno: "ENOSYS" },
        Some(libc::ENOSYS) => Refusal::IoUringMissing,
        Some(libc::ENOMEM) => Refusal::IoUringMemory,
        _ => Refusal::IoUring(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_before_5_8_is_refused_and_one_that_does_not_say_is_not() {
        for (text, read) in [
            ("6.18.44-fc-v657", Some((6, 18))),
            ("5.8.0", Some((5, 8))),
            ("5.10.0-28-amd64", Some((5, 10))),
            ("5.7.19", None),
            ("4.18.0-553.el8", None),
            ("", Some(MINIMUM)),
        ] {
            let version = checked(text.to_owned()).ok().map(|kernel| kernel.version);
            assert_eq!(version, read, "{text}");
        }
    }

    #[test]
    fn each_answer_of_the_kernel_has_its_own_cause() {
        let refused = |errno, sysctl, filtered| {
            let refusal = cause(io::Error::from_raw_os_error(errno), sysctl, filtered);
            refusal.to_string()
        };
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
            let said = refused(errno, sysctl, filtered);
            assert!(said.contains(word) && said.contains("; "), "{said}");
        }
    }

    #[test]
    fn the_filter_is_seen_in_the_process_status() {
        assert!(filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!filtered("Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t2\n"));
    }
}
