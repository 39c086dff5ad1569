//! The store as anybody would write it who need not care for speed, shards or disks: one list of
//! versions for each key, every request carried out on one revision.
//!
//! It is written from etcd's rules, not from the engine's code: txns are walked as the trees they
//! are, and every answer is found by looking at all keys. That a lease is there is not its concern.

use std::collections::BTreeMap;

use crate::types::{
    Blob, Compare, CompareOperand, CompareOperator, DeleteRangeReply, DeleteRangeRequest, KeyRange,
    KeyValue, LeaseId, Op, OpReply, PutReply, PutRequest, RangeReply, RangeRequest, Refusal, Reply,
    Request, Revision, SortOrder, SortTarget, TxnReply, TxnRequest,
};

/// The change that a revision made to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub sub: u32,
    pub key: Vec<u8>,
    /// `None` is a tombstone.
    pub put: Option<KeyValue>,
}

/// Every version of every key, in the order of the line.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: BTreeMap<Vec<u8>, Vec<(i64, Option<KeyValue>)>>,
}

impl Model {
    /// Appends a revision.
    pub fn push(&mut self, revision: i64, changes: &[Change]) {
        for change in changes {
            let versions = self.keys.entry(change.key.clone()).or_default();
            versions.push((revision, change.put.clone()));
        }
    }

    /// Forgets everything above `cut`.
    pub fn roll_back(&mut self, cut: i64) {
        for versions in self.keys.values_mut() {
            versions.retain(|(revision, _)| *revision <= cut);
        }
    }

    /// Returns what `range` shows at `at`.
    pub fn seen(&self, range: &KeyRange, at: i64) -> Vec<KeyValue> {
        View { model: self, begin: at, changes: Vec::new() }.seen(range, at)
    }

    /// The keys that are attached to `lease` at `at`, in order.
    pub fn keys_of(&self, lease: LeaseId, at: i64) -> Vec<Vec<u8>> {
        let attached = |key: &&Vec<u8>| self.get(key, at).is_some_and(|kv| kv.lease == lease);
        self.keys.keys().filter(attached).cloned().collect()
    }

    /// A key as it is at `at`.
    pub fn get(&self, key: &[u8], at: i64) -> Option<&KeyValue> {
        let versions = self.keys.get(key)?;
        let end = versions.partition_point(|(revision, _)| *revision <= at);
        versions[..end].last()?.1.as_ref()
    }

    /// Carries `request` out on the state at `begin`: its answer, and what it changes, which then
    /// is the next revision.
    pub fn evaluate(&self, request: &Request, begin: i64) -> Result<(Reply, Vec<Change>), Refusal> {
        let mut view = View { model: self, begin, changes: Vec::new() };
        let reply = match request {
            Request::Range(range) => {
                let at = if range.revision > 0 { range.revision } else { begin };
                let mut reply = view.range(range, at);
                reply.revision = Revision(begin);
                Reply::Range(reply)
            }
            Request::Put(put) => Reply::Put(view.put(0, put)?),
            Request::DeleteRange(delete) => Reply::DeleteRange(view.delete(0, delete)),
            Request::Txn(txn) => Reply::Txn(view.txn(txn)?),
            other => unreachable!("{other:?} is not for the store"),
        };
        Ok((reply, view.changes))
    }
}

/// The state that an operation of a request sees.
struct View<'m> {
    model: &'m Model,
    begin: i64,
    changes: Vec<Change>,
}

