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

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ask::ShardReply;
use crate::line::message::{CompareShare, RoundId, ShareReply};
use crate::store::{CompareScan, Scan, Store, holds_for_missing};
use crate::types::txn::Path;
use crate::types::{
    Blob, DeleteRangeReply, Discarded, Epoch, LeaseId, Origin, RangeReply, Revision, Sub,
    TxnRequest,
};

/// The reads of one request.
#[derive(Debug)]
pub(super) struct Reading {
    compares: VecDeque<(u32, CompareScan)>,
    pub decided: Vec<(u32, CompareShare)>,
    ranges: VecDeque<(Sub, Scan)>,
    pub found: Vec<(Sub, RangeReply)>,
    /// Bytes that `found` holds.
    found_bytes: usize,
    /// What compaction has to leave for it: known once, of all that it reads.
    floor: Option<Revision>,
    pub lease: Option<LeaseScan>,
    pub lease_keys: Vec<Blob>,
    pub owner: ReadOwner,
}

/// The keys of a lease on their way: from which on they are still to be looked at.
#[derive(Debug)]
pub(super) struct LeaseScan {
    pub lease: LeaseId,
    pub next: Option<Blob>,
}

/// The origin of a read, and what its result becomes part of.
#[derive(Debug)]
pub(super) enum ReadOwner {
    /// The keys of a lease, as they are now.
    Lease { origin: Origin },
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
            found_bytes: 0,
            floor: None,
            lease: None,
            lease_keys: Vec::new(),
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
            self.found_bytes += scan.held_bytes();
            self.found.push((*sub, reply));
            self.ranges.pop_front();
        }
        let keys = &mut self.lease_keys;
        self.lease
            .as_mut()
            .is_none_or(|scan| store.lease_keys_slice(scan.lease, &mut scan.next, visits, keys))
    }

    /// What compaction has to leave for it.
    fn floor(&mut self) -> Revision {
        let Reading { compares, ranges, floor, .. } = self;
        *floor.get_or_insert_with(|| {
            let compares = compares.iter().map(|(_, scan)| scan.floor());
            let ranges = ranges.iter().map(|(_, scan)| scan.floor());
            compares.chain(ranges).min().unwrap_or(Revision::NEWEST)
        })
    }

    /// Bytes that it holds in keys that it has found.
    fn held_bytes(&self) -> usize {
        let scan = self.ranges.front().map_or(0, |(_, scan)| scan.held_bytes());
        self.found_bytes + scan + self.lease_keys.len() * size_of::<Blob>()
    }

    /// Returns the request that may be cancelled, if it can be.
    fn origin(&self) -> Option<Origin> {
        match self.owner {
            ReadOwner::Range { origin, .. }
            | ReadOwner::Txn { origin, .. }
            | ReadOwner::Part { origin }
            | ReadOwner::Lease { origin }
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
            ReadOwner::Range { .. }
            | ReadOwner::Txn { .. }
            | ReadOwner::Part { .. }
            | ReadOwner::Lease { .. } => None,
        }
    }
}

/// A read, and what of it is counted.
#[derive(Debug)]
struct UnderWay {
    reading: Reading,
    floor: Revision,
    held_bytes: usize,
}

