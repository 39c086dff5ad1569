//! Reads at a revision: one key, a range of them at once, and what changed.

use crate::limits::READ_SLICE_KEYS;
use crate::types::{
    Blob, KeyRange, KeyValue, KeyView, RangeFilters, RangeReply, RangeRequest, Revision,
    SortTarget, Sub,
};

use super::Store;
use super::leaf::Leaf;
use super::moment::Moment;
use super::scan::Scan;
use super::versions::{Record, Version};

/// One change, as a watcher learns of it. What was before it is `get(key, revision - 1)`, unless
/// the key changed more than once in this revision: then it is the change before in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub revision: Revision,
    pub sub: Sub,
    pub key: Blob,
    /// `None` is a deletion.
    pub put: Option<KeyValue>,
}

/// On the way to a key, in steps each of which asks for the memory that the next one looks at: a
/// caller who looks for several keys does every step for all of them and waits once, not for each.
pub struct KeyLookup<'a> {
    key: &'a [u8],
    leaf: &'a Leaf,
    /// The position in the leaf.
    at: Option<usize>,
}

impl KeyLookup<'_> {
    /// The first step: where in its leaf the key can only be.
    pub fn approach(&mut self) {
        self.at = self.leaf.approach(self.key);
    }

    /// The second step.
    pub fn prefetch(&self) {
        if let Some(at) = self.at {
            self.leaf.records()[at].prefetch();
        }
    }

    /// The key as it stood at `at`, where it stands.
    pub fn look(&self, at: Revision) -> Option<KeyView<'_>> {
        let record = &self.leaf.records()[self.leaf.search(self.key).ok()?];
        record.live_at(at.0).map(|version| record.view(version))
    }
}

/// The changes that [`Store::changes_slice`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub list: Vec<Change>,
    /// Nothing up to here is missing from the list.
    pub through: Revision,
}

impl Store {
    /// The key as it stood at `at`.
    pub fn get(&self, key: &[u8], at: Revision) -> Option<KeyValue> {
        let record = self.tree.get(key)?;
        record.live_at(at.0).map(|version| record.key_value(version))
    }

    /// Begins to look for a key; see [`KeyLookup`].
    pub fn seek<'a>(&'a self, key: &'a [u8]) -> KeyLookup<'a> {
        let leaf = self.tree.leaf_of(key);
        leaf.prefetch();
        KeyLookup { key, leaf, at: None }
    }

    /// Whether the key existed at `at`.
    pub fn has(&self, key: &[u8], at: Revision) -> bool {
        self.tree.get(key).is_some_and(|record| record.live_at(at.0).is_some())
    }

    /// This shard's part of a range, at `at` (the caller has checked its bounds): at most `limit`
    /// keys, in the order asked for, those that tie in key order. All at once: see [`Scan`].
    pub fn range(&self, request: &RangeRequest, at: Revision) -> RangeReply {
        let mut reply = match self.range_of_one(request, at) {
            Some(reply) => reply,
            None => {
                let mut scan = Scan::new(request.clone(), Moment::at(at), READ_SLICE_KEYS);
                self.scan_slice(&mut scan, &mut usize::MAX.clone()).expect("nothing stops it")
            }
        };
        reply.revision = if at == Revision::NEWEST { self.newest() } else { at };
        reply
    }

    /// A range of one key, as nearly all come, is looked up.
    pub fn range_of_one(&self, request: &RangeRequest, at: Revision) -> Option<RangeReply> {
        let key = request.range.single_key()?;
        let is_plain = request.filters.is_off() && !request.count_only;
        if !is_plain || request.target == SortTarget::Value {
            return None;
        }
        let record = self.tree.get(key);
        let seen = record.and_then(|record| Some((record, record.live_at(at.0)?)));
        let present = Presentation::of(request);
        let kvs: Vec<_> =
            seen.iter().map(|(record, version)| present.key_value(record, version)).collect();
        let count = kvs.len() as i64;
        Some(RangeReply { revision: at, kvs, more: false, count })
    }

