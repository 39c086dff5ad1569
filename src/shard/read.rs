//! Reading: never above stable, never waiting for a write.

use super::{ReadPart, ReadPartReply, Shard, Told};
use crate::line::message::CompareShare;
use crate::store::{Place, holds_for_missing};
use crate::types::txn::{self, PathOp};
use crate::types::{
    Answer, Blob, LeaseId, OpReply, Origin, RangeRequest, Refusal, Reply, Revision, TxnRequest,
};

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

    /// Begins a read of one key at stable, which the caller ends and counts.
    pub fn seek<'a>(&'a self, key: &'a [u8]) -> Place<'a> {
        self.held.store.seek(key)
    }

    /// A read that [`Shard::seek`] began was answered.
    pub fn count_range(&mut self) {
        self.counters.ranges += 1;
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
            let at = self.held.store.check_revision_in_txn(range.revision, part.at)?.min(part.at);
            reply.ranges.push((*sub, self.held.store.range(range, at)));
        }
        Ok(reply)
    }

    /// The keys of a lease in the newest state: which attachments stand is known of that alone, so
    /// the answer waits until stable has reached it.
    pub(super) fn tell_lease_keys(&mut self, origin: Origin, lease: LeaseId) {
        let keys = self.held.store.lease_keys(lease).map(Blob::from).collect();
        self.push_release(self.seen(), origin, Told::LeaseKeys(keys));
    }

    pub(super) fn compare_share(
        &self,
        compare: &crate::types::Compare,
        at: Revision,
    ) -> CompareShare {
        let share = self.held.store.holds_share(compare, at);
        let holds = if share.matched { share.all_hold } else { holds_for_missing(compare) };
        CompareShare { matched: share.matched, holds }
    }
}
