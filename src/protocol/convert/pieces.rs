//! A reply of many keys as bytes, a piece at a time.
//!
//! ```text
//!  Reply ──▶ parts │ raw │ open: message of 3 parts │ raw │ keys │ raw │ …
//!            measured key by key: lengths stand before what they measure
//!            encoded key by key, a large value in pieces; a key is dropped when it is encoded
//! ```
//!
//! The bytes are those of [`mod@super::encode`], which is for replies that are no work.

use std::vec::IntoIter;

use bytes::BytesMut;

use super::HeaderFields;
use super::gather::Gather;
use super::hot::{self, Stamp};
use crate::types::{KeyValue, OpReply, Reply};

/// Keys, and bytes of keys and values, above which a reply is encoded in pieces.
const AT_ONCE_KEYS: usize = 512;
/// Bytes of a reply that is encoded at once, at most, beside [`AT_ONCE_KEYS`].
const AT_ONCE_BYTES: usize = 256 << 10;

/// Bytes of a value above which it is copied in pieces too.
const VALUE_PIECE_BYTES: usize = 64 << 10;

/// A reply on its way: first [`Pieces::measure_some`] until it is through, then
/// [`Pieces::encode_some`].
#[derive(Debug)]
pub struct Pieces {
    parts: Vec<Part>,
    /// The part that is measured or encoded next.
    at: usize,
    /// Bytes of a value that is on its way out, and where.
    value: Option<(KeyValue, usize)>,
    length: usize,
}

#[derive(Debug)]
enum Part {
    Raw(BytesMut),
    /// A message: what follows up to the part `end`.
    Open {
        number: u8,
        end: usize,
        length: usize,
    },
    Keys {
        number: u8,
        kvs: IntoIter<KeyValue>,
        measured: usize,
        length: usize,
    },
}

impl Pieces {
    /// Whether a reply is so much work that it should go in pieces.
    pub fn is_due(reply: &Reply) -> bool {
        let mut load = Load { keys: AT_ONCE_KEYS, bytes: AT_ONCE_BYTES };
        !match reply {
            Reply::Range(range) => load.takes(&range.kvs),
            Reply::DeleteRange(delete) => load.takes(&delete.prev_kvs),
            Reply::Txn(txn) => load.takes_ops(&txn.responses),
            _ => true,
        }
    }

    /// Begins the reply of a range, a range delete or a txn.
    ///
    /// # Panics
    ///
    /// If it is another reply: those have few bytes.
    pub fn new(header: &HeaderFields, reply: Reply) -> Pieces {
        let mut parts = Parts::default();
        let stamp = Stamp::Full(header);
        match reply {
            Reply::Range(range) => parts.reply(stamp, OpReply::Range(range)),
            Reply::DeleteRange(delete) => parts.reply(stamp, OpReply::DeleteRange(delete)),
            Reply::Txn(txn) => parts.reply(stamp, OpReply::Txn(txn)),
            other => unreachable!("{other:?} goes at once"),
        }
        Pieces { parts: parts.finish(), at: 0, value: None, length: 0 }
    }

    /// Measures so many keys at most; whether all are measured.
    pub fn measure_some(&mut self, keys: usize) -> bool {
        let mut left = keys;
        while let Some(part) = self.parts.get_mut(self.at) {
            if let Part::Keys { kvs, measured, length, .. } = part {
                let keys = &kvs.as_slice()[*measured..];
                let keys = &keys[..keys.len().min(left)];
                *measured += keys.len();
                left -= keys.len();
                *length += hot::kvs_len(keys);
                if *measured < kvs.len() {
                    return false;
                }
            }
            self.at += 1;
        }
        self.at = 0;
        self.close_messages();
        true
    }

    /// From the last part to the first, so that the length of a message is known when it is needed.
    fn close_messages(&mut self) {
        let mut behind = vec![0; self.parts.len() + 1];
        for at in (0..self.parts.len()).rev() {
            let bytes = match &mut self.parts[at] {
                Part::Raw(bytes) => bytes.len(),
                Part::Keys { length, .. } => *length,
                Part::Open { end, length, .. } => {
                    *length = behind[at + 1] - behind[*end];
                    hot::nested_len(*length) - *length
                }
            };
            behind[at] = behind[at + 1] + bytes;
        }
        self.length = behind[0];
    }

