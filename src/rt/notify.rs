//! Wake-up inside one executor.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
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

/// Any number of tasks that wait for a condition of this executor to hold, in the order in which
/// they came.
///
/// A task that waits has one place, however often it is polled, and gives it up when it no longer
/// waits: a step costs the logarithm of how many wait, and nothing stays behind.
#[derive(Default)]
pub struct WaitList {
    waiting: RefCell<BTreeMap<u64, Waker>>,
    /// The number of places that were given out.
    places: Cell<u64>,
}

/// A task's place in a [`WaitList`], for a task that keeps it by itself; empty at first. A task
/// that was woken has lost its place.
#[derive(Debug, Default)]
pub struct WaitPlace(Option<u64>);

impl WaitList {
    /// Creates a list in which nobody waits.
    pub fn new() -> WaitList {
        WaitList::default()
    }

    /// Waits until `holds`; it is asked now and after every [`wake_all`](WaitList::wake_all).
    pub fn until<H: FnMut() -> bool + Unpin>(&self, holds: H) -> Until<'_, H> {
        Until { list: self, holds, place: WaitPlace::default() }
    }

    /// Has the task of `cx` woken by the next [`wake_all`](WaitList::wake_all). A task gives the
    /// same `place` every time, and `leave`s with it if it is not to be woken after all.
    pub fn wait(&self, place: &mut WaitPlace, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        match place.0.and_then(|place| waiting.get_mut(&place)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.places.set(self.places.get() + 1);
                place.0 = Some(self.places.get());
                waiting.insert(self.places.get(), cx.waker().clone());
            }
        }
    }

    /// Gives up the place of a task that does not wait any more.
    pub fn leave(&self, place: &mut WaitPlace) {
        if let Some(place) = place.0.take() {
            self.waiting.borrow_mut().remove(&place);
        }
    }

    /// Wakes every task: the condition may hold now.
    pub fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting.into_values() {
            waker.wake();
        }
    }

    /// Wakes the `count` tasks that have waited longest: the condition may hold for some. One that
    /// has to go on waiting takes a place behind all others.
    pub fn wake_first(&self, count: usize) {
        for _ in 0..count {
            let first = self.waiting.borrow_mut().pop_first();
            let Some((_, waker)) = first else {
                return;
            };
            waker.wake();
        }
    }

    /// Whether some task waits.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Tasks that wait.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Ready when the condition holds; see [`WaitList::until`].
pub struct Until<'a, H: FnMut() -> bool + Unpin> {
    list: &'a WaitList,
    holds: H,
    place: WaitPlace,
}

impl<H: FnMut() -> bool + Unpin> Future for Until<'_, H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = &mut *self;
        if (until.holds)() {
            return Poll::Ready(());
        }
        until.list.wait(&mut until.place, cx);
        Poll::Pending
    }
}

impl<H: FnMut() -> bool + Unpin> Drop for Until<'_, H> {
    fn drop(&mut self) {
        self.list.leave(&mut self.place);
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

    /// Polls for a notification as [`wait`](Notify::wait) waits for one.
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.take() {
            return Poll::Ready(());
        }
        self.waiter.remember(cx);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn poll(future: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_wait_that_ends_or_is_dropped_leaves_nothing_behind() {
        let list = WaitList::new();
        for _ in 0..1000 {
            let mut never = pin!(list.until(|| false));
            // However often it is polled, it has one place.
            (0..3).for_each(|_| assert!(poll(never.as_mut()).is_pending()));
            assert_eq!(list.count(), 1);
        }
        assert_eq!(list.count(), 0);
        let holds = Cell::new(false);
        let mut waiting = pin!(list.until(|| holds.get()));
        assert!(poll(waiting.as_mut()).is_pending());
        holds.set(true);
        assert!(poll(waiting.as_mut()).is_ready());
    }

    #[test]
    fn the_first_are_woken_first() {
        let list = WaitList::new();
        let cx = Context::from_waker(Waker::noop());
        let mut places: Vec<WaitPlace> = (0..5).map(|_| WaitPlace::default()).collect();
        places.iter_mut().for_each(|place| list.wait(place, &cx));
        list.wake_first(2);
        // Those that still wait keep their places, and the others stand behind them.
        places.iter_mut().for_each(|place| list.wait(place, &cx));
        let order: Vec<u64> = list.waiting.borrow().keys().copied().collect();
        let places: Vec<u64> = places.iter().map(|place| place.0.expect("it waits")).collect();
        assert_eq!([&places[2..], &places[..2]].concat(), order);
    }

    #[test]
    fn a_place_from_before_a_wake_up_is_nobodys() {
        let list = WaitList::new();
        let (mut first, mut second) = (WaitPlace::default(), WaitPlace::default());
        let cx = Context::from_waker(Waker::noop());
        list.wait(&mut first, &cx);
        list.wake_all();
        assert_eq!(list.count(), 0);
        list.wait(&mut second, &cx);
        list.leave(&mut first);
        assert_eq!(list.count(), 1, "the second has the slot now");
        list.wait(&mut first, &cx);
        assert_eq!(list.count(), 2);
        list.leave(&mut second);
        list.leave(&mut second);
        assert_eq!(list.count(), 1);
    }
}
