//! A shard's part in a round: freeze, check, execute, thaw.

use super::entry::ChangesBuilder;
use super::{Shard, ShardEffects};
use crate::line::message::{CaseCompares, CaseExecute, CaseShare, Report, RoundId, Verdict};
use crate::types::{Epoch, Revision, Sub};

impl Shard {
    /// Evaluates no write from here on; answers on the state as it is now, pending included.
    pub(super) fn freeze(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        compares: Vec<CaseCompares>,
        check: Vec<CaseShare>,
        current: Revision,
        effects: &mut ShardEffects,
    ) {
        assert!(self.frozen.is_none(), "one coordinator freezes a shard once");
        self.lane.as_mut().expect("it serves").freeze();
        self.frozen = Some(round);
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
        let (shard, newest) = (self.id, self.held.store.newest());
        effects.reports.push(Report::Frozen { shard, epoch, round, newest, compares, verdicts });
    }

    /// What each share would come to; nothing is kept.
    pub(super) fn verdicts(&self, shares: &[CaseShare], current: Revision) -> Vec<(u16, Verdict)> {
        shares
            .iter()
            .map(|case| {
                let verdict = match self.refusal_of(&case.share) {
                    Some(refusal) => Err(refusal),
                    None => self.validate(&case.share, current),
                };
                let verdict =
                    verdict.map_err(|refusal| (self.first_refused(case, current), refusal));
                (case.case, verdict)
            })
            .collect()
    }

    /// The operation at which a refused share fails: the shortest beginning of it that does.
    fn first_refused(&self, case: &CaseShare, current: Revision) -> Sub {
        let fails = |count: &usize| self.validate(&case.share[..*count], current).is_err();
        let count = (1..=case.share.len()).find(fails).unwrap_or(1);
        case.share[count - 1].0
    }

    /// Logs every share that changes something, all in one entry, and thaws.
    pub(super) fn execute(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        shares: Vec<CaseExecute>,
        effects: &mut ShardEffects,
    ) {
        let mut entry = ChangesBuilder::new(self.stamp(epoch));
        let mut replies = Vec::with_capacity(shares.len());
        for CaseExecute { case, change, share } in shares {
            let change = change.map(|(revision, participants)| (revision, Some(participants)));
            replies.push((case, self.run_share(&share, change, &mut entry)));
            if let Some((revision, _)) = change {
                self.counters.txns += 1;
                self.lane.as_mut().expect("it serves").pending_round(revision);
            }
        }
        if !entry.is_empty() {
            self.propose_changes(entry);
        }
        self.thaw(effects);
        effects.reports.push(Report::Executed { shard: self.id, epoch, round, replies });
    }

    pub(super) fn thaw(&mut self, effects: &mut ShardEffects) {
        self.frozen = None;
        let raised = self.lane.as_mut().expect("it serves").thaw();
        effects.raise(raised);
    }
}
