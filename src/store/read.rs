//! Reads at a revision: one key, a range of them, how many, and what changed.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use crate::types::{
    Blob, KeyRange, KeyValue, KeyView, RangeFilters, RangeReply, RangeRequest, Revision, SortOrder,
    SortTarget, Sub,
};

use super::Store;
use super::leaf::Leaf;
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
pub struct Place<'a> {
    key: &'a [u8],
    leaf: &'a Leaf,
    /// Where in the leaf.
    at: Option<usize>,
}

impl Place<'_> {
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

/// What [`Store::changes_slice`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub list: Vec<Change>,
    /// Nothing up to here is missing from the list.
    pub through: Revision,
}

/// A key and the version of it that a read sees.
type Seen<'a> = (&'a Record, &'a Version);

impl Store {
    /// The key as it stood at `at`.
    pub fn get(&self, key: &[u8], at: Revision) -> Option<KeyValue> {
        let record = self.tree.get(key)?;
        record.live_at(at.0).map(|version| record.key_value(version))
    }

    /// Begins to look for a key; see [`Place`].
    pub fn seek<'a>(&'a self, key: &'a [u8]) -> Place<'a> {
        let leaf = self.tree.leaf_of(key);
        leaf.prefetch();
        Place { key, leaf, at: None }
    }

    /// Whether the key existed at `at`.
    pub fn has(&self, key: &[u8], at: Revision) -> bool {
        self.tree.get(key).is_some_and(|record| record.live_at(at.0).is_some())
    }

    /// This shard's part of a range, at `at` (the caller has checked its bounds): at most `limit`
    /// keys, in the order asked for, those that tie in key order.
    pub fn range(&self, request: &RangeRequest, at: Revision) -> RangeReply {
        let revision = if at == Revision::NEWEST { self.newest() } else { at };
        let mut reply = RangeReply { revision, ..RangeReply::default() };
        if request.count_only {
            reply.count = self.count(&request.range, at);
            return reply;
        }
        let limit = match request.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let present = Presentation::of(request);
        if request.target == SortTarget::Key && request.filters.is_off() {
            let downwards = request.order == SortOrder::Descend;
            self.for_each_seen(&request.range, at, downwards, &mut |record, version| {
                if reply.kvs.len() == limit {
                    reply.more = true;
                    return ControlFlow::Break(());
                }
                reply.kvs.push(present.key_value(record, version));
                ControlFlow::Continue(())
            });
            reply.count = if reply.more && !request.uncounted {
                self.count(&request.range, at)
            } else {
                reply.kvs.len() as i64
            };
            return reply;
        }
        let mut seen: Vec<Seen<'_>> = Vec::new();
        self.for_each_seen(&request.range, at, false, &mut |record, version| {
            reply.count += 1;
            if passes(&request.filters, version) {
                seen.push((record, version));
            }
            ControlFlow::Continue(())
        });
        reply.more = seen.len() > limit;
        if request.sorts_after_limit() {
            seen.truncate(limit.saturating_add(1));
        }
        arrange(&mut seen, request, limit);
        reply.kvs =
            seen.iter().map(|(record, version)| present.key_value(record, version)).collect();
        reply
    }

