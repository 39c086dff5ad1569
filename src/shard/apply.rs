//! Committed entries: a shard's own proposals are only ticked off, everything else is applied.

use super::state::Applied;
use super::{Shard, ShardEffects, entry};
use crate::line::message::Report;
use crate::types::{Epoch, LogEntry, Revision};

impl Shard {
    /// Moves what Raft has ready and what the disk has done; takes what is committed.
    pub(super) fn pump(&mut self, effects: &mut ShardEffects) {
        self.replica.pump();
        self.sequencer.reached_by(self.group(), self.replica.durable_index());
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
        match self.state.apply(entry) {
            Applied::Changes => {}
            Applied::Opened { epoch, cut } => {
                self.publication.roll_back(cut);
                self.fail_releases_above(cut, effects);
                effects.reports.push(Report::Opened { shard: self.id, epoch });
            }
            Applied::Compacted { revision, rises } => {
                if rises {
                    self.jobs.compact(revision);
                }
                effects.reports.push(Report::Compacted { shard: self.id, revision });
            }
        }
    }

    pub(super) fn propose_open(&mut self, epoch: Epoch, cut: Revision, effects: &mut ShardEffects) {
        assert!(self.lane.is_none(), "an epoch opens after the one before is over");
        let data = entry::open(self.stamp(epoch), cut);
        if self.replica.propose(data).is_err() {
            effects.reports.push(Report::Lost { shard: self.id });
        }
    }

    /// Logs the compaction that is ordered, if there is one. It waits for room like a write, and
    /// keeps out of the room that a round was promised.
    pub(super) fn propose_compaction(&mut self, effects: &mut ShardEffects) {
        let Some(revision) = self.compaction else { return };
        let shard = self.id;
        if revision.0 <= self.state.store.compacted() {
            self.compaction = None;
            effects.reports.push(Report::Compacted { shard, revision });
            if !self.jobs.is_compacting() {
                effects.reports.push(Report::CompactedPhysically { shard, revision });
            }
            return;
        }
        let Some((epoch, _)) = self.state.opened.filter(|_| self.lane.is_some()) else {
            self.compaction = None; // The next epoch orders it again.
            return;
        };
        if self.frozen.is_some() || !self.has_room_for(entry::COMPACT_BYTES) {
            return;
        }
        self.compaction = None;
        let data = entry::compact(self.stamp(epoch), revision);
        if self.replica.propose(data).is_err() {
            effects.reports.push(Report::Lost { shard });
        }
    }
}
