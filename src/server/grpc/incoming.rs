//! Messages that do not come whole with their headers.
//!
//! The connection's task puts what comes of a body into a [`Body`]; the call's task takes messages
//! out of it. What has come and is not taken is granted to the client again only when it is, so it
//! is never more than the windows.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use futures_lite::future::or;

use super::gzip;
use super::head::Head;
use super::link::Link;
use crate::budget::Charge;
use crate::limits::REQUEST_OVERHEAD_BYTES;
use crate::protocol::grpc::{MessageReader, PREFIX_BYTES, Packed};
use crate::protocol::method::Kind;
use crate::protocol::status::{Status, code};
use crate::rt::{self, WaitPlace};
use crate::server::streams::{Inlet, Said};

/// The events of a stream for the task of its call.
#[derive(Debug, Default)]
pub(super) struct Body {
    bytes: RefCell<BytesMut>,
    is_ended: Cell<bool>,
    is_reset: Cell<bool>,
    /// The task, while it waits for bytes, for room to send, or for a reset.
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
    watcher: RefCell<Option<Waker>>,
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn wait(waker: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut own = waker.borrow_mut();
    if !own.as_ref().is_some_and(|own| own.will_wake(cx.waker())) {
        *own = Some(cx.waker().clone());
    }
}

impl Body {
    /// More has come; with `ends` that is all.
    pub(super) fn push(&self, bytes: &[u8], ends: bool) {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        self.is_ended.set(ends);
        wake(&self.reader);
    }

    /// The stream is gone.
    pub(super) fn reset(&self) {
        self.is_reset.set(true);
        *self.bytes.borrow_mut() = BytesMut::new();
        wake(&self.reader);
        wake(&self.writer);
        wake(&self.watcher);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.get()
    }

    /// There is room to send.
    pub(super) fn has_room(&self) {
        wake(&self.writer);
    }

    pub(super) fn waits_for_room(&self, cx: &Context<'_>) {
        wait(&self.writer, cx);
    }

    /// Ready when the stream is gone.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_reset.get() {
            return Poll::Ready(());
        }
        wait(&self.watcher, cx);
        Poll::Pending
    }

    /// All that has come and was not taken; `Ok(None)` at the end, `Err` if there is none.
    fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ()>> {
        let mut bytes = self.bytes.borrow_mut();
        if self.is_reset.get() {
            return Poll::Ready(Err(()));
        }
        if !bytes.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut *bytes).freeze())));
        }
        if self.is_ended.get() {
            return Poll::Ready(Ok(None));
        }
        wait(&self.reader, cx);
        Poll::Pending
    }
}

/// A call's messages on their way in.
pub(super) struct Incoming {
    pub(super) link: Rc<Link>,
    pub(super) head: Head,
    stream: u32,
    pub(super) body: Rc<Body>,
    reader: MessageReader,
    /// The charge for bytes that are not a whole message yet.
    held: Charge,
    /// The place in which it waits for room in the budget.
    place: WaitPlace,
    /// Runs while the client owes a part of a message.
    stall: Option<rt::Sleep>,
}

impl Incoming {
    pub(super) fn new(link: &Rc<Link>, head: Head, stream: u32, body: Rc<Body>) -> Incoming {
        let bytes_max = link.front.settings.request_bytes_max + REQUEST_OVERHEAD_BYTES;
        Incoming {
            link: link.clone(),
            head,
            stream,
            body,
            reader: MessageReader::new(bytes_max),
            held: link.account.charge(0),
            place: WaitPlace::default(),
            stall: None,
        }
    }

    /// The message of a call that has one; `Err(None)` if the client has gone.
    pub(super) fn only(&self, said: Said) -> Result<Bytes, Option<Status>> {
        let (code, text) = match said {
            Said::Message(message) => return Ok(message),
            Said::Broken(status) => return Err(Some(status)),
            Said::Gone => return Err(None),
            Said::End if self.head.method.kind() == Kind::Unary => (code::UNKNOWN, "EOF"),
            Said::End => (
                code::INTERNAL,
                "cardinality violation: received no request message from non-client-streaming RPC",
            ),
        };
        Err(Some(Status::new(code, text)))
    }

