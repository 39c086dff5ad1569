//! The receiving half of streams: header blocks and bodies of a client.

use bytes::BytesMut;

use super::connection::{Begun, Broken, Connection, Ending, Event, Taken};
use super::fields::{Heads, Judged, Verdict};
use super::frame::{self, FrameHead, HEAD_BYTES, Reason, flag, kind};
use super::streams::{ANSWERED_BYTES_MAX, Place, Stream};

/// CONTINUATION frames of one header block at most.
const CONTINUATIONS_MAX: usize = 64;

impl<H: Heads, C> Connection<H, C> {
    pub(super) fn take_body(
        &mut self,
        head: &FrameHead,
        payload: &[u8],
    ) -> Result<Event<H, C>, Broken> {
        if head.stream == 0 || self.is_idle(head.stream) {
            return Err(Broken::protocol("DATA for no stream"));
        }
        let Some(content) = frame::content(head, payload) else {
            return Err(Broken::protocol("more padding than DATA"));
        };
        let bytes = payload.len();
        self.window -= bytes as i64;
        if self.window < 0 {
            let text = "more DATA than the connection's window";
            return Err(Broken { reason: Reason::FLOW_CONTROL_ERROR, text });
        }
        let Some(place) = self.streams.find(head.stream) else {
            self.grant(bytes);
            return self.stray(head.stream);
        };
        let ends = head.has(flag::END_STREAM);
        let stream = self.streams.at(place);
        if stream.is_ended {
            self.grant(bytes);
            return Ok(self.fault(place, Reason::STREAM_CLOSED));
        }
        stream.window -= bytes as i64;
        stream.unconsumed += bytes;
        let fault = match (stream.window < 0, stream.counts(content.len(), ends)) {
            (true, _) => Some(Reason::FLOW_CONTROL_ERROR),
            (false, false) => Some(Reason::PROTOCOL_ERROR),
            (false, true) => None,
        };
        if let Some(event) = self.turned_away(place, fault, ends) {
            return Ok(event);
        }
        let padding = bytes - content.len();
        if padding > 0 {
            self.consumed(head.stream, padding);
        }
        let body = HEAD_BYTES + content.start..HEAD_BYTES + content.end;
        Ok(Event::Data { stream: head.stream, body, ends })
    }

    /// Notes that more came of a stream, with `ends` the last of it, unless its `fault` ends the
    /// stream or nobody waits for it any more. Returns what that means in its place then.
    fn turned_away(
        &mut self,
        place: Place,
        fault: Option<Reason>,
        ends: bool,
    ) -> Option<Event<H, C>> {
        if let Some(reason) = fault {
            return Some(self.fault(place, reason));
        }
        let stream = self.streams.at(place);
        if stream.is_answered {
            self.leave(place, ends);
            return Some(Event::Nothing);
        }
        stream.is_ended = ends;
        None
    }

    /// More came of a stream that was answered. Its end closes it; a client that goes on and on is
    /// told that nobody wants more.
    fn leave(&mut self, place: Place, ends: bool) {
        let stream = self.streams.at(place);
        let id = stream.id;
        let bytes = std::mem::take(&mut stream.unconsumed);
        stream.ungranted += bytes as u32;
        let is_long = stream.ungranted as usize > ANSWERED_BYTES_MAX;
        self.grant(bytes);
        if ends {
            self.closed.ended(id);
            self.remove(place);
        } else if is_long {
            self.put_reset(place, Reason::NO_ERROR);
        }
    }

    /// The owner is done with bytes of a stream's body, which the client may send again.
    pub fn consumed(&mut self, stream: u32, bytes: usize) {
        // Of a stream that is gone all has been granted.
        let Some(place) = self.streams.open(stream) else { return };
        let at = self.streams.at(place);
        assert!(bytes <= at.unconsumed, "more is consumed than has come");
        at.unconsumed -= bytes;
        if !at.is_ended {
            at.ungranted += bytes as u32;
            if at.ungranted >= self.config.stream_window / 2 {
                let more = std::mem::take(&mut at.ungranted);
                at.window += i64::from(more);
                frame::put_window_update(&mut self.output.bytes, stream, more);
            }
        }
        self.grant(bytes);
    }

    pub(super) fn take_headers(
        &mut self,
        head: &FrameHead,
        input: &[u8],
    ) -> Result<Taken<H, C>, Broken> {
        let bytes = HEAD_BYTES + head.length;
        let payload = &input[HEAD_BYTES..bytes];
        if head.stream == 0 || head.stream.is_multiple_of(2) {
            return Err(Broken::protocol("HEADERS on a stream that is no client's"));
        }
        let Some(content) = frame::content(head, payload) else {
            return Err(Broken::protocol("more padding than HEADERS"));
        };
        let is_own_parent = head.has(flag::PRIORITY) && frame::depends_on_itself(head, payload);
        let block = &payload[content];
        if !head.has(flag::END_HEADERS) {
            let block = BytesMut::from(block);
            self.begun = Some(Begun { head: *head, block, frames: 0, is_own_parent });
            return Ok(Taken { bytes, work: 1, event: Event::Nothing });
        }
        let event = self.take_block(head, block, is_own_parent)?;
        self.with_body(bytes, input, event)
    }