/// Everything that a shard has to read.
#[derive(Debug)]
pub(super) struct Reads {
    /// By the order in which they came.
    under_way: BTreeMap<u64, UnderWay>,
    /// Those that go on, and those that wait until others hold less.
    running: BTreeSet<u64>,
    paused: BTreeSet<u64>,
    /// Bytes that they hold in keys that they have found, and what they may.
    held_bytes: usize,
    held_bytes_max: usize,
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
    pub fn new(slice: usize, held_bytes_max: usize) -> Reads {
        Reads {
            under_way: BTreeMap::new(),
            running: BTreeSet::new(),
            paused: BTreeSet::new(),
            held_bytes: 0,
            held_bytes_max,
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
        let UnderWay { reading, floor, held_bytes } = self.under_way.remove(&number)?;
        self.held_bytes -= held_bytes;
        let was_running = self.running.remove(&number);
        assert!(was_running || self.paused.remove(&number), "a read goes on or waits");
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
        let oldest = self.under_way.keys().next().copied();
        let resumes = self.held_bytes <= self.held_bytes_max;
        let next = self.paused.first().copied().filter(|_| resumes);
        for number in oldest.into_iter().chain(next) {
            if self.paused.remove(&number) {
                self.running.insert(number);
            }
        }
        visits
    }

    /// Returns the visits that one read may make before the next one has its turn.
    pub fn share(&self) -> usize {
        (self.slice / SHARERS).max(1)
    }

    /// Takes out the read whose turn it is.
    pub fn next(&mut self) -> Option<(u64, Reading)> {
        let next = self.running.range(self.served + 1..).next();
        let number = *next.or_else(|| self.running.first())?;
        self.served = number;
        let reading = self.take(number)?;
        if let Some(origin) = reading.origin() {
            self.by_origin.remove(&origin);
        }
        Some((number, reading))
    }

    /// Puts it back, to go on later: when others hold less, if it holds more than its share of what
    /// is too much together.
    pub fn put_back(&mut self, number: u64, mut reading: Reading) {
        if let Some(origin) = reading.origin() {
            self.by_origin.insert(origin, number);
        }
        let (floor, held_bytes) = (reading.floor(), reading.held_bytes());
        *self.floors.entry(floor).or_default() += 1;
        self.held_bytes += held_bytes;
        let is_oldest = self.under_way.keys().next().is_none_or(|oldest| number < *oldest);
        let share = self.held_bytes_max / (self.under_way.len() + 1);
        let waits = !is_oldest && self.held_bytes > self.held_bytes_max && held_bytes > share;
        if waits {
            self.paused.insert(number)
        } else {
            self.running.insert(number)
        };
        self.under_way.insert(number, UnderWay { reading, floor, held_bytes });
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
        let is_lost = |it: &UnderWay| it.reading.pending().is_some_and(|revision| revision > cut);
        let lost = self.under_way.iter().filter(|(_, under_way)| is_lost(under_way));
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Moment;
    use crate::types::{CoreId, KeyRange, KeyValue, PutRequest, RangeRequest};

    const KEYS: usize = 1000;
    const VALUE: &[u8] = &[7; 100];

    fn filled() -> Store {
        let mut store = Store::new();
        for key in 0..KEYS {
            let put = PutRequest::of(Bytes::from(format!("{key:05}")), Bytes::from_static(VALUE));
            store.put(Revision(key as i64 + 2), Sub(0), &put);
        }
        store
    }

    fn reading(call: u64, range: KeyRange, store: &Store) -> Reading {
        let origin = Origin { core: CoreId(0), call, part: 0 };
        let stable = store.newest();
        let mut reading = Reading::new(ReadOwner::Range { origin, stable });
        reading.range(Sub(0), Scan::new(RangeRequest::of(range), Moment::at(stable), 64));
        reading
    }

    #[test]
    fn reads_that_hold_too_much_together_wait_and_small_ones_overtake_them() {
        let store = filled();
        let whole = KEYS * (size_of::<KeyValue>() + VALUE.len());
        let most = 2 * whole;
        let mut reads = Reads::new(64, most);
        (0..20).for_each(|call| reads.put_off(reading(call, KeyRange::all(), &store)));
        let (mut ended, mut peak, mut turn) = (Vec::new(), 0, 0);
        while reads.is_busy() {
            turn += 1;
            if turn == 50 {
                let few = KeyRange { start: Bytes::from("00950"), ..KeyRange::all() };
                reads.put_off(reading(100, few, &store));
            }
            if turn == 60 {
                reads.cancel(Origin { core: CoreId(0), call: 3, part: 0 });
            }
            let mut visits = reads.begin_turn();
            while visits > 0
                && let Some((number, mut reading)) = reads.next()
            {
                let share = visits.min(reads.share());
                let mut left = share;
                if reading.go_on(&store, &mut left) {
                    ended.push(reading.origin().expect("a client's").call);
                    assert!(reading.found[0].1.kvs.len() >= 50);
                } else {
                    reads.put_back(number, reading);
                }
                visits -= (share - left).max(1);
            }
            peak = reads.held_bytes.max(peak);
            assert!(turn < 10_000, "all get on");
        }
        assert_eq!(ended.len(), 20);
        assert!(peak > most && peak <= 2 * most + whole, "{peak} of {most}");
        let few = ended.iter().position(|call| *call == 100).expect("it ended");
        assert!(few < 10, "number {few} of those that ended: {ended:?}");
        assert!(reads.held_bytes == 0 && reads.paused.is_empty() && reads.running.is_empty());
    }
}
