//! How an executor is woken out of glommio's sleep from outside: through an eventfd that glommio reads. The other
//! executors write to it, and so does the kernel for the clients' ring.

use super::doorbell::Doorbell;
use glommio::io::BufferedFile;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone)]
pub struct Eventfd(Arc<OwnedFd>);

impl Eventfd {
    pub fn new() -> io::Result<Eventfd> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made above, and nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Eventfd(Arc::new(descriptor)))
    }

    pub fn write(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes that outlive the call, which waits only where 2^64 rings were not heard.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits until it was written to; how often.
    #[cfg(test)]
    pub fn read(&self) -> u64 {
        let mut count = [0; 8];
        // SAFETY: eight bytes that outlive the call.
        let length = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        assert_eq!(length, 8, "{}", io::Error::last_os_error());
        u64::from_ne_bytes(count)
    }
}

impl AsRawFd for Eventfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Passes on to `door` what is rung for it, for life. A task of its own, which is woken by nothing else: each poll of
/// a read under way leaves a waker behind in glommio, and a task's count of them is 16 bits wide.
pub async fn listen(eventfd: Eventfd, door: Rc<Doorbell>) {
    // SAFETY: open as long as we hold it, and we alone close it. That it is no file does not matter to a read.
    let file = unsafe { BufferedFile::from_raw_fd(eventfd.as_raw_fd()) };
    let file = ManuallyDrop::new(file);
    // How often it has rung does not matter. There is no reason for an error: better to stay awake.
    loop {
        let _ = file.read_at(0, size_of::<u64>()).await;
        door.ring();
    }
}
