//! A lease that is kept alive in the background.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_executor::Task;

use crate::client::lease::{LeaseId, LeaseLost};
use crate::client::{Client, Error, executor};

/// Seconds that a session's lease lives without renewal, unless something else is asked for.
pub const TTL_S_DEFAULT: i64 = 60;

/// A lease, renewed by a task on the connection thread until it is lost or the session is dropped.
///
/// A session that is merely dropped leaves its lease to expire; [`Session::close`] ends it now.
pub struct Session {
    client: Client,
    lease: LeaseId,
    ttl: Duration,
    ending: Ending,
    _keeper: Task<()>,
}

/// How the keeper says that it is over: the reason first, then the channel closes.
#[derive(Clone)]
struct Ending {
    reason: Arc<OnceLock<LeaseLost>>,
    closed: async_channel::Receiver<()>,
}

impl Session {
    /// Returns a session on a new lease.
    pub async fn open(client: &Client, ttl_s: i64) -> Result<Session, Error> {
        let granted = client.lease_grant(ttl_s, LeaseId::NONE).await?;
        Session::on(client, LeaseId(granted.id), granted.ttl)
    }

    /// Returns a session on a lease that exists, for instance of the same program before its
    /// restart.
    pub async fn resume(client: &Client, lease: LeaseId) -> Result<Session, Error> {
        let renewed = client.lease_keep_alive_once(lease).await?;
        Session::on(client, lease, renewed.ttl)
    }

    fn on(client: &Client, lease: LeaseId, ttl_s: i64) -> Result<Session, Error> {
        let mut keep_alive = client.lease_keep_alive(lease);
        let (open, closed) = async_channel::bounded::<()>(1);
        let reason = Arc::new(OnceLock::new());
        let told = Arc::clone(&reason);
        let keeper = executor::spawn(async move {
            let lost = loop {
                if let Err(lost) = keep_alive.next().await {
                    break lost;
                }
            };
            told.set(lost).expect("one keeper ends once");
            drop(open);
        });
        let keeper = keeper.map_err(|error| {
            Error::Invalid(format!("the thread of the connections cannot start: {error}"))
        })?;
        Ok(Session {
            client: client.clone(),
            lease,
            ttl: Duration::from_secs(ttl_s.max(1).unsigned_abs()),
            ending: Ending { reason, closed },
            _keeper: keeper,
        })
    }

    /// Returns the session's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the session's lease.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Waits until the lease is lost. Any number of callers may.
    pub async fn lost(&self) -> LeaseLost {
        // Nobody sends anything: the channel only closes.
        let _ = self.ending.closed.recv().await;
        self.reason().expect("the reason is set before the channel closes")
    }

    /// Returns why the lease is lost, if it is.
    pub fn reason(&self) -> Option<LeaseLost> {
        self.ending.reason.get().cloned()
    }

    /// Stops renewing the lease, which then lives on for its TTL.
    pub fn orphan(self) -> LeaseId {
        self.lease
    }

    /// Ends the lease, and with it all keys of the session. That the lease is gone already is fine.
    pub async fn close(self) -> Result<(), Error> {
        // Later it will have expired anyway.
        let client = self.client.with_timeout(Some(self.ttl));
        match client.lease_revoke(self.lease).await {
            Err(error) if error.code() != crate::client::error::code::NOT_FOUND => Err(error),
            _ => Ok(()),
        }
    }
}
