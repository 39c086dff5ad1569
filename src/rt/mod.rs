//! The runtime: executors, sockets, wake-ups, clock, disk. The only room that names glommio.
//!
//! An **executor** is glommio's: one OS thread with its tasks, pinned to a CPU where there are
//! enough of them. It has an epoll instance of ours for sockets and an io_uring of ours for the
//! log. Everything that a core owns runs on it and is `!Send`. Threads reach one another through
//! three things only: a [`Ringer`] (wakes a core), an [`InboxSender`] (gives a core something,
//! bounded), and the accept thread, which deals sockets out.
//!
//! ```text
//!  accept thread ──fd──▶ Inbox ─┐                    ┌─ Notify ◀── a connection submitted
//!  another core ──────▶ mailbox ┼─ Ringer ─▶ eventfd ┤
//!  WAL ring ──completion eventfd┘        (epoll)     └─▶ the core's loop runs a turn
//! ```
//!
//! | file | what |
//! |---|---|
//! | `executor` | starting, pinning and joining executors; the poller |
//! | `reactor` | waits for sockets, wake-ups and timers |
//! | `task` | `spawn`, `sleep`, `now` |
//! | `notify` | wake-up inside one executor |
//! | `doorbell` | wake-up from any thread, or from any eventfd |
//! | `inbox` | a bounded queue into an executor |
//! | `tcp` | a stream that reads without owning a buffer while it is idle |
//! | `disk`, `disk_thread`, `disk_buffers`, `disk_probe` | log batches on an io_uring, longer work on threads |
//! | `disk_read` | reads files for recovery |
//! | `reserve` | a file that takes space until the disk is full |
//! | `accept` | listeners, the thread that accepts, and the limit on open files |
//! | `probe` | checks whether this process can run here, and if not, what has to change |
//!
//! Facts about glommio 0.9 that the code depends on:
//!
//! - Left to wait by itself it enters the kernel four to six times for every round of its loop and
//!   arms a poll after every read. So sockets, wake-ups and timers are ours, and so is the waiting
//!   (docs/decisions/001-glommio-with-our-own-reactor.md).
//! - One task queue per executor, first come, first served: with more, wake-ups wait for the
//!   scheduler's turn.
//! - While its queue is never empty it looks at its rings only when its preemption timer runs out,
//!   and where that has run out before the first task of a round, it sleeps although tasks are
//!   ready. Ours does not run out.
//! - Executors that end leak an eventfd or two. A server starts its executors once; tests should
//!   start few.

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
mod reserve;
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
pub use notify::{Notify, WaitList, WaitPlace};
pub use probe::{ProbeError, probe, raise_limits};
pub use reserve::{Reserve, look_after_reserve};
pub use task::{Sleep, Task, give_way, now, sleep, spawn, wake_after_others, within, yield_now};
pub use tcp::{READ_BYTES_MAX, TcpStream};
