//! Replies of the KV service as bytes, without messages in between.
//!
//! Fields are written in order of their numbers and zeros are left out, so the bytes are prost's.
//! Lengths of nested messages are computed before they are written; a txn nested `d` deep is
//! measured `d` times, and `d` is bounded by the request's form.

use bytes::BytesMut;
use prost::encoding::encoded_len_varint;

use super::HeaderFields;
use crate::types::{DeleteRangeReply, KeyValue, OpReply, PutReply, RangeReply, Revision, TxnReply};

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

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
    put_range(stamp, reply, out);
}

/// Appends a `PutResponse`.
pub(super) fn put(stamp: Stamp, reply: &PutReply, out: &mut BytesMut) {
    out.reserve(put_len(stamp, reply));
    put_put(stamp, reply, out);
}

/// Appends a `DeleteRangeResponse`.
pub(super) fn delete_range(stamp: Stamp, reply: &DeleteRangeReply, out: &mut BytesMut) {
    out.reserve(delete_range_len(stamp, reply));
    put_delete_range(stamp, reply, out);
}

/// Appends a `TxnResponse`.
pub(super) fn txn(stamp: Stamp, reply: &TxnReply, out: &mut BytesMut) {
    if let Some(put) = same_puts(&reply.responses) {
        let mut one = Numbers::new();
        let length = put_len(Stamp::RevisionOnly, put);
        one.length(3, nested_len(length));
        one.length(2, length);
        one.length(1, header_len(Stamp::RevisionOnly, put.revision));
        one.varint(3, put.revision.0 as u64);
        let head = nested_len(header_len(stamp, reply.revision)) + bool_len(reply.succeeded);
        out.reserve(head + one.length * reply.responses.len());
        put_header(stamp, reply.revision, out);
        let mut numbers = Numbers::new();
        numbers.bool(2, reply.succeeded);
        numbers.flush(out);
        for _ in &reply.responses {
            out.extend_from_slice(&one.bytes[..one.length]);
        }
        return;
    }
    out.reserve(txn_len(stamp, reply));
    put_txn(stamp, reply, out);
}

