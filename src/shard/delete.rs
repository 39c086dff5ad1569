//! Writes that delete or compare many keys: prepared beside the traffic, then evaluated like any
//! other write.
//!
//! ```text
//!  a write of this shard alone ─▶ aside ──┐  compares are     what it      ┌─▶ evaluated again
//!  the coordinator ── Order::Prepare ─────┴─▶ decided ──────▶ deletes ─────┴─▶ Report::Prepared
//!                                                is prepared
//! ```
//!
//! One write is prepared at a time, a slice each turn. What changes meanwhile is seen to by the
//! store, and the evaluation decides on the state of its own time: if that asks for other things,
//! they are prepared anew.

use std::sync::Arc;

use super::ask::{Waiting, Write};
use super::{Shard, ShardEffects};
use crate::line::message::{CompareShare, Report, RequestCompares, RequestShare, RoundId};
use crate::line::routed::{RoutedPath, deletes_ranges};
use crate::store::{Deletion, Moment, Scan, Share, combine, holds_for_missing};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    Compare, DeleteRangeReply, DeleteRangeRequest, Epoch, LeaseId, Origin, RangeRequest,
    RequestQueue, Revision, Sub, TxnRequest,
};

/// The deletes that are prepared, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Deleting {
    /// Writes of this shard alone that are to be prepared.
    waiting: RequestQueue<Waiting>,
    current: Option<Current>,
    /// What the coordinator wants next.
    wanted: Option<Wanted>,
    /// Keys that this turn's evaluation has looked at, or deleted, one by one.
    visited: usize,
}

/// What the store prepares, and whether it has.
#[derive(Debug)]
struct Current {
    whose: Preparing,
    is_ready: bool,
}

/// For whom.
#[derive(Debug)]
enum Preparing {
    Write(Box<Waiting>),
    Round(Wanted),
}

/// See [`crate::line::message::Order::Prepare`].
#[derive(Debug)]
struct Wanted {
    epoch: Epoch,
    round: RoundId,
    compares: Arc<[Compare]>,
    path: Option<Arc<RoutedPath>>,
}

/// A compare takes more keys than the evaluation may look at, and is not decided.
struct Undecided;

/// Slices of keys that the writes of one turn, or the requests of one round, may look at or delete
/// without preparation.
const SLICES_AT_ONCE: usize = 4;

impl Current {
    fn of(whose: Preparing) -> Option<Current> {
        Some(Current { whose, is_ready: false })
    }

    fn is_round(&self) -> bool {
        matches!(self.whose, Preparing::Round(_))
    }
}

impl Deleting {
    /// Whether something is on its way to being prepared.
    pub fn is_busy(&self) -> bool {
        match &self.current {
            Some(current) => !current.is_ready,
            None => !self.waiting.is_empty() || self.wanted.is_some(),
        }
    }

    /// The write that waits for its evaluation with everything prepared.
    fn ready(&self) -> Option<&Waiting> {
        match &self.current {
            Some(Current { whose: Preparing::Write(waiting), is_ready: true }) => Some(waiting),
            _ => None,
        }
    }

    /// Whether a write waits for its evaluation with everything prepared.
    pub fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    fn take_ready(&mut self) -> Option<Waiting> {
        self.ready()?;
        match self.current.take()?.whose {
            Preparing::Write(waiting) => Some(*waiting),
            Preparing::Round(_) => None,
        }
    }

    /// The write of `origin` is dropped, if it is here.
    pub fn cancel(&mut self, origin: Origin) {
        self.waiting.cancel(origin);
        // The store finds nobody behind what it has prepared, and takes it back.
        self.current.take_if(|current| match &current.whose {
            Preparing::Write(waiting) => waiting.origin == origin,
            Preparing::Round(_) => false,
        });
    }

    /// Forgets what was prepared: it is gone with the epoch.
    pub fn roll_back(&mut self) {
        self.wanted = None;
        if let Some(Current { whose: Preparing::Write(waiting), .. }) = self.current.take() {
            self.waiting.push_front(*waiting);
        }
    }
}

