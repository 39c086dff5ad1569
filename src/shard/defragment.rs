//! Giving back what a shard holds and does not use: memory, then files.
//!
//! ```text
//! Memory ─repacked─▶ Roll ─segment begun─▶ First ─checkpoint─▶ Second ─checkpoint─▶ Remove ─▶ done
//! ```
//!
//! A log is kept from the older of two checkpoints on, so it takes two before the segments behind
//! the new one can go. The second holds the entry after the first: one without changes, if nobody
//! writes.

use super::entry::ChangesBuilder;
use super::{Shard, ShardEffects, ShardReply};
use crate::limits::COMPACTION_SLICE_KEYS;
use crate::types::{LogIndex, Origin, Refusal};

/// A defragmentation under way, and who waits for it.
#[derive(Debug)]
pub(super) struct Defragmenting {
    origins: Vec<Origin>,
    step: Step,
    /// There was no room for a checkpoint.
    lacked_room: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Leaves of the store are repacked.
    Memory,
    /// The log goes on in a new segment.
    Roll,
    /// A checkpoint of everything before that segment is written.
    First { least: LogIndex },
    /// And a later one.
    Second { least: LogIndex },
    /// The files behind them are removed.
    Remove,
}

impl Shard {
    /// Begins, or joins the one that is under way.
    pub(super) fn defragment(&mut self, origin: Origin) {
        let begin =
            || Defragmenting { origins: Vec::new(), step: Step::Memory, lacked_room: false };
        self.jobs.defragment.get_or_insert_with(begin).origins.push(origin);
    }

    /// Does the next slice, if it need not wait for the disk; whether there is another.
    pub(super) fn defragment_some(&mut self, effects: &mut ShardEffects) -> bool {
        let Some(job) = &self.jobs.defragment else { return false };
        if job.lacked_room {
            self.end_defragment(Err(Refusal::NoSpace), effects);
            return false;
        }
        match job.step {
            Step::Memory => {
                if !self.state.store.defragment_slice(COMPACTION_SLICE_KEYS) {
                    return true;
                }
                if self.lane.is_none() || self.replica.is_small() {
                    self.end_defragment(Ok(()), effects);
                } else {
                    self.replica.give_back();
                    self.step_defragment(Step::Roll);
                }
            }
            // The reason for holding the log is gone: the next epoch begins with a log that serves
            // again.
            _ if self.lane.is_none() => self.end_defragment(Ok(()), effects),
            Step::Roll if self.replica.is_rolling() => {
                if self.replica.is_full() {
                    self.end_defragment(Err(Refusal::NoSpace), effects);
                }
            }
            Step::Roll => self.step_defragment(Step::First { least: self.replica.last_index() }),
            Step::First { least } if self.replica.checkpoint_index() >= least => {
                let newest = self.replica.checkpoint_index();
                if self.replica.last_index() == newest {
                    self.propose_nothing();
                }
                self.step_defragment(Step::Second { least: LogIndex(newest.0 + 1) });
                return true; // What was proposed moves on in the next turn.
            }
            Step::Second { least } if self.replica.checkpoint_index() >= least => {
                self.step_defragment(Step::Remove);
            }
            Step::Remove if !self.replica.is_removing() => self.end_defragment(Ok(()), effects),
            Step::First { .. } | Step::Second { .. } | Step::Remove => {}
        }
        self.can_defragment()
    }

    /// Whether the next slice has not to wait for the disk.
    pub(super) fn can_defragment(&self) -> bool {
        let Some(job) = &self.jobs.defragment else { return false };
        job.lacked_room
            || match job.step {
                Step::Memory => true,
                Step::Roll => !self.replica.is_rolling(),
                Step::First { least } | Step::Second { least } => {
                    self.replica.checkpoint_index() >= least
                }
                Step::Remove => !self.replica.is_removing(),
            }
    }

    /// The index that the next checkpoint must have at least, if one is waited for.
    pub(super) fn defragment_wants(&self) -> Option<LogIndex> {
        match self.jobs.defragment.as_ref()?.step {
            Step::First { least } | Step::Second { least } => {
                (self.replica.checkpoint_index() < least).then_some(least)
            }
            Step::Memory | Step::Roll | Step::Remove => None,
        }
    }

    /// A checkpoint was given up for want of room: whoever waits for one is refused.
    pub(super) fn defragment_lacks_room(&mut self) {
        let wanted = self.defragment_wants().is_some();
        if let Some(job) = self.jobs.defragment.as_mut().filter(|_| wanted) {
            job.lacked_room = true;
        }
    }

    /// Logs an entry without changes, for its index.
    fn propose_nothing(&mut self) {
        let Some((epoch, _)) = self.state.opened else { return };
        let entry = ChangesBuilder::new(self.stamp(epoch)).finish();
        // If it is refused, the group is being lost, and the next turn sees that.
        let _ = self.replica.propose(entry);
    }

    fn step_defragment(&mut self, step: Step) {
        self.jobs.defragment.as_mut().expect("one is under way").step = step;
    }

    fn end_defragment(&mut self, outcome: Result<(), Refusal>, effects: &mut ShardEffects) {
        self.replica.end_giving_back();
        let job = self.jobs.defragment.take().expect("one is under way");
        for origin in job.origins {
            let reply = match outcome.clone() {
                Ok(()) => ShardReply::Defragmented,
                Err(refusal) => ShardReply::Answer(Err(refusal)),
            };
            effects.replies.push((origin, reply));
        }
    }
}
