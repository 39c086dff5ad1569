//! The gRPC calls of one connection: an array by slot, and a ring that says the slot of a stream
//! number.
//!
//! ```text
//!   stream 23 ─▶ ring[23 / 2 mod length] = slot 4 ─▶ calls[4].stream = 23, so it is that one
//! ```
//!
//! Stream numbers only rise, so the calls under way are mostly neighbours in the ring. A call that
//! stays (a watch) keeps its place; numbers that would need it are left out, which HTTP/2 allows.

use super::wire::{Answer, Lost};
use crate::protocol::grpc::PREFIX_BYTES;

/// A message of an answer at most.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Places of the ring for each call.
const PLACES: usize = 4;

/// The call of a slot, under way or not.
#[derive(Debug, Default)]
pub(super) struct CallSlot {
    pub(super) slot: u32,
    /// Its number on the connection; 0 when none is under way.
    stream: u32,
    pub(super) body: Vec<u8>,
    pub(super) heads: Heads,
    /// Many messages both ways.
    pub(super) streams: bool,
    /// Bytes that we may still send on it.
    pub(super) window: i64,
    /// Bytes received since the stream's window was last filled up.
    pub(super) received: u32,
}

/// The status in headers and trailers of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heads {
    http_status: u32,
    status: Option<u32>,
    message: String,
}

/// The calls of a connection.
#[derive(Debug)]
pub(super) struct Calls {
    calls: Vec<CallSlot>,
    /// Slots; meaningless where the call there has no number of that place.
    ring: Vec<u32>,
    /// The number of calls under way.
    pub(super) open: u32,
    next_stream: u32,
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls { calls: Vec::new(), ring: Vec::new(), open: 0, next_stream: 1 }
    }

    /// Whether the numbers of the connection are used up.
    pub(super) fn is_used_up(&self) -> bool {
        self.next_stream > i32::MAX as u32 - (1 << 20)
    }

    /// Begins a call and says its number.
    ///
    /// # Panics
    ///
    /// If one is under way in this slot.
    pub(super) fn open(&mut self, slot: u32, streams: bool, window: i64) -> u32 {
        let at = slot as usize;
        if at >= self.calls.len() {
            self.grow((at + 1).next_power_of_two());
        }
        let stream = loop {
            let stream = self.next_stream;
            self.next_stream += 2;
            let holder = self.calls[self.ring[self.place(stream)] as usize].stream;
            if holder == 0 || self.place(holder) != self.place(stream) {
                break stream;
            }
        };
        let place = self.place(stream);
        self.ring[place] = slot;
        let call = &mut self.calls[at];
        assert_eq!(call.stream, 0, "a call is under way in slot {slot}");
        call.body.clear();
        call.heads.clear();
        *call = CallSlot {
            slot,
            stream,
            body: std::mem::take(&mut call.body),
            heads: std::mem::take(&mut call.heads),
            streams,
            window,
            received: 0,
        };
        self.open += 1;
        stream
    }

    fn grow(&mut self, calls: usize) {
        let known = self.calls.len() as u32;
        self.calls
            .extend((known..calls as u32).map(|slot| CallSlot { slot, ..CallSlot::default() }));
        self.ring = vec![0; PLACES * calls];
        for at in 0..known as usize {
            // Those that had places of their own in a shorter ring have them in a longer one.
            if self.calls[at].stream != 0 {
                let place = self.place(self.calls[at].stream);
                self.ring[place] = at as u32;
            }
        }
    }

    fn place(&self, stream: u32) -> usize {
        (stream / 2) as usize & (self.ring.len() - 1)
    }

    /// The number of the call that is under way in this slot.
    pub(super) fn stream_of(&self, slot: u32) -> Option<u32> {
        self.calls.get(slot as usize).map(|call| call.stream).filter(|&stream| stream != 0)
    }

    /// The call of this number, if it is under way.
    pub(super) fn find(&mut self, stream: u32) -> Option<&mut CallSlot> {
        if self.ring.is_empty() || stream == 0 {
            return None;
        }
        let slot = self.ring[self.place(stream)];
        Some(&mut self.calls[slot as usize]).filter(|call| call.stream == stream)
    }

    /// Ends the call of this number. What it was stays until its slot is used again.
    pub(super) fn end(&mut self, stream: u32) -> Option<&CallSlot> {
        let call = self.find(stream)?;
        call.stream = 0;
        let slot = call.slot as usize;
        self.open -= 1;
        Some(&self.calls[slot])
    }

    /// Those that are under way.
    pub(super) fn under_way(&mut self) -> impl Iterator<Item = &mut CallSlot> {
        self.calls.iter_mut().filter(|call| call.stream != 0)
    }
}

impl Heads {
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value);
        match name {
            b"grpc-status" => self.status = text().parse().ok(),
            b"grpc-message" => self.message = text().into_owned(),
            b":status" => self.http_status = text().parse().unwrap_or(0),
            _ => {}
        }
    }

    /// Adds the trailers to the headers: what comes later replaces what came before.
    pub(super) fn add(&mut self, later: &Heads) {
        if later.http_status != 0 {
            self.http_status = later.http_status;
        }
        self.status = later.status.or(self.status);
        if !later.message.is_empty() {
            self.message.clone_from(&later.message);
        }
    }

    pub(super) fn clear(&mut self) {
        (self.http_status, self.status) = (0, None);
        self.message.clear();
    }
}

