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
    CONNECTION_STREAM, Decoder, Flags, FrameFault, HEADER_BYTES, Header, Opcode, PREFACE,
    PROTOCOL_VERSION, decode_error, encode_frame, encode_message, encode_ping,
};
use crate::protocol::pb::braidpb::{HelloReply, HelloRequest};
use crate::rt::{self, TcpStream};

/// Payload bytes of an answer at most; more is a broken stream.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// The time that a server may take for its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The likely reason for a hello that does not come.
const NO_FRAMES: &str = ": it may answer no frames, only gRPC (--protocol=grpc)";
/// Bytes waiting for the socket above which no further request is written.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

pub(super) struct FramesWire {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    /// The opcode that was last asked in each slot: its answer must be of the same kind.
    opcodes: Vec<u8>,
}

impl FramesWire {
    fn new(stream: TcpStream) -> FramesWire {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        FramesWire { stream, input, output, opcodes: Vec::new() }
    }

    /// Connects and exchanges hellos; `core` is the wish for one.
    pub(super) async fn connect(
        address: SocketAddr,
        core: Option<u32>,
    ) -> Result<(FramesWire, HelloReply), Lost> {
        let shaken = rt::within(HELLO_TIMEOUT, FramesWire::shake_hands(address, core)).await;
        shaken.unwrap_or_else(|| Err(Lost::new(format!("{address}: no hello in time{NO_FRAMES}"))))
    }

    async fn shake_hands(
        address: SocketAddr,
        core: Option<u32>,
    ) -> Result<(FramesWire, HelloReply), Lost> {
        let failed = |error: io::Error| Lost::new(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        let mut wire = FramesWire::new(stream);
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
            if let Some((header, payload)) = first_frame(&wire.input)? {
                let (length, payload) = (payload.len(), Bytes::copy_from_slice(payload));
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
                let why = format!("{address}: closed before its hello{NO_FRAMES}");
                return Err(Lost::new(why));
            }
        }
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
        let mut rest = &self.input[..];
        while let Some((header, payload)) = first_frame(rest)? {
            rest = &rest[header.frame_bytes()..];
            if header.stream == CONNECTION_STREAM {
                of_connection(&header, payload, &mut self.output)?;
                continue;
            }
            let (slot, ends) = (header.stream - 1, header.flags.contains(Flags::END));
            if self.opcodes.get(slot as usize) != Some(&header.opcode) {
                let result = Err((13, "an answer of another kind than its request"));
                each(Answer { slot, result, ends });
            } else if header.flags.contains(Flags::ERROR) {
                let status = decode_error(Bytes::copy_from_slice(payload));
                each(Answer { slot, result: Err((status.code, &status.message)), ends });
            } else {
                each(Answer { slot, result: Ok(payload), ends });
            }
        }
        let taken = self.input.len() - rest.len();
        self.input.advance(taken);
        Poll::Ready(Ok(()))
    }

    pub(super) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_BYTES_MAX
    }

    pub(super) fn send(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        self.write_frame(slot, method, Flags::END, write);
    }

    /// One more message of a stream; frames need no opening.
    pub(super) fn stream(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        self.write_frame(slot, method, Flags::NONE, write);
    }

    fn write_frame(
        &mut self,
        slot: u32,
        method: Method,
        flags: Flags,
        write: impl FnOnce(&mut BytesMut),
    ) {
        let at = slot as usize;
        if at >= self.opcodes.len() {
            self.opcodes.resize(at + 1, 0);
        }
        self.opcodes[at] = method.opcode();
        encode_frame(&mut self.output, slot + 1, method.opcode(), flags, write);
    }

    /// Sends what is written, as far as the socket takes it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        poll_output(&self.stream, &mut self.output, cx)
    }
}

/// The first frame of `input`, if it is there whole and sound.
fn first_frame(input: &[u8]) -> Result<Option<(Header, &[u8])>, Lost> {
    Decoder::new(ANSWER_BYTES_MAX).look(input).map_err(|fault| match fault {
        FrameFault::Length { .. } => Lost::new("the server does not speak frames"),
        FrameFault::Checksum { .. } => Lost::new("an answer's checksum is wrong"),
        other => Lost::new(other.to_string()),
    })
}

