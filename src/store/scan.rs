//! Ranges and compares in slices: read at one moment, however long that takes.
//!
//! ```text
//!  Scan   Finding ──▶ (Counting) ──▶ (Sorting) ──▶ reply
//!            │ so many keys a slice; goes on behind the last one it looked at
//!            ▼
//!  versions at or before the moment: they stay as they are while others change the keys
//! ```
//!
//! Whoever has a scan keeps compaction at or below its [`Moment::floor`]. A moment that is pending
//! may be rolled back: its scan is to be dropped then.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::types::{
    Blob, Compare, Discarded, KeyOrder, KeyRange, KeyValue, RangeEnd, RangeReply, RangeRequest,
    Revision, Runs, SortOrder, SortTarget,
};

use super::Store;
use super::evaluate::{Share, satisfies};
use super::moment::Moment;
use super::read::{Presentation, passes};
use super::versions::{Record, Version};

/// A range on its way: see the module.
#[derive(Debug)]
pub struct Scan {
    request: RangeRequest,
    /// The part of the range that is still to be looked at.
    left: KeyRange,
    at: Moment,
    limit: usize,
    run_keys: usize,
    stage: Stage,
    reply: RangeReply,
    /// Bytes of the keys that it holds, about.
    held: usize,
    /// Keys that passed the filters.
    passed: usize,
}

#[derive(Debug)]
enum Stage {
    Begin,
    /// Keys as they come.
    Finding,
    /// Keys that are to be put in order.
    Gathering(Box<Runs>),
    /// The limit is reached: how many there are in all. Then what was gathered is put in order.
    Counting(Box<Counting>, Option<Box<Runs>>),
    Sorting(Box<Runs>),
    Done,
}

/// Counts the keys of a range that a moment sees, slice by slice.
#[derive(Debug)]
struct Counting {
    range: KeyRange,
    at: Moment,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Unknown,
    /// The count of the newest state is known; back over the changes since the moment.
    Back(Growth),
    /// Key by key.
    Walk {
        left: KeyRange,
        count: i64,
    },
}

/// The changes after a moment on the way through the timeline.
#[derive(Debug)]
struct Growth {
    next: u64,
    end: u64,
    count: i64,
    roll_backs: u64,
    /// Keys that changed more than once in the revision looked at.
    repeated: (i64, BTreeSet<Blob>),
}

/// How a walk ended.
enum Walked {
    Through,
    /// The caller that looked at the keys has enough.
    Enough,
    /// No visits are left; this was the last key looked at.
    Paused(Bytes),
}

/// A compare on its way.
#[derive(Debug)]
pub struct CompareScan {
    compare: Compare,
    left: KeyRange,
    at: Moment,
    share: Share,
}

impl Scan {
    /// Begins the scan of a range that is read at `at`; the caller has checked its bounds. A sort
    /// takes runs of `run_keys`.
    pub fn new(request: RangeRequest, at: Moment, run_keys: usize) -> Scan {
        let limit = match request.limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        Scan {
            left: request.range.clone(),
            at,
            limit,
            run_keys,
            stage: Stage::Begin,
            reply: RangeReply { revision: at.revision(), ..RangeReply::default() },
            held: 0,
            passed: 0,
            request,
        }
    }

    /// Returns the revision that compaction has to leave for it: see [`Moment::floor`].
    pub fn floor(&self) -> Revision {
        self.at.floor()
    }

    /// Bytes of memory that the keys found so far take, about: their values too, which may be
    /// replaced meanwhile.
    pub fn held_bytes(&self) -> usize {
        self.held
    }

    /// Nobody wants it any more.
    pub fn discard(self, discarded: &mut Discarded) {
        discarded.put(self.reply.kvs);
        match self.stage {
            Stage::Gathering(runs) | Stage::Sorting(runs) | Stage::Counting(_, Some(runs)) => {
                runs.discard(discarded);
            }
            Stage::Begin | Stage::Finding | Stage::Counting(_, None) | Stage::Done => {}
        }
    }

    /// Takes the rest of the range behind `last`.
    fn go_on(left: &mut KeyRange, last: Bytes, downwards: bool) {
        if downwards {
            left.end = RangeEnd::Before(last);
        } else {
            left.start = successor(&last);
        }
    }

