//! Tasks and time on the executor of the calling thread.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::executor::{self, Local, local};
use crate::types::Nanos;

/// A spawned future. Dropping it cancels the future; [`detach`](Task::detach) lets it run.
#[must_use = "dropping a task cancels it; `detach` lets it run"]
pub struct Task<T>(glommio::Task<T>);

impl<T> Task<T> {
    /// Lets the future run to its end by itself.
    pub fn detach(self)
    where
        T: 'static,
    {
        self.0.detach();
    }

    /// Cancels the future and waits until it is gone; its result, if it was already there.
    pub async fn cancel(self) -> Option<T> {
        self.0.cancel().await
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// Starts `future` on this executor.
///
/// # Panics
///
/// Outside an executor.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> Task<T> {
    Task(executor::spawn(future))
}

/// Nanoseconds on the system's monotonic clock, the same one for every core.
pub fn now() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes, and the clock exists on every Linux.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC cannot be read");
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Waits until `duration` has passed.
pub fn sleep(duration: Duration) -> Sleep {
    let due = Nanos(now().0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
    Sleep { due, set: None }
}

/// Ready when its time has come.
#[derive(Debug)]
#[must_use = "nothing waits unless it is awaited"]
pub struct Sleep {
    due: Nanos,
    set: Option<Timer>,
}

/// A timer of an executor, taken back when it is dropped.
struct Timer {
    local: Rc<Local>,
    key: (Nanos, u64),
    waker: Waker,
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.local.reactor.clear_timer(self.key);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.set.as_ref().is_some_and(|timer| timer.waker.will_wake(cx.waker())) {
            // Asked again for another reason, most likely: the clock is read all the same.
            if now() < self.due {
                return Poll::Pending;
            }
        }
        self.set = None;
        if now() >= self.due {
            return Poll::Ready(());
        }
        let (local, waker) = (local(), cx.waker().clone());
        let key = local.reactor.set_timer(self.due, waker.clone());
        self.set = Some(Timer { local, key, waker });
        Poll::Pending
    }
}

/// Lets every task that is ready run first.
///
/// The executor looks at its sockets and timers only when nothing is runnable or a slice of time is
/// over: a task that yields in a loop keeps it from them. For that there is [`give_way`].
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

/// Lets everything else run, what waits for sockets and timers included.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        local().reactor.wake_after_poll(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Wakes the task of `cx` as [`give_way`] does, when everything else that is ready has run: for
/// futures that are written by hand.
pub fn wake_after_others(cx: &Context<'_>) {
    local().reactor.wake_after_poll(cx.waker().clone());
}

/// Awaits `future` for at most `duration`; returns `None`, and drops it, if it takes longer.
pub async fn within<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        sleep(duration).await;
        None
    };
    futures_lite::future::or(async { Some(future.await) }, late).await
}
