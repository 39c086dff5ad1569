//! The parts of a RangeStream.
//!
//! Keys come in parts of growing size; only the last part has the header, `more` and `count`.
//! Merged as protobuf merges messages, the parts are the answer that Range would have given.

use bytes::BytesMut;

use super::HeaderFields;
use super::hot::{self, Stamp, key_value_len};
use crate::types::RangeReply;

/// Keys of the first part.
const FIRST_PART_KEYS: usize = 10;

/// An answer on its way out, part by part, so that a slow client holds up its own stream only.
#[derive(Clone, Debug)]
pub struct RangeStreamParts {
    reply: RangeReply,
    /// Keys of the answer that are out.
    sent: usize,
    part_keys_max: usize,
    /// What a part should come to.
    part_bytes: usize,
}

impl RangeStreamParts {
    /// Parts of `reply` that aim at `part_bytes` bytes each: `--max-request-bytes`.
    pub fn new(reply: RangeReply, part_bytes: usize) -> RangeStreamParts {
        RangeStreamParts { reply, sent: 0, part_keys_max: FIRST_PART_KEYS, part_bytes }
    }

    /// Appends the next part, a `RangeStreamResponse`; `true` if it was the last one. There is
    /// always one, also of an empty answer.
    ///
    /// # Panics
    ///
    /// If the last part is out already.
    pub fn encode_next(&mut self, header: &HeaderFields, out: &mut BytesMut) -> bool {
        assert!(self.sent < self.reply.kvs.len() || self.sent == 0, "a part after the last one");
        let unsent = &self.reply.kvs[self.sent..];
        let part = &unsent[..unsent.len().min(self.part_keys_max)];
        let is_last = part.len() == unsent.len();
        let last = is_last.then_some((Stamp::Full(header), &self.reply));
        hot::range_stream(last, part, out);
        let bytes: usize = part.iter().map(key_value_len).sum();
        self.sent += part.len();
        if bytes < self.part_bytes / 2 {
            self.part_keys_max = self.part_keys_max.saturating_mul(2);
        } else if bytes > self.part_bytes.saturating_mul(2) {
            self.part_keys_max = (self.part_keys_max / 2).max(1);
        }
        is_last
    }
}

/// Appends one part of an answer that is read part by part: the keys of `reply`, and with a header
/// also everything that only the last part has.
pub fn encode_range_part(header: Option<&HeaderFields>, reply: &RangeReply, out: &mut BytesMut) {
    let last = header.map(|header| (Stamp::Full(header), reply));
    hot::range_stream(last, &reply.kvs, out);
}
