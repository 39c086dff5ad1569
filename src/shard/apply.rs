//! What the group has committed: own proposals are only ticked off, everything else is applied.
//!
//! Applying cannot fail. An entry that cannot be applied is damage that no checksum saw, and ends
//! the process naming group and index.

use super::entry::{self, Body, Change, Operations, Stamp};
use super::{Shard, ShardEffects, Tailed};
use crate::line::message::Report;
use crate::types::{Epoch, EntryKind, LogEntry, Revision, ShardSet};

impl Shard {
    /// Moves what Raft has ready and what the disk has done; takes what is committed.
    pub(super) fn pump(&mut self, effects: &mut ShardEffects) {
        self.replica.pump();
        while let Some(entry) = self.replica.next_committed() {
            self.committed(&entry, effects);
            self.applied = entry.index;
        }
        self.replica.applied(self.applied);
        if self.replica.is_leader() != self.leading {
            if self.leading {
                self.lose(effects);
            } else {
                self.leading = true;
            }
        }
        if self.gathering && self.leading && self.replica.has_committed_in_term() {
            self.report_led(effects);
        }
    }

    fn committed(&mut self, entry: &LogEntry, effects: &mut ShardEffects) {
        if let Some(proposal) = self.proposals.front()
            && proposal.index == entry.index
        {
            assert_eq!(proposal.term, entry.term, "shard {}: a proposal was replaced", self.id);
            let proposal = self.proposals.pop_front().expect("a front");
            self.proposed_bytes -= proposal.bytes;
            if let Some(lane) = &mut self.lane {
                let raised = lane.committed(proposal.last);
                effects.raise(raised);
            }
            return;
        }
        self.apply(entry, effects);
    }

    /// Applies an entry that this shard did not evaluate itself.
    pub(super) fn apply(&mut self, entry: &LogEntry, effects: &mut ShardEffects) {
        if entry.data.is_empty() || entry.kind == EntryKind::Membership {
            return;
        }
        let (stamp, body) =
            entry::decode(&entry.data).unwrap_or_else(|bad| self.damage(entry, bad.0));
        if stamp.term != entry.term {
            return; // It was proposed in another term: void.
        }
        match body {
            Body::Open { cut } => self.apply_open(stamp, cut, effects),
            Body::Compact { revision } => {
                if self.is_of_this_epoch(stamp) {
                    self.apply_compaction(revision, effects);
                }
            }
            Body::Changes(body) => {
                if self.is_of_this_epoch(stamp) {
                    self.known = self.known.max(stamp.stable);
                    for operation in Operations::of(&body, stamp.stable) {
                        let operation = operation.unwrap_or_else(|bad| self.damage(entry, bad.0));
                        self.apply_operation(entry, operation);
                    }
                }
            }
        }
    }

    fn is_of_this_epoch(&self, stamp: Stamp) -> bool {
        self.opened.is_some_and(|(epoch, _)| epoch == stamp.epoch)
    }

    fn apply_operation(&mut self, entry: &LogEntry, operation: entry::Operation) {
        let entry::Operation { revision, sub, participants, change } = operation;
        if revision <= self.covered {
            return; // The checkpoint has it.
        }
        assert!(
            revision >= self.store.newest(),
            "R2: shard {}: revision {revision} after {} at index {}",
            self.id,
            self.store.newest(),
            entry.index
        );
        match change {
            Change::Put { key, value, lease } => {
                self.store.apply_put(revision, sub, &key, &value, lease);
            }
            Change::DeleteRange { range, count } => {
                if self.store.apply_delete_range(revision, sub, &range, count).is_err() {
                    self.damage(entry, "a range delete hit another number of keys");
                }
            }
        }
        if self.tail.back().is_none_or(|tailed| tailed.revision < revision) {
            let participants = participants.unwrap_or(ShardSet::one(self.id));
            self.tail.push_back(Tailed { revision, index: entry.index, participants });
        }
    }

    /// From this entry on, what earlier epochs logged above the cut is void.
    fn apply_open(&mut self, stamp: Stamp, cut: Revision, effects: &mut ShardEffects) {
        if self.opened.is_some_and(|(epoch, _)| epoch >= stamp.epoch) {
            return;
        }
        assert!(cut >= self.covered, "shard {}: a checkpoint goes beyond a cut", self.id);
        self.opened = Some((stamp.epoch, cut));
        self.known = self.known.max(stamp.stable);
        self.store.roll_back(cut);
        self.tail.retain(|tailed| tailed.revision <= cut);
        self.fail_releases_above(cut, effects);
        let (shard, epoch) = (self.id, stamp.epoch);
        effects.reports.push(Report::Opened { shard, epoch });
    }

    fn apply_compaction(&mut self, revision: Revision, effects: &mut ShardEffects) {
        if revision.0 > self.store.compacted() {
            self.store.set_compaction(revision);
            self.jobs.compact(revision);
        }
        effects.reports.push(Report::Compacted { shard: self.id, revision });
    }

    pub(super) fn propose_open(
        &mut self,
        epoch: Epoch,
        cut: Revision,
        effects: &mut ShardEffects,
    ) {
        assert!(self.lane.is_none(), "an epoch opens after the one before is over");
        let data = entry::open(self.stamp(epoch), cut);
        if self.replica.propose(data).is_err() {
            effects.reports.push(Report::Lost { shard: self.id });
        }
    }

    pub(super) fn propose_compaction(&mut self, revision: Revision, effects: &mut ShardEffects) {
        let shard = self.id;
        if revision.0 <= self.store.compacted() {
            effects.reports.push(Report::Compacted { shard, revision });
            if !self.jobs.is_compacting() {
                effects.reports.push(Report::CompactedPhysically { shard, revision });
            }
            return;
        }
        let Some((epoch, _)) = self.opened.filter(|_| self.lane.is_some()) else { return };
        let data = entry::compact(self.stamp(epoch), revision);
        if self.replica.propose(data).is_err() {
            effects.reports.push(Report::Lost { shard });
        }
    }

    fn damage(&self, entry: &LogEntry, what: &str) -> ! {
        panic!("group {}: index {} (term {}): {what}", self.group(), entry.index, entry.term);
    }
}
