//! The store as anybody would write it who need not care for speed: every version of every key in
//! a list, every answer found by looking at all of them.

use std::collections::BTreeMap;

use crate::types::{
    Blob, Compare, CompareOperand, CompareOperator, KeyRange, KeyValue, LeaseId, PutRequest,
    RangeReply, RangeRequest, Revision, SortOrder, SortTarget, Sub,
};

use super::read::Change;

#[derive(Clone, Debug)]
pub(super) struct ModelVersion {
    pub(super) revision: i64,
    pub(super) sub: u32,
    /// `None` is a tombstone.
    pub(super) put: Option<KeyValue>,
}

#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) keys: BTreeMap<Vec<u8>, Vec<ModelVersion>>,
}

impl Model {
    pub(super) fn get(&self, key: &[u8], at: i64) -> Option<KeyValue> {
        let version = self.keys.get(key)?.iter().rev().find(|v| v.revision <= at)?;
        version.put.clone()
    }

    pub(super) fn seen(&self, range: &KeyRange, at: i64) -> Vec<KeyValue> {
        let keys = self.keys.keys().filter(|key| range.contains(key));
        keys.filter_map(|key| self.get(key, at)).collect()
    }

    pub(super) fn put(&mut self, revision: i64, sub: u32, put: &PutRequest) -> Option<KeyValue> {
        let old = self.get(&put.key, i64::MAX);
        let value = match &old {
            Some(old) if put.ignore_value => old.value.to_vec(),
            _ => put.value.to_vec(),
        };
        let lease = match &old {
            Some(old) if put.ignore_lease => old.lease,
            _ => put.lease,
        };
        let new = KeyValue {
            key: Blob::from(&put.key[..]),
            value: Blob::from(value),
            create: old.as_ref().map_or(revision, |old| old.create),
            modified: revision,
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease,
        };
        let versions = self.keys.entry(put.key.to_vec()).or_default();
        versions.push(ModelVersion { revision, sub, put: Some(new) });
        old
    }

    pub(super) fn delete(&mut self, revision: i64, sub: u32, range: &KeyRange) -> Vec<KeyValue> {
        let gone = self.seen(range, i64::MAX);
        for kv in &gone {
            let versions = self.keys.get_mut(kv.key.as_slice()).expect("just seen");
            versions.push(ModelVersion { revision, sub, put: None });
        }
        gone
    }

    pub(super) fn roll_back(&mut self, cut: i64) -> usize {
        let mut count = 0;
        self.keys.retain(|_, versions| {
            let before = versions.len();
            versions.retain(|version| version.revision <= cut);
            count += before - versions.len();
            !versions.is_empty()
        });
        count
    }

    /// Returns the versions that compaction keeps, by the letter.
    pub(super) fn kept(&self, compacted: i64, upto: i64) -> Vec<(Vec<u8>, i64, u32)> {
        let mut kept = Vec::new();
        for (key, versions) in &self.keys {
            for (i, version) in versions.iter().enumerate() {
                let is_last_below =
                    versions.get(i + 1).is_none_or(|next| next.revision > compacted);
                let stays = version.revision >= compacted || is_last_below && version.put.is_some();
                if stays && version.revision <= upto {
                    kept.push((key.clone(), version.revision, version.sub));
                }
            }
        }
        kept
    }

    pub(super) fn range(&self, request: &RangeRequest, at: i64) -> RangeReply {
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
        let unordered = request.target != SortTarget::Key && request.order == SortOrder::None;
        if unordered && filters.is_off() {
            // etcd's quirk: what the limit leaves is sorted, and one more.
            kvs.truncate(limit.saturating_add(1));
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
                    kv.lease = LeaseId::NONE;
                }
            }
        }
        RangeReply { revision: Revision(0), kvs, more, count }
    }

    pub(super) fn holds(&self, compare: &Compare, at: i64) -> bool {
        let mut seen = self.seen(&compare.range, at);
        if seen.is_empty() {
            if matches!(compare.operand, CompareOperand::Value(_)) {
                return false;
            }
            seen.push(KeyValue::default());
        }
        seen.iter().all(|kv| {
            let numbers = |a: i64, b: i64| match compare.operator {
                CompareOperator::Equal => a == b,
                CompareOperator::NotEqual => a != b,
                CompareOperator::Greater => a > b,
                CompareOperator::Less => a < b,
            };
            match &compare.operand {
                CompareOperand::Version(operand) => numbers(kv.version, *operand),
                CompareOperand::Create(operand) => numbers(kv.create, *operand),
                CompareOperand::Mod(operand) => numbers(kv.modified, *operand),
                CompareOperand::Lease(operand) => numbers(kv.lease.0, *operand),
                CompareOperand::Value(operand) => match compare.operator {
                    CompareOperator::Equal => kv.value[..] == operand[..],
                    CompareOperator::NotEqual => kv.value[..] != operand[..],
                    CompareOperator::Greater => kv.value[..] > operand[..],
                    CompareOperator::Less => kv.value[..] < operand[..],
                },
            }
        })
    }

    pub(super) fn lease_keys(&self, lease: LeaseId) -> Vec<Vec<u8>> {
        let newest = self.seen(&KeyRange::all(), i64::MAX);
        newest.into_iter().filter(|kv| kv.lease == lease).map(|kv| kv.key.to_vec()).collect()
    }

    pub(super) fn changes(
        &self,
        range: &KeyRange,
        from: i64,
        to: i64,
        limit: usize,
    ) -> Vec<Change> {
        let mut all = Vec::new();
        for (key, versions) in self.keys.iter().filter(|(key, _)| range.contains(key)) {
            for version in versions.iter().filter(|v| v.revision > from && v.revision <= to) {
                all.push(Change {
                    revision: Revision(version.revision),
                    sub: Sub(version.sub),
                    key: Blob::from(&key[..]),
                    put: version.put.clone(),
                });
            }
        }
        all.sort_by(|a, b| (a.revision, a.sub, &a.key).cmp(&(b.revision, b.sub, &b.key)));
        let mut revisions: Vec<Revision> = all.iter().map(|change| change.revision).collect();
        revisions.dedup();
        if let Some(first_left_out) = revisions.get(limit) {
            all.retain(|change| change.revision < *first_left_out);
        }
        all
    }
}
