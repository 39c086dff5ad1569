//! Range deletes of many keys: prepared beside the traffic, then evaluated like any other write.
//!
//! ```text
//!  a write of this shard alone ─▶ aside ──┐                        ┌─▶ evaluated again, all ready
//!  the coordinator ── Order::Prepare ─────┴─▶ a slice each turn ───┴─▶ Report::Prepared
//! ```
//!
//! One write's deletes are prepared at a time. What changes meanwhile is seen to by the store, and
//! the evaluation decides on the state of its own time: if that asks for other deletes, they are
//! prepared anew.

use super::ask::{Waiting, Write};
use super::{Shard, ShardEffects};
use crate::line::message::{Report, RequestShare, RoundId};
use crate::line::routed::{RoutedPath, deletes_ranges};
use crate::store::{Moment, Scan};
use crate::types::txn::{self, PathOp};
use crate::types::{
    DeleteRangeReply, DeleteRangeRequest, Epoch, KeyRange, Origin, RangeRequest, RequestQueue,
    Revision, Sub,
};

/// The deletes that are prepared, and what waits for them.
#[derive(Debug, Default)]
pub(super) struct Deleting {
    /// Writes of this shard alone whose deletes are to be prepared.
    waiting: RequestQueue<Waiting>,
    current: Option<Current>,
    /// The preparation that the coordinator wants next.
    wanted: Option<(Epoch, RoundId, Vec<KeyRange>)>,
    /// Keys that this turn's evaluation has deleted one by one.
    deleted: usize,
}

/// The request whose deletes the store prepares.
#[derive(Debug)]
enum Current {
    Write { waiting: Box<Waiting>, is_ready: bool },
    Round { epoch: Epoch, round: RoundId, is_ready: bool },
}

/// Slices of keys that the writes of one turn delete without preparation.
const SLICES_AT_ONCE: usize = 4;

impl Deleting {
    /// Whether something is on its way to being prepared.
    pub fn is_busy(&self) -> bool {
        match &self.current {
            Some(Current::Write { is_ready, .. } | Current::Round { is_ready, .. }) => !is_ready,
            None => !self.waiting.is_empty() || self.wanted.is_some(),
        }
    }

    /// The write that waits for its evaluation with everything prepared.
    fn ready(&self) -> Option<&Waiting> {
        match &self.current {
            Some(Current::Write { waiting, is_ready: true }) => Some(waiting),
            _ => None,
        }
    }

    fn take_ready(&mut self) -> Option<Waiting> {
        match self.current.take() {
            Some(Current::Write { waiting, is_ready: true }) => Some(*waiting),
            other => {
                self.current = other;
                None
            }
        }
    }

    /// The write of `origin` is dropped, if it is here.
    pub fn cancel(&mut self, origin: Origin) {
        self.waiting.cancel(origin);
        // The store finds nobody behind what it has prepared, and takes it back.
        self.current.take_if(|current| match current {
            Current::Write { waiting, .. } => waiting.origin == origin,
            Current::Round { .. } => false,
        });
    }

    /// Forgets what was prepared: it is gone with the epoch.
    pub fn roll_back(&mut self) {
        self.wanted = None;
        if let Some(Current::Write { waiting, .. }) = self.current.take() {
            self.waiting.push_front(*waiting);
        }
    }
}

