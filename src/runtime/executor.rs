//! What every executor of ours has in common: its core, its name, its memory, its blocking pool.

use glommio::{CpuSet, ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use std::future::Future;
use std::io;
use std::time::Duration;

/// Locked memory for O_DIRECT buffers, of which there are none: glommio's default is 10 MiB each.
const IO_MEMORY_BYTES: usize = 64 * 1024;
/// Threads for what may block, each of which may hold one: dialling carbon or appending to a file, dialling or
/// asking the store, writing the journal, keeping its folder, resolving statsd's name.
const BLOCKING_THREADS: usize = 5;
/// glommio's clock for tasks that run for long. Ours never do; and a timer that fires just before tasks
/// are looked at makes glommio sleep instead of running them (docs/decisions/0002), so it is rare.
const PREEMPT: Duration = Duration::from_secs(1);

/// Where an executor's blocking threads live.
pub enum Pool {
    Anywhere,
    /// On the executor's own CPU, so many more than usual.
    OnCore {
        more: usize,
    },
}

impl Pool {
    fn placement(&self, cpu: usize) -> PoolPlacement {
        let Pool::OnCore { more } = self else {
            return PoolPlacement::Unbound(BLOCKING_THREADS);
        };
        let threads = BLOCKING_THREADS + more;
        match CpuSet::online() {
            Ok(cpus) => PoolPlacement::Fenced(threads, cpus.filter(|at| at.cpu == cpu)),
            // A host that does not show its CPUs: the scheduler puts them somewhere.
            Err(_) => PoolPlacement::Unbound(threads),
        }
    }
}

pub fn spawn<F>(
    name: &str,
    cpu: usize,
    pool: Pool,
    body: impl FnOnce() -> F + Send + 'static,
) -> io::Result<ExecutorJoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .blocking_thread_pool_placement(pool.placement(cpu))
        .spawn(body)
        .map_err(|error| io::Error::other(error.to_string()))
}
