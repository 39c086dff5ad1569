//! Entries of a group's log, as `raft`, `shard` and `wal` hand them to one another.

use std::sync::Arc;

use bytes::Bytes;

use super::{LogIndex, Revision, Term};

/// One Raft entry. Empty `data` is the entry by which a new leader learns what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The position in the group's log.
    pub index: LogIndex,
    /// The term in which the entry was proposed.
    pub term: Term,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// The kind of data in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Ours: changes, an `Open`, a control command.
    Normal,
    /// A membership change, in raft-rs's own encoding.
    Membership,
}

/// The part of Raft's state that must survive a crash besides entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// The Raft id voted for in `term`; 0 is nobody.
    pub vote: u64,
    /// The index up to which entries are known to be committed.
    pub commit: LogIndex,
}

/// The state that is durable on a member, group by group, when a log writes it: no later start may
/// find less (C7).
///
/// Each number is a fact of its own. Together they say that the entries up to `indexes` hold every
/// revision up to `stable`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// Everything up to here is committed.
    pub stable: Revision,
    /// By group number: the log of the group holds committed entries up to here.
    pub indexes: Arc<[LogIndex]>,
}

impl Note {
    /// Returns the committed index of a group; 0 of one that the note does not know.
    pub fn index(&self, group: usize) -> LogIndex {
        self.indexes.get(group).copied().unwrap_or(LogIndex(0))
    }

    /// Joins two notes: the higher of each number.
    pub fn join(&self, other: &Note) -> Note {
        let groups = self.indexes.len().max(other.indexes.len());
        Note {
            stable: self.stable.max(other.stable),
            indexes: (0..groups).map(|group| self.index(group).max(other.index(group))).collect(),
        }
    }
}