    /// How many keys of `range` existed at `at`. In the newest state that is two descents; a
    /// little below it, those and a look at what changed since; otherwise a walk.
    pub fn count(&self, range: &KeyRange, at: Revision) -> i64 {
        let newest = self.tree.count(range) as i64;
        let changes = self.timeline.count_above(at.0);
        if changes == 0 {
            return newest;
        }
        if range.single_key().is_none() && changes <= 16 + newest as u64 / 16 {
            return newest - self.growth_above(range, at);
        }
        let mut count = 0;
        self.for_each_seen(range, at, false, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        count
    }

    /// By how much the keys of `range` grew in number since `at`.
    fn growth_above(&self, range: &KeyRange, at: Revision) -> i64 {
        let mut keys: Vec<&Blob> = self
            .timeline
            .above(at.0)
            .map(|(_, key)| key)
            .filter(|key| range.contains(key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys.iter()
            .filter_map(|key| self.tree.get(key))
            .map(|record| {
                i64::from(record.live_top().is_some()) - i64::from(record.live_at(at.0).is_some())
            })
            .sum()
    }

    /// Walks what a read of `range` at `at` sees, until `visit` breaks.
    pub(super) fn for_each_seen<'a>(
        &'a self,
        range: &KeyRange,
        at: Revision,
        downwards: bool,
        visit: &mut dyn FnMut(&'a Record, &'a Version) -> ControlFlow<()>,
    ) {
        let is_newest = self.newest() <= at;
        self.tree.walk(range, downwards, &mut |records, live| {
            let count = records.len();
            for step in 0..count {
                let i = if downwards { count - 1 - step } else { step };
                let record = &records[i];
                let version = if is_newest {
                    (live >> i & 1 == 1).then(|| record.top())
                } else {
                    record.live_at(at.0)
                };
                if let Some(version) = version {
                    visit(record, version)?;
                }
            }
            ControlFlow::Continue(())
        });
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

    /// The same, looking at about `visits` changes at most: a watcher of a quiet key that starts
    /// far back goes over much that does not concern it. Both start at the compact revision if
    /// `from` is further back; it is for the caller to have noticed that.
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
        // Where in the list the current revision begins.
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

/// How much of a key an answer shows.
#[derive(Clone, Copy)]
enum Presentation {
    Whole,
    /// etcd answers `keys_only` from its index, which knows no leases...
    Index,
    /// ...unless it has to read the values to sort by them.
    WithoutValue,
}

impl Presentation {
    fn of(request: &RangeRequest) -> Presentation {
        match (request.keys_only, request.target) {
            (false, _) => Presentation::Whole,
            (true, SortTarget::Value) => Presentation::WithoutValue,
            (true, _) => Presentation::Index,
        }
    }

    fn key_value(self, record: &Record, version: &Version) -> KeyValue {
        match self {
            Presentation::Whole => record.key_value(version),
            Presentation::Index => record.key_only(version),
            Presentation::WithoutValue => {
                KeyValue { lease: version.lease(), ..record.key_only(version) }
            }
        }
    }
}

fn passes(filters: &RangeFilters, version: &Version) -> bool {
    let stamp = version.stamp();
    let within =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    within(stamp.modified, filters.min_mod, filters.max_mod)
        && within(stamp.create, filters.min_create, filters.max_create)
}

/// Sorts as asked for and cuts to `limit`. Only what stays is sorted whole.
fn arrange(seen: &mut Vec<Seen<'_>>, request: &RangeRequest, limit: usize) {
    let (target, order) = (request.target, request.order);
    if target == SortTarget::Key && order != SortOrder::Descend {
        seen.truncate(limit);
        return;
    }
    let compare = |a: &Seen<'_>, b: &Seen<'_>| {
        let wanted = by_target(target, a, b);
        let wanted = if order == SortOrder::Descend { wanted.reverse() } else { wanted };
        wanted.then_with(|| a.0.key.cmp(&b.0.key))
    };
    if limit < seen.len() {
        seen.select_nth_unstable_by(limit, compare);
        seen.truncate(limit);
    }
    seen.sort_unstable_by(compare);
}

fn by_target(target: SortTarget, a: &Seen<'_>, b: &Seen<'_>) -> Ordering {
    let (left, right) = (a.1.stamp(), b.1.stamp());
    match target {
        SortTarget::Key => a.0.key.cmp(&b.0.key),
        SortTarget::Version => left.version.cmp(&right.version),
        SortTarget::Create => left.create.cmp(&right.create),
        SortTarget::Mod => left.modified.cmp(&right.modified),
        SortTarget::Value => a.1.value().cmp(b.1.value()),
    }
}
