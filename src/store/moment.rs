//! The moment of the line that a read sees.

use crate::types::{Revision, Stamp, Sub};

/// A place in the order of changes: a read there sees every change before it, and goes on seeing
/// just those however long it takes, also while the revision is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub(super) revision: i64,
    /// Changes of `revision` itself are seen below this ordinal.
    pub(super) below: u32,
}

impl Moment {
    /// After everything at `revision`.
    pub fn at(revision: Revision) -> Moment {
        Moment { revision: revision.0, below: u32::MAX }
    }

    /// Inside the txn that has `revision`: before its operation `sub`, after those before that.
    pub fn within(revision: Revision, sub: Sub) -> Moment {
        Moment { revision: revision.0, below: sub.0 }
    }

    /// The revision at which the read looks: the highest of which it may see something.
    pub fn revision(self) -> Revision {
        Revision(self.revision)
    }

    /// Returns the revision that compaction has to leave for it.
    pub fn floor(self) -> Revision {
        Revision(if self.is_whole() { self.revision } else { self.revision - 1 })
    }

    /// Whether it sees all of its revision.
    pub(super) fn is_whole(self) -> bool {
        self.below == u32::MAX
    }

    pub(super) fn sees(self, stamp: &Stamp) -> bool {
        let is_hidden = stamp.modified == i64::MAX;
        let is_below = stamp.modified < self.revision;
        let is_in = stamp.modified == self.revision && (self.is_whole() || stamp.sub < self.below);
        !is_hidden && (is_below || is_in)
    }
}
