//! How the ring's task is woken out of glommio's sleep: by the kernel, through an eventfd that glommio reads,
//! or by a task of ours that asks for something.

use super::super::doorbell::Doorbell;
use glommio::io::BufferedFile;
use io_uring::Submitter;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::rc::Rc;

pub struct Bell {
    eventfd: BufferedFile,
    door: Rc<Doorbell>,
}

impl Bell {
    pub fn register(submitter: &Submitter<'_>, door: Rc<Doorbell>) -> io::Result<Bell> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made above, and nobody else's. That it is no file does not matter to a read.
        let eventfd = unsafe { BufferedFile::from_raw_fd(descriptor) };
        submitter.register_eventfd(eventfd.as_raw_fd())?;
        Ok(Bell { eventfd, door })
    }

    pub fn ring(&self) {
        self.door.ring();
    }

    /// Forgets that it was rung.
    pub fn hush(&self) {
        self.door.hush();
    }

    pub async fn wait(&self) {
        self.door.wait().await;
    }

    /// Passes on what the kernel rings, for life. A task of its own, which is woken by nothing else: each poll of
    /// a read under way leaves a waker behind in glommio, and a task's count of them is 16 bits wide.
    pub async fn listen(&self) {
        // How often it has rung does not matter. There is no reason for an error: better to stay awake.
        loop {
            let _ = self.eventfd.read_at(0, size_of::<u64>()).await;
            self.ring();
        }
    }
}
