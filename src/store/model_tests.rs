//! The store against the model: random lives, every answer compared.
//!
//! A life is one seed. It has a store that is written to and evaluated against (with pending
//! changes, roll-backs, compaction in slices, defragmenting, checkpoint and load in the middle),
//! a replica that applies what the first one settled and compacts at its own pace, and the model.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::chance::Chance;
use crate::types::txn::PathOp;
use crate::types::{
    Compare, CompareOperand, CompareOperator, DeleteRangeRequest, KeyRange, LeaseId, OpReply,
    PutRequest, RangeEnd, RangeFilters, RangeReply, RangeRequest, Refusal, Revision, SortOrder,
    SortTarget, Sub,
};

use super::model::Model;
use super::{CheckpointCursor, HashCursor, Store, combine};

/// Leases that the tests say exist.
const LEASES: RangeInclusive<i64> = 1..=6;

/// What a replica is sent.
enum Applied {
    /// As it is logged: what the put keeps is named.
    Put {
        sub: Sub,
        key: Bytes,
        value: Option<Bytes>,
        lease: Option<LeaseId>,
    },
    Delete {
        sub: Sub,
        range: KeyRange,
        expected: u64,
    },
    Revoke {
        lease: LeaseId,
        expected: u64,
    },
}

struct Life {
    chance: Chance,
    keys: usize,
    store: Store,
    model: Model,
    /// The newest revision handed out.
    newest: i64,
    stable: i64,
    target: i64,
    replica: Store,
    /// Changes above the replica's newest, by revision.
    unsent: Vec<(i64, Applied)>,
}

impl Life {
    fn new(seed: u64, keys: usize) -> Life {
        Life {
            chance: Chance::new(seed),
            keys,
            store: Store::new(),
            model: Model::default(),
            newest: 1,
            stable: 1,
            target: -1,
            replica: Store::new(),
            unsent: Vec::new(),
        }
    }

    /// Keys of many lengths: with shared prefixes longer than a head, zero bytes at the end, and
    /// keys that are prefixes of others.
    fn key(&mut self) -> Bytes {
        let n = self.chance.slot(self.keys);
        let mut key = match n % 4 {
            0 => format!("/registry/pods/default/{:04}", n / 4).into_bytes(),
            1 => vec![b'a'; 1 + n / 4 % 40],
            2 => (n as u16).to_be_bytes().to_vec(),
            _ => format!("/r{}", n / 4).into_bytes(),
        };
        if n % 4 == 1 {
            key.push((n / 160) as u8);
        }
        key.extend(std::iter::repeat_n(0, n % 3));
        if n.is_multiple_of(97) {
            key.insert(0, 0xff);
        }
        Bytes::from(key)
    }

    fn range(&mut self) -> KeyRange {
        let start = self.key();
        let end = match self.chance.slot(8) {
            0 | 1 => RangeEnd::Single,
            2 => RangeEnd::Unbounded,
            3 => return KeyRange::all(),
            // Empty at times.
            _ => RangeEnd::Before(self.key()),
        };
        KeyRange { start, end }
    }

    /// A range of few keys, so that deletions leave something.
    fn small_range(&mut self) -> KeyRange {
        let start = self.key();
        if self.chance.one_in(60) {
            return self.range();
        }
        let mut end = start.to_vec();
        match self.chance.slot(3) {
            0 => return KeyRange::single(start),
            1 => end.push(b'5'),
            _ => *end.last_mut().expect("not empty") |= 3,
        }
        KeyRange { start, end: RangeEnd::Before(Bytes::from(end)) }
    }

    fn put_request(&mut self) -> PutRequest {
        let length = self.chance.slot(12);
        let value = Bytes::from(vec![self.chance.slot(5) as u8; length]);
        let mut put = PutRequest::of(self.key(), value);
        if self.chance.one_in(3) {
            put.lease = LeaseId(self.chance.in_range(LEASES));
        }
        put.prev_kv = self.chance.one_in(2);
        if self.chance.one_in(5) {
            put.ignore_value = true;
            put.value = Bytes::new();
        }
        if self.chance.one_in(5) {
            put.ignore_lease = true;
            put.lease = LeaseId::NONE;
        }
        put
    }

    /// A revision that may be read.
    fn at(&mut self) -> Revision {
        match self.chance.slot(4) {
            0 => Revision::NEWEST,
            1 => Revision(self.stable.max(self.target)),
            _ => Revision(self.chance.in_range(self.target.max(1)..=self.newest)),
        }
    }