    /// Bytes of all of it, once it is measured.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Drops so many keys at most; whether none are left.
    pub fn drop_some(&mut self, keys: usize) -> bool {
        let mut left = keys;
        while let Some(part) = self.parts.last_mut() {
            if let Part::Keys { kvs, .. } = part {
                left -= kvs.take(left).count();
                if kvs.len() > 0 {
                    return false;
                }
            }
            self.parts.pop();
        }
        true
    }

    /// Appends about so many bytes; whether that was all.
    pub fn encode_some(&mut self, bytes: usize, out: &mut BytesMut) -> bool {
        let full = out.len() + bytes;
        loop {
            if out.len() >= full {
                return false;
            }
            if let Some((kv, copied)) = &mut self.value {
                let piece = &kv.value[*copied..];
                let piece = &piece[..piece.len().min(full - out.len())];
                out.extend_from_slice(piece);
                *copied += piece.len();
                if *copied == kv.value.len() {
                    let mut fields = Gather::new(out);
                    fields.varint(6, kv.lease.0 as u64);
                    fields.finish();
                    self.value = None;
                }
                continue;
            }
            let Some(part) = self.parts.get_mut(self.at) else { return true };
            match part {
                Part::Raw(bytes) => out.extend_from_slice(bytes),
                Part::Open { number, length, .. } => {
                    let mut fields = Gather::new(out);
                    fields.length(*number, *length);
                    fields.finish();
                }
                Part::Keys { number, kvs, .. } => {
                    if !put_keys(*number, kvs, full, out, &mut self.value) {
                        continue;
                    }
                }
            }
            self.at += 1;
        }
    }
}

/// Appends keys until there are none or `out` is full; whether there are none. One with a large
/// value is left to go on with.
fn put_keys(
    number: u8,
    kvs: &mut IntoIter<KeyValue>,
    full: usize,
    out: &mut BytesMut,
    large: &mut Option<(KeyValue, usize)>,
) -> bool {
    let mut fields = Gather::new(out);
    while fields.len() < full {
        let Some(kv) = kvs.next() else {
            fields.finish();
            return true;
        };
        if kv.value.len() > VALUE_PIECE_BYTES {
            hot::put_key_before_value(number, kv.view(), &mut fields);
            *large = Some((kv, 0));
            break;
        }
        hot::put_key_value(number, kv.view(), &mut fields);
    }
    fields.finish();
    false
}

/// The work that may still be encoded at once.
struct Load {
    keys: usize,
    bytes: usize,
}

impl Load {
    fn takes(&mut self, kvs: &[KeyValue]) -> bool {
        if kvs.len() > self.keys {
            return false;
        }
        self.keys -= kvs.len();
        let bytes: usize = kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
        self.bytes.checked_sub(bytes).map(|left| self.bytes = left).is_some()
    }

    fn takes_ops(&mut self, ops: &[OpReply]) -> bool {
        ops.iter().all(|op| match op {
            OpReply::Range(range) => self.takes(&range.kvs),
            OpReply::DeleteRange(delete) => self.takes(&delete.prev_kvs),
            OpReply::Txn(txn) => self.takes_ops(&txn.responses),
            OpReply::Put(put) => {
                put.prev_kv.as_ref().is_none_or(|kv| self.takes(std::slice::from_ref(kv)))
            }
        })
    }
}

/// The parts of a message, in order.
#[derive(Default)]
struct Parts {
    parts: Vec<Part>,
    raw: BytesMut,
}

