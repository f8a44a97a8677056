//! A thread that gives way: for work that takes long and that nobody waits for.

use std::mem::{size_of, zeroed};

/// Beside an executor that wants all of a CPU it gets a tenth, so that it comes to its end, and whatever nobody else wants.
const NICE: i32 = 10;
/// How long it keeps the CPU when an executor wakes up: the least that the kernel takes, where 2.8 ms are usual. Kernels
/// before 6.12 have no such wish and ignore it.
const SLICE_NS: u64 = 100_000;

/// Runs it on a thread of its own: who has once given way may not take it back, and the pool's threads do more than this.
pub fn giving_way<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<std::io::Error> + Send + 'static,
{
    let aside = || {
        give_way();
        work()
    };
    let thread = std::thread::Builder::new().name("marks".to_owned());
    match thread.spawn(aside)?.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// This thread, from here on. What is refused costs its good manners only.
fn give_way() {
    // SAFETY: a structure of numbers, all of which may be 0.
    let mut wish: libc::sched_attr = unsafe { zeroed() };
    wish.size = size_of::<libc::sched_attr>() as u32;
    wish.sched_policy = libc::SCHED_OTHER as u32;
    wish.sched_nice = NICE;
    wish.sched_runtime = SLICE_NS;
    // SAFETY: the kernel reads the structure, whose size it is told, and nothing else; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_way_and_whoever_asked_for_it_does_not() {
        // SAFETY: no memory is involved.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let aside = giving_way(move || Ok::<_, std::io::Error>(nice()));
        assert_eq!(aside.unwrap(), NICE.max(before));
        assert_eq!(nice(), before);
    }
}
