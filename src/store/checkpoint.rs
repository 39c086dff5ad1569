//! The whole state as bytes, in slices, and back.
//!
//! ```text
//!  chunk   = group*
//!  group   = key length u32 · versions u31, forget u1 · key · version*   (one or more, or forget)
//!  version = modified i64 · create i64 · version i64 · lease i64 · sub u32
//!            · value length u32 · value
//! ```
//!
//! Integers are little-endian; keys ascend, versions of a key ascend by (modified, sub), also from
//! one chunk to the next: a key with many versions goes on in the next chunk, as a group of its
//! own. Checksums, and what the state belongs to, are the file's.
//!
//! Versions are never changed, so writes between slices do not disturb a checkpoint of everything
//! up to `upto`: their versions are above it, and left out. Neither does compaction. A slice
//! leaves out what a compaction at min(asked for, `upto`) drops; a later slice may leave out more,
//! an earlier one may have kept what has been dropped since. So a checkpoint holds at least what
//! the *last* compact revision keeps, and it is that one that must be recorded with it and given
//! to [`Store::finish_load`]; what is there beyond, the first compaction after the load removes.
//! One case needs care: a key is cut between two chunks, and a tombstone behind the cut is dropped
//! before it is written; what was written before it would come to life. So if a later compaction
//! has dropped the last version before the cut, the next group says to forget those.

use std::fmt;
use std::ops::ControlFlow;

use crate::types::{Blob, LeaseId, Revision, Stamp};

use super::Store;
use super::versions::{Record, Version, is_kept};

/// Bytes of a group before its key, and of a version before its value.
const GROUP_HEAD: usize = 8;
const VERSION_HEAD: usize = 40;
/// Bytes that a look at a version costs a slice, even when it is left out.
const VISIT_BYTES: usize = 16;
/// In a group's count: what earlier chunks hold of the key has been compacted since.
const FORGET: u32 = 1 << 31;

/// A checkpoint under way: behind which key and version it goes on.
#[derive(Clone, Debug)]
pub struct CheckpointCursor {
    key: Blob,
    modified: i64,
    sub: u32,
    /// Whether something of that key is in the chunks.
    wrote: bool,
    compacted: i64,
}

impl Default for CheckpointCursor {
    fn default() -> CheckpointCursor {
        CheckpointCursor::new()
    }
}

impl CheckpointCursor {
    /// Makes a cursor at the beginning of a store.
    pub fn new() -> CheckpointCursor {
        let key = Blob::empty();
        CheckpointCursor { key, modified: -1, sub: 0, wrote: false, compacted: -1 }
    }

    /// Returns the compact revision at the latest slice, to be given to [`Store::finish_load`]
    /// after these chunks are loaded.
    pub fn compacted(&self) -> i64 {
        self.compacted
    }
}

/// A chunk that no checkpoint ever contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadChunk {
    /// The offset in the chunk.
    pub offset: usize,
    pub what: &'static str,
}

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad checkpoint chunk: {} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for BadChunk {}

/// The progress of a load.
pub(super) struct Loading {
    key: Blob,
    modified: i64,
    sub: u32,
}

