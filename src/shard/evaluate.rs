//! Evaluating writes: deciding, against the newest state, what changes.
//!
//! All writes that wait at one turn become one entry of the log. A run of blind puts takes its
//! revisions in one step: nothing can refuse them, so none of those is lost to a refusal (R5).

use std::borrow::Borrow;
use std::collections::VecDeque;

use super::ask::{ShardReply, Waiting, Write};
use super::entry::{ChangesBuilder, HEADER_BYTES};
use super::reads::ReadOwner;
use super::{Proposal, Shard, ShardCounters, ShardEffects, Tailed};
use crate::limits::ENTRY_BYTES_MAX;
use crate::line::message::{RequestExecute, ShareReply, Verdict};
use crate::store::{Scan, Store};
use crate::types::txn::{self, Path, PathOp};
use crate::types::{
    DeleteRangeReply, DeleteRangeRequest, LOGGED_OVERHEAD_BYTES, LeaseId, LogIndex, Nanos, OpReply,
    Origin, PutRequest, RangeReply, Refusal, Reply, Revision, ShardSet, Sub, Tally,
};

/// The result of running a share.
pub(super) struct Ran {
    pub replies: ShareReply,
    /// Ranges that take more than a slice: they go on at the moment at which they stand in the
    /// share, and their place among the replies is empty.
    pub later: VecDeque<(Sub, Scan)>,
}

impl Shard {
    /// Evaluates what waits, as far as the log has room. Returns whether it has taken any of it.
    pub(super) fn evaluate_waiting(&mut self, now: Nanos, effects: &mut ShardEffects) -> bool {
        let mut evaluated = false;
        while self.may_evaluate()
            && self.may_visit()
            && (self.prepared_has_room() || self.next_has_room())
        {
            let Some((epoch, _)) = self.state.opened else { break };
            evaluated = true;
            let mut entry = ChangesBuilder::new(self.stamp(epoch));
            if self.prepared_has_room()
                && let Some(waiting) = self.next_prepared()
            {
                self.evaluate_if_prepared(waiting, now, &mut entry);
            }
            while self.may_visit() {
                let room = ENTRY_BYTES_MAX.saturating_sub(entry.len());
                let (run, bytes) = self.run_of_puts(now, room);
                if run > 0 {
                    entry.reserve(bytes);
                    self.put_run(run, &mut entry);
                    continue;
                }
                let Some(next) = self.inbox.front() else { break };
                let fits = if entry.is_empty() {
                    self.next_has_room()
                } else {
                    next.write.logged_bytes() <= room
                };
                if !fits {
                    break;
                }
                let waiting = self.inbox.pop_front().expect("a front");
                self.evaluate_if_prepared(waiting, now, &mut entry);
            }
            if !entry.is_empty() {
                self.propose_changes(entry);
            }
            self.pump(effects);
        }
        evaluated
    }

    fn evaluate_if_prepared(&mut self, waiting: Waiting, now: Nanos, entry: &mut ChangesBuilder) {
        if let Some((waiting, path)) = self.put_aside(waiting) {
            self.evaluate(waiting, path, now, entry);
        }
    }

    /// A round that waits for room goes first: what is evaluated before it would keep it waiting.
    /// One that waits for what the last freeze held back does not.
    pub(super) fn may_evaluate(&self) -> bool {
        let frozen = self.frozen.is_some() && !crate::teeth::leaves_out(crate::teeth::Rule::Freeze);
        let waits = self.stalled.is_some() && !self.owes;
        self.lane.is_some() && !frozen && !waits && self.room_to_propose()
    }

    /// Whether the log takes what the next write adds at most: asked before a revision is taken
    /// for it, because nothing may refuse it after that. If not, it waits until more is committed.
    fn next_has_room(&self) -> bool {
        let next = self.inbox.front();
        next.is_some_and(|next| self.has_room_for(next.write.logged_bytes()))
    }

