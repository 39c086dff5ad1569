//! Pings of a client: h2 answers them by itself and tells nobody, but gRPC servers send clients
//! away that ping too often. So the frames of both directions are followed on their way between h2
//! and the socket.
//!
//! The rule is grpc-go's: a ping less than `interval_min` after the last one is a strike, or less
//! than two hours after it while no request is under way; the third strike is one too many. Headers
//! and data that leave the socket take the strikes away, with the next ping that comes. That is
//! what lets a client measure the way: grpc-go pings after every data frame that comes while no
//! other ping is under way, dozens of times for one large message.

use std::time::Duration;

use crate::types::Nanos;

/// The client's preface, in front of its first frame.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const TYPE_AT: usize = 3;
const FLAGS_AT: usize = 4;
const TYPE_DATA: u8 = 0;
const TYPE_HEADERS: u8 = 1;
const TYPE_PING: u8 = 6;
const FLAG_ACK: u8 = 1;

const STRIKES_MAX: u32 = 2;
/// Between pings of a client that asks for nothing.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// Finds the frames in the bytes of one direction.
struct Follower {
    /// Bytes to skip before the next frame header.
    skip: usize,
    /// The frame header that has come last, or a part of the next one.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
}

impl Follower {
    /// Follows a direction that begins with `skip` bytes before its first frame.
    fn new(skip: usize) -> Follower {
        Follower { skip, header: [0; HEADER_BYTES], header_bytes: 0 }
    }

    /// Goes over the next bytes; `see` is told the type and flags of every frame whose header they
    /// complete. Returns how many those are.
    fn follow(&mut self, mut bytes: &[u8], mut see: impl FnMut(u8, u8)) -> usize {
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
                see(self.header[TYPE_AT], self.header[FLAGS_AT]);
            }
        }
        frames
    }

    /// Whether the bytes so far end inside a frame.
    fn is_inside(&self) -> bool {
        self.skip > 0 || self.header_bytes > 0
    }
}

/// Judges the pings of one connection.
pub(super) struct Pings {
    interval_min: Duration,
    input: Follower,
    output: Follower,
    /// Pings that came since the last judgement, and that nothing forgives.
    unjudged: u32,
    /// A ping that was forgiven came since the last judgement.
    pardoned: bool,
    last: Option<Nanos>,
    strikes: u32,
    /// Headers or data have left since the last ping.
    forgiving: bool,
}

impl Pings {
    pub(super) fn new(interval_min: Duration) -> Pings {
        Pings {
            interval_min,
            input: Follower::new(PREFACE_BYTES),
            output: Follower::new(0),
            unjudged: 0,
            pardoned: false,
            last: None,
            strikes: 0,
            forgiving: false,
        }
    }

    /// Takes note of the next bytes that came from the client. Returns how many frames begin in
    /// them.
    pub(super) fn received(&mut self, bytes: &[u8]) -> usize {
        let Pings { input, unjudged, pardoned, strikes, forgiving, .. } = self;
        input.follow(bytes, |kind, flags| {
            if kind != TYPE_PING || flags & FLAG_ACK != 0 {
                return;
            }
            // Now and not at the judgement: what leaves in between answers a later ping.
            if std::mem::take(forgiving) {
                (*strikes, *unjudged, *pardoned) = (0, 0, true);
            } else {
                *unjudged += 1;
            }
        })
    }

