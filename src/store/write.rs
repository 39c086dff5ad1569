//! Changes: made after an evaluation, made again by a replica, and taken back.

use std::fmt;

use crate::types::{
    Blob, DeleteRangeReply, KeyRange, KeyValue, LeaseId, PutReply, PutRequest, Revision, Stamp, Sub,
};

use super::Store;
use super::judge::Judging;
use super::prepare::{Deletion, Prepared};
use super::versions::{Record, Version};

/// A replicated deletion would not hit the keys that it hit where it was evaluated: the replicas
/// have come apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub expected: u64,
    pub found: u64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a deletion of {} keys finds {} here", self.expected, self.found)
    }
}

impl std::error::Error for Mismatch {}

/// A replicated put keeps what its key has, and the key is not there: the replicas have come apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NothingToKeep;

/// The newest state of a key has changed: to be told to what is being prepared.
fn changed(
    record: &mut Record,
    prepared: &mut Option<Box<Prepared>>,
    judging: &mut Option<Box<Judging>>,
) {
    if let Some(prepared) = prepared {
        prepared.changed(record);
    }
    if let Some(judging) = judging {
        judging.changed(record);
    }
}

/// What a put writes; `None` keeps what the key has.
struct Content<'a> {
    value: Option<&'a [u8]>,
    lease: Option<LeaseId>,
}

impl Store {
    /// Carries out a put that was validated.
    pub fn put(&mut self, revision: Revision, sub: Sub, put: &PutRequest) -> PutReply {
        let content = Content {
            value: (!put.ignore_value).then_some(&put.value[..]),
            lease: (!put.ignore_lease).then_some(put.lease),
        };
        let prev_kv = self.write(revision, sub, &put.key, content, put.prev_kv);
        PutReply { revision, prev_kv }
    }

    /// Carries out a deletion: in one step if it is prepared, which `prev_kv` cannot be. The header
    /// is the caller's if nothing was there to delete.
    pub fn delete_range(
        &mut self,
        revision: Revision,
        sub: Sub,
        range: &KeyRange,
        prev_kv: bool,
    ) -> DeleteRangeReply {
        let mut reply = DeleteRangeReply { revision, ..DeleteRangeReply::default() };
        if !prev_kv && self.has_delete() {
            let deletion = Deletion::Range(range.clone());
            if let Some(count) = self.make_delete(revision, sub, &deletion) {
                reply.deleted = count as i64;
                return reply;
            }
        }
        // One for all of them.
        let tombstone = Version::tombstone(revision.0, sub.0);
        let Store { tree, timeline, leases, sizes, prepared, judging, .. } = self;
        tree.modify_live(range, &mut |record| {
            let old = record.live_top().expect("called for live records");
            if prev_kv {
                reply.prev_kvs.push(record.key_value(old));
            }
            leases.move_key(&record.key, old.lease(), LeaseId::NONE);
            record.push(tombstone.clone());
            sizes.add_version(&tombstone);
            timeline.push(revision.0, &record.key);
            reply.deleted += 1;
            changed(record, prepared, judging);
        });
        reply
    }

    /// Makes a put again that was evaluated elsewhere or earlier; `None` keeps the value, or the
    /// lease, that the key has. Without such a key it has no effect.
    pub fn apply_put(
        &mut self,
        revision: Revision,
        sub: Sub,
        key: &[u8],
        value: Option<&[u8]>,
        lease: Option<LeaseId>,
    ) -> Result<(), NothingToKeep> {
        if (value.is_none() || lease.is_none()) && !self.has(key, Revision::NEWEST) {
            return Err(NothingToKeep);
        }
        self.write(revision, sub, key, Content { value, lease }, false);
        Ok(())
    }

    /// Makes a deletion again. It must hit as many keys as where it was evaluated; otherwise it
    /// has no effect.
    pub fn apply_delete_range(
        &mut self,
        revision: Revision,
        sub: Sub,
        range: &KeyRange,
        expected: u64,
    ) -> Result<(), Mismatch> {
        let found = self.tree.count(range);
        if found != expected {
            return Err(Mismatch { expected, found });
        }
        self.delete_range(revision, sub, range, false);
        Ok(())
    }

