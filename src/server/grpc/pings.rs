//! Pings of a client: h2 answers them by itself and tells nobody, but gRPC servers send clients
//! away that ping too often. So the frames are counted on their way to h2.
//!
//! The rule is grpc-go's: a ping less than `interval_min` after the last one is a strike, or less
//! than two hours after it while no request is under way; whatever the server sends takes the
//! strikes away; the third strike is one too many.

use std::time::Duration;

use crate::types::Nanos;

/// The client's preface, in front of its first frame.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const TYPE_AT: usize = 3;
const FLAGS_AT: usize = 4;
const TYPE_PING: u8 = 6;
const FLAG_ACK: u8 = 1;

const STRIKES_MAX: u32 = 2;
/// Between pings of a client that asks for nothing.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Follows the frames of one connection.
pub(super) struct Pings {
    interval_min: Duration,
    /// Bytes to skip before the next frame header.
    skip: usize,
    /// The part of a frame header that has come.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Pings that came since the last judgement.
    unjudged: u32,
    last: Option<Nanos>,
    strikes: u32,
    forgiven: bool,
}

impl Pings {
    pub(super) fn new(interval_min: Duration) -> Pings {
        Pings {
            interval_min,
            skip: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            unjudged: 0,
            last: None,
            strikes: 0,
            forgiven: false,
        }
    }

    /// Looks at the next bytes of the connection. Returns how many frames begin in them.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> usize {
        let mut frames = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                bytes = &bytes[count..];
                continue;
            }
            let count = (HEADER_BYTES - self.header_bytes).min(bytes.len());
            self.header[self.header_bytes..][..count].copy_from_slice(&bytes[..count]);
            self.header_bytes += count;
            bytes = &bytes[count..];
            if self.header_bytes == HEADER_BYTES {
                self.header_bytes = 0;
                frames += 1;
                let [a, b, c, ..] = self.header;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                let is_ack = self.header[FLAGS_AT] & FLAG_ACK != 0;
                if self.header[TYPE_AT] == TYPE_PING && !is_ack {
                    self.unjudged += 1;
                }
            }
        }
        frames
    }

    /// The server has sent headers or data.
    pub(super) fn forgive(&mut self) {
        self.forgiven = true;
    }

    /// Judges what came; `true` is one ping too many. `busy`: some request is under way.
    pub(super) fn too_many(&mut self, now: Nanos, busy: bool) -> bool {
        for _ in 0..std::mem::take(&mut self.unjudged) {
            let last = self.last.replace(now);
            if std::mem::take(&mut self.forgiven) {
                self.strikes = 0;
                continue;
            }
            let interval = if busy { self.interval_min } else { IDLE_INTERVAL };
            if last.is_some_and(|last| now.0 < last.0.saturating_add(interval.as_nanos() as u64)) {
                self.strikes += 1;
            }
        }
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn seconds(count: u64) -> Nanos {
        Nanos(count * 1_000_000_000)
    }

    #[test]
    fn pings_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[]));
        bytes.extend(frame(0, 0, &[6; 40]));
        bytes.extend(frame(6, 0, &[0; 8]));
        bytes.extend(frame(6, 1, &[0; 8]));
        bytes.extend(frame(6, 0, &[6; 8]));
        for size in 1..bytes.len() {
            let mut pings = Pings::new(Duration::from_secs(5));
            let frames: usize = bytes.chunks(size).map(|chunk| pings.look(chunk)).sum();
            assert_eq!((frames, pings.unjudged), (5, 2), "in pieces of {size}");
        }
    }

    #[test]
    fn the_fourth_quick_ping_is_too_many_unless_something_was_sent() {
        let mut pings = Pings::new(Duration::from_secs(5));
        let mut ping = |at: u64, busy: bool, forgive: bool| {
            pings.unjudged = 1;
            if forgive {
                pings.forgive();
            }
            pings.too_many(seconds(at), busy)
        };
        assert!(!ping(0, true, false));
        assert!(!ping(5, true, false), "five seconds apart is allowed");
        assert!(!ping(6, true, false) && !ping(7, true, false), "two strikes");
        assert!(!ping(8, true, true), "forgiven");
        assert!(!ping(20, false, false) && !ping(40, false, false), "idle: two strikes");
        assert!(ping(60, false, false));
    }
}
