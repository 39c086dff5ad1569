//! Connections: what clients say, to the core; what the core answers, to clients.
//!
//! A connection lives on one core and is served by one task. It sniffs what is spoken, decodes
//! every request that one read of the socket brought, and submits them all to the core's
//! [`Service`](crate::member::Service) before anything else runs. Answers come by ticket, at once
//! or from a later turn of the core's loop, and are encoded straight into the connection's output;
//! what became ready in one turn leaves in one write.
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
//! 1. one `Inbox<Delivery>` per core, all senders to the [`Acceptor`](crate::rt::Acceptor);
//! 2. on each executor a [`Front`] over the core's service; its [`receive`](Front::receive) runs as
//!    a task;
//! 3. the core's loop waits for the `Notify` given to the front, takes a turn, and passes every
//!    answer to [`Front::answer`];
//! 4. at the end [`Front::shut_down`].
//!
//! | file | what |
//! |---|---|
//! | `front` | what a core's connections share |
//! | `waiters` | from ticket to who waits |
//! | `connection` | sniffing, and where a connection goes |
//! | `frames` | Braid's own protocol |
//! | `grpc` | etcd's protocol over HTTP/2 |
//! | `http1` | health checks, version, metrics |
//! | `streams` | watch and keep-alive, whatever they are spoken over |
//! | `watching` | one watch stream as a task has it |
//! | `concurrency` | locks and elections, made of ordinary requests |
//! | `health` | gRPC's health service |
//! | `range_stream` | a large range in parts, one revision |
//! | `turn` | what a connection may do before others have a turn |
//! | `slow` | what is logged of a request that took too long |
//! | `meters`, `signal`, `settings` | counters, shutdown, what flags say |
//!
//! Bounds: a connection with `CONNECTION_REQUESTS_MAX` requests under way, or one that owes its
//! client `CONNECTION_OUTPUT_BYTES_MAX`, is not read from. One that always has more to be read
//! gets its turn like all others (`turn`). A client that leaves cancels what it asked for.
//!
//! Not here: TLS, unix sockets, the JSON gateway.

mod concurrency;
mod connection;
mod frames;
mod front;
mod grpc;
mod health;
mod http1;
mod meters;
mod range_stream;
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
pub use settings::{Keepalive, ListenerKind, Settings, Versions};

use crate::rt::Accepted;

/// What a core's inbox brings.
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