    fn found_all(&mut self, runs: Option<Box<Runs>>) -> Stage {
        match runs {
            Some(runs) => {
                self.reply.more = self.passed > self.limit;
                self.reply.kvs.reserve_exact(self.passed.min(self.limit));
                Stage::Sorting(runs)
            }
            None => Stage::Done,
        }
    }

    fn sort_some(&mut self, mut runs: Box<Runs>, visits: &mut usize) -> Result<Stage, Stage> {
        let Scan { request, reply, .. } = self;
        // Values that were needed to sort by.
        let strips = request.keys_only && request.target == SortTarget::Value;
        let is_through = runs.take_some(visits, |mut kv| {
            if strips {
                kv.value = Blob::empty();
            }
            reply.kvs.push(kv);
        });
        if is_through { Ok(Stage::Done) } else { Err(Stage::Sorting(runs)) }
    }
}

impl CompareScan {
    /// Begins the scan of a compare that is judged at `at`.
    pub fn new(compare: Compare, at: Moment) -> CompareScan {
        let share = Share { matched: false, all_hold: true };
        CompareScan { left: compare.range.clone(), compare, at, share }
    }

    /// Returns the compare.
    pub fn compare(&self) -> &Compare {
        &self.compare
    }

    /// Returns the revision that compaction has to leave for it: see [`Moment::floor`].
    pub fn floor(&self) -> Revision {
        self.at.floor()
    }
}

impl Counting {
    fn new(range: KeyRange, at: Moment) -> Counting {
        Counting { range, at, way: Way::Unknown }
    }
}

impl Store {
    /// The moment after everything that is here now, pending changes included.
    pub fn now(&self) -> Moment {
        Moment::at(self.newest())
    }

    /// Goes on with a scan, looking at as many keys as there are `visits`, which it takes off; the
    /// answer when it is through, and once only.
    pub fn scan_slice(&self, scan: &mut Scan, visits: &mut usize) -> Option<RangeReply> {
        loop {
            if *visits == 0 {
                return None;
            }
            let next = match std::mem::replace(&mut scan.stage, Stage::Done) {
                Stage::Begin => Ok(self.begin(scan)),
                Stage::Finding => self.find_some(scan, visits),
                Stage::Gathering(runs) => self.gather_some(scan, runs, visits),
                Stage::Counting(counting, runs) => self.count_on(scan, counting, runs, visits),
                Stage::Sorting(runs) => scan.sort_some(runs, visits),
                Stage::Done => unreachable!("a scan is answered once"),
            };
            match next {
                Err(stage) => {
                    scan.stage = stage;
                    return None;
                }
                Ok(Stage::Done) => return Some(std::mem::take(&mut scan.reply)),
                Ok(stage) => scan.stage = stage,
            }
        }
    }

    fn begin(&self, scan: &mut Scan) -> Stage {
        let request = &scan.request;
        if request.count_only {
            return Stage::Counting(Box::new(Counting::new(request.range.clone(), scan.at)), None);
        }
        if request.target == SortTarget::Key {
            // As many as there are now: about those that will be found, if nothing filters them.
            let count = usize::try_from(self.tree.count(&request.range)).unwrap_or(usize::MAX);
            if request.filters.is_off() {
                scan.reply.kvs.reserve_exact(count.min(scan.limit));
            }
            return Stage::Finding;
        }
        Stage::Gathering(Box::new(Runs::new(KeyOrder::of(request), scan.limit, scan.run_keys)))
    }

    /// Keys in key order need no sort: the walk goes the way that was asked for.
    fn find_some(&self, scan: &mut Scan, visits: &mut usize) -> Result<Stage, Stage> {
        let downwards = scan.request.order == SortOrder::Descend;
        let Scan { request, left, at, limit, reply, held, passed, .. } = &mut *scan;
        let (present, is_filtered) = (Presentation::of(request), !request.filters.is_off());
        let walked = self.walk_some(left, *at, downwards, visits, &mut |record, version| {
            if is_filtered && !passes(&request.filters, version) {
                reply.count += 1;
                return ControlFlow::Continue(());
            }
            if reply.kvs.len() == *limit {
                reply.more = true;
                if !is_filtered {
                    return ControlFlow::Break(());
                }
            } else {
                let kv = present.key_value(record, version);
                *held += kv_bytes(&kv);
                reply.kvs.push(kv);
                *passed += 1;
            }
            reply.count += 1;
            ControlFlow::Continue(())
        });
        match walked {
            Walked::Through => Ok(scan.found_all(None)),
            Walked::Enough if scan.request.uncounted => Ok(scan.found_all(None)),
            Walked::Enough => {
                let counting = Counting::new(scan.request.range.clone(), scan.at);
                Ok(Stage::Counting(Box::new(counting), None))
            }
            Walked::Paused(last) => {
                Scan::go_on(&mut scan.left, last, downwards);
                Err(Stage::Finding)
            }
        }
    }

