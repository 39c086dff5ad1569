//! Dropping history, in small slices.
//!
//! A compaction at R keeps every change from R on and, of each key below, the version that a read
//! at R sees; a tombstone below R is never seen and goes, with its key if that was all. What it
//! drops is found through the timeline: only a change up to R can have put an older version of
//! its key out of sight, so a slice does work for changes, not for keys, and a key with a million
//! versions costs no more at a time than any other.
//!
//! ```text
//!  timeline   4:/a  5:/b  7:/a  8:✝/b │ 9:/c  9:/a │ 10 ...          R = 9
//!             ── taken off one by one ─┤ looked at, ├── not touched
//!                each trims its key     │ but kept   │
//! ```

use crate::types::{Blob, Revision};

use super::Store;

/// The progress of a compaction, and its target.
pub(super) struct Compaction {
    /// The requested revision: reads below it are refused. Memory follows in slices.
    pub(super) target: i64,
    /// Everything that a compaction here drops is gone.
    done: i64,
    /// The compaction under way: where, and how many changes of exactly that revision are done.
    goal: i64,
    looked_at: usize,
}

impl Compaction {
    pub(super) fn new(target: i64) -> Compaction {
        Compaction { target, done: -1, goal: -1, looked_at: 0 }
    }

    /// From here on every change is still there.
    pub(super) fn history(&self) -> i64 {
        self.goal.max(self.done)
    }

    /// Changes at the goal may be other ones now.
    pub(super) fn rolled_back(&mut self) {
        self.looked_at = 0;
    }
}

impl Store {
    /// Compacts at `target`: from now on nobody reads below it. A lower one changes nothing.
    pub fn set_compaction(&mut self, target: Revision) {
        self.compaction.target = self.compaction.target.max(target.0);
    }

    /// Drops what compaction at `min(target, floor)` does not keep, looking at about `keys`
    /// changes; true if all of that is gone. No read, watcher or roll-back may still need what is
    /// below `floor`, so it is at most stable.
    pub fn compact_slice(&mut self, floor: Revision, keys: usize) -> bool {
        let goal = self.compaction.target.min(floor.0);
        if goal <= self.compaction.done {
            return true;
        }
        if goal != self.compaction.goal {
            self.compaction.goal = goal;
            self.compaction.looked_at = 0;
        }
        for _ in 0..keys.max(1) {
            if self.timeline.front().is_some_and(|(revision, _)| revision < goal) {
                let (revision, key) = self.timeline.pop_front().expect("there is a front");
                self.passed = self.passed.max(revision);
                self.trim(&key, revision + 1);
                continue;
            }
            match self.timeline.get(self.compaction.looked_at) {
                Some((revision, key)) if revision == goal => {
                    let key = key.clone();
                    self.trim(&key, goal);
                    self.compaction.looked_at += 1;
                }
                _ => {
                    self.compaction.done = goal;
                    return true;
                }
            }
        }
        false
    }

    fn trim(&mut self, key: &Blob, compacted: i64) {
        let Store { tree, sizes, .. } = self;
        // A key can be gone already: two changes of it, the later one a tombstone.
        tree.modify(key, |record| {
            record.trim(compacted, |dropped| sizes.remove_version(&dropped));
            sizes.remove_key_if_empty(record);
        });
    }
}
