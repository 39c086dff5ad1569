//! Which keys hang on which lease, in the newest state.
//!
//! A deletion of many keys takes them out of here afterwards, in slices: until then the index names
//! keys that are attached no more, and who asks looks at the key as well.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map, btree_set};
use std::ops::Bound;

use super::Store;
use super::versions::Version;
use crate::types::{Blob, LeaseId};

/// Invariants: no set is empty; a key is in the set of the lease its newest version carries, and in
/// no other unless `later` has it with that lease.
#[derive(Default)]
pub(super) struct LeaseKeys {
    keys: BTreeMap<LeaseId, BTreeSet<Blob>>,
    /// Keys that were deleted, with the leases that they had.
    later: VecDeque<btree_map::IntoIter<Blob, LeaseId>>,
    /// The keys of leases that have ended: memory to be given back.
    ended: VecDeque<btree_set::IntoIter<Blob>>,
}

impl LeaseKeys {
    /// The newest state of `key` went from one lease to the other.
    pub(super) fn move_key(&mut self, key: &Blob, from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId::NONE {
            assert!(self.remove(key, from), "an attached key is in the index");
        }
        if to != LeaseId::NONE {
            self.keys.entry(to).or_default().insert(key.clone());
        }
    }

    /// Whether it was there.
    fn remove(&mut self, key: &Blob, lease: LeaseId) -> bool {
        let Some(keys) = self.keys.get_mut(&lease) else { return false };
        let was_there = keys.remove(key);
        if keys.is_empty() {
            self.keys.remove(&lease);
        }
        was_there
    }

    /// How many keys there are in the set of the lease: no fewer than are attached to it.
    pub(super) fn len(&self, lease: LeaseId) -> usize {
        self.keys.get(&lease).map_or(0, BTreeSet::len)
    }

    /// The set of the lease from `start` on, in order.
    pub(super) fn from(&self, lease: LeaseId, start: &[u8]) -> impl Iterator<Item = &Blob> {
        let from = (Bound::Included(start), Bound::Unbounded);
        self.keys.get(&lease).into_iter().flat_map(move |keys| keys.range::<[u8], _>(from))
    }

    /// Takes every key off the lease.
    pub(super) fn take(&mut self, lease: LeaseId) -> BTreeSet<Blob> {
        self.keys.remove(&lease).unwrap_or_default()
    }

    /// The same, when all have been deleted.
    pub(super) fn end(&mut self, lease: LeaseId) {
        let keys = self.take(lease);
        self.ended.push_back(keys.into_iter());
    }

    /// These keys have been deleted.
    pub(super) fn detach_later(&mut self, keys: BTreeMap<Blob, LeaseId>) {
        if !keys.is_empty() {
            self.later.push_back(keys.into_iter());
        }
    }

    /// Leases with a key, and how many.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<(LeaseId, usize)> {
        self.keys.iter().map(|(lease, keys)| (*lease, keys.len())).collect()
    }
}

impl Store {
    /// Keys attached to `lease` in the newest state, in order.
    pub fn lease_keys(&self, lease: LeaseId) -> impl Iterator<Item = &Blob> {
        self.lease_keys_from(lease, &[])
    }

    fn lease_keys_from(&self, lease: LeaseId, start: &[u8]) -> impl Iterator<Item = &Blob> {
        let is_exact = self.leases.later.is_empty();
        let attached = move |key: &&Blob| is_exact || self.is_attached(key, lease);
        self.leases.from(lease, start).filter(attached)
    }

    fn is_attached(&self, key: &[u8], lease: LeaseId) -> bool {
        let version = self.tree.get(key).and_then(|record| record.live_top());
        version.map(Version::lease) == Some(lease)
    }

    /// Appends the keys that are attached to `lease` in the newest state to `keys`, in order,
    /// `from` that one on; looks at as many as there are `visits`, which it takes off. Returns
    /// whether it has come to the last; else `from` is the next.
    pub fn lease_keys_slice(
        &self,
        lease: LeaseId,
        from: &mut Option<Blob>,
        visits: &mut usize,
        keys: &mut Vec<Blob>,
    ) -> bool {
        let start = from.take();
        for key in self.leases.from(lease, start.as_deref().unwrap_or(&[])) {
            if *visits == 0 {
                *from = Some(key.clone());
                return false;
            }
            *visits -= 1;
            if self.leases.later.is_empty() || self.is_attached(key, lease) {
                keys.push(key.clone());
            }
        }
        true
    }

    /// Takes keys that were deleted out of the index of leases, as many as there are `visits`,
    /// which it takes off; returns whether none is left.
    pub fn detach_some(&mut self, visits: &mut usize) -> bool {
        while *visits > 0
            && let Some(keys) = self.leases.later.front_mut()
        {
            let Some((key, lease)) = keys.next() else {
                self.leases.later.pop_front();
                continue;
            };
            *visits -= 1;
            if !self.is_attached(&key, lease) {
                self.leases.remove(&key, lease);
            }
        }
        while *visits > 0
            && let Some(keys) = self.leases.ended.front_mut()
        {
            *visits -= 1;
            if keys.next().is_none() {
                self.leases.ended.pop_front();
            }
        }
        self.has_detached()
    }

    /// Whether the index of leases is as it should be.
    pub fn has_detached(&self) -> bool {
        self.leases.later.is_empty() && self.leases.ended.is_empty()
    }
}
