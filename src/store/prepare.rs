//! A deletion of many keys: prepared in slices, made in one step that costs little per key.
//!
//! ```text
//!  prepare    every key of the range gets a tombstone on top that nobody sees: one that all of
//!  in slices  them share. Changes go on below it, and see to keys that come and go themselves.
//!  delete     the tombstone gets its revision, the leaves drop their live bits, and the keys,
//!             which stand in order already, become a part of the timeline
//!  or not     the tombstones are taken off again, in slices
//! ```
//!
//! So the deletion hits what is there when it is made, whatever was put and deleted since it was
//! begun. The keys of a lease that ends are deleted in the same way. What is left of the index of
//! leases goes in slices after that ([`super::lease`]). One txn's deletions are prepared at a time.

use std::collections::{BTreeMap, VecDeque};

use super::Store;
use super::scan::successor;
use super::timeline::OrderedKeys;
use super::versions::{Record, Version};
use crate::types::{Blob, KeyRange, LeaseId, RangeEnd, Revision, Sub};

/// What one deletion hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The keys of a range of more than one.
    Range(KeyRange),
    /// The keys of a lease, to which none is attached any more.
    Lease(LeaseId),
}

/// Deletions that are prepared, or on their way there or back.
pub(super) struct Prepared {
    /// In the order in which they will be made.
    parts: VecDeque<Part>,
    /// They are given up: tombstones are taken off.
    is_abandoned: bool,
}

/// One deletion.
struct Part {
    deletion: Deletion,
    /// What no slice has come to.
    left: Option<KeyRange>,
    /// Shared by all keys.
    tombstone: Version,
    /// Those that have it on top.
    keys: OrderedKeys,
    /// Of the keys of a range, the ones with a lease.
    leased: BTreeMap<Blob, LeaseId>,
}

impl Part {
    fn of(deletion: &Deletion) -> Part {
        let left = match deletion {
            Deletion::Range(range) => range.clone(),
            Deletion::Lease(_) => KeyRange::all(),
        };
        Part {
            deletion: deletion.clone(),
            left: Some(left),
            tombstone: Version::hidden_tombstone(),
            keys: OrderedKeys::default(),
            leased: BTreeMap::new(),
        }
    }

    /// Whether it hits `key` while that has `lease`.
    fn hits(&self, key: &[u8], lease: LeaseId) -> bool {
        match &self.deletion {
            Deletion::Range(range) => range.contains(key),
            Deletion::Lease(own) => *own == lease,
        }
    }

    /// Whether a slice has come to where `key` is.
    fn has_passed(&self, key: &[u8]) -> bool {
        self.left.as_ref().is_none_or(|left| !left.contains(key))
    }

    fn lease(&mut self, key: &Blob, lease: LeaseId) {
        if lease == LeaseId::NONE {
            self.leased.remove(key);
        } else if matches!(self.deletion, Deletion::Range(_)) {
            self.leased.insert(key.clone(), lease);
        }
    }
}

impl Prepared {
    /// The newest state of a key has changed, below a hidden tombstone if it has one.
    pub(super) fn changed(&mut self, record: &mut Record) {
        let lease = record.live_top().map(Version::lease);
        if record.is_covered() {
            let part = self.parts.iter_mut().find(|part| part.tombstone.is(record.top()));
            let part = part.expect("a hidden tombstone is one of ours");
            match lease.filter(|lease| part.hits(&record.key, *lease)) {
                Some(lease) => part.lease(&record.key, lease),
                None => {
                    record.uncover();
                    part.keys.remove(&record.key);
                    part.lease(&record.key, LeaseId::NONE);
                }
            }
        } else if let Some(lease) = lease
            && !self.is_abandoned
            && let Some(part) = self
                .parts
                .iter_mut()
                .find(|part| part.hits(&record.key, lease) && part.has_passed(&record.key))
        {
            record.cover(part.tombstone.clone());
            part.keys.insert(&record.key);
            part.lease(&record.key, lease);
        }
    }
}

impl Store {
    /// Begins to prepare `deletions`, in that order, of one txn.
    ///
    /// # Panics
    ///
    /// If others are prepared or on their way.
    pub fn begin_delete(&mut self, deletions: &[Deletion]) {
        assert!(self.prepared.is_none(), "one txn's deletions are prepared at a time");
        let parts = deletions.iter().map(Part::of).collect();
        self.prepared = Some(Box::new(Prepared { parts, is_abandoned: false }));
    }

    /// Whether deletions are prepared, on their way there, or on their way back.
    pub fn has_delete(&self) -> bool {
        self.prepared.is_some()
    }

