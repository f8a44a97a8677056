//! Disks that can be full and disks that can lose power. Mounted in a mount namespace of the calling
//! thread (and of what it starts from then on), so that they vanish with it, however it ends.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::netns::run;

/// `Err`: why this machine cannot do it.
fn own_mounts() -> Result<(), String> {
    // SAFETY: plain system calls with constant strings; they change this thread's view only.
    let failed = unsafe {
        libc::unshare(libc::CLONE_NEWNS) != 0
            || libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) != 0
    };
    match failed {
        true => Err(format!(
            "no mount namespace: {}",
            std::io::Error::last_os_error()
        )),
        false => Ok(()),
    }
}

/// A small tmpfs.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    pub fn mount(bytes: u64) -> Result<SmallDisk, String> {
        own_mounts()?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let size = format!("size={bytes},mode=0755");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], dir.path())?;
        Ok(SmallDisk { dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes all room that is left, and gives it back with [`SmallDisk::free`].
    pub fn fill(&self) {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .expect("a name still fits");
        let page = [0; 4096];
        while filler.write_all(&page).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// An ext4 in a file. Its power can be cut: from that moment nothing reaches the file, and what was
/// only in the page cache is gone, whichever process still lives.
pub struct PowerDisk {
    dir: TempDir,
    mounted: PathBuf,
}

/// `FS_IOC_SHUTDOWN` (`_IOR('X', 125, __u32)`), and its flag that keeps even the file system's own log
/// from being written first.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
const WITHOUT_LOG: u32 = 2;

impl PowerDisk {
    pub fn mount(bytes: u64) -> Result<PowerDisk, String> {
        own_mounts()?;
        let dir = tempfile::tempdir().expect("a temporary folder");
        // In memory: a sync then costs what the program and the kernel do, not this machine's disk.
        mount(&["-t", "tmpfs", "-o", "mode=0755", "tmpfs"], dir.path())?;
        let image = dir.path().join("image");
        let file = File::create(&image).expect("a file of our own");
        file.set_len(bytes).expect("a sparse file");
        run("mkfs.ext4", &["-q", "-F", &image.display().to_string()])?;
        let disk = PowerDisk {
            mounted: dir.path().join("before"),
            dir,
        };
        disk.attach(&image)?;
        Ok(disk)
    }

    fn attach(&self, image: &Path) -> Result<(), String> {
        fs::create_dir_all(&self.mounted).expect("a folder of our own");
        let image = image.display().to_string();
        // What ext4 would write back by itself every five seconds would make the cut less sharp.
        mount(&["-o", "loop,commit=60", &image], &self.mounted)
    }

    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// The power goes.
    pub fn cut(&self) {
        let root = File::open(&self.mounted).expect("it is mounted");
        // SAFETY: the call reads one u32.
        let status = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &WITHOUT_LOG) };
        let error = std::io::Error::last_os_error();
        assert_eq!(status, 0, "ext4 can be shut down: {error}");
    }

    /// After [`PowerDisk::cut`], with no process left on it: a copy of what had reached the disk, mounted
    /// under another path.
    pub fn come_back(&mut self) {
        let (image, copy) = (self.dir.path().join("image"), self.dir.path().join("copy"));
        fs::copy(&image, &copy).expect("there is room for a copy");
        unmount(&self.mounted);
        self.mounted = self.dir.path().join("after");
        self.attach(&copy).expect("ext4 recovers by its own log");
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        unmount(&self.mounted);
        unmount(self.dir.path());
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<(), String> {
    let at = at.display().to_string();
    run("mount", &[arguments, &[&at]].concat())
}

fn unmount(at: &Path) {
    // Lazily: a process that is just ending may still have a file open.
    let _ = run("umount", &["-l", &at.display().to_string()]);
}
