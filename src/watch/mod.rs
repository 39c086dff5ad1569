//! Watches: events reach the watchers that want them in order, once, and without a gap.
//!
//! ```text
//!  shard 0 ── Interest: which cores want this key? ──┐ events, before they commit
//!  shard 1 ── Interest ──────────────────────────────┤
//!                                                    ▼
//!              Inflow   12 13 │ 14 14 16    ◀── stable = 13: revisions ≤ 13 leave, whole
//!                             ▼
//!   hub      topics: key or span ──▶ watchers ──▶ streams ──▶ clients
//!  (a core)                   │         ▲
//!              Recent ◀───────┘         └── behind: history of the shards, then Recent, then live
//! ```
//!
//! Terms: a *hub* has the watchers of one core's connections. A *topic* is one range with all of
//! its watchers there. The *position* is the revision up to which a hub has sent every event. A
//! watcher is *registering* (its topic is not known to every shard), *synced*, *catching up* (it is
//! queued, or a *fetch* of history is under way), *lagging* (its stream has no room), or
//! *compacted*.
//!
//! A hub may send everything up to a stable that it has seen (W1): a shard posts an event to every
//! core that wants it before the write of its entry can end, so before stable can reach it, and a
//! core reads stable before it empties its mailboxes (`member::Core::look`). So shards without
//! changes never matter, no shard announces how far it is, and only stable wakes a core. Pending
//! changes above the cut of the next epoch are void: messages of shards carry their epoch, and a
//! hub drops those of an epoch that is over.
//!
//! | file | what |
//! |---|---|
//! | `word` | messages between hubs and shards |
//! | `interest` | the shard's side: the cores that want a key |
//! | `interval`, `hash`, `keys` | which spans hold a key; tables of keys; sets of keys and cores |
//! | `hub` | requests of streams and their answers, in order |
//! | `inflow`, `emit` | events that are not stable yet; sending those that are |
//! | `catch_up`, `recent` | history, and the last events |
//! | `progress` | notifications by the clock |
//! | `watcher`, `stream` | the records |
//!
//! Measured by `benches/watch.rs` (one core of an EPYC shared with other work): an idle watcher of
//! a key of its own of 32 bytes takes 230 B of the allocator, 310 B resident, hub and shard
//! together; a key that nobody wants among 100k watched ones costs a put 32 ns; one event reaches
//! 10,000 watchers of its key in 2.3 ms; 64 events reach 100 watchers of all keys in 0.4 ms.
//!
//! Invariants:
//!
//! 1. R8 holds for each watcher.
//! 2. R3: nothing above the stable that was seen is sent.
//! 3. A synced watcher has got every event that it wants, from its start up to the position.
//! 4. A topic has got every change above its `base`; a watcher lives only when the position has
//!    reached that.
//! 5. Every queue is bounded: the inflow by the changes that shards may have pending, a client's
//!    events by the room of its stream. A lagging watcher costs a few bytes.
//! 6. An idle watcher holds no buffer of the network; hub and shards share its key.
//!
//! Replies are encoded and split in `protocol`. `server` ends streams while there is no leader.

mod catch_up;
mod emit;
mod hash;
mod hub;
mod inflow;
mod interest;
mod interval;
mod keys;
mod message;
mod progress;
mod recent;
mod stream;
mod watcher;

#[cfg(test)]
mod tests;

pub use hub::{Hub, HubConfig, HubCounts, HubEffects, WatchLimits};
pub use interest::Interest;
pub use keys::{CoreSet, Keys, Span};
pub use message::{Compacted, HistoryAsk, HistoryPart, HubMessage, TopicId, WatchAsk};
