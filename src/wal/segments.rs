//! The files of one log: which are begun, which wait to be, which are done with.
//!
//! ```text
//!   free (truncated)     begun                      prepared
//!   ┌────┐ ┌────┐   ┌────┐ ┌────┐ ┌────┐       ┌────┐ ┌────┐
//!   │ 3  │ │ 4  │   │ 5  │ │ 6  │ │ 7 ▒│       │ 8  │ │ 9  │  ◀── 3, renamed
//!   └────┘ └────┘   └────┘ └────┘ └────┘       └────┘ └────┘
//! ```
//!
//! A new segment has about half the bytes that the log holds, between two bounds: a log that holds
//! little takes little, and one that grows fast takes few files.
//!
//! Invariants: the numbers on disk have no gaps, so a hole is damage. Therefore free segments go
//! lowest first, one at a time, and new ones are numbered on; at most one such chore is in flight.
//! The lowest segment that is begun is durably begun.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::types::{GroupId, LogIndex};

use super::format::{BLOCK_BYTES, SEGMENT_VERSION};
use super::op::{DiskOp, DiskPath, OpId, segment_path};

/// A spare one keeps a truncated file from being removed and the next from being zeroed.
pub(super) const PREPARED_MAX: usize = 2;

/// A new segment is prepared when this part of the current one is used: early enough to be ready
/// under full load, late enough that an idle group keeps one file.
const PREPARE_AT_PART: u64 = 4;

#[derive(Debug)]
pub(super) struct Segments {
    group: GroupId,
    sizes: RangeInclusive<u64>,
    pub begun: VecDeque<Segment>,
    free: VecDeque<Spare>,
    pub prepared: VecDeque<Spare>,
    /// Left over by a crash, to be removed in this order before anything is prepared.
    discard: VecDeque<DiskPath>,
    chore: Option<(OpId, SegmentJob)>,
    /// The next segment could not be prepared for want of space.
    pub full: bool,
    /// Space is short: the next one is as small as can be.
    small: bool,
    /// So it is while space is being given back, and nothing is kept spare.
    shrinks: bool,
    /// The prepared segment is given up as soon as no other is being prepared, which has a higher
    /// number.
    gives_up: bool,
    /// Bytes that the next one must have for what waits.
    pub needed: u64,
    /// A batch waits for the next segment.
    pub wanted: bool,
}

/// A segment that holds nothing that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spare {
    pub number: u64,
    /// The file's length.
    pub bytes: u64,
}

/// A segment that holds batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    /// The version of its format.
    pub version: u32,
    /// The index of the first entry that begins in it, when it was begun.
    pub first_index: LogIndex,
    /// The file's length.
    pub bytes: u64,
    /// The offset at which the next batch goes.
    pub used: u64,
    /// Its first batch is durable.
    pub durable: bool,
}

#[derive(Clone, Copy, Debug)]
enum SegmentJob {
    Prepare { spare: Spare, recycles: bool },
    Remove,
    Discard,
}

/// The result of a finished job, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finished {
    Prepared,
    Recycled,
    Removed,
}

impl Segments {
    pub fn new(
        group: GroupId,
        sizes: RangeInclusive<u64>,
        begun: VecDeque<Segment>,
        prepared: VecDeque<Spare>,
        discard: VecDeque<DiskPath>,
    ) -> Segments {
        Segments {
            group,
            sizes,
            begun,
            free: VecDeque::new(),
            prepared,
            discard,
            chore: None,
            full: false,
            small: false,
            shrinks: false,
            gives_up: false,
            needed: 0,
            wanted: false,
        }
    }

    pub fn current(&self) -> Option<&Segment> {
        self.begun.back()
    }

    /// Begins the next segment; `None` if none is prepared.
    pub fn begin(&mut self, first_index: LogIndex) -> Option<&Segment> {
        let spare = self.prepared.pop_front();
        self.wanted = spare.is_none();
        let Spare { number, bytes } = spare?;
        let (version, used, durable) = (SEGMENT_VERSION, 0, false);
        let segment = Segment { number, version, first_index, bytes, used, durable };
        self.begun.push_back(segment);
        self.begun.back()
    }

    /// Frees the segments that hold no entry of `below` or above it that still counts.
    pub fn truncate(&mut self, below: LogIndex) {
        let needed = |segment: &Segment| segment.durable && segment.first_index <= below;
        let keep = self.begun.iter().rposition(needed).unwrap_or(0);
        let freed = self.begun.drain(..keep);
        self.free.extend(freed.map(|Segment { number, bytes, .. }| Spare { number, bytes }));
        self.discard_free();
    }

    /// Gives up what is spare; until [`Segments::end_giving_back`] the next segment is as small as
    /// can be, and what is freed is given up as well.
    pub fn give_back(&mut self) {
        (self.shrinks, self.gives_up) = (true, true);
        self.discard_free();
    }