    /// Deletes every key that is attached to `lease`, in order, in one step if that is prepared;
    /// returns how many there were.
    pub fn delete_lease_keys(&mut self, revision: Revision, sub: Sub, lease: LeaseId) -> u64 {
        if let Some(count) = self.make_delete(revision, sub, &Deletion::Lease(lease)) {
            return count;
        }
        let tombstone = Version::tombstone(revision.0, sub.0);
        let is_exact = self.has_detached();
        let Store { tree, timeline, leases, sizes, prepared, judging, .. } = self;
        let mut count = 0;
        for key in &leases.take(lease) {
            tree.modify(key, |record| {
                if record.live_top().is_none_or(|top| top.lease() != lease) {
                    assert!(!is_exact, "attached");
                    return;
                }
                record.push(tombstone.clone());
                sizes.add_version(&tombstone);
                timeline.push(revision.0, &record.key);
                changed(record, prepared, judging);
                count += 1;
            });
        }
        count
    }

    /// Deletes the keys of a lease again: as many as where it was evaluated, or it has no effect.
    pub fn apply_delete_lease_keys(
        &mut self,
        revision: Revision,
        sub: Sub,
        lease: LeaseId,
        expected: u64,
    ) -> Result<(), Mismatch> {
        let found = self.lease_keys(lease).count() as u64;
        if found != expected {
            return Err(Mismatch { expected, found });
        }
        self.delete_lease_keys(revision, sub, lease);
        Ok(())
    }

    fn write(
        &mut self,
        revision: Revision,
        sub: Sub,
        key: &[u8],
        content: Content<'_>,
        prev_kv: bool,
    ) -> Option<KeyValue> {
        assert!(self.loading.is_none(), "finish_load comes before the first change");
        let Store { tree, timeline, leases, sizes, prepared, judging, .. } = self;
        tree.upsert(key, |record| {
            if record.is_empty() {
                sizes.add_key(&record.key);
            }
            let old = record.live_top();
            let mut stamp = Stamp {
                modified: revision.0,
                create: revision.0,
                version: 1,
                lease: content.lease.unwrap_or(LeaseId::NONE).0,
                sub: sub.0,
            };
            let mut old_lease = LeaseId::NONE;
            if let Some(old) = old {
                old_lease = old.lease();
                stamp.create = old.stamp().create;
                stamp.version = old.stamp().version + 1;
                stamp.lease = content.lease.unwrap_or(old_lease).0;
            }
            let kept = || old.expect("ignore_value was validated").value().as_slice();
            let version = Version::new(content.value.unwrap_or_else(kept), stamp);
            let previous = old.filter(|_| prev_kv).map(|old| record.key_value(old));
            leases.move_key(&record.key, old_lease, version.lease());
            sizes.add_version(&version);
            timeline.push(revision.0, &record.key);
            record.push(version);
            changed(record, prepared, judging);
            previous
        })
    }

    /// Takes every change above `cut` away; returns how many there were.
    ///
    /// # Panics
    ///
    /// If `cut` is below what was settled.
    pub fn roll_back(&mut self, cut: Revision) -> usize {
        assert!(cut.0 >= self.settled, "{cut} is below {}: that is final", self.settled);
        self.end_judging();
        self.abandon_delete();
        while !self.undo_delete(&mut usize::MAX.clone()) {}
        let mut count = 0;
        while self.timeline.newest().is_some_and(|newest| newest > cut.0) {
            let (revision, key) = self.timeline.pop_back().expect("it has a newest");
            self.take_back(revision, &key);
            count += 1;
        }
        self.roll_backs += u64::from(count > 0);
        self.compaction.rolled_back();
        count
    }

    fn take_back(&mut self, revision: i64, key: &Blob) {
        let Store { tree, leases, sizes, .. } = self;
        let lease_of = |version: Option<&Version>| version.map_or(LeaseId::NONE, Version::lease);
        tree.modify(key, |record| {
            let lease = lease_of(record.live_top());
            let taken = record.pop();
            assert_eq!(taken.modified(), revision, "the timeline names the newest version");
            leases.move_key(key, lease, lease_of(record.live_top()));
            sizes.remove_version(&taken);
            sizes.remove_key_if_empty(record);
        })
        .expect("the timeline names keys that are there");
    }

    /// Promises that nothing up to `stable` will be rolled back; [`Store::roll_back`] holds the
    /// caller to it.
    pub fn settle(&mut self, stable: Revision) {
        self.settled = self.settled.max(stable.0);
    }
}
