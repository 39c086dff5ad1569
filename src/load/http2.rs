//! HTTP/2's frames (RFC 9113) as bytes.

use bytes::{BufMut, BytesMut};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes in front of every frame.
pub(super) const HEAD_BYTES: usize = 9;
/// Window of a connection and of a stream before anybody says otherwise.
pub(super) const WINDOW_DEFAULT: i64 = 65_535;
/// Bytes of a frame before anybody says otherwise.
pub(super) const FRAME_BYTES_DEFAULT: usize = 16_384;

/// Entries of HPACK's static table.
pub(super) const METHOD_POST: u8 = 3;
pub(super) const SCHEME_HTTP: u8 = 6;

pub(super) mod kind {
    pub(in crate::load) const DATA: u8 = 0;
    pub(in crate::load) const HEADERS: u8 = 1;
    pub(in crate::load) const RST_STREAM: u8 = 3;
    pub(in crate::load) const SETTINGS: u8 = 4;
    pub(in crate::load) const PING: u8 = 6;
    pub(in crate::load) const GOAWAY: u8 = 7;
    pub(in crate::load) const WINDOW_UPDATE: u8 = 8;
    pub(in crate::load) const CONTINUATION: u8 = 9;
}

pub(super) mod flag {
    pub(in crate::load) const END_STREAM: u8 = 0x01;
    pub(in crate::load) const ACK: u8 = 0x01;
    pub(in crate::load) const END_HEADERS: u8 = 0x04;
    pub(in crate::load) const PADDED: u8 = 0x08;
    pub(in crate::load) const PRIORITY: u8 = 0x20;
}

pub(super) mod setting {
    pub(in crate::load) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in crate::load) const ENABLE_PUSH: u16 = 2;
    pub(in crate::load) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in crate::load) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in crate::load) const MAX_FRAME_SIZE: u16 = 5;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        FrameHead {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }
}

pub(super) fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [a, b, c, kind, flags, s0, s1, s2, s3]
}

pub(super) fn put_head(out: &mut BytesMut, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream));
}

pub(super) fn put_settings(out: &mut BytesMut, settings: &[(u16, u32)]) {
    put_head(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for &(name, value) in settings {
        out.put_u16(name);
        out.put_u32(value);
    }
}

pub(super) fn put_window_update(out: &mut BytesMut, stream: u32, more: u32) {
    put_head(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.put_u32(more);
}

pub(super) fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    payload.chunks_exact(6).map(|one| {
        let name = u16::from_be_bytes([one[0], one[1]]);
        (name, u32::from_be_bytes([one[2], one[3], one[4], one[5]]))
    })
}

/// The first four bytes as a number.
pub(super) fn word(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The payload of a DATA or HEADERS frame without padding and priority.
pub(super) fn unpadded<'a>(head: &FrameHead, mut payload: &'a [u8]) -> Option<&'a [u8]> {
    if head.flags & flag::PADDED != 0 {
        let (&padding, rest) = payload.split_first()?;
        payload = rest.get(..rest.len().checked_sub(usize::from(padding))?)?;
    }
    if head.kind == kind::HEADERS && head.flags & flag::PRIORITY != 0 {
        payload = payload.get(5..)?;
    }
    Some(payload)
}

/// gRPC's code for a stream that was reset.
pub(super) fn reset_code(reason: u32) -> (u32, &'static str) {
    match reason {
        7 => (14, "the stream was refused"),
        8 => (1, "the stream was cancelled"),
        11 => (8, "the stream was reset: too much"),
        _ => (13, "the stream was reset"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written() {
        let bytes = head(0x01_02_03, kind::DATA, flag::END_STREAM, 0x7fff_fffe);
        assert_eq!(bytes, [1, 2, 3, 0, 1, 0x7f, 0xff, 0xff, 0xfe]);
        let head = FrameHead::decode(&bytes);
        assert_eq!((head.length, head.kind, head.flags), (0x01_02_03, 0, 1));
        assert_eq!(head.stream, 0x7fff_fffe);
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let flags = flag::PADDED | flag::PRIORITY;
        let head = FrameHead { length: 9, kind: kind::HEADERS, flags, stream: 1 };
        assert_eq!(unpadded(&head, &[2, 0, 0, 0, 0, 0, 9, 0, 0]), Some(&[9][..]));
        assert_eq!(unpadded(&head, &[9, 0]), None);
        assert_eq!(unpadded(&head, &[]), None);
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let mut out = BytesMut::new();
        put_settings(&mut out, &[(setting::MAX_FRAME_SIZE, 1 << 20), (9, 7)]);
        let read: Vec<_> = settings(&out[HEAD_BYTES..]).collect();
        assert_eq!(read, [(setting::MAX_FRAME_SIZE, 1 << 20), (9, 7)]);
    }
}