impl CallSlot {
    /// How it ended: its one message, or the code and text of its failure.
    pub(super) fn result(&self) -> Result<&[u8], (u32, &str)> {
        // A message of a stream has been counted; a rest is a message cut short.
        let is_said = self.streams && self.body.is_empty();
        let answer = if is_said { Some(&[][..]) } else { message(&self.body) };
        match (self.heads.status, answer) {
            (Some(0), Some(message)) => Ok(message),
            (Some(0), None) => Err((13, "the answer is not one message")),
            (Some(code), _) => Err((code, &self.heads.message)),
            (None, _) if self.heads.http_status != 200 => Err((2, "an HTTP status other than 200")),
            (None, _) => Err((2, "the answer has no grpc-status")),
        }
    }

    /// Says every message of a stream that is there whole.
    pub(super) fn take_messages(&mut self, each: &mut impl FnMut(Answer<'_>)) -> Result<(), Lost> {
        let mut rest = &self.body[..];
        while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_BYTES>() {
            let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
            if prefix[0] != 0 || length > MESSAGE_BYTES_MAX {
                return Err(Lost::new(
                    "the server compresses what was not asked for, or is broken",
                ));
            }
            let Some((message, after)) = after.split_at_checked(length) else { break };
            each(Answer { slot: self.slot, result: Ok(message), ends: false });
            rest = after;
        }
        let taken = self.body.len() - rest.len();
        self.body.drain(..taken);
        Ok(())
    }
}

/// The one message of a body, uncompressed.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX_BYTES>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    (prefix[0] == 0 && message.len() == length).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_stream_are_said_when_they_are_whole() {
        let mut call = CallSlot { slot: 3, streams: true, ..CallSlot::default() };
        let mut said: Vec<Vec<u8>> = Vec::new();
        for byte in [0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0] {
            call.body.push(byte);
            let result = call.take_messages(&mut |answer| {
                assert!(answer.slot == 3 && !answer.ends);
                said.push(answer.result.expect("a message").to_vec());
            });
            assert!(result.is_ok());
        }
        assert_eq!(said, [vec![7, 8], vec![], vec![9]]);
        assert_eq!(call.body, [0]);
        call.body = vec![1, 0, 0, 0, 0];
        assert!(call.take_messages(&mut |_| {}).is_err());
    }

    #[test]
    fn a_body_is_exactly_one_message() {
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8]), Some(&[7, 8][..]));
        assert_eq!(message(&[0, 0, 0, 0, 0]), Some(&[][..]));
        for body in [&[][..], &[0, 0, 0, 0], &[0, 0, 0, 0, 2, 7], &[1, 0, 0, 0, 1, 7]] {
            assert_eq!(message(body), None, "{body:?}");
        }
    }

    #[test]
    fn a_call_that_stays_keeps_its_place() {
        let mut calls = Calls::new();
        let stays = calls.open(0, true, 7);
        let mut seen = vec![stays];
        for round in 0..1000 {
            let slot = 1 + round % 3;
            let stream = calls.open(slot, false, 7);
            assert!(stream > *seen.last().expect("one") && stream % 2 == 1, "{stream}");
            assert_eq!(calls.find(stream).map(|call| (call.slot, call.window)), Some((slot, 7)));
            assert_eq!(calls.find(stays).map(|call| call.slot), Some(0));
            assert_eq!(calls.end(stream).map(|call| call.slot), Some(slot));
            assert!(calls.find(stream).is_none() && calls.end(stream).is_none());
            seen.push(stream);
        }
        assert_eq!((calls.open, calls.stream_of(0), calls.stream_of(1)), (1, Some(stays), None));
        assert_eq!(calls.under_way().count(), 1);
    }

    #[test]
    fn growing_loses_no_call() {
        let mut calls = Calls::new();
        let streams: Vec<u32> = (0..300).map(|slot| calls.open(slot, false, 0)).collect();
        for (slot, &stream) in streams.iter().enumerate() {
            assert_eq!(calls.find(stream).map(|call| call.slot), Some(slot as u32));
        }
        assert!(calls.find(0).is_none() && calls.find(2).is_none() && calls.find(601).is_none());
    }

    #[test]
    fn trailers_add_to_headers() {
        let mut heads = Heads::default();
        heads.take(b":status", b"200");
        heads.take(b"content-type", b"application/grpc");
        let mut trailers = Heads::default();
        trailers.take(b"grpc-status", b"5");
        trailers.take(b"grpc-message", b"not there");
        heads.add(&trailers);
        assert_eq!((heads.http_status, heads.status), (200, Some(5)));
        let mut call = CallSlot { heads, ..CallSlot::default() };
        assert_eq!(call.result(), Err((5, "not there")));
        call.heads.clear();
        assert_eq!(call.result(), Err((2, "an HTTP status other than 200")));
    }
}
