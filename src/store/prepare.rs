//! A range delete of many keys: prepared in slices, made in one step that costs little per key.
//!
//! ```text
//!  prepare    every key of the range gets a tombstone on top that nobody sees: one that all of
//!  in slices  them share. Changes go on below it, and see to keys that come and go themselves.
//!  delete     the tombstone gets its revision, the leaves drop their live bits, and the keys,
//!             which stand in order already, become a part of the timeline
//!  or not     the tombstones are taken off again, in slices
//! ```
//!
//! So the delete hits what is there when it is made, whatever was put and deleted since it was
//! begun. One txn's deletes are prepared at a time.

use std::collections::{BTreeMap, VecDeque};

use super::Store;
use super::scan::successor;
use super::timeline::OrderedKeys;
use super::versions::{Record, Version};
use crate::types::{Blob, KeyRange, LeaseId, RangeEnd, Revision, Sub};

/// Deletes that are prepared, or on their way there or back.
pub(super) struct Prepared {
    /// In the order in which they will be made.
    parts: VecDeque<Part>,
    /// They are given up: tombstones are taken off.
    is_abandoned: bool,
}

/// One range.
struct Part {
    range: KeyRange,
    /// The part that no slice has reached.
    left: Option<KeyRange>,
    /// Shared by all keys.
    tombstone: Version,
    /// Those that have it on top.
    keys: OrderedKeys,
    /// The keys among them that have a lease.
    leased: BTreeMap<Blob, LeaseId>,
}

impl Part {
    fn of(range: &KeyRange) -> Part {
        Part {
            range: range.clone(),
            left: Some(range.clone()),
            tombstone: Version::hidden_tombstone(),
            keys: OrderedKeys::default(),
            leased: BTreeMap::new(),
        }
    }

    /// Whether a slice has come to where `key` is.
    fn has_passed(&self, key: &[u8]) -> bool {
        let is_left = self.left.as_ref().is_some_and(|left| left.contains(key));
        self.range.contains(key) && !is_left
    }

    fn lease(&mut self, key: &Blob, lease: LeaseId) {
        if lease == LeaseId::NONE {
            self.leased.remove(key);
        } else {
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
            match lease {
                Some(lease) => part.lease(&record.key, lease),
                None => {
                    record.uncover();
                    part.keys.remove(&record.key);
                    part.lease(&record.key, LeaseId::NONE);
                }
            }
        } else if let Some(lease) = lease
            && !self.is_abandoned
            && let Some(part) = self.parts.iter_mut().find(|part| part.has_passed(&record.key))
        {
            record.cover(part.tombstone.clone());
            part.keys.insert(&record.key);
            part.lease(&record.key, lease);
        }
    }
}

impl Store {
    /// Begins to prepare the deletion of `ranges`, in that order, by one txn.
    ///
    /// # Panics
    ///
    /// If others are prepared or on their way.
    pub fn begin_delete(&mut self, ranges: &[KeyRange]) {
        assert!(self.prepared.is_none(), "one txn's deletes are prepared at a time");
        let parts = ranges.iter().map(Part::of).collect();
        self.prepared = Some(Box::new(Prepared { parts, is_abandoned: false }));
    }

    /// Whether deletes are prepared, on their way there, or on their way back.
    pub fn has_delete(&self) -> bool {
        self.prepared.is_some()
    }

    /// Whether exactly the deletes of `ranges` are prepared.
    pub fn is_delete_prepared(&self, ranges: &[KeyRange]) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| {
            let is_through = |part: &Part| part.left.is_none();
            let same = prepared.parts.iter().map(|part| &part.range).eq(ranges);
            same && !prepared.is_abandoned && prepared.parts.iter().all(is_through)
        })
    }

    /// Whether the next delete that is made of those that are prepared is that of `range`.
    pub fn is_next_prepared(&self, range: &KeyRange) -> bool {
        let prepared = self.prepared.as_ref().filter(|prepared| !prepared.is_abandoned);
        let next = prepared.and_then(|prepared| prepared.parts.front());
        next.is_some_and(|part| part.left.is_none() && part.range == *range)
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
                let (slice, rest) = self.split(&left, visits);
                self.tree.modify_live(&slice, &mut |record| {
                    if record.is_covered() {
                        return; // By an earlier delete of the txn, so this one will not find it.
                    }
                    part.lease(&record.key, record.live_top().expect("live").lease());
                    record.cover(part.tombstone.clone());
                    part.keys.push(&record.key);
                });
                part.left = rest;
            }
        }
        let is_through = prepared.parts.iter().all(|part| part.left.is_none());
        self.prepared = Some(prepared);
        is_through
    }

    /// Gives prepared deletes up; [`Store::undo_delete`] takes them back.
    pub fn abandon_delete(&mut self) {
        let Some(prepared) = &mut self.prepared else { return };
        if !std::mem::replace(&mut prepared.is_abandoned, true) {
            prepared.parts.iter_mut().for_each(|part| part.left = Some(part.range.clone()));
        }
    }

    /// Takes abandoned deletes back, at as many keys as there are `visits`; whether nothing is left
    /// of them.
    pub fn undo_delete(&mut self, visits: &mut usize) -> bool {
        let Some(mut prepared) = self.prepared.take() else { return true };
        assert!(prepared.is_abandoned, "they are wanted");
        while let Some(part) = prepared.parts.front_mut() {
            if *visits == 0 {
                self.prepared = Some(prepared);
                return false;
            }
            let Some(left) = part.left.take() else {
                // The keys that stand in order for nothing.
                part.keys.drop_some(visits);
                if part.keys.len() == 0 {
                    prepared.parts.pop_front();
                }
                continue;
            };
            let (slice, rest) = self.split(&left, visits);
            self.tree.modify_live(&slice, &mut |record| {
                if record.is_covered() && part.tombstone.is(record.top()) {
                    record.uncover();
                }
            });
            part.left = rest;
        }
        true
    }

    /// As much of `range` as `visits` allow, and the rest.
    fn split(&self, range: &KeyRange, visits: &mut usize) -> (KeyRange, Option<KeyRange>) {
        let Some(last) = self.last_of(range, visits) else { return (range.clone(), None) };
        let next = successor(&last);
        let end = RangeEnd::Before(next.clone());
        let slice = KeyRange { start: range.start.clone(), end };
        (slice, Some(KeyRange { start: next, end: range.end.clone() }))
    }

    /// Makes the deletion of `range` if it is the next one that is prepared; how many keys it hit.
    pub(super) fn make_delete(
        &mut self,
        revision: Revision,
        sub: Sub,
        range: &KeyRange,
    ) -> Option<u64> {
        if !self.is_next_prepared(range) {
            return None;
        }
        let prepared = self.prepared.as_mut()?;
        let Part { tombstone, keys, leased, .. } = prepared.parts.pop_front()?;
        if prepared.parts.is_empty() {
            self.prepared = None;
        }
        let Store { tree, timeline, leases, sizes, .. } = self;
        let count = keys.len();
        let cleared = tree.clear_live(range);
        assert_eq!(cleared, count, "every key of the range has the tombstone");
        tombstone.reveal(revision.0, sub.0);
        for (key, lease) in leased {
            leases.move_key(&key, lease, LeaseId::NONE);
        }
        sizes.add_versions(count, &tombstone);
        timeline.append(revision.0, keys);
        Some(count)
    }
}
