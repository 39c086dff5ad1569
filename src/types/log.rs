//! Entries of a group's log, as `raft`, `shard` and `wal` hand them to one another.

use bytes::Bytes;

use super::{LogIndex, Term};

/// One Raft entry. Empty `data` is the entry by which a new leader learns what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    pub index: LogIndex,
    pub term: Term,
    pub kind: EntryKind,
    pub data: Bytes,
}

/// What the data of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Ours: changes, an `Open`, a control command.
    Normal,
    /// A membership change, in raft-rs's own encoding.
    Membership,
}

/// What Raft must not forget besides entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    pub term: Term,
    /// The Raft id voted for in `term`; 0 is nobody.
    pub vote: u64,
    pub commit: LogIndex,
}