    /// Whether an entry with changes of so many bytes would be taken now.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.replica.can_propose(HEADER_BYTES + bytes)
    }

    pub(super) fn is_refusing_puts(&self) -> Option<Refusal> {
        if self.switches.corrupt {
            Some(Refusal::Corrupt)
        } else if self.switches.no_space || self.replica.is_full() {
            Some(Refusal::NoSpace)
        } else {
            None
        }
    }

    /// Counts the writes at the front that are puts which nothing can refuse and that fit, and what
    /// they add to an entry at most.
    fn run_of_puts(&self, now: Nanos, room: usize) -> (usize, usize) {
        let (mut run, mut bytes) = (0, 0);
        if self.is_refusing_puts().is_some() {
            return (run, bytes);
        }
        for waiting in self.inbox.iter() {
            let Write::Put(put) = &waiting.write else { break };
            let more = put.logged_bytes();
            let fits = bytes + more <= room
                && put.lease == LeaseId::NONE
                && !put.keeps()
                && waiting.deadline.is_none_or(|deadline| deadline > now);
            if !fits {
                break;
            }
            (run, bytes) = (run + 1, bytes + more);
        }
        (run, bytes)
    }

    fn put_run(&mut self, run: usize, entry: &mut ChangesBuilder) {
        let lane = self.lane.as_mut().expect("checked: the epoch is open");
        let mut revision = lane.take(run as u64);
        let index = self.next_index();
        for number in 0..run {
            if number.is_multiple_of(Store::PREFETCHED) {
                let keys = self.inbox.iter().take(run - number).filter_map(Waiting::put_key);
                self.state.store.prefetch(keys);
            }
            let waiting = self.inbox.pop_front().expect("counted");
            let Write::Put(put) = waiting.write else { unreachable!("counted as a put") };
            let mut reply = self.state.store.put(revision, Sub(0), &put);
            reply.revision = revision;
            self.counters.put_bytes += (put.key.len() + put.value.len()) as u64;
            let at = (revision, Sub(0));
            entry.put(at, None, &put.key, Some(&put.value), Some(LeaseId::NONE));
            self.state.tail.push_back(Tailed {
                revision,
                index,
                participants: ShardSet::one(self.id),
            });
            self.push_release(revision, waiting.origin, ShardReply::Answer(Ok(Reply::Put(reply))));
            revision = revision.next();
        }
        self.counters.evaluated += run as u64;
        self.counters.puts += run as u64;
        self.counters.put_requests.done += run as u64;
    }

    fn evaluate(
        &mut self,
        waiting: Waiting,
        path: Option<Path>,
        now: Nanos,
        entry: &mut ChangesBuilder,
    ) {
        self.counters.evaluated += 1;
        if waiting.deadline.is_some_and(|deadline| deadline <= now) {
            // Nothing was looked at, so nothing has to be waited for but the answers before it.
            self.refuse(waiting.origin, Refusal::DeadlineExceeded);
            return;
        }
        let refused = self.counters.refused;
        let tally: fn(&mut ShardCounters) -> &mut Tally = match waiting.write {
            Write::Put(put) => {
                self.evaluate_put(waiting.origin, put, entry);
                |counters| &mut counters.put_requests
            }
            Write::DeleteRange(delete) => {
                self.evaluate_delete(waiting.origin, delete, entry);
                |counters| &mut counters.delete_requests
            }
            Write::Txn(txn) => {
                let known = || txn::known(txn).expect("without compares");
                self.evaluate_txn(waiting.origin, path.unwrap_or_else(known), entry);
                |counters| &mut counters.txn_requests
            }
        };
        let is_done = self.counters.refused == refused;
        tally(&mut self.counters).count(is_done);
    }

    fn evaluate_put(&mut self, origin: Origin, put: PutRequest, entry: &mut ChangesBuilder) {
        let share = [(Sub(0), PathOp::Put(put))];
        let refusal = self.refusal_of(&share);
        let invalid = || self.validate(&share, self.sequencer.newest()).err();
        if let Some(refusal) = refusal.or_else(|| invalid().map(|(_, refusal)| refusal)) {
            return self.refuse(origin, refusal);
        }
        let revision = self.take_one();
        let mut replies = self.run_share(&share, Some((revision, None)), entry).replies;
        let Some((_, OpReply::Put(mut reply))) = replies.pop() else { unreachable!("one put") };
        reply.revision = revision;
        self.push_release(revision, origin, ShardReply::Answer(Ok(Reply::Put(reply))));
    }

    fn evaluate_delete(
        &mut self,
        origin: Origin,
        delete: DeleteRangeRequest,
        entry: &mut ChangesBuilder,
    ) {
        if self.switches.corrupt {
            return self.refuse(origin, Refusal::Corrupt);
        }
        if self.state.store.count(&delete.range, Revision::NEWEST) == 0 {
            let revision = self.seen();
            let reply = DeleteRangeReply { revision, ..DeleteRangeReply::default() };
            let reply = ShardReply::Answer(Ok(Reply::DeleteRange(reply)));
            return self.push_release(revision, origin, reply);
        }
        let revision = self.take_one();
        let share = [(Sub(0), PathOp::DeleteRange(delete))];
        let Ran { mut replies, later } = self.run_share(&share, Some((revision, None)), entry);
        let Some((_, OpReply::DeleteRange(mut reply))) = replies.pop() else {
            unreachable!("one delete")
        };
        reply.revision = revision;
        if !later.is_empty() {
            return self.read_later(ReadOwner::Delete { origin, revision, reply }, later);
        }
        self.push_release(revision, origin, ShardReply::Answer(Ok(Reply::DeleteRange(reply))));
    }

    fn evaluate_txn(&mut self, origin: Origin, path: Path, entry: &mut ChangesBuilder) {
        self.counters.txns += 1;
        let ops = path.ops.iter().enumerate();
        let share: Vec<_> = ops.map(|(position, op)| (txn::sub(position), op)).collect();
        if let Some(refusal) = self.refusal_of(&share) {
            return self.refuse(origin, refusal);
        }
        let changes = match self.validate(&share, self.sequencer.newest()) {
            Ok(changes) => changes,
            Err((_, refusal)) => return self.refuse(origin, refusal),
        };
        let revision = if changes { self.take_one() } else { self.seen().max(path.looks_at()) };
        let Ran { replies, later } =
            self.run_share(&share, changes.then_some((revision, None)), entry);
        if !later.is_empty() {
            let owner = ReadOwner::Write { origin, revision, path, replies };
            return self.read_later(owner, later);
        }
        let replies = replies.into_iter().map(|(_, reply)| reply).collect();
        let reply = path.assemble(replies, revision);
        self.push_release(revision, origin, ShardReply::Answer(Ok(Reply::Txn(reply))));
    }

    /// Why the alarms, or a full disk, refuse the share.
    pub(super) fn refusal_of<O: Borrow<PathOp>>(&self, share: &[(Sub, O)]) -> Option<Refusal> {
        let puts = share.iter().any(|(_, op)| matches!(op.borrow(), PathOp::Put(_)));
        // A lease that is going has to go, whatever happens meanwhile.
        let is_asked = |op: &PathOp| op.is_write() && !matches!(op, PathOp::Revoke(_));
        let writes = share.iter().any(|(_, op)| is_asked(op.borrow()));
        if writes && self.switches.corrupt {
            return Some(Refusal::Corrupt);
        }
        if puts { self.is_refusing_puts() } else { None }
    }

    /// Whether the share changes anything, or which operation is refused and why.
    pub(super) fn validate<O: Borrow<PathOp>>(
        &self,
        share: &[(Sub, O)],
        current: Revision,
    ) -> Verdict {
        self.state.store.validate(share, current, &|lease| self.lease_exists(lease))
    }

    /// Whether a key may be attached to `lease`.
    fn lease_exists(&self, lease: LeaseId) -> bool {
        lease == LeaseId::NONE || self.leases.contains(lease)
    }

    /// Runs a share that nothing can refuse any more. With a revision, its changes are kept and
    /// go into `entry`; without one it changes nothing.
    pub(super) fn run_share<O: Borrow<PathOp>>(
        &mut self,
        share: &[(Sub, O)],
        change: Option<(Revision, Option<ShardSet>)>,
        entry: &mut ChangesBuilder,
    ) -> Ran {
        let mut replies = ShareReply::with_capacity(share.len());
        let mut later = VecDeque::new();
        let mut participants = change.and_then(|(_, participants)| participants);
        let logged = entry.len();
        for (sub, op) in share {
            let reply = match (op.borrow(), change) {
                (PathOp::Range(range), _) => {
                    self.counters.ranges += 1;
                    let revision = change.map(|(revision, _)| revision);
                    let reply = self.read_in_write(range, revision, *sub).unwrap_or_else(|scan| {
                        later.push_back((*sub, *scan));
                        RangeReply::default()
                    });
                    OpReply::Range(reply)
                }
                (PathOp::Put(put), Some((revision, _))) => {
                    self.counters.puts += 1;
                    self.counters.put_bytes += (put.key.len() + put.value.len()) as u64;
                    let value = (!put.ignore_value).then_some(&put.value[..]);
                    let lease = (!put.ignore_lease).then_some(put.lease);
                    entry.put((revision, *sub), participants.take(), &put.key, value, lease);
                    OpReply::Put(self.state.store.put(revision, *sub, put))
                }
                (PathOp::DeleteRange(delete), Some((revision, _))) => {
                    let (reply, previous) = self.delete(delete, revision, *sub);
                    later.extend(previous.map(|scan| (*sub, scan)));
                    if reply.deleted > 0 {
                        self.counters.deletes += 1;
                        let count = reply.deleted as u64;
                        let at = (revision, *sub);
                        entry.delete_range(at, participants.take(), &delete.range, count);
                    }
                    OpReply::DeleteRange(reply)
                }
                (PathOp::Revoke(lease), Some((revision, _))) => {
                    let count = self.revoke(*lease, revision, *sub);
                    self.counters.deletes += 1;
                    entry.delete_lease_keys((revision, *sub), participants.take(), *lease, count);
                    let deleted = count as i64;
                    OpReply::DeleteRange(DeleteRangeReply { deleted, ..Default::default() })
                }
                (PathOp::DeleteRange(_) | PathOp::Revoke(_), None) => {
                    OpReply::DeleteRange(DeleteRangeReply::default())
                }
                (PathOp::Put(_), None) => unreachable!("a put changes something"),
            };
            replies.push((*sub, reply));
        }
        if let Some((revision, participants)) = change {
            assert!(entry.len() > logged, "revision {revision} was taken for nothing");
            let participants = participants.unwrap_or(ShardSet::one(self.id));
            let index = self.next_index();
            self.state.tail.push_back(Tailed { revision, index, participants });
        }
        Ran { replies, later }
    }

    /// Runs the blind paths of a round, which have nothing to report.
    pub(super) fn run_blind(&mut self, shares: &[RequestExecute], entry: &mut ChangesBuilder) {
        let index = self.next_index();
        let mut puts =
            Vec::with_capacity(shares.iter().map(|share| share.path.path().ops.len()).sum());
        for (slot, share) in shares.iter().enumerate() {
            puts.extend(share.path.puts_of(self.id).map(|(sub, put)| (slot, sub, put)));
        }
        let bytes = puts.iter().map(|(_, _, put)| put.key.len() + put.value.len()).sum::<usize>();
        entry.reserve(bytes + puts.len() * LOGGED_OVERHEAD_BYTES);
        self.counters.put_bytes += bytes as u64;
        let mut logged = None;
        for (number, &(slot, sub, put)) in puts.iter().enumerate() {
            if number % Store::PREFETCHED == 0 {
                self.state.store.prefetch(puts[number..].iter().map(|(_, _, put)| &put.key[..]));
            }
            let (revision, participants) = shares[slot].change.expect("a blind path changes");
            let is_first = logged.replace(slot) != Some(slot);
            entry.put(
                (revision, sub),
                is_first.then_some(participants),
                &put.key,
                Some(&put.value),
                Some(LeaseId::NONE),
            );
            self.state.store.put(revision, sub, put);
            if is_first {
                self.state.tail.push_back(Tailed { revision, index, participants });
            }
        }
        self.counters.puts += puts.len() as u64;
    }

    /// Logs the changes of one turn.
    pub(super) fn propose_changes(&mut self, entry: ChangesBuilder) {
        let (last, bytes, operations) = (entry.last_revision(), entry.len(), entry.operations());
        let expected = self.next_index();
        let index = self
            .replica
            .propose(entry.finish())
            .unwrap_or_else(|dropped| panic!("shard {}: a checked proposal: {dropped:?}", self.id));
        assert_eq!(index, expected, "shard {}: an entry went elsewhere", self.id);
        let term = self.replica.term();
        self.proposals.push_back(Proposal { index, term, last, bytes });
        self.proposed_bytes += bytes;
        self.counters.entries += 1;
        self.counters.operations.add(operations as u64);
    }

    pub(super) fn next_index(&self) -> LogIndex {
        LogIndex(self.replica.last_index().0 + 1)
    }

    fn take_one(&mut self) -> Revision {
        self.lane.as_mut().expect("checked: the epoch is open").take(1)
    }

    /// The header of an answer without effect: it saw pending changes, so it waits for them.
    pub(super) fn seen(&self) -> Revision {
        let queued = self.releases.back().map_or(Revision::EMPTY, |release| release.revision);
        self.state.store.newest().max(self.sequencer.stable()).max(queued)
    }

    fn refuse(&mut self, origin: Origin, refusal: Refusal) {
        self.counters.refused += 1;
        self.push_release(self.seen(), origin, ShardReply::Answer(Err(refusal)));
    }
}
