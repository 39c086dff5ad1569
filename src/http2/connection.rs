//! A connection as a server sees it: its frames, its settings, its windows, its end.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::BytesMut;

use super::fields::{Blocks, Heads};
use super::frame::{self, FrameHead, HEAD_BYTES, PREFACE, Reason, flag, kind, setting};
use super::hpack::Encoder;
use super::lists::{Gone, Made};
use super::output::Output;
use super::pings::Pings;
use super::streams::{Closed, How, Place, RESETS_UNEARNED_MAX, Stream, Streams};
use crate::types::Nanos;

/// The settings of a server, and its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Streams that may be open; further ones are refused.
    pub streams_max: u32,
    /// Whether clients are told so.
    pub tells_streams_max: bool,
    /// Bytes that a client may send on a stream, and on all together, before they are consumed.
    pub stream_window: u32,
    pub connection_window: u32,
    /// Bytes of a header list, as HTTP/2 counts them.
    pub header_list_bytes_max: u32,
    /// The time that must be between two pings of a client with requests under way.
    pub ping_interval_min: Duration,
}

/// The reason for which the connection has to end. The owner sends it to the client with
/// [`Connection::go_away`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub reason: Reason,
    pub text: &'static str,
}

impl Broken {
    pub(super) fn protocol(text: &'static str) -> Broken {
        Broken { reason: Reason::PROTOCOL_ERROR, text }
    }
}

/// A frame that was taken, or a request that came in two.
#[derive(Debug)]
pub struct Taken<H, C> {
    /// Bytes of the input.
    pub bytes: usize,
    /// Frames, and what else was visited for them.
    pub work: usize,
    pub event: Event<H, C>,
}

/// The meaning of a frame for the owner.
#[derive(Debug)]
pub enum Event<H, C> {
    /// Nothing.
    Nothing,
    /// A stream was opened. If its body came with it, this is all of the request.
    Request {
        stream: u32,
        head: H,
        /// The place of the body in the input.
        body: Range<usize>,
        /// Nothing follows on the stream.
        ends: bool,
    },
    /// More of a body.
    Data { stream: u32, body: Range<usize>, ends: bool },
    /// The stream is gone, by the client's will or its fault. What the owner had set, if anything.
    Reset { stream: u32, call: Option<C> },
}

/// The part of the beginning that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Nothing,
    Preface,
    Settings,
}

/// The steps of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// The client was told to open no more streams, and a ping of ours says when it has read that.
    Said,
    /// It was told that this stream was the last.
    Final(u32),
}

/// A header block that goes on in the next frame.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) head: FrameHead,
    pub(super) block: BytesMut,
    pub(super) frames: usize,
    pub(super) is_own_parent: bool,
}

/// One connection of a server. `H` is what it keeps of a request's headers, `C` what the owner
/// keeps with a stream.
#[derive(Debug)]
pub struct Connection<H, C> {
    pub(super) config: Config,
    opening: Opening,
    pub(super) ending: Ending,
    /// The client opens no further streams.
    is_left: bool,
    pub(super) blocks: Blocks<H>,
    pub(super) begun: Option<Begun>,
    pub(super) streams: Streams<C>,
    /// Streams that were answered and that the client has not ended, oldest first, some of which
    /// are gone; and the number of those that are not.
    pub(super) answered: VecDeque<u32>,
    pub(super) answered_open: usize,
    pub(super) closed: Closed,
    /// The newest stream that was opened.
    pub(super) last_stream: u32,
    resets_unearned: u32,
    /// Bytes that the client may still send on all streams together.
    pub(super) window: i64,
    ungranted: u32,
    /// Bytes that we may still send on all streams together.
    pub(super) send_window: i64,
    /// The client's settings.
    pub(super) stream_window: u32,
    pub(super) payload_bytes_max: usize,
    pub(super) encoder: Encoder,
    pub(super) made: Made,
    pub(super) output: Output,
    /// Streams that have something to send and a window for it, in their turn.
    pub(super) ready: VecDeque<u32>,
    /// Bytes that wait in streams, and in those with answers of many messages.
    pub(super) pending: [usize; 2],
    /// Streams that have room for more, of those whose owner wants to know.
    pub(super) roomy: Vec<u32>,
    pings: Pings,
}

