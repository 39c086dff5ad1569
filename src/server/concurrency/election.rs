//! The election service.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_lite::future::or;

use super::asker::{
    Asker, Events, Over, below, created_at, delete_created_at, oldest, put, status_of,
};
use super::place::QueuePlace;
use crate::protocol::pb::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use crate::protocol::status::{Status, code};
use crate::server::streams::{Gone, Outlet};
use crate::types::{KeyRange, KeyValue, LeaseId, Refusal, Revision, TxnRequest};

/// Waits until the caller's key is the oldest of its name.
pub(super) async fn campaign(
    asker: &Asker,
    request: CampaignRequest,
) -> Result<CampaignResponse, Status> {
    let CampaignRequest { name, lease, value } = request;
    let lease = asker.lease(lease).await?;
    let (place, taken) = QueuePlace::take(asker, name.clone(), lease, value.clone()).await?;
    if taken.before.is_some_and(|before| before.value.as_slice() != &value[..]) {
        proclaimed(asker, &place.key, place.created, lease, value).await?;
    }
    if !taken.is_first {
        place.wait(asker).await?;
    }
    let rev = place.created.0;
    let leader = LeaderKey { name, key: place.keep(), rev, lease: lease.0 };
    Ok(CampaignResponse { header: asker.header(taken.revision), leader: Some(leader) })
}

/// Gives the leader's key another value.
pub(super) async fn proclaim(
    asker: &Asker,
    request: ProclaimRequest,
) -> Result<ProclaimResponse, Status> {
    let leader = request.leader.ok_or_else(leader_missing)?;
    let lease = asker.lease(leader.lease).await?;
    let key = key_of(&leader)?;
    let revision = proclaimed(asker, &key, Revision(leader.rev), lease, request.value).await?;
    Ok(ProclaimResponse { header: asker.header(revision) })
}

async fn proclaimed(
    asker: &Asker,
    key: &Bytes,
    created: Revision,
    lease: LeaseId,
    value: Bytes,
) -> Result<Revision, Status> {
    let txn = TxnRequest {
        compare: vec![created_at(key, created)],
        success: vec![put(key, value, lease)],
        failure: Vec::new(),
    };
    let reply = asker.txn(txn).await?;
    if !reply.succeeded {
        return Err(Status::new(code::UNKNOWN, "election: not leader"));
    }
    Ok(reply.revision)
}

/// Deletes the leader's key. That it is another's by now, or nobody's, is no error.
pub(super) async fn resign(
    asker: &Asker,
    request: ResignRequest,
) -> Result<ResignResponse, Status> {
    let leader = request.leader.ok_or_else(leader_missing)?;
    let delete = delete_created_at(&key_of(&leader)?, Revision(leader.rev));
    let reply = asker.txn(delete).await?;
    Ok(ResignResponse { header: asker.header(reply.revision) })
}

/// Returns the present leader.
pub(super) async fn leader(
    asker: &Asker,
    request: LeaderRequest,
) -> Result<LeaderResponse, Status> {
    let found = asker.range(oldest(below(&request.name))).await?;
    match found.kvs.first() {
        Some(kv) => Ok(response(asker, found.revision, kv)),
        None => Err(Status::new(code::UNKNOWN, "election: no leader")),
    }
}

/// Tells of the leader, of every value it proclaims, and of every leader after it. Not of every
/// value there ever was: between two leaders some may be passed over.
pub(super) async fn observe(
    asker: &Asker,
    request: LeaderRequest,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    let mut observing = Observing { asker, name: request.name, leader: None, due: VecDeque::new() };
    loop {
        let next = async { Ok(observing.next().await) };
        let gone = async {
            outlet.gone().await;
            Err(End::Gone)
        };
        let stopped = async { asker.stopped().await.map_err(End::Status) };
        match or(stopped, or(next, gone)).await {
            Ok(Ok(response)) => outlet.encoded(super::bytes(response)).await?,
            // As in etcd, it ends without an error when it cannot go on.
            Ok(Err(_)) => return Ok(Status::new(code::OK, "")),
            Err(End::Gone) => return Err(Gone),
            Err(End::Status(status)) => return Ok(status),
        }
    }
}

enum End {
    Gone,
    Status(Status),
}

/// One who observes.
struct Observing<'a> {
    asker: &'a Asker,
    name: Bytes,
    /// The events of the leader's key; `None` if the leader is to be looked up.
    leader: Option<Events>,
    due: VecDeque<LeaderResponse>,
}

impl Observing<'_> {
    async fn next(&mut self) -> Result<LeaderResponse, Over> {
        loop {
            if let Some(response) = self.due.pop_front() {
                return Ok(response);
            }
            let Some(events) = &self.leader else {
                return self.find().await;
            };
            let happened = events.next().await?;
            let puts = happened.events.iter().map_while(|event| event.put.as_ref());
            self.due.extend(puts.map(|kv| response(self.asker, happened.revision, kv)));
            if happened.events.iter().any(|event| event.put.is_none()) {
                self.leader = None;
            }
        }
    }

    /// The leader there is, or the first one to come.
    async fn find(&mut self) -> Result<LeaderResponse, Over> {
        let range = below(&self.name);
        let mut found = self.asker.range(oldest(range.clone())).await.map_err(Over::Status)?;
        let (revision, kv) = match found.kvs.pop() {
            Some(kv) => (found.revision, kv),
            None => self.first_put(range, found.revision).await?,
        };
        let key = KeyRange::single(Bytes::copy_from_slice(&kv.key));
        self.leader = Some(self.asker.events(key, revision.next()));
        Ok(response(self.asker, revision, &kv))
    }

    async fn first_put(
        &self,
        range: KeyRange,
        from: Revision,
    ) -> Result<(Revision, KeyValue), Over> {
        let events = self.asker.events(range, from);
        loop {
            let happened = events.next().await?;
            if let Some(kv) = happened.events.iter().find_map(|event| event.put.as_ref()) {
                return Ok((Revision(kv.modified), kv.clone()));
            }
        }
    }
}

fn response(asker: &Asker, revision: Revision, kv: &KeyValue) -> LeaderResponse {
    LeaderResponse { header: asker.header(revision), kv: Some(kv.into()) }
}

fn key_of(leader: &LeaderKey) -> Result<Bytes, Status> {
    match leader.key.is_empty() {
        true => Err(status_of(&Refusal::EmptyKey)),
        false => Ok(leader.key.clone()),
    }
}

fn leader_missing() -> Status {
    Status::new(code::UNKNOWN, "\"leader\" field must be provided")
}
