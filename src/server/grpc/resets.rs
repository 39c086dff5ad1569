//! Calls that their clients have reset.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use crate::member::Ticket;

/// Streams whose state changed, and the task that looks at them. h2 wakes through a `Waker`, which
/// must be `Send`; all of this stays on one thread.
#[derive(Default)]
pub(super) struct Resets {
    inner: Mutex<ResetsInner>,
}

#[derive(Default)]
pub(super) struct ResetsInner {
    pub(super) fired: Vec<Ticket>,
    pub(super) driver: Option<Waker>,
}

impl Resets {
    pub(super) fn lock(&self) -> MutexGuard<'_, ResetsInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct OnReset {
    pub(super) ticket: Ticket,
    pub(super) resets: Arc<Resets>,
}

impl Wake for OnReset {
    fn wake(self: Arc<OnReset>) {
        let mut inner = self.resets.lock();
        inner.fired.push(self.ticket);
        if let Some(driver) = &inner.driver {
            driver.wake_by_ref();
        }
    }
}
