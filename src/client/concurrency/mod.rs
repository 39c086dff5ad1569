//! Sessions, locks and elections, as etcd's own client makes them of keys, leases and watchers.
//!
//! A caller writes a key of its own below the common name, on the lease of its [`Session`]: `name/`
//! and the lease's number. The keys are a queue in the order of their `create_revision`; the oldest
//! has the lock, or leads. Everybody else waits for the key just before its own to go, so that one
//! departure wakes one waiter. A session that dies takes its key with it when its lease ends, and
//! the next in the queue goes on.
//!
//! ```text
//!  name/694d…0a  create_revision 7   ◀── owner
//!  name/694d…31  create_revision 9   ── waits for the one of revision 7 to be deleted
//!  name/694d…1c  create_revision 12  ── waits for the one of revision 9
//! ```
//!
//! Keys, values and txns are those of etcd's client (clientv3/concurrency) and of its Lock and
//! Election services: all of them may compete for one name.
//!
//! ```no_run
//! use braid::client::concurrency::{Failure, Mutex, Session};
//! use braid::client::{Client, Options};
//!
//! async fn once(work: impl AsyncFnOnce()) -> Result<(), Failure> {
//!     let client = Client::connect(Options::endpoints(["127.0.0.1:2379"])).await?;
//!     let session = Session::open(&client, 10).await?;
//!     let mut mutex = Mutex::new(&session, "locks/work");
//!     mutex.lock().await?;
//!     work().await;
//!     mutex.unlock().await?;
//!     session.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! The holder of a lock knows only that it held it at its last answer. An action that must not be
//! done twice belongs into a txn guarded by [`Mutex::is_owner`] or [`Election::is_leader`].

mod election;
mod mutex;
mod queue;
mod session;

use std::fmt;

pub use election::{Election, Leaders};
pub use mutex::Mutex;
pub use session::{Session, TTL_S_DEFAULT};

use super::Error;

/// The ways in which a lock or an election fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another session has the lock.
    Locked,
    /// The own key is gone: the session's lease has ended.
    SessionExpired,
    /// The lock is not held.
    Released,
    /// The own key no longer leads.
    NotLeader,
    /// Nobody leads.
    NoLeader,
    Client(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Client(error)
    }
}

impl fmt::Display for Failure {
    /// In the words of etcd's client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Locked => f.write_str("mutex: Locked by another session"),
            Failure::SessionExpired => f.write_str("mutex: session is expired"),
            Failure::Released => f.write_str("mutex: lock has already been released"),
            Failure::NotLeader => f.write_str("election: not leader"),
            Failure::NoLeader => f.write_str("election: no leader"),
            Failure::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}
