//! Streams both ways: watch and keep-alive, whatever they are spoken over.
//!
//! ```text
//!             ┌──────────── one task ────────────┐
//!  Inlet ────▶│ receiving: messages to the core  │
//!             │ sending: replies to the client   │────▶ Outlet
//!             │ ending: stop, no leader, deadline│
//!             └──────────────────────────────────┘
//! ```
//!
//! Receiving and sending go on side by side: a client whose output is full can still cancel a
//! watcher. Whichever ends first ends the stream.
//!
//! - A client that has said its last word keeps its watchers, and gets the answers that are due.
//! - A client that leaves drops the task, and with it everything it held in the core.
//! - What is said while the core has no room stays with the transport, which is bounded; what is
//!   told waits in the core's books, which are bounded too.

mod keep_alive;
mod watch;

use bytes::Bytes;

pub(super) use keep_alive::keep_alive;
pub(super) use watch::watch;

use crate::protocol::convert::WatchMessage;
use crate::protocol::status::Status;
use crate::types::{Nanos, Reply, WatchStream};

/// A message or the end of a client's stream.
#[derive(Debug)]
pub(super) enum Said {
    Message(Bytes),
    /// It has no more to say, and still listens.
    End,
    /// It said what cannot be understood.
    Broken(Status),
    /// It has left.
    Gone,
}

/// The client has left.
#[derive(Debug)]
pub(super) struct Gone;

/// The source of one stream's messages.
pub(super) trait Inlet {
    /// The next one. Not to be called again after anything but a message.
    async fn next(&mut self) -> Said;
}

/// The destination of one stream's messages. Sending waits for room.
pub(super) trait Outlet {
    async fn reply(&mut self, reply: &Reply) -> Result<(), Gone>;

    /// A message that is bytes already.
    async fn encoded(&mut self, message: Bytes) -> Result<(), Gone>;

    async fn watch_message(&mut self, message: &WatchMessage<'_>) -> Result<(), Gone>;

    /// Sees to it that `bytes` of events are given back once what was sent so far has left.
    fn give_back(&mut self, stream: WatchStream, bytes: usize);

    /// Until the client has left, while nothing is sent.
    async fn gone(&mut self);
}

/// The terms on which a stream was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// It ends if there is no leader.
    pub(super) requires_leader: bool,
    pub(super) deadline: Option<Nanos>,
}
