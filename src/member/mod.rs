//! One core of a member, put together: router, shards, watchers, and the leader's part.
//!
//! ```text
//!            ┌──────────────────────────── core 0 ───────────────────────────┐   ┌─── core 1 ───┐
//!  submit ──▶│ Router ──▶ Shard 0, 2, …  ──▶ disk      leader: control group,│◀─▶│ Router       │
//!  answers ◀─│   ▲           │ replies, reports      takeover, rounds        │   │ Shard 1, 3, … │
//!            └───┼───────────┴──────────── mail ─────────────────────────────┘   └──────────────┘
//!                └── Shared: sequencer, who sleeps, gauges
//! ```
//!
//! A [`Core`] is synchronous and does no I/O. Requests, mail of the other cores, ended disk
//! operations and ticks go in; replies, mail, disk operations and cores to wake come out. The
//! runtime carries them out with sockets and io_uring, and the simulator with fakes. Nothing else
//! differs between the two.

pub mod account;
mod applied;
mod compactions;
mod core;
mod deadlines;
mod identity;
mod leader;
mod leases;
mod listing;
mod mail;
mod shared;
mod status;
#[cfg(test)]
mod tests;

pub use self::applied::Applied;
pub use self::core::{Core, CoreEffects, MemberConfig, Park};
pub use crate::replica::{Fatal, RecoverError};
pub use crate::types::{Answer, Nanos, Ticket};
pub use crate::watch::WatchLimits;
pub use identity::{BadIdentity, Identity, MemberFiles};
pub use leases::{LeaseConfig, LeaseCounters};
pub use mail::{Mail, Notice};
pub use shared::{Shared, Sizes};

use std::ops::ControlFlow;

use crate::types::{KeyView, Request, Revision, ShardId, WatchRequest, WatchStream};

/// One read of a single key at the stable revision, for [`Service::multi_get`].
#[derive(Clone, Copy, Debug, Default)]
pub struct PointRead<'a> {
    /// The shard that owns the key.
    pub shard: ShardId,
    pub key: &'a [u8],
}

/// Receives the header's revision and a key's newest version, or `None` where the key is missing,
/// for each key that [`Service::multi_get`] visits; `Break` ends the batch.
pub type Visit<'a> = dyn FnMut(Revision, Option<KeyView<'_>>) -> ControlFlow<()> + 'a;

/// Keys of one [`Service::multi_get`] at most. Their cache misses are waited for at once, and a
/// core has no more of those in flight.
pub const MULTI_GET_MAX: usize = 16;

/// The interface of a core to its connections.
pub trait Service {
    /// Takes a request. The answer may be there at once; otherwise it comes later, by ticket, and
    /// exactly once unless the ticket is cancelled.
    ///
    /// A request whose `deadline` has passed before it is evaluated is dropped with
    /// [`crate::types::Refusal::DeadlineExceeded`]; one that takes longer than etcd's request
    /// timeout is answered [`crate::types::Refusal::Timeout`].
    fn submit(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        request: Request,
        deadline: Option<Nanos>,
    ) -> Option<Answer>;

    /// The answer to a request that needs nothing but what this core has now: a read of one key
    /// of its own, most of all. `None`: it is to be submitted.
    fn answer_now(&mut self, _request: &Request) -> Option<Answer> {
        None
    }

    /// Batched zero-copy point reads at the stable revision. Calls `visit(revision, key_value)` for
    /// each key in order, until it breaks or a key cannot be answered from what this core has now.
    /// Returns how many keys were visited, at most [`MULTI_GET_MAX`]; the others are to be
    /// submitted as requests.
    fn multi_get(&mut self, _wanted: &[PointRead<'_>], _visit: &mut Visit<'_>) -> usize {
        0
    }

    /// Whether the smallest put would find no room. etcd looks at its quota before it looks at the
    /// form of a request, so one that is malformed is then refused for this.
    fn is_out_of_space(&self) -> bool {
        false
    }

    /// The client left: drop the request if it is not yet evaluated; no answer comes any more.
    fn cancel(&mut self, ticket: Ticket);

    /// Opens a watch stream. Its replies come with the core's effects, in order.
    fn watch_open(&mut self, now: Nanos) -> WatchStream;

    /// Takes a message of a client on its watch stream. Whether there is room for another: if not,
    /// the client is not read from until [`Service::watch_has_room`].
    fn watch(&mut self, now: Nanos, stream: WatchStream, request: WatchRequest) -> bool;

    /// Whether the stream has room for another message, as in [`Service::watch`]; it changes only
    /// after the stream got a reply.
    fn watch_has_room(&self, stream: WatchStream) -> bool;

    /// Events that came to `bytes` have left for the client (their `WatchEvents::bytes`, added up).
    fn watch_sent(&mut self, stream: WatchStream, bytes: usize);

    /// Closes the stream: it gets no more replies.
    fn watch_close(&mut self, stream: WatchStream);

    /// Whether a leader is known.
    fn has_leader(&self) -> bool;
}
