//! One key and its versions, oldest to newest.
//!
//! Nearly every key has one version, so the newest sits in the record itself, in one allocation
//! with its value; a queue of older ones exists only while there are any.

use std::collections::VecDeque;

use crate::types::{Blob, KeyValue, KeyView, LeaseId, Stamp, prefetch};

use super::moment::Moment;

/// The revision of a tombstone that is prepared and not yet made: behind everything, and unseen.
const HIDDEN: i64 = i64::MAX;

/// One change of a key: a value with its numbers, or a tombstone.
#[derive(Clone, Default)]
pub(super) struct Version(Blob);

impl Version {
    /// A version of its own allocation; a tombstone if `stamp.version` is 0.
    pub(super) fn new(value: &[u8], stamp: Stamp) -> Version {
        Version(Blob::stamped(value, stamp))
    }

    pub(super) fn tombstone(modified: i64, sub: u32) -> Version {
        Version::new(&[], Stamp { modified, sub, ..Stamp::default() })
    }

    /// A tombstone that no read sees until it is revealed.
    pub(super) fn hidden_tombstone() -> Version {
        Version::tombstone(HIDDEN, 0)
    }

    /// Gives a hidden tombstone, and so every record that shares it, its place in the line.
    pub(super) fn reveal(&self, modified: i64, sub: u32) {
        assert_eq!(self.modified(), HIDDEN, "it is revealed once");
        // SAFETY: no read returns what is hidden, so nothing that shares it has left the store; the
        // caller has the store to itself.
        unsafe { self.0.restamp(Stamp { modified, sub, ..Stamp::default() }) }
    }

    /// Whether it is the very same.
    pub(super) fn is(&self, other: &Version) -> bool {
        self.0.is_same(&other.0)
    }

    pub(super) fn stamp(&self) -> &Stamp {
        self.0.stamp().expect("a version carries its numbers")
    }

    pub(super) fn modified(&self) -> i64 {
        self.stamp().modified
    }

    /// Whether the key exists after this change.
    pub(super) fn is_live(&self) -> bool {
        self.stamp().version != 0
    }

    pub(super) fn value(&self) -> &Blob {
        &self.0
    }

    pub(super) fn lease(&self) -> LeaseId {
        LeaseId(self.stamp().lease)
    }
}

/// A key and its versions. Without any it is only a place in a leaf that nobody uses.
///
/// Invariants: `older` ascends strictly by (modified, sub) and lies below `top`; it is absent when
/// it would be empty.
#[derive(Default)]
pub(super) struct Record {
    pub(super) key: Blob,
    top: Version,
    #[expect(clippy::box_collection, reason = "one word in the record; most keys have none")]
    older: Option<Box<VecDeque<Version>>>,
}

const _: () = assert!(size_of::<Record>() == 24);

impl Record {
    /// An unused place.
    pub(super) const VACANT: Record =
        Record { key: Blob::empty(), top: Version(Blob::empty()), older: None };