/// The answer to each of several puts, if it is the same and says nothing but a revision.
fn same_puts(responses: &[OpReply]) -> Option<&PutReply> {
    let Some(OpReply::Put(first @ PutReply { prev_kv: None, .. })) = responses.first() else {
        return None;
    };
    let is_same = |other: &OpReply| matches!(other, OpReply::Put(put) if put == first);
    responses.iter().all(is_same).then_some(first)
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
    let mut numbers = Numbers::new();
    numbers.length(1, length);
    numbers.flush(out);
    if let Some((stamp, reply)) = last {
        put_header(stamp, reply.revision, out);
    }
    put_kvs(2, kvs, out);
    if let Some((_, reply)) = last {
        numbers.bool(3, reply.more);
        numbers.varint(4, reply.count as u64);
        numbers.flush(out);
    }
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

/// A length-delimited field that is there even if it is empty.
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
pub(super) fn key_value_len(kv: &KeyValue) -> usize {
    bytes_len(kv.key.len())
        + varint_field_len(kv.create as u64)
        + varint_field_len(kv.modified as u64)
        + varint_field_len(kv.version as u64)
        + bytes_len(kv.value.len())
        + varint_field_len(kv.lease.0 as u64)
}

fn kvs_len(kvs: &[KeyValue]) -> usize {
    kvs.iter().map(|kv| nested_len(key_value_len(kv))).sum()
}

fn range_len(stamp: Stamp, reply: &RangeReply) -> usize {
    nested_len(header_len(stamp, reply.revision))
        + kvs_len(&reply.kvs)
        + bool_len(reply.more)
        + varint_field_len(reply.count as u64)
}

fn put_len(stamp: Stamp, reply: &PutReply) -> usize {
    nested_len(header_len(stamp, reply.revision))
        + reply.prev_kv.as_ref().map_or(0, |kv| nested_len(key_value_len(kv)))
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

pub(super) fn put_header(stamp: Stamp, revision: Revision, out: &mut BytesMut) {
    let mut numbers = Numbers::new();
    numbers.length(1, header_len(stamp, revision));
    match stamp {
        Stamp::RevisionOnly => numbers.varint(3, revision.0 as u64),
        Stamp::Full(header) => {
            numbers.varint(1, header.cluster_id.0);
            numbers.varint(2, header.member_id.0);
            numbers.varint(3, revision.0 as u64);
            numbers.varint(4, header.raft_term.0);
        }
    }
    numbers.flush(out);
}

pub(super) fn put_key_value(number: u8, kv: &KeyValue, out: &mut BytesMut) {
    let mut numbers = Numbers::new();
    numbers.length(number, key_value_len(kv));
    numbers.bytes(1, &kv.key, out);
    numbers.varint(2, kv.create as u64);
    numbers.varint(3, kv.modified as u64);
    numbers.varint(4, kv.version as u64);
    numbers.bytes(5, &kv.value, out);
    numbers.varint(6, kv.lease.0 as u64);
    numbers.flush(out);
}

fn put_kvs(number: u8, kvs: &[KeyValue], out: &mut BytesMut) {
    for kv in kvs {
        put_key_value(number, kv, out);
    }
}

fn put_range(stamp: Stamp, reply: &RangeReply, out: &mut BytesMut) {
    put_header(stamp, reply.revision, out);
    put_kvs(2, &reply.kvs, out);
    let mut numbers = Numbers::new();
    numbers.bool(3, reply.more);
    numbers.varint(4, reply.count as u64);
    numbers.flush(out);
}

fn put_put(stamp: Stamp, reply: &PutReply, out: &mut BytesMut) {
    put_header(stamp, reply.revision, out);
    if let Some(kv) = &reply.prev_kv {
        put_key_value(2, kv, out);
    }
}

fn put_delete_range(stamp: Stamp, reply: &DeleteRangeReply, out: &mut BytesMut) {
    put_header(stamp, reply.revision, out);
    let mut numbers = Numbers::new();
    numbers.varint(2, reply.deleted as u64);
    numbers.flush(out);
    put_kvs(3, &reply.prev_kvs, out);
}

fn put_txn(stamp: Stamp, reply: &TxnReply, out: &mut BytesMut) {
    put_header(stamp, reply.revision, out);
    let mut numbers = Numbers::new();
    numbers.bool(2, reply.succeeded);
    for op in &reply.responses {
        let length = op_message_len(op);
        numbers.length(3, nested_len(length));
        let number = match op {
            OpReply::Range(_) => 1,
            OpReply::Put(_) => 2,
            OpReply::DeleteRange(_) => 3,
            OpReply::Txn(_) => 4,
        };
        numbers.length(number, length);
        numbers.flush(out);
        match op {
            OpReply::Range(reply) => put_range(Stamp::RevisionOnly, reply, out),
            OpReply::Put(reply) => put_put(Stamp::RevisionOnly, reply, out),
            OpReply::DeleteRange(reply) => put_delete_range(Stamp::RevisionOnly, reply, out),
            OpReply::Txn(reply) => put_txn(Stamp::RevisionOnly, reply, out),
        }
    }
    numbers.flush(out);
}

/// Small fields, gathered on the stack so that the send buffer is not grown byte by byte.
pub(super) struct Numbers {
    bytes: [u8; Numbers::ROOM],
    length: usize,
}

impl Numbers {
    /// A length and four varints of full size, each with its key: the most that is ever gathered.
    const ROOM: usize = 5 * 11;

    pub(super) fn new() -> Numbers {
        Numbers { bytes: [0; Numbers::ROOM], length: 0 }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    pub(super) fn varint(&mut self, number: u8, value: u64) {
        if value != 0 {
            self.byte(number << 3 | VARINT);
            self.raw_varint(value);
        }
    }

    pub(super) fn bool(&mut self, number: u8, value: bool) {
        self.varint(number, u64::from(value));
    }

    /// The key and the length of a nested message.
    pub(super) fn length(&mut self, number: u8, length: usize) {
        self.byte(number << 3 | LENGTH_DELIMITED);
        self.raw_varint(length as u64);
    }

    /// A bytes field, after what was gathered.
    pub(super) fn bytes(&mut self, number: u8, bytes: &[u8], out: &mut BytesMut) {
        if !bytes.is_empty() {
            self.length(number, bytes.len());
            self.flush(out);
            out.extend_from_slice(bytes);
        }
    }

    pub(super) fn flush(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes[..self.length]);
        self.length = 0;
    }
}