    fn range_request(&mut self) -> RangeRequest {
        let mut request = RangeRequest::of(self.range());
        request.limit = if self.chance.one_in(2) { 0 } else { self.chance.slot(8) as u64 };
        request.order = self.chance.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
        if self.chance.one_in(2) {
            request.target = self.chance.pick(&[
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]);
        }
        request.keys_only = self.chance.one_in(3);
        request.count_only = self.chance.one_in(8);
        if self.chance.one_in(3) {
            let mut bound = || {
                if self.chance.one_in(2) { 0 } else { self.chance.in_range(1..=self.newest + 1) }
            };
            request.filters = RangeFilters {
                min_mod: bound(),
                max_mod: bound(),
                min_create: bound(),
                max_create: bound(),
            };
        }
        request
    }

    fn compare_request(&mut self) -> Compare {
        let range = if self.chance.one_in(3) { self.range() } else { self.small_range() };
        let revision = self.chance.in_range(0..=self.newest);
        let operand = match self.chance.slot(5) {
            0 => CompareOperand::Version(self.chance.in_range(0..=3)),
            1 => CompareOperand::Create(revision),
            2 => CompareOperand::Mod(revision),
            3 => CompareOperand::Lease(self.chance.in_range(0..=6)),
            _ => {
                let length = self.chance.slot(4);
                CompareOperand::Value(Bytes::from(vec![self.chance.slot(5) as u8; length]))
            }
        };
        let operator = self.chance.pick(&[
            CompareOperator::Equal,
            CompareOperator::NotEqual,
            CompareOperator::Less,
            CompareOperator::Greater,
        ]);
        Compare { range, operator, operand }
    }

    /// One operation.
    fn step(&mut self) {
        match self.chance.slot(100) {
            0..24 => self.single_put(),
            24..31 => self.single_delete(),
            31..40 => self.path(),
            40..44 => self.stable = self.chance.in_range(self.stable..=self.newest),
            44 => self.roll_back(),
            45..50 => self.compact(),
            50..60 => self.read_key(),
            60..74 => self.read_range(),
            74..82 => self.count(),
            82..90 => self.compare(),
            90..92 => self.lease_keys(),
            92 => self.end_lease(),
            93..97 => self.changes(),
            97 => self.replicate(),
            98 => {
                self.store.defragment_slice(self.chance.slot(20));
            }
            _ => self.now_and_then(),
        }
    }

    fn single_put(&mut self) {
        let put = self.put_request();
        let ops = [(Sub(0), PathOp::Put(put.clone()))];
        let current = Revision(self.newest);
        let checked = self.store.validate(&ops, current, &|lease| LEASES.contains(&lease.0));
        let exists = self.model.get(&put.key, i64::MAX).is_some();
        if (put.ignore_value || put.ignore_lease) && !exists {
            assert_eq!(checked, Err((Sub(0), Refusal::KeyNotFound)));
            return;
        }
        assert_eq!(checked, Ok(true));
        self.newest += 1;
        let reply = self.store.put(Revision(self.newest), Sub(0), &put);
        let old = self.model.put(self.newest, 0, &put);
        assert_eq!(reply.prev_kv, old.filter(|_| put.prev_kv));
        assert_eq!(reply.revision, Revision(self.newest));
        self.send_put(Sub(0), &put);
    }

    fn send_put(&mut self, sub: Sub, put: &PutRequest) {
        let value = (!put.ignore_value).then(|| put.value.clone());
        let lease = (!put.ignore_lease).then_some(put.lease);
        let applied = Applied::Put { sub, key: put.key.clone(), value, lease };
        self.unsent.push((self.newest, applied));
    }

    fn single_delete(&mut self) {
        let range = self.small_range();
        let prev_kv = self.chance.one_in(2);
        if self.model.seen(&range, i64::MAX).is_empty() {
            let ops = [(Sub(0), PathOp::DeleteRange(DeleteRangeRequest { range, prev_kv }))];
            assert_eq!(self.store.validate(&ops, Revision(self.newest), &|_| true), Ok(false));
            return;
        }
        self.newest += 1;
        let reply = self.store.delete_range(Revision(self.newest), Sub(0), &range, prev_kv);
        let gone = self.model.delete(self.newest, 0, &range);
        assert_eq!(reply.deleted, gone.len() as i64);
        let expected = gone.len() as u64;
        assert_eq!(reply.prev_kvs, if prev_kv { gone } else { Vec::new() });
        self.unsent.push((self.newest, Applied::Delete { sub: Sub(0), range, expected }));
    }

