//! The braid: one revision line over all shards.
//!
//! Every shard has a log of its own and commits at its own pace. The line numbers the writes of all
//! shards and decides which of them may be seen.
//!
//! ```text
//!  next ──────────────────────────────────────────▶ 19      handed out: up to 18
//!  lane 0   floor ∞    nothing pending
//!  lane 1   floor 14   pending 15 16                        stable = min(18, 14, 16) = 14
//!  lane 2   floor 16   frozen at 16; the round took 17
//!  stable ─────────────────────────▶ 14                     visible: up to 14, on every core
//! ```
//!
//! The words are those of docs/design.md 1. How this room keeps the rules of docs/invariants.md:
//!
//! - R1: the sequencer hands out revisions by `fetch_add`, and begins an epoch above its cut.
//! - R2: a lane asserts that its revisions rise.
//! - R3: `stable` is the least of `next - 1` and all floors, and a lane stores its floor before it
//!   takes revisions.
//! - R4: `stable` is only raised, and a cut below it is refused.
//! - R5: a lane that takes a revision has it pending until it is logged, or the epoch ends.
//! - R7: a frozen lane takes no revision.
//!
//! | file | what |
//! |---|---|
//! | `sequencer` | `next`, the floors, `stable`: what the cores share |
//! | `lane` | one shard's hold on the sequencer |
//! | `wake` | which core sleeps until which revision, and who must wake it |
//! | `mailbox`, `post` | a bounded queue from one core to another; all of a core's |
//! | `coordinator`, `footprint`, `ranges` | rounds: one revision for a write over several shards |
//! | `routed` | a txn's path with the shards of its operations, shared by all parts of a round |
//! | `epoch` | the takeover: gather, find the cut, open the epoch |
//! | `message` | messages between the leader and the shards |
//! | `atomics` | the atomics of std, or loom's in its build |

mod atomics;
pub mod coordinator;
mod footprint;
pub mod lane;
pub mod mailbox;
pub mod mailboxes;
pub mod message;
mod ranges;
pub mod routed;
pub mod sequencer;
pub mod takeover;
pub mod wake;

#[cfg(test)]
mod tests;

pub use lane::Lane;
pub use mailbox::{Full, Receiver, Sender, mailbox};
pub use mailboxes::Mailboxes;
pub use sequencer::Sequencer;
pub use wake::Waits;
