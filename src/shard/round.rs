//! A shard's part in a round: freeze, check, execute, thaw.

use super::entry::ChangesBuilder;
use super::{Shard, ShardEffects};
use crate::line::message::{CaseCompares, CaseExecute, CaseShare, Report, RoundId, Verdict};
use crate::line::routed::Share;
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
                    Some(refusal) => Err(refusal),
                    None => self.validate(&share, current),
                };
                let verdict =
                    verdict.map_err(|refusal| (self.first_refused(&share, current), refusal));
                (case.case, verdict)
            })
            .collect()
    }

    /// The operation at which a refused share fails: the shortest beginning of it that does.
    fn first_refused(&self, share: &Share<'_>, current: Revision) -> Sub {
        let fails = |count: &usize| self.validate(&share[..*count], current).is_err();
        let count = (1..=share.len()).find(fails).unwrap_or(1);
        share[count - 1].0
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
        // Plain ones that follow one another are run together.
        for run in shares.chunk_by(|one, next| one.path.is_plain() && next.path.is_plain()) {
            if run[0].path.is_plain() {
                self.run_plain(run, &mut entry);
            } else {
                let CaseExecute { case, change, path } = &run[0];
                let change = change.map(|(revision, participants)| (revision, Some(participants)));
                let share = path.share_of(self.id);
                replies.push((*case, self.run_share(&share, change, &mut entry)));
            }
        }
        let lane = self.lane.as_mut().expect("it serves");
        for (revision, _) in shares.iter().filter_map(|share| share.change) {
            self.counters.txns += 1;
            lane.pending_round(revision);
        }
        if !entry.is_empty() {
            self.propose_changes(entry);
        }
        self.thaw(effects);
        assert_eq!(tells, !replies.is_empty(), "what is told is what the coordinator waits for");
        if tells {
            effects.reports.push(Report::Executed { shard: self.id, epoch, round, replies });
        }
    }

    pub(super) fn thaw(&mut self, effects: &mut ShardEffects) {
        self.frozen = None;
        let raised = self.lane.as_mut().expect("it serves").thaw();
        effects.raise(raised);
    }
}
