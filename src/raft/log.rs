//! The log's tail in memory, as raft-rs reads it.
//!
//! ```text
//!   on disk only      │ in memory                                  │
//!   … 17 18 19 20     │ 21 22 23 24 25 26 27                       │ 28 …  not yet in a Ready
//!                  anchor                ▲ applied
//!                (20, term)
//! ```
//!
//! Entries come in with the Ready that gives them out to be written, so a leader can send them
//! before they are durable. They go once they are applied and no follower may need them: at once
//! in a group of one, else when the tail exceeds its bounds. To raft-rs the log begins after the
//! anchor; a follower that needs more is served from a checkpoint.
//!
//! - `entries` are contiguous from `anchor.index + 1`; terms never fall.
//! - Nothing above `applied` is dropped, whatever its size: raft-rs still reads it.

use std::cell::Cell;
use std::collections::VecDeque;

use ::raft::eraftpb::{ConfState, Entry, EntryType, HardState as RaftHardState, Snapshot};
use ::raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

use super::restored::{GroupConfig, Restored};
use crate::limits::{LOG_CACHE_BYTES_MAX, LOG_TAIL_ENTRIES};
use crate::types::{EntryKind, LogEntry, LogIndex, Term};

/// Bytes that an entry takes besides its data.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<Entry>();

#[derive(Debug)]
pub(super) struct Log {
    start: RaftState,
    /// Index and term of the entry before the first in memory.
    anchor: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The peer that needs what is not in memory any more.
    checkpoint_wanted: Cell<Option<u64>>,
}

impl Log {
    pub(super) fn new(config: &GroupConfig, restored: Restored) -> Log {
        let hard_state = RaftHardState {
            term: restored.hard_state.term.0,
            vote: restored.hard_state.vote,
            commit: restored.hard_state.commit.0,
            ..RaftHardState::default()
        };
        let members = ConfState {
            voters: config.voters.clone(),
            learners: config.learners.clone(),
            ..ConfState::default()
        };
        let mut log = Log {
            start: RaftState::new(hard_state, members),
            anchor: (restored.snapshot.0.0, restored.snapshot.1.0),
            entries: VecDeque::new(),
            bytes: 0,
            checkpoint_wanted: Cell::new(None),
        };
        restored.entries.into_iter().for_each(|entry| log.push(into_raft(entry)));
        log
    }

    /// Adds entries, in place of those from the first one's index on.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.index) else { return };
        assert!(
            first > self.anchor.0 && first <= self.last() + 1,
            "entry {first} does not follow a log of {} to {}",
            self.anchor.0 + 1,
            self.last()
        );
        while self.last() >= first {
            let dropped = self.entries.pop_back().expect("entries reach down to the anchor");
            self.bytes -= footprint(&dropped);
        }
        entries.into_iter().for_each(|entry| self.push(entry));
    }

    /// Drops from the front what is applied and beyond the bounds of the tail, or everything
    /// applied if nobody else may ask for it.
    pub(super) fn trim(&mut self, applied: u64, alone: bool) {
        let entries_max = if alone { 0 } else { LOG_TAIL_ENTRIES as usize };
        let bytes_max = if alone { 0 } else { LOG_CACHE_BYTES_MAX };
        while self.entries.len() > entries_max || self.bytes > bytes_max {
            let Some(front) = self.entries.front() else { return };
            if front.index > applied {
                return;
            }
            self.anchor = (front.index, front.term);
            self.bytes -= footprint(front);
            self.entries.pop_front();
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.anchor.0 + 1
    }

    pub(super) fn last(&self) -> u64 {
        self.anchor.0 + self.entries.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The peer that asked for what is not here, once.
    pub(super) fn take_checkpoint_wanted(&self) -> Option<u64> {
        self.checkpoint_wanted.take()
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += footprint(&entry);
        self.entries.push_back(entry);
    }

    fn offset(&self, index: u64) -> usize {
        usize::try_from(index - self.first()).expect("a position in memory")
    }
}

impl Storage for Log {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.start.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last() + 1, "entry {high} is asked for, {} is the last", self.last());
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0u64;
        let range = self.entries.range(self.offset(low)..self.offset(high));
        let fits = |entry: &&Entry| {
            let first = size == 0;
            size += footprint(entry) as u64;
            first || size <= max_size
        };
        Ok(range.take_while(fits).cloned().collect())
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.anchor.0 {
            return Ok(self.anchor.1);
        }
        if index < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        let entry = self.entries.get(self.offset(index));
        entry.map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, to: u64) -> Result<Snapshot> {
        self.checkpoint_wanted.set(Some(to));
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}

fn footprint(entry: &Entry) -> usize {
    entry.data.len() + ENTRY_OVERHEAD_BYTES
}

pub(super) fn into_raft(entry: LogEntry) -> Entry {
    let entry_type = match entry.kind {
        EntryKind::Normal => EntryType::EntryNormal,
        EntryKind::Membership => EntryType::EntryConfChangeV2,
    };
    Entry {
        entry_type,
        term: entry.term.0,
        index: entry.index.0,
        data: entry.data,
        ..Entry::default()
    }
}

pub(super) fn kind_of(entry: &Entry) -> EntryKind {
    match entry.entry_type {
        EntryType::EntryNormal => EntryKind::Normal,
        // This room proposes and decodes only the second form.
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => EntryKind::Membership,
    }
}

pub(super) fn from_raft(entry: Entry) -> LogEntry {
    LogEntry {
        index: LogIndex(entry.index),
        term: Term(entry.term),
        kind: kind_of(&entry),
        data: entry.data,
    }
}
