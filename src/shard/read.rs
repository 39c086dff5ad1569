//! Reading: never above stable, never waiting for a write.

use super::{ReadPart, ReadPartReply, Shard};
use crate::line::message::CompareShare;
use crate::types::txn::{self, PathOp};
use crate::types::{Answer, OpReply, RangeRequest, Refusal, Reply, Revision, TxnRequest};

impl Shard {
    /// A range that this shard alone can answer, at stable or the revision asked for.
    pub fn range(&mut self, request: &RangeRequest) -> Answer {
        self.counters.ranges += 1;
        let stable = self.sequencer.stable();
        let at = self.held.store.check_revision(request.revision, stable)?;
        let mut reply = self.held.store.range(request, at);
        reply.revision = stable;
        Ok(Reply::Range(reply))
    }

    /// A txn that only reads and concerns this shard alone: all of it at stable.
    pub fn read_txn(&mut self, request: &TxnRequest) -> Answer {
        let stable = self.sequencer.stable();
        let holds: Vec<bool> = txn::compares(request)
            .into_iter()
            .map(|compare| self.held.store.holds(compare, stable))
            .collect();
        let path = txn::choose(request, &holds);
        let mut replies = Vec::with_capacity(path.ops.len());
        for op in &path.ops {
            let PathOp::Range(range) = op else { unreachable!("the txn only reads") };
            self.counters.ranges += 1;
            let at = self.held.store.check_revision_in_txn(range.revision, stable)?.min(stable);
            replies.push(OpReply::Range(self.held.store.range(range, at)));
        }
        Ok(Reply::Txn(path.assemble(replies, stable)))
    }

    /// This shard's part of a read of several. A compaction may have passed `at` since the router
    /// chose it: that is told, and the router starts again.
    pub fn read_part(&mut self, part: &ReadPart) -> Result<ReadPartReply, Refusal> {
        assert!(part.at <= self.sequencer.stable(), "R3: a read above stable");
        if part.at.0 < self.held.store.compacted() {
            return Err(Refusal::Compacted);
        }
        let mut reply = ReadPartReply::default();
        for (number, compare) in &part.compares {
            reply.compares.push((*number, self.compare_share(compare, part.at)));
        }
        for (sub, range) in &part.ranges {
            self.counters.ranges += 1;
            let at = if range.revision > 0 { Revision(range.revision) } else { part.at };
            if at.0 < self.held.store.compacted() {
                return Err(Refusal::Compacted);
            }
            reply.ranges.push((*sub, self.held.store.range(range, at)));
        }
        Ok(reply)
    }

    pub(super) fn compare_share(
        &self,
        compare: &crate::types::Compare,
        at: Revision,
    ) -> CompareShare {
        let share = self.held.store.holds_share(compare, at);
        // Without a key here, all of none hold; what counts is whether a missing key would.
        let holds = if share.matched { share.all_hold } else { self.held.store.holds(compare, at) };
        CompareShare { matched: share.matched, holds }
    }
}