/// The payload of the ping that goes with the first GOAWAY, and of any other ping of ours.
const LAST_PING: [u8; 8] = *b"last one";
const PING: [u8; 8] = *b"is alive";

impl<H: Heads, C> Connection<H, C> {
    /// A connection on which nothing has come; what a server says first is in its output.
    pub fn new(config: Config) -> Connection<H, C> {
        let mut output = Output::default();
        let limit = (setting::MAX_CONCURRENT_STREAMS, config.streams_max);
        let others = [
            (setting::INITIAL_WINDOW_SIZE, config.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, config.header_list_bytes_max),
            limit,
        ];
        let told = if config.tells_streams_max { &others[..] } else { &others[..2] };
        frame::put_settings(&mut output.bytes, told);
        let more = config.connection_window - frame::WINDOW_DEFAULT;
        frame::put_window_update(&mut output.bytes, 0, more);
        Connection {
            config,
            opening: Opening::Nothing,
            ending: Ending::No,
            is_left: false,
            blocks: Blocks::new(config.header_list_bytes_max as usize),
            begun: None,
            streams: Streams::new(),
            answered: VecDeque::new(),
            answered_open: 0,
            closed: Closed::default(),
            last_stream: 0,
            resets_unearned: 0,
            window: i64::from(config.connection_window),
            ungranted: 0,
            send_window: i64::from(frame::WINDOW_DEFAULT),
            stream_window: frame::WINDOW_DEFAULT,
            payload_bytes_max: frame::PAYLOAD_BYTES_DEFAULT,
            encoder: Encoder::default(),
            made: Made::default(),
            output,
            ready: VecDeque::new(),
            pending: [0; 2],
            roomy: Vec::new(),
            pings: Pings::new(config.ping_interval_min),
        }
    }

