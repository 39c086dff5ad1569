//! Reads under way: each goes in slices, at the moment at which it began.
//!
//! ```text
//!  begin ──through at once──▶ answer
//!    └── else: under way ──a slice a turn, in rotation──▶ answer, or wait for stable
//! ```
//!
//! A read pins its moment: compaction leaves what it may still look at. One that belongs to a
//! write looks at a revision that is pending, so it ends with the epoch if that is rolled back, and
//! its answer waits for stable like every write's.

use std::collections::{BTreeMap, VecDeque};

use super::ask::ShardReply;
use crate::line::message::{CompareShare, RoundId, ShareReply};
use crate::store::{CompareScan, Scan, Store, holds_for_missing};
use crate::types::txn::Path;
use crate::types::{
    DeleteRangeReply, Discarded, Epoch, Origin, RangeReply, Revision, Sub, TxnRequest,
};

/// The reads of one request.
#[derive(Debug)]
pub(super) struct Reading {
    compares: VecDeque<(u32, CompareScan)>,
    pub decided: Vec<(u32, CompareShare)>,
    ranges: VecDeque<(Sub, Scan)>,
    pub found: Vec<(Sub, RangeReply)>,
    pub owner: ReadOwner,
}

/// The origin of a read, and what its result becomes part of.
#[derive(Debug)]
pub(super) enum ReadOwner {
    /// One range, at the latest or an old revision, while `stable` was the latest.
    Range { origin: Origin, stable: Revision },
    /// A txn that only reads: its compares until `path` is known, then its ranges.
    Txn { origin: Origin, request: TxnRequest, path: Option<Path>, stable: Revision },
    /// This shard's part of a read of several.
    Part { origin: Origin },
    /// The reads of a write of this shard alone, at its pending revision; the replies of its other
    /// operations are there.
    Write { origin: Origin, revision: Revision, path: Path, replies: ShareReply },
    /// The keys that a range delete of many keys found.
    Delete { origin: Origin, revision: Revision, reply: DeleteRangeReply },
    /// The reads of a share of a round.
    Round { epoch: Epoch, round: RoundId, slot: u16, revision: Revision, replies: ShareReply },
}

impl Reading {
    pub fn new(owner: ReadOwner) -> Reading {
        Reading {
            compares: VecDeque::new(),
            decided: Vec::new(),
            ranges: VecDeque::new(),
            found: Vec::new(),
            owner,
        }
    }

    pub fn compare(&mut self, number: u32, scan: CompareScan) {
        self.compares.push_back((number, scan));
    }

    pub fn range(&mut self, sub: Sub, scan: Scan) {
        self.ranges.push_back((sub, scan));
    }

    pub fn ranges(mut self, scans: VecDeque<(Sub, Scan)>) -> Reading {
        self.ranges = scans;
        self
    }

    /// Goes on; whether everything that it asks for is there.
    pub fn go_on(&mut self, store: &Store, visits: &mut usize) -> bool {
        while let Some((number, scan)) = self.compares.front_mut() {
            let Some(share) = store.compare_slice(scan, visits) else { return false };
            let holds = match share.matched {
                true => share.all_hold,
                false => holds_for_missing(scan.compare()),
            };
            self.decided.push((*number, CompareShare { matched: share.matched, holds }));
            self.compares.pop_front();
        }
        while let Some((sub, scan)) = self.ranges.front_mut() {
            let Some(reply) = store.scan_slice(scan, visits) else { return false };
            self.found.push((*sub, reply));
            self.ranges.pop_front();
        }
        true
    }

    /// Returns the revision that compaction has to leave for it.
    fn floor(&self) -> Revision {
        let compares = self.compares.iter().map(|(_, scan)| scan.floor());
        let ranges = self.ranges.iter().map(|(_, scan)| scan.floor());
        compares.chain(ranges).min().unwrap_or(Revision::NEWEST)
    }

    /// Returns the request that may be cancelled, if it can be.
    fn origin(&self) -> Option<Origin> {
        match self.owner {
            ReadOwner::Range { origin, .. }
            | ReadOwner::Txn { origin, .. }
            | ReadOwner::Part { origin }
            | ReadOwner::Delete { origin, .. }
            | ReadOwner::Write { origin, .. } => Some(origin),
            ReadOwner::Round { .. } => None,
        }
    }

    /// The revision that may be rolled back under it.
    fn pending(&self) -> Option<Revision> {
        match self.owner {
            ReadOwner::Write { revision, .. }
            | ReadOwner::Delete { revision, .. }
            | ReadOwner::Round { revision, .. } => Some(revision),
            ReadOwner::Range { .. } | ReadOwner::Txn { .. } | ReadOwner::Part { .. } => None,
        }
    }
}

