//! The socket as h2 sees it.
//!
//! h2 flushes every 16 KiB and after every turn of its own; here a flush only marks the end of what
//! was written, and the connection's task sends everything in one write when h2 has nothing more to
//! say. What is read is looked at for pings (`pings`) before h2 sees it.
//!
//! h2 reads, and writes, until it has to wait. So it is made to wait when the connection's turn is
//! over, whatever the frames were: it answers or drops most kinds of them by itself.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pings::Pings;
use crate::limits::WRITE_BYTES_MAX;
use crate::rt::{self, TcpStream};
use crate::server::turn::Turn;
use crate::types::Nanos;

/// Output at which h2 has to wait for the socket.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// A buffer above this is given back when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// The socket and what stands before it in both directions.
pub(super) struct Wire {
    stream: TcpStream,
    input: RefCell<BytesMut>,
    output: RefCell<BytesMut>,
    pub(super) pings: RefCell<Pings>,
    /// Of reading.
    turn: Turn,
    /// Bytes that were sent in this turn.
    sent: Cell<usize>,
    /// When bytes last came.
    pub(super) heard: Cell<Nanos>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, input: BytesMut, pings: Pings, turn: Turn) -> Rc<Wire> {
        Rc::new(Wire {
            stream,
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

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// What h2 owns.
pub(super) struct Socket(pub(super) Rc<Wire>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &self.0;
        ready!(wire.turn.poll_left(cx));
        let mut input = wire.input.borrow_mut();
        if input.is_empty() {
            match wire.stream.poll_read(cx, &mut input) {
                Poll::Ready(result) => {
                    result?;
                    wire.heard.set(rt::now());
                }
                Poll::Pending => {
                    // Nothing will come for a while; an idle connection holds no buffer.
                    *input = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let count = input.len().min(target.remaining());
        let piece = &input[..count];
        wire.turn.read(count);
        wire.turn.took(wire.pings.borrow_mut().look(piece));
        target.put_slice(piece);
        input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.output.borrow().len() >= OUTPUT_BYTES_MAX {
            ready!(self.0.poll_send(cx))?;
        }
        self.0.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_send(cx))?;
        self.0.stream.shut_down(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
