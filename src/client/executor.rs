//! The thread that drives connections.
//!
//! A connection has to be read also while nobody waits for an answer on it (pings, window updates,
//! answers to other callers), so every connection is a task. One thread per program runs them all:
//! callers stay free to use any executor, or none (`futures_lite::future::block_on`).

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_executor::{Executor, Task};

/// Runs `task` on the connection thread until it ends or the returned handle is dropped.
pub(super) fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> io::Result<Task<T>> {
    static EXECUTOR: Mutex<Option<Arc<Executor<'static>>>> = Mutex::new(None);
    let mut started = EXECUTOR.lock().unwrap_or_else(PoisonError::into_inner);
    let executor = match &*started {
        Some(executor) => executor,
        None => {
            let executor = Arc::new(Executor::new());
            let driven = Arc::clone(&executor);
            std::thread::Builder::new().name("braid-client".to_owned()).spawn(move || {
                // async-io's block_on polls the reactor on this very thread: no hop between
                // readiness and the task.
                async_io::block_on(driven.run(std::future::pending::<()>()));
            })?;
            started.insert(executor)
        }
    };
    Ok(executor.spawn(task))
}