/// The deletion of more than one key that an operation is.
fn deletion_of(op: &PathOp) -> Option<Deletion> {
    match op {
        PathOp::DeleteRange(delete) if delete.range.single_key().is_none() => {
            Some(Deletion::Range(delete.range.clone()))
        }
        PathOp::Revoke(lease) => Some(Deletion::Lease(*lease)),
        PathOp::DeleteRange(_) | PathOp::Put(_) | PathOp::Range(_) => None,
    }
}

/// The compares of a txn that are about more than one key, in its order.
fn range_compares(txn: &TxnRequest) -> Vec<&Compare> {
    let mut compares = txn::compares(txn);
    compares.retain(|compare| compare.range.single_key().is_none());
    compares
}

impl Shard {
    /// Those of a path's deletions that take more than a slice.
    fn large_deletions<'a>(&self, ops: impl Iterator<Item = &'a PathOp>) -> Vec<Deletion> {
        let mut deletions: Vec<Deletion> = ops.filter_map(deletion_of).collect();
        // All that are not prepared come to a slice together.
        let bound = (self.reads.slice() / deletions.len().max(1)) as u64;
        deletions.retain(|deletion| self.state.store.keys_of(deletion) > bound);
        deletions
    }

    /// How many keys a path's deletions of more than one hit, about.
    fn keys_deleted<'a>(&self, ops: impl Iterator<Item = &'a PathOp>) -> u64 {
        ops.filter_map(deletion_of).map(|deletion| self.state.store.keys_of(&deletion)).sum()
    }

    /// The path that a txn takes in the newest state; none if it has no compares and deletes no
    /// range, so that there is nothing to find out beforehand.
    fn path_of(&mut self, write: &Write) -> Result<Option<Path>, Undecided> {
        let Write::Txn(txn) = write else { return Ok(None) };
        let compares = txn::compares(txn);
        if compares.is_empty() && !deletes_ranges(txn) {
            return Ok(None);
        }
        let slice = self.reads.slice();
        let mut visits = slice;
        let shares = self.state.store.shares(compares.iter().copied(), &mut visits);
        self.deleting.visited += slice - visits;
        let shares = shares.ok_or(Undecided)?;
        let shares = compares.into_iter().zip(shares);
        let holds: Vec<bool> = shares.map(|(compare, share)| combine(compare, [share])).collect();
        Ok(Some(txn::choose(txn, &holds)))
    }

    fn deletions_of(&self, write: &Write, path: Option<&Path>) -> Vec<Deletion> {
        match (write, path) {
            (Write::DeleteRange(delete), _) if delete.range.single_key().is_none() => {
                let op = PathOp::DeleteRange(delete.clone());
                self.large_deletions(std::iter::once(&op))
            }
            (Write::Txn(_), Some(path)) => self.large_deletions(path.ops.iter()),
            _ => Vec::new(),
        }
    }

    /// Puts a write aside if it has to be prepared; gives it back if not, with its path if that is
    /// known.
    pub(super) fn put_aside(&mut self, waiting: Waiting) -> Option<(Waiting, Option<Path>)> {
        if let Ok(path) = self.path_of(&waiting.write) {
            let deletions = self.deletions_of(&waiting.write, path.as_ref());
            if deletions.is_empty() || self.state.store.is_delete_prepared(&deletions) {
                return Some((waiting, path));
            }
        }
        self.deleting.waiting.push_back(waiting);
        None
    }

    /// What the compares of a round's requests say here, as far as a round may look at keys for
    /// that; the others are put off.
    pub(super) fn answer_compares(
        &mut self,
        requests: &[RequestCompares],
        put_off: &mut PutOff,
    ) -> Vec<(u16, Vec<(u32, CompareShare)>)> {
        let slice = self.reads.slice();
        let mut left = SLICES_AT_ONCE * slice;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let most = slice.min(left);
            let mut visits = most;
            let compares = request.compares.iter().map(|(_, compare)| compare);
            let shares = self.state.store.shares(compares, &mut visits);
            left -= most - visits;
            self.deleting.visited += most - visits;
            match shares {
                Some(shares) => {
                    let answered = request.compares.iter().zip(shares);
                    let answered = answered.map(|((n, it), share)| (*n, answer(it, share)));
                    answers.push((request.slot, answered.collect()));
                }
                None if most < slice => put_off.later.push(request.slot),
                None => put_off.unprepared.push(request.slot),
            }
        }
        answers
    }

    /// Whether a write's deletes are prepared, and the log takes what it adds at most.
    pub(super) fn prepared_has_room(&self) -> bool {
        let ready = self.deleting.ready();
        ready.is_some_and(|waiting| self.has_room_for(waiting.write.logged_bytes()))
    }

    /// The write whose deletes are prepared, if there is one.
    pub(super) fn next_prepared(&mut self) -> Option<Waiting> {
        self.deleting.take_ready()
    }

    /// Makes a delete that was validated; with what reads the previous values later, if they are
    /// wanted and many.
    pub(super) fn delete(
        &mut self,
        delete: &DeleteRangeRequest,
        revision: Revision,
        sub: Sub,
    ) -> (DeleteRangeReply, Option<Scan>) {
        let is_prepared = self.state.store.has_delete() && {
            let deletion = Deletion::Range(delete.range.clone());
            self.state.store.prepared_keys(&deletion).is_some()
        };
        let prev_kv = delete.prev_kv && !is_prepared;
        let reply = self.state.store.delete_range(revision, sub, &delete.range, prev_kv);
        if !is_prepared {
            self.deleting.visited += reply.deleted as usize;
            return (reply, None);
        }
        // The keys' versions from before stay there to be read.
        let all = RangeRequest::of(delete.range.clone());
        let scan = delete.prev_kv.then(|| self.scan(all, Moment::within(revision, sub)));
        (reply, scan)
    }

    /// Deletes the keys of a lease that ends; how many there were.
    pub(super) fn revoke(&mut self, lease: LeaseId, revision: Revision, sub: Sub) -> u64 {
        let store = &mut self.state.store;
        let is_prepared = store.prepared_keys(&Deletion::Lease(lease)).is_some();
        let count = store.delete_lease_keys(revision, sub, lease);
        if !is_prepared {
            self.deleting.visited += count as usize;
        }
        count
    }

    /// Whether the evaluation of this turn may look at, or delete, more keys one by one.
    pub(super) fn may_visit(&self) -> bool {
        self.deleting.visited < SLICES_AT_ONCE * self.reads.slice()
    }

    /// The requests of a round whose deletions have to be prepared first, or do not fit this one.
    pub(super) fn put_off(&self, shares: &[RequestShare]) -> PutOff {
        let mut put_off = PutOff::default();
        let mut left = SLICES_AT_ONCE * self.reads.slice();
        for share in shares {
            let ops = || share.path.ops_of(self.id).map(|(_, op)| op);
            let deletions = self.large_deletions(ops());
            let keys = self.keys_deleted(ops()) as usize;
            if deletions.is_empty() {
                if keys > left {
                    put_off.later.push(share.slot);
                }
                left = left.saturating_sub(keys);
            } else if !self.state.store.is_delete_prepared(&deletions) {
                put_off.unprepared.push(share.slot);
            }
        }
        put_off
    }

    /// Says which requests of a round are to be put off.
    pub(super) fn report_put_off(
        &self,
        epoch: Epoch,
        round: RoundId,
        put_off: PutOff,
        effects: &mut ShardEffects,
    ) {
        let PutOff { unprepared, later } = put_off;
        if !unprepared.is_empty() || !later.is_empty() {
            let shard = self.id;
            effects.reports.push(Report::PutOff { shard, epoch, round, unprepared, later });
        }
    }

    /// Has a round's request prepared.
    pub(super) fn prepare(
        &mut self,
        epoch: Epoch,
        round: RoundId,
        compares: Arc<[Compare]>,
        path: Option<Arc<RoutedPath>>,
    ) {
        self.deleting.wanted = Some(Wanted { epoch, round, compares, path });
        self.deleting.current.take_if(|current| current.is_round());
    }

    /// The request will not come.
    pub(super) fn abandon(&mut self) {
        self.deleting.wanted = None;
        self.deleting.current.take_if(|current| current.is_round());
    }

    /// Prepares some; whether there is more to do.
    pub(super) fn prepare_some(&mut self, effects: &mut ShardEffects) -> bool {
        let was_full = !self.may_visit();
        let slice = self.reads.slice();
        let mut visits = slice;
        let detached = self.state.store.detach_some(&mut visits);
        while self.prepare_next(&mut visits, effects) {}
        let visited = (std::mem::take(&mut self.deleting.visited) + slice - visits) as u64;
        let most = &mut self.counters.turn_write_visits_max;
        *most = visited.max(*most);
        let waits = !self.deleting.waiting.is_empty() || self.deleting.wanted.is_some();
        let store = &self.state.store;
        let idle = match &self.deleting.current {
            Some(current) if !current.is_ready => false,
            Some(Current { whose: Preparing::Round(_), .. }) => store.is_judged(),
            // It is evaluated when the shard may.
            Some(_) => !(self.may_evaluate() && self.prepared_has_room()),
            None => !waits && !store.has_delete(),
        };
        !idle || !detached || was_full && !self.inbox.is_empty()
    }

    /// Does the next step of what is to be prepared; whether another may follow in this turn.
    fn prepare_next(&mut self, visits: &mut usize, effects: &mut ShardEffects) -> bool {
        let store = &mut self.state.store;
        let Some(mut current) = self.deleting.current.take() else {
            if store.has_delete() {
                store.abandon_delete();
                return store.undo_delete(visits);
            }
            return self.begin_next();
        };
        if current.is_ready {
            let is_over = current.is_round() && !store.has_delete() && !store.is_judging();
            if is_over {
                return true; // It was made.
            }
            store.judge_some(visits);
        } else {
            current.is_ready = self.prepare_current(&current.whose, visits);
            if let (true, Preparing::Round(wanted)) = (current.is_ready, &current.whose) {
                let (shard, epoch, round) = (self.id, wanted.epoch, wanted.round);
                effects.reports.push(Report::Prepared { shard, epoch, round });
            }
        }
        self.deleting.current = Some(current);
        false
    }

    /// Decides its compares, then prepares what it deletes; whether all is done.
    fn prepare_current(&mut self, whose: &Preparing, visits: &mut usize) -> bool {
        if !self.state.store.judge_some(visits) {
            return false;
        }
        if !self.state.store.has_delete() {
            let deletions = match whose {
                Preparing::Write(waiting) => match self.path_of(&waiting.write) {
                    Ok(path) => self.deletions_of(&waiting.write, path.as_ref()),
                    Err(Undecided) => return false,
                },
                Preparing::Round(wanted) => {
                    let ops = wanted.path.iter().flat_map(|path| path.ops_of(self.id));
                    self.large_deletions(ops.map(|(_, op)| op))
                }
            };
            if deletions.is_empty() {
                return true;
            }
            self.state.store.begin_delete(&deletions);
        }
        self.state.store.prepare_delete(visits)
    }

    /// Takes what is to be prepared next; whether there was something.
    fn begin_next(&mut self) -> bool {
        let whose = if let Some(wanted) = self.deleting.wanted.take() {
            self.state.store.begin_judging(wanted.compares.iter());
            Preparing::Round(wanted)
        } else if let Some(waiting) = self.deleting.waiting.pop_front() {
            let compares = match &waiting.write {
                Write::Txn(txn) => range_compares(txn),
                Write::Put(_) | Write::DeleteRange(_) => Vec::new(),
            };
            self.state.store.begin_judging(compares.iter().copied());
            Preparing::Write(Box::new(waiting))
        } else {
            self.state.store.end_judging();
            return false;
        };
        self.deleting.current = Current::of(whose);
        true
    }
}

/// Slots of a round's requests that have to wait for another, each list in order.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Those that have to be prepared.
    pub unprepared: Vec<u16>,
    /// Those for which the others have left too little of what a round may do.
    pub later: Vec<u16>,
}

fn answer(compare: &Compare, share: Share) -> CompareShare {
    let holds = if share.matched { share.all_hold } else { holds_for_missing(compare) };
    CompareShare { matched: share.matched, holds }
}
