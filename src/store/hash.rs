//! A hash of what is kept, in slices.
//!
//! Each version is hashed with its key, and the hashes are added: the sum does not depend on the
//! order, so the sums of shards can be added too. A version counts if compaction at `compacted`
//! keeps it, whether or not the slices have come by; so members agree that are not equally far.

use std::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::types::{Blob, Revision, Stamp};

use super::Store;
use super::versions::is_kept;

/// A hash under way. If the compact revision moves meanwhile, it starts again.
#[derive(Clone, Debug)]
pub struct HashCursor {
    at: Revision,
    compacted: i64,
    /// Behind which key and version it goes on.
    key: Blob,
    modified: i64,
    sub: u32,
    sum: u32,
}

impl HashCursor {
    /// The hash of everything kept up to `at`.
    pub fn new(at: Revision) -> HashCursor {
        HashCursor { at, compacted: -1, key: Blob::empty(), modified: -1, sub: 0, sum: 0 }
    }

    /// The compact revision to which the hash belongs.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }
}

impl Store {
    /// Goes over about `keys` versions, and keys that have none to hash; the hash when it is
    /// through. Over shards, hashes are added with [`u32::wrapping_add`].
    pub fn hash_slice(&self, cursor: &mut HashCursor, keys: usize) -> Option<u32> {
        if cursor.compacted != self.compacted() {
            *cursor = HashCursor { compacted: self.compacted(), ..HashCursor::new(cursor.at) };
        }
        let mut left = keys.max(1);
        let mut is_cut = false;
        let start = cursor.key.clone();
        self.tree.walk_from(&start, &mut |records, _| {
            for record in records {
                let same = record.key == start;
                let behind = if same { (cursor.modified, cursor.sub) } else { (-1, 0) };
                let mut is_counted = same;
                for (version, next) in record.versions_above(behind.0, behind.1) {
                    let stamp = version.stamp();
                    if stamp.modified > cursor.at.0 {
                        break;
                    }
                    if left == 0 {
                        is_cut = true;
                        return ControlFlow::Break(());
                    }
                    left -= 1;
                    is_counted = true;
                    cursor.key = record.key.clone();
                    (cursor.modified, cursor.sub) = (stamp.modified, stamp.sub);
                    if is_kept(stamp, next.map(|next| next.modified()), cursor.compacted) {
                        let hash = hash(&record.key, stamp, version.value());
                        cursor.sum = cursor.sum.wrapping_add(hash);
                    }
                }
                if is_counted {
                    continue;
                }
                // All of it is above the revision: that was seen, and is not looked at again.
                if left == 0 {
                    is_cut = true;
                    return ControlFlow::Break(());
                }
                left -= 1;
                cursor.key = record.key.clone();
                (cursor.modified, cursor.sub) = (i64::MAX, u32::MAX);
            }
            ControlFlow::Continue(())
        });
        (!is_cut).then_some(cursor.sum)
    }
}

fn hash(key: &[u8], stamp: &Stamp, value: &[u8]) -> u32 {
    let mut numbers = [0; 36];
    let fields = [stamp.modified, stamp.create, stamp.version, stamp.lease];
    for (place, field) in numbers.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    numbers[32..].copy_from_slice(&stamp.sub.to_le_bytes());
    let seed = xxh3_64_with_seed(&numbers, xxh3_64_with_seed(key, 0));
    let hash = xxh3_64_with_seed(value, seed);
    (hash ^ hash >> 32) as u32
}