    fn end_lease(&mut self) {
        let lease = LeaseId(self.chance.in_range(LEASES));
        let ops = [(Sub(0), PathOp::Revoke(lease))];
        let keys = self.model.lease_keys(lease);
        let checked = self.store.validate(&ops, Revision(self.newest), &|_| false);
        assert_eq!(checked, Ok(!keys.is_empty()));
        let replies = self.store.execute(&ops, Revision(self.newest + 1));
        let [OpReply::DeleteRange(reply)] = &replies[..] else { panic!("one deletion") };
        assert_eq!(reply.deleted, keys.len() as i64);
        if keys.is_empty() {
            return;
        }
        self.newest += 1;
        for key in &keys {
            let range = KeyRange::single(Bytes::from(key.clone()));
            assert_eq!(self.model.delete(self.newest, 0, &range).len(), 1);
        }
        assert_eq!(self.store.lease_keys(lease).count(), 0);
        let expected = keys.len() as u64;
        self.unsent.push((self.newest, Applied::Revoke { lease, expected }));
    }

    /// A txn's path, of operations whose ordinals have gaps, as a shard sees it.
    fn path(&mut self) {
        let mut ops = Vec::new();
        let mut sub = 0;
        for _ in 0..1 + self.chance.slot(5) {
            sub += 1 + self.chance.slot(2) as u32;
            let op = match self.chance.slot(5) {
                0 | 1 => PathOp::Put(self.put_request()),
                2 | 3 => {
                    let prev_kv = self.chance.one_in(2);
                    PathOp::DeleteRange(DeleteRangeRequest { range: self.small_range(), prev_kv })
                }
                _ => {
                    let mut request = self.range_request();
                    if self.chance.one_in(2) {
                        request.revision = self.chance.in_range(-4..=self.newest + 1);
                    }
                    PathOp::Range(request)
                }
            };
            ops.push((Sub(sub), op));
        }
        if self.chance.one_in(3)
            && let Some((_, PathOp::Put(put))) = ops.first()
        {
            // The same key again, in one revision.
            let again = PutRequest { key: put.key.clone(), ..self.put_request() };
            ops.push((Sub(sub + 1), PathOp::Put(again)));
        }
        let missing = self.chance.in_range(0..=20);
        let exists = |lease: LeaseId| lease.0 != missing;
        let checked = self.store.validate(&ops, Revision(self.newest), &exists);
        let (replies, changes) = match self.model_path(&ops, &exists) {
            Err(refusal) => {
                self.model.roll_back(self.newest);
                return assert_eq!(checked, Err(refusal));
            }
            Ok(done) => done,
        };
        assert_eq!(checked, Ok(changes));
        // The revision counts only if something changes; executing then has no effect either.
        let revision = self.newest + 1;
        let found = self.store.execute(&ops, Revision(revision));
        assert_eq!(without_headers(found), replies);
        if changes {
            self.newest = revision;
            self.send_path(&ops);
        }
    }

    /// The path on the model. After a refusal some of it is done.
    fn model_path(
        &mut self,
        ops: &[(Sub, PathOp)],
        exists: &dyn Fn(LeaseId) -> bool,
    ) -> Result<(Vec<OpReply>, bool), (Sub, Refusal)> {
        let model = &mut self.model;
        let revision = self.newest + 1;
        let mut replies = Vec::new();
        let mut changes = false;
        for (sub, op) in ops {
            replies.push(match op {
                PathOp::Range(request) => {
                    if request.revision > self.newest {
                        return Err((*sub, Refusal::FutureRevision));
                    }
                    if request.revision != 0 && request.revision < self.target {
                        return Err((*sub, Refusal::Compacted));
                    }
                    let at = if request.revision <= 0 { i64::MAX } else { request.revision };
                    OpReply::Range(model.range(request, at))
                }
                PathOp::Put(put) => {
                    if put.lease != LeaseId::NONE && !exists(put.lease) {
                        return Err((*sub, Refusal::LeaseNotFound));
                    }
                    let needs_key = put.ignore_value || put.ignore_lease;
                    if needs_key && model.get(&put.key, i64::MAX).is_none() {
                        return Err((*sub, Refusal::KeyNotFound));
                    }
                    changes = true;
                    let old = model.put(revision, sub.0, put).filter(|_| put.prev_kv);
                    OpReply::Put(crate::types::PutReply { revision: Revision(0), prev_kv: old })
                }
                PathOp::DeleteRange(delete) => {
                    let gone = model.delete(revision, sub.0, &delete.range);
                    changes |= !gone.is_empty();
                    OpReply::DeleteRange(crate::types::DeleteRangeReply {
                        revision: Revision(0),
                        deleted: gone.len() as i64,
                        prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
                    })
                }
                PathOp::Revoke(_) => unreachable!("no txn holds it"),
            });
        }
        Ok((replies, changes))
    }

