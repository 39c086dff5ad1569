//! Reading: never above stable but for a write, never waiting for one, in slices of bounded work.

use std::collections::VecDeque;

use super::reads::{LeaseScan, ReadOwner, Reading};
use super::{Ask, ReadPart, ReadPartReply, Shard, ShardEffects, ShardReply};
use crate::line::message::{CompareShare, Report};
use crate::store::{CompareScan, KeyLookup, Moment, Scan};
use crate::types::txn::{self, PathOp};
use crate::types::{
    Answer, Compare, LeaseId, OpReply, Origin, RangeReply, RangeRequest, Refusal, Reply, Revision,
    Sub, TxnRequest,
};

impl Shard {
    /// A range of one key of this shard, at stable or the revision asked for.
    pub fn range(&mut self, request: &RangeRequest) -> Answer {
        self.counters.ranges += 1;
        let stable = self.sequencer.stable();
        let at = self.state.store.check_revision(request.revision, stable)?;
        let mut reply = self.state.store.range(request, at);
        reply.revision = stable;
        Ok(Reply::Range(reply))
    }

    /// Begins a read of one key at stable, which the caller ends and counts.
    pub fn seek<'a>(&'a self, key: &'a [u8]) -> KeyLookup<'a> {
        self.state.store.seek(key)
    }

    /// A read that [`Shard::seek`] began was answered.
    pub fn count_range(&mut self) {
        self.counters.ranges += 1;
    }

    /// Begins a read. A read of few keys is answered at once, any other in later turns.
    pub(super) fn begin_read(&mut self, origin: Origin, ask: Ask, effects: &mut ShardEffects) {
        let begun = match ask {
            Ask::Range(request) if request.range.single_key().is_some() => {
                let answer = self.range(&request);
                effects.replies.push((origin, ShardReply::Answer(answer)));
                return;
            }
            Ask::Range(request) => self.begin_range(origin, request),
            Ask::ReadTxn(request) => Ok(self.begin_read_txn(origin, request)),
            Ask::Part(part) => match self.begin_part(origin, part) {
                Ok(reading) => Ok(reading),
                Err(refusal) => {
                    effects.replies.push((origin, ShardReply::Part(Err(refusal))));
                    return;
                }
            },
            other => unreachable!("{other:?} is no read"),
        };
        match begun {
            Ok(reading) => self.begin_reading(reading, effects),
            Err(refusal) => effects.replies.push((origin, ShardReply::Answer(Err(refusal)))),
        }
    }

    pub(super) fn scan(&self, range: RangeRequest, at: Moment) -> Scan {
        Scan::new(range, at, self.reads.slice())
    }

    fn begin_range(&mut self, origin: Origin, request: RangeRequest) -> Result<Reading, Refusal> {
        self.counters.ranges += 1;
        let stable = self.sequencer.stable();
        let at = self.state.store.check_revision(request.revision, stable)?;
        let mut reading = Reading::new(ReadOwner::Range { origin, stable });
        reading.range(Sub(0), self.scan(request, Moment::at(at)));
        Ok(reading)
    }

    /// A txn that only reads and concerns this shard alone: all of it at stable.
    fn begin_read_txn(&mut self, origin: Origin, request: TxnRequest) -> Reading {
        let stable = self.sequencer.stable();
        let compares: Vec<Compare> = txn::compares(&request).into_iter().cloned().collect();
        let mut reading = Reading::new(ReadOwner::Txn { origin, request, path: None, stable });
        for (number, compare) in compares.into_iter().enumerate() {
            reading.compare(number as u32, CompareScan::new(compare, Moment::at(stable)));
        }
        reading
    }

