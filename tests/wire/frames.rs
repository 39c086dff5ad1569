//! Braid's frames, written from `proto/FRAMES.md` and not with the server's own code.

use braid::protocol::pb::braidpb;
use prost::Message;

pub const PREFACE: &[u8] = b"\xB7BRAID\r\n";
pub const HEADER_BYTES: usize = 16;

pub const HELLO: u8 = 0x01;
pub const PING: u8 = 0x02;
pub const CLOSE: u8 = 0x03;
pub const RANGE: u8 = 0x10;
pub const PUT: u8 = 0x12;

pub const END: u8 = 1;
pub const ERROR: u8 = 2;

/// One frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub stream: u32,
    pub opcode: u8,
    pub flags: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Code and text of an error frame.
    pub fn error(&self) -> Option<(u32, String)> {
        if self.flags & ERROR == 0 {
            return None;
        }
        let error = braidpb::Error::decode(self.payload.as_slice()).expect("an error message");
        Some((error.code, error.message))
    }
}

/// A whole frame with the right checksum.
pub fn frame(stream: u32, opcode: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame_with(stream, opcode, flags, 0, payload)
}

pub fn frame_with(stream: u32, opcode: u8, flags: u8, reserved: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of a test");
    let mut rest = stream.to_le_bytes().to_vec();
    rest.extend([opcode, flags]);
    rest.extend(reserved.to_le_bytes());
    let mut sum = crc32fast::Hasher::new();
    for part in [&length.to_le_bytes()[..], &rest, payload] {
        sum.update(part);
    }
    [&length.to_le_bytes()[..], &sum.finalize().to_le_bytes(), &rest, payload].concat()
}

/// Only a header, for a payload that never comes.
pub fn header_alone(length: u32, stream: u32, opcode: u8) -> Vec<u8> {
    let mut bytes = frame(stream, opcode, END, b"");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Preface and hello.
pub fn opening() -> Vec<u8> {
    opening_of(1)
}

pub fn opening_of(version: u32) -> Vec<u8> {
    let hello = braidpb::HelloRequest {
        protocol_version: version,
        client: "hostile".to_owned(),
        ..Default::default()
    };
    [PREFACE, &frame(0, HELLO, 0, &hello.encode_to_vec())].concat()
}

/// The frames in what was read; a rest that is no whole frame is left out. Panics on a checksum
/// that does not hold: the server must not send one.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let length = word(0) as usize;
        let Some(payload) = bytes.get(HEADER_BYTES..HEADER_BYTES + length) else { break };
        let mut sum = crc32fast::Hasher::new();
        for part in [&header[..4], &header[8..], payload] {
            sum.update(part);
        }
        assert_eq!(sum.finalize(), word(4), "the server's checksum");
        let (stream, opcode, flags) = (word(8), header[12], header[13]);
        frames.push(Frame { stream, opcode, flags, payload: payload.to_vec() });
        bytes = &bytes[HEADER_BYTES + length..];
    }
    frames
}
