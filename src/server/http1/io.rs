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
use crate::server::turn::Turn;
use crate::types::Nanos;

pub(super) struct Socket {
    stream: TcpStream,
    input: BytesMut,
    /// When bytes last came.
    heard: Rc<Cell<Nanos>>,
    turn: Rc<Turn>,
}

impl Socket {
    /// Reads as long as something is left of `turn`; what it reads is counted there.
    pub(super) fn new(
        stream: TcpStream,
        input: BytesMut,
        heard: Rc<Cell<Nanos>>,
        turn: Rc<Turn>,
    ) -> Socket {
        Socket { stream, input, heard, turn }
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
            socket.heard.set(rt::now());
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
