//! Raft, by raft-rs, which only this room names.
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
//! A caller runs `while let Some(ready) = group.ready()` after each event, and after each
//! `persisted` too, since entries that became durable may have become committed by that.
//!
//! - A leader sends its appends before its own write is durable; the others send after theirs is. A
//!   leader whose term or vote is not durable yet sends nothing: if it lost its term after that, it
//!   could fill the same term with other entries.
//! - `committed` gives every index once, ascending, and only entries that are durable here.
//! - Nothing is ever forwarded: a replica that does not lead drops proposals. Proposals, read
//!   requests, transfers and snapshots are not taken from the network.
//! - raft-rs panics on state that contradicts itself, so [`Restored`] and every message are checked
//!   first and refused with the reason.
//! - Election timeouts come from the caller's entropy, so a run can be repeated.
//!
//! It does not yet bring a replica up to date from a checkpoint. A follower that needs entries
//! which are no longer in memory shows up in [`Group::checkpoint_wanted`].
//!
//! | file | what |
//! |---|---|
//! | `group` | the state machine |
//! | `restored` | settings and the state of a log at the start, checked |
//! | `log` | the log's tail in memory, as raft-rs reads it |
//! | `message` | messages between replicas, in an encoding of our own |

mod group;
mod log;
mod message;
mod restored;

#[cfg(test)]
mod tests;

pub use group::{After, Dropped, Group, Ready, Role, RoleChange};
pub use message::{BadMessage, Message};
pub use restored::{BadRestored, GroupConfig, Restored};
