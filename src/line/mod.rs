//! The braid: one revision line over all shards.
//!
//! Every shard has a log of its own and commits at its own pace. The line gives their writes one
//! numbering and decides what of it may be seen.
//!
//! ```text
//!  next ──────────────────────────────────────────▶ 19      handed out: up to 18
//!  lane 0   floor ∞    nothing pending
//!  lane 1   floor 14   pending 15 16                        stable = min(18, 14, 16) = 14
//!  lane 2   floor 16   frozen at 16; the round took 17
//!  stable ─────────────────────────▶ 14                     visible: up to 14, on every core
//! ```
//!
//! | word | meaning |
//! |---|---|
//! | pending / committed / stable | handed out / in its group's log for good / all below too |
//! | lane, floor | a shard's share of the line / nothing of it at or below the floor is pending |
//! | round | a write over several shards; its revision is protected by the floors of its freeze |
//!
//! - **R1** A revision is handed out once per epoch, and none that is ≤ the epoch's cut.
//! - **R2** Within one lane, revisions strictly increase.
//! - **R3** Nothing above `stable` is shown, and `stable` never covers a revision that is pending.
//! - **R4** `stable` never goes back, not from one epoch to the next either.
//! - **R5** Revisions are dense: whoever takes one logs it, or the epoch ends.
//!
//! | file | what |
//! |---|---|
//! | `sequencer` | `next`, the floors, `stable`: what the cores share |
//! | `lane` | one shard's hold on the sequencer |
//! | `wake` | who sleeps until when, and who must wake him |
//! | `mailbox` | a bounded queue from one core to another |
//! | `coordinator`, `footprint` | rounds: one revision for a write over several shards |
//! | `routed` | a path with where its operations go: what a round passes around |
//! | `epoch` | how a reign begins: gather, cut, open |
//! | `message` | what the braid and the shards say to one another |
//! | `atomics` | std's or loom's |

mod atomics;
pub mod coordinator;
pub mod epoch;
mod footprint;
pub mod lane;
pub mod mailbox;
pub mod message;
pub mod routed;
pub mod sequencer;
pub mod wake;

#[cfg(test)]
mod tests;

pub use lane::Lane;
pub use mailbox::{Full, Receiver, Sender, mailbox};
pub use sequencer::Sequencer;
pub use wake::Waits;