    /// A key that has no version yet.
    pub(super) fn new(key: &[u8]) -> Record {
        Record { key: Blob::from(key), ..Record::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.top.0.stamp().is_none()
    }

    /// Asks for what a change of the key will look at.
    pub(super) fn prefetch(&self) {
        self.key.prefetch();
        self.top.0.prefetch();
        if let Some(older) = &self.older {
            prefetch(&raw const **older);
        }
    }

    /// The newest version, pending or not.
    pub(super) fn top(&self) -> &Version {
        &self.top
    }

    /// The newest version, if the key exists after it.
    pub(super) fn live_top(&self) -> Option<&Version> {
        let stamp = self.top.0.stamp()?;
        if stamp.version != 0 {
            return Some(&self.top);
        }
        let is_hidden = stamp.modified == HIDDEN;
        let below = self.older.as_deref().filter(|_| is_hidden).and_then(VecDeque::back);
        below.filter(|version| version.is_live())
    }

    /// Whether a hidden tombstone is on top.
    pub(super) fn is_covered(&self) -> bool {
        self.top.0.stamp().is_some_and(|stamp| stamp.modified == HIDDEN)
    }

    /// Puts a hidden tombstone on top.
    pub(super) fn cover(&mut self, tombstone: Version) {
        assert!(!self.is_covered() && !self.is_empty(), "one at a time, on a version");
        let below = std::mem::replace(&mut self.top, tombstone);
        self.older.get_or_insert_default().push_back(below);
    }

    /// Takes it off again.
    pub(super) fn uncover(&mut self) {
        assert!(self.is_covered(), "a hidden tombstone");
        self.top = self.older.as_mut().and_then(|older| older.pop_back()).expect("it was on one");
        self.drop_queue_if_empty();
    }

    /// The newest version at or below `at`, tombstone or not.
    pub(super) fn version_at(&self, at: i64) -> Option<&Version> {
        let newest = self.top.modified();
        if newest <= at && newest != HIDDEN {
            return Some(&self.top);
        }
        let older = self.older.as_deref()?;
        let above = older.partition_point(|version| version.modified() <= at);
        older.get(above.checked_sub(1)?)
    }

    /// Returns the version that a read at `at` sees.
    pub(super) fn live_at(&self, at: i64) -> Option<&Version> {
        self.version_at(at).filter(|version| version.is_live())
    }

    /// Returns the version that a read at the moment sees.
    pub(super) fn live_in(&self, at: Moment) -> Option<&Version> {
        if at.sees(self.top.stamp()) {
            return Some(&self.top).filter(|version| version.is_live());
        }
        let place = self.place_behind(at).checked_sub(1)?;
        self.nth(place).filter(|version| version.is_live())
    }

    /// Counts the versions that a read at the moment sees: the place of the first that it does not.
    pub(super) fn place_behind(&self, at: Moment) -> usize {
        if !self.is_empty() && at.sees(self.top.stamp()) {
            return self.len();
        }
        let older = self.older.as_deref();
        older.map_or(0, |older| older.partition_point(|version| at.sees(version.stamp())))
    }

    /// All versions, oldest first.
    pub(super) fn versions(&self) -> impl DoubleEndedIterator<Item = &Version> {
        let top = (!self.is_empty()).then_some(&self.top);
        self.older.iter().flat_map(|older| older.iter()).chain(top)
    }

    /// The versions above (`modified`, `sub`), oldest first, each with its successor.
    pub(super) fn versions_above(
        &self,
        modified: i64,
        sub: u32,
    ) -> impl Iterator<Item = (&Version, Option<&Version>)> {
        let older = self.older.as_deref();
        let skipped = older.map_or(0, |older| {
            older.partition_point(|version| {
                let stamp = version.stamp();
                (stamp.modified, stamp.sub) <= (modified, sub)
            })
        });
        let count = older.map_or(0, VecDeque::len);
        let tail = (skipped..count).map(move |i| {
            let older = older.expect("counted");
            (&older[i], Some(older.get(i + 1).unwrap_or(&self.top)))
        });
        let stamp = self.top.0.stamp();
        let top = stamp
            .filter(|stamp| (stamp.modified, stamp.sub) > (modified, sub))
            .map(|_| (&self.top, None));
        tail.chain(top)
    }

    /// Returns the `nth` of the changes that the key had at exactly `revision`.
    pub(super) fn changed_at(&self, revision: i64, nth: usize) -> Option<&Version> {
        let older = self.older.as_deref();
        let skipped = older.map_or(0, |older| older.partition_point(|v| v.modified() < revision));
        let count = older.map_or(0, VecDeque::len);
        let found = match skipped + nth {
            i if i < count => &older?[i],
            i if i == count => &self.top,
            _ => return None,
        };
        (found.modified() == revision).then_some(found)
    }

    /// Counts the versions.
    pub(super) fn len(&self) -> usize {
        self.older.as_deref().map_or(0, VecDeque::len) + usize::from(!self.is_empty())
    }

    /// The version at `place`, counted from the oldest.
    pub(super) fn nth(&self, place: usize) -> Option<&Version> {
        let older = self.older.as_deref();
        let count = older.map_or(0, VecDeque::len);
        match older.and_then(|older| older.get(place)) {
            None if place == count && !self.is_empty() => Some(&self.top),
            found => found,
        }
    }

    /// Counts the versions at or below `revision`: the place of the first above it.
    pub(super) fn place_after(&self, revision: i64) -> usize {
        if !self.is_empty() && self.top.modified() <= revision {
            return self.len();
        }
        let older = self.older.as_deref();
        older.map_or(0, |older| older.partition_point(|v| v.modified() <= revision))
    }

    /// Adds a newest version.
    pub(super) fn push(&mut self, version: Version) {
        if self.is_empty() {
            self.top = version;
            return;
        }
        let covered = self.is_covered().then(|| self.older.as_ref().and_then(|it| it.back()));
        let last = covered.map_or(&self.top, |below| below.expect("it is on one"));
        let (last, new) = (last.stamp(), version.stamp());
        assert!(
            (last.modified, last.sub) < (new.modified, new.sub),
            "a key's versions ascend: {last:?} before {new:?}"
        );
        if covered.is_some() {
            self.older.get_or_insert_default().push_back(version);
            return;
        }
        let below = std::mem::replace(&mut self.top, version);
        self.older.get_or_insert_default().push_back(below);
    }

    /// Takes the newest version away.
    pub(super) fn pop(&mut self) -> Version {
        let below = self.older.as_mut().and_then(|older| older.pop_back()).unwrap_or_default();
        self.drop_queue_if_empty();
        std::mem::replace(&mut self.top, below)
    }

    /// Drops what compaction at `compacted` does not keep; `dropped` sees every such version.
    pub(super) fn trim(&mut self, compacted: i64, mut dropped: impl FnMut(Version)) {
        if let Some(older) = &mut self.older {
            while let Some(first) = older.front() {
                let next = older.get(1).unwrap_or(&self.top);
                if is_kept(first.stamp(), Some(next.modified()), compacted) {
                    break;
                }
                dropped(older.pop_front().expect("looked at"));
            }
            if older.capacity() > 64 && older.len() < older.capacity() / 4 {
                older.shrink_to(older.len() * 2);
            }
        }
        self.drop_queue_if_empty();
        if self.older.is_none() && !is_kept(self.top.stamp(), None, compacted) {
            dropped(std::mem::take(&mut self.top));
        }
    }

    /// Gives back memory that only the past needed.
    pub(super) fn shrink(&mut self) {
        if let Some(older) = &mut self.older {
            older.shrink_to_fit();
        }
    }

    fn drop_queue_if_empty(&mut self) {
        if self.older.as_ref().is_some_and(|older| older.is_empty()) {
            self.older = None;
        }
    }

    /// The key as `version` left it.
    pub(super) fn key_value(&self, version: &Version) -> KeyValue {
        let stamp = version.stamp();
        KeyValue {
            key: self.key.clone(),
            value: version.value().clone(),
            create: stamp.create,
            modified: stamp.modified,
            version: stamp.version,
            lease: LeaseId(stamp.lease),
        }
    }

    /// Returns a version as a borrowed key and value.
    pub(super) fn view<'a>(&'a self, version: &'a Version) -> KeyView<'a> {
        let stamp = version.stamp();
        KeyView {
            key: &self.key,
            value: version.value(),
            create: stamp.create,
            modified: stamp.modified,
            version: stamp.version,
            lease: LeaseId(stamp.lease),
        }
    }

    /// The key from the index: no value, no lease.
    pub(super) fn key_only(&self, version: &Version) -> KeyValue {
        let stamp = version.stamp();
        KeyValue {
            key: self.key.clone(),
            value: Blob::empty(),
            create: stamp.create,
            modified: stamp.modified,
            version: stamp.version,
            lease: LeaseId::NONE,
        }
    }
}

/// Whether compaction at `compacted` keeps a version whose successor was made at `next`.
///
/// Everything from `compacted` on stays, so that a watch from there sees that revision whole.
/// Below, only what a read at `compacted` still sees.
pub(super) fn is_kept(version: &Stamp, next: Option<i64>, compacted: i64) -> bool {
    version.modified >= compacted
        || (version.version != 0 && next.is_none_or(|next| next > compacted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(changes: &[(i64, u32, i64)]) -> Record {
        let mut record = Record::new(b"k");
        for &(modified, sub, version) in changes {
            record.push(Version::new(b"v", Stamp { modified, sub, version, ..Stamp::default() }));
        }
        record
    }

    fn left(mut record: Record, compacted: i64) -> Vec<i64> {
        record.trim(compacted, |_| ());
        record.versions().map(Version::modified).collect()
    }

    #[test]
    fn reads_see_the_last_change_of_a_revision() {
        let record = record(&[(3, 0, 1), (5, 0, 0), (5, 1, 1), (8, 0, 0)]);
        assert!(record.version_at(2).is_none());
        assert_eq!(record.version_at(4).unwrap().modified(), 3);
        assert_eq!(record.live_at(5).unwrap().stamp().sub, 1);
        assert!(record.live_at(8).is_none());
        assert_eq!(record.changed_at(5, 0).unwrap().stamp().sub, 0);
        assert_eq!(record.changed_at(5, 1).unwrap().stamp().sub, 1);
        assert!(record.changed_at(5, 2).is_none());
        assert_eq!(record.changed_at(8, 0).unwrap().modified(), 8);
    }

    #[test]
    fn trimming_keeps_what_a_read_at_the_compact_revision_sees() {
        let changes = [(3, 0, 1), (5, 0, 0), (7, 0, 1), (9, 0, 2)];
        for (compacted, expected) in [
            (-1, vec![3, 5, 7, 9]),
            (4, vec![3, 5, 7, 9]),
            (5, vec![5, 7, 9]),
            (6, vec![7, 9]),
            (8, vec![7, 9]),
            (9, vec![9]),
            (100, vec![9]),
        ] {
            assert_eq!(left(record(&changes), compacted), expected, "at {compacted}");
        }
        assert_eq!(left(record(&[(3, 0, 1), (5, 0, 0)]), 6), Vec::<i64>::new());
        assert_eq!(left(record(&[(3, 0, 1), (5, 0, 0), (5, 1, 1)]), 5), vec![5, 5]);
        assert_eq!(left(record(&[(3, 0, 1), (5, 0, 0), (5, 1, 1)]), 6), vec![5]);
    }
}