    /// Whether exactly these deletions are prepared.
    pub fn is_delete_prepared(&self, deletions: &[Deletion]) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| {
            let is_through = |part: &Part| part.left.is_none();
            let same = prepared.parts.iter().map(|part| &part.deletion).eq(deletions);
            same && !prepared.is_abandoned && prepared.parts.iter().all(is_through)
        })
    }

    /// How many keys a deletion hits now; of a lease, no fewer than that.
    pub fn keys_of(&self, deletion: &Deletion) -> u64 {
        match deletion {
            Deletion::Range(range) => self.tree.count(range),
            Deletion::Lease(lease) => self.leases.len(*lease) as u64,
        }
    }

    /// How many keys the next deletion that is made of those that are prepared hits, if that is
    /// this one.
    pub fn prepared_keys(&self, deletion: &Deletion) -> Option<u64> {
        let prepared = self.prepared.as_ref().filter(|prepared| !prepared.is_abandoned);
        let next = prepared.and_then(|prepared| prepared.parts.front());
        let next = next.filter(|part| part.left.is_none() && part.deletion == *deletion);
        next.map(|part| part.keys.len())
    }

    /// Prepares as many keys as there are `visits`, which it takes off; whether all are.
    pub fn prepare_delete(&mut self, visits: &mut usize) -> bool {
        let Some(mut prepared) = self.prepared.take() else { return true };
        for part in &mut prepared.parts {
            while let Some(left) = part.left.take() {
                if *visits == 0 {
                    part.left = Some(left);
                    break;
                }
                part.left = match part.deletion.clone() {
                    Deletion::Range(_) => self.cover_range(part, left, visits),
                    Deletion::Lease(lease) => self.cover_lease(part, lease, left, visits),
                };
            }
        }
        let is_through = prepared.parts.iter().all(|part| part.left.is_none());
        self.prepared = Some(prepared);
        is_through
    }

    /// Puts the tombstone on as much of `left` as `visits` allow; the rest.
    fn cover_range(
        &mut self,
        part: &mut Part,
        left: KeyRange,
        visits: &mut usize,
    ) -> Option<KeyRange> {
        let (slice, rest) = match self.last_of(&left, visits) {
            None => (left, None),
            Some(last) => {
                let next = successor(&last);
                let end = RangeEnd::Before(next.clone());
                let slice = KeyRange { start: left.start, end };
                (slice, Some(KeyRange { start: next, end: left.end }))
            }
        };
        self.tree.modify_live(&slice, &mut |record| {
            if record.is_covered() {
                return; // By an earlier delete of the txn, so this one will not find it.
            }
            part.lease(&record.key, record.live_top().expect("live").lease());
            record.cover(part.tombstone.clone());
            part.keys.push(&record.key);
        });
        rest
    }

    /// The same, of the keys of a lease.
    fn cover_lease(
        &mut self,
        part: &mut Part,
        lease: LeaseId,
        left: KeyRange,
        visits: &mut usize,
    ) -> Option<KeyRange> {
        let keys: Vec<Blob> = self.leases.from(lease, &left.start).take(*visits).cloned().collect();
        let is_through = keys.len() < *visits;
        *visits -= keys.len();
        for key in &keys {
            self.tree.modify(key, |record| {
                // The index may name keys that have been deleted: see `lease`.
                if record.live_top().is_some_and(|version| version.lease() == lease) {
                    record.cover(part.tombstone.clone());
                    part.keys.push(&record.key);
                }
            });
        }
        let last = keys.last().filter(|_| !is_through)?;
        Some(KeyRange { start: successor(last), end: left.end })
    }

    /// Gives prepared deletions up; [`Store::undo_delete`] takes them back.
    pub fn abandon_delete(&mut self) {
        if let Some(prepared) = &mut self.prepared {
            prepared.is_abandoned = true;
        }
    }

    /// Takes abandoned deletions back, at as many keys as there are `visits`; whether nothing is
    /// left of them.
    pub fn undo_delete(&mut self, visits: &mut usize) -> bool {
        let Some(mut prepared) = self.prepared.take() else { return true };
        assert!(prepared.is_abandoned, "they are wanted");
        while let Some(part) = prepared.parts.front_mut() {
            if *visits == 0 {
                self.prepared = Some(prepared);
                return false;
            }
            *visits -= 1;
            if let Some(key) = part.keys.pop() {
                self.tree.modify(&key, Record::uncover).expect("a covered key is there");
            } else if part.leased.pop_last().is_none() {
                prepared.parts.pop_front();
            }
        }
        true
    }

    /// Makes the deletion if it is the next one that is prepared; how many keys it hit.
    pub(super) fn make_delete(
        &mut self,
        revision: Revision,
        sub: Sub,
        deletion: &Deletion,
    ) -> Option<u64> {
        self.prepared_keys(deletion)?;
        let prepared = self.prepared.as_mut()?;
        let Part { tombstone, keys, leased, .. } = prepared.parts.pop_front()?;
        if prepared.parts.is_empty() {
            self.prepared = None;
        }
        let Store { tree, timeline, leases, sizes, judging, .. } = self;
        let count = keys.len();
        let cleared = match deletion {
            Deletion::Range(range) => {
                leases.detach_later(leased);
                tree.clear_live(range)
            }
            Deletion::Lease(lease) => {
                leases.end(*lease);
                tree.clear_live_keys(keys.iter())
            }
        };
        assert_eq!(cleared, count, "every key that it hits has the tombstone");
        if let Some(judging) = judging {
            judging.deleted(|key| tree.get(key).is_some_and(|record| tombstone.is(record.top())));
        }
        tombstone.reveal(revision.0, sub.0);
        sizes.add_versions(count, &tombstone);
        timeline.append(revision.0, keys);
        Some(count)
    }
}
