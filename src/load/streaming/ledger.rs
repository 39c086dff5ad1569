//! The ledger that writers and watchers share: every put under way, by its stamp.
//!
//! Each writer has a ring of pages of its own; a page is free again when its put is answered and
//! every watcher has been told. All of it is atomics, since watchers may be on other threads: a
//! page is written before its put is sent, and looked up after its event has come, so that the
//! server itself is what orders them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::WatchPlan;
use crate::chance::mix;
use crate::types::Nanos;

/// Bytes of a stamp; values are not smaller.
pub(in crate::load) const STAMP_BYTES: usize = 16;
/// Puts that are not yet delivered, of all writers together: in an open loop, watchers that lag
/// further hold the writers up, whose latency shows it.
const PAGES_MAX: usize = 1 << 18;
const PAGES_MIN: usize = 1 << 10;

/// Which put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) writer: u16,
    /// Among those of its writer; 48 bits.
    pub(super) number: u64,
}

/// The source of an event, read out of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Ours(Stamp),
    /// It comes from another writer, or from an earlier run.
    Foreign,
}

#[derive(Default)]
struct Page {
    number: AtomicU64,
    key: AtomicU64,
    intended: AtomicU64,
    /// When it was answered; 0 is not yet.
    answered: AtomicU64,
    events_left: AtomicU32,
    failed: AtomicBool,
}

/// Acknowledged puts of one target.
#[derive(Default)]
struct Target {
    acknowledged: AtomicU64,
}

/// The effect of an event on its put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) target: u64,
    pub(super) intended: Nanos,
    pub(super) answered: Option<Nanos>,
    /// Nobody has still to hear of it.
    pub(super) is_last: bool,
    /// Nobody knew whether the put had happened: it counts for nothing.
    pub(super) failed: bool,
}

/// An event that should not have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StrayEvent {
    /// Everybody had been told already.
    Twice,
    /// Its put is long over, or never was.
    Unknown,
}

/// See the file.
pub(super) struct Ledger {
    plan: WatchPlan,
    tag: u64,
    rings: Vec<Box<[Page]>>,
    targets: Box<[Target]>,
    writers_left: AtomicUsize,
}

impl Ledger {
    /// For so many writers; the seed tells this run from others.
    pub(super) fn new(plan: WatchPlan, writers: usize, seed: u64) -> Ledger {
        assert!(writers <= usize::from(u16::MAX) + 1, "{writers} writers");
        let pages = (PAGES_MAX / writers).max(PAGES_MIN).next_power_of_two();
        let ring = |_| (0..pages).map(|_| Page::free()).collect();
        Ledger {
            plan,
            tag: mix(seed) | 1,
            rings: (0..writers).map(ring).collect(),
            targets: (0..plan.targets).map(|_| Target::default()).collect(),
            writers_left: AtomicUsize::new(writers),
        }
    }

    /// The target that a key belongs to.
    pub(super) fn target(&self, key: u64) -> u64 {
        key / self.plan.target_keys
    }

    fn page(&self, stamp: Stamp) -> Option<&Page> {
        let ring = self.rings.get(usize::from(stamp.writer))?;
        Some(&ring[stamp.number as usize & (ring.len() - 1)])
    }

    fn own_page(&self, stamp: Stamp) -> &Page {
        self.page(stamp).expect("a writer of this run")
    }

    /// Whether the page for this stamp is free: its last put, if any, was answered and has reached
    /// all its watchers.
    pub(super) fn is_over(&self, stamp: Stamp) -> bool {
        self.own_page(stamp).is_over()
    }

    /// The put is about to be sent.
    pub(super) fn open(&self, stamp: Stamp, key: u64, intended: Nanos) {
        let page = self.own_page(stamp);
        debug_assert!(page.is_over(), "{stamp:?} is still under way");
        page.key.store(key, Ordering::Relaxed);
        page.intended.store(intended.0, Ordering::Relaxed);
        page.answered.store(0, Ordering::Relaxed);
        page.failed.store(false, Ordering::Relaxed);
        let watchers = self.plan.watchers_of(self.target(key));
        page.events_left.store(watchers, Ordering::Relaxed);
        page.number.store(stamp.number, Ordering::Release);
    }

    /// The put was acknowledged.
    pub(super) fn answered(&self, stamp: Stamp, now: Nanos) {
        let page = self.own_page(stamp);
        let target = self.target(page.key.load(Ordering::Relaxed));
        self.targets[target as usize].acknowledged.fetch_add(1, Ordering::Relaxed);
        page.answered.store(now.0, Ordering::Release);
    }

    /// Nobody knows whether the put has happened; nobody waits for it.
    pub(super) fn failed(&self, stamp: Stamp, now: Nanos) {
        let page = self.own_page(stamp);
        page.failed.store(true, Ordering::Relaxed);
        page.events_left.store(0, Ordering::Relaxed);
        page.answered.store(now.0, Ordering::Release);
    }

