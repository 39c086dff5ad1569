//! Watchers that outlive their connection.
//!
//! ```text
//!  watch, cancel, progress ──▶ Ledger ──requests──▶ stream ──▶ server
//!                                │ ▲                  │
//!          next() ◀── updates ───┘ └────responses─────┘   lost: all watchers are created again,
//!                                                         each from its next revision
//! ```
//!
//! A [`WatchStream`] carries any number of watchers over one stream of the server's. When the
//! stream is lost, it opens another, at the next endpoint if need be, and creates every watcher
//! again from the revision after the last one that it has handed out: who reads the updates sees
//! every event once and in order, however many connections it took. Only what a new attempt cannot
//! mend ends the whole: the server refuses the stream, or has no leader where one is required.
//!
//! ```no_run
//! use braid::client::watch::End;
//! use braid::client::{Client, prefix_end};
//! use braid::protocol::pb::etcdserverpb as pb;
//!
//! async fn follow(client: &Client, prefix: &'static [u8]) -> Result<(), End> {
//!     let request = pb::WatchCreateRequest {
//!         key: prefix.into(),
//!         range_end: prefix_end(prefix),
//!         start_revision: 1,
//!         ..Default::default()
//!     };
//!     let mut watcher = client.watch(request).await?;
//!     loop {
//!         for event in watcher.next().await?.events {
//!             println!("{event:?}");
//!         }
//!     }
//! }
//! ```
//!
//! There is no task behind it. Whoever calls [`WatchStream::next`] moves it: requests are sent and
//! responses are read there and nowhere else, so what nobody takes stays at the server, which
//! knows how to wait. A future of `next` that is dropped loses nothing. Over frames a stream that
//! is read slowly holds up the other calls of its connection: it should have a client of its own.
//!
//! A server answers the creations on a stream in their order, and names no watcher before its
//! creation: both are etcd's, and this relies on them.

mod end;
mod ledger;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::time::{Duration, Instant};

use async_io::Timer;

pub use end::End;
pub use ledger::{Update, WatcherId};

use super::error::code;
use super::{Client, Error, Method, Stream};
use crate::protocol::pb::etcdserverpb as pb;
use ledger::Ledger;

/// The pauses before a lost stream is opened again: the first, and the longest.
const BACKOFF: Duration = Duration::from_millis(25);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

impl Client {
    /// Makes a stream for any number of watchers; nothing is sent before [`WatchStream::next`].
    ///
    /// The client's request timeout is for opening the stream.
    pub fn watch_stream(&self) -> WatchStream {
        let ledger = Ledger::default();
        let client = self.clone();
        WatchStream {
            client,
            stream: None,
            opening: None,
            ledger,
            failures: 0,
            not_before: None,
            failure: None,
            ended: false,
        }
    }

    /// One watcher on a stream of its own; returns when the server has created it, so that it
    /// sees whatever is written from now on. Waits for a server as long as it takes.
    pub async fn watch(&self, request: pb::WatchCreateRequest) -> Result<Watcher, End> {
        let mut stream = self.watch_stream();
        stream.watch(request);
        match stream.next().await.map_err(End::Failed)? {
            (_, Update::Created(header)) => Ok(Watcher { stream, created: header.revision }),
            (_, Update::Canceled(response)) => Err(End::of(&response)),
            (_, update) => unreachable!("a watcher is created first: {update:?}"),
        }
    }
}

/// Watchers on one stream; see the module.
pub struct WatchStream {
    client: Client,
    stream: Option<WireStream>,
    /// A stream being opened; kept here, so that who polls seldom and briefly gets it too.
    opening: Option<Opening>,
    ledger: Ledger,
    /// Attempts in a row that brought no response.
    failures: u32,
    /// When the next stream may be opened.
    not_before: Option<Instant>,
    /// The last failure since the last response.
    failure: Option<Error>,
    /// Whether that was final.
    ended: bool,
}

type WireStream = Stream<pb::WatchRequest, pb::WatchResponse>;
type Opening = Pin<Box<dyn Future<Output = Result<WireStream, Error>> + Send>>;

fn open(client: Client, not_before: Option<Instant>) -> Opening {
    Box::pin(async move {
        if let Some(instant) = not_before {
            Timer::at(instant).await;
        }
        client.open(Method::WATCH).await
    })
}

