//! The sending half of a call of which nothing has been sent yet.

use std::task::{Context, Poll};

use h2::SendStream;
use h2::server::SendResponse;
use http::StatusCode;

use super::call::Payload;
use super::head::{self, Rejection};
use crate::protocol::grpc::Encoding;
use crate::protocol::status::Status;

/// The response to send an answer on; its messages are compressed as those of the request.
pub(super) struct Respond {
    inner: SendResponse<Payload>,
    encoding: Encoding,
}

impl Respond {
    pub(super) fn new(inner: SendResponse<Payload>, encoding: Encoding) -> Respond {
        Respond { inner, encoding }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Sends the headers in front of messages.
    pub(super) fn begin(mut self) -> Result<SendStream<Payload>, h2::Error> {
        self.inner.send_response(head::begin(self.encoding), false)
    }

    /// Sends headers, one message and the status OK. That the client is gone is no error of ours.
    pub(super) fn unary(self, message: Payload) {
        let Ok(mut stream) = self.begin() else { return };
        if stream.send_data(message, false).is_ok() {
            let _ = stream.send_trailers(head::end_ok());
        }
    }

    /// Sends a status and nothing else.
    pub(super) fn refuse(mut self, status: &Status) {
        let _ = self.inner.send_response(head::only(StatusCode::OK, status), true);
    }

    /// Refuses, as [`refuse`](Respond::refuse) does, a call that is not even looked at.
    pub(super) fn reject(mut self, rejection: &Rejection) {
        let _ = self.inner.send_response(head::only(rejection.http, &rejection.status), true);
    }

    /// Ready when the client has reset the call.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_reset(cx).map(|_| ())
    }
}
