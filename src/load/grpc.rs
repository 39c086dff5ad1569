//! gRPC from the generator's side: HTTP/2 written by hand, for what a generator needs of it.
//!
//! A general HTTP/2 library costs several microseconds per call, more than the server that is to be
//! measured. Here a request is two frames behind one another in the send buffer: HEADERS, which
//! after the first request of a connection is seven bytes of table references, and DATA. Answers
//! are taken from one read buffer. Windows are kept as the protocol demands, in both directions.
//! A *stream* (watch, keep-alive) sends HEADERS once and DATA for each message; a message is handed
//! on as soon as all of it is there.
//!
//! Header blocks hardly ever change: one that goes out or comes in as it did before, with the same
//! table behind it, is not encoded or decoded again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::calls::{Calls, Heads};
use super::frames::poll_output;
use super::wire::{Answer, Lost};
use crate::http2::frame::{self, FrameHead, HEAD_BYTES, flag, kind, setting};
use crate::http2::hpack::{self, indexes};
use crate::protocol::Method;
use crate::protocol::grpc::encode_message;
use crate::rt::TcpStream;

/// Bytes that the server may send ahead.
const WINDOW_BYTES: u32 = 1 << 30;
/// Bytes received after which the connection's window is filled up again.
const WINDOW_STEP: u32 = 1 << 24;
/// Bytes of a frame that we accept.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Bytes waiting for the socket above which no further request is written.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of header blocks that come in several frames.
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// A header block as it was, and with which table: while both are the same, so is what it says.
#[derive(Debug, Default)]
struct Known<T> {
    table: u64,
    block: Vec<u8>,
    says: T,
}

/// A message that the server's windows did not let out whole.
#[derive(Debug)]
struct Partial {
    stream: u32,
    rest: Bytes,
    /// Nothing follows on the stream.
    ends: bool,
}

pub(super) struct GrpcWire {
    stream: TcpStream,
    authority: String,
    input: BytesMut,
    output: BytesMut,
    encoder: hpack::Encoder,
    decoder: hpack::Decoder,
    /// The head of the last request of each method.
    heads_sent: Vec<Known<Method>>,
    /// Headers as they came last, and trailers.
    heads_taken: [Known<Heads>; 2],
    calls: Calls,
    calls_max: u32,
    /// Bytes that we may still send.
    window: i64,
    stream_window: i64,
    frame_bytes_max: usize,
    blocked: VecDeque<Partial>,
    /// Bytes received since the window was last filled up.
    received: u32,
    /// A header block that goes on in the next frame: stream, whether it ends it, bytes so far.
    block: Option<(u32, bool, BytesMut)>,
}

