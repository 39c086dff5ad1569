//! A lock that one session at a time has.

use bytes::Bytes;
use futures_lite::FutureExt;

use super::queue::{self, QueuePlace};
use super::{Failure, Session};
use crate::client::Error;
use crate::protocol::pb::etcdserverpb as pb;

/// A lock by name, on the part of one session.
pub struct Mutex<'a> {
    session: &'a Session,
    prefix: Bytes,
    key: Bytes,
    state: State,
}

enum State {
    Out,
    /// The key may stand in the queue; its revision is not known.
    Entering,
    /// The key stands in the queue.
    In(i64),
}

impl<'a> Mutex<'a> {
    /// Makes a mutex with the given name; nothing is written until it is locked.
    pub fn new(session: &'a Session, name: impl AsRef<[u8]>) -> Mutex<'a> {
        let prefix = queue::prefix(name);
        let key = queue::own_key(&prefix, session.lease());
        Mutex { session, prefix, key, state: State::Out }
    }

    /// Returns the own key, in the queue or not.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Waits for the lock. The header is of the moment at which it was seen to be held. Locking
    /// again what the session has succeeds at once.
    ///
    /// When waiting fails, the key leaves the queue. When the future is dropped it stays, until
    /// [`Mutex::unlock`] or the end of the session.
    pub async fn lock(&mut self) -> Result<pb::ResponseHeader, Failure> {
        let place = self.enter().await?;
        if is_first(&place) {
            return Ok(place.header);
        }
        let waited = self.wait(place.revision).await;
        if matches!(waited, Err(Failure::Client(_))) {
            // The first error is the one to report; the lease's end removes the key anyway.
            let _ = self.unlock().await;
        }
        waited
    }

    /// Takes the lock if nobody has it: [`Failure::Locked`] otherwise.
    pub async fn try_lock(&mut self) -> Result<pb::ResponseHeader, Failure> {
        let place = self.enter().await?;
        if is_first(&place) {
            return Ok(place.header);
        }
        self.unlock().await?;
        Err(Failure::Locked)
    }

    /// Leaves the queue, or gives the lock back.
    pub async fn unlock(&mut self) -> Result<(), Failure> {
        if matches!(self.state, State::Out) {
            return Err(Failure::Released);
        }
        let request = pb::DeleteRangeRequest { key: self.key.clone(), ..Default::default() };
        self.session.client().delete_range(request).await?;
        self.state = State::Out;
        Ok(())
    }

    /// Returns a compare for txns that may only be carried out while the session has its key.
    pub fn is_owner(&self) -> Option<pb::Compare> {
        match self.state {
            State::In(revision) => Some(queue::created_at(&self.key, revision)),
            State::Out | State::Entering => None,
        }
    }

    async fn enter(&mut self) -> Result<QueuePlace, Failure> {
        self.state = State::Entering;
        let session = self.session;
        let (client, lease) = (session.client(), session.lease());
        let entered = queue::enter(client, &self.prefix, &self.key, Bytes::new(), lease).await;
        match &entered {
            Ok(place) => self.state = State::In(place.revision),
            Err(Failure::Client(error)) if !error.outcome_unknown() => self.state = State::Out,
            Err(_) => {}
        }
        entered
    }

    async fn wait(&mut self, revision: i64) -> Result<pb::ResponseHeader, Failure> {
        let client = self.session.client();
        let expired = async {
            self.session.lost().await;
            Err(Failure::SessionExpired)
        };
        queue::wait_for_turn(client, &self.prefix, revision).or(expired).await?;
        let request = pb::RangeRequest { key: self.key.clone(), ..Default::default() };
        let answer = client.range(request).await?;
        match answer.kvs.first() {
            Some(kv) if kv.create_revision == revision => {}
            // The lease has ended while we waited.
            _ => {
                self.state = State::Out;
                return Err(Failure::SessionExpired);
            }
        }
        answer.header.ok_or_else(|| {
            let reason = "an answer without a header".to_owned();
            let endpoint = client.endpoints().join(",");
            Failure::Client(Error::Protocol { endpoint, reason })
        })
    }
}

/// Whether the own key is the oldest.
fn is_first(place: &QueuePlace) -> bool {
    place.first.as_ref().is_none_or(|first| first.create_revision == place.revision)
}
