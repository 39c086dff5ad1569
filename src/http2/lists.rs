//! Header lists that are sent, and the blocks that are made of them.

use bytes::{BufMut, BytesMut};

use super::frame::{self, HEAD_BYTES, flag, kind};
use super::hpack::{Encoder, Field, indexes};

/// The stream is not open, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A header list that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// The pseudo-header field of an answer; trailers have none.
    pub status: Option<u16>,
    pub fields: &'a [Field<'a>],
    /// Which of [`Fields::KEPT`] places keeps the block, if the list is always the same.
    pub kept: Option<usize>,
}

impl Fields<'_> {
    /// Places for blocks that are made once.
    pub const KEPT: usize = 4;
}

/// Header blocks that were made before, and with which table.
#[derive(Debug, Default)]
pub(super) struct Made([Option<(u64, Vec<u8>)>; Fields::KEPT]);

impl Made {
    /// Appends a header list in as many frames as it takes, with the stream, whether they end that,
    /// and how many bytes of payload a frame may have.
    pub(super) fn put(
        &mut self,
        encoder: &mut Encoder,
        out: &mut BytesMut,
        fields: Fields<'_>,
        (stream, ends, bytes_max): (u32, bool, usize),
    ) {
        let start = out.len();
        let flags = flag::END_HEADERS | if ends { flag::END_STREAM } else { 0 };
        let table = encoder.table();
        let known = fields.kept.and_then(|place| self.0[place].as_ref());
        if let Some((_, block)) = known.filter(|(known, _)| *known == table) {
            frame::put_head(out, block.len(), kind::HEADERS, flags, stream);
            return out.extend_from_slice(block);
        }
        out.put_bytes(0, HEAD_BYTES);
        write_fields(encoder, out, fields);
        let block = &out[start + HEAD_BYTES..];
        if let Some(place) = fields.kept.filter(|_| encoder.table() == table) {
            self.0[place] = Some((table, block.to_vec()));
        }
        if block.len() <= bytes_max {
            let head = frame::head(block.len(), kind::HEADERS, flags, stream);
            out[start..start + HEAD_BYTES].copy_from_slice(&head);
        } else {
            split(out, start, flags, stream, bytes_max);
        }
    }
}

fn write_fields(encoder: &mut Encoder, out: &mut BytesMut, fields: Fields<'_>) {
    encoder.begin(out);
    match fields.status {
        None => {}
        Some(200) => Encoder::indexed(out, indexes::STATUS_200),
        Some(status) => encoder.field(out, Field::once(":status", &status.to_string())),
    }
    for &field in fields.fields {
        encoder.field(out, field);
    }
}

/// Has a block that is too long for one frame go on in others.
#[cold]
fn split(out: &mut BytesMut, start: usize, flags: u8, stream: u32, bytes_max: usize) {
    let block = out.split_off(start + HEAD_BYTES);
    out.truncate(start);
    let last = block.len().div_ceil(bytes_max) - 1;
    for (number, piece) in block.chunks(bytes_max).enumerate() {
        let kind = if number == 0 { kind::HEADERS } else { kind::CONTINUATION };
        let mut own = if number == 0 { flags & flag::END_STREAM } else { 0 };
        own |= if number == last { flag::END_HEADERS } else { 0 };
        frame::put_head(out, piece.len(), kind, own, stream);
        out.extend_from_slice(piece);
    }
}