    /// Sends the effects of a path: what each put left, what each deletion hit.
    fn send_path(&mut self, ops: &[(Sub, PathOp)]) {
        for (sub, op) in ops {
            let changed = |versions: &&super::model::ModelVersion| {
                versions.revision == self.newest && versions.sub == sub.0
            };
            match op {
                PathOp::Range(_) => {}
                PathOp::Put(put) => {
                    let found = self.model.keys[&put.key[..]].iter().find(changed);
                    assert!(found.is_some_and(|version| version.put.is_some()), "put here");
                    self.send_put(*sub, put);
                }
                PathOp::DeleteRange(delete) => {
                    let hit = |versions: &&Vec<_>| versions.iter().any(|v| changed(&v));
                    let expected = self.model.keys.values().filter(hit).count() as u64;
                    let range = delete.range.clone();
                    let applied = Applied::Delete { sub: *sub, range, expected };
                    self.unsent.push((self.newest, applied));
                }
                PathOp::Revoke(_) => unreachable!("no txn holds it"),
            }
        }
    }

    fn roll_back(&mut self) {
        self.store.settle(Revision(self.stable));
        let cut = self.chance.in_range(self.stable..=self.newest);
        let count = self.model.roll_back(cut);
        assert_eq!(self.store.roll_back(Revision(cut)), count);
        self.newest = cut;
        self.unsent.retain(|(revision, _)| *revision <= cut);
        self.check_whole();
    }

    fn compact(&mut self) {
        if self.chance.one_in(3) {
            let target = self.chance.in_range(self.target..=self.stable);
            // Mostly near stable or not at all, so that there is something on both sides.
            let target = if self.chance.one_in(4) { self.stable } else { target };
            self.store.set_compaction(Revision(target));
            self.target = self.target.max(target);
            assert_eq!(self.store.compacted(), self.target);
        }
        let floor = self.chance.in_range(1..=self.stable);
        let floor = if self.chance.one_in(2) { self.stable } else { floor };
        let slice = 1 + self.chance.slot(20);
        self.store.compact_slice(Revision(floor), slice);
    }

    fn read_key(&mut self) {
        let (key, at) = (self.key(), self.at());
        let expected = self.model.get(&key, at.0);
        assert_eq!(self.store.has(&key, at), expected.is_some());
        assert_eq!(self.store.get(&key, at), expected);
    }

    fn read_range(&mut self) {
        let (request, at) = (self.range_request(), self.at());
        let reply = self.store.range(&request, at);
        let expected = self.model.range(&request, at.0);
        let header = if at == Revision::NEWEST { self.store.newest() } else { at };
        assert_eq!(reply.revision, header);
        assert_eq!(RangeReply { revision: Revision(0), ..reply }, expected, "{request:?} {at}");
    }

    fn count(&mut self) {
        let (range, at) = (self.range(), self.at());
        let expected = self.model.seen(&range, at.0).len() as i64;
        assert_eq!(self.store.count(&range, at), expected, "{range:?} at {at}");
    }

    fn compare(&mut self) {
        let (compare, at) = (self.compare_request(), self.at());
        let expected = self.model.holds(&compare, at.0);
        let share = self.store.holds_share(&compare, at);
        assert_eq!(combine(&compare, [share]), expected, "{compare:?} at {at}");
        // As two shards would answer it, one with the keys below `middle`.
        let KeyRange { start, end } = compare.range.clone();
        let middle = self.key();
        let left_end = match &end {
            RangeEnd::Single => return,
            RangeEnd::Before(end) if *end < middle => end.clone(),
            _ => middle.clone(),
        };
        let left = KeyRange { start: start.clone(), end: RangeEnd::Before(left_end) };
        let right = KeyRange { start: start.max(middle), end };
        let shares = [left, right]
            .map(|range| self.store.holds_share(&Compare { range, ..compare.clone() }, at));
        assert_eq!(combine(&compare, shares), expected, "{compare:?} at {at} in shares");
    }

