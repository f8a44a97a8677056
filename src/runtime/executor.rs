//! What every executor of ours has in common: its core, its name, its memory, its blocking pool.

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use std::future::Future;
use std::io;
use std::time::Duration;

/// Locked memory for O_DIRECT buffers, of which there are none: glommio's default is 10 MiB each.
const IO_MEMORY_BYTES: usize = 64 * 1024;
/// Threads for what may block, each of which may hold one: dialling carbon or appending to a file, dialling or
/// asking the store, writing to it, writing the journal, keeping its folder, resolving statsd's name.
const BLOCKING_THREADS: usize = 6;
/// glommio's clock for tasks that run for long. Ours never do; and a timer that fires just before tasks
/// are looked at makes glommio sleep instead of running them (docs/decisions/0002), so it is rare.
const PREEMPT: Duration = Duration::from_secs(1);

/// An executor's blocking threads.
pub struct Pool<'a> {
    /// The CPUs they may run on.
    pub cpus: &'a [usize],
    /// How many more than usual.
    pub more: usize,
}

impl Pool<'_> {
    fn placement(&self) -> PoolPlacement {
        let threads = BLOCKING_THREADS + self.more;
        match CpuSet::online() {
            Ok(online) => {
                let own = online.filter(|at| self.cpus.contains(&at.cpu));
                PoolPlacement::Fenced(threads, own)
            }
            // A host that does not show its CPUs: the scheduler puts them somewhere.
            Err(_) => PoolPlacement::Unbound(threads),
        }
    }
}

pub fn spawn<F>(
    name: &str,
    cpu: usize,
    pool: Pool<'_>,
    body: impl FnOnce() -> F + Send + 'static,
) -> io::Result<ExecutorJoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(pool.placement())
        .spawn(body)
        .map_err(|error| io::Error::other(error.to_string()))
}
