//! Which CPU each executor gets. [`plan`] is pure.

use std::io;

use super::Refusal;
use crate::config::{Cpu, PopulateCore};

/// More shards than this bring nothing one carbon could take.
const SHARDS_AUTO_MAX: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The CPU of each shard; a CPU may be there more than once.
    pub shards: Vec<usize>,
    pub populate: usize,
    /// Whether a shard has the populate core too.
    pub populate_shared: bool,
    /// Where the shards' blocking threads may run. A 204 waits for some of them, so they keep off a populate
    /// core of its own: there they would queue behind fetches.
    pub blocking: Vec<usize>,
}

impl Placement {
    pub fn executors(&self) -> usize {
        self.shards.len() + usize::from(!self.populate_shared)
    }
}

/// `online` holds the CPUs of this process, in order; never empty.
///
/// Populate takes the last CPU, alone from three CPUs up. Shards take the others from the first on,
/// and start again from the first when there are more shards than CPUs.
pub fn plan(cpu: &Cpu, online: &[usize]) -> Placement {
    let last = *online.last().expect("a process runs on some CPU");
    let own = match cpu.populate_core {
        PopulateCore::Auto if online.len() >= 3 => Some(last),
        PopulateCore::Auto | PopulateCore::Shared => None,
        PopulateCore::Cpu(cpu) => Some(cpu as usize),
    };
    let others: Vec<usize> = online
        .iter()
        .copied()
        .filter(|cpu| Some(*cpu) != own)
        .collect();
    let pool = if others.is_empty() { online } else { &others };
    let count = match cpu.shards {
        Some(count) => count as usize,
        None => pool.len().min(SHARDS_AUTO_MAX),
    };
    let shards: Vec<usize> = pool.iter().copied().cycle().take(count).collect();
    let populate = match (own, cpu.populate_core) {
        (Some(own), _) => own,
        (None, PopulateCore::Shared) => *shards.last().expect("at least one shard"),
        (None, _) => last,
    };
    let populate_shared = shards.contains(&populate);
    Placement {
        blocking: online
            .iter()
            .copied()
            .filter(|cpu| populate_shared || *cpu != populate)
            .collect(),
        populate_shared,
        shards,
        populate,
    }
}

pub fn plan_checked(cpu: &Cpu, online: &[usize]) -> Result<Placement, Refusal> {
    if let PopulateCore::Cpu(core) = cpu.populate_core
        && !online.contains(&(core as usize))
    {
        let ours: Vec<String> = online.iter().map(usize::to_string).collect();
        return Err(Refusal::Cpu {
            cpu: core,
            ours: ours.join(","),
        });
    }
    Ok(plan(cpu, online))
}

/// The CPUs this process may run on: cpusets and taskset count, not what the host has.
pub fn ours() -> Result<Vec<usize>, Refusal> {
    // SAFETY: all-zero is a valid cpu_set_t, and the kernel gets its true size.
    let (failed, set) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let failed = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0;
        (failed, set)
    };
    if failed {
        return Err(Refusal::Affinity(io::Error::last_os_error()));
    }
    // SAFETY: every index is below the set's size.
    let ours = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(ours).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(
        shards: Option<u32>,
        populate_core: PopulateCore,
        online: &[usize],
    ) -> (Vec<usize>, usize, bool) {
        let cpu = Cpu {
            shards,
            populate_core,
        };
        let placement = plan(&cpu, online);
        (
            placement.shards,
            placement.populate,
            placement.populate_shared,
        )
    }

    #[test]
    fn auto_gives_populate_a_core_of_its_own_from_three_cpus_up() {
        let auto = PopulateCore::Auto;
        assert_eq!(planned(None, auto, &[5]), (vec![5], 5, true));
        assert_eq!(planned(None, auto, &[0, 1]), (vec![0, 1], 1, true));
        assert_eq!(planned(None, auto, &[0, 2, 4]), (vec![0, 2], 4, false));
        let sixteen: Vec<usize> = (0..16).collect();
        assert_eq!(planned(None, auto, &sixteen), ((0..8).collect(), 15, false));
    }

    #[test]
    fn a_number_of_shards_may_exceed_the_cpus_and_wraps_around() {
        let auto = PopulateCore::Auto;
        assert_eq!(planned(Some(3), auto, &[0, 1]), (vec![0, 1, 0], 1, true));
        assert_eq!(planned(Some(1), auto, &[0, 1]), (vec![0], 1, false));
        assert_eq!(
            planned(Some(3), auto, &[0, 1, 2]),
            (vec![0, 1, 0], 2, false)
        );
    }

    #[test]
    fn the_populate_core_can_be_named_or_shared() {
        let named = PopulateCore::Cpu(0);
        assert_eq!(planned(None, named, &[0, 1]), (vec![1], 0, false));
        assert_eq!(planned(None, named, &[0]), (vec![0], 0, true));
        let shared = PopulateCore::Shared;
        assert_eq!(planned(None, shared, &[0, 1, 2]), (vec![0, 1, 2], 2, true));
        assert_eq!(planned(Some(1), shared, &[0, 1, 2]), (vec![0], 0, true));
    }

    #[test]
    fn blocking_threads_keep_off_a_populate_core_of_its_own_only() {
        let blocking = |populate_core, online: &[usize]| {
            let shards = Some(1);
            plan(
                &Cpu {
                    shards,
                    populate_core,
                },
                online,
            )
            .blocking
        };
        assert_eq!(blocking(PopulateCore::Auto, &[0, 2, 4]), [0, 2]);
        assert_eq!(blocking(PopulateCore::Cpu(0), &[0, 1]), [1]);
        assert_eq!(blocking(PopulateCore::Shared, &[0, 1]), [0, 1]);
        assert_eq!(blocking(PopulateCore::Auto, &[3]), [3]);
    }

    #[test]
    fn a_core_that_is_not_ours_is_refused() {
        let cpu = Cpu {
            shards: None,
            populate_core: PopulateCore::Cpu(7),
        };
        let refusal = plan_checked(&cpu, &[0, 1]).unwrap_err().to_string();
        assert!(
            refusal.contains("= 7") && refusal.contains("(0,1)"),
            "{refusal}"
        );
    }

    #[test]
    fn this_process_has_a_cpu() {
        assert!(!ours().unwrap().is_empty());
    }
}
