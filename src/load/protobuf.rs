//! The requests that a generator sends and the few fields of answers that it looks at, as protobuf
//! without objects in between: a request is written straight into the send buffer.
//!
//! Field numbers are those of `proto/etcdserverpb.proto` and `proto/mvccpb.proto`; the tests hold
//! every form against the generated messages.

use bytes::{BufMut, BytesMut};

use crate::protocol::Fields;

const VARINT: u8 = 0;
const LENGTH: u8 = 2;

/// `RangeRequest.sort_order` DESCEND and `RangeRequest.sort_target` MOD.
const SORT_DESCEND: u64 = 2;
const SORT_MOD: u64 = 3;
/// `Compare.target` MOD.
const TARGET_MOD: u64 = 2;
/// `Compare.result` GREATER.
const COMPARE_GREATER: u64 = 1;

fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn bytes_len(length: usize) -> usize {
    if length == 0 { 0 } else { nested_len(length) }
}

/// Returns the bytes of a field with a number below 16 that holds a message or bytes.
fn nested_len(length: usize) -> usize {
    1 + varint_len(length as u64) + length
}

fn put_bytes(out: &mut BytesMut, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        open(out, field, bytes.len());
        out.extend_from_slice(bytes);
    }
}

fn put_number(out: &mut BytesMut, field: u8, value: u64) {
    if value != 0 {
        out.put_u8(field << 3 | VARINT);
        put_varint(out, value);
    }
}

/// The start of a nested message of `length` bytes.
fn open(out: &mut BytesMut, field: u8, length: usize) {
    out.put_u8(field << 3 | LENGTH);
    put_varint(out, length as u64);
}

/// `PutRequest`.
pub(super) fn put(out: &mut BytesMut, key: &[u8], value: &[u8]) {
    put_bytes(out, 1, key);
    put_bytes(out, 2, value);
}

/// `PutRequest` of a key that goes with a lease.
pub(super) fn put_with_lease(out: &mut BytesMut, key: &[u8], value: &[u8], lease: u64) {
    put(out, key, value);
    put_number(out, 3, lease);
}

fn put_len(key: &[u8], value: &[u8]) -> usize {
    bytes_len(key.len()) + bytes_len(value.len())
}

/// `RangeRequest`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Range<'a> {
    pub(super) key: &'a [u8],
    pub(super) end: &'a [u8],
    pub(super) limit: u64,
    pub(super) revision: u64,
    pub(super) serializable: bool,
    pub(super) count_only: bool,
    /// Those changed last first.
    pub(super) by_change: bool,
}

impl Range<'_> {
    pub(super) fn write(&self, out: &mut BytesMut) {
        put_bytes(out, 1, self.key);
        put_bytes(out, 2, self.end);
        put_number(out, 3, self.limit);
        put_number(out, 4, self.revision);
        if self.by_change {
            put_number(out, 5, SORT_DESCEND);
            put_number(out, 6, SORT_MOD);
        }
        put_number(out, 7, u64::from(self.serializable));
        put_number(out, 9, u64::from(self.count_only));
    }
}

/// `DeleteRangeRequest` of one key.
pub(super) fn delete(out: &mut BytesMut, key: &[u8]) {
    put_bytes(out, 1, key);
}

/// `DeleteRangeRequest` of the keys from `key` on and below `end`.
pub(super) fn delete_range(out: &mut BytesMut, key: &[u8], end: &[u8]) {
    put_bytes(out, 1, key);
    put_bytes(out, 2, end);
}

/// The operation that a guarded txn makes if the guard holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guarded<'a> {
    Put(&'a [u8]),
    Delete,
}

/// `TxnRequest`: if `key` was last changed at `revision` (0: does not exist), change it, else say
/// what it is. Without a revision it is changed however it is.
pub(super) fn compare_and_set(
    out: &mut BytesMut,
    key: &[u8],
    revision: Option<u64>,
    change: Guarded<'_>,
) {
    // Every revision is above -1.
    let (result, revision) = revision.map_or((COMPARE_GREATER, u64::MAX), |guard| (0, guard));
    let result_len = if result == 0 { 0 } else { 2 };
    let compare = result_len + 2 + bytes_len(key.len()) + 1 + varint_len(revision);
    open(out, 1, compare);
    put_number(out, 1, result);
    put_number(out, 2, TARGET_MOD);
    put_bytes(out, 3, key);
    // In a oneof, a zero is written.
    out.put_u8(6 << 3 | VARINT);
    put_varint(out, revision);
    match change {
        Guarded::Put(value) => put_op(out, key, value),
        Guarded::Delete => {
            let length = bytes_len(key.len());
            open(out, 2, nested_len(length));
            open(out, 3, length);
            delete(out, key);
        }
    }
    let length = bytes_len(key.len());
    open(out, 3, nested_len(length));
    open(out, 1, length);
    put_bytes(out, 1, key);
}