    /// The next message as it came, or what came in its place.
    pub(super) fn poll_packed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Packed, Said>> {
        loop {
            match self.reader.next_message(self.head.encoding) {
                Ok(Some(message)) => {
                    let rest = self.held.bytes().saturating_sub(message.bytes.len() + PREFIX_BYTES);
                    self.hold(rest);
                    return Poll::Ready(Ok(message));
                }
                Ok(None) => {}
                Err(status) => return Poll::Ready(Err(Said::Broken(status))),
            }
            if self.link.partial.get() > self.link.partial_bytes_max() {
                return Poll::Ready(Err(Said::Broken(too_much_unfinished())));
            }
            let may_read = self.link.may_read();
            if !may_read {
                // Bytes stay in the body, and the client cannot send more than its window. They are
                // looked at only to tell a client that owes the rest from one that waits.
                self.link.front.wait_for_budget(&mut self.place, cx);
                ready!(self.poll_stall(cx));
            }
            let piece = match self.body.poll_piece(cx) {
                Poll::Ready(Ok(Some(piece))) => piece,
                Poll::Ready(Err(())) => return Poll::Ready(Err(Said::Gone)),
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(self.end())),
                Poll::Pending => {
                    if may_read {
                        ready!(self.poll_stall(cx));
                    }
                    match self.link.was_read(rt::now(), self.link.front.settings.stall) {
                        true => return Poll::Ready(Err(Said::Broken(stalled()))),
                        false => continue,
                    }
                }
            };
            self.stall = None;
            self.link.consumed(self.stream, piece.len());
            self.hold(self.held.bytes() + piece.len());
            self.reader.push(piece);
        }
    }

    /// Ready when nothing of the message has been taken for as long as its client may owe the rest,
    /// and every such time again. On a stream of many messages it owes nothing between two of them.
    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.head.method.kind() == Kind::Bidi && !self.reader.is_begun() {
            return Poll::Pending;
        }
        let limit = self.link.front.settings.stall;
        let stall = self.stall.get_or_insert_with(|| rt::sleep(limit));
        ready!(Pin::new(stall).poll(cx));
        self.stall = None;
        Poll::Ready(())
    }

    /// Reads the end of the body: it must not come inside a message.
    fn end(&self) -> Said {
        if !self.reader.is_inside_message() {
            return Said::End;
        }
        // Go's server makes a difference.
        let code = match self.head.method.kind() {
            Kind::Unary => code::UNKNOWN,
            _ => code::INTERNAL,
        };
        Said::Broken(Status::new(code, "unexpected EOF"))
    }

    /// The message itself.
    pub(super) async fn unpack(&mut self, packed: Packed) -> Said {
        if !packed.is_compressed {
            return Said::Message(packed.bytes);
        }
        let held = self.held.bytes();
        let bytes_max = self.reader.message_bytes_max();
        let unpacking = gzip::unpack(packed.bytes, bytes_max, |bytes| {
            self.hold(held + bytes);
            match self.link.partial.get() > self.link.partial_bytes_max() {
                true => Err(too_much_unfinished()),
                false => Ok(()),
            }
        });
        let unpacked = unpacking.await;
        self.hold(held);
        unpacked.map_or_else(Said::Broken, Said::Message)
    }

    /// Counts the bytes that are not a whole message yet.
    fn hold(&mut self, bytes: usize) {
        let others = self.link.partial.get() - self.held.bytes();
        self.held.resize(bytes);
        self.link.partial.set(others + bytes);
        if others + bytes == 0 {
            self.link.account.return_pass();
        }
    }
}

impl Inlet for Incoming {
    async fn next(&mut self) -> Said {
        let body = self.body.clone();
        // While the budget is full, nothing is taken of the body, and so not its end.
        let gone = async {
            poll_fn(|cx| body.poll_reset(cx)).await;
            Err(Said::Gone)
        };
        match or(gone, poll_fn(|cx| self.poll_packed(cx))).await {
            Ok(packed) => self.unpack(packed).await,
            Err(said) => said,
        }
    }
}

fn stalled() -> Status {
    Status::new(code::DEADLINE_EXCEEDED, "braid: the rest of the request did not come")
}

fn too_much_unfinished() -> Status {
    let text = "braid: too many unfinished requests on this connection";
    Status::new(code::RESOURCE_EXHAUSTED, text)
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.hold(0);
        self.link.front.leave_budget(&mut self.place);
    }
}
