//! The files of one log: which are begun, which wait to be, which are done with.
//!
//! ```text
//!   free (truncated)     begun                      prepared
//!   ┌────┐ ┌────┐   ┌────┐ ┌────┐ ┌────┐       ┌────┐ ┌────┐
//!   │ 3  │ │ 4  │   │ 5  │ │ 6  │ │ 7 ▒│       │ 8  │ │ 9  │  ◀── 3, renamed
//!   └────┘ └────┘   └────┘ └────┘ └────┘       └────┘ └────┘
//! ```
//!
//! Invariants: the numbers on disk have no gaps, so a hole is damage. Therefore free segments go
//! lowest first, one at a time, and new ones are numbered on; at most one such chore is in flight.
//! The lowest segment that is begun is durably begun.

use std::collections::VecDeque;

use crate::types::{GroupId, LogIndex};

use super::format::SEGMENT_VERSION;
use super::op::{DiskOp, DiskPath, OpId, segment_path};

/// A spare one keeps a truncated file from being removed and the next from being zeroed.
pub(super) const PREPARED_MAX: usize = 2;

/// A new segment is prepared when this part of the current one is used: early enough to be ready
/// under full load, late enough that an idle group keeps one file.
const PREPARE_AT_PART: u64 = 4;

#[derive(Debug)]
pub(super) struct Segments {
    group: GroupId,
    segment_bytes: u64,
    pub begun: VecDeque<Segment>,
    free: VecDeque<u64>,
    pub prepared: VecDeque<u64>,
    /// Left over by a crash, to be removed in this order before anything is prepared.
    discard: VecDeque<DiskPath>,
    chore: Option<(OpId, Chore)>,
    /// The next segment could not be prepared for want of space.
    pub full: bool,
    /// A batch waits for the next segment.
    pub wanted: bool,
}

/// A segment that holds batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    /// Of its format.
    pub version: u32,
    /// Of the first entry that begins in it, when it was begun.
    pub first_index: LogIndex,
    /// The file's length.
    pub bytes: u64,
    /// Where the next batch goes.
    pub used: u64,
    /// Its first batch is durable.
    pub durable: bool,
}

#[derive(Clone, Copy, Debug)]
enum Chore {
    Prepare { number: u64, recycles: bool },
    Remove,
    Discard,
}

/// What a finished chore did, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    Prepared,
    Recycled,
    Removed,
}

impl Segments {
    pub fn new(
        group: GroupId,
        segment_bytes: u64,
        begun: VecDeque<Segment>,
        prepared: VecDeque<u64>,
        discard: VecDeque<DiskPath>,
    ) -> Segments {
        Segments {
            group,
            segment_bytes,
            begun,
            free: VecDeque::new(),
            prepared,
            discard,
            chore: None,
            full: false,
            wanted: false,
        }
    }

    pub fn current(&self) -> Option<&Segment> {
        self.begun.back()
    }

    /// Begins the next segment; `None` if none is prepared.
    pub fn begin(&mut self, first_index: LogIndex) -> Option<&Segment> {
        let number = self.prepared.pop_front();
        self.wanted = number.is_none();
        let bytes = self.segment_bytes;
        let (version, used, durable) = (SEGMENT_VERSION, 0, false);
        let segment = Segment { number: number?, version, first_index, bytes, used, durable };
        self.begun.push_back(segment);
        self.begun.back()
    }

    /// Frees the segments that hold no entry of `below` or above it that still counts.
    pub fn truncate(&mut self, below: LogIndex) {
        let needed = |segment: &Segment| segment.durable && segment.first_index <= below;
        let keep = self.begun.iter().rposition(needed).unwrap_or(0);
        self.free.extend(self.begun.drain(..keep).map(|segment| segment.number));
    }

    /// The next thing to do besides writing batches, if anything.
    pub fn poll(&mut self, id: OpId) -> Option<DiskOp> {
        if self.chore.is_some() {
            return None;
        }
        let (chore, op) = self.next_chore()?;
        self.chore = Some((id, chore));
        Some(op)
    }

    fn next_chore(&mut self) -> Option<(Chore, DiskOp)> {
        if let Some(path) = self.discard.pop_front() {
            return Some((Chore::Discard, DiskOp::Remove { path }));
        }
        if let Some(number) = self.free.pop_front() {
            let path = segment_path(self.group, number);
            if self.prepared.len() < PREPARED_MAX {
                return Some(self.prepare(Some(path)));
            }
            return Some((Chore::Remove, DiskOp::Remove { path }));
        }
        let due = self.wanted
            || match self.current() {
                Some(current) => current.used >= current.bytes / PREPARE_AT_PART,
                None => true,
            };
        (due && self.prepared.is_empty() && !self.full).then(|| self.prepare(None))
    }

    fn prepare(&self, recycle: Option<DiskPath>) -> (Chore, DiskOp) {
        let newest = self.prepared.back().copied().or(self.current().map(|current| current.number));
        let number = newest.unwrap_or(0) + 1;
        let path = segment_path(self.group, number);
        let recycles = recycle.is_some();
        let op = DiskOp::PrepareSegment { path, bytes: self.segment_bytes, recycle };
        (Chore::Prepare { number, recycles }, op)
    }

    /// Ends the chore with this number; `full` if there was no space for it.
    pub fn done(&mut self, id: OpId, full: bool) -> Option<Finished> {
        let (expected, chore) = self.chore.take().expect("an outcome belongs to an operation");
        assert_eq!(id, expected, "an outcome belongs to the operation in flight");
        match chore {
            Chore::Prepare { .. } if full => {
                self.full = true;
                None
            }
            Chore::Prepare { number, recycles } => {
                self.full = false;
                self.prepared.push_back(number);
                Some(if recycles { Finished::Recycled } else { Finished::Prepared })
            }
            Chore::Remove | Chore::Discard => Some(Finished::Removed),
        }
    }

    pub fn assert_invariants(&self) {
        let begun = self.begun.iter().map(|segment| segment.number);
        let numbers: Vec<u64> = begun.chain(self.prepared.iter().copied()).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "segments have no gaps");
        assert!(self.begun.iter().rev().skip(1).all(|segment| segment.durable));
        assert!(self.begun.iter().all(|segment| segment.used <= segment.bytes));
        assert!(self.prepared.len() <= PREPARED_MAX);
    }
}
