//! How the ring's task is woken out of glommio's sleep: by the kernel, through an eventfd that glommio reads,
//! or by a task of ours that asks for something.

use super::super::doorbell::Doorbell;
use futures_lite::future;
use glommio::io::BufferedFile;
use io_uring::Submitter;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::pin::Pin;
use std::rc::Rc;

pub struct Bell {
    eventfd: Rc<BufferedFile>,
    /// Posted with glommio until the kernel has rung, over several waits where ours ring before.
    read: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    own: Doorbell,
}

impl Bell {
    pub fn register(submitter: &Submitter<'_>) -> io::Result<Bell> {
        // SAFETY: no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: made above, and nobody else's. That it is no file does not matter to a read.
        let eventfd = unsafe { BufferedFile::from_raw_fd(descriptor) };
        submitter.register_eventfd(eventfd.as_raw_fd())?;
        Ok(Bell {
            eventfd: Rc::new(eventfd),
            read: RefCell::default(),
            own: Doorbell::default(),
        })
    }

    pub fn ring(&self) {
        self.own.ring();
    }

    pub fn hush(&self) {
        self.own.hush();
    }

    pub async fn wait(&self) {
        let kernel = future::poll_fn(|context| {
            let mut slot = self.read.borrow_mut();
            let read = slot.get_or_insert_with(|| {
                let eventfd = self.eventfd.clone();
                // How often it has rung says nothing; an error comes again with the next wait.
                Box::pin(async move { drop(eventfd.read_at(0, size_of::<u64>()).await) })
            });
            let polled = read.as_mut().poll(context);
            if polled.is_ready() {
                *slot = None;
            }
            polled
        });
        future::or(self.own.wait(), kernel).await;
    }
}
