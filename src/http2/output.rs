//! Bytes on their way to the socket, and which of them are headers or data.

use std::collections::VecDeque;

use bytes::BytesMut;

/// A buffer above this is given back when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// The bytes that are to be sent, and their kinds.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The buffer. Its first `taken` bytes have left.
    pub(super) bytes: BytesMut,
    taken: usize,
    /// Bytes that were in front of the buffer.
    before: u64,
    /// The ranges that hold headers and data, counted from the connection's beginning.
    answers: VecDeque<(u64, u64)>,
}

impl Output {
    /// Bytes that are still to be sent.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Notes that the bytes appended from `start` on are headers or data.
    pub(super) fn answered(&mut self, start: usize) {
        let (from, to) = (self.before + start as u64, self.before + self.bytes.len() as u64);
        match self.answers.back_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.answers.push_back((from, to)),
        }
    }

    /// Notes that the socket has taken `count` bytes more. Returns whether any of them were headers
    /// or data.
    pub(super) fn sent(&mut self, count: usize) -> bool {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "more was sent than there is");
        let sent = self.before + self.taken as u64;
        let mut some = false;
        while let Some((from, to)) = self.answers.front_mut().filter(|(from, _)| *from < sent) {
            some = true;
            if *to > sent {
                *from = sent;
                break;
            }
            self.answers.pop_front();
        }
        self.make_room();
        some
    }

    fn make_room(&mut self) {
        if self.left() == 0 {
            self.before += self.taken as u64;
            self.taken = 0;
            match self.bytes.capacity() > KEPT_BYTES {
                true => self.bytes = BytesMut::new(),
                false => self.bytes.clear(),
            }
        } else if self.taken >= KEPT_BYTES && self.taken >= self.left() {
            // No more is moved than has left since the last time.
            let (taken, left) = (self.taken, self.left());
            self.bytes.copy_within(taken.., 0);
            self.bytes.truncate(left);
            self.before += taken as u64;
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_is_known_to_the_byte() {
        let mut output = Output::default();
        output.bytes.extend_from_slice(&[0; 10]);
        output.answered(0);
        output.bytes.extend_from_slice(&[0; 10]);
        output.answered(10);
        assert_eq!(output.answers.len(), 1, "neighbours are one");
        output.bytes.extend_from_slice(&[1; 5]);
        output.bytes.extend_from_slice(&[0; 5]);
        output.answered(25);
        assert!(output.sent(1) && output.sent(19));
        assert!(!output.sent(5), "none of these");
        assert!(output.sent(1) && output.sent(3));
        output.bytes.extend_from_slice(&[1; 5]);
        assert!(output.sent(2), "the last byte of the answer");
        assert!(!output.sent(4));
        assert!(output.bytes.is_empty() && output.answers.is_empty());
    }

    #[test]
    fn a_buffer_that_is_never_empty_stays_small_and_keeps_its_order() {
        let (mut output, mut next, mut seen) = (Output::default(), 0u8, 0u8);
        for _ in 0..10_000 {
            for _ in 0..100 {
                output.bytes.extend_from_slice(&[next]);
                next = next.wrapping_add(1);
            }
            let count = (output.left() - 1).min(100);
            for byte in &output.unsent()[..count] {
                assert_eq!(*byte, seen);
                seen = seen.wrapping_add(1);
            }
            output.sent(count);
        }
        assert!(output.bytes.capacity() <= 4 * KEPT_BYTES, "{}", output.bytes.capacity());
    }
}
