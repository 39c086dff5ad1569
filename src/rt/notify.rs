//! Wake-up inside one executor.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// The task that waits for something, if one does. A second one takes the first one's place.
#[derive(Default)]
pub(super) struct Waiter(RefCell<Option<Waker>>);

impl Waiter {
    /// The task of `cx` is the one that waits.
    pub(super) fn remember(&self, cx: &Context<'_>) {
        let mut waiter = self.0.borrow_mut();
        match &*waiter {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => *waiter = Some(cx.waker().clone()),
        }
    }

    /// Wakes it; nobody waits any more.
    pub(super) fn wake(&self) {
        let waiter = self.0.borrow_mut().take();
        if let Some(waker) = waiter {
            waker.wake();
        }
    }
}

/// Any number of tasks that wait for a condition of this executor to hold.
#[derive(Default)]
pub struct WaitList {
    waiting: RefCell<Vec<Waker>>,
}

impl WaitList {
    /// Nobody waits.
    pub fn new() -> WaitList {
        WaitList::default()
    }

    /// Until `holds`; it is asked now and after every [`wake_all`](WaitList::wake_all).
    pub async fn until(&self, mut holds: impl FnMut() -> bool) {
        poll_fn(|cx| {
            if holds() {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// The condition may hold now.
    pub fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting {
            waker.wake();
        }
    }
}

/// A wake-up that is remembered until it is taken.
///
/// Any number of [`notify`](Notify::notify) calls before a wait are one wake-up; none is lost. One
/// task waits at a time: a second one would take the first one's place.
#[derive(Default)]
pub struct Notify {
    rung: Cell<bool>,
    waiter: Waiter,
}

impl Notify {
    /// Nobody waits and nothing has been rung.
    pub fn new() -> Notify {
        Notify::default()
    }

    /// Wakes the waiter, or the next one to wait.
    pub fn notify(&self) {
        if !self.rung.replace(true) {
            self.waiter.wake();
        }
    }

    /// Whether a notification waits to be taken.
    pub fn is_rung(&self) -> bool {
        self.rung.get()
    }

    /// Takes the notification that waits, if there is one: for whoever is about to look at
    /// everything that is ever notified of.
    pub fn take(&self) -> bool {
        self.rung.replace(false)
    }

    /// Until the next notification, which it takes. Dropping the future loses nothing.
    pub async fn wait(&self) {
        poll_fn(|cx| self.poll_wait(cx)).await;
    }

    /// As [`wait`](Notify::wait).
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        self.waiter.remember(cx);
        Poll::Pending
    }
}
