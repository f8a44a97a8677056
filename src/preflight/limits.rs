//! Locked memory and open files: the soft limit is ours to raise up to the hard one, so only the hard
//! one can refuse a start.

use std::io;

use crate::tune::Wishes;
use crate::tune::host::Host;
use crate::tune::needs;

pub fn raise(host: &Host, wishes: &Wishes) {
    raise_one(libc::RLIMIT_MEMLOCK, needs::memlock_bytes(host, wishes));
    raise_one(libc::RLIMIT_NOFILE, needs::files(wishes));
}

/// The soft limit goes to the hard one if it is below what is needed.
fn raise_one(resource: libc::__rlimit_resource_t, needed: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid struct that outlives them.
    unsafe {
        if libc::getrlimit(resource, &mut limit) != 0 || limit.rlim_cur >= needed {
            // The first cannot happen for a known resource; then the start itself will tell.
            return;
        }
        let all = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        let failed = libc::setrlimit(resource, &all) != 0;
        debug_assert!(
            !failed,
            "raising to the hard limit: {}",
            io::Error::last_os_error()
        );
    }
}