impl WatchStream {
    /// Adds a watcher. Its first update is that it was created, or that it could not be.
    ///
    /// The server chooses the id on the wire: a `watch_id` in the request does not matter.
    pub fn watch(&mut self, request: pb::WatchCreateRequest) -> WatcherId {
        self.ledger.watch(request)
    }

    /// Ends a watcher: no update of it comes any more. Tells whether it was there.
    pub fn cancel(&mut self, id: WatcherId) -> bool {
        self.ledger.cancel(id)
    }

    /// Asks for an [`Update::Progress`] of every watcher. The server gives it only if all of them
    /// are up to date, and says nothing otherwise.
    pub fn request_progress(&mut self) {
        self.ledger.request_progress();
    }

    /// Watchers that have not ended.
    pub fn len(&self) -> usize {
        self.ledger.len()
    }

    /// Whether the stream has no watchers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the error that keeps the stream from being opened, while it is tried on.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Returns the next update of any watcher; waits for ever while there is none. An error is the
    /// end of all watchers, and of this stream for good.
    pub async fn next(&mut self) -> Result<(WatcherId, Update), Error> {
        loop {
            if let Some(update) = self.ledger.next_update() {
                return Ok(update);
            }
            if let Some(error) = self.failure.as_ref().filter(|_| self.ended) {
                return Err(error.clone());
            }
            if self.ledger.len() == 0 {
                (self.stream, self.opening) = (None, None);
                self.ledger.stream_lost();
                return std::future::pending().await;
            }
            match self.step().await {
                Ok(()) => {
                    self.failures = 0;
                    self.failure = None;
                }
                Err(error) => self.lost(error),
            }
        }
    }

    /// Sends what is to be sent and takes one response.
    ///
    /// While this sends, the stream is not in its place: half a request must not be followed by
    /// another, so a future dropped there costs the stream.
    async fn step(&mut self) -> Result<(), Error> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.ledger.stream_lost();
                let (client, not_before) = (&self.client, self.not_before);
                let opening = self.opening.get_or_insert_with(|| open(client.clone(), not_before));
                let opened = opening.await;
                self.opening = None;
                opened?
            }
        };
        while let Some(request) = self.ledger.next_request() {
            if let Err(error) = stream.send(&request).await {
                if error.code() == code::UNAVAILABLE {
                    stream.give_up();
                }
                return Err(error);
            }
        }
        let stream = self.stream.insert(stream);
        match stream.next().await {
            Ok(Some(response)) => {
                self.ledger.take(response);
                Ok(())
            }
            // Nobody has asked the server to end it.
            Ok(None) => Err(Error::Status {
                code: code::UNAVAILABLE,
                message: "the server ended the stream".to_owned(),
            }),
            Err(error) => {
                if error.code() == code::UNAVAILABLE {
                    stream.give_up();
                }
                Err(error)
            }
        }
    }

    fn lost(&mut self, error: Error) {
        self.stream = None;
        self.ledger.stream_lost();
        self.ended = !end::is_passing(&error);
        self.failure = Some(error);
        let pause = BACKOFF.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures += 1;
        self.not_before = Some(Instant::now() + pause);
    }
}

/// One watcher with a stream of its own. Dropping it ends it.
pub struct Watcher {
    stream: WatchStream,
    created: i64,
}

impl Watcher {
    /// Returns the store's revision when the watcher was created.
    pub fn created_revision(&self) -> i64 {
        self.created
    }

    /// Asks for progress as [`WatchStream::request_progress`] does.
    pub fn request_progress(&mut self) {
        self.stream.request_progress();
    }

    /// Returns the next events, all of their revisions whole; or none, which is progress:
    /// everything up to the revision of the header has come. An error is the watcher's end.
    pub async fn next(&mut self) -> Result<pb::WatchResponse, End> {
        if self.stream.is_empty() {
            return Err(End::Canceled { reason: "the watcher has ended before".to_owned() });
        }
        match self.stream.next().await.map_err(End::Failed)? {
            (_, Update::Events(response)) => Ok(response),
            (_, Update::Progress(header)) => {
                Ok(pb::WatchResponse { header: Some(header), ..Default::default() })
            }
            (_, Update::Canceled(response)) => Err(End::of(&response)),
            (_, Update::Created(_)) => unreachable!("a watcher is created once"),
        }
    }
}