/// One more put of a `TxnRequest` without compares.
pub(super) fn put_op(out: &mut BytesMut, key: &[u8], value: &[u8]) {
    let length = put_len(key, value);
    open(out, 2, nested_len(length));
    open(out, 2, length);
    put(out, key, value);
}

/// `WatchRequest` that creates a watcher with an id of our choice.
pub(super) fn watch_create(out: &mut BytesMut, key: &[u8], end: &[u8], id: u64) {
    let id_len = if id == 0 { 0 } else { 1 + varint_len(id) };
    open(out, 1, bytes_len(key.len()) + bytes_len(end.len()) + id_len);
    put_bytes(out, 1, key);
    put_bytes(out, 2, end);
    put_number(out, 7, id);
}

/// `LeaseGrantRequest`; the server chooses the id.
pub(super) fn lease_grant(out: &mut BytesMut, ttl: u64) {
    put_number(out, 1, ttl);
}

/// `LeaseKeepAliveRequest`.
pub(super) fn lease_keep_alive(out: &mut BytesMut, lease: u64) {
    put_number(out, 1, lease);
}

fn nested(message: &[u8], number: u64) -> Option<&[u8]> {
    Fields(message).find_map(|field| field.bytes.filter(|_| field.number == number))
}

fn number(message: &[u8], number: u64) -> u64 {
    let mut fields = Fields(message);
    fields.find_map(|field| field.varint.filter(|_| field.number == number)).unwrap_or(0)
}

/// `header.revision` of any answer.
pub(super) fn revision(answer: &[u8]) -> u64 {
    nested(answer, 1).map_or(0, |header| number(header, 3))
}

/// `DeleteRangeResponse.deleted`.
pub(super) fn deleted(answer: &[u8]) -> u64 {
    number(answer, 2)
}

/// `TxnResponse.succeeded`.
pub(super) fn succeeded(answer: &[u8]) -> bool {
    number(answer, 2) != 0
}

/// `RangeResponse.count`.
pub(super) fn count(answer: &[u8]) -> u64 {
    number(answer, 4)
}

/// `ID` and `TTL` of a `LeaseGrantResponse` or a `LeaseKeepAliveResponse`.
pub(super) fn lease(answer: &[u8]) -> (u64, u64) {
    (number(answer, 2), number(answer, 3))
}

/// The fields of a `WatchResponse` besides its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched<'a> {
    pub(super) id: u64,
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) reason: &'a [u8],
}

pub(super) fn watched(message: &[u8]) -> Watched<'_> {
    let mut watched = Watched::default();
    for field in Fields(message) {
        match (field.number, field.varint, field.bytes) {
            (2, Some(id), _) => watched.id = id,
            (3, Some(created), _) => watched.created = created != 0,
            (4, Some(canceled), _) => watched.canceled = canceled != 0,
            (6, _, Some(reason)) => watched.reason = reason,
            _ => {}
        }
    }
    watched
}

/// The fields of an `Event` that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) deletes: bool,
    pub(super) revision: u64,
    pub(super) value: &'a [u8],
}

/// The events of a `WatchResponse`, in order.
pub(super) fn events(message: &[u8]) -> impl Iterator<Item = Event<'_>> {
    Fields(message).filter_map(|field| field.bytes.filter(|_| field.number == 11)).map(event)
}

