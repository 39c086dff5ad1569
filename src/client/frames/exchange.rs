//! The state that calls and a connection's task share: the output buffer and the streams under way.
//!
//! Invariants:
//!
//! 1. A stream's number is free again only after the server has ended it, or was never told of it.
//! 2. A request's permit is held as long: the server never sees more than it said it takes.
//! 3. Once the connection has ended, every stream has an answer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_lock::SemaphoreGuardArc;
use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashMap;

use crate::client::Error;
use crate::limits;
use crate::protocol::frame::{
    Flags, Frame, Opcode, decode_error, encode_frame, encode_message, encode_ping,
};

/// A message that a call receives.
#[derive(Clone)]
pub(super) enum Answer {
    Message(Bytes),
    /// All messages have come.
    End,
    Failed(Error),
}

/// Shared by the calls of a connection and its task.
pub(super) struct Exchanges {
    endpoint: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Frames that wait for the writer.
    output: BytesMut,
    /// The writer, if it waits for output.
    writer: Option<Waker>,
    /// Calls that wait for output to drain.
    senders: Vec<Waker>,
    /// The reader, if it waits for a call to take its answers.
    reader: Option<Waker>,
    streams: FxHashMap<u32, Exchange>,
    stream_last: u32,
    ended: Option<Error>,
}

/// One stream.
struct Exchange {
    answers: VecDeque<Answer>,
    /// The call, if it waits.
    call: Option<Waker>,
    /// Nobody wants the answers any more; the server may still send them.
    abandoned: bool,
    _permit: SemaphoreGuardArc,
}

impl Exchanges {
    pub(super) fn new(endpoint: String) -> Exchanges {
        Exchanges { endpoint, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_live(&self) -> bool {
        self.state().ended.is_none()
    }

    #[cfg(test)]
    pub(super) fn is_taken(&self, stream: u32) -> bool {
        self.state().streams.contains_key(&stream)
    }

    /// Returns the error of a lost connection: what was under way may have been carried out.
    pub(super) fn lost(&self, reason: String) -> Error {
        Error::Lost { endpoint: self.endpoint.clone(), reason, sent: true }
    }

    pub(super) fn broken(&self, reason: String) -> Error {
        Error::Protocol { endpoint: self.endpoint.clone(), reason }
    }

    /// Returns the error of a request that came too late to be sent.
    fn unsent(&self, end: &Error) -> Error {
        Error::Lost { endpoint: self.endpoint.clone(), reason: end.to_string(), sent: false }
    }

    /// Returns a number for a new stream.
    pub(super) fn open(&self, permit: SemaphoreGuardArc) -> Result<u32, Error> {
        let mut state = self.state();
        if let Some(end) = &state.ended {
            return Err(self.unsent(end));
        }
        let mut stream = state.stream_last;
        // Ends: there are far fewer permits than numbers.
        loop {
            stream = stream.wrapping_add(1);
            if stream != 0 && !state.streams.contains_key(&stream) {
                break;
            }
        }
        state.stream_last = stream;
        let answers = VecDeque::new();
        let exchange = Exchange { answers, call: None, abandoned: false, _permit: permit };
        state.streams.insert(stream, exchange);
        Ok(stream)
    }

    /// Queues a frame as soon as there is room.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        stream: u32,
        opcode: Opcode,
        flags: Flags,
        message: &impl prost::Message,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        if let Some(end) = &state.ended {
            return Poll::Ready(Err(self.unsent(end)));
        }
        if state.output.len() >= limits::CLIENT_OUTPUT_BYTES_MAX {
            state.senders.push(cx.waker().clone());
            return Poll::Pending;
        }
        encode_message(&mut state.output, stream, opcode, flags, message);
        state.wake_writer();
        Poll::Ready(Ok(()))
    }

    /// Queues a frame without a message; such frames are few and small, so they need no room.
    pub(super) fn send_bare(&self, stream: u32, opcode: Opcode, flags: Flags) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(end) = &state.ended {
            return Err(end.clone());
        }
        encode_frame(&mut state.output, stream, opcode.as_u8(), flags, |_| {});
        state.wake_writer();
        Ok(())
    }

