//! The frames of HTTP/2 as bytes (RFC 9113, sections 4 and 6).

use bytes::{BufMut, BytesMut};

/// A client's first bytes.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes in front of every frame's payload.
pub const HEAD_BYTES: usize = 9;
/// The window of a connection, and of a stream, before either side says otherwise.
pub const WINDOW_DEFAULT: u32 = 65_535;
/// The largest window.
pub const WINDOW_MAX: u32 = i32::MAX as u32;
/// Payload bytes of a frame at most, before the receiver says otherwise.
pub const PAYLOAD_BYTES_DEFAULT: usize = 16_384;
/// Payload bytes of a frame at most, whatever a receiver says.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 24) - 1;
/// Payload bytes of a PING.
pub const PING_BYTES: usize = 8;

/// The types of frames.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flags of frames; each belongs to some types only.
pub mod flag {
    pub const END_STREAM: u8 = 0x01;
    pub const ACK: u8 = 0x01;
    pub const END_HEADERS: u8 = 0x04;
    pub const PADDED: u8 = 0x08;
    pub const PRIORITY: u8 = 0x20;
}

/// The names of settings.
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// The reason for which a stream or a connection ends, as RFC 9113 numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub u32);

impl Reason {
    pub const NO_ERROR: Reason = Reason(0);
    pub const PROTOCOL_ERROR: Reason = Reason(1);
    pub const INTERNAL_ERROR: Reason = Reason(2);
    pub const FLOW_CONTROL_ERROR: Reason = Reason(3);
    pub const STREAM_CLOSED: Reason = Reason(5);
    pub const FRAME_SIZE_ERROR: Reason = Reason(6);
    pub const REFUSED_STREAM: Reason = Reason(7);
    pub const CANCEL: Reason = Reason(8);
    pub const COMPRESSION_ERROR: Reason = Reason(9);
    pub const ENHANCE_YOUR_CALM: Reason = Reason(11);
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    /// The stream; 0 is the connection. The reserved bit is left out.
    pub stream: u32,
}

impl FrameHead {
    /// Reads a head; every nine bytes are one.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> FrameHead {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes;
        FrameHead {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        }
    }

    /// Whether the frame has this flag.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The head of a frame as bytes. `length` is at most [`PAYLOAD_BYTES_MAX`].
pub fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    debug_assert!(length <= PAYLOAD_BYTES_MAX);
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [a, b, c, kind, flags, s0, s1, s2, s3]
}

/// Appends the head of a frame.
pub fn put_head(out: &mut BytesMut, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream));
}

/// Appends SETTINGS with these names and values.
pub fn put_settings(out: &mut BytesMut, settings: &[(u16, u32)]) {
    put_head(out, settings.len() * 6, kind::SETTINGS, 0, 0);
    for &(name, value) in settings {
        out.put_u16(name);
        out.put_u32(value);
    }
}

/// Appends WINDOW_UPDATE, which grants `more` bytes on a stream or, as stream 0, the connection.
pub fn put_window_update(out: &mut BytesMut, stream: u32, more: u32) {
    put_head(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.put_u32(more);
}

/// Appends RST_STREAM.
pub fn put_reset(out: &mut BytesMut, stream: u32, reason: Reason) {
    put_head(out, 4, kind::RST_STREAM, 0, stream);
    out.put_u32(reason.0);
}

/// Appends GOAWAY with a text for whoever debugs the client.
pub fn put_go_away(out: &mut BytesMut, last_stream: u32, reason: Reason, text: &str) {
    put_head(out, 8 + text.len(), kind::GOAWAY, 0, 0);
    out.put_u32(last_stream);
    out.put_u32(reason.0);
    out.extend_from_slice(text.as_bytes());
}

/// Appends PING.
pub fn put_ping(out: &mut BytesMut, flags: u8, payload: [u8; PING_BYTES]) {
    put_head(out, PING_BYTES, kind::PING, flags, 0);
    out.extend_from_slice(&payload);
}

/// The names and values in the payload of SETTINGS.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> + '_ {
    payload.chunks_exact(6).map(|one| {
        let name = u16::from_be_bytes([one[0], one[1]]);
        (name, u32::from_be_bytes([one[2], one[3], one[4], one[5]]))
    })
}

