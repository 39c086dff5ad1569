//! The answering half of a call.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::head::{self, Rejection};
use super::incoming::Body;
use super::link::Link;
use crate::http2::Gone;
use crate::http2::frame::Reason;
use crate::protocol::grpc::Encoding;
use crate::protocol::status::{Status, code};

/// The response to send an answer on; its messages are compressed as those of the request. Dropped
/// before the answer is whole, it resets the stream.
pub(super) struct Respond {
    link: Rc<Link>,
    stream: u32,
    encoding: Encoding,
    is_over: bool,
    /// The events of the stream, if the call has a task.
    body: Option<Rc<Body>>,
}

impl Respond {
    pub(super) fn new(link: &Rc<Link>, stream: u32, encoding: Encoding) -> Respond {
        Respond { link: link.clone(), stream, encoding, is_over: false, body: None }
    }

    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The call has a task that takes its body.
    pub(super) fn with_body(mut self, body: &Rc<Body>) -> Respond {
        self.body = Some(body.clone());
        self
    }

    /// Sends the headers in front of messages. `many`: it is an answer of many messages.
    pub(super) fn begin(&mut self, many: bool) -> Result<(), Gone> {
        let mut http2 = self.link.http2_mut();
        if many {
            http2.answers_at_length(self.stream);
        }
        let begun = http2.headers(self.stream, head::begin(self.encoding), false);
        drop(http2);
        self.link.wrote();
        begun
    }

    /// Sends bytes of messages behind the headers.
    pub(super) fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let sent = self.link.http2_mut().body(self.stream, bytes);
        self.link.wrote();
        sent
    }

    /// Sends few bytes, which `write` appends, as [`send`](Respond::send) does.
    pub(super) fn send_with(&mut self, write: impl FnOnce(&mut BytesMut)) -> Result<(), Gone> {
        let sent = self.link.http2_mut().body_with(self.stream, write);
        self.link.wrote();
        sent
    }

    /// Ready when all that was handed over has left for the output, and the stream's window lets
    /// out more.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let has_room = self.link.http2_mut().has_room(self.stream);
        match has_room {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                self.body().waits_for_room(cx);
                Poll::Pending
            }
            Err(gone) => Poll::Ready(Err(gone)),
        }
    }

    /// Ends an answer that has messages. That the client is gone is no error of ours.
    pub(super) fn end(mut self, status: &Status) {
        self.is_over = true;
        let (link, stream) = (&self.link, self.stream);
        let _ = match status.code {
            code::OK => link.http2_mut().end(stream, head::end_ok()),
            _ => head::end(status, |fields| link.http2_mut().end(stream, fields)),
        };
        self.link.wrote();
    }

    /// Sends headers, one message of few bytes, which `write` appends, and the status OK.
    pub(super) fn unary_with(mut self, write: impl FnOnce(&mut BytesMut)) {
        self.is_over = true;
        let begin = head::begin(self.encoding);
        let _ = self.link.http2_mut().answer(self.stream, begin, write, head::end_ok());
        self.link.wrote();
    }

    /// Sends headers, one message and the status OK.
    pub(super) fn unary(mut self, message: Bytes) {
        self.is_over = true;
        {
            let mut http2 = self.link.http2_mut();
            let sent = http2
                .headers(self.stream, head::begin(self.encoding), false)
                .and_then(|()| http2.body(self.stream, message))
                .and_then(|()| http2.end(self.stream, head::end_ok()));
            // That the client is gone is no error of ours.
            let _ = sent;
        }
        self.link.wrote();
    }

    /// Sends a status and nothing else.
    pub(super) fn refuse(self, status: &Status) {
        self.only(200, status);
    }

    /// Refuses, as [`refuse`](Respond::refuse) does, a call that is not even looked at.
    pub(super) fn reject(self, rejection: &Rejection) {
        self.only(rejection.http, &rejection.status);
    }

    fn only(mut self, http: u16, status: &Status) {
        self.is_over = true;
        let (link, stream) = (&self.link, self.stream);
        let _ = head::only(http, status, |fields| link.http2_mut().headers(stream, fields, true));
        self.link.wrote();
    }

    /// Ready when the client has reset the call, or has left.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body().poll_reset(cx)
    }

    fn body(&mut self) -> &Body {
        let (link, stream) = (&self.link, self.stream);
        self.body.get_or_insert_with(|| link.attend(stream, Rc::default()))
    }
}

impl Drop for Respond {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.reset(self.stream, Reason::CANCEL);
        }
    }
}
