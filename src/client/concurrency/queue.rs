//! The queue that locks and elections are made of.

use bytes::Bytes;

use super::Failure;
use crate::client::lease::LeaseId;
use crate::client::watch::End;
use crate::client::{Client, prefix_end};
use crate::protocol::pb::mvccpb::event::EventType;
use crate::protocol::pb::{etcdserverpb as pb, mvccpb};
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;
use pb::response_op::Response;

/// Returns a name's prefix.
pub(super) fn prefix(name: impl AsRef<[u8]>) -> Bytes {
    [name.as_ref(), b"/"].concat().into()
}

/// Returns the key of a session below a prefix.
pub(super) fn own_key(prefix: &Bytes, lease: LeaseId) -> Bytes {
    [prefix, format!("{lease:x}").as_bytes()].concat().into()
}

/// A place in a queue.
pub(super) struct QueuePlace {
    /// The `create_revision` of the own key.
    pub(super) revision: i64,
    pub(super) header: pb::ResponseHeader,
    /// The key's value, if it was there before.
    pub(super) existing: Option<mvccpb::KeyValue>,
    /// The first in the queue, as of the same moment; it may be the own key.
    pub(super) first: Option<mvccpb::KeyValue>,
}

/// Writes the own key at the end of the queue, unless it stands there already.
pub(super) async fn enter(
    client: &Client,
    prefix: &Bytes,
    key: &Bytes,
    value: Bytes,
    lease: LeaseId,
) -> Result<QueuePlace, Failure> {
    let put = pb::PutRequest { key: key.clone(), value, lease: lease.0, ..Default::default() };
    let get = pb::RangeRequest { key: key.clone(), ..Default::default() };
    let owner = oldest(prefix);
    let txn = pb::TxnRequest {
        compare: vec![created_at(key, 0)],
        success: vec![op(Request::RequestPut(put)), op(Request::RequestRange(owner.clone()))],
        failure: vec![op(Request::RequestRange(get)), op(Request::RequestRange(owner))],
    };
    let answer = client.txn(txn).await?;
    let header = answer.header.unwrap_or_default();
    let mut ranges = answer.responses.into_iter().map(|op| match op.response {
        Some(Response::ResponseRange(range)) => range.kvs.into_iter().next(),
        _ => None,
    });
    let (existing, first) = (ranges.next().flatten(), ranges.next().flatten());
    let revision = existing.as_ref().map_or(header.revision, |kv| kv.create_revision);
    Ok(QueuePlace { revision, header, existing, first })
}

/// Waits until no key below the prefix is older than `revision`.
///
/// Only the youngest of the older ones is watched; when it goes, the next look shows who is left.
pub(super) async fn wait_for_turn(
    client: &Client,
    prefix: &Bytes,
    revision: i64,
) -> Result<(), Failure> {
    loop {
        let request = pb::RangeRequest {
            key: prefix.clone(),
            range_end: prefix_end(prefix),
            limit: 1,
            sort_order: SortOrder::Descend as i32,
            sort_target: SortTarget::Create as i32,
            max_create_revision: revision - 1,
            ..Default::default()
        };
        let answer = client.range(request).await?;
        let seen = answer.header.unwrap_or_default().revision;
        let Some(before) = answer.kvs.into_iter().next() else { return Ok(()) };
        wait_for_deletion(client, before.key, seen).await?;
    }
}

/// Waits until a key that was there at revision `seen` is deleted; returns early if that can no
/// longer be told from the history.
async fn wait_for_deletion(client: &Client, key: Bytes, seen: i64) -> Result<(), Failure> {
    let request = pb::WatchCreateRequest { key, start_revision: seen + 1, ..Default::default() };
    let watched = async {
        let mut watcher = client.watch(request).await?;
        loop {
            let response = watcher.next().await?;
            if response.events.iter().any(|event| event.r#type == EventType::Delete as i32) {
                return Ok::<(), End>(());
            }
        }
    };
    match watched.await {
        Err(end) if end.is_compacted() => Ok(()),
        outcome => outcome.map_err(|end| Failure::Client(end.into())),
    }
}

/// Returns the oldest key below a prefix.
pub(super) fn oldest(prefix: &Bytes) -> pb::RangeRequest {
    pb::RangeRequest {
        key: prefix.clone(),
        range_end: prefix_end(prefix),
        limit: 1,
        sort_order: SortOrder::Ascend as i32,
        sort_target: SortTarget::Create as i32,
        ..Default::default()
    }
}

/// Whether `key` was created at `revision`; at 0, whether there is none.
pub(super) fn created_at(key: &Bytes, revision: i64) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.clone(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
        range_end: Bytes::new(),
    }
}

pub(super) fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}
