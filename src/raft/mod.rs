//! raft-rs, fenced: the only room that names it.
//!
//! A [`Group`] is one replica of one Raft group: a synchronous state machine without disk, network
//! or clock. The caller ticks it, steps messages in, takes a [`Ready`] out, carries it out, and
//! reports what is durable. Several Readies may be outstanding; they become durable in order.
//!
//! ```text
//!   propose ─┐                   ┌─ messages ───────────────▶ send now
//!   step ────┼▶ Group ─ ready() ─┼─ entries, hard_state ────▶ write, sync ─▶ persisted(number)
//!   tick ────┘    ▲              ├─ committed ──────────────▶ apply ───────▶ applied_to(index)
//!                 │              └─ role ───────────────────▶ begin or end what a leader does
//!                 └────────────────── After.messages ◀──────── (sent only now)
//! ```
//!
//! The loop of a caller, after each event: `while let Some(ready) = group.ready()`; after each
//! `persisted` too, since what became durable may have become committed by that.
//!
//! - A leader's appends leave before its own write is durable; what others send leaves after. A
//!   leader whose term or vote is not durable yet sends nothing: having sent and then lost its
//!   term, it could fill the same term with other entries.
//! - `committed` gives every index once, ascending, and only what is durable here.
//! - Nothing is ever forwarded: who does not lead drops. Neither proposals nor read requests,
//!   transfers or snapshots are taken from the network.
//! - raft-rs panics on state that contradicts itself; hence [`Restored`] and every message are
//!   checked first, and refused with the reason.
//! - Election timeouts come from the caller's entropy, so a run can be repeated.
//!
//! What it does not do yet: bring a replica up to date from a checkpoint. A follower that needs
//! what is no longer in memory shows up in [`Group::checkpoint_wanted`].
//!
//! | file | what |
//! |---|---|
//! | `group` | the state machine |
//! | `restored` | settings, and what a log said at the start, checked |
//! | `log` | the log's tail in memory, as raft-rs reads it |
//! | `message` | what replicas tell each other, in our own encoding |

mod group;
mod log;
mod message;
mod restored;

#[cfg(test)]
mod tests;

pub use group::{After, Dropped, Group, Ready, Role, RoleChange};
pub use message::{BadMessage, Message};
pub use restored::{BadRestored, GroupConfig, Restored};
