//! A flag that is raised once and that any number of tasks of one executor wait for.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Raised at most once, never taken down.
#[derive(Default)]
pub(super) struct Signal {
    raised: Cell<bool>,
    waiting: RefCell<Slab<Waker>>,
}

impl Signal {
    /// Wakes everybody who waits, now and later.
    pub(super) fn raise(&self) {
        self.raised.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    pub(super) fn is_raised(&self) -> bool {
        self.raised.get()
    }

    /// Until it is raised.
    pub(super) fn wait(&self) -> Raised<'_> {
        Raised { signal: self, slot: None }
    }
}

/// Ready when the signal is raised.
pub(super) struct Raised<'a> {
    signal: &'a Signal,
    slot: Option<usize>,
}

impl Future for Raised<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.signal.raised.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.signal.waiting.borrow_mut();
        match self.slot {
            Some(slot) if waiting[slot].will_wake(cx.waker()) => {}
            Some(slot) => waiting[slot] = cx.waker().clone(),
            None => {
                let slot = waiting.insert(cx.waker().clone());
                drop(waiting);
                self.slot = Some(slot);
            }
        }
        Poll::Pending
    }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        // Raising takes all wakers away at once.
        if let Some(slot) = self.slot
            && !self.signal.raised.get()
        {
            self.signal.waiting.borrow_mut().remove(slot);
        }
    }
}