impl Parts {
    fn raw(&mut self, write: impl FnOnce(&mut Gather<'_>)) {
        let mut fields = Gather::new(&mut self.raw);
        write(&mut fields);
        fields.finish();
    }

    fn push(&mut self, part: Part) -> usize {
        if !self.raw.is_empty() {
            self.parts.push(Part::Raw(self.raw.split()));
        }
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn keys(&mut self, number: u8, kvs: Vec<KeyValue>) {
        if !kvs.is_empty() {
            self.push(Part::Keys { number, kvs: kvs.into_iter(), measured: 0, length: 0 });
        }
    }

    /// A message that `write` fills.
    fn message(&mut self, number: u8, write: impl FnOnce(&mut Parts)) {
        let at = self.push(Part::Open { number, end: 0, length: 0 });
        write(self);
        let behind = self.parts.len() + usize::from(!self.raw.is_empty());
        if !self.raw.is_empty() {
            self.parts.push(Part::Raw(self.raw.split()));
        }
        let Part::Open { end, .. } = &mut self.parts[at] else { unreachable!("pushed above") };
        *end = behind;
    }

    fn reply(&mut self, stamp: Stamp<'_>, reply: OpReply) {
        match reply {
            OpReply::Range(range) => {
                self.raw(|fields| hot::put_header(stamp, range.revision, fields));
                self.keys(2, range.kvs);
                self.raw(|fields| {
                    fields.bool(3, range.more);
                    fields.varint(4, range.count as u64);
                });
            }
            OpReply::Put(put) => {
                self.raw(|fields| hot::put_header(stamp, put.revision, fields));
                self.keys(2, put.prev_kv.into_iter().collect());
            }
            OpReply::DeleteRange(delete) => {
                self.raw(|fields| {
                    hot::put_header(stamp, delete.revision, fields);
                    fields.varint(2, delete.deleted as u64);
                });
                self.keys(3, delete.prev_kvs);
            }
            OpReply::Txn(txn) => {
                self.raw(|fields| {
                    hot::put_header(stamp, txn.revision, fields);
                    fields.bool(2, txn.succeeded);
                });
                for op in txn.responses {
                    let number = hot::op_number(&op);
                    self.message(3, |parts| {
                        parts.message(number, |parts| parts.reply(Stamp::RevisionOnly, op));
                    });
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Part> {
        if !self.raw.is_empty() {
            self.parts.push(Part::Raw(self.raw));
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{
        Blob, ClusterId, DeleteRangeReply, LeaseId, MemberId, PutReply, RangeReply, Revision, Term,
        TxnReply,
    };

    fn kvs(count: i64, value_bytes: usize) -> Vec<KeyValue> {
        let kv = |i: i64| KeyValue {
            key: Blob::from(i.to_string().as_bytes()),
            value: Blob::from(vec![i as u8; value_bytes * (i as usize % 3)]),
            create: i,
            modified: i << 20,
            version: i % 4,
            lease: LeaseId(if i % 2 == 0 { i } else { 0 }),
        };
        (0..count).map(kv).collect()
    }

    fn range(count: i64, value_bytes: usize) -> RangeReply {
        let kvs = kvs(count, value_bytes);
        RangeReply { revision: Revision(9), kvs, more: count % 2 == 0, count: count + 1 }
    }

    fn replies() -> Vec<Reply> {
        let delete = |count| DeleteRangeReply {
            revision: Revision(300),
            deleted: count,
            prev_kvs: kvs(count, 5),
        };
        let prev_kv = kvs(3, 70_000).pop();
        let put = PutReply { revision: Revision(1 << 40), prev_kv };
        let nested = TxnReply {
            revision: Revision(0),
            succeeded: true,
            responses: vec![
                OpReply::Range(range(40, 3)),
                OpReply::Txn(TxnReply::default()),
                OpReply::Put(put),
            ],
        };
        let txn = TxnReply {
            revision: Revision(77),
            succeeded: false,
            responses: vec![
                OpReply::Range(range(0, 0)),
                OpReply::Txn(nested),
                OpReply::DeleteRange(delete(30)),
                OpReply::Range(range(5, 200_000)),
            ],
        };
        vec![
            Reply::Range(range(0, 0)),
            Reply::Range(range(700, 10)),
            Reply::Range(range(4, 300_000)),
            Reply::DeleteRange(delete(0)),
            Reply::DeleteRange(delete(600)),
            Reply::Txn(txn),
        ]
    }

    #[test]
    fn pieces_of_any_size_are_the_whole() {
        let header = HeaderFields {
            cluster_id: ClusterId(1 << 60),
            member_id: MemberId(2),
            raft_term: Term(3),
        };
        for reply in replies() {
            let mut whole = BytesMut::new();
            super::super::encode(&header, &reply, &mut whole);
            for (keys, bytes) in [(1, 1), (7, 50), (512, 64 << 10), (10_000, usize::MAX / 2)] {
                let mut pieces = Pieces::new(&header, reply.clone());
                while !pieces.measure_some(keys) {}
                assert_eq!(pieces.length(), whole.len());
                let mut out = BytesMut::new();
                loop {
                    let before = out.len();
                    let is_through = pieces.encode_some(bytes, &mut out);
                    let most = bytes.saturating_add(VALUE_PIECE_BYTES + 256);
                    assert!(out.len() - before <= most, "a piece is bounded");
                    if is_through {
                        break;
                    }
                }
                assert!(out == whole, "pieces of {bytes} bytes");
            }
        }
    }

    #[test]
    fn many_keys_or_bytes_go_in_pieces() {
        let due: Vec<bool> = replies().iter().map(Pieces::is_due).collect();
        assert_eq!(due, [false, true, true, false, true, true]);
    }
}