/// Everything that a shard has to read.
#[derive(Debug)]
pub(super) struct Reads {
    /// By the order in which they came.
    under_way: BTreeMap<u64, (Reading, Revision)>,
    by_origin: BTreeMap<Origin, u64>,
    /// The number of reads that need what compaction would take, by revision.
    floors: BTreeMap<Revision, usize>,
    next: u64,
    /// Which one had the last slice.
    served: u64,
    /// Keys that a turn visits at most: so many for what comes in, and as many for what is under
    /// way.
    slice: usize,
    /// The visits that are left of that for requests that come in.
    pub visits: usize,
    /// Answers that are read and wait for stable.
    waiting: BTreeMap<Revision, Vec<(Origin, ShardReply)>>,
    /// Keys and values that nobody wants any more, dropped in slices too.
    discarded: Discarded,
}

/// Reads that share one slice at most.
const SHARERS: usize = 4;

impl Reads {
    pub fn new(slice: usize) -> Reads {
        Reads {
            under_way: BTreeMap::new(),
            by_origin: BTreeMap::new(),
            floors: BTreeMap::new(),
            next: 0,
            served: 0,
            slice,
            visits: slice,
            waiting: BTreeMap::new(),
            discarded: Discarded::default(),
        }
    }

    /// Keys of a slice: see the field.
    pub fn slice(&self) -> usize {
        self.slice
    }

    /// Whether a slice would get on with something.
    pub fn is_busy(&self) -> bool {
        !self.under_way.is_empty() || !self.discarded.is_empty()
    }

    /// The lowest revision that some read needs.
    pub fn floor(&self) -> Option<Revision> {
        self.floors.keys().next().copied()
    }

    /// The lowest stable that an answer waits for.
    pub fn waits_for(&self) -> Option<Revision> {
        self.waiting.keys().next().copied()
    }

    /// Goes on in later turns.
    pub fn put_off(&mut self, reading: Reading) {
        self.next += 1;
        self.put_back(self.next, reading);
    }

    fn take(&mut self, number: u64) -> Option<Reading> {
        let (reading, floor) = self.under_way.remove(&number)?;
        let count = self.floors.get_mut(&floor).expect("counted");
        *count -= 1;
        if *count == 0 {
            self.floors.remove(&floor);
        }
        Some(reading)
    }

    /// Begins a turn: what may be visited in it, after some of what nobody wants was dropped.
    pub fn begin_turn(&mut self) -> usize {
        let mut visits = self.slice;
        self.discarded.drop_some(&mut visits);
        visits
    }

    /// Returns the visits that one read may make before the next one has its turn.
    pub fn share(&self) -> usize {
        (self.slice / SHARERS).max(1)
    }

    /// Takes out the read whose turn it is.
    pub fn next(&mut self) -> Option<(u64, Reading)> {
        let next = self.under_way.range(self.served + 1..).next();
        let number = *next.or_else(|| self.under_way.iter().next())?.0;
        self.served = number;
        let reading = self.take(number)?;
        if let Some(origin) = reading.origin() {
            self.by_origin.remove(&origin);
        }
        Some((number, reading))
    }

    /// Puts it back, to go on later.
    pub fn put_back(&mut self, number: u64, reading: Reading) {
        if let Some(origin) = reading.origin() {
            self.by_origin.insert(origin, number);
        }
        let floor = reading.floor();
        *self.floors.entry(floor).or_default() += 1;
        self.under_way.insert(number, (reading, floor));
    }

    /// Nobody waits for it any more.
    pub fn cancel(&mut self, origin: Origin) {
        if let Some(number) = self.by_origin.remove(&origin)
            && let Some(reading) = self.take(number)
        {
            self.discard(reading);
        }
    }

    fn discard(&mut self, reading: Reading) {
        reading.ranges.into_iter().for_each(|(_, scan)| scan.discard(&mut self.discarded));
        reading.found.into_iter().for_each(|(_, reply)| self.discarded.put(reply.kvs));
    }

    /// Keeps an answer until stable has reached `revision`.
    pub fn wait(&mut self, revision: Revision, origin: Origin, reply: ShardReply) {
        self.waiting.entry(revision).or_default().push((origin, reply));
    }

    /// The next answers that stable has reached.
    pub fn reached(&mut self, stable: Revision) -> Vec<(Origin, ShardReply)> {
        match self.waits_for().filter(|revision| *revision <= stable) {
            Some(revision) => self.waiting.remove(&revision).expect("it was there"),
            None => Vec::new(),
        }
    }

    /// Ends the reads above `cut`, which is rolled back, and returns the requests that waited for
    /// them.
    pub fn roll_back(&mut self, cut: Revision) -> Vec<Origin> {
        let is_lost = |reading: &Reading| reading.pending().is_some_and(|revision| revision > cut);
        let lost = self.under_way.iter().filter(|(_, (reading, _))| is_lost(reading));
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        let mut origins = Vec::new();
        for number in lost {
            let reading = self.take(number).expect("it was there");
            if let Some(origin) = reading.origin() {
                self.by_origin.remove(&origin);
                origins.push(origin);
            }
            self.discard(reading);
        }
        origins
    }

    /// The epoch is over and the next inherits up to `cut`: whose answers are unknown.
    pub fn fail_above(&mut self, cut: Revision) -> Vec<Origin> {
        let waiting = self.waiting.split_off(&cut.next());
        let waiting = waiting.into_values().flatten().map(|(origin, _)| origin);
        self.roll_back(cut).into_iter().chain(waiting).collect()
    }
}
