//! Replies of the KV service as bytes, without messages in between.
//!
//! Fields are written in order of their numbers and zeros are left out, so the bytes are prost's.
//! Lengths of nested messages are computed before they are written; a txn nested `d` deep is
//! measured `d` times, and `d` is bounded by the request's form.

use bytes::BytesMut;
use prost::encoding::encoded_len_varint;

use super::HeaderFields;
use super::gather::Gather;
use crate::types::{
    DeleteRangeReply, KeyValue, KeyView, OpReply, PutReply, RangeReply, Revision, TxnReply,
};

/// Which fields of the header are set.
#[derive(Clone, Copy)]
pub(super) enum Stamp<'a> {
    /// Top-level replies.
    Full(&'a HeaderFields),
    /// Replies inside a txn know nothing but a revision.
    RevisionOnly,
}

/// Appends a `RangeResponse`.
pub(super) fn range(stamp: Stamp, reply: &RangeReply, out: &mut BytesMut) {
    out.reserve(range_len(stamp, reply));
    let mut fields = Gather::new(out);
    put_range(stamp, reply, &mut fields);
    fields.finish();
}

/// Appends the `RangeResponse` to who asked for one key.
pub(super) fn get(stamp: Stamp, revision: Revision, kv: Option<KeyView<'_>>, out: &mut BytesMut) {
    // More than the small fields ever come to.
    const SMALL_FIELDS_BYTES: usize = 192;
    out.reserve(SMALL_FIELDS_BYTES + kv.map_or(0, |kv| kv.key.len() + kv.value.len()));
    let mut fields = Gather::new(out);
    put_header(stamp, revision, &mut fields);
    if let Some(kv) = kv {
        put_key_value(2, kv, &mut fields);
    }
    fields.varint(4, u64::from(kv.is_some()));
    fields.finish();
}

/// Appends a `PutResponse`.
pub(super) fn put(stamp: Stamp, reply: &PutReply, out: &mut BytesMut) {
    out.reserve(put_len(stamp, reply));
    let mut fields = Gather::new(out);
    put_put(stamp, reply, &mut fields);
    fields.finish();
}

/// Appends a `DeleteRangeResponse`.
pub(super) fn delete_range(stamp: Stamp, reply: &DeleteRangeReply, out: &mut BytesMut) {
    out.reserve(delete_range_len(stamp, reply));
    let mut fields = Gather::new(out);
    put_delete_range(stamp, reply, &mut fields);
    fields.finish();
}

/// Appends a `TxnResponse`.
pub(super) fn txn(stamp: Stamp, reply: &TxnReply, out: &mut BytesMut) {
    if let Some(one) = same_puts(&reply.responses) {
        return txn_of_same(stamp, reply, one, out);
    }
    out.reserve(txn_len(stamp, reply));
    let mut fields = Gather::new(out);
    put_txn(stamp, reply, &mut fields);
    fields.finish();
}

/// Encodes a txn's reply of which every response is `one`, whose bytes are made once.
fn txn_of_same(stamp: Stamp, reply: &TxnReply, one: &OpReply, out: &mut BytesMut) {
    const ONE_BYTES_MAX: usize = 32;
    let mut fields = Gather::new(out);
    put_header(stamp, reply.revision, &mut fields);
    fields.bool(2, reply.succeeded);
    fields.finish();
    let start = out.len();
    let mut fields = Gather::new(out);
    put_op(one, &mut fields);
    fields.finish();
    let mut copy = [0; ONE_BYTES_MAX];
    let copy = &mut copy[..out.len() - start];
    copy.copy_from_slice(&out[start..]);
    out.reserve(copy.len() * reply.responses.len());
    for _ in 1..reply.responses.len() {
        out.extend_from_slice(copy);
    }
}

/// Returns the answer to each of several puts, if it is the same and says nothing but a revision.
fn same_puts(responses: &[OpReply]) -> Option<&OpReply> {
    let one = responses.first()?;
    let OpReply::Put(PutReply { prev_kv: None, revision }) = one else { return None };
    let is_same = |other: &OpReply| match other {
        OpReply::Put(put) => put.prev_kv.is_none() && put.revision == *revision,
        _ => false,
    };
    responses.iter().all(is_same).then_some(one)
}

