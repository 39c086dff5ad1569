//! The socket as h2 sees it.
//!
//! h2 flushes every 16 KiB and after every turn of its own; here a flush only marks the end of what
//! was written, and the connection's task sends everything in one write when h2 has nothing more to
//! say. What is read is looked at for pings (`pings`) before h2 sees it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pings::Pings;
use crate::rt::{self, TcpStream};
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
    /// When bytes last came.
    pub(super) heard: Cell<Nanos>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, input: BytesMut, mut pings: Pings) -> Rc<Wire> {
        pings.look(&input);
        Rc::new(Wire {
            stream,
            input: RefCell::new(input),
            output: RefCell::default(),
            pings: RefCell::new(pings),
            heard: Cell::new(rt::now()),
        })
    }

    /// Sends what h2 has written. Ready when all of it is out.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut output = self.output.borrow_mut();
        while !output.is_empty() {
            let count = ready!(self.stream.poll_write(cx, &output))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
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
        let mut input = wire.input.borrow_mut();
        if input.is_empty() {
            match wire.stream.poll_read(cx, &mut input) {
                Poll::Ready(result) => {
                    result?;
                    wire.heard.set(rt::now());
                    wire.pings.borrow_mut().look(&input);
                }
                Poll::Pending => {
                    // Nothing will come for a while; an idle connection holds no buffer.
                    *input = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let count = input.len().min(target.remaining());
        target.put_slice(&input[..count]);
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