/// The first four bytes as a number; `None` if there are fewer.
pub fn word(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Returns the place of the content in the payload of DATA or HEADERS, without padding and
/// priority; `None` if those are longer than the payload.
pub fn content(head: &FrameHead, payload: &[u8]) -> Option<std::ops::Range<usize>> {
    let (mut start, mut end) = (0, payload.len());
    if head.has(flag::PADDED) {
        let padding = usize::from(*payload.first()?);
        start = 1;
        end = end.checked_sub(padding)?;
    }
    if head.kind == kind::HEADERS && head.has(flag::PRIORITY) {
        start += 5;
    }
    (start <= end).then_some(start..end)
}

/// Whether HEADERS with priority make their stream depend on itself.
pub fn depends_on_itself(head: &FrameHead, payload: &[u8]) -> bool {
    let at = usize::from(head.has(flag::PADDED));
    let priority = payload.get(at..).and_then(word);
    priority.is_some_and(|word| word & 0x7fff_ffff == head.stream)
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
        let reserved = FrameHead::decode(&[0, 0, 0, 0, 0, 0x80, 0, 0, 1]);
        assert_eq!(reserved.stream, 1);
    }

    #[test]
    fn padding_and_priority_are_taken_off() {
        let flags = flag::PADDED | flag::PRIORITY;
        let head = FrameHead { length: 9, kind: kind::HEADERS, flags, stream: 1 };
        assert_eq!(content(&head, &[2, 0, 0, 0, 0, 0, 9, 0, 0]), Some(6..7));
        assert_eq!(content(&head, &[9, 0]), None);
        assert_eq!(content(&head, &[]), None);
        assert_eq!(content(&head, &[1, 0, 0, 0, 0]), None, "priority is cut short");
        let padded = FrameHead { flags: flag::PADDED, kind: kind::DATA, ..head };
        assert_eq!(content(&padded, &[3, 7, 0, 0, 0]), Some(1..2));
        assert_eq!(content(&padded, &[4, 0, 0, 0, 0]), Some(1..1), "padding alone");
        assert_eq!(content(&padded, &[5, 0, 0, 0, 0]), None, "it would be all of the payload");
    }

    #[test]
    fn a_dependence_on_oneself_is_seen_behind_the_length_of_padding() {
        let head = FrameHead { length: 9, kind: kind::HEADERS, flags: flag::PADDED, stream: 3 };
        assert!(depends_on_itself(&head, &[0, 0x80, 0, 0, 3, 0]));
        assert!(!depends_on_itself(&head, &[0, 0, 0, 0, 1, 0]));
        let priority = FrameHead { kind: kind::PRIORITY, flags: 0, ..head };
        assert!(depends_on_itself(&priority, &[0, 0, 0, 3, 0]));
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let mut out = BytesMut::new();
        put_settings(&mut out, &[(setting::MAX_FRAME_SIZE, 1 << 20), (9, 7)]);
        let read: Vec<_> = settings(&out[HEAD_BYTES..]).collect();
        assert_eq!(read, [(setting::MAX_FRAME_SIZE, 1 << 20), (9, 7)]);
    }

    #[test]
    fn go_away_is_laid_out_as_http2_has_it() {
        let mut frame = BytesMut::new();
        put_go_away(&mut frame, 7, Reason::ENHANCE_YOUR_CALM, "too_many_pings");
        assert_eq!(frame[..9], [0, 0, 22, 7, 0, 0, 0, 0, 0]);
        assert_eq!(frame[9..17], [0, 0, 0, 7, 0, 0, 0, 11]);
        assert_eq!(&frame[17..], b"too_many_pings");
    }
}