impl View<'_> {
    fn header(&self) -> Revision {
        Revision(self.begin + i64::from(!self.changes.is_empty()))
    }

    fn get(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        if at > self.begin
            && let Some(change) = self.changes.iter().rev().find(|change| change.key == key)
        {
            return change.put.clone();
        }
        self.model.get(key, at.min(self.begin)).cloned()
    }

    fn seen(&self, range: &KeyRange, at: i64) -> Vec<KeyValue> {
        let mut keys: Vec<&Vec<u8>> =
            self.model.keys.keys().chain(self.changes.iter().map(|change| &change.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter()
            .filter(|key| range.contains(key))
            .filter_map(|key| self.get(key, at))
            .collect()
    }

    fn range(&self, request: &RangeRequest, at: i64) -> RangeReply {
        let all = self.seen(&request.range, at);
        let count = all.len() as i64;
        if request.count_only {
            return RangeReply { count, ..RangeReply::default() };
        }
        let filters = &request.filters;
        let mut kvs: Vec<KeyValue> = all
            .into_iter()
            .filter(|kv| filters.min_mod == 0 || kv.modified >= filters.min_mod)
            .filter(|kv| filters.max_mod == 0 || kv.modified <= filters.max_mod)
            .filter(|kv| filters.min_create == 0 || kv.create >= filters.min_create)
            .filter(|kv| filters.max_create == 0 || kv.create <= filters.max_create)
            .collect();
        let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let more = kvs.len() > limit;
        if request.sorts_after_limit() {
            kvs.truncate(limit.saturating_add(1)); // etcd's quirk.
        }
        kvs.sort_by(|a, b| {
            let order = match request.target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create.cmp(&b.create),
                SortTarget::Mod => a.modified.cmp(&b.modified),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if request.order == SortOrder::Descend { order.reverse() } else { order }
        });
        kvs.truncate(limit);
        if request.keys_only {
            for kv in &mut kvs {
                kv.value = Blob::empty();
                if request.target != SortTarget::Value {
                    kv.lease = LeaseId::NONE; // etcd's index, which answers this, knows none.
                }
            }
        }
        RangeReply { revision: Revision(0), kvs, more, count }
    }

    fn put(&mut self, sub: u32, put: &PutRequest) -> Result<PutReply, Refusal> {
        let old = self.get(&put.key, i64::MAX);
        let value = match &old {
            Some(old) if put.ignore_value => old.value.clone(),
            None if put.ignore_value => return Err(Refusal::KeyNotFound),
            _ => Blob::from(&put.value[..]),
        };
        let lease = match &old {
            Some(old) if put.ignore_lease => old.lease,
            None if put.ignore_lease => return Err(Refusal::KeyNotFound),
            _ => put.lease,
        };
        let revision = self.begin + 1;
        let new = KeyValue {
            key: Blob::from(&put.key[..]),
            value,
            create: old.as_ref().map_or(revision, |old| old.create),
            modified: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease,
        };
        self.changes.push(Change { sub, key: put.key.to_vec(), put: Some(new) });
        let prev_kv = old.filter(|_| put.prev_kv);
        Ok(PutReply { revision: self.header(), prev_kv })
    }

    fn delete(&mut self, sub: u32, delete: &DeleteRangeRequest) -> DeleteRangeReply {
        let gone = self.seen(&delete.range, i64::MAX);
        for kv in &gone {
            self.changes.push(Change { sub, key: kv.key.to_vec(), put: None });
        }
        let deleted = gone.len() as i64;
        let prev_kvs = if delete.prev_kv { gone } else { Vec::new() };
        DeleteRangeReply { revision: self.header(), deleted, prev_kvs }
    }

    fn txn(&mut self, txn: &TxnRequest) -> Result<TxnReply, Refusal> {
        let mut position = 0;
        let mut reply = self.branch(txn, &mut position)?;
        reply.revision = self.header();
        Ok(reply)
    }

    /// Every branch is decided on the state before the txn; operations see those before them.
    fn branch(&mut self, txn: &TxnRequest, position: &mut u32) -> Result<TxnReply, Refusal> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded { &txn.success } else { &txn.failure };
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            if let Op::Txn(nested) = op {
                responses.push(OpReply::Txn(self.branch(nested, position)?));
                continue;
            }
            let sub = *position;
            *position += 1;
            responses.push(match op {
                Op::Range(range) => {
                    let at = if range.revision > 0 { range.revision } else { i64::MAX };
                    let mut reply = self.range(range, at);
                    reply.revision = self.header();
                    OpReply::Range(reply)
                }
                Op::Put(put) => OpReply::Put(self.put(sub, put)?),
                Op::DeleteRange(delete) => OpReply::DeleteRange(self.delete(sub, delete)),
                Op::Txn(_) => unreachable!("a branch of its own"),
            });
        }
        Ok(TxnReply { revision: Revision(0), succeeded, responses })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let mut seen = self.model.seen(&compare.range, self.begin);
        if seen.is_empty() {
            if matches!(compare.operand, CompareOperand::Value(_)) {
                return false;
            }
            seen.push(KeyValue::default());
        }
        seen.iter().all(|kv| {
            let order = match &compare.operand {
                CompareOperand::Version(operand) => kv.version.cmp(operand),
                CompareOperand::Create(operand) => kv.create.cmp(operand),
                CompareOperand::Mod(operand) => kv.modified.cmp(operand),
                CompareOperand::Lease(operand) => kv.lease.0.cmp(operand),
                CompareOperand::Value(operand) => kv.value[..].cmp(&operand[..]),
            };
            match compare.operator {
                CompareOperator::Equal => order.is_eq(),
                CompareOperator::NotEqual => order.is_ne(),
                CompareOperator::Greater => order.is_gt(),
                CompareOperator::Less => order.is_lt(),
            }
        })
    }
}
