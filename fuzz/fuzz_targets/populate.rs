//! Nothing that a client posts, a remote answers or a damaged disk holds makes the populate room panic, and
//! what it reads of a jobs file it reads again from its own snapshot.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skyline_flux::populate::job::Remote;
use skyline_flux::populate::jobs::{JOBS_BYTES_MAX, Jobs, Limits};
use skyline_flux::populate::parse::{Keep, parse};
use skyline_flux::populate::{address::Address, literal};

fuzz_target!(|bytes: &[u8]| {
    let keep = Keep {
        after: None,
        before: u32::MAX,
        points_max: 100,
    };
    for remote in [Remote::Graphite, Remote::Prometheus] {
        let mut points = Vec::new();
        let read = parse(bytes, remote, &keep, &mut points);
        assert!(read.is_ok() || points.is_empty());
        assert!(points.iter().all(|(_, value)| value.is_finite()));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = literal::list(text);
        if let Ok(address) = Address::parse(text) {
            assert_eq!(Address::parse(address.url()).as_ref(), Ok(&address));
        }
    }
    let limits = Limits {
        jobs_max: 10,
        bytes_max: JOBS_BYTES_MAX,
    };
    if let Ok((mut jobs, _)) = Jobs::load(limits, bytes) {
        let (again, damage) = Jobs::load(limits, &jobs.snapshot()).expect("its own version");
        assert_eq!(damage, Default::default());
        assert_eq!(again.queued(), jobs.queued());
    }
});
