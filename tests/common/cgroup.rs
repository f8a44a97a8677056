//! A limit on a process's memory that the kernel holds: a control group of its own, of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::wait_for;

pub struct MemoryLimit {
    folder: PathBuf,
}

impl MemoryLimit {
    /// `Err`: why this machine cannot do it.
    pub fn new(bytes: u64) -> Result<MemoryLimit, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("flux-test-{}-{own}", std::process::id());
        let (root, file) = hierarchy().ok_or("no memory controller in /sys/fs/cgroup")?;
        let folder = root.join(name);
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let limit = MemoryLimit { folder };
        fs::write(limit.folder.join(file), bytes.to_string())
            .map_err(|error| format!("{file}: {error}"))?;
        Ok(limit)
    }

    /// Where a process enters it, by writing `0`.
    pub fn entrance(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }
}

/// Its folder, and the file that holds the limit.
fn hierarchy() -> Option<(PathBuf, &'static str)> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
    if controllers.is_ok_and(|all| all.split_whitespace().any(|one| one == "memory")) {
        return Some((root.to_owned(), "memory.max"));
    }
    let first = root.join("memory");
    let file = "memory.limit_in_bytes";
    first.join(file).exists().then_some((first, file))
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A process that was just reaped may be counted for a moment longer.
        let gone = || fs::remove_dir(&self.folder).is_ok().then_some(());
        if std::thread::panicking() {
            gone();
        } else {
            wait_for("the control group is empty", super::PATIENCE, gone);
        }
    }
}