/// Appends a `RangeStreamResponse`: with a stamp the last part, which has everything but the keys
/// of the parts before it; without one a part that has only keys.
pub(super) fn range_stream(
    last: Option<(Stamp, &RangeReply)>,
    kvs: &[KeyValue],
    out: &mut BytesMut,
) {
    let kvs_len = kvs_len(kvs);
    let (head_len, tail_len) = match last {
        Some((stamp, reply)) => (
            nested_len(header_len(stamp, reply.revision)),
            bool_len(reply.more) + varint_field_len(reply.count as u64),
        ),
        None => (0, 0),
    };
    let length = head_len + kvs_len + tail_len;
    out.reserve(nested_len(length));
    let mut fields = Gather::new(out);
    fields.length(1, length);
    if let Some((stamp, reply)) = last {
        put_header(stamp, reply.revision, &mut fields);
    }
    put_kvs(2, kvs, &mut fields);
    if let Some((_, reply)) = last {
        fields.bool(3, reply.more);
        fields.varint(4, reply.count as u64);
    }
    fields.finish();
}

// Lengths. Every field number here is below 16, so every key is one byte.

pub(super) fn varint_field_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

pub(super) fn bool_len(value: bool) -> usize {
    if value { 2 } else { 0 }
}

pub(super) fn bytes_len(length: usize) -> usize {
    if length == 0 { 0 } else { nested_len(length) }
}

/// Returns the bytes of a length-delimited field that is there even if it is empty.
pub(super) fn nested_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

pub(super) fn header_len(stamp: Stamp, revision: Revision) -> usize {
    let revision = varint_field_len(revision.0 as u64);
    match stamp {
        Stamp::RevisionOnly => revision,
        Stamp::Full(header) => {
            varint_field_len(header.cluster_id.0)
                + varint_field_len(header.member_id.0)
                + revision
                + varint_field_len(header.raft_term.0)
        }
    }
}

/// Bytes of a `KeyValue`.
pub(super) fn key_value_len(kv: KeyView<'_>) -> usize {
    bytes_len(kv.key.len())
        + varint_field_len(kv.create as u64)
        + varint_field_len(kv.modified as u64)
        + varint_field_len(kv.version as u64)
        + bytes_len(kv.value.len())
        + varint_field_len(kv.lease.0 as u64)
}

pub(super) fn kvs_len(kvs: &[KeyValue]) -> usize {
    kvs.iter().map(|kv| nested_len(key_value_len(kv.view()))).sum()
}

fn range_len(stamp: Stamp, reply: &RangeReply) -> usize {
    nested_len(header_len(stamp, reply.revision))
        + kvs_len(&reply.kvs)
        + bool_len(reply.more)
        + varint_field_len(reply.count as u64)
}

fn put_len(stamp: Stamp, reply: &PutReply) -> usize {
    nested_len(header_len(stamp, reply.revision))
        + reply.prev_kv.as_ref().map_or(0, |kv| nested_len(key_value_len(kv.view())))
}

fn delete_range_len(stamp: Stamp, reply: &DeleteRangeReply) -> usize {
    nested_len(header_len(stamp, reply.revision))
        + varint_field_len(reply.deleted as u64)
        + kvs_len(&reply.prev_kvs)
}

fn txn_len(stamp: Stamp, reply: &TxnReply) -> usize {
    let responses: usize = reply.responses.iter().map(|op| nested_len(op_len(op))).sum();
    nested_len(header_len(stamp, reply.revision)) + bool_len(reply.succeeded) + responses
}

/// Bytes of a `ResponseOp`.
fn op_len(op: &OpReply) -> usize {
    nested_len(op_message_len(op))
}

