//! Locked memory and open files. The soft limit is ours to raise up to the hard one, so only the
//! hard one can refuse a start.

use std::io;

use super::Refusal;
use super::kernel::Release;
use crate::config::Config;

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

pub fn memlock(kernel: &Release, executors: usize) -> Result<(), Refusal> {
    let mut needed_bytes = MEMLOCK_BYTES_MIN;
    if kernel.version < RINGS_UNCOUNTED_SINCE {
        needed_bytes = needed_bytes.max(executors as u64 * MEMLOCK_BYTES_PER_EXECUTOR);
    }
    let limit_bytes = raised(libc::RLIMIT_MEMLOCK, needed_bytes);
    if limit_bytes < needed_bytes {
        return Err(Refusal::MemLock {
            limit_bytes,
            needed_bytes,
        });
    }
    Ok(())
}

pub fn nofile(config: &Config, executors: usize) -> Result<(), Refusal> {
    let connections_max = config.http.connections_max;
    let listeners = config.http.listen.len() as u64;
    let besides = FILES_BASE + executors as u64 * (FILES_PER_EXECUTOR + listeners);
    let needed = besides + u64::from(connections_max);
    let limit = raised(libc::RLIMIT_NOFILE, needed);
    if limit < needed {
        return Err(Refusal::NoFile {
            limit,
            needed,
            connections_max,
            lower: match limit.checked_sub(besides) {
                Some(fit) if fit > 0 => format!("write http.connections_max = {fit}"),
                _ => "write a smaller cpu.shards and http.connections_max".to_owned(),
            },
        });
    }
    Ok(())
}

/// The soft limit, raised to the hard one if it is below what is needed.
fn raised(resource: libc::__rlimit_resource_t, needed: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid struct that outlives them.
    unsafe {
        if libc::getrlimit(resource, &mut limit) != 0 {
            // Cannot happen for a known resource; then the start itself will tell.
            return u64::MAX;
        }
        if limit.rlim_cur < needed {
            let all = libc::rlimit {
                rlim_cur: limit.rlim_max,
                rlim_max: limit.rlim_max,
            };
            if libc::setrlimit(resource, &all) == 0 {
                return all.rlim_cur;
            }
            debug_assert!(
                false,
                "raising to the hard limit: {}",
                io::Error::last_os_error()
            );
        }
    }
    limit.rlim_cur
}