    fn gather_some(
        &self,
        scan: &mut Scan,
        mut runs: Box<Runs>,
        visits: &mut usize,
    ) -> Result<Stage, Stage> {
        let Scan { request, left, at, limit, reply, held, passed, .. } = &mut *scan;
        let present = match request.target {
            SortTarget::Value => Presentation::Whole, // To sort by.
            _ => Presentation::of(request),
        };
        let is_cut = request.sorts_after_limit();
        let walked = self.walk_some(left, *at, false, visits, &mut |record, version| {
            if is_cut && *passed > *limit {
                return ControlFlow::Break(());
            }
            reply.count += 1;
            if passes(&request.filters, version) {
                *passed += 1;
                if runs.wants(record.view(version)) {
                    let kv = present.key_value(record, version);
                    *held += kv_bytes(&kv);
                    runs.push(kv);
                }
            }
            ControlFlow::Continue(())
        });
        match walked {
            Walked::Through => Ok(scan.found_all(Some(runs))),
            Walked::Enough => {
                let counting = Counting::new(scan.request.range.clone(), scan.at);
                Ok(Stage::Counting(Box::new(counting), Some(runs)))
            }
            Walked::Paused(last) => {
                Scan::go_on(&mut scan.left, last, false);
                Err(Stage::Gathering(runs))
            }
        }
    }

    fn count_on(
        &self,
        scan: &mut Scan,
        mut counting: Box<Counting>,
        runs: Option<Box<Runs>>,
        visits: &mut usize,
    ) -> Result<Stage, Stage> {
        match self.count_some(&mut counting, visits) {
            Some(count) => {
                scan.reply.count = count;
                Ok(scan.found_all(runs))
            }
            None => Err(Stage::Counting(counting, runs)),
        }
    }

    /// Counts the keys of `range` that existed at `at`. In the newest state that is two descents; a
    /// little below it, those and a look at what changed since; otherwise a walk.
    pub fn count(&self, range: &KeyRange, at: Revision) -> i64 {
        let mut counting = Counting::new(range.clone(), Moment::at(at));
        self.count_some(&mut counting, &mut usize::MAX.clone()).expect("nothing stops it")
    }

    fn count_some(&self, counting: &mut Counting, visits: &mut usize) -> Option<i64> {
        loop {
            match &mut counting.way {
                Way::Unknown => counting.way = self.way_to_count(&counting.range, counting.at),
                Way::Back(growth) if growth.roll_backs != self.roll_backs => {
                    counting.way = Way::Unknown;
                }
                Way::Back(growth) => {
                    let (range, at) = (&counting.range, counting.at);
                    return self.grow_some(growth, range, at, visits).then_some(growth.count);
                }
                Way::Walk { left, count } => {
                    let walked = self.walk_some(left, counting.at, false, visits, &mut |_, _| {
                        *count += 1;
                        ControlFlow::Continue(())
                    });
                    match walked {
                        Walked::Through => return Some(*count),
                        Walked::Paused(last) => Scan::go_on(left, last, false),
                        Walked::Enough => unreachable!("it counts all"),
                    }
                    return None;
                }
            }
        }
    }

    fn way_to_count(&self, range: &KeyRange, at: Moment) -> Way {
        let newest = self.tree.count(range);
        let next = self.timeline.ordinal_above(at.floor().0);
        let end = self.timeline.end();
        let is_single = range.single_key().is_some();
        if end == next || !is_single && end - next <= 16 + newest / 16 {
            let (count, roll_backs) = (newest as i64, self.roll_backs);
            let repeated = (i64::MIN, BTreeSet::new());
            return Way::Back(Growth { next, end, count, roll_backs, repeated });
        }
        Way::Walk { left: range.clone(), count: 0 }
    }