fn op_message_len(op: &OpReply) -> usize {
    match op {
        OpReply::Range(reply) => range_len(Stamp::RevisionOnly, reply),
        OpReply::Put(reply) => put_len(Stamp::RevisionOnly, reply),
        OpReply::DeleteRange(reply) => delete_range_len(Stamp::RevisionOnly, reply),
        OpReply::Txn(reply) => txn_len(Stamp::RevisionOnly, reply),
    }
}

// Bytes, in the order of the field numbers.

pub(super) fn put_header(stamp: Stamp, revision: Revision, fields: &mut Gather<'_>) {
    fields.small(1, |fields| match stamp {
        Stamp::RevisionOnly => fields.varint(3, revision.0 as u64),
        Stamp::Full(header) => {
            fields.varint(1, header.cluster_id.0);
            fields.varint(2, header.member_id.0);
            fields.varint(3, revision.0 as u64);
            fields.varint(4, header.raft_term.0);
        }
    });
}

/// A `KeyValue` up to the bytes of its value, which must not be empty. They are to follow, and the
/// lease after them.
pub(super) fn put_key_before_value(number: u8, kv: KeyView<'_>, fields: &mut Gather<'_>) {
    fields.length(number, key_value_len(kv));
    fields.bytes(1, kv.key);
    fields.varint(2, kv.create as u64);
    fields.varint(3, kv.modified as u64);
    fields.varint(4, kv.version as u64);
    fields.length(5, kv.value.len());
}

pub(super) fn put_key_value(number: u8, kv: KeyView<'_>, fields: &mut Gather<'_>) {
    fields.length(number, key_value_len(kv));
    fields.bytes(1, kv.key);
    fields.varint(2, kv.create as u64);
    fields.varint(3, kv.modified as u64);
    fields.varint(4, kv.version as u64);
    fields.bytes(5, kv.value);
    fields.varint(6, kv.lease.0 as u64);
}

fn put_kvs(number: u8, kvs: &[KeyValue], fields: &mut Gather<'_>) {
    for kv in kvs {
        put_key_value(number, kv.view(), fields);
    }
}

fn put_range(stamp: Stamp, reply: &RangeReply, fields: &mut Gather<'_>) {
    put_header(stamp, reply.revision, fields);
    put_kvs(2, &reply.kvs, fields);
    fields.bool(3, reply.more);
    fields.varint(4, reply.count as u64);
}

fn put_put(stamp: Stamp, reply: &PutReply, fields: &mut Gather<'_>) {
    put_header(stamp, reply.revision, fields);
    if let Some(kv) = &reply.prev_kv {
        put_key_value(2, kv.view(), fields);
    }
}

fn put_delete_range(stamp: Stamp, reply: &DeleteRangeReply, fields: &mut Gather<'_>) {
    put_header(stamp, reply.revision, fields);
    fields.varint(2, reply.deleted as u64);
    put_kvs(3, &reply.prev_kvs, fields);
}

fn put_txn(stamp: Stamp, reply: &TxnReply, fields: &mut Gather<'_>) {
    put_header(stamp, reply.revision, fields);
    fields.bool(2, reply.succeeded);
    reply.responses.iter().for_each(|op| put_op(op, fields));
}

/// Returns the field of a `ResponseOp` in which the reply stands.
pub(super) fn op_number(op: &OpReply) -> u8 {
    match op {
        OpReply::Range(_) => 1,
        OpReply::Put(_) => 2,
        OpReply::DeleteRange(_) => 3,
        OpReply::Txn(_) => 4,
    }
}

/// A `ResponseOp`, as a field of a `TxnResponse`.
fn put_op(op: &OpReply, fields: &mut Gather<'_>) {
    let length = op_message_len(op);
    fields.length(3, nested_len(length));
    fields.length(op_number(op), length);
    match op {
        OpReply::Range(reply) => put_range(Stamp::RevisionOnly, reply, fields),
        OpReply::Put(reply) => put_put(Stamp::RevisionOnly, reply, fields),
        OpReply::DeleteRange(reply) => put_delete_range(Stamp::RevisionOnly, reply, fields),
        OpReply::Txn(reply) => put_txn(Stamp::RevisionOnly, reply, fields),
    }
}