    /// Whether there are calls, and none that the reader has to wait for.
    pub(super) fn wants_answers(&self) -> bool {
        let state = self.state();
        !state.streams.is_empty() && state.reader.is_none()
    }

    pub(super) fn ping(&self) {
        let mut state = self.state();
        encode_ping(&mut state.output, Flags::NONE, &[]);
        state.wake_writer();
    }

    pub(super) fn answer_ping(&self, echo: &[u8]) {
        let mut state = self.state();
        encode_ping(&mut state.output, Flags::END, echo);
        state.wake_writer();
    }

    /// Returns the next answer of a stream.
    pub(super) fn poll_answer(&self, cx: &mut Context<'_>, stream: u32) -> Poll<Answer> {
        let mut state = self.state();
        let exchange = state.streams.get_mut(&stream).expect("a call keeps its stream open");
        match exchange.answers.pop_front() {
            Some(answer) => {
                if let Some(reader) = state.reader.take() {
                    reader.wake();
                }
                Poll::Ready(answer)
            }
            None => {
                exchange.call = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A call is dropped. If the server works for it (`cancel`), it is told to stop, and the number
    /// stays taken until it says it has.
    pub(super) fn close(&self, stream: u32, opcode: Opcode, cancel: bool) {
        let mut state = self.state();
        let live = state.ended.is_none();
        let Some(exchange) = state.streams.get_mut(&stream) else { return };
        let answered = exchange.answers.iter().any(|answer| !matches!(answer, Answer::Message(_)));
        if cancel && live && !answered {
            exchange.abandoned = true;
            exchange.answers.clear();
            exchange.call = None;
            encode_frame(&mut state.output, stream, opcode.as_u8(), Flags::CANCEL, |_| {});
            state.wake_writer();
        } else {
            state.streams.remove(&stream);
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Returns everything that waits to be written.
    pub(super) fn poll_output(&self, cx: &mut Context<'_>) -> Poll<BytesMut> {
        let mut state = self.state();
        if state.output.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.senders.drain(..).for_each(Waker::wake);
        let output = state.output.split();
        Poll::Ready(output)
    }

    /// Hands a frame of the server to its stream; waits while the call has too much already.
    pub(super) fn poll_deliver(
        &self,
        cx: &mut Context<'_>,
        frame: &Frame,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        let header = frame.header;
        let Some(exchange) = state.streams.get_mut(&header.stream) else {
            let why = format!("an answer on stream {}, which is not open", header.stream);
            return Poll::Ready(Err(self.broken(why)));
        };
        let end = header.flags.contains(Flags::END);
        if exchange.abandoned {
            if end {
                state.streams.remove(&header.stream);
            }
            return Poll::Ready(Ok(()));
        }
        if exchange.answers.len() >= limits::CLIENT_STREAM_ANSWERS_MAX {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let payload = frame.payload.clone();
        if header.flags.contains(Flags::ERROR) {
            let status = decode_error(payload);
            let message = status.message.into_owned();
            exchange
                .answers
                .push_back(Answer::Failed(Error::Status { code: status.code, message }));
        } else {
            if !header.flags.contains(Flags::BARE) {
                exchange.answers.push_back(Answer::Message(payload));
            }
            if end {
                exchange.answers.push_back(Answer::End);
            }
        }
        if let Some(call) = exchange.call.take() {
            call.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the connection: nothing more goes out, and every waiting call gets the error.
    pub(super) fn end(&self, error: Error) {
        let mut state = self.state();
        state.output.clear();
        state.senders.drain(..).for_each(Waker::wake);
        state.streams.retain(|_, exchange| !exchange.abandoned);
        #[expect(clippy::iter_over_hash_type, reason = "all are told the same, in any order")]
        for exchange in state.streams.values_mut() {
            exchange.answers.push_back(Answer::Failed(error.clone()));
            if let Some(call) = exchange.call.take() {
                call.wake();
            }
        }
        state.ended = Some(error);
    }
}

impl State {
    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}
