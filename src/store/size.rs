//! The number of keys and versions, and the bytes that they take.
//!
//! Bytes are reckoned from what is stored, not asked of the allocator, so that they do not depend
//! on the path that led here and come back exactly when pending changes are rolled back. The
//! constants are what `benches/store.rs` measures.

use super::versions::{Record, Version};
use crate::types::Blob;

/// Bytes that a key takes besides its own and its versions: its place in a leaf about 80% full, the
/// head of its allocation, and what the allocator rounds up.
const KEY_OVERHEAD: u64 = 56;
/// Bytes that a version takes besides its value: its numbers, its place in the timeline, rounding.
const VERSION_OVERHEAD: u64 = Blob::OVERHEAD_STAMPED as u64 + 12 + 16;

/// The size of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Keys that exist in the newest state.
    pub keys: u64,
    /// Versions of keys, tombstones included.
    pub versions: u64,
    /// Bytes that what is stored takes: keys, values, overhead.
    pub in_use: u64,
    /// Bytes held for it: the most that was in use since memory was last given back.
    pub held: u64,
}

/// The counters that make up a [`Size`].
#[derive(Default)]
pub(super) struct Sizes {
    pub(super) versions: u64,
    pub(super) in_use: u64,
    held: u64,
}

impl Sizes {
    pub(super) fn add_key(&mut self, key: &[u8]) {
        self.in_use += KEY_OVERHEAD + key.len() as u64;
    }

    pub(super) fn add_version(&mut self, version: &Version) {
        self.versions += 1;
        self.in_use += version_bytes(version);
        self.held = self.held.max(self.in_use);
    }

    /// Adds `count` versions that are alike, as [`Sizes::add_version`] adds one.
    pub(super) fn add_versions(&mut self, count: u64, version: &Version) {
        self.versions += count;
        self.in_use += count * version_bytes(version);
        self.held = self.held.max(self.in_use);
    }

    /// Counts what [`Record::trim`] or a roll-back took away.
    pub(super) fn remove_version(&mut self, version: &Version) {
        self.versions -= 1;
        self.in_use -= version_bytes(version);
    }

    /// Counts the record itself out, if nothing is left of it.
    pub(super) fn remove_key_if_empty(&mut self, record: &Record) {
        if record.is_empty() {
            self.in_use -= KEY_OVERHEAD + record.key.len() as u64;
        }
    }

    pub(super) fn with_keys(&self, keys: u64) -> Size {
        Size { keys, versions: self.versions, in_use: self.in_use, held: self.held }
    }

    pub(super) fn give_back(&mut self) {
        self.held = self.in_use;
    }
}

fn version_bytes(version: &Version) -> u64 {
    VERSION_OVERHEAD + version.value().len() as u64
}