    /// Takes note of the next bytes that the socket has taken.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let Pings { output, forgiving, .. } = self;
        // A frame may be larger than what one write takes.
        *forgiving |= output.is_inside() && is_answer(output.header[TYPE_AT]);
        output.follow(bytes, |kind, _| *forgiving |= is_answer(kind));
    }

    /// Whether what has come of the client ends inside a frame.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.input.is_inside()
    }

    /// Judges what came; `true` is one ping too many. `busy`: some request is under way.
    pub(super) fn too_many(&mut self, now: Nanos, busy: bool) -> bool {
        if std::mem::take(&mut self.pardoned) {
            self.last = Some(now);
        }
        for _ in 0..std::mem::take(&mut self.unjudged) {
            let last = self.last.replace(now);
            let interval = if busy { self.interval_min } else { IDLE_INTERVAL };
            if last.is_some_and(|last| now.0 < last.0.saturating_add(interval.as_nanos() as u64)) {
                self.strikes += 1;
            }
        }
        self.strikes > STRIKES_MAX
    }
}

fn is_answer(kind: u8) -> bool {
    matches!(kind, TYPE_DATA | TYPE_HEADERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn ping() -> Vec<u8> {
        frame(TYPE_PING, 0, &[6; 8])
    }

    /// Makes the pings of a connection whose preface has come.
    fn pings() -> Pings {
        let mut pings = Pings::new(Duration::from_secs(5));
        pings.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        pings
    }

    fn seconds(count: u64) -> Nanos {
        Nanos(count * 1_000_000_000)
    }

    #[test]
    fn pings_are_counted_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(4, 0, &[]));
        bytes.extend(frame(0, 0, &[6; 40]));
        bytes.extend(ping());
        bytes.extend(frame(TYPE_PING, FLAG_ACK, &[0; 8]));
        bytes.extend(ping());
        for size in 1..bytes.len() {
            let mut pings = Pings::new(Duration::from_secs(5));
            let frames: usize = bytes.chunks(size).map(|chunk| pings.received(chunk)).sum();
            assert_eq!((frames, pings.unjudged), (5, 2), "in pieces of {size}");
            assert!(!pings.is_inside_frame());
        }
    }

    #[test]
    fn the_fourth_quick_ping_is_too_many_unless_something_was_sent() {
        let mut pings = pings();
        let mut ping = |at: u64, busy: bool, sent: &[u8]| {
            pings.sent(sent);
            pings.received(&self::ping());
            pings.too_many(seconds(at), busy)
        };
        assert!(!ping(0, true, &[]));
        assert!(!ping(5, true, &[]), "five seconds apart is allowed");
        assert!(!ping(6, true, &[]) && !ping(7, true, &[]), "two strikes");
        assert!(!ping(8, true, &frame(TYPE_HEADERS, 4, &[1])), "forgiven");
        assert!(!ping(20, false, &[]) && !ping(40, false, &[]), "idle: two strikes");
        assert!(ping(60, false, &frame(TYPE_PING, FLAG_ACK, &[6; 8])), "its answer is no excuse");
    }

    #[test]
    fn a_ping_after_every_data_frame_of_one_large_message_is_no_offence() {
        let mut pings = pings();
        // Queued once, the message leaves in pieces: of many frames, and of one very large one.
        let mut large = frame(TYPE_DATA, 0, &[7; 1 << 14]).repeat(64);
        large.extend(frame(TYPE_DATA, 0, &vec![7; 1 << 20]));
        for piece in large.chunks(20_000) {
            pings.sent(piece);
            pings.received(&ping());
            assert!(!pings.too_many(seconds(1), true));
        }
    }

    #[test]
    fn what_leaves_between_a_ping_and_its_judgement_forgives_the_next_one() {
        let mut pings = pings();
        for _ in 0..100 {
            pings.received(&ping());
            pings.sent(&frame(TYPE_DATA, 0, &[7; 100]));
            assert!(!pings.too_many(seconds(1), true));
        }
    }

    #[test]
    fn a_flood_beside_answers_is_sent_away() {
        let mut pings = pings();
        let judged = (0..100).map(|_| {
            pings.sent(&frame(TYPE_DATA, 0, &[7; 100]));
            pings.received(&ping().repeat(4));
            pings.too_many(seconds(1), true)
        });
        assert_eq!(judged.take_while(|sent_away| !sent_away).count(), 0);
    }
}
