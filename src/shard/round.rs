//! A shard's part in a round: freeze, check, execute, thaw.

use super::entry::{ChangesBuilder, HEADER_BYTES};
use super::reads::Whose;
use super::{Frozen, Shard, ShardEffects};
use crate::line::message::{CaseExecute, CaseShare, Order, Report, RoundId, Verdict};
use crate::types::{Epoch, Revision, Sub};

impl Shard {
    /// Evaluates no write from here on; answers on the state as it is now, pending included.
    pub(super) fn freeze(&mut self, order: Order, effects: &mut ShardEffects) {
        let Order::Freeze { epoch, round, bytes, compares, check, current } = order else {
            unreachable!("{order:?} is no freeze")
        };
        assert!(self.frozen.is_none(), "one coordinator freezes a shard once");
        self.lane.as_mut().expect("it serves").freeze();
        self.frozen = Some(Frozen { round, bytes });
        self.counters.rounds += 1;
        let compares = compares
            .into_iter()
            .map(|case| {
                let answers = case.compares.iter().map(|(number, compare)| {
                    (*number, self.compare_share(compare, Revision::NEWEST))
                });
                (case.case, answers.collect())
            })
            .collect();
        let verdicts = self.verdicts(&check, current);
        self.report_unprepared(epoch, round, &check, effects);
        let (shard, newest) = (self.id, self.held.store.newest());
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

    /// What each share would come to; nothing is kept.
    pub(super) fn verdicts(&self, shares: &[CaseShare], current: Revision) -> Vec<(u16, Verdict)> {
        shares
            .iter()
            .map(|case| {
                let share = case.path.share_of(self.id);
                let verdict = match self.refusal_of(&share) {
                    // An alarm refuses the whole txn, before any of its operations is looked at.
                    Some(refusal) => Err((Sub(0), refusal)),
                    None => self.validate(&share, current),
                };
                (case.case, verdict)
            })
            .collect()
    }

    /// Logs every share that changes something, all in one entry, and thaws.
    pub(super) fn execute(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        shares: &[CaseExecute],
        tells: bool,
        effects: &mut ShardEffects,
    ) {
        let mut entry = ChangesBuilder::new(self.stamp(epoch));
        let mut replies = Vec::new();
        let mut told_later = false;
        // Plain ones that follow one another are run together.
        for run in shares.chunk_by(|one, next| one.path.is_plain() && next.path.is_plain()) {
            if run[0].path.is_plain() {
                self.run_plain(run, &mut entry);
            } else {
                let CaseExecute { case, change, path } = &run[0];
                let change = change.map(|(revision, participants)| (revision, Some(participants)));
                let share = path.share_of(self.id);
                let ran = self.run_share(&share, change, &mut entry);
                if ran.later.is_empty() {
                    replies.push((*case, ran.replies));
                    continue;
                }
                told_later = true;
                let revision = change.map_or(self.held.store.newest(), |(revision, _)| revision);
                let (case, replies) = (*case, ran.replies);
                let whose = Whose::Round { epoch, round, case, revision, replies };
                self.read_later(whose, ran.later);
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
        let has_told = !replies.is_empty();
        assert_eq!(tells, has_told || told_later, "what is told is what the coordinator waits for");
        if has_told {
            effects.reports.push(Report::Executed { shard: self.id, epoch, round, replies });
        }
    }

    pub(super) fn thaw(&mut self, effects: &mut ShardEffects) {
        self.frozen = None;
        let raised = self.lane.as_mut().expect("it serves").thaw();
        effects.raise(raised);
    }
}
