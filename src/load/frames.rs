//! Braid's frames from the generator's side: written in batches, read from one buffer, nothing
//! allocated per request.
//!
//! The stream of a request is its slot plus one, free again once it is answered.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use super::wire::{Answer, Lost};
use crate::protocol::Method;
use crate::protocol::frame::{
    CONNECTION_STREAM, Flags, HEADER_BYTES, Header, Opcode, PREFACE, PROTOCOL_VERSION,
    decode_error, encode_frame, encode_message, encode_ping,
};
use crate::protocol::pb::braidpb::{HelloReply, HelloRequest};
use crate::rt::{self, TcpStream};

/// Payload bytes of an answer at most; more is a broken stream.
const ANSWER_BYTES_MAX: u32 = 1 << 30;
/// How long a server may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes waiting for the socket above which no further request is written.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

pub(super) struct FramesWire {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
}

impl FramesWire {
    /// Connects and exchanges hellos; `core` is the wish for one.
    pub(super) async fn connect(
        address: SocketAddr,
        core: Option<u32>,
    ) -> Result<(FramesWire, HelloReply), Lost> {
        let shaken = rt::within(HELLO_TIMEOUT, FramesWire::shake_hands(address, core)).await;
        shaken.unwrap_or_else(|| Err(Lost::new(format!("{address}: no hello in time"))))
    }

    async fn shake_hands(
        address: SocketAddr,
        core: Option<u32>,
    ) -> Result<(FramesWire, HelloReply), Lost> {
        let failed = |error: io::Error| Lost::new(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        let mut wire = FramesWire { stream, input: BytesMut::new(), output: BytesMut::new() };
        let hello = HelloRequest {
            protocol_version: PROTOCOL_VERSION,
            token: String::new(),
            core,
            client: concat!("braid-load/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        wire.output.extend_from_slice(&PREFACE);
        encode_message(&mut wire.output, CONNECTION_STREAM, Opcode::Hello, Flags::NONE, &hello);
        let output = wire.output.split();
        wire.stream.write_all(&output).await.map_err(failed)?;
        loop {
            if let Some((header, length)) = wire.next_frame()? {
                let payload = Bytes::copy_from_slice(&wire.input[HEADER_BYTES..][..length]);
                wire.input.advance(HEADER_BYTES + length);
                return match Opcode::from_u8(header.opcode) {
                    Some(Opcode::Hello) => HelloReply::decode(payload)
                        .map(|hello| (wire, hello))
                        .map_err(|error| Lost::new(format!("{address}: bad hello: {error}"))),
                    Some(Opcode::Close) => Err(Lost::new(decode_error(payload).message)),
                    _ => Err(Lost::new(format!("{address}: an answer came before the hello"))),
                };
            }
            if wire.stream.read(&mut wire.input).await.map_err(failed)? == 0 {
                return Err(Lost::new(format!("{address}: closed before its hello")));
            }
        }
    }

    /// The header and the payload's length of the next frame, if it is there and sound.
    fn next_frame(&self) -> Result<Option<(Header, usize)>, Lost> {
        let Some(bytes) = self.input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes);
        if header.length > ANSWER_BYTES_MAX {
            return Err(Lost::new("the server does not speak frames"));
        }
        let length = header.length as usize;
        let Some(payload) = self.input[HEADER_BYTES..].get(..length) else {
            return Ok(None);
        };
        if header.checksum(payload) != header.crc {
            return Err(Lost::new("an answer's checksum is wrong"));
        }
        Ok(Some((header, length)))
    }

    /// Reads what has come and says every answer in it; pending when nothing has.
    pub(super) fn poll_answers(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut impl FnMut(Answer<'_>),
    ) -> Poll<Result<(), Lost>> {
        let count = ready!(self.stream.poll_read(cx, &mut self.input));
        if count.map_err(|error| Lost::new(error.to_string()))? == 0 {
            return Poll::Ready(Err(Lost::new("the server closed the connection")));
        }
        while let Some((header, length)) = self.next_frame()? {
            let payload = &self.input[HEADER_BYTES..][..length];
            if header.stream == CONNECTION_STREAM {
                let payload = Bytes::copy_from_slice(payload);
                match Opcode::from_u8(header.opcode) {
                    Some(Opcode::Ping) if !header.flags.contains(Flags::END) => {
                        encode_ping(&mut self.output, Flags::END, &payload);
                    }
                    Some(Opcode::Close) => {
                        return Poll::Ready(Err(Lost::new(decode_error(payload).message)));
                    }
                    _ => {}
                }
            } else {
                let (slot, ends) = (header.stream - 1, header.flags.contains(Flags::END));
                match header.flags.contains(Flags::ERROR) {
                    false => each(Answer { slot, result: Ok(payload), ends }),
                    true => {
                        let status = decode_error(Bytes::copy_from_slice(payload));
                        let result = Err((status.code, &status.message[..]));
                        each(Answer { slot, result, ends });
                    }
                }
            }
            self.input.advance(HEADER_BYTES + length);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_MAX
    }

    pub(super) fn send(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        encode_frame(&mut self.output, slot + 1, method.opcode(), Flags::END, write);
    }

    /// One more message of a stream; frames need no opening.
    pub(super) fn stream(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        encode_frame(&mut self.output, slot + 1, method.opcode(), Flags::NONE, write);
    }

    /// Sends what is written, as far as the socket takes it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        poll_output(&self.stream, &mut self.output, cx)
    }
}

/// Sends `output` and takes what is sent off it.
pub(super) fn poll_output(
    stream: &TcpStream,
    output: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Lost>> {
    while !output.is_empty() {
        let count = ready!(stream.poll_write(cx, output));
        match count {
            Ok(0) => return Poll::Ready(Err(Lost::new("the server closed the connection"))),
            Ok(count) => output.advance(count),
            Err(error) => return Poll::Ready(Err(Lost::new(error.to_string()))),
        }
    }
    Poll::Ready(Ok(()))
}