    /// This shard's part of a read of several. A compaction may have passed `at` since the router
    /// chose it: the reply says so, and the router starts again.
    fn begin_part(&mut self, origin: Origin, part: ReadPart) -> Result<Reading, Refusal> {
        assert!(part.at <= self.sequencer.stable(), "R3: a read above stable");
        if part.at.0 < self.state.store.compacted() {
            return Err(Refusal::Compacted);
        }
        let mut reading = Reading::new(ReadOwner::Part { origin });
        for (number, compare) in part.compares {
            reading.compare(number, CompareScan::new(compare, Moment::at(part.at)));
        }
        for (sub, range) in part.ranges {
            self.counters.ranges += 1;
            let at = self.state.store.check_revision_in_txn(range.revision, part.at)?.min(part.at);
            reading.range(sub, self.scan(range, Moment::at(at)));
        }
        Ok(reading)
    }

    fn begin_reading(&mut self, reading: Reading, effects: &mut ShardEffects) {
        let mut next = Some(reading);
        while let Some(mut reading) = next.take() {
            if !reading.go_on(&self.state.store, &mut self.reads.visits) {
                return self.reads.put_off(reading);
            }
            next = self.read_through(reading, effects);
        }
    }

    /// Goes on with the reads that are under way, a slice of each in rotation; whether some are
    /// left.
    pub(super) fn read_some(&mut self, effects: &mut ShardEffects) -> bool {
        let begun = self.reads.begin_turn();
        let mut visits = begun;
        while visits > 0
            && let Some((number, mut reading)) = self.reads.next()
        {
            let share = visits.min(self.reads.share());
            let mut left = share;
            let is_through = reading.go_on(&self.state.store, &mut left);
            visits -= share - left;
            let rest = if is_through { self.read_through(reading, effects) } else { Some(reading) };
            if let Some(rest) = rest {
                self.reads.put_back(number, rest);
            }
        }
        let visited = begun - visits + self.reads.slice() - self.reads.visits;
        self.counters.visits += visited as u64;
        self.counters.turn_visits_max = self.counters.turn_visits_max.max(visited as u64);
        self.reads.visits = self.reads.slice();
        self.reads.is_busy()
    }

    /// Ends a read of which everything is there: replies, or returns what has to be read next.
    fn read_through(&mut self, reading: Reading, effects: &mut ShardEffects) -> Option<Reading> {
        let Reading { decided, found, lease_keys, owner, .. } = reading;
        match owner {
            ReadOwner::Range { origin, stable } => {
                let (_, mut reply) = found.into_iter().next().expect("one range");
                reply.revision = stable;
                effects.replies.push((origin, ShardReply::Answer(Ok(Reply::Range(reply)))));
            }
            ReadOwner::Txn { origin, request, path: None, stable } => {
                return self.read_path(origin, request, &decided, stable, effects);
            }
            ReadOwner::Txn { origin, path: Some(path), stable, .. } => {
                let replies = found.into_iter().map(|(_, reply)| OpReply::Range(reply)).collect();
                let reply = Reply::Txn(path.assemble(replies, stable));
                effects.replies.push((origin, ShardReply::Answer(Ok(reply))));
            }
            ReadOwner::Part { origin } => {
                let reply = ReadPartReply { compares: decided, ranges: found };
                effects.replies.push((origin, ShardReply::Part(Ok(reply))));
            }
            ReadOwner::Write { origin, revision, path, replies } => {
                let replies = filled(replies, found).into_iter().map(|(_, reply)| reply);
                let reply = Reply::Txn(path.assemble(replies.collect(), revision));
                self.reply_at(revision, origin, ShardReply::Answer(Ok(reply)), effects);
            }
            ReadOwner::Delete { origin, revision, mut reply } => {
                reply.prev_kvs = found.into_iter().next().expect("one range").1.kvs;
                let reply = ShardReply::Answer(Ok(Reply::DeleteRange(reply)));
                self.reply_at(revision, origin, reply, effects);
            }
            ReadOwner::Lease { origin } => {
                self.push_release(self.seen(), origin, ShardReply::LeaseKeys(lease_keys));
            }
            ReadOwner::Round { epoch, round, slot, replies, .. } => {
                let replies = vec![(slot, filled(replies, found))];
                effects.reports.push(Report::Executed { shard: self.id, epoch, round, replies });
            }
        }
        None
    }

