//! RangeStream: one range at one revision, read and answered part by part, so that neither the core
//! nor the connection ever holds all of it.
//!
//! The first part fixes the revision; what it says of the whole range (revision of the header,
//! count) goes out with the last part. A compaction that passes the revision on the way ends the
//! stream with Compacted.

use bytes::{BufMut, Bytes, BytesMut};

use super::front::Front;
use crate::protocol::convert::encode_range_part;
use crate::types::{KeyRange, Nanos, RangeReply, RangeRequest, Refusal, Reply, Request, Revision};

/// Keys of the first part.
const FIRST_PART_KEYS: u64 = 10;

/// A range on its way out.
pub(super) struct RangeStream {
    /// The next part, but for its limit.
    request: RangeRequest,
    /// Keys that the client still wants; `None` is all there are.
    wanted: Option<u64>,
    part_keys: u64,
    deadline: Option<Nanos>,
    /// Header revision and count, once the first part has told.
    whole: Option<(Revision, i64)>,
}

/// A part as it goes into the output.
pub(super) struct Part {
    reply: RangeReply,
    pub(super) is_last: bool,
}

impl RangeStream {
    /// Refuses what is no range; `protocol` has refused sorts and filters.
    pub(super) fn new(request: Request, deadline: Option<Nanos>) -> Result<RangeStream, Refusal> {
        let Request::Range(request) = request else {
            return Err(Refusal::Internal("braid: a stream of something else".to_owned()));
        };
        let wanted = (request.limit > 0).then_some(request.limit);
        Ok(RangeStream { request, wanted, part_keys: FIRST_PART_KEYS, deadline, whole: None })
    }

    /// Reads the next part. Not to be called again after the last one.
    pub(super) async fn next(&mut self, front: &Front) -> Result<Part, Refusal> {
        let mut request = self.request.clone();
        request.limit = self.wanted.map_or(self.part_keys, |wanted| wanted.min(self.part_keys));
        let mut reply = match front.ask(Request::Range(request), self.deadline).await? {
            Reply::Range(reply) => reply,
            other => return Err(Refusal::Internal(format!("braid: a range got {other:?}"))),
        };
        let (revision, count) = *self.whole.get_or_insert((reply.revision, reply.count));
        (reply.revision, reply.count) = (revision, count);
        if let Some(wanted) = &mut self.wanted {
            *wanted -= (reply.kvs.len() as u64).min(*wanted);
        }
        let is_last = !reply.more || self.wanted == Some(0);
        if let Some(last) = reply.kvs.last() {
            self.request.range =
                KeyRange { start: successor(&last.key), end: self.request.range.end.clone() };
        }
        if self.request.revision <= 0 {
            self.request.revision = revision.0;
        }
        // The member has been at this revision; there is nothing left to wait for.
        self.request.serializable = true;
        Ok(Part { reply, is_last })
    }

    /// Appends the part, and sizes the next one: `bytes_aimed` is what a part should come to.
    pub(super) fn encode(
        &mut self,
        front: &Front,
        part: &Part,
        bytes_aimed: usize,
        out: &mut BytesMut,
    ) {
        let header = front.header();
        let before = out.len();
        encode_range_part(part.is_last.then_some(&header), &part.reply, out);
        let bytes = out.len() - before;
        if bytes < bytes_aimed / 2 {
            self.part_keys = self.part_keys.saturating_mul(2);
        } else if bytes > bytes_aimed.saturating_mul(2) {
            self.part_keys = (self.part_keys / 2).max(1);
        }
    }
}

/// The first key after `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
