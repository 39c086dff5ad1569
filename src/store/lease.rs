//! Which keys hang on which lease, in the newest state.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Blob, LeaseId};

/// Invariant: no set is empty; a key is in the set of the lease its newest version carries, and in
/// no other.
#[derive(Default)]
pub(super) struct LeaseKeys {
    keys: BTreeMap<LeaseId, BTreeSet<Blob>>,
}

impl LeaseKeys {
    /// The newest state of `key` went from one lease to the other.
    pub(super) fn move_key(&mut self, key: &Blob, from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId::NONE {
            let keys = self.keys.get_mut(&from).expect("an attached key is in the index");
            assert!(keys.remove(key), "an attached key is in the index");
            if keys.is_empty() {
                self.keys.remove(&from);
            }
        }
        if to != LeaseId::NONE {
            self.keys.entry(to).or_default().insert(key.clone());
        }
    }

    /// In key order.
    pub(super) fn of(&self, lease: LeaseId) -> impl Iterator<Item = &[u8]> {
        self.keys.get(&lease).into_iter().flatten().map(Blob::as_slice)
    }

    /// Takes every key off the lease.
    pub(super) fn take(&mut self, lease: LeaseId) -> BTreeSet<Blob> {
        self.keys.remove(&lease).unwrap_or_default()
    }

    /// Leases with a key, and how many.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<(LeaseId, usize)> {
        self.keys.iter().map(|(lease, keys)| (*lease, keys.len())).collect()
    }
}
