//! Connections: they carry requests from clients to the core, and replies and events back.
//!
//! A connection lives on one core and is served by one task. It finds the protocol by the first
//! bytes, decodes every request that one read of the socket brought, and submits them all to the
//! core's [`Service`](crate::member::Service) before anything else runs. Answers come by ticket, at
//! once or from a later turn of the core's loop, and are encoded straight into the connection's
//! output. The answers of one turn leave in one write.
//!
//! ```text
//!           read                 submit               turn
//!  socket ───────▶ connection ───────────▶ Service ◀─────── core's loop ◀── Notify
//!         ◀───────  output   ◀─────────── Waiters ◀───────
//!          1 write             encode         answer(ticket)
//! ```
//!
//! How a core is put together:
//!
//! 1. Each core has one `Inbox<Delivery>`; the [`Acceptor`](crate::rt::Acceptor) has all senders.
//! 2. Each executor has a [`Front`] over the core's service, whose [`receive`](Front::receive) runs
//!    as a task.
//! 3. The core's loop waits for the `Notify` given to the front, takes a turn, and passes every
//!    answer to [`Front::answer`].
//! 4. At the end it calls [`Front::shut_down`].
//!
//! | file | what |
//! |---|---|
//! | `front` | the state that a core's connections share |
//! | `waiters` | the waiting task or stream of each ticket |
//! | `connection` | finds the protocol, and hands a connection to its core |
//! | `frames` | Braid's own protocol |
//! | `grpc` | etcd's protocol over HTTP/2 |
//! | `http1` | health checks, version, metrics |
//! | `streams` | watch and keep-alive streams, over frames and gRPC |
//! | `watching` | the state that a task has of one watch stream |
//! | `concurrency` | locks and elections, made of ordinary requests |
//! | `health` | gRPC's health service |
//! | `range_stream` | a large range in parts, at one revision |
//! | `reads` | how many reads with large answers a connection has under way |
//! | `turn` | what a connection may do before others have a turn |
//! | `pulse` | connections that make no progress |
//! | `slow` | log lines about requests that took too long |
//! | `meters`, `signal`, `settings` | counters, shutdown, settings from flags |
//!
//! Bounds: a connection with `CONNECTION_REQUESTS_MAX` requests under way, or one that owes its
//! client `CONNECTION_OUTPUT_BYTES_MAX` or holds `CONNECTION_BYTES_MAX`, is not read from; nor is
//! one that holds more than its share when the member's [`budget`](crate::budget) is full. One that
//! always has more to be read gets its turn like all others (`turn`). A client that leaves cancels
//! what it asked for.
//!
//! TLS, unix sockets and the JSON gateway are not there yet.

mod concurrency;
mod connection;
mod frames;
mod front;
mod grpc;
mod health;
mod http1;
mod large;
mod meters;
mod pulse;
mod range_stream;
mod reads;
mod settings;
mod signal;
mod slow;
mod streams;
#[cfg(test)]
mod tests;
mod turn;
mod waiters;
mod watching;

pub use connection::HandedOver;
pub use front::Front;
pub use meters::{Meters, MethodCount};
pub use settings::{Keepalive, ListenerKind, STALL_MAX, Settings, Versions};

use crate::rt::Accepted;

/// An item of a core's inbox.
#[derive(Debug)]
pub enum Delivery {
    /// A new connection.
    Accepted(Accepted),
    /// One that another core gives away.
    HandedOver(HandedOver),
}

impl From<HandedOver> for Delivery {
    fn from(handed: HandedOver) -> Delivery {
        Delivery::HandedOver(handed)
    }
}

impl From<Accepted> for Delivery {
    fn from(accepted: Accepted) -> Delivery {
        Delivery::Accepted(accepted)
    }
}
