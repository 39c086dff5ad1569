//! Watches: who wants to hear of a change, and telling it in order, once, without a gap.
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
//! Terms: a *hub* has the watchers of one core's connections; a *topic* is one range with all of
//! its watchers there; *position* is the revision up to which a hub has told everything. A watcher
//! is *registering* (its topic is not known to every shard), *synced*, *catching up* (queued, or a
//! *fetch* of history is under way), *lagging* (its stream has no room), or *compacted*.
//!
//! Why a hub may tell everything up to a stable that it has seen: a shard posts an event to every
//! core that wants it before the write of the entry that holds it can end, so before stable can
//! reach it; a core looks at stable first and empties its mailboxes then (`member::Core::look`).
//! So shards without changes never matter, nobody announces how far a shard is, and nobody is
//! woken but by stable. What an epoch had pending above the next one's cut is void: words of
//! shards carry their epoch, and a hub drops what it may not believe any more.
//!
//! | file | what |
//! |---|---|
//! | `word` | what hubs and shards say to one another |
//! | `interest` | the shard's side: which cores want a key |
//! | `interval`, `hash`, `keys` | which spans hold a key; tables of keys; sets of keys and cores |
//! | `hub` | requests of streams and their answers, in order |
//! | `inflow`, `emit` | what is told and not stable yet; telling it |
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
//! 1. R8, for each watcher: revisions in order, each event once, whole revisions, no event after a
//!    progress that covered it, no gap but by a cancel with the compact revision.
//! 2. R3: nothing above the stable that was seen.
//! 3. Whoever is synced has been told everything up to position that it wants, from its start on.
//! 4. A topic has been told of every change above its `base`; a watcher lives only when position
//!    has reached that.
//! 5. Every queue is bounded: the inflow by what shards may have pending, what a client has not
//!    taken by its room, and who lags costs a few bytes.
//! 6. An idle watcher holds no buffer of the network; hub and shards share its key.
//!
//! Not here: how replies are encoded and split (`protocol`), the end of a stream without a lead
//! (`server`), permissions.

mod catch_up;
mod emit;
mod hash;
mod hub;
mod inflow;
mod interest;
mod interval;
mod keys;
mod progress;
mod recent;
mod stream;
mod watcher;
mod word;

#[cfg(test)]
mod tests;

pub use hub::{Hub, HubConfig, HubCounts, HubEffects, WatchLimits};
pub use interest::Interest;
pub use keys::{CoreSet, Keys, Span};
pub use word::{Compacted, HistoryAsk, HistoryPart, TopicId, WatchAsk, WatchTold};
