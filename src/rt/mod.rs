//! The runtime: executors, sockets, wake-ups, clock, disk. The only room that does I/O.
//!
//! One **executor** is one OS thread with its own tasks, its own epoll instance for sockets and its
//! own io_uring for the log, pinned to a CPU where there are enough of them; everything that a core
//! owns runs on it and is `!Send`. What crosses threads does so through three things only: a
//! [`Ringer`] (wake that core), an [`InboxSender`] (give that core something, bounded), and the
//! accept thread, which deals sockets out.
//!
//! ```text
//!  accept thread ──fd──▶ Inbox ─┐                    ┌─ Notify ◀── a connection submitted
//!  another core ──────▶ mailbox ┼─ Ringer ─▶ eventfd ┤
//!  WAL ring ──completion eventfd┘        (epoll)     └─▶ the core's loop runs a turn
//! ```
//!
//! | file | what |
//! |---|---|
//! | `executor` | starting, pinning and joining executors; running their tasks |
//! | `reactor` | what an executor waits for: sockets, bells, timers |
//! | `task` | `spawn`, `sleep`, `now` |
//! | `notify` | wake-up inside one executor |
//! | `doorbell` | wake-up from any thread, or from any eventfd |
//! | `inbox` | a bounded queue into an executor |
//! | `tcp` | a stream that reads without owning a buffer while it is idle |
//! | `disk`, `disk_thread`, `disk_buffers`, `disk_probe` | log batches on an io_uring, longer work on threads |
//! | `disk_read` | files read for recovery |
//! | `accept` | listeners, the thread that accepts, and the limit on open files |
//! | `probe` | can this process run here at all, and if not, what has to change |
//!
//! Why the executor is our own: glommio 0.9, with which we began, enters the kernel four to six
//! times for every round of its loop, arms a poll after every read, and can sleep while a task is
//! runnable; that was half of the cost of a request (`perf/PROFILE.md`). What is needed of an
//! executor here is small: no priorities, no preemption, no files, sockets only.

mod accept;
mod disk;
mod disk_buffers;
mod disk_probe;
mod disk_read;
mod disk_thread;
mod doorbell;
mod executor;
mod inbox;
mod notify;
mod probe;
mod reactor;
mod task;
mod tcp;
#[cfg(test)]
mod tests;

pub use accept::{
    AcceptSettings, Accepted, Acceptor, ListenError, Listener, ListenerOptions, OpenConnection,
};
pub use disk::{DiskCounters, DiskRing, DiskSettings, DiskTag};
pub use disk_read::DiskReader;
pub use doorbell::{Doorbell, Ringer};
pub use executor::{ExecutorSettings, Executors, StartError, start};
pub use inbox::{Inbox, InboxFull, InboxSender, OpenInbox};
pub use notify::{Notify, WaitList};
pub use probe::{ProbeError, probe, raise_limits};
pub use task::{Sleep, Task, give_way, now, sleep, spawn, within, yield_now};
pub use tcp::{READ_BYTES_MAX, TcpStream};