    /// The compares of a txn that only reads are decided: what it reads, if that is no refusal.
    fn read_path(
        &mut self,
        origin: Origin,
        request: TxnRequest,
        decided: &[(u32, CompareShare)],
        stable: Revision,
        effects: &mut ShardEffects,
    ) -> Option<Reading> {
        let holds: Vec<bool> = decided.iter().map(|(_, share)| share.holds).collect();
        let path = txn::choose(&request, &holds);
        let mut scans = VecDeque::new();
        for (position, op) in path.ops.iter().enumerate() {
            let PathOp::Range(range) = op else { unreachable!("the txn only reads") };
            self.counters.ranges += 1;
            match self.state.store.check_revision_in_txn(range.revision, stable) {
                Ok(at) => {
                    let scan = self.scan(range.clone(), Moment::at(at.min(stable)));
                    scans.push_back((txn::sub(position), scan));
                }
                Err(refusal) => {
                    effects.replies.push((origin, ShardReply::Answer(Err(refusal))));
                    return None;
                }
            }
        }
        let owner = ReadOwner::Txn { origin, request, path: Some(path), stable };
        Some(Reading::new(owner).ranges(scans))
    }

    /// Reads a range that is operation `sub` of a write, which has `revision` if it changes
    /// something. What a few keys answer is read at once. Else the scan goes on in later turns: its
    /// moment lies between this write's operations and stays what it is now, so neither this shard
    /// nor its neighbours in a round have to stand still for it.
    pub(super) fn read_in_write(
        &mut self,
        range: &RangeRequest,
        revision: Option<Revision>,
        sub: Sub,
    ) -> Result<RangeReply, Box<Scan>> {
        let store = &self.state.store;
        if range.range.single_key().is_some() {
            let at = if range.revision > 0 { Revision(range.revision) } else { Revision::NEWEST };
            return Ok(store.range(range, at));
        }
        let at = match revision {
            _ if range.revision > 0 => Moment::at(Revision(range.revision)),
            Some(revision) => Moment::within(revision, sub),
            None => store.now(),
        };
        let mut scan = self.scan(range.clone(), at);
        let reply = self.state.store.scan_slice(&mut scan, &mut self.reads.visits);
        reply.ok_or_else(|| Box::new(scan))
    }

    /// Has what a write reads go on in later turns.
    pub(super) fn read_later(&mut self, owner: ReadOwner, scans: VecDeque<(Sub, Scan)>) {
        self.reads.put_off(Reading::new(owner).ranges(scans));
    }

    /// Tells when stable has reached `revision`, which other answers may have passed.
    fn reply_at(
        &mut self,
        revision: Revision,
        origin: Origin,
        reply: ShardReply,
        effects: &mut ShardEffects,
    ) {
        if revision <= self.sequencer.stable() {
            effects.replies.push((origin, reply));
        } else {
            self.reads.wait(revision, origin, reply);
        }
    }

    /// Begins to collect the keys of a lease in the newest state. Which attachments stand is known
    /// of that alone, so the answer waits until stable has reached what it saw. A key that is
    /// attached all the while is told; like keys of other shards, one that comes or goes meanwhile
    /// may be told or not.
    pub(super) fn begin_lease_keys(
        &mut self,
        origin: Origin,
        lease: LeaseId,
        effects: &mut ShardEffects,
    ) {
        let mut reading = Reading::new(ReadOwner::Lease { origin });
        reading.lease = Some(LeaseScan { lease, next: None });
        self.begin_reading(reading, effects);
    }
}

/// Puts what was read later into its place among the other answers.
fn filled(mut replies: Vec<(Sub, OpReply)>, found: Vec<(Sub, RangeReply)>) -> Vec<(Sub, OpReply)> {
    let mut found = found.into_iter().peekable();
    for (sub, reply) in &mut replies {
        if let Some((_, range)) = found.next_if(|(of, _)| of == sub) {
            match reply {
                OpReply::DeleteRange(delete) => delete.prev_kvs = range.kvs,
                _ => *reply = OpReply::Range(range),
            }
        }
    }
    assert!(found.next().is_none(), "what is read later is in the order of the operations");
    replies
}
