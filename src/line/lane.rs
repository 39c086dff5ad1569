//! A lane: one shard's hold on the sequencer, and the only writer of its floor.
//!
//! A lane's life in one epoch, for shard 2 of three:
//!
//! ```text
//!                       pending      frozen   floor
//! (opened)              -            -        ∞
//! take(2) → 15          15 16        -        14      floor first, then the revisions
//! freeze()              15 16        16       14      newest handed out is 16; 14 still holds
//! committed(16)         -            16       16      the freeze floor remains
//!   the coordinator takes 17
//! pending_round(17)     17           16       16
//! thaw()                17           -        16
//! committed(17)         -            -        ∞       stable reaches 17: wake who waits
//! ```
//!
//! Dropped, a lane leaves its floor behind: what was pending is not committed by that.

use std::collections::VecDeque;
use std::sync::Arc;

#[cfg(feature = "teeth")]
use super::sequencer::Rule;
use super::sequencer::{NO_FLOOR, Sequencer, line_number, revision};
use crate::types::{Revision, ShardId};

/// Owned by one shard's leader, for one epoch.
#[derive(Debug)]
pub struct Lane {
    sequencer: Arc<Sequencer>,
    slot: usize,
    /// Runs of revisions that are logged here and not committed, ascending.
    pending: VecDeque<Run>,
    /// The newest revision handed out when the shard was frozen.
    frozen: Option<u64>,
    /// The floor as the others see it.
    floor: u64,
    /// The lowest that it was since this lane last looked at the others.
    held: u64,
    /// The highest revision that was ever pending here.
    newest: u64,
}

/// Revisions `first..=last`, without a gap.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
}

impl Lane {
    /// Returns the lane of `shard` in the epoch that is open, for the one owner it may have.
    pub fn new(sequencer: &Arc<Sequencer>, shard: ShardId) -> Lane {
        let slot = usize::from(shard.0);
        sequencer.give_out(slot);
        let newest = line_number(sequencer.cut());
        Lane {
            sequencer: Arc::clone(sequencer),
            slot,
            pending: VecDeque::new(),
            frozen: None,
            floor: NO_FLOOR,
            held: NO_FLOOR,
            newest,
        }
    }

    /// Takes `count` revisions, pending from now on, and returns the first. Everything by which
    /// the log could refuse them must have been checked.
    pub fn take(&mut self, count: u64) -> Revision {
        assert!(self.frozen.is_none(), "R7: a frozen shard asks for a revision");
        #[cfg(feature = "teeth")]
        if self.sequencer.leaves_out(Rule::FloorFirst) {
            return self.take_floor_last(count);
        }
        let idle = self.pending.is_empty();
        if idle {
            self.lower(self.sequencer.next_number() - 1);
        }
        let first = self.sequencer.hand_out(count);
        self.push(first, first + count - 1);
        if idle && self.floor < first - 1 {
            // Others took revisions in between. What they commit need not wait for this lane; it
            // looks at them when it next raises its floor, since `held` remembers the lower one.
            self.floor = first - 1;
            self.sequencer.store_floor(self.slot, self.floor);
        }
        revision(first)
    }

    /// Freezes the lane for a round; to be called before the freeze is answered.
    pub fn freeze(&mut self) {
        assert!(self.frozen.is_none(), "a shard is frozen twice");
        let newest = self.sequencer.next_number() - 1;
        self.frozen = Some(newest);
        if self.keeps_freeze_floor() {
            self.lower(newest);
        }
    }

    /// Whether the shard is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// This shard's entry of the round is in its log, at `at`: pending from now on.
    pub fn pending_round(&mut self, at: Revision) {
        let frozen = self.frozen.expect("a round's entry is logged by a shard that is not frozen");
        let at = line_number(at);
        assert!(at > frozen, "revision {at} of a round was taken before the freeze at {frozen}");
        self.push(at, at);
        // Nothing to do unless the simulator left the freeze floor out: that one is below `at`.
        self.lower(at - 1);
    }

    /// Thaws the lane after the shard's entries of the round are logged, or the round came to
    /// nothing. Returns a revision if stable rose to it.
    #[must_use = "who waits for this revision must be woken"]
    pub fn thaw(&mut self) -> Option<Revision> {
        assert!(self.frozen.take().is_some(), "a shard is thawed that is not frozen");
        self.refloor()
    }

    /// Marks what this lane has pending up to `through` as committed. Returns a revision if stable
    /// rose to it.
    #[must_use = "who waits for this revision must be woken"]
    pub fn committed(&mut self, through: Revision) -> Option<Revision> {
        let through = line_number(through);
        while let Some(run) = self.pending.front_mut() {
            if run.last <= through {
                self.pending.pop_front();
                continue;
            }
            run.first = run.first.max(through + 1);
            break;
        }
        self.refloor()
    }

    /// Returns the lowest revision that is pending here.
    pub fn oldest_pending(&self) -> Option<Revision> {
        self.pending.front().map(|run| revision(run.first))
    }

    /// Whether `at` is pending here.
    pub fn has_pending(&self, at: Revision) -> bool {
        let at = line_number(at);
        let run = self.pending.partition_point(|run| run.last < at);
        self.pending.get(run).is_some_and(|run| run.first <= at)
    }

    /// Returns the highest revision that was ever pending here; the cut if there was none.
    pub fn newest(&self) -> Revision {
        revision(self.newest)
    }

    /// Returns the sequencer that the lane belongs to.
    pub fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }

    fn push(&mut self, first: u64, last: u64) {
        assert!(first > self.newest, "R2: revision {first} follows {}", self.newest);
        self.newest = last;
        match self.pending.back_mut() {
            Some(run) if run.last + 1 == first => run.last = last,
            _ => self.pending.push_back(Run { first, last }),
        }
    }

    fn lower(&mut self, floor: u64) {
        if floor < self.floor {
            self.floor = floor;
            self.held = self.held.min(floor);
            self.sequencer.store_floor(self.slot, floor);
        }
    }

    /// Raises the floor to what is pending or frozen now.
    fn refloor(&mut self) -> Option<Revision> {
        let pending = self.pending.front().map_or(NO_FLOOR, |run| run.first - 1);
        let frozen = self.frozen.filter(|_| self.keeps_freeze_floor()).unwrap_or(NO_FLOOR);
        let floor = pending.min(frozen);
        if floor <= self.floor {
            // Nothing rose, or the floor was stored low (take) and may stay so.
            return None;
        }
        let raised = self.sequencer.raise_floor(self.slot, floor, self.held);
        self.floor = floor;
        self.held = floor;
        raised
    }

    #[cfg(not(feature = "teeth"))]
    fn keeps_freeze_floor(&self) -> bool {
        true
    }

    #[cfg(feature = "teeth")]
    fn keeps_freeze_floor(&self) -> bool {
        !self.sequencer.leaves_out(Rule::FreezeFloor)
    }

    /// The rule left out: the revision first, and the other cores look in between.
    #[cfg(feature = "teeth")]
    fn take_floor_last(&mut self, count: u64) -> Revision {
        let first = self.sequencer.hand_out(count);
        let _ = self.sequencer.publish();
        self.push(first, first + count - 1);
        self.lower(first - 1);
        revision(first)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.sequencer.give_up(self.slot);
    }
}
