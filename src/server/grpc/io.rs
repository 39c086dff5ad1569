//! The socket as h2 sees it.
//!
//! h2 flushes every 16 KiB and after every turn of its own; here a flush only marks the end of what
//! was written, and the connection's task sends everything in one write when h2 has nothing more to
//! say. What is read and what is sent is followed for pings (`pings`).
//!
//! h2 reads, and writes, until it has to wait. So it is made to wait when the connection's turn is
//! over, whatever the frames were: it answers or drops most kinds of them by itself.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pings::Pings;
use crate::budget::Account;
use crate::limits::WRITE_BYTES_MAX;
use crate::rt::{self, TcpStream};
use crate::server::pulse::{Owed, Pulse};
use crate::server::turn::Turn;
use crate::types::Nanos;

/// Output at which h2 has to wait for the socket.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// A buffer above this is given back when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// The socket and what stands before it in both directions.
pub(super) struct Wire {
    stream: Rc<TcpStream>,
    pulse: Rc<Pulse>,
    input: RefCell<BytesMut>,
    output: RefCell<BytesMut>,
    pub(super) pings: RefCell<Pings>,
    /// The turn of the reader.
    turn: Turn,
    /// Bytes that were sent in this turn.
    sent: Cell<usize>,
    /// When bytes last came.
    pub(super) heard: Cell<Nanos>,
    /// Everything that has come was read.
    is_drained: Cell<bool>,
    /// Bytes that the socket has taken.
    sent_bytes: Cell<u64>,
}

impl Wire {
    pub(super) fn new(
        stream: Rc<TcpStream>,
        pulse: Rc<Pulse>,
        input: BytesMut,
        pings: Pings,
        turn: Turn,
    ) -> Rc<Wire> {
        Rc::new(Wire {
            stream,
            pulse,
            is_drained: Cell::new(false),
            sent_bytes: Cell::new(0),
            input: RefCell::new(input),
            output: RefCell::default(),
            pings: RefCell::new(pings),
            turn,
            sent: Cell::new(0),
            heard: Cell::new(rt::now()),
        })
    }

    /// The connection's task has its turn: to be called whenever it is polled.
    pub(super) fn begin_turn(&self) {
        self.turn.begin();
        self.sent.set(0);
    }

    /// Sends what h2 has written. Ready when all of it is out.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = self.output.borrow_mut();
        while !output.is_empty() {
            let left = WRITE_BYTES_MAX.saturating_sub(self.sent.get());
            if left == 0 {
                rt::wake_after_others(cx);
                return Poll::Pending;
            }
            let piece = &output[..output.len().min(left)];
            let count = ready!(self.stream.poll_write(cx, piece))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent.set(self.sent.get() + count);
            self.pings.borrow_mut().sent(&output[..count]);
            self.sent_bytes.set(self.sent_bytes.get() + count as u64);
            output.advance(count);
        }
        if output.capacity() > KEPT_BYTES {
            *output = BytesMut::new();
        } else {
            output.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Puts bytes behind what h2 has written.
    pub(super) fn append(&self, bytes: &[u8]) {
        self.output.borrow_mut().extend_from_slice(bytes);
    }

    /// Bytes that the socket has taken so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    /// Whether the connection has been read from within `limit`, as far as there was anything: what
    /// has not come by now, the client has not sent.
    pub(super) fn was_read(&self, now: Nanos, limit: Duration) -> bool {
        let heard = Duration::from_nanos(now.0.saturating_sub(self.heard.get().0));
        self.is_drained.get() || heard < limit
    }

    /// Returns the connection's account of the member's memory.
    pub(super) fn account(&self) -> &Rc<Account> {
        self.pulse.account()
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// The socket that h2 owns.
pub(super) struct Socket {
    wire: Rc<Wire>,
    /// The first frame of h2 is to say nothing of how many streams there may be.
    hides_limit: bool,
}

impl Socket {
    pub(super) fn new(wire: Rc<Wire>, hides_limit: bool) -> Socket {
        Socket { wire, hides_limit }
    }
}

/// `bytes`, which begin with h2's SETTINGS, without the limit of concurrent streams: h2 cannot keep
/// one without saying so.
fn without_limit(bytes: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 9;
    const TYPE_SETTINGS: u8 = 4;
    const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
    let length = bytes
        .get(..3)
        .map_or(0, |length| u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize);
    if bytes.get(3) != Some(&TYPE_SETTINGS) || bytes.len() < HEADER_BYTES + length {
        return bytes.to_vec();
    }
    let (header, rest) = bytes.split_at(HEADER_BYTES);
    let (settings, rest) = rest.split_at(length);
    let kept = settings.chunks(6).filter(|setting| setting[..2] != MAX_CONCURRENT_STREAMS);
    let kept: Vec<u8> = kept.flatten().copied().collect();
    let length = (kept.len() as u32).to_be_bytes();
    [&length[1..], &header[3..], &kept, rest].concat()
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &self.wire;
        ready!(wire.turn.poll_left(cx));
        let mut input = wire.input.borrow_mut();
        if input.is_empty() {
            match wire.stream.poll_read(cx, &mut input) {
                Poll::Ready(result) => {
                    result?;
                    wire.heard.set(rt::now());
                    wire.is_drained.set(false);
                    wire.pulse.owes(None);
                }
                Poll::Pending => {
                    wire.is_drained.set(true);
                    let is_inside = wire.pings.borrow().is_inside_frame();
                    wire.pulse.owes(is_inside.then(|| Owed::Since(wire.heard.get())));
                    // Nothing will come for a while; an idle connection holds no buffer.
                    *input = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let count = input.len().min(target.remaining());
        let piece = &input[..count];
        wire.turn.read(count);
        wire.turn.took(wire.pings.borrow_mut().received(piece));
        target.put_slice(piece);
        input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.wire.output.borrow().len() >= OUTPUT_BYTES_MAX {
            ready!(self.wire.poll_send(cx))?;
        }
        match std::mem::take(&mut self.hides_limit) {
            true => self.wire.append(&without_limit(bytes)),
            false => self.wire.append(bytes),
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_send(cx))?;
        self.wire.stream.shut_down(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_streams_is_taken_out_of_the_settings_alone() {
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        let (table, limit, window) = ([0, 1, 0, 0, 0, 3], [0, 3, 0, 1, 0, 0], [0, 4, 0, 3, 0, 0]);
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 3, 0, 3];
        let told = [&settings[..], &table, &limit, &window, &update].concat();
        let shorter = [0, 0, 12, 4, 0, 0, 0, 0, 0];
        let hidden = [&shorter[..], &table, &window, &update].concat();
        assert_eq!(without_limit(&told), hidden);
        assert_eq!(without_limit(&hidden), hidden);
        for cut in 0..27 {
            assert_eq!(without_limit(&told[..cut]), told[..cut]);
        }
    }
}
