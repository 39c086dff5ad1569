//! The list of all leases, those first that end first: in slices, and one list for all who ask
//! before it is begun.
//!
//! A lease that is there from the question to the answer is listed. One that is granted or ends
//! meanwhile may be listed or not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;

use super::deadlines::{Deadlines, LeaseTime};
use crate::control::State;
use crate::limits::LEASE_LOOKS_PER_TURN;
use crate::types::{LeaseId, LeaseLeasesReply, Origin, Reply, Revision};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Who gets the list that is under way, and who has asked since it was begun.
    asked: Vec<Origin>,
    waiting: Vec<Origin>,
    stage: Stage,
}

type Timed = (LeaseTime, LeaseId);

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    /// Sorted runs of leases up to this one.
    Gathering {
        last: Option<LeaseId>,
        runs: Vec<std::vec::IntoIter<Timed>>,
    },
    Merging {
        heads: BinaryHeap<Reverse<(Timed, usize)>>,
        runs: Vec<std::vec::IntoIter<Timed>>,
        leases: Vec<LeaseId>,
    },
    Answering(Vec<LeaseId>),
}

impl Listing {
    /// Takes a question.
    pub fn ask(&mut self, origin: Origin) {
        self.waiting.push(origin);
    }

    /// Everybody who waits: the epoch is over.
    pub fn close(&mut self) -> impl Iterator<Item = Origin> + use<> {
        let Listing { asked, waiting, .. } = std::mem::take(self);
        asked.into_iter().chain(waiting)
    }

    /// Goes on for as many leases as a turn may look at; whether there is more to do.
    pub fn go_on(
        &mut self,
        state: &State,
        deadlines: &Deadlines,
        stable: Revision,
        answers: &mut Vec<(Origin, Reply)>,
    ) -> bool {
        let mut looks = LEASE_LOOKS_PER_TURN;
        while looks > 0 {
            self.stage = match std::mem::take(&mut self.stage) {
                Stage::Idle if self.waiting.is_empty() => return false,
                Stage::Idle => {
                    self.asked = std::mem::take(&mut self.waiting);
                    Stage::Gathering { last: None, runs: Vec::new() }
                }
                Stage::Gathering { last, runs } => gather(state, deadlines, last, runs, &mut looks),
                Stage::Merging { heads, runs, leases } => merge(heads, runs, leases, &mut looks),
                Stage::Answering(leases) => match self.asked.pop() {
                    None => Stage::Idle,
                    Some(origin) => {
                        // Each has a list of its own.
                        looks = looks.saturating_sub(leases.len());
                        let (list, kept) = match self.asked.is_empty() {
                            true => (leases, Vec::new()),
                            false => (leases.clone(), leases),
                        };
                        let reply = LeaseLeasesReply { revision: stable, leases: list };
                        answers.push((origin, Reply::LeaseLeases(reply)));
                        Stage::Answering(kept)
                    }
                },
            };
        }
        true
    }
}

fn gather(
    state: &State,
    deadlines: &Deadlines,
    last: Option<LeaseId>,
    mut runs: Vec<std::vec::IntoIter<Timed>>,
    looks: &mut usize,
) -> Stage {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let some = state.leases.range((from, Bound::Unbounded)).take(*looks);
    let (mut count, mut last) = (0, last);
    let mut run: Vec<Timed> = some
        .inspect(|(id, _)| (count, last) = (count + 1, Some(**id)))
        .filter_map(|(id, _)| Some((deadlines.deadline(*id)?, *id)))
        .collect();
    run.sort_unstable();
    runs.push(run.into_iter());
    let is_through = count < *looks;
    *looks -= count;
    if !is_through {
        return Stage::Gathering { last, runs };
    }
    let leases = Vec::with_capacity(runs.iter().map(ExactSizeIterator::len).sum());
    let heads = runs.iter_mut().enumerate();
    let heads = heads.filter_map(|(run, it)| Some(Reverse((it.next()?, run)))).collect();
    Stage::Merging { heads, runs, leases }
}

fn merge(
    mut heads: BinaryHeap<Reverse<(Timed, usize)>>,
    mut runs: Vec<std::vec::IntoIter<Timed>>,
    mut leases: Vec<LeaseId>,
    looks: &mut usize,
) -> Stage {
    while *looks > 0 {
        let Some(Reverse(((_, id), run))) = heads.pop() else { return Stage::Answering(leases) };
        leases.push(id);
        heads.extend(runs[run].next().map(|next| Reverse((next, run))));
        *looks -= 1;
    }
    Stage::Merging { heads, runs, leases }
}
