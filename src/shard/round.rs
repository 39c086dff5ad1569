//! A shard's part in a round: freeze, check, execute, thaw.
//!
//! The coordinator orders the next freeze as soon as it has ordered the shares of a round, so the
//! thaw and that freeze often reach a shard in the same mail. R10: the second freeze then waits
//! until the shard has taken its turn of what the first one held back.

use super::entry::{ChangesBuilder, HEADER_BYTES};
use super::reads::ReadOwner;
use super::{Frozen, Shard, ShardEffects};
use crate::limits::COMPACTION_SLICE_KEYS;
use crate::line::message::{Order, Report, RequestExecute, RequestShare, RoundId, Verdict};
use crate::types::txn::PathOp;
use crate::types::{Epoch, Nanos, Revision, Sub};

impl Shard {
    /// Evaluates no write from here on; answers on the state as it is now, pending included. The
    /// freeze waits while the shard owes a share of work (R10), and until the log has room for what
    /// the round will log: nothing is proposed from here to the thaw, so the room stays.
    pub(super) fn freeze(&mut self, order: Order, effects: &mut ShardEffects) {
        assert!(self.frozen.is_none(), "one coordinator freezes a shard once");
        let Order::Freeze { epoch, round, bytes, compares, check, current } = order else {
            unreachable!("{order:?} is no freeze")
        };
        if self.owes || !self.has_room_for(bytes) {
            self.stalled = Some(Order::Freeze { epoch, round, bytes, compares, check, current });
            return;
        }
        self.lane.as_mut().expect("it serves").freeze();
        self.frozen = Some(Frozen { round, bytes });
        self.counters.rounds += 1;
        let mut put_off = self.put_off(&check);
        let verdicts = self.verdicts(&check, &put_off.unprepared, current);
        let compares = self.answer_compares(&compares, &mut put_off);
        self.report_put_off(epoch, round, put_off, effects);
        let (shard, newest) = (self.id, self.state.store.newest());
        let refuses_puts = self.is_refusing_puts();
        effects.reports.push(Report::Frozen {
            shard,
            epoch,
            round,
            newest,
            compares,
            verdicts,
            refuses_puts,
        });
    }

    /// Answers a check.
    pub(super) fn check(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        shares: &[RequestShare],
        current: Revision,
        effects: &mut ShardEffects,
    ) {
        let put_off = self.put_off(shares);
        let verdicts = self.verdicts(shares, &put_off.unprepared, current);
        self.report_put_off(epoch, round, put_off, effects);
        effects.reports.push(Report::Checked { shard: self.id, epoch, round, verdicts });
    }

    /// What each share would come to; nothing is kept.
    fn verdicts(
        &self,
        shares: &[RequestShare],
        unprepared: &[u16],
        current: Revision,
    ) -> Vec<(u16, Verdict)> {
        shares
            .iter()
            .map(|request| {
                let share = request.path.share_of(self.id);
                let is_revoke = share.iter().any(|(_, op)| matches!(**op, PathOp::Revoke(_)));
                let verdict = match self.refusal_of(&share) {
                    // Nothing refuses it, and whether it has keys is seen when it is prepared.
                    _ if is_revoke && unprepared.binary_search(&request.slot).is_ok() => Ok(true),
                    // An alarm refuses the whole txn, before any of its operations is looked at.
                    Some(refusal) => Err((Sub(0), refusal)),
                    None => self.validate(&share, current),
                };
                (request.slot, verdict)
            })
            .collect()
    }

    /// Logs every share that changes something, all in one entry, and thaws.
    pub(super) fn execute(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        shares: &[RequestExecute],
        reports: bool,
        effects: &mut ShardEffects,
    ) {
        let mut entry = ChangesBuilder::new(self.stamp(epoch));
        let mut replies = Vec::new();
        let mut replies_later = false;
        // Blind ones that follow one another are run together.
        for run in shares.chunk_by(|one, next| one.path.is_blind() && next.path.is_blind()) {
            if run[0].path.is_blind() {
                self.run_blind(run, &mut entry);
            } else {
                let RequestExecute { slot, change, path } = &run[0];
                let change = change.map(|(revision, participants)| (revision, Some(participants)));
                let share = path.share_of(self.id);
                let ran = self.run_share(&share, change, &mut entry);
                if ran.later.is_empty() {
                    replies.push((*slot, ran.replies));
                    continue;
                }
                replies_later = true;
                let revision = change.map_or(self.state.store.newest(), |(revision, _)| revision);
                let (slot, replies) = (*slot, ran.replies);
                let owner = ReadOwner::Round { epoch, round, slot, revision, replies };
                self.read_later(owner, ran.later);
            }
        }
        let lane = self.lane.as_mut().expect("it serves");
        for (revision, _) in shares.iter().filter_map(|share| share.change) {
            self.counters.txns += 1;
            lane.pending_round(revision);
        }
        if !entry.is_empty() {
            let promised = self.frozen.map_or(0, |frozen| HEADER_BYTES + frozen.bytes);
            debug_assert!(entry.len() <= promised, "a round logs more than it asked room for");
            self.propose_changes(entry);
        }
        self.thaw(effects);
        let has_replies = !replies.is_empty();
        assert_eq!(
            reports,
            has_replies || replies_later,
            "what is told is what the coordinator waits for"
        );
        if has_replies {
            effects.reports.push(Report::Executed { shard: self.id, epoch, round, replies });
        }
    }

    pub(super) fn thaw(&mut self, effects: &mut ShardEffects) {
        self.frozen = None;
        self.owes = self.holds_back() || self.jobs.is_compacting();
        let raised = self.lane.as_mut().expect("it serves").thaw();
        effects.raise(raised);
    }

    /// Does what a freeze holds back: logs a compaction, evaluates writes as far as the log has
    /// room, and with `work` compacts a slice. That is the share of R10: it is bounded as every
    /// turn is, and until the log had room for some of it the shard goes on owing it. Returns
    /// whether compacting has more to do.
    pub(super) fn give_share(
        &mut self,
        now: Nanos,
        work: bool,
        effects: &mut ShardEffects,
    ) -> bool {
        self.propose_compaction(effects);
        let evaluated = self.evaluate_waiting(now, effects);
        self.owes &= !evaluated && self.holds_back();
        work && self.compact_some(COMPACTION_SLICE_KEYS, effects)
    }

    /// Whether something waits that a frozen shard does not do, and that the log must have room
    /// for.
    fn holds_back(&self) -> bool {
        !self.inbox.is_empty() || self.deleting.is_ready() || self.compaction.is_some()
    }
}
