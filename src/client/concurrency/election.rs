//! An election: one session at a time leads, and says something with it.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_lite::FutureExt;

use super::{Failure, Session, queue};
use crate::client::watch::{End, Watcher};
use crate::client::{Client, Error, prefix_end};
use crate::protocol::pb::mvccpb::event::EventType;
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use pb::request_op::Request;

/// An election by name, on the part of one session.
pub struct Election<'a> {
    session: &'a Session,
    prefix: Bytes,
    key: Bytes,
    /// The `create_revision` of the own key while it stands in the queue.
    revision: Option<i64>,
}

impl<'a> Election<'a> {
    /// Makes an election with the given name; nothing is written until [`Election::campaign`].
    pub fn new(session: &'a Session, name: impl AsRef<[u8]>) -> Election<'a> {
        let prefix = queue::prefix(name);
        let key = queue::own_key(&prefix, session.lease());
        Election { session, prefix, key, revision: None }
    }

    /// Returns the own key, in the queue or not.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Waits to be elected; `value` is what observers see. The header is of the moment at which
    /// the candidacy was written.
    ///
    /// When the future is dropped the candidacy stays, until [`Election::resign`] or the end of
    /// the session.
    pub async fn campaign(
        &mut self,
        value: impl Into<Bytes>,
    ) -> Result<pb::ResponseHeader, Failure> {
        let value = value.into();
        let (client, lease) = (self.session.client(), self.session.lease());
        let place = queue::enter(client, &self.prefix, &self.key, value.clone(), lease).await?;
        self.revision = Some(place.revision);
        if place.existing.is_some_and(|kv| kv.value != value) {
            let proclaimed = self.proclaim(value).await;
            if let Err(failure) = proclaimed {
                // The first error is the one to report.
                let _ = self.resign().await;
                return Err(failure);
            }
        }
        let expired = async {
            self.session.lost().await;
            Err(Failure::SessionExpired)
        };
        queue::wait_for_turn(client, &self.prefix, place.revision).or(expired).await?;
        Ok(place.header)
    }

    /// Says something else without a new election.
    pub async fn proclaim(
        &mut self,
        value: impl Into<Bytes>,
    ) -> Result<pb::ResponseHeader, Failure> {
        let guard = self.is_leader().ok_or(Failure::NotLeader)?;
        let put = pb::PutRequest {
            key: self.key.clone(),
            value: value.into(),
            lease: self.session.lease().0,
            ..Default::default()
        };
        let answer = self.guarded(guard, Request::RequestPut(put)).await?;
        if !answer.succeeded {
            self.revision = None;
            return Err(Failure::NotLeader);
        }
        Ok(answer.header.unwrap_or_default())
    }

    /// Steps down, or withdraws. Without a candidacy there is nothing to do.
    pub async fn resign(&mut self) -> Result<(), Failure> {
        let Some(guard) = self.is_leader() else { return Ok(()) };
        let delete = pb::DeleteRangeRequest { key: self.key.clone(), ..Default::default() };
        self.guarded(guard, Request::RequestDeleteRange(delete)).await?;
        self.revision = None;
        Ok(())
    }

    /// Returns a compare for txns that may only be carried out while the candidacy stands; once
    /// [`Election::campaign`] has returned, that is while it leads.
    pub fn is_leader(&self) -> Option<pb::Compare> {
        self.revision.map(|revision| queue::created_at(&self.key, revision))
    }

    /// Returns the leader's key, or [`Failure::NoLeader`].
    pub async fn leader(&self) -> Result<pb::RangeResponse, Failure> {
        let answer = self.session.client().range(queue::oldest(&self.prefix)).await?;
        if answer.kvs.is_empty() { Err(Failure::NoLeader) } else { Ok(answer) }
    }

    async fn guarded(
        &self,
        guard: pb::Compare,
        request: Request,
    ) -> Result<pb::TxnResponse, Error> {
        let txn = pb::TxnRequest {
            compare: vec![guard],
            success: vec![queue::op(request)],
            failure: vec![],
        };
        self.session.client().txn(txn).await
    }
}

/// The leaders of an election as they come and speak; no session is needed to watch them.
///
/// Every leader is seen, and every word of one that is leading; not who came and went between two.
pub struct Leaders {
    client: Client,
    prefix: Bytes,
    /// The leader that was shown last, with the watcher of its key.
    following: Option<Watcher>,
    /// Words that have come at once and were not handed out yet.
    waiting: VecDeque<pb::RangeResponse>,
}

impl Leaders {
    /// Observes the leaders of the election `name`.
    pub fn of(client: &Client, name: impl AsRef<[u8]>) -> Leaders {
        let waiting = VecDeque::new();
        Leaders { client: client.clone(), prefix: queue::prefix(name), following: None, waiting }
    }

    /// Returns the next leader, or the leader's next word, as a range of one key. Waits while
    /// nobody leads.
    pub async fn next(&mut self) -> Result<pb::RangeResponse, Failure> {
        loop {
            match self.step().await {
                Ok(Some(word)) => return Ok(word),
                Ok(None) => {}
                // The history that would tell is gone: the next look does.
                Err(end) if end.is_compacted() => self.following = None,
                Err(end) => return Err(Failure::Client(end.into())),
            }
        }
    }

    async fn step(&mut self) -> Result<Option<pb::RangeResponse>, End> {
        if let Some(word) = self.waiting.pop_front() {
            return Ok(Some(word));
        }
        let Some(watcher) = &mut self.following else {
            return self.next_leader().await.map(Some);
        };
        let response = watcher.next().await?;
        for event in response.events {
            if event.r#type == EventType::Delete as i32 {
                self.following = None;
                break;
            }
            self.waiting.extend(event.kv.map(|kv| one(response.header, kv)));
        }
        Ok(None)
    }

    /// Waits for a leader: the present one, or the first to come.
    async fn next_leader(&mut self) -> Result<pb::RangeResponse, End> {
        let answer = self.client.range(queue::oldest(&self.prefix)).await.map_err(End::Failed)?;
        let header = answer.header.unwrap_or_default();
        let (header, kv) = match answer.kvs.into_iter().next() {
            Some(kv) => (header, kv),
            None => {
                let kv = self.first_candidate(header.revision + 1).await?;
                (pb::ResponseHeader { revision: kv.mod_revision, ..header }, kv)
            }
        };
        let request = pb::WatchCreateRequest {
            key: kv.key.clone(),
            start_revision: header.revision + 1,
            ..Default::default()
        };
        self.following = Some(self.client.watch(request).await?);
        Ok(one(Some(header), kv))
    }

    /// Returns the first key that is written below the prefix from `revision` on.
    async fn first_candidate(&self, revision: i64) -> Result<mvccpb::KeyValue, End> {
        let request = pb::WatchCreateRequest {
            key: self.prefix.clone(),
            range_end: prefix_end(&self.prefix),
            start_revision: revision,
            ..Default::default()
        };
        let mut watcher = self.client.watch(request).await?;
        loop {
            let response = watcher.next().await?;
            let put = response.events.into_iter().find(|e| e.r#type == EventType::Put as i32);
            if let Some(kv) = put.and_then(|event| event.kv) {
                return Ok(kv);
            }
        }
    }
}

fn one(header: Option<pb::ResponseHeader>, kv: mvccpb::KeyValue) -> pb::RangeResponse {
    pb::RangeResponse { header, kvs: vec![kv], more: false, count: 0 }
}