impl Shard {
    /// The ranges among the deletes of a path that take more than a slice.
    fn large_deletes<'a>(&self, ops: impl Iterator<Item = &'a PathOp>) -> Vec<KeyRange> {
        let deletes = ops.filter_map(|op| match op {
            PathOp::DeleteRange(delete) => Some(&delete.range),
            _ => None,
        });
        let ranges: Vec<&KeyRange> = deletes.filter(|range| range.single_key().is_none()).collect();
        // All that are not prepared come to a slice together.
        let bound = self.reads.slice() / ranges.len().max(1);
        let store = &self.state.store;
        let is_large = |range: &&KeyRange| store.count(range, Revision::NEWEST) > bound as i64;
        ranges.into_iter().filter(is_large).cloned().collect()
    }

    fn deletes_to_prepare(&self, write: &Write) -> Vec<KeyRange> {
        match write {
            Write::Put(_) => Vec::new(),
            Write::DeleteRange(delete) if delete.range.single_key().is_some() => Vec::new(),
            Write::DeleteRange(delete) => {
                let op = PathOp::DeleteRange(delete.clone());
                self.large_deletes(std::iter::once(&op))
            }
            Write::Txn(txn) if !deletes_ranges(txn) => Vec::new(),
            Write::Txn(txn) => {
                let compares = txn::compares(txn).into_iter();
                let holds = compares.map(|it| self.state.store.holds(it, Revision::NEWEST));
                let holds: Vec<bool> = holds.collect();
                self.large_deletes(txn::choose(txn, &holds).ops.iter())
            }
        }
    }

    /// Puts a write aside if its deletes have to be prepared; gives it back if not.
    pub(super) fn put_aside(&mut self, waiting: Waiting) -> Option<Waiting> {
        let ranges = self.deletes_to_prepare(&waiting.write);
        if ranges.is_empty() || self.state.store.is_delete_prepared(&ranges) {
            return Some(waiting);
        }
        self.deleting.waiting.push_back(waiting);
        None
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
        let is_prepared = self.state.store.is_next_prepared(&delete.range);
        let prev_kv = delete.prev_kv && !is_prepared;
        let reply = self.state.store.delete_range(revision, sub, &delete.range, prev_kv);
        if !is_prepared {
            self.deleting.deleted += reply.deleted as usize;
            return (reply, None);
        }
        // The keys' versions from before stay there to be read.
        let all = RangeRequest::of(delete.range.clone());
        let scan = delete.prev_kv.then(|| self.scan(all, Moment::within(revision, sub)));
        (reply, scan)
    }

    /// Whether the evaluation of this turn may delete more.
    pub(super) fn may_delete(&self) -> bool {
        self.deleting.deleted < SLICES_AT_ONCE * self.reads.slice()
    }

    /// The requests of a round whose deletes have to be prepared first.
    fn unprepared(&self, shares: &[RequestShare]) -> Vec<u16> {
        let is_unprepared = |request: &&RequestShare| {
            let ranges = self.large_deletes(request.path.ops_of(self.id).map(|(_, op)| op));
            !ranges.is_empty() && !self.state.store.is_delete_prepared(&ranges)
        };
        shares.iter().filter(is_unprepared).map(|request| request.slot).collect()
    }

    /// Says which requests of a round are to be put off.
    pub(super) fn report_unprepared(
        &self,
        epoch: Epoch,
        round: RoundId,
        shares: &[RequestShare],
        effects: &mut ShardEffects,
    ) {
        let slots = self.unprepared(shares);
        if !slots.is_empty() {
            let shard = self.id;
            effects.reports.push(Report::Unprepared { shard, epoch, round, slots });
        }
    }

    /// Has the deletes of a round's request prepared.
    pub(super) fn prepare(&mut self, epoch: Epoch, round: RoundId, path: &RoutedPath) {
        let ranges = self.large_deletes(path.ops_of(self.id).map(|(_, op)| op));
        self.deleting.wanted = Some((epoch, round, ranges));
        self.deleting.current.take_if(|current| matches!(current, Current::Round { .. }));
    }

    /// The request will not come.
    pub(super) fn abandon(&mut self) {
        self.deleting.wanted = None;
        self.deleting.current.take_if(|current| matches!(current, Current::Round { .. }));
    }

    /// Prepares some; whether there is more to do.
    pub(super) fn prepare_some(&mut self, effects: &mut ShardEffects) -> bool {
        let was_full = !self.may_delete();
        self.deleting.deleted = 0;
        let mut visits = self.reads.slice();
        while self.prepare_next(&mut visits, effects) {}
        let waits = !self.deleting.waiting.is_empty() || self.deleting.wanted.is_some();
        let idle = match &self.deleting.current {
            Some(Current::Round { is_ready, .. }) => *is_ready,
            // It is evaluated when the shard may.
            Some(Current::Write { is_ready, .. }) => {
                *is_ready && !(self.may_evaluate() && self.prepared_has_room())
            }
            None => !waits && !self.state.store.has_delete(),
        };
        !idle || was_full && !self.inbox.is_empty()
    }

    /// Does the next step of what is to be prepared; whether another may follow in this turn.
    fn prepare_next(&mut self, visits: &mut usize, effects: &mut ShardEffects) -> bool {
        let store = &mut self.state.store;
        match &mut self.deleting.current {
            Some(Current::Round { is_ready: true, .. }) if !store.has_delete() => {
                self.deleting.current = None; // It was made.
            }
            Some(Current::Write { is_ready: true, .. } | Current::Round { is_ready: true, .. }) => {
                return false;
            }
            Some(Current::Write { is_ready, .. }) => {
                *is_ready = store.prepare_delete(visits);
                return false;
            }
            Some(Current::Round { epoch, round, is_ready }) => {
                *is_ready = store.prepare_delete(visits);
                if *is_ready {
                    let (shard, epoch, round) = (self.id, *epoch, *round);
                    effects.reports.push(Report::Prepared { shard, epoch, round });
                }
                return false;
            }
            None if store.has_delete() => {
                store.abandon_delete();
                return store.undo_delete(visits);
            }
            None => return self.begin_next(effects),
        }
        true
    }

    /// Takes what is to be prepared next; whether there was something.
    fn begin_next(&mut self, effects: &mut ShardEffects) -> bool {
        if let Some((epoch, round, ranges)) = self.deleting.wanted.take() {
            if ranges.is_empty() {
                effects.reports.push(Report::Prepared { shard: self.id, epoch, round });
                return true;
            }
            self.state.store.begin_delete(&ranges);
            self.deleting.current = Some(Current::Round { epoch, round, is_ready: false });
            return true;
        }
        let Some(waiting) = self.deleting.waiting.pop_front() else { return false };
        let ranges = self.deletes_to_prepare(&waiting.write);
        self.state.store.begin_delete(&ranges);
        let waiting = Box::new(waiting);
        self.deleting.current = Some(Current::Write { waiting, is_ready: false });
        true
    }
}
