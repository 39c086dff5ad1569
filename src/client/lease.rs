//! Leases: granted, asked about, revoked, and kept alive.
//!
//! A [`KeepAlive`] renews one lease three times in its time to live:
//!
//! ```text
//!  answer ──TTL/3──▶ request ─▶ answer ──TTL/3──▶ request ─▶ …
//!                      └─ no answer: another request over a new stream, until the TTL of the last
//!                         answer has passed
//! ```
//!
//! It counts the TTL from before it asked, so it never believes in a lease longer than the server
//! does (whose clock runs from when it was asked, or later).

use std::fmt;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt;

use super::{Client, Error, Method, Stream};
use crate::protocol::pb::etcdserverpb as pb;

/// The time that a first renewal waits for a connection where dialling has no limit of its own.
const DIAL_PATIENCE: Duration = Duration::from_secs(2);

/// A lease's number. 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease.
    pub const NONE: LeaseId = LeaseId(0);
}

impl fmt::LowerHex for LeaseId {
    /// As Go prints it, with a sign.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(self.0 >= 0, "0x", &format!("{:x}", self.0.unsigned_abs()))
    }
}

impl Client {
    /// Grants a lease of `ttl_s` seconds, or of the server's least TTL. With [`LeaseId::NONE`] the
    /// server chooses the id.
    pub async fn lease_grant(
        &self,
        ttl_s: i64,
        id: LeaseId,
    ) -> Result<pb::LeaseGrantResponse, Error> {
        let request = pb::LeaseGrantRequest { ttl: ttl_s, id: id.0 };
        self.unary(Method::LEASE_GRANT, &request).await
    }

    /// Ends a lease and deletes its keys.
    pub async fn lease_revoke(&self, id: LeaseId) -> Result<pb::LeaseRevokeResponse, Error> {
        self.unary(Method::LEASE_REVOKE, &pb::LeaseRevokeRequest { id: id.0 }).await
    }

    /// Returns what is left of a lease; a TTL of -1 if it does not exist.
    pub async fn lease_time_to_live(
        &self,
        id: LeaseId,
        keys: bool,
    ) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        let request = pb::LeaseTimeToLiveRequest { id: id.0, keys };
        self.unary(Method::LEASE_TIME_TO_LIVE, &request).await
    }

    /// Lists all leases.
    pub async fn leases(&self) -> Result<pb::LeaseLeasesResponse, Error> {
        self.unary(Method::LEASE_LEASES, &pb::LeaseLeasesRequest {}).await
    }

    /// Renews a lease once. One that does not exist is etcd's error for that.
    pub async fn lease_keep_alive_once(
        &self,
        id: LeaseId,
    ) -> Result<pb::LeaseKeepAliveResponse, Error> {
        let request = pb::LeaseKeepAliveRequest { id: id.0 };
        // One request and its answer over a stream; being renewed twice does no harm.
        let answer: pb::LeaseKeepAliveResponse =
            self.unary(Method::LEASE_KEEP_ALIVE.reading(true), &request).await?;
        match answer.ttl {
            1.. => Ok(answer),
            _ => Err(Error::Status {
                code: super::error::code::NOT_FOUND,
                message: "etcdserver: requested lease not found".to_owned(),
            }),
        }
    }

    /// Keeps a lease alive as long as [`KeepAlive::next`] is called.
    pub fn lease_keep_alive(&self, id: LeaseId) -> KeepAlive {
        let now = Instant::now();
        let dial = self.pool.options().dial_timeout.unwrap_or(DIAL_PATIENCE);
        let first = dial + Duration::from_secs(1);
        KeepAlive {
            client: self.clone(),
            id,
            stream: None,
            due: now,
            deadline: now + first,
            patience: first,
            failure: None,
        }
    }
}

/// Why a lease is no longer kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseLost {
    /// The server does not know it: it has expired or was revoked.
    Gone,
    /// No renewal was answered in its time; `last` is what went wrong.
    Unreachable { last: Option<Error> },
}

impl fmt::Display for LeaseLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseLost::Gone => f.write_str("the lease has expired or was revoked"),
            LeaseLost::Unreachable { last: None } => {
                f.write_str("the lease could not be renewed in its time")
            }
            LeaseLost::Unreachable { last: Some(error) } => {
                write!(f, "the lease could not be renewed in its time: {error}")
            }
        }
    }
}

impl std::error::Error for LeaseLost {}

/// The pause after a renewal that failed.
const RETRY: Duration = Duration::from_millis(500);

/// A lease that is kept alive.
pub struct KeepAlive {
    client: Client,
    id: LeaseId,
    stream: Option<Stream<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>>,
    /// When the next renewal is to be asked for.
    due: Instant,
    /// When the lease counts as lost.
    deadline: Instant,
    /// The time that one renewal may take before another stream is tried.
    patience: Duration,
    failure: Option<Error>,
}

impl KeepAlive {
    /// Returns the lease that is kept alive.
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Waits until a renewal is due, and for its answer. A future that is dropped loses at most
    /// the stream, which the next call opens again.
    pub async fn next(&mut self) -> Result<pb::LeaseKeepAliveResponse, LeaseLost> {
        loop {
            Timer::at(self.due.min(self.deadline)).await;
            let asked = Instant::now();
            if asked >= self.deadline {
                return Err(LeaseLost::Unreachable { last: self.failure.take() });
            }
            let patience = asked + self.patience.min(self.deadline - asked);
            match self.renew(patience).await {
                Ok(answer) if answer.ttl <= 0 => return Err(LeaseLost::Gone),
                Ok(answer) => {
                    let ttl = Duration::from_secs(answer.ttl.unsigned_abs());
                    self.patience = (ttl / 3).max(RETRY);
                    self.due = asked + ttl / 3;
                    self.deadline = asked.checked_add(ttl).unwrap_or(self.deadline);
                    self.failure = None;
                    return Ok(answer);
                }
                Err(error) => {
                    self.failure = Some(error);
                    self.due = Instant::now() + RETRY;
                }
            }
        }
    }

    /// Renews the lease once; the stream survives only if it was answered.
    async fn renew(&mut self, patience: Instant) -> Result<pb::LeaseKeepAliveResponse, Error> {
        let late = async {
            Timer::at(patience).await;
            Err(Error::Timeout { last: None, sent: true })
        };
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.client.open(Method::LEASE_KEEP_ALIVE).or(late_opening(patience)).await?,
        };
        let answers = stream.answers();
        let answered = exchange(&mut stream, self.id).or(late).await;
        match &answered {
            Ok(_) => self.stream = Some(stream),
            Err(Error::Timeout { .. }) => {
                stream.suspect(answers);
                stream.give_up();
            }
            Err(_) => stream.give_up(),
        }
        answered
    }
}

async fn late_opening<T>(deadline: Instant) -> Result<T, Error> {
    Timer::at(deadline).await;
    Err(Error::Timeout { last: None, sent: false })
}

async fn exchange(
    stream: &mut Stream<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>,
    id: LeaseId,
) -> Result<pb::LeaseKeepAliveResponse, Error> {
    stream.send(&pb::LeaseKeepAliveRequest { id: id.0 }).await?;
    match stream.next().await? {
        Some(answer) => Ok(answer),
        None => Err(Error::Status {
            code: super::error::code::UNAVAILABLE,
            message: "the server ended the stream".to_owned(),
        }),
    }
}