    /// Takes the first frame of `input`; `None` if that is not all there. A request's body that
    /// comes whole behind its headers is taken with them.
    pub fn take(&mut self, input: &[u8]) -> Result<Option<Taken<H, C>>, Broken> {
        if self.opening == Opening::Nothing {
            return self.take_preface(input);
        }
        let Some(bytes) = input.first_chunk() else { return Ok(None) };
        let head = FrameHead::decode(bytes);
        if head.length > frame::PAYLOAD_BYTES_DEFAULT {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "frame too large" });
        }
        let bytes = HEAD_BYTES + head.length;
        let Some(payload) = input.get(HEAD_BYTES..bytes) else { return Ok(None) };
        if self.opening == Opening::Preface {
            if head.kind != kind::SETTINGS || head.has(flag::ACK) {
                return Err(Broken::protocol("SETTINGS must come first"));
            }
            self.opening = Opening::Settings;
        }
        if let Some(begun) = &self.begun
            && (head.kind != kind::CONTINUATION || head.stream != begun.head.stream)
        {
            return Err(Broken::protocol("a header block must go on"));
        }
        let plain = |event| Taken { bytes, work: 1, event };
        let taken = match head.kind {
            kind::DATA => plain(self.take_body(&head, payload)?),
            kind::HEADERS => self.take_headers(&head, input)?,
            kind::PRIORITY => plain(self.take_priority(&head, payload)?),
            kind::RST_STREAM => plain(self.take_reset(&head, payload)?),
            kind::SETTINGS => {
                let visited = self.take_settings(&head, payload)?;
                Taken { bytes, work: 1 + visited, event: Event::Nothing }
            }
            kind::PUSH_PROMISE => return Err(Broken::protocol("clients push nothing")),
            kind::PING => plain(self.take_ping(&head, payload)?),
            kind::GOAWAY => plain(self.take_go_away(&head, payload)?),
            kind::WINDOW_UPDATE => plain(self.take_window(&head, payload)?),
            kind::CONTINUATION => self.take_continuation(&head, input)?,
            // Of a later version of the protocol.
            _ => plain(Event::Nothing),
        };
        Ok(Some(taken))
    }

    fn take_preface(&mut self, input: &[u8]) -> Result<Option<Taken<H, C>>, Broken> {
        let come = input.len().min(PREFACE.len());
        if input[..come] != PREFACE[..come] {
            return Err(Broken::protocol("not the preface of HTTP/2"));
        }
        if come < PREFACE.len() {
            return Ok(None);
        }
        self.opening = Opening::Preface;
        Ok(Some(Taken { bytes: come, work: 1, event: Event::Nothing }))
    }

    /// Whether what has been taken ends inside the preface or a header block.
    pub fn is_inside(&self) -> bool {
        self.begun.is_some()
    }

    /// Streams that are open and not answered.
    pub fn streams(&self) -> usize {
        self.streams.len() - self.answered_open
    }

    /// Returns the value that the owner keeps with a stream, if that is open.
    pub fn call(&mut self, stream: u32) -> Option<&mut C> {
        let place = self.streams.open(stream)?;
        self.streams.at(place).call.as_mut()
    }

    /// Has a stream keep `call` for the owner. Returns the value that it kept before.
    pub fn set_call(&mut self, stream: u32, call: C) -> Result<Option<C>, Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        Ok(self.streams.at(place).call.replace(call))
    }

    /// Closes every stream without a word, as the connection is gone; what the owner kept with
    /// them.
    pub fn abandon(&mut self) -> Vec<C> {
        self.ready.clear();
        self.pending = [0; 2];
        self.answered_open = 0;
        let streams = std::mem::replace(&mut self.streams, Streams::new());
        streams.into_calls().collect()
    }

    /// Judges the pings that have come; whether there were too many.
    pub fn pinged_too_much(&mut self, now: Nanos) -> bool {
        let is_busy = self.streams() > 0;
        self.pings.too_many(now, is_busy)
    }

    /// Asks the client for a sign of life.
    pub fn ping(&mut self) {
        frame::put_ping(&mut self.output.bytes, 0, PING);
    }

    /// Tells the client why the connection ends now.
    pub fn go_away(&mut self, reason: Reason, text: &str) {
        let last_stream = match self.ending {
            Ending::Final(stream) => stream,
            Ending::No | Ending::Said => self.last_stream,
        };
        frame::put_go_away(&mut self.output.bytes, last_stream, reason, text);
    }

    /// Has the client open no further streams. Those that are on their way are served: which one is
    /// the last is said once it has answered a ping.
    pub fn shut_down(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Said;
            let out = &mut self.output.bytes;
            frame::put_go_away(out, frame::WINDOW_MAX, Reason::NO_ERROR, "");
            frame::put_ping(out, 0, LAST_PING);
        }
    }

    /// Whether nothing can follow on the connection: no stream is open, and none will be.
    pub fn is_over(&self) -> bool {
        self.streams() == 0 && (matches!(self.ending, Ending::Final(_)) || self.is_left)
    }

    /// Returns the bytes that are to be sent, in order.
    pub fn output(&self) -> &[u8] {
        self.output.unsent()
    }

    /// The socket has taken so many bytes of the output.
    pub fn sent(&mut self, bytes: usize) {
        if self.output.sent(bytes) {
            self.pings.answered();
        }
    }

    /// Bytes of memory that the output takes.
    pub fn output_capacity(&self) -> usize {
        self.output.bytes.capacity()
    }

    /// Bytes that wait in streams because windows or the output keep them there: of those with an
    /// answer of one message, and of those with [many](Connection::answers_at_length).
    pub fn pending_bytes(&self) -> [usize; 2] {
        self.pending
    }

    fn take_settings(&mut self, head: &FrameHead, payload: &[u8]) -> Result<usize, Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("SETTINGS on a stream"));
        }
        let is_ack = head.has(flag::ACK);
        if is_ack && !payload.is_empty() || !payload.len().is_multiple_of(6) {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "SETTINGS" });
        }
        if is_ack {
            return Ok(0);
        }
        let mut visited = 0;
        for (name, value) in frame::settings(payload) {
            visited += self.set(name, value)?;
        }
        frame::put_head(&mut self.output.bytes, 0, kind::SETTINGS, flag::ACK, 0);
        Ok(visited)
    }

    /// Follows one setting of the client; how many streams had to be visited.
    fn set(&mut self, name: u16, value: u32) -> Result<usize, Broken> {
        match name {
            setting::HEADER_TABLE_SIZE => self.encoder.table_size(value),
            setting::ENABLE_PUSH if value > 1 => return Err(Broken::protocol("ENABLE_PUSH")),
            setting::INITIAL_WINDOW_SIZE => return self.set_stream_window(value),
            setting::MAX_FRAME_SIZE => {
                let size = value as usize;
                if !(frame::PAYLOAD_BYTES_DEFAULT..=frame::PAYLOAD_BYTES_MAX).contains(&size) {
                    return Err(Broken::protocol("MAX_FRAME_SIZE"));
                }
                self.payload_bytes_max = size;
            }
            _ => {}
        }
        Ok(0)
    }

    fn set_stream_window(&mut self, value: u32) -> Result<usize, Broken> {
        let too_large = Broken { reason: Reason::FLOW_CONTROL_ERROR, text: "a window too large" };
        if value > frame::WINDOW_MAX {
            return Err(too_large);
        }
        let change = i64::from(value) - i64::from(self.stream_window);
        self.stream_window = value;
        if change == 0 {
            return Ok(0);
        }
        let Connection { streams, ready, roomy, .. } = self;
        for stream in streams.iter_mut() {
            stream.send_window += change;
            if stream.send_window > i64::from(frame::WINDOW_MAX) {
                return Err(too_large);
            }
            opened(stream, ready, roomy);
        }
        Ok(self.streams.len())
    }

    fn take_ping(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Event<H, C>, Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("PING on a stream"));
        }
        let Ok(payload) = payload.try_into() else {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "PING" });
        };
        if !head.has(flag::ACK) {
            self.pings.received();
            frame::put_ping(&mut self.output.bytes, flag::ACK, payload);
        } else if self.ending == Ending::Said && payload == LAST_PING {
            self.ending = Ending::Final(self.last_stream);
            self.go_away(Reason::NO_ERROR, "");
        }
        Ok(Event::Nothing)
    }

    fn take_go_away(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Event<H, C>, Broken> {
        if head.stream != 0 {
            return Err(Broken::protocol("GOAWAY on a stream"));
        }
        if payload.len() < 8 {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "GOAWAY" });
        }
        self.is_left = true;
        Ok(Event::Nothing)
    }

    fn take_priority(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Event<H, C>, Broken> {
        if head.stream == 0 {
            return Err(Broken::protocol("PRIORITY of the connection"));
        }
        if payload.len() != 5 {
            return self.fault_of(head.stream, Reason::FRAME_SIZE_ERROR, "PRIORITY");
        }
        if frame::depends_on_itself(head, payload) {
            return self.fault_of(head.stream, Reason::PROTOCOL_ERROR, "its own parent");
        }
        Ok(Event::Nothing)
    }

    fn take_window(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Event<H, C>, Broken> {
        let Some(more) = frame::word(payload).filter(|_| payload.len() == 4) else {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "WINDOW_UPDATE" });
        };
        let more = i64::from(more & frame::WINDOW_MAX);
        if head.stream == 0 {
            if more == 0 {
                return Err(Broken::protocol("WINDOW_UPDATE of nothing"));
            }
            self.send_window += more;
            if self.send_window > i64::from(frame::WINDOW_MAX) {
                let text = "a window too large";
                return Err(Broken { reason: Reason::FLOW_CONTROL_ERROR, text });
            }
            return Ok(Event::Nothing);
        }
        let Some(place) = self.streams.find(head.stream) else {
            self.may_be_late(head.stream, "WINDOW_UPDATE")?;
            return match more {
                0 => Err(Broken::protocol("WINDOW_UPDATE of nothing")),
                _ => Ok(Event::Nothing),
            };
        };
        if more == 0 {
            return Ok(self.fault(place, Reason::PROTOCOL_ERROR));
        }
        let Connection { streams, ready, roomy, .. } = self;
        let stream = streams.at(place);
        stream.send_window += more;
        if stream.send_window > i64::from(frame::WINDOW_MAX) {
            return Ok(self.fault(place, Reason::FLOW_CONTROL_ERROR));
        }
        opened(stream, ready, roomy);
        Ok(Event::Nothing)
    }

    fn take_reset(&mut self, head: &FrameHead, payload: &[u8]) -> Result<Event<H, C>, Broken> {
        if payload.len() != 4 {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, text: "RST_STREAM" });
        }
        let Some(place) = self.streams.find(head.stream) else {
            self.may_be_late(head.stream, "RST_STREAM")?;
            self.closed.reset_by_both(head.stream);
            return Ok(Event::Nothing);
        };
        let is_answered = self.streams.at(place).is_answered;
        self.resets_unearned += u32::from(!is_answered);
        if self.resets_unearned > RESETS_UNEARNED_MAX {
            return Err(Broken { reason: Reason::ENHANCE_YOUR_CALM, text: "too_many_resets" });
        }
        self.closed.ended(head.stream);
        Ok(Event::Reset { stream: head.stream, call: self.remove(place) })
    }

    /// A frame came for a stream that is not open and which it may be late for; not if that never
    /// was.
    fn may_be_late(&self, stream: u32, text: &'static str) -> Result<(), Broken> {
        if self.is_idle(stream) {
            return Err(Broken::protocol(text));
        }
        Ok(())
    }

    /// Whether the stream was never opened, nor passed over.
    pub(super) fn is_idle(&self, stream: u32) -> bool {
        stream > self.last_stream || stream.is_multiple_of(2)
    }

    /// HEADERS or DATA came for a stream that is closed.
    pub(super) fn stray(&mut self, stream: u32) -> Result<Event<H, C>, Broken> {
        let closed = Broken { reason: Reason::STREAM_CLOSED, text: "the stream is closed" };
        match self.closed.how(stream) {
            How::Reset => Ok(Event::Nothing),
            How::MayBeReset => {
                frame::put_reset(&mut self.output.bytes, stream, Reason::STREAM_CLOSED);
                Ok(Event::Nothing)
            }
            How::Ended => Err(closed),
            How::Skipped => Err(Broken::protocol("the numbers of streams only rise")),
        }
    }

    /// The client has broken a rule that concerns this stream alone: it is reset. If it is not
    /// open, it cannot be, and the connection ends.
    fn fault_of(
        &mut self,
        stream: u32,
        reason: Reason,
        text: &'static str,
    ) -> Result<Event<H, C>, Broken> {
        match self.streams.find(stream) {
            Some(place) => Ok(self.fault(place, reason)),
            None => Err(Broken { reason, text }),
        }
    }

    /// Resets a stream that is open, because of its client.
    pub(super) fn fault(&mut self, place: Place, reason: Reason) -> Event<H, C> {
        let stream = self.streams.at(place).id;
        Event::Reset { stream, call: self.put_reset(place, reason) }
    }

    /// Resets a stream; what the owner kept with it.
    pub(super) fn put_reset(&mut self, place: Place, reason: Reason) -> Option<C> {
        let stream = self.streams.at(place).id;
        frame::put_reset(&mut self.output.bytes, stream, reason);
        self.closed.reset(stream);
        self.remove(place)
    }

    /// A call was answered to its end.
    pub(super) fn earned(&mut self) {
        self.resets_unearned = self.resets_unearned.saturating_sub(1);
    }

    /// Forgets a stream; what the owner kept with it.
    pub(super) fn remove(&mut self, place: Place) -> Option<C> {
        let Stream { unconsumed, pending, call, is_long, is_answered, .. } =
            self.streams.remove(place);
        self.answered_open -= usize::from(is_answered);
        self.pending[usize::from(is_long)] -= pending.map_or(0, |pending| pending.bytes);
        self.grant(unconsumed);
        // Those that are gone are passed over when their turn comes, which takes a window.
        if self.ready.len() > 2 * self.streams.len() + 64 {
            let streams = &self.streams;
            self.ready.retain(|&stream| streams.find(stream).is_some());
        }
        call
    }

    /// Bytes of the connection's window are free again.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.ungranted += bytes as u32;
        if self.ungranted >= self.config.connection_window / 2 {
            let more = std::mem::take(&mut self.ungranted);
            self.window += i64::from(more);
            frame::put_window_update(&mut self.output.bytes, 0, more);
        }
    }
}

/// The window of a stream has changed.
fn opened<C>(stream: &mut Stream<C>, ready: &mut VecDeque<u32>, roomy: &mut Vec<u32>) {
    if stream.send_window <= 0 {
        return;
    }
    if stream.pending.is_some() && !std::mem::replace(&mut stream.is_queued, true) {
        ready.push_back(stream.id);
    }
    if stream.has_room() && std::mem::take(&mut stream.wants_room) {
        roomy.push(stream.id);
    }
}