    /// A watcher has been told.
    pub(super) fn deliver(&self, stamp: Stamp) -> Result<Delivery, StrayEvent> {
        let page = self.page(stamp).ok_or(StrayEvent::Unknown)?;
        if page.number.load(Ordering::Acquire) != stamp.number {
            return Err(StrayEvent::Unknown);
        }
        let answered = page.answered.load(Ordering::Acquire);
        let fewer = |left: u32| left.checked_sub(1);
        let left =
            page.events_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).unwrap_or(0);
        let failed = page.failed.load(Ordering::Relaxed);
        if left == 0 && !failed {
            return Err(StrayEvent::Twice);
        }
        Ok(Delivery {
            target: self.target(page.key.load(Ordering::Relaxed)),
            intended: Nanos(page.intended.load(Ordering::Relaxed)),
            answered: (answered > 0).then_some(Nanos(answered)),
            is_last: left == 1,
            failed,
        })
    }

    /// One writer has made its last put, and it is answered.
    pub(super) fn writer_done(&self) {
        self.writers_left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Nothing is put any more: what was acknowledged is final.
    pub(super) fn is_closed(&self) -> bool {
        self.writers_left.load(Ordering::Acquire) == 0
    }

    /// Acknowledged puts of a target.
    pub(super) fn acknowledged(&self, target: u64) -> u64 {
        self.targets[target as usize].acknowledged.load(Ordering::Relaxed)
    }

    /// The head of the value of a put.
    pub(super) fn write(&self, stamp: Stamp) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        bytes[..8].copy_from_slice(&self.tag.to_le_bytes());
        let place = u64::from(stamp.writer) << 48 | stamp.number;
        bytes[8..].copy_from_slice(&place.to_le_bytes());
        bytes
    }

    /// The stamp of a value.
    pub(super) fn read(&self, value: &[u8]) -> Read {
        let word = |at: usize| Some(u64::from_le_bytes(*value.get(at..)?.first_chunk()?));
        match (word(0), word(8)) {
            (Some(tag), Some(place)) if tag == self.tag => {
                Read::Ours(Stamp { writer: (place >> 48) as u16, number: place & ((1 << 48) - 1) })
            }
            _ => Read::Foreign,
        }
    }
}

impl Page {
    fn free() -> Page {
        Page { number: AtomicU64::new(u64::MAX), answered: AtomicU64::new(1), ..Page::default() }
    }

    fn is_over(&self) -> bool {
        self.answered.load(Ordering::Acquire) > 0 && self.events_left.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(watchers: u64, targets: u64) -> Ledger {
        let plan = WatchPlan {
            watchers,
            targets,
            connections: 1,
            streams: 1,
            target_keys: 10,
            open_digits: 1,
        };
        Ledger::new(plan, 2, 7)
    }

    #[test]
    fn a_put_is_over_when_it_is_answered_and_everybody_knows() {
        let ledger = ledger(5, 2);
        let stamp = Stamp { writer: 1, number: 3 };
        assert!(ledger.is_over(stamp));
        ledger.open(stamp, 14, Nanos(100));
        assert!(!ledger.is_over(stamp));
        let first = ledger.deliver(stamp).expect("expected");
        assert_eq!((first.target, first.intended, first.answered), (1, Nanos(100), None));
        assert!(!first.is_last && !ledger.is_over(stamp));
        ledger.answered(stamp, Nanos(150));
        assert!(!ledger.is_over(stamp));
        let last = ledger.deliver(stamp).expect("expected");
        assert!(last.is_last && last.answered == Some(Nanos(150)) && ledger.is_over(stamp));
        assert_eq!(ledger.deliver(stamp), Err(StrayEvent::Twice));
        assert_eq!((ledger.acknowledged(0), ledger.acknowledged(1)), (0, 1));
    }

    #[test]
    fn an_event_of_no_put_is_noticed() {
        let ledger = ledger(1, 1);
        let stamp = Stamp { writer: 0, number: 9 };
        assert_eq!(ledger.deliver(stamp), Err(StrayEvent::Unknown));
        assert_eq!(ledger.deliver(Stamp { writer: 2, number: 0 }), Err(StrayEvent::Unknown));
        ledger.open(stamp, 0, Nanos(1));
        let ring = ledger.rings[0].len() as u64;
        let other = Stamp { number: 9 + ring, ..stamp };
        assert_eq!(ledger.deliver(other), Err(StrayEvent::Unknown));
    }

    #[test]
    fn nobody_waits_for_a_put_whose_fate_is_unknown() {
        let ledger = ledger(3, 1);
        let stamp = Stamp { writer: 0, number: 0 };
        ledger.open(stamp, 0, Nanos(1));
        ledger.failed(stamp, Nanos(5));
        assert!(ledger.is_over(stamp));
        // It has happened all the same.
        let late = ledger.deliver(stamp).expect("no fault of the server");
        assert!(late.failed && !late.is_last);
        assert_eq!(ledger.acknowledged(0), 0);
    }

    #[test]
    fn stamps_are_read_as_they_are_written() {
        let ledger = ledger(1, 1);
        let stamp = Stamp { writer: 65_535, number: (1 << 48) - 1 };
        let mut value = ledger.write(stamp).to_vec();
        value.extend_from_slice(b"and more");
        assert_eq!(ledger.read(&value), Read::Ours(stamp));
        assert_eq!(ledger.read(&value[..15]), Read::Foreign);
        value[0] ^= 1;
        assert_eq!(ledger.read(&value), Read::Foreign);
    }

    #[test]
    fn targets_share_the_watchers_evenly() {
        let ledger = ledger(5, 2);
        assert_eq!([0, 1].map(|target| ledger.plan.watchers_of(target)), [3, 2]);
        assert_eq!([0, 9, 10, 19].map(|key| ledger.target(key)), [0, 0, 1, 1]);
    }
}
