//! The socket as hyper sees it.

use std::cell::Cell;
use std::io::Result;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};

use crate::rt::{self, TcpStream};
use crate::server::pulse::{Owed, Pulse};
use crate::server::turn::Turn;
use crate::types::Nanos;

pub(super) struct Socket {
    stream: Rc<TcpStream>,
    input: BytesMut,
    watch: Rc<Watch>,
    turn: Rc<Turn>,
}

/// The signals of a socket for the task that serves it.
pub(super) struct Watch {
    pub(super) pulse: Rc<Pulse>,
    /// Requests that have come and are not answered.
    pub(super) busy: Cell<u64>,
    /// When bytes last came.
    pub(super) heard: Cell<Nanos>,
}

impl Watch {
    /// Bytes came. The head that they belong to is owed as a whole, so a byte now and then gains
    /// no time.
    fn hears(&self) {
        let now = rt::now();
        self.heard.set(now);
        if self.busy.get() == 0 && !self.pulse.is_owed() {
            self.pulse.owes(Some(Owed::Since(now)));
        }
    }
}

impl Socket {
    /// The socket after `input` has been read from it. Reads as long as something is left of
    /// `turn`; what it reads is counted there.
    pub(super) fn new(
        stream: Rc<TcpStream>,
        input: BytesMut,
        watch: Rc<Watch>,
        turn: Rc<Turn>,
    ) -> Socket {
        watch.hears();
        Socket { stream, input, watch, turn }
    }
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut target: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        let socket = &mut *self;
        ready!(socket.turn.poll_left(cx));
        if socket.input.is_empty() {
            socket.input = BytesMut::new();
            ready!(socket.stream.poll_read(cx, &mut socket.input))?;
            socket.watch.hears();
        }
        let count = socket.input.len().min(target.remaining());
        socket.turn.read(count);
        socket.turn.took(1);
        target.put_slice(&socket.input[..count]);
        socket.input.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream.shut_down(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}
