//! RangeStream: one range at one revision, read and answered part by part, so that neither the core
//! nor the connection ever holds all of it. A part is as many keys as come to the size aimed at,
//! and one at least: that the keys before were small says nothing of the next.
//!
//! The first part fixes the revision. The last part brings it, and the count: of what was sent, and
//! of what a limit has left out, which is counted once, at the end. A compaction that passes the
//! revision on the way ends the stream with Compacted.
//!
//! Without an order, a sort target orders the keys of each part, ascending, as in etcd 3.7.1. There
//! the next part goes on behind the last key of that order, so that a stream of several parts can
//! leave keys out or send them twice; here parts follow one another in key order. What fits the
//! first part is answered as by Range, which is what etcd answers.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::front::Front;
use crate::protocol::convert::encode_range_part;
use crate::types::{
    Blob, KeyOrder, KeyValue, Nanos, RangeReply, RangeRequest, Refusal, Reply, Request, Revision,
    SortTarget,
};

/// Keys that are read first, and at a time at most.
const FIRST_READ_KEYS: u64 = 10;
const READ_KEYS_MAX: u64 = 1 << 14;

/// A range on its way out.
pub(super) struct RangeStream {
    /// The next read, but for its limit.
    request: RangeRequest,
    /// Keys that the client still wants; `None` is all there are.
    wanted: Option<u64>,
    read_keys: u64,
    /// Bytes that a part is to come to.
    bytes_aimed: usize,
    /// The keys that were read and are not in a part yet.
    kvs: VecDeque<KeyValue>,
    /// The last read's word on the whole range, whether it has more and how many keys, and whether
    /// it was the last read.
    more: bool,
    count: i64,
    is_through: bool,
    deadline: Option<Nanos>,
    /// The header's, once the first part is there.
    revision: Option<Revision>,
    /// Keys that went out.
    sent: i64,
    /// The order of the keys in a part.
    order: KeyOrder,
    /// Values are read to sort by, and not shown.
    hides_values: bool,
}

/// A part as it goes into the output.
pub(super) struct Part {
    reply: RangeReply,
    pub(super) is_last: bool,
}

impl RangeStream {
    /// Refuses what is no range; `protocol` has refused orders and filters. A part is to come to
    /// `bytes_aimed`.
    pub(super) fn new(
        request: Request,
        deadline: Option<Nanos>,
        bytes_aimed: usize,
    ) -> Result<RangeStream, Refusal> {
        let Request::Range(mut request) = request else {
            return Err(Refusal::Internal("internal error: not a range request".to_owned()));
        };
        let wanted = (request.limit > 0).then_some(request.limit);
        let (mut order, mut hides_values) = (KeyOrder::BY_KEY, false);
        if !request.count_only && wanted.is_none_or(|wanted| wanted > FIRST_READ_KEYS) {
            request.uncounted = true;
            order = KeyOrder::of(&request);
            hides_values = request.keys_only && request.target == SortTarget::Value;
            request.target = SortTarget::Key;
            request.keys_only &= !hides_values;
        }
        request.range = request.range.detached();
        Ok(RangeStream {
            request,
            wanted,
            read_keys: FIRST_READ_KEYS,
            bytes_aimed,
            kvs: VecDeque::new(),
            more: true,
            count: 0,
            is_through: false,
            deadline,
            revision: None,
            sent: 0,
            order,
            hides_values,
        })
    }

    /// The next part, read if need be. Not to be called again after the last one.
    pub(super) async fn next(&mut self, front: &Front) -> Result<Part, Refusal> {
        if self.kvs.is_empty() {
            self.read(front).await?;
        }
        let (mut kvs, mut bytes) = (Vec::new(), 0);
        while let Some(kv) = self.kvs.front() {
            bytes += size(kv);
            if !kvs.is_empty() && bytes > self.bytes_aimed {
                break;
            }
            kvs.extend(self.kvs.pop_front());
        }
        let is_last = self.kvs.is_empty() && self.is_through;
        let revision = self.revision.expect("something was read");
        let (more, count) = (self.more, self.count);
        Ok(Part { reply: RangeReply { revision, kvs, more, count }, is_last })
    }

    async fn read(&mut self, front: &Front) -> Result<(), Refusal> {
        let limit = self.wanted.map_or(self.read_keys, |wanted| wanted.min(self.read_keys));
        let mut reply = self.ask(front, RangeRequest { limit, ..self.request.clone() }).await?;
        let revision = *self.revision.get_or_insert(reply.revision);
        self.sent += reply.kvs.len() as i64;
        if let Some(wanted) = &mut self.wanted {
            *wanted -= (reply.kvs.len() as u64).min(*wanted);
        }
        self.is_through = !reply.more || self.wanted == Some(0);
        if self.request.revision <= 0 {
            self.request.revision = revision.0;
        }
        // The member has been at this revision; there is nothing left to wait for.
        self.request.serializable = true;
        if self.request.uncounted {
            if let Some(last) = reply.kvs.last() {
                self.request.range.start = successor(&last.key);
            }
            reply.count = self.sent;
            if self.is_through && reply.more {
                let rest = RangeRequest {
                    revision: self.request.revision,
                    serializable: true,
                    count_only: true,
                    ..RangeRequest::of(self.request.range.clone())
                };
                reply.count += self.ask(front, rest).await?.count;
            }
            self.arrange(&mut reply.kvs);
        }
        let bytes: usize = reply.kvs.iter().map(size).sum();
        if bytes < self.bytes_aimed / 2 {
            self.read_keys = (self.read_keys * 2).min(READ_KEYS_MAX);
        } else if bytes > self.bytes_aimed.saturating_mul(2) {
            self.read_keys = (self.read_keys / 2).max(1);
        }
        (self.more, self.count) = (reply.more, reply.count);
        self.kvs = reply.kvs.into();
        Ok(())
    }

    async fn ask(&self, front: &Front, request: RangeRequest) -> Result<RangeReply, Refusal> {
        match front.ask(Request::Range(request), self.deadline).await? {
            Reply::Range(reply) => Ok(reply),
            _ => Err(Refusal::Internal("internal error: unexpected reply to a range".to_owned())),
        }
    }

    /// Orders a part that came in key order; keys that tie stay in it.
    fn arrange(&self, kvs: &mut [KeyValue]) {
        if self.order != KeyOrder::BY_KEY {
            kvs.sort_by(|a, b| self.order.compare(a.view(), b.view()));
        }
        if self.hides_values {
            kvs.iter_mut().for_each(|kv| kv.value = Blob::empty());
        }
    }
}

impl Part {
    /// Appends the part.
    pub(super) fn encode(&self, front: &Front, out: &mut BytesMut) {
        let header = front.header();
        encode_range_part(self.is_last.then_some(&header), &self.reply, out);
    }
}

/// About what a key comes to when it is encoded.
fn size(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len() + 16
}

/// The first key after `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