/// Takes a frame about the connection itself.
fn of_connection(header: &Header, payload: &[u8], output: &mut BytesMut) -> Result<(), Lost> {
    let payload = Bytes::copy_from_slice(payload);
    match Opcode::from_u8(header.opcode) {
        Some(Opcode::Ping) if !header.flags.contains(Flags::END) => {
            encode_ping(output, Flags::END, &payload);
        }
        Some(Opcode::Close) => return Err(Lost::new(decode_error(payload).message)),
        _ => {}
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;
    use crate::protocol::frame::encode_frame;

    /// Takes one connection, its hello and two requests without a payload; then sends `frames`, and
    /// keeps the connection until the peer ends.
    fn server(frames: BytesMut) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut start = [0; PREFACE.len() + HEADER_BYTES];
            stream.read_exact(&mut start).expect("a hello");
            let header = start.last_chunk::<HEADER_BYTES>().expect("after the preface");
            let mut hello = vec![0; Header::decode(header).length as usize];
            stream.read_exact(&mut hello).expect("a hello");
            let mut out = BytesMut::new();
            let reply = HelloReply { cores: 1, shard_cores: vec![0], ..Default::default() };
            encode_message(&mut out, CONNECTION_STREAM, Opcode::Hello, Flags::NONE, &reply);
            stream.write_all(&out).expect("a reader");
            stream.read_exact(&mut [0; 2 * HEADER_BYTES]).expect("two requests");
            stream.write_all(&frames).expect("a reader");
            // Until the test has what it waits for.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        address
    }

    /// The slot of an answer, and the length of its message or its code.
    type Said = (u32, Result<usize, u32>);

    /// Returns the answers to a put in slot 0 and a get in slot 1.
    fn answers(frames: BytesMut) -> Result<Vec<Said>, String> {
        let address = server(frames);
        let (sender, receiver) = channel();
        let body = move || async move {
            let (mut wire, _) = FramesWire::connect(address, None).await.expect("a hello");
            wire.send(0, Method::Put, |_| {});
            wire.send(1, Method::Range, |_| {});
            poll_fn(|cx| wire.poll_flush(cx)).await.expect("a reader");
            let mut said = Vec::new();
            let result = poll_fn(|cx| {
                while said.len() < 2 {
                    let mut note = |answer: Answer<'_>| {
                        let result = answer.result.map(<[u8]>::len).map_err(|(code, _)| code);
                        said.push((answer.slot, result));
                    };
                    if let Err(lost) = ready!(wire.poll_answers(cx, &mut note)) {
                        return Poll::Ready(Err(lost.0));
                    }
                }
                Poll::Ready(Ok(()))
            });
            let result = result.await;
            sender.send(result.map(|()| said)).expect("the test waits");
        };
        let settings = rt::ExecutorSettings { name: "test".to_owned(), spin: Duration::ZERO };
        rt::start(&settings, vec![body]).expect("executor").join().expect("no panic");
        receiver.recv().expect("the body has sent")
    }

    fn frame(out: &mut BytesMut, slot: u32, method: Method, payload: &[u8]) {
        encode_frame(out, slot + 1, method.opcode(), Flags::END, |out| {
            out.extend_from_slice(payload);
        });
    }

    #[test]
    fn an_answer_is_of_the_kind_of_its_request() {
        let mut frames = BytesMut::new();
        frame(&mut frames, 1, Method::Range, b"abc");
        frame(&mut frames, 0, Method::Put, b"");
        assert_eq!(answers(frames), Ok(vec![(1, Ok(3)), (0, Ok(0))]));
        let mut frames = BytesMut::new();
        frame(&mut frames, 1, Method::Put, b"abc");
        frame(&mut frames, 7, Method::Put, b"");
        assert_eq!(answers(frames), Ok(vec![(1, Err(13)), (7, Err(13))]));
    }

    #[test]
    fn an_answer_is_whole() {
        let mut frames = BytesMut::new();
        frame(&mut frames, 1, Method::Range, b"abc");
        let last = frames.len() - 1;
        frames[last] ^= 1;
        let error = answers(frames).expect_err("it is not whole");
        assert!(error.contains("checksum"), "{error}");
    }
}