    /// The changes of keys in `range` with `from < revision <= to`, in order; of at most `limit`
    /// revisions, each whole.
    pub fn changes(
        &self,
        range: &KeyRange,
        from: Revision,
        to: Revision,
        limit: usize,
    ) -> Vec<Change> {
        self.changes_slice(range, from, to, limit, usize::MAX).list
    }

    /// Returns changes, looking at about `visits` of them at most: a watcher of a quiet key that
    /// starts far back goes over much that does not concern it. Both start at the compact revision
    /// if `from` is further back; it is for the caller to have noticed that.
    pub fn changes_slice(
        &self,
        range: &KeyRange,
        from: Revision,
        to: Revision,
        limit: usize,
        visits: usize,
    ) -> Changes {
        let from = from.max(Revision(self.compaction.history() - 1));
        if let Some(key) = range.single_key() {
            return self.changes_of_key(key, from, to, limit);
        }
        let mut list: Vec<Change> = Vec::new();
        let mut revisions = 0;
        // The position in the list at which the current revision begins.
        let mut begin = 0;
        let mut last = from.0;
        for (visited, (revision, key)) in self.timeline.above(from.0).enumerate() {
            if revision > to.0 {
                break;
            }
            if revision != last && visited >= visits {
                return Changes { list, through: Revision(last) };
            }
            if range.contains(key) {
                if list.last().is_none_or(|change| change.revision.0 != revision) {
                    if revisions == limit {
                        return Changes { list, through: Revision(revision - 1) };
                    }
                    revisions += 1;
                    begin = list.len();
                }
                let record = self.tree.get(key).expect("the timeline names keys that are there");
                let nth = match record.changed_at(revision, 1) {
                    None => 0,
                    Some(_) => list[begin..].iter().filter(|change| change.key == *key).count(),
                };
                let version = record.changed_at(revision, nth).expect("the change is kept");
                list.push(change(record, version));
            }
            last = revision;
        }
        Changes { list, through: to }
    }

    fn changes_of_key(&self, key: &[u8], from: Revision, to: Revision, limit: usize) -> Changes {
        let mut list: Vec<Change> = Vec::new();
        let mut revisions = 0;
        if let Some(record) = self.tree.get(key) {
            for (version, _) in record.versions_above(from.0, u32::MAX) {
                let revision = version.modified();
                if revision > to.0 {
                    break;
                }
                if list.last().is_none_or(|change| change.revision.0 != revision) {
                    if revisions == limit {
                        return Changes { list, through: Revision(revision - 1) };
                    }
                    revisions += 1;
                }
                list.push(change(record, version));
            }
        }
        Changes { list, through: to }
    }
}

fn change(record: &Record, version: &Version) -> Change {
    Change {
        revision: Revision(version.modified()),
        sub: Sub(version.stamp().sub),
        key: record.key.clone(),
        put: version.is_live().then(|| record.key_value(version)),
    }
}

/// The fields of a key that an answer shows.
#[derive(Clone, Copy)]
pub(super) enum Presentation {
    Whole,
    /// etcd answers `keys_only` from its index, which knows no leases...
    Index,
    /// ...unless it has to read the values to sort by them.
    WithoutValue,
}

impl Presentation {
    pub(super) fn of(request: &RangeRequest) -> Presentation {
        match (request.keys_only, request.target) {
            (false, _) => Presentation::Whole,
            (true, SortTarget::Value) => Presentation::WithoutValue,
            (true, _) => Presentation::Index,
        }
    }

    pub(super) fn key_value(self, record: &Record, version: &Version) -> KeyValue {
        match self {
            Presentation::Whole => record.key_value(version),
            Presentation::Index => record.key_only(version),
            Presentation::WithoutValue => {
                KeyValue { lease: version.lease(), ..record.key_only(version) }
            }
        }
    }
}

pub(super) fn passes(filters: &RangeFilters, version: &Version) -> bool {
    let stamp = version.stamp();
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(stamp.modified, filters.min_mod, filters.max_mod)
        && within(stamp.create, filters.min_create, filters.max_create)
}