fn event(bytes: &[u8]) -> Event<'_> {
    let mut event = Event::default();
    for field in Fields(bytes) {
        match (field.number, field.varint, field.bytes) {
            (1, Some(kind), _) => event.deletes = kind != 0,
            (2, _, Some(kv)) => {
                for field in Fields(kv) {
                    match (field.number, field.varint, field.bytes) {
                        (3, Some(revision), _) => event.revision = revision,
                        (5, _, Some(value)) => event.value = value,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    event
}

/// Whether a `RangeResponse` has a key-value.
pub(super) fn has_key_value(range: &[u8]) -> bool {
    nested(range, 2).is_some()
}

/// Keys and values of a `RangeResponse`.
pub(super) fn key_values(range: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let kvs = Fields(range).filter_map(|field| field.bytes.filter(|_| field.number == 2));
    kvs.map(|kv| (nested(kv, 1).unwrap_or(&[]), nested(kv, 5).unwrap_or(&[])))
}

/// The first key-value of a `RangeResponse`: mod revision and value.
pub(super) fn first_key_value(range: &[u8]) -> Option<(u64, &[u8])> {
    let kv = nested(range, 2)?;
    Some((number(kv, 3), nested(kv, 5).unwrap_or(&[])))
}

/// Returns, for a `TxnResponse` whose guard failed, the key's mod revision as its only range read
/// it, 0 if there is no such key.
pub(super) fn revision_read(answer: &[u8]) -> u64 {
    let range = nested(answer, 3).and_then(|op| nested(op, 1));
    range.and_then(first_key_value).map_or(0, |(revision, _)| revision)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::protocol::pb::etcdserverpb as pb;
    use crate::protocol::pb::mvccpb::KeyValue;

    fn written<M: Message + Default>(write: impl FnOnce(&mut BytesMut)) -> M {
        let mut out = BytesMut::new();
        write(&mut out);
        M::decode(out.freeze()).expect("protobuf")
    }

    #[test]
    fn requests_are_what_the_schema_says() {
        let message: pb::PutRequest = written(|out| put(out, b"k", &[7; 300]));
        assert_eq!((&message.key[..], message.value.len()), (&b"k"[..], 300));
        let range = Range {
            key: b"a",
            end: b"b",
            limit: 9,
            revision: 300,
            serializable: true,
            count_only: true,
            by_change: true,
        };
        let message: pb::RangeRequest = written(|out| range.write(out));
        assert_eq!((message.sort_order, message.sort_target), (2, 3));
        assert!(message.count_only);
        assert_eq!((&message.key[..], &message.range_end[..]), (&b"a"[..], &b"b"[..]));
        assert_eq!((message.limit, message.revision, message.serializable), (9, 300, true));
        let message: pb::DeleteRangeRequest = written(|out| delete(out, b"k"));
        assert_eq!(&message.key[..], b"k");
        let message: pb::DeleteRangeRequest = written(|out| delete_range(out, b"k", b"l"));
        assert_eq!((&message.key[..], &message.range_end[..]), (&b"k"[..], &b"l"[..]));
    }

    #[test]
    fn watches_and_leases_are_what_the_schema_says() {
        use pb::watch_request::RequestUnion;
        for (end, id) in [(&b""[..], 0), (b"z", 1), (b"z", 1 << 40)] {
            let message: pb::WatchRequest = written(|out| watch_create(out, b"key", end, id));
            let Some(RequestUnion::CreateRequest(create)) = message.request_union else {
                panic!("{message:?}")
            };
            assert_eq!((&create.key[..], &create.range_end[..]), (&b"key"[..], end));
            assert_eq!(create.watch_id, id as i64);
        }
        let message: pb::PutRequest = written(|out| put_with_lease(out, b"k", b"v", 1 << 50));
        assert_eq!((&message.key[..], message.lease), (&b"k"[..], 1 << 50));
        let message: pb::LeaseGrantRequest = written(|out| lease_grant(out, 60));
        assert_eq!((message.ttl, message.id), (60, 0));
        let message: pb::LeaseKeepAliveRequest = written(|out| lease_keep_alive(out, 1 << 60));
        assert_eq!(message.id, 1 << 60);
        let kept = pb::LeaseKeepAliveResponse { id: 9, ttl: 60, ..Default::default() };
        assert_eq!(lease(&kept.encode_to_vec()), (9, 60));
        let granted = pb::LeaseGrantResponse { id: 9, ttl: 60, ..Default::default() };
        assert_eq!(lease(&granted.encode_to_vec()), (9, 60));
    }

    #[test]
    fn events_are_read_as_the_schema_says() {
        use crate::protocol::pb::mvccpb;
        let kv = |mod_revision, value: &'static [u8]| {
            Some(KeyValue { mod_revision, value: value.into(), ..Default::default() })
        };
        let put = mvccpb::Event { kv: kv(5, b"v"), ..Default::default() };
        let delete = mvccpb::Event { r#type: 1, kv: kv(6, b""), prev_kv: kv(5, b"v") };
        let response = pb::WatchResponse {
            header: Some(pb::ResponseHeader { revision: 6, ..Default::default() }),
            watch_id: 7,
            events: vec![put, delete],
            ..Default::default()
        };
        let bytes = response.encode_to_vec();
        assert_eq!(watched(&bytes), Watched { id: 7, ..Watched::default() });
        let read: Vec<Event<'_>> = events(&bytes).collect();
        let put = Event { deletes: false, revision: 5, value: b"v" };
        assert_eq!(read, [put, Event { deletes: true, revision: 6, value: b"" }]);
        let canceled = pb::WatchResponse {
            created: true,
            canceled: true,
            cancel_reason: "why".to_owned(),
            ..Default::default()
        };
        let bytes = canceled.encode_to_vec();
        let read = watched(&bytes);
        assert!(read.created && read.canceled && read.reason == b"why");
    }

    #[test]
    fn guarded_txns_are_what_the_schema_says() {
        use pb::compare::TargetUnion;
        use pb::request_op::Request;
        for revision in [0, 5, 1 << 40] {
            for change in [Guarded::Put(&[1; 200]), Guarded::Delete] {
                let txn: pb::TxnRequest =
                    written(|out| compare_and_set(out, b"key", Some(revision), change));
                let [compare] = &txn.compare[..] else { panic!("{txn:?}") };
                assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(revision as i64)));
                assert_eq!((compare.target, compare.result), (2, 0));
                let ([success], [failure]) = (&txn.success[..], &txn.failure[..]) else {
                    panic!("{txn:?}")
                };
                match (&success.request, change) {
                    (Some(Request::RequestPut(put)), Guarded::Put(value)) => {
                        assert_eq!((&put.key[..], &put.value[..]), (&b"key"[..], value));
                    }
                    (Some(Request::RequestDeleteRange(delete)), Guarded::Delete) => {
                        assert_eq!(&delete.key[..], b"key");
                    }
                    other => panic!("{other:?}"),
                }
                assert!(
                    matches!(&failure.request, Some(Request::RequestRange(r)) if r.key == "key")
                );
            }
        }
        let any: pb::TxnRequest =
            written(|out| compare_and_set(out, b"key", None, Guarded::Delete));
        let compare = &any.compare[0];
        assert_eq!(compare.result, pb::compare::CompareResult::Greater as i32);
        assert_eq!(compare.target_union, Some(pb::compare::TargetUnion::ModRevision(-1)));
        let txn: pb::TxnRequest = written(|out| {
            put_op(out, b"a", b"1");
            put_op(out, b"b", b"");
        });
        assert_eq!(txn.success.len(), 2);
    }

    #[test]
    fn answers_are_read_as_the_schema_says() {
        let header = Some(pb::ResponseHeader { revision: 777, ..Default::default() });
        let kv = KeyValue { mod_revision: 55, value: "v".into(), ..Default::default() };
        let range = pb::RangeResponse { header, kvs: vec![kv; 3], count: 9, ..Default::default() };
        let bytes = range.encode_to_vec();
        assert_eq!(revision(&bytes), 777);
        assert_eq!(first_key_value(&bytes), Some((55, &b"v"[..])));
        assert!(has_key_value(&bytes));
        let empty = pb::RangeResponse { header, ..Default::default() };
        assert!(!has_key_value(&empty.encode_to_vec()));
        let response = Some(pb::response_op::Response::ResponseRange(range));
        let txn = pb::TxnResponse {
            header,
            succeeded: false,
            responses: vec![pb::ResponseOp { response }],
        };
        let bytes = txn.encode_to_vec();
        assert_eq!((revision(&bytes), succeeded(&bytes), revision_read(&bytes)), (777, false, 55));
        let delete = pb::DeleteRangeResponse { header, deleted: 4, ..Default::default() };
        assert_eq!(deleted(&delete.encode_to_vec()), 4);
        assert_eq!(revision_read(&pb::TxnResponse::default().encode_to_vec()), 0);
    }

    #[test]
    fn what_is_no_protobuf_ends() {
        for bytes in [&[0xff; 20][..], &[0x0a, 5, 1], &[0x0f], &[0x09, 1]] {
            assert!(Fields(bytes).count() <= 1, "{bytes:?}");
            assert_eq!(revision(bytes), 0);
        }
    }
}