    /// Takes back what the changes since `at` did to the count; whether all are taken back.
    fn grow_some(
        &self,
        growth: &mut Growth,
        range: &KeyRange,
        at: Moment,
        visits: &mut usize,
    ) -> bool {
        for (revision, key) in self.timeline.since_ordinal(growth.next) {
            if growth.next == growth.end {
                break;
            }
            if *visits == 0 {
                return false;
            }
            *visits -= 1;
            growth.next += 1;
            if range.contains(key) {
                growth.count -= self.growth_of(key, revision, at, &mut growth.repeated);
            }
        }
        true
    }

    /// By how much `key` added to the count at `revision`, as far as `at` does not see that.
    fn growth_of(
        &self,
        key: &Blob,
        revision: i64,
        at: Moment,
        repeated: &mut (i64, BTreeSet<Blob>),
    ) -> i64 {
        let Some(record) = self.tree.get(key) else { return 0 };
        let begin = record.place_after(revision - 1);
        let first = begin.max(record.place_behind(at));
        let end = record.place_after(revision);
        if first >= end {
            return 0;
        }
        if end - begin > 1 {
            // The timeline names it once for each, also for those that `at` sees.
            if repeated.0 != revision {
                *repeated = (revision, BTreeSet::new());
            }
            if !repeated.1.insert(key.clone()) {
                return 0;
            }
        }
        let live = |place: Option<usize>| {
            i64::from(place.and_then(|place| record.nth(place)).is_some_and(Version::is_live))
        };
        live(end.checked_sub(1)) - live(first.checked_sub(1))
    }

    /// Walks what `at` sees of `range` until `visit` breaks or no visits are left; every record
    /// that it looks at takes one.
    fn walk_some<'a>(
        &'a self,
        range: &KeyRange,
        at: Moment,
        downwards: bool,
        visits: &mut usize,
        visit: &mut dyn FnMut(&'a Record, &'a Version) -> ControlFlow<()>,
    ) -> Walked {
        let is_newest = self.is_all_seen(at);
        let mut walked = Walked::Through;
        let mut last: Option<&Record> = None;
        self.tree.walk(range, downwards, &mut |records, live| {
            let count = records.len();
            for step in 0..count {
                let i = if downwards { count - 1 - step } else { step };
                let record = &records[i];
                if *visits == 0 {
                    let last = last.expect("a walk begins with a visit");
                    walked = Walked::Paused(Bytes::copy_from_slice(&last.key));
                    return ControlFlow::Break(());
                }
                *visits -= 1;
                last = Some(record);
                let version = match is_newest {
                    true if live >> i & 1 == 1 => record.live_top(),
                    true => None,
                    false => record.live_in(at),
                };
                if let Some(version) = version
                    && visit(record, version).is_break()
                {
                    walked = Walked::Enough;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        walked
    }

    /// The last key of `range` that so many visits come to, if they do not come to its end.
    pub(super) fn last_of(&self, range: &KeyRange, visits: &mut usize) -> Option<Bytes> {
        self.look_through(range, visits, &mut |_, _| ControlFlow::Continue(()))
    }

    /// Looks at the newest state of the keys of `range` until `visit` breaks or no visits are left;
    /// then the last key that it looked at.
    pub(super) fn look_through(
        &self,
        range: &KeyRange,
        visits: &mut usize,
        visit: &mut dyn FnMut(&Record, &Version) -> ControlFlow<()>,
    ) -> Option<Bytes> {
        match self.walk_some(range, self.now(), false, visits, visit) {
            Walked::Paused(last) => Some(last),
            Walked::Through | Walked::Enough => None,
        }
    }

    /// Whether nothing that is here comes after `at`.
    fn is_all_seen(&self, at: Moment) -> bool {
        let newest = self.newest().0;
        newest < at.revision || newest == at.revision && at.is_whole()
    }

    /// Goes on with a compare; this shard's share of it when it is decided.
    pub fn compare_slice(&self, scan: &mut CompareScan, visits: &mut usize) -> Option<Share> {
        if *visits == 0 {
            return None;
        }
        let CompareScan { compare, left, at, share } = scan;
        let walked = self.walk_some(left, *at, false, visits, &mut |_, version| {
            share.matched = true;
            share.all_hold = satisfies(compare, version.stamp(), version.value());
            if share.all_hold { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match walked {
            Walked::Paused(last) => {
                Scan::go_on(left, last, false);
                None
            }
            Walked::Through | Walked::Enough => Some(*share),
        }
    }
}

fn kv_bytes(kv: &KeyValue) -> usize {
    size_of::<KeyValue>() + kv.value.len()
}

/// The first key after `key`.
pub(super) fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
