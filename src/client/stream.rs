//! An RPC of many messages, in one direction or both.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use async_io::Timer;
use futures_lite::FutureExt;

use super::Error;
use super::pool::{Pool, Route};
use super::transport::{Answers, Call};

/// A stream under way. Dropping it before its end cancels it at the server.
///
/// There is no retry: what a broken stream means only its user knows.
pub struct Stream<Req, Resp> {
    pub(super) call: Call,
    pub(super) pool: Arc<Pool>,
    pub(super) route: Route,
    pub(super) deadline: Option<Instant>,
    pub(super) types: PhantomData<fn(Req) -> Resp>,
}

impl<Req: prost::Message, Resp: prost::Message + Default> Stream<Req, Resp> {
    /// Sends one message; waits while the server takes no more.
    pub async fn send(&mut self, message: &Req) -> Result<(), Error> {
        self.call.send(message, false).await
    }

    /// Says that no further message comes; answers may still be read.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.call.finish()
    }

    /// Returns the next message, or `None` after the server has ended the stream well.
    ///
    /// A future that is dropped before it is ready loses nothing.
    pub async fn next(&mut self) -> Result<Option<Resp>, Error> {
        let late = async {
            match self.deadline {
                Some(deadline) => Timer::at(deadline).await,
                None => Timer::never().await,
            };
            Err(Error::Timeout { last: None, sent: true })
        };
        let Some(message) = self.call.next().or(late).await? else { return Ok(None) };
        let broken = |error: prost::DecodeError| Error::Protocol {
            endpoint: self.pool.endpoint_of(&self.route).to_owned(),
            reason: error.to_string(),
        };
        Resp::decode(message).map(Some).map_err(broken)
    }

    /// Moves the client's further requests to the next endpoint.
    pub(super) fn give_up(&self) {
        self.pool.give_up_on(&self.route);
    }

    /// Counts the messages that the connection has brought so far.
    pub(super) fn answers(&self) -> Answers {
        self.route.connection.answers()
    }

    /// Nothing has come in time since `then`: see [`Connection::suspect`].
    ///
    /// [`Connection::suspect`]: super::transport::Connection::suspect
    pub(super) fn suspect(&self, then: Answers) {
        self.route.connection.suspect(then);
    }
}