    pub(super) fn take_continuation(
        &mut self,
        head: &FrameHead,
        input: &[u8],
    ) -> Result<Taken<H, C>, Broken> {
        let bytes = HEAD_BYTES + head.length;
        let payload = &input[HEAD_BYTES..bytes];
        let Some(mut begun) = self.begun.take() else {
            return Err(Broken::protocol("CONTINUATION of nothing"));
        };
        begun.frames += 1;
        begun.block.extend_from_slice(payload);
        // No list is longer than its block, but for what the table unfolds.
        let is_too_long = begun.block.len() > self.config.header_list_bytes_max as usize;
        if is_too_long || begun.frames > CONTINUATIONS_MAX {
            let text = "a header block without end";
            return Err(Broken { reason: Reason::ENHANCE_YOUR_CALM, text });
        }
        if !head.has(flag::END_HEADERS) {
            self.begun = Some(begun);
            return Ok(Taken { bytes, work: 1, event: Event::Nothing });
        }
        let event = self.take_block(&begun.head, &begun.block, begun.is_own_parent)?;
        self.with_body(bytes, input, event)
    }

    /// If `event` is a request that goes on, and the next frame of `input` is the end of it, that
    /// is taken too.
    fn with_body(
        &mut self,
        bytes: usize,
        input: &[u8],
        event: Event<H, C>,
    ) -> Result<Taken<H, C>, Broken> {
        let Event::Request { stream, head, ends: false, .. } = event else {
            return Ok(Taken { bytes, work: 1, event });
        };
        let rest = &input[bytes..];
        let next = rest.first_chunk().map(FrameHead::decode).filter(|next| {
            next.kind == kind::DATA
                && next.stream == stream
                && next.has(flag::END_STREAM)
                && next.length <= frame::PAYLOAD_BYTES_DEFAULT
        });
        let whole = next.and_then(|next| Some((next, rest[HEAD_BYTES..].get(..next.length)?)));
        let Some((next, payload)) = whole else {
            let event = Event::Request { stream, head, body: 0..0, ends: false };
            return Ok(Taken { bytes, work: 1, event });
        };
        let event = match self.take_body(&next, payload)? {
            Event::Data { body, ends, .. } => {
                let body = bytes + body.start..bytes + body.end;
                Event::Request { stream, head, body, ends }
            }
            // It broke a rule before anybody knew of it.
            other => other,
        };
        Ok(Taken { bytes: bytes + HEAD_BYTES + next.length, work: 2, event })
    }

    /// A whole header block: of a new stream, or behind the body of one.
    fn take_block(
        &mut self,
        head: &FrameHead,
        block: &[u8],
        is_own_parent: bool,
    ) -> Result<Event<H, C>, Broken> {
        let ends = head.has(flag::END_STREAM);
        let bad = |_| Broken { reason: Reason::COMPRESSION_ERROR, text: "a bad header block" };
        if let Some(place) = self.streams.find(head.stream) {
            let verdict = self.blocks.trailers(block).map_err(bad)?;
            let stream = self.streams.at(place);
            let is_fine = verdict == Verdict::Fine && ends && !is_own_parent;
            let fault = match (stream.is_ended, is_fine && stream.counts(0, true)) {
                (true, _) => Some(Reason::STREAM_CLOSED),
                (false, true) => None,
                (false, false) => Some(Reason::PROTOCOL_ERROR),
            };
            if let Some(event) = self.turned_away(place, fault, ends) {
                return Ok(event);
            }
            return Ok(Event::Data { stream: head.stream, body: 0..0, ends });
        }
        if head.stream <= self.last_stream {
            // Its additions to the table count for all blocks that follow.
            self.blocks.trailers(block).map_err(bad)?;
            return self.stray(head.stream);
        }
        let judged = self.blocks.request(block).map_err(bad)?;
        self.last_stream = head.stream;
        if matches!(self.ending, Ending::Final(_)) {
            // The client was told that nobody looks at this one.
            self.closed.reset(head.stream);
            return Ok(Event::Nothing);
        }
        match self.refusal(&judged, ends, is_own_parent) {
            Some(reason) => {
                frame::put_reset(&mut self.output.bytes, head.stream, reason);
                self.closed.reset(head.stream);
                Ok(Event::Nothing)
            }
            None => Ok(self.open(head.stream, judged, ends)),
        }
    }

    /// Returns the reason for which a stream is not opened, if there is one.
    fn refusal(&self, judged: &Judged<H>, ends: bool, is_own_parent: bool) -> Option<Reason> {
        let has_no_body = ends && judged.content_length.is_some_and(|length| length > 0);
        match judged.verdict {
            Verdict::TooLarge => Some(Reason::FRAME_SIZE_ERROR),
            Verdict::Malformed => Some(Reason::PROTOCOL_ERROR),
            Verdict::Fine if has_no_body || is_own_parent => Some(Reason::PROTOCOL_ERROR),
            Verdict::Fine if self.streams.len() >= self.config.streams_max as usize => {
                Some(Reason::REFUSED_STREAM)
            }
            Verdict::Fine => None,
        }
    }

    fn open(&mut self, stream: u32, judged: Judged<H>, ends: bool) -> Event<H, C> {
        self.streams.insert(Stream {
            id: stream,
            is_ended: ends,
            is_answered: false,
            window: i64::from(self.config.stream_window),
            unconsumed: 0,
            ungranted: 0,
            body_left: judged.content_length,
            send_window: i64::from(self.stream_window),
            pending: None,
            is_long: false,
            is_queued: false,
            wants_room: false,
            call: None,
        });
        Event::Request { stream, head: judged.head, body: 0..0, ends }
    }
}