    /// Whether files that were given up are still to be removed.
    pub fn is_removing(&self) -> bool {
        let removes = matches!(self.chore, Some((_, SegmentJob::Discard | SegmentJob::Remove)));
        removes || self.gives_up || !self.discard.is_empty()
    }

    /// Ends the giving back: spare segments are kept again.
    pub fn end_giving_back(&mut self) {
        self.shrinks = false;
    }

    /// Whether a prepared segment is still to be given up.
    pub fn gives_up(&self) -> bool {
        self.gives_up
    }

    fn discard_free(&mut self) {
        if self.shrinks {
            let paths = self.free.drain(..);
            self.discard.extend(paths.map(|spare| segment_path(self.group, spare.number)));
        }
    }

    /// Whether a log with nothing that counts would take about as much.
    pub fn are_few(&self) -> bool {
        let spare = self.prepared.iter().chain(&self.free).map(|spare| spare.bytes);
        let files: u64 = self.begun.iter().map(|segment| segment.bytes).chain(spare).sum();
        files <= 2 * self.sizes.start()
    }

    fn next_bytes(&self) -> u64 {
        let (least, most) = (*self.sizes.start(), *self.sizes.end());
        let held: u64 = self.begun.iter().map(|segment| segment.used).sum();
        let half = 1 << (held / 2).max(1).ilog2();
        let is_small = self.small || self.shrinks;
        let wanted = if is_small { least } else { half.clamp(least, most) };
        wanted.max(self.needed.next_multiple_of(BLOCK_BYTES as u64))
    }

    /// Returns the next thing to do besides writing batches, if anything.
    pub fn poll(&mut self, id: OpId) -> Option<DiskOp> {
        if self.chore.is_some() {
            return None;
        }
        let (chore, op) = self.next_chore()?;
        self.chore = Some((id, chore));
        Some(op)
    }

    fn next_chore(&mut self) -> Option<(SegmentJob, DiskOp)> {
        if std::mem::take(&mut self.gives_up) {
            // The highest first: the numbers on disk have no gaps at any time.
            let paths = self.prepared.drain(..).rev();
            self.discard.extend(paths.map(|spare| segment_path(self.group, spare.number)));
        }
        if let Some(path) = self.discard.pop_front() {
            return Some((SegmentJob::Discard, DiskOp::Remove { path }));
        }
        if let Some(spare) = self.free.pop_front() {
            let path = segment_path(self.group, spare.number);
            let wanted = self.next_bytes();
            let least = (wanted / 2).max(*self.sizes.start()).max(self.needed);
            let fits = (least..=2 * wanted).contains(&spare.bytes);
            if self.prepared.len() < PREPARED_MAX && fits {
                return Some(self.prepare(spare.bytes, Some(path)));
            }
            return Some((SegmentJob::Remove, DiskOp::Remove { path }));
        }
        let due = self.wanted
            || match self.current() {
                Some(current) => current.used >= current.bytes / PREPARE_AT_PART,
                None => true,
            };
        let due = due && self.prepared.is_empty() && !self.full;
        due.then(|| self.prepare(self.next_bytes(), None))
    }

    fn prepare(&self, bytes: u64, recycle: Option<DiskPath>) -> (SegmentJob, DiskOp) {
        let newest = self.prepared.back().map(|spare| spare.number);
        let newest = newest.or(self.current().map(|current| current.number));
        let number = newest.unwrap_or(0) + 1;
        let path = segment_path(self.group, number);
        let recycles = recycle.is_some();
        let op = DiskOp::PrepareSegment { path, bytes, recycle };
        (SegmentJob::Prepare { spare: Spare { number, bytes }, recycles }, op)
    }

    /// Ends the chore with this number; `full` if there was no space for it.
    pub fn done(&mut self, id: OpId, full: bool) -> Option<Finished> {
        let (expected, chore) = self.chore.take().expect("an outcome belongs to an operation");
        assert_eq!(id, expected, "an outcome belongs to the operation in flight");
        match chore {
            SegmentJob::Prepare { .. } if full => {
                (self.full, self.small) = (true, true);
                None
            }
            SegmentJob::Prepare { spare, recycles } => {
                (self.full, self.small) = (false, false);
                self.prepared.push_back(spare);
                Some(if recycles { Finished::Recycled } else { Finished::Prepared })
            }
            SegmentJob::Remove | SegmentJob::Discard => Some(Finished::Removed),
        }
    }

    pub fn assert_invariants(&self) {
        let begun = self.begun.iter().map(|segment| segment.number);
        let prepared = self.prepared.iter().map(|spare| spare.number);
        let numbers: Vec<u64> = begun.chain(prepared).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "segments have no gaps");
        assert!(self.begun.iter().rev().skip(1).all(|segment| segment.durable));
        assert!(self.begun.iter().all(|segment| segment.used <= segment.bytes));
        assert!(self.prepared.len() <= PREPARED_MAX);
    }
}
