//! How one task of an executor wakes another.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

/// Wakes the one task that waits at it. Rung while nobody waits, it is remembered.
#[derive(Default)]
pub struct Doorbell {
    rung: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Doorbell {
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waiter.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Forgets that it was rung.
    pub fn hush(&self) {
        self.rung.set(false);
    }

    pub async fn wait(&self) {
        futures_lite::future::poll_fn(|context| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            *self.waiter.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}
