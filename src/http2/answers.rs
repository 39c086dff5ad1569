//! The sending half of streams: header blocks leave at once, bodies as far as windows and room let
//! them.

use bytes::{BufMut, Bytes, BytesMut};

use super::connection::Connection;
use super::fields::Heads;
use super::frame::{self, HEAD_BYTES, Reason, kind};
use super::hpack::Field;
use super::lists::{Fields, Gone};
use super::streams::{ANSWERED_MAX, Place};

/// Payload bytes of a frame that we send at most, so that streams take turns.
const PAYLOAD_BYTES: usize = 64 << 10;

impl<H: Heads, C> Connection<H, C> {
    /// Sends the headers of an answer. With `ends` that is all of it, and closes the stream.
    pub fn headers(&mut self, stream: u32, fields: Fields<'_>, ends: bool) -> Result<(), Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        self.put_block(stream, fields, ends);
        if ends {
            self.close(place);
        }
        Ok(())
    }

    /// Sends bytes of the body. `write` appends them, and only appends, to the buffer that it is
    /// given.
    pub fn body_with(
        &mut self,
        stream: u32,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<(), Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        self.put_body(place, write);
        Ok(())
    }

    /// Sends bytes of the body, which are not copied before they leave.
    pub fn body(&mut self, stream: u32, bytes: Bytes) -> Result<(), Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        if !bytes.is_empty() {
            self.queue(place, bytes);
        }
        Ok(())
    }

    /// The answer on this stream has many messages. Nothing of it must have been sent.
    pub fn answers_at_length(&mut self, stream: u32) {
        if let Some(place) = self.streams.open(stream) {
            let stream = self.streams.at(place);
            debug_assert!(stream.pending.is_none(), "it counts from the beginning");
            stream.is_long = true;
        }
    }

    /// Ends the answer with these trailers, behind all that is to be sent before.
    pub fn end(&mut self, stream: u32, fields: Fields<'_>) -> Result<(), Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        self.put_end(place, fields);
        Ok(())
    }

    /// Answers with headers, one message and trailers.
    pub fn answer(
        &mut self,
        stream: u32,
        headers: Fields<'_>,
        write: impl FnOnce(&mut BytesMut),
        trailers: Fields<'_>,
    ) -> Result<(), Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        self.put_block(stream, headers, false);
        self.put_body(place, write);
        self.put_end(place, trailers);
        Ok(())
    }

    /// Resets the stream, if it is open; what the owner kept with it.
    pub fn reset(&mut self, stream: u32, reason: Reason) -> Option<C> {
        let place = self.streams.open(stream)?;
        self.put_reset(place, reason)
    }

    /// Whether all that was handed over for the stream is in the output, and its window lets more
    /// out. If not, [`Connection::next_roomy`] names the stream when it is so.
    pub fn has_room(&mut self, stream: u32) -> Result<bool, Gone> {
        let place = self.streams.open(stream).ok_or(Gone)?;
        let stream = self.streams.at(place);
        stream.wants_room = !stream.has_room();
        Ok(!stream.wants_room)
    }

    /// The next stream that has room for more, of those that were asked for it.
    pub fn next_roomy(&mut self) -> Option<u32> {
        self.roomy.pop()
    }

    /// Moves what waits in streams into the output until that has `bytes_max`, in turns of one
    /// frame. Returns how many frames.
    pub fn fill(&mut self, bytes_max: usize) -> usize {
        let mut frames = 0;
        while self.send_window > 0 && self.output.left() < bytes_max {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(place) = self.streams.find(id) else { continue };
            self.put_piece(place);
            frames += 1;
        }
        frames
    }

    /// One frame of what waits in a stream, which is in its turn.
    fn put_piece(&mut self, place: Place) {
        let Connection { streams, output, ready, roomy, pending: all, .. } = self;
        let stream = streams.at(place);
        stream.is_queued = false;
        let Some(pending) = &mut stream.pending else { return };
        let window = self.send_window.min(stream.send_window).max(0) as usize;
        let bytes = pending.bytes.min(window).min(self.payload_bytes_max).min(PAYLOAD_BYTES);
        if bytes == 0 {
            return;
        }
        let start = output.bytes.len();
        frame::put_head(&mut output.bytes, bytes, kind::DATA, 0, stream.id);
        let mut left = bytes;
        while left > 0 {
            let first = &mut pending.pieces[0];
            let piece = first.split_to(left.min(first.len()));
            output.bytes.extend_from_slice(&piece);
            left -= piece.len();
            if first.is_empty() {
                pending.pieces.pop_front();
            }
        }
        output.answered(start);
        pending.bytes -= bytes;
        all[usize::from(stream.is_long)] -= bytes;
        self.send_window -= bytes as i64;
        stream.send_window -= bytes as i64;
        if pending.bytes > 0 {
            if stream.send_window > 0 {
                stream.is_queued = true;
                ready.push_back(stream.id);
            }
            return;
        }
        let end = pending.end.take();
        stream.pending = None;
        if stream.has_room() && std::mem::take(&mut stream.wants_room) {
            roomy.push(stream.id);
        }
        if let Some(fields) = end {
            let fields: Vec<_> =
                fields.iter().map(|(name, text)| Field::once(name, text)).collect();
            self.put_end(place, Fields { status: None, fields: &fields, kept: None });
        }
    }

    fn put_body(&mut self, place: Place, write: impl FnOnce(&mut BytesMut)) {
        let Connection { streams, output, .. } = self;
        let stream = streams.at(place);
        if stream.pending.is_some() {
            let mut bytes = BytesMut::new();
            write(&mut bytes);
            return self.queue(place, bytes.freeze());
        }
        let start = output.bytes.len();
        output.bytes.put_bytes(0, HEAD_BYTES);
        write(&mut output.bytes);
        let length = output.bytes.len() - start - HEAD_BYTES;
        let window = self.send_window.min(stream.send_window);
        if length as i64 <= window && length <= self.payload_bytes_max {
            let head = frame::head(length, kind::DATA, 0, stream.id);
            output.bytes[start..start + HEAD_BYTES].copy_from_slice(&head);
            output.answered(start);
            self.send_window -= length as i64;
            stream.send_window -= length as i64;
            return;
        }
        let bytes = Bytes::copy_from_slice(&output.bytes[start + HEAD_BYTES..]);
        output.bytes.truncate(start);
        self.queue(place, bytes);
    }

    fn queue(&mut self, place: Place, bytes: Bytes) {
        let stream = self.streams.at(place);
        let pending = stream.pending.get_or_insert_default();
        debug_assert!(pending.end.is_none(), "nothing follows the trailers");
        pending.bytes += bytes.len();
        self.pending[usize::from(stream.is_long)] += bytes.len();
        pending.pieces.push_back(bytes);
        if stream.send_window > 0 && !std::mem::replace(&mut stream.is_queued, true) {
            self.ready.push_back(stream.id);
        }
    }

    fn put_end(&mut self, place: Place, fields: Fields<'_>) {
        let stream = self.streams.at(place);
        if let Some(pending) = &mut stream.pending {
            let owned = fields.fields.iter().map(|field| (field.name, field.value.to_owned()));
            pending.end = Some(owned.collect());
            return;
        }
        let id = stream.id;
        self.put_block(id, fields, true);
        self.close(place);
    }

    /// The answer is whole. A client that has not ended its side need not go on; it is told so when
    /// it does.
    fn close(&mut self, place: Place) {
        self.earned();
        let stream = self.streams.at(place);
        let id = stream.id;
        if stream.is_ended {
            self.closed.ended(id);
            self.remove(place);
            return;
        }
        stream.is_answered = true;
        stream.call = None;
        stream.ungranted = 0;
        let unconsumed = std::mem::take(&mut stream.unconsumed);
        self.answered_open += 1;
        self.answered.push_back(id);
        self.grant(unconsumed);
        while self.answered.len() > ANSWERED_MAX {
            let oldest = self.answered.pop_front().and_then(|id| self.streams.find(id));
            if let Some(place) = oldest {
                self.put_reset(place, Reason::NO_ERROR);
            }
        }
    }

    fn put_block(&mut self, stream: u32, fields: Fields<'_>, ends: bool) {
        let Connection { encoder, output, made, .. } = self;
        let start = output.bytes.len();
        made.put(encoder, &mut output.bytes, fields, (stream, ends, self.payload_bytes_max));
        output.answered(start);
    }
}
