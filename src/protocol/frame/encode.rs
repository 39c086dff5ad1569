//! Frames into a send buffer.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::{
    CONNECTION_STREAM, Flags, FrameFault, HEADER_BYTES, Header, Opcode, PAYLOAD_BYTES_MAX,
    PROTOCOL_VERSION,
};
use crate::protocol::pb::braidpb;
use crate::protocol::status::{Status, code};

/// Appends one frame. `write_payload` appends the payload, and only appends, to the buffer it is
/// given, which is `out` itself: nothing is copied.
///
/// A payload above [`PAYLOAD_BYTES_MAX`] is taken back, and an error frame goes out in its place.
pub fn encode_frame(
    out: &mut BytesMut,
    stream: u32,
    opcode: u8,
    flags: Flags,
    write_payload: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write_payload(out);
    let payload_start = start + HEADER_BYTES;
    assert!(out.len() >= payload_start, "a payload only appends");
    let payload_bytes = out.len() - payload_start;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        out.truncate(start);
        encode_error(out, stream, opcode, &above_limit(payload_bytes));
        return;
    }
    let length = u32::try_from(payload_bytes).expect("PAYLOAD_BYTES_MAX is below 2^32");
    let mut header = Header { length, crc: 0, stream, opcode, flags, reserved: 0 };
    header.crc = header.checksum(&out[payload_start..]);
    out[start..payload_start].copy_from_slice(&header.encode());
}

/// A frame whose payload comes in pieces, in a buffer of its own that never grows.
#[derive(Debug)]
pub struct PiecedFrame {
    header: Header,
    crc: crc32fast::Hasher,
    bytes: BytesMut,
}

impl PiecedFrame {
    /// Makes the header of a payload of `payload_bytes`; above [`PAYLOAD_BYTES_MAX`] there is no
    /// such frame.
    pub fn new(
        stream: u32,
        opcode: u8,
        flags: Flags,
        payload_bytes: usize,
    ) -> Result<PiecedFrame, Status> {
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(above_limit(payload_bytes));
        }
        let length = u32::try_from(payload_bytes).expect("PAYLOAD_BYTES_MAX is below 2^32");
        let header = Header { length, crc: 0, stream, opcode, flags, reserved: 0 };
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload_bytes);
        bytes.extend_from_slice(&header.encode());
        Ok(PiecedFrame { crc: header.begin_checksum(), header, bytes })
    }

    /// Has `write` append a piece; what it returns.
    pub fn piece<R>(&mut self, write: impl FnOnce(&mut BytesMut) -> R) -> R {
        let before = self.bytes.len();
        let result = write(&mut self.bytes);
        self.crc.update(&self.bytes[before..]);
        result
    }

    /// Returns the frame.
    ///
    /// # Panics
    ///
    /// If the pieces were not what was announced.
    pub fn finish(mut self) -> BytesMut {
        assert_eq!(self.bytes.len(), self.header.frame_bytes(), "a payload of another length");
        self.header.crc = self.crc.finalize();
        self.bytes[..HEADER_BYTES].copy_from_slice(&self.header.encode());
        self.bytes
    }
}

fn above_limit(payload_bytes: usize) -> Status {
    Status::new(
        code::RESOURCE_EXHAUSTED,
        format!(
            "grpc: trying to send message larger than max ({payload_bytes} vs. {PAYLOAD_BYTES_MAX})"
        ),
    )
}

/// Appends a frame that carries a prost message.
pub fn encode_message(
    out: &mut BytesMut,
    stream: u32,
    opcode: Opcode,
    flags: Flags,
    message: &impl Message,
) {
    encode_frame(out, stream, opcode.as_u8(), flags, |payload| append(payload, message));
}

/// Appends the frame that ends a stream with an error.
pub fn encode_error(out: &mut BytesMut, stream: u32, opcode: u8, status: &Status) {
    let error = braidpb::Error { code: status.code, message: status.message.to_string() };
    encode_frame(out, stream, opcode, Flags::END | Flags::ERROR, |payload| {
        append(payload, &error);
    });
}

/// Appends the last frame of a connection: what was wrong with it.
pub fn encode_close(out: &mut BytesMut, fault: &FrameFault) {
    encode_error(out, CONNECTION_STREAM, Opcode::Close.as_u8(), &fault.status());
}

/// Appends a ping, or with `Flags::END` the answer to one.
pub fn encode_ping(out: &mut BytesMut, flags: Flags, echo: &[u8]) {
    encode_frame(out, CONNECTION_STREAM, Opcode::Ping.as_u8(), flags, |payload| {
        payload.extend_from_slice(echo);
    });
}

/// Decodes the payload of a frame with [`Flags::ERROR`].
pub fn decode_error(payload: Bytes) -> Status {
    match braidpb::Error::decode(payload) {
        Ok(error) => Status::new(error.code, error.message),
        Err(error) => {
            Status::new(code::INTERNAL, format!("braid: undecodable error frame: {error}"))
        }
    }
}

/// Returns the hello of a client, if it is one that this side can talk to.
pub fn decode_hello(payload: Bytes) -> Result<braidpb::HelloRequest, FrameFault> {
    let hello = braidpb::HelloRequest::decode(payload).map_err(|_| FrameFault::HelloInvalid)?;
    if hello.protocol_version != PROTOCOL_VERSION {
        return Err(FrameFault::Version {
            wanted: hello.protocol_version,
            spoken: PROTOCOL_VERSION,
        });
    }
    Ok(hello)
}

fn append(payload: &mut BytesMut, message: &impl Message) {
    payload.reserve(message.encoded_len());
    message.encode(payload).expect("a BytesMut grows");
}
