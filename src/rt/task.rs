//! Tasks and time on the executor of the calling thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
    Task(glommio::spawn_local(future))
}

/// Nanoseconds on the system's monotonic clock, the same one for every core.
pub fn now() -> Nanos {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes, and the clock exists on every Linux.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    assert_eq!(result, 0, "CLOCK_MONOTONIC cannot be read");
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Until `duration` has passed.
pub async fn sleep(duration: Duration) {
    glommio::timer::Timer::new(duration).await;
}

/// Lets every task that is ready run first.
///
/// The executor looks at its sockets and timers only when nothing is runnable or after 100 ms: a
/// task that yields in a loop keeps it from them. For that there is [`give_way`].
pub async fn yield_now() {
    futures_lite::future::yield_now().await;
}

/// Lets everything else run, what waits for sockets and timers included.
pub async fn give_way() {
    sleep(Duration::from_micros(1)).await;
}

/// What `future` yields if it does so within `duration`; else it is dropped.
pub async fn within<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    let late = async {
        sleep(duration).await;
        None
    };
    futures_lite::future::or(async { Some(future.await) }, late).await
}