    fn lease_keys(&mut self) {
        let lease = LeaseId(self.chance.in_range(LEASES));
        let found: Vec<Vec<u8>> = self.store.lease_keys(lease).map(|key| key.to_vec()).collect();
        assert_eq!(found, self.model.lease_keys(lease));
    }

    fn changes(&mut self) {
        let range = self.range();
        let from = self.chance.in_range(self.target.max(1) - 1..=self.newest);
        let to = self.chance.in_range(from..=self.newest);
        let limit = 1 + self.chance.slot(10);
        let expected = self.model.changes(&range, from, to, limit);
        assert_eq!(self.store.changes(&range, Revision(from), Revision(to), limit), expected);
        // In pieces it is the same.
        let mut pieces = Vec::new();
        let mut next = Revision(from);
        while next < Revision(to) {
            let visits = 1 + self.chance.slot(30);
            let found = self.store.changes_slice(&range, next, Revision(to), 3, visits);
            assert!(found.through > next, "a slice gets on");
            pieces.extend(found.list);
            next = found.through;
        }
        assert_eq!(pieces, self.model.changes(&range, from, to, usize::MAX));
    }

    /// The replica applies some of what is stable, compacts a little, and must agree.
    fn replicate(&mut self) {
        let upto = self.chance.in_range(self.stable.min(self.replica.newest().0)..=self.stable);
        let sent = self.unsent.iter().take_while(|(revision, _)| *revision <= upto).count();
        for (revision, applied) in self.unsent.drain(..sent) {
            let revision = Revision(revision);
            match applied {
                Applied::Put { sub, key, value, lease } => {
                    let put = self.replica.apply_put(revision, sub, &key, value.as_deref(), lease);
                    assert_eq!(put, Ok(()));
                }
                Applied::Revoke { lease, expected } => {
                    let wrong =
                        self.replica.apply_delete_lease_keys(revision, Sub(0), lease, expected + 1);
                    let found = expected;
                    assert_eq!(
                        wrong,
                        Err(crate::store::Mismatch { expected: expected + 1, found })
                    );
                    let applied =
                        self.replica.apply_delete_lease_keys(revision, Sub(0), lease, expected);
                    assert_eq!(applied, Ok(()));
                }
                Applied::Delete { sub, range, expected } => {
                    let before = hash(&self.replica, revision);
                    let wrong =
                        self.replica.apply_delete_range(revision, sub, &range, expected + 1);
                    assert_eq!(wrong.expect_err("one more").found, expected);
                    assert_eq!(hash(&self.replica, revision), before, "refused without effect");
                    let right = self.replica.apply_delete_range(revision, sub, &range, expected);
                    right.expect("the replicas agree");
                }
            }
        }
        self.replica.set_compaction(Revision(self.target));
        if self.target <= upto {
            let floor = self.chance.in_range(1..=upto);
            let slice = 1 + self.chance.slot(200);
            self.replica.compact_slice(Revision(floor), slice);
            let at = Revision(self.chance.in_range(self.target.max(1)..=upto));
            assert_eq!(hash(&self.replica, at), hash(&self.store, at), "at {at}");
        }
    }

    fn now_and_then(&mut self) {
        match self.chance.slot(8) {
            0 | 1 => self.check_whole(),
            2 => self.checkpoint(),
            3 => {
                let mut slices = 0;
                while !self.store.compact_slice(Revision(self.stable), 10) {
                    slices += 1;
                }
                let kept = self.model.kept(self.store.compacted().min(self.stable), i64::MAX);
                assert_eq!(held(&self.store), kept, "after {slices} slices");
            }
            4 => while !self.store.defragment_slice(1 + self.chance.slot(50)) {},
            _ => {
                let mut cursor = HashCursor::new(Revision(self.newest));
                let slice = 1 + self.chance.slot(30);
                let in_slices = loop {
                    if let Some(hash) = self.store.hash_slice(&mut cursor, slice) {
                        break hash;
                    }
                };
                assert_eq!(in_slices, hash(&self.store, Revision(self.newest)));
                assert_eq!(cursor.compacted(), self.target);
            }
        }
    }