impl GrpcWire {
    pub(super) async fn connect(address: SocketAddr) -> Result<GrpcWire, Lost> {
        let failed = |error| Lost::new(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        let mut output = BytesMut::new();
        output.extend_from_slice(frame::PREFACE);
        frame::put_settings(
            &mut output,
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::INITIAL_WINDOW_SIZE, WINDOW_BYTES),
                (setting::MAX_FRAME_SIZE, FRAME_BYTES_MAX),
            ],
        );
        let wider = WINDOW_BYTES - frame::WINDOW_DEFAULT;
        frame::put_window_update(&mut output, 0, wider);
        Ok(GrpcWire {
            stream,
            authority: address.to_string(),
            input: BytesMut::new(),
            output,
            encoder: hpack::Encoder::default(),
            decoder: hpack::Decoder::default(),
            heads_sent: Vec::new(),
            heads_taken: Default::default(),
            calls: Calls::new(),
            calls_max: u32::MAX,
            window: i64::from(frame::WINDOW_DEFAULT),
            stream_window: i64::from(frame::WINDOW_DEFAULT),
            frame_bytes_max: frame::PAYLOAD_BYTES_DEFAULT,
            blocked: VecDeque::new(),
            received: 0,
            block: None,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.blocked.is_empty()
            && !self.calls.is_used_up()
            && self.calls.open < self.calls_max
            && self.output.len() < OUTPUT_BYTES_MAX
    }

    pub(super) fn send(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        let stream = self.open(slot, method, false);
        self.write_message(stream, true, write);
    }

    /// One more message of the stream of this slot, which the first one opens.
    pub(super) fn stream(&mut self, slot: u32, method: Method, write: impl FnOnce(&mut BytesMut)) {
        let stream = match self.calls.stream_of(slot) {
            Some(stream) => stream,
            None => self.open(slot, method, true),
        };
        self.write_message(stream, false, write);
    }

    fn open(&mut self, slot: u32, method: Method, streams: bool) -> u32 {
        let stream = self.calls.open(slot, streams, self.stream_window);
        self.write_head(stream, method);
        stream
    }

    /// Writes a message where it goes, or keeps it if the windows do not let it out.
    fn write_message(&mut self, stream: u32, ends: bool, write: impl FnOnce(&mut BytesMut)) {
        let Some(call) = self.calls.find(stream) else { return };
        let out = &mut self.output;
        let start = out.len();
        out.put_bytes(0, HEAD_BYTES);
        let written = encode_message(out, write);
        assert!(written.is_ok(), "requests are far below the limit of gRPC");
        let length = out.len() - start - HEAD_BYTES;
        let fits = self.blocked.is_empty() && length as i64 <= self.window.min(call.window);
        if fits && length <= self.frame_bytes_max {
            self.window -= length as i64;
            call.window -= length as i64;
            let flags = if ends { flag::END_STREAM } else { 0 };
            let head = frame::head(length, kind::DATA, flags, stream);
            out[start..start + HEAD_BYTES].copy_from_slice(&head);
            return;
        }
        let rest = Bytes::copy_from_slice(&out[start + HEAD_BYTES..]);
        out.truncate(start);
        self.blocked.push_back(Partial { stream, rest, ends });
        self.send_blocked();
    }

    fn write_head(&mut self, stream: u32, method: Method) {
        let (out, table) = (&mut self.output, self.encoder.table());
        let known = self.heads_sent.iter().find(|known| known.says == method);
        if let Some(known) = known.filter(|known| known.table == table) {
            frame::put_head(out, known.block.len(), kind::HEADERS, flag::END_HEADERS, stream);
            out.extend_from_slice(&known.block);
            return;
        }
        let start = out.len();
        out.put_bytes(0, HEAD_BYTES);
        self.encoder.begin(out);
        hpack::Encoder::indexed(out, indexes::METHOD_POST);
        hpack::Encoder::indexed(out, indexes::SCHEME_HTTP);
        self.encoder.repeated(out, ":path", method.path());
        self.encoder.repeated(out, ":authority", &self.authority);
        self.encoder.repeated(out, "content-type", "application/grpc");
        self.encoder.repeated(out, "te", "trailers");
        self.encoder.repeated(out, "user-agent", concat!("braid-load/", env!("CARGO_PKG_VERSION")));
        let block = &out[start + HEAD_BYTES..];
        if self.encoder.table() == table {
            self.heads_sent.retain(|known| known.says != method);
            self.heads_sent.push(Known { table, block: block.to_vec(), says: method });
        }
        let head = frame::head(block.len(), kind::HEADERS, flag::END_HEADERS, stream);
        out[start..start + HEAD_BYTES].copy_from_slice(&head);
    }

    /// Sends what the windows let out, in order.
    fn send_blocked(&mut self) {
        while let Some(first) = self.blocked.front_mut() {
            // A call that has ended meanwhile needs no rest of its request.
            while let Some(call) = self.calls.find(first.stream) {
                let room = self.window.min(call.window).max(0) as usize;
                let count = first.rest.len().min(room).min(self.frame_bytes_max);
                if count == 0 {
                    return;
                }
                let piece = first.rest.split_to(count);
                let last = first.ends && first.rest.is_empty();
                let flags = if last { flag::END_STREAM } else { 0 };
                frame::put_head(&mut self.output, count, kind::DATA, flags, first.stream);
                self.output.extend_from_slice(&piece);
                self.window -= count as i64;
                call.window -= count as i64;
                if first.rest.is_empty() {
                    break;
                }
            }
            self.blocked.pop_front();
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
        let mut input = std::mem::take(&mut self.input);
        let result = self.take_frames(&mut input, each);
        self.input = input;
        if self.received >= WINDOW_STEP {
            frame::put_window_update(&mut self.output, 0, std::mem::take(&mut self.received));
        }
        if self.calls.is_used_up() && self.calls.open == 0 {
            return Poll::Ready(Err(Lost::new("all stream numbers of the connection are used")));
        }
        Poll::Ready(result)
    }

    fn take_frames(
        &mut self,
        input: &mut BytesMut,
        each: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Lost> {
        while let Some(bytes) = input.first_chunk::<HEAD_BYTES>() {
            let head = FrameHead::decode(bytes);
            if head.length > FRAME_BYTES_MAX as usize {
                return Err(Lost::new("the server does not speak HTTP/2"));
            }
            let Some(payload) = input[HEAD_BYTES..].get(..head.length) else { break };
            self.take_frame(&head, payload, each)?;
            input.advance(HEAD_BYTES + head.length);
        }
        Ok(())
    }

    fn take_frame(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        each: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Lost> {
        let ends = head.flags & flag::END_STREAM != 0;
        match head.kind {
            kind::DATA => {
                self.take_data(head, payload, each)?;
                if ends {
                    self.end(head.stream, each);
                }
            }
            kind::HEADERS => {
                let payload = &payload[frame::content(head, payload).ok_or_else(broken)?];
                match head.flags & flag::END_HEADERS {
                    0 => self.block = Some((head.stream, ends, BytesMut::from(payload))),
                    _ => self.take_block(head.stream, ends, payload, each)?,
                }
            }
            kind::CONTINUATION => {
                let Some((stream, ends, mut block)) = self.block.take() else {
                    return Err(broken());
                };
                block.extend_from_slice(payload);
                if block.len() > BLOCK_BYTES_MAX {
                    return Err(broken());
                }
                match head.flags & flag::END_HEADERS {
                    0 => self.block = Some((stream, ends, block)),
                    _ => self.take_block(stream, ends, &block, each)?,
                }
            }
            kind::RST_STREAM => {
                let reason = frame::word(payload).ok_or_else(broken)?;
                if let Some(call) = self.calls.end(head.stream) {
                    let (code, text) = reset_code(reason);
                    each(Answer { slot: call.slot, result: Err((code, text)), ends: true });
                }
                self.send_blocked();
            }
            kind::SETTINGS if head.flags & flag::ACK == 0 => self.take_settings(payload)?,
            kind::PING if head.flags & flag::ACK == 0 => {
                frame::put_head(&mut self.output, payload.len(), kind::PING, flag::ACK, 0);
                self.output.extend_from_slice(payload);
            }
            kind::GOAWAY => {
                let text = payload.get(8..).unwrap_or(&[]).escape_ascii();
                return Err(Lost::new(format!("the server says GOAWAY {text}")));
            }
            kind::WINDOW_UPDATE => self.take_window(head.stream, payload)?,
            _ => {}
        }
        Ok(())
    }

    fn take_data(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
        each: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Lost> {
        self.received += head.length as u32;
        let payload = &payload[frame::content(head, payload).ok_or_else(broken)?];
        let Some(call) = self.calls.find(head.stream) else { return Ok(()) };
        call.body.extend_from_slice(payload);
        if !call.streams {
            return Ok(());
        }
        call.take_messages(each)?;
        call.received += head.length as u32;
        if call.received >= WINDOW_STEP && head.flags & flag::END_STREAM == 0 {
            let more = std::mem::take(&mut call.received);
            frame::put_window_update(&mut self.output, head.stream, more);
        }
        Ok(())
    }

    fn take_window(&mut self, stream: u32, payload: &[u8]) -> Result<(), Lost> {
        let more = i64::from(frame::word(payload).ok_or_else(broken)? & 0x7fff_ffff);
        if stream == 0 {
            self.window += more;
        } else if let Some(call) = self.calls.find(stream) {
            call.window += more;
        }
        self.send_blocked();
        Ok(())
    }

    fn take_settings(&mut self, payload: &[u8]) -> Result<(), Lost> {
        for (name, value) in frame::settings(payload) {
            match name {
                setting::HEADER_TABLE_SIZE => self.encoder.table_size(value),
                setting::MAX_CONCURRENT_STREAMS => self.calls_max = value,
                setting::INITIAL_WINDOW_SIZE => {
                    let change = i64::from(value) - self.stream_window;
                    self.stream_window += change;
                    self.calls.under_way().for_each(|call| call.window += change);
                }
                setting::MAX_FRAME_SIZE if value >= 16_384 => self.frame_bytes_max = value as usize,
                setting::MAX_FRAME_SIZE => return Err(broken()),
                _ => {}
            }
        }
        frame::put_head(&mut self.output, 0, kind::SETTINGS, flag::ACK, 0);
        self.send_blocked();
        Ok(())
    }

    fn take_block(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        each: &mut impl FnMut(Answer<'_>),
    ) -> Result<(), Lost> {
        let table = self.decoder.table();
        let known = &mut self.heads_taken[usize::from(ends)];
        if known.table != table || known.block != block {
            known.says = Heads::default();
            let decoded = self.decoder.decode(block, |name, value| known.says.take(name, value));
            decoded.map_err(|hpack::BadBlock| broken())?;
            // A block that changed the table changes it again when it comes again.
            known.block.clear();
            if self.decoder.table() == table {
                known.table = table;
                known.block.extend_from_slice(block);
            }
        }
        if let Some(call) = self.calls.find(stream) {
            call.heads.add(&known.says);
        }
        if ends {
            self.end(stream, each);
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, each: &mut impl FnMut(Answer<'_>)) {
        let Some(call) = self.calls.end(stream) else { return };
        each(Answer { slot: call.slot, result: call.result(), ends: true });
        self.send_blocked();
    }

    /// Sends what is written, as far as the socket takes it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        poll_output(&self.stream, &mut self.output, cx)
    }
}

/// gRPC's code for a stream that was reset.
fn reset_code(reason: u32) -> (u32, &'static str) {
    match reason {
        7 => (14, "the stream was refused"),
        8 => (1, "the stream was cancelled"),
        11 => (8, "the stream was reset: too much"),
        _ => (13, "the stream was reset"),
    }
}

fn broken() -> Lost {
    Lost::new("the server breaks HTTP/2")
}