impl Store {
    /// Appends about `bytes` bytes (a version at least) of the state up to `upto`; true at its
    /// end. What one call appends is one chunk.
    pub fn checkpoint_slice(
        &self,
        cursor: &mut CheckpointCursor,
        upto: Revision,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        cursor.compacted = self.compacted();
        let mut slice = Slice {
            compacted: self.compacted().min(upto.0),
            upto: upto.0,
            begin: out.len(),
            bytes,
            visits: 0,
            out,
        };
        let start = cursor.key.clone();
        if cursor.wrote && !self.keeps(cursor, slice.compacted) {
            slice.begin_group(&start, FORGET);
            cursor.wrote = false;
        }
        let mut is_done = true;
        self.tree.walk_from(&start, &mut |records, _| {
            for record in records {
                let same = record.key == start;
                let behind = if same { (cursor.modified, cursor.sub) } else { (-1, 0) };
                let (count, full) = slice.put_group(record, behind);
                if let Some((modified, sub)) = full {
                    cursor.wrote = count > 0 || same && cursor.wrote;
                    (cursor.key, cursor.modified, cursor.sub) = (record.key.clone(), modified, sub);
                    is_done = false;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        is_done
    }

    /// Whether compaction at `compacted` keeps the version that the cursor is at.
    fn keeps(&self, cursor: &CheckpointCursor, compacted: i64) -> bool {
        let Some(record) = self.tree.get(&cursor.key) else { return false };
        let mut versions = record.versions_above(cursor.modified - 1, u32::MAX);
        versions
            .find(|(version, _)| {
                let stamp = version.stamp();
                (stamp.modified, stamp.sub) == (cursor.modified, cursor.sub)
            })
            .is_some_and(|(version, next)| {
                is_kept(version.stamp(), next.map(Version::modified), compacted)
            })
    }

    /// Takes in one chunk; they must come in order, into a new store. After an error the store is
    /// of no use.
    pub fn load_chunk(&mut self, chunk: &[u8]) -> Result<(), BadChunk> {
        if self.loading.is_none() {
            if !self.timeline.is_empty() || self.sizes.versions > 0 {
                return Err(BadChunk { offset: 0, what: "the store is not new" });
            }
            self.loading = Some(Loading { key: Blob::empty(), modified: -1, sub: 0 });
        }
        let mut input = Input { chunk, offset: 0 };
        while input.offset < chunk.len() {
            self.load_group(&mut input)?;
        }
        Ok(())
    }

    fn load_group(&mut self, input: &mut Input<'_>) -> Result<(), BadChunk> {
        let begin = input.offset;
        let bad = |what| Err(BadChunk { offset: begin, what });
        let key_length = input.u32()? as usize;
        let count = input.u32()?;
        let (forget, count) = (count & FORGET != 0, (count & !FORGET) as usize);
        let key = input.take(key_length)?;
        let loading = self.loading.as_mut().expect("begun with the first chunk");
        if key.is_empty() {
            return bad("an empty key");
        }
        if key < loading.key.as_slice() {
            return bad("a key out of order");
        }
        if forget != (count == 0) {
            return bad("a key without versions");
        }
        if forget {
            if key != loading.key.as_slice() || loading.modified == 0 {
                return bad("nothing to forget");
            }
            loading.modified = 0;
            self.forget(key);
            return Ok(());
        }
        if key > loading.key.as_slice() {
            *loading = Loading { key: Blob::from(key), modified: 0, sub: 0 };
        }
        // Every version takes its head at least, so a lying count reserves no more than is there.
        let mut versions = Vec::with_capacity(count.min(input.left() / VERSION_HEAD));
        for _ in 0..count {
            let version = input.version()?;
            let stamp = version.stamp();
            let is_first = loading.modified == 0;
            if !is_first && (stamp.modified, stamp.sub) <= (loading.modified, loading.sub) {
                return bad("a version out of order");
            }
            (loading.modified, loading.sub) = (stamp.modified, stamp.sub);
            versions.push(version);
        }
        let Store { tree, sizes, leases, .. } = self;
        tree.upsert(key, |record| {
            if record.is_empty() {
                sizes.add_key(key);
            }
            let old_lease = record.live_top().map_or(LeaseId::NONE, Version::lease);
            for version in versions {
                sizes.add_version(&version);
                record.push(version);
            }
            let lease = record.live_top().map_or(LeaseId::NONE, Version::lease);
            leases.move_key(&record.key, old_lease, lease);
        });
        Ok(())
    }

    /// Takes out all versions of a key that were loaded.
    fn forget(&mut self, key: &[u8]) {
        let Store { tree, sizes, leases, .. } = self;
        tree.modify(key, |record| {
            let lease = record.live_top().map_or(LeaseId::NONE, Version::lease);
            leases.move_key(&record.key, lease, LeaseId::NONE);
            while !record.is_empty() {
                sizes.remove_version(&record.pop());
            }
            sizes.remove_key_if_empty(record);
        });
    }

    /// Ends a load: the store is as it was when the last slice was taken, up to its `upto`.
    /// `compacted` is the cursor's at the end.
    pub fn finish_load(&mut self, compacted: i64) {
        self.loading = None;
        self.compaction = super::compact::Compaction::new(compacted);
        let Store { tree, timeline, passed, .. } = self;
        let mut changes: Vec<(i64, u32, &Blob)> = Vec::new();
        tree.walk_from(&[], &mut |records, _| {
            for record in records {
                for (i, version) in record.versions().enumerate() {
                    let stamp = version.stamp();
                    if i == 0 && version.is_live() && stamp.modified < compacted {
                        // The compaction left this of the key: nobody asks when it was made.
                        *passed = stamp.modified.max(*passed);
                    } else {
                        changes.push((stamp.modified, stamp.sub, &record.key));
                    }
                }
            }
            ControlFlow::Continue(())
        });
        // Keys were met in order, so a stable sort leaves those of one operation in order.
        changes.sort_by_key(|&(modified, sub, _)| (modified, sub));
        for (modified, _, key) in changes {
            timeline.push(modified, key);
        }
    }
}

/// A slice being written.
struct Slice<'a> {
    compacted: i64,
    upto: i64,
    /// The length of `out` before.
    begin: usize,
    bytes: usize,
    visits: usize,
    out: &'a mut Vec<u8>,
}

impl Slice<'_> {
    /// Writes the versions of a key behind the given one; says how many, and at which the slice
    /// was full.
    fn put_group(&mut self, record: &Record, behind: (i64, u32)) -> (u32, Option<(i64, u32)>) {
        let place = self.out.len();
        let mut count: u32 = 0;
        let mut full = None;
        for (version, next) in record.versions_above(behind.0, behind.1) {
            let stamp = version.stamp();
            if stamp.modified > self.upto {
                break;
            }
            self.visits += 1;
            if is_kept(stamp, next.map(Version::modified), self.compacted) {
                if count == 0 {
                    self.begin_group(&record.key, 0);
                }
                count += 1;
                self.put_version(stamp, version.value());
            }
            if self.out.len() - self.begin + self.visits * VISIT_BYTES >= self.bytes {
                full = Some((stamp.modified, stamp.sub));
                break;
            }
        }
        if count > 0 {
            self.out[place + 4..place + GROUP_HEAD].copy_from_slice(&count.to_le_bytes());
        }
        (count, full)
    }

    fn begin_group(&mut self, key: &[u8], count: u32) {
        self.put_u32(key.len());
        self.out.extend_from_slice(&count.to_le_bytes());
        self.out.extend_from_slice(key);
    }

    fn put_version(&mut self, stamp: &Stamp, value: &[u8]) {
        for number in [stamp.modified, stamp.create, stamp.version, stamp.lease] {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        self.out.extend_from_slice(&stamp.sub.to_le_bytes());
        self.put_u32(value.len());
        self.out.extend_from_slice(value);
    }

    fn put_u32(&mut self, length: usize) {
        let length = u32::try_from(length).expect("a blob is below 2 GiB");
        self.out.extend_from_slice(&length.to_le_bytes());
    }
}

/// A chunk being read.
struct Input<'a> {
    chunk: &'a [u8],
    offset: usize,
}

impl<'a> Input<'a> {
    fn left(&self) -> usize {
        self.chunk.len() - self.offset
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadChunk> {
        if length > self.left() {
            return Err(BadChunk { offset: self.offset, what: "cut off" });
        }
        let begin = self.offset;
        self.offset += length;
        Ok(&self.chunk[begin..self.offset])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadChunk> {
        Ok(self.take(N)?.try_into().expect("N were taken"))
    }

    fn u32(&mut self) -> Result<u32, BadChunk> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, BadChunk> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    fn version(&mut self) -> Result<Version, BadChunk> {
        let begin = self.offset;
        let (modified, create) = (self.i64()?, self.i64()?);
        let (version, lease) = (self.i64()?, self.i64()?);
        let sub = self.u32()?;
        let length = self.u32()? as usize;
        let value = self.take(length)?;
        let is_live = (1..i64::MAX / 2).contains(&version) && (1..=modified).contains(&create);
        let is_tombstone = version == 0 && create == 0 && lease == 0 && value.is_empty();
        if !(is_live || is_tombstone) || !(1..i64::MAX).contains(&modified) {
            return Err(BadChunk { offset: begin, what: "an impossible version" });
        }
        Ok(Version::new(value, Stamp { modified, create, version, lease, sub }))
    }
}