    /// Takes a checkpoint while the store is written to and compacted, and loads it.
    fn checkpoint(&mut self) {
        let upto = self.stable;
        let mut cursor = CheckpointCursor::new();
        let mut loaded = Store::new();
        let mut chunk = Vec::new();
        loop {
            let slice = 1 + self.chance.slot(400);
            let is_done =
                self.store.checkpoint_slice(&mut cursor, Revision(upto), slice, &mut chunk);
            loaded.load_chunk(&chunk).expect("a chunk of our own");
            chunk.clear();
            if is_done {
                break;
            }
            for _ in 0..self.chance.slot(3) {
                match self.chance.slot(4) {
                    0 => self.single_delete(),
                    1 => self.compact(),
                    _ => self.single_put(),
                }
            }
        }
        loaded.finish_load(cursor.compacted());
        // The store may have been compacted beyond the checkpoint meanwhile.
        if loaded.compacted() <= upto {
            let at = Revision(upto);
            assert_eq!(hash(&loaded, at), hash(&self.store, at), "as far as it went");
        }
        let mut model = self.model.clone();
        model.roll_back(upto);
        if self.chance.one_in(2) {
            // Live on from the checkpoint: what came after is lost.
            self.stable = upto;
            self.newest = upto;
            self.unsent.retain(|(revision, _)| *revision <= upto);
            if self.target > upto {
                // No log said so before the crash; nothing below it may be read all the same.
                self.newest = self.target;
                self.stable = self.target;
            }
            (self.store, self.model) = (loaded, model);
            self.check_whole();
        }
    }

    /// Everything at once, invariants too.
    fn check_whole(&mut self) {
        self.store.tree.assert_invariants();
        let newest = self.model.seen(&KeyRange::all(), i64::MAX);
        let all = RangeRequest::of(KeyRange::all());
        assert_eq!(self.store.range(&all, Revision::NEWEST).kvs, newest);
        let at = self.at();
        assert_eq!(self.store.range(&all, at).kvs, self.model.seen(&KeyRange::all(), at.0));
        let mut counts: Vec<(LeaseId, usize)> = LEASES
            .map(|id| (LeaseId(id), newest.iter().filter(|kv| kv.lease.0 == id).count()))
            .collect();
        counts.retain(|(_, count)| *count > 0);
        assert_eq!(self.store.leases.counts(), counts);
        check_size(&self.store, newest.len() as u64);
    }
}

/// Every version that is in memory.
fn held(store: &Store) -> Vec<(Vec<u8>, i64, u32)> {
    let mut held = Vec::new();
    store.tree.walk_from(&[], &mut |records, _| {
        for record in records {
            for version in record.versions() {
                let stamp = version.stamp();
                held.push((record.key.to_vec(), stamp.modified, stamp.sub));
            }
        }
        std::ops::ControlFlow::Continue(())
    });
    held
}

/// The counters are those of a store that came to hold just this.
fn check_size(store: &Store, keys: u64) {
    let mut sizes = super::size::Sizes::default();
    store.tree.walk_from(&[], &mut |records, _| {
        for record in records {
            sizes.add_key(&record.key);
            record.versions().for_each(|version| sizes.add_version(version));
        }
        std::ops::ControlFlow::Continue(())
    });
    let size = store.size();
    assert_eq!((size.keys, size.versions, size.in_use), (keys, sizes.versions, sizes.in_use));
    assert!(size.held >= size.in_use);
}

fn hash(store: &Store, at: Revision) -> u32 {
    let mut cursor = HashCursor::new(at);
    store.hash_slice(&mut cursor, usize::MAX).expect("one slice is enough")
}

/// Headers of a path's replies are put in elsewhere.
fn without_headers(mut replies: Vec<OpReply>) -> Vec<OpReply> {
    for reply in &mut replies {
        match reply {
            OpReply::Range(range) => range.revision = Revision(0),
            OpReply::Put(put) => put.revision = Revision(0),
            OpReply::DeleteRange(delete) => delete.revision = Revision(0),
            OpReply::Txn(_) => unreachable!("a path holds no nested txn"),
        }
    }
    replies
}

/// Lives of `steps` operations each.
fn live(seeds: std::ops::Range<u64>, keys: usize, steps: usize) {
    for seed in seeds {
        let mut life = Life::new(seed, keys);
        for step in 0..steps {
            let run = std::panic::AssertUnwindSafe(|| life.step());
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("seed {seed}, {keys} keys, step {step}");
                std::panic::resume_unwind(panic);
            }
        }
        life.check_whole();
    }
}

#[test]
fn deep_histories_of_few_keys() {
    live(100..200, 12, 4000);
}

#[test]
fn some_keys() {
    live(300..440, 120, 5000);
}

#[test]
fn many_keys() {
    live(500..515, 3000, 20_000);
}
