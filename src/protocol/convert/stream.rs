//! The parts of a RangeStream.
//!
//! Keys come in parts (`server::range_stream` reads them, at one revision); only the last part has
//! the header, `more` and `count`. Merged as protobuf merges messages, the parts are the answer
//! that Range would have given.

use bytes::BytesMut;

use super::HeaderFields;
use super::hot::{self, Stamp};
use crate::types::RangeReply;

/// Appends one part of an answer that is read part by part: the keys of `reply`, and with a header
/// also everything that only the last part has.
pub fn encode_range_part(header: Option<&HeaderFields>, reply: &RangeReply, out: &mut BytesMut) {
    let last = header.map(|header| (Stamp::Full(header), reply));
    hot::range_stream(last, &reply.kvs, out);
}
