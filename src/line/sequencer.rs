//! The sequencer: the atomics by which all cores of the leader share one revision line.
//!
//! One counter hands revisions out, and one *floor* per shard says below what nothing of that shard
//! is pending. Whatever lies at or below every floor, and was handed out at all, is committed:
//!
//! ```text
//! take     floor = next - 1 (if it was ∞)   then   r = next.fetch_add(n)
//! publish  reached = next - 1               then   min with every floor; stable.fetch_max(reached)
//! ```
//!
//! Why no pending revision is ever covered: `fetch_add` releases what its lane did before, and
//! every later `fetch_add` carries that on. Who reads a `next` above `r` therefore sees the floor
//! that `r`'s lane stored before it took `r`, or a later one; and a later one is at or above `r`
//! only when `r` has committed.
//!
//! Why nobody has to poll: who raises a floor looks at the others only if stable had reached the
//! floor, because otherwise another lane holds the line back and will look itself. The race
//! between two of them (A reads B's floor, B raises it, B sees stable still low and leaves, A
//! publishes the old minimum) is closed by a store, fence, load on both sides: after it has
//! published, A fences and looks again.

use super::atomics::{AtomicBool, AtomicU64, Ordering, Padded, fence};
use crate::limits::SHARDS_MAX;
use crate::types::{GroupId, LogIndex, Note, Revision};

/// The floor of a lane with nothing pending.
pub(super) const NO_FLOOR: u64 = u64::MAX;

/// One per member; lives as long as the member and is opened once per epoch that it leads.
///
/// - `stable < next`, always; while open also `cut ≤ stable`.
/// - `stable` only rises; `next` only rises while open.
/// - Only the owner of lane `s` writes `floors[s]`, but for `open`, when nobody owns it.
#[derive(Debug)]
pub struct Sequencer {
    next: Padded<AtomicU64>,
    stable: Padded<AtomicU64>,
    floors: Box<[Padded<AtomicU64>]>,
    /// The last committed entry that is durable, by group; stored before the lane's floor rises
    /// over what it holds (C6).
    durable: Box<[Padded<AtomicU64>]>,
    /// Which lanes have an owner; never on the way of a write.
    owned: Box<[AtomicBool]>,
    /// Read-mostly: written by `open` and `close` only.
    epoch: Padded<EpochState>,
    #[cfg(feature = "teeth")]
    teeth: Teeth,
}

#[derive(Debug)]
struct EpochState {
    open: AtomicBool,
    cut: AtomicU64,
}

impl Sequencer {
    /// Closed, with the line of a store that nobody has written to.
    pub fn new(shards: usize) -> Sequencer {
        assert!((1..=SHARDS_MAX).contains(&shards), "1 to {SHARDS_MAX} shards, not {shards}");
        let empty = line_number(Revision::EMPTY);
        Sequencer {
            next: Padded(AtomicU64::new(empty + 1)),
            stable: Padded(AtomicU64::new(empty)),
            floors: (0..shards).map(|_| Padded(AtomicU64::new(NO_FLOOR))).collect(),
            durable: (0..=shards).map(|_| Padded(AtomicU64::new(0))).collect(),
            owned: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            epoch: Padded(EpochState { open: AtomicBool::new(false), cut: AtomicU64::new(empty) }),
            #[cfg(feature = "teeth")]
            teeth: Teeth::default(),
        }
    }

    /// Begins an epoch at its cut. The lanes of an earlier epoch must have been dropped: a lane
    /// that still acted could raise a floor of this one. Stable is at the cut then: whoever waits
    /// for that must be woken.
    pub fn open(&self, cut: Revision) {
        let cut = line_number(cut);
        assert!(!self.is_open(), "an epoch is opened while another one is open");
        for (shard, owned) in self.owned.iter().enumerate() {
            let owned = owned.load(Ordering::Acquire);
            assert!(!owned, "an epoch is opened while shard {shard} keeps the lane of the last");
        }
        let stable = self.stable.load(Ordering::Acquire);
        assert!(cut >= stable, "R4: the cut {cut} is below stable {stable}");
        for floor in &self.floors {
            floor.store(NO_FLOOR, Ordering::Release);
        }
        self.epoch.cut.store(cut, Ordering::Release);
        self.next.store(cut + 1, Ordering::Release);
        self.stable.fetch_max(cut, Ordering::AcqRel);
        self.epoch.open.store(true, Ordering::Release);
    }

    /// Ends the epoch: `stable` stays where it is. The floors stay too, so that a look at them
    /// that is under way finds nothing that is not committed. A lane whose owner has not heard
    /// yet may still take revisions; they are above every cut that can follow, or committed.
    pub fn close(&self) {
        self.epoch.open.store(false, Ordering::Release);
    }

    /// Is an epoch open here?
    pub fn is_open(&self) -> bool {
        self.epoch.open.load(Ordering::Acquire)
    }

    /// Everything up to here is committed.
    pub fn stable(&self) -> Revision {
        revision(self.stable.load(Ordering::Acquire))
    }

    /// The last revision handed out.
    pub fn newest(&self) -> Revision {
        revision(self.next.load(Ordering::Acquire) - 1)
    }

    /// Returns the cut that the epoch inherited.
    pub fn cut(&self) -> Revision {
        revision(self.epoch.cut.load(Ordering::Acquire))
    }

    /// The log of a group is durable and committed up to `index`. To be told before a lane hears of
    /// it, so that a note is never behind the stable that it names.
    pub fn reached_by(&self, group: GroupId, index: LogIndex) {
        let durable = &self.durable[usize::from(group.0)];
        if durable.load(Ordering::Relaxed) != index.0 {
            durable.store(index.0, Ordering::Release);
        }
    }

    /// Returns what is durable now. Stable is read first, then the groups.
    pub fn note(&self) -> Note {
        let stable = self.stable();
        let indexes = self.durable.iter().map(|index| LogIndex(index.load(Ordering::Acquire)));
        Note { stable, indexes: indexes.collect() }
    }

    /// Counts the lanes.
    pub fn shards(&self) -> usize {
        self.floors.len()
    }

    /// Revisions for a round. The coordinator has no lane: the floors that every participant
    /// stored at its freeze, before it answered it, hold stable back for it.
    pub fn take_for_round(&self, count: u64) -> Revision {
        revision(self.hand_out(count))
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    pub(super) fn hand_out(&self, count: u64) -> u64 {
        assert!(count > 0, "no revision is asked for");
        // Releases the floor that was stored before, acquires those of earlier takers.
        let first = self.next.fetch_add(count, Ordering::AcqRel);
        let cut = self.epoch.cut.load(Ordering::Relaxed);
        assert!(first > cut, "R1: revision {first} is not above the cut {cut}");
        first
    }

    /// A lower floor, or the first one; ordered before its lane's next `hand_out` by that.
    pub(super) fn store_floor(&self, slot: usize, floor: u64) {
        self.floors[slot].store(floor, Ordering::Release);
    }

    /// A higher floor. `held` is the lowest that this lane's floor was since it last looked. Some
    /// revision if stable rose by this: whoever waits for it must be woken.
    pub(super) fn raise_floor(&self, slot: usize, floor: u64, held: u64) -> Option<Revision> {
        self.floors[slot].store(floor, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.stable.load(Ordering::Acquire) < held { None } else { self.publish() }
    }

    /// Marks the lane as owned.
    pub(super) fn give_out(&self, slot: usize) {
        assert!(self.is_open(), "the lane of shard {slot} is asked for while no epoch is open");
        let owned = self.owned[slot].swap(true, Ordering::AcqRel);
        assert!(!owned, "the lane of shard {slot} has an owner");
        let floor = self.floors[slot].load(Ordering::Acquire);
        assert!(floor == NO_FLOOR, "the lane of shard {slot} was given up with work pending");
    }

    /// Gives the lane back; its floor stays, for what it has pending stays pending.
    pub(super) fn give_up(&self, slot: usize) {
        self.owned[slot].store(false, Ordering::Release);
    }

    /// Raises stable as far as the floors allow, until a look finds nothing new.
    pub(super) fn publish(&self) -> Option<Revision> {
        let mut raised = None;
        if !self.is_open() {
            return raised;
        }
        loop {
            let reached = self.reached();
            if reached <= self.stable.load(Ordering::Acquire) {
                return raised;
            }
            if self.stable.fetch_max(reached, Ordering::AcqRel) < reached {
                raised = Some(revision(reached));
            }
            fence(Ordering::SeqCst);
        }
    }

    /// `next` first, then the floors in any order.
    fn reached(&self) -> u64 {
        let next = self.next.load(Ordering::Acquire);
        let floors = self.floors.iter().map(|floor| floor.load(Ordering::Acquire));
        floors.fold(next - 1, u64::min)
    }
}

/// Revisions are positive; etcd's type is signed.
pub(super) fn line_number(revision: Revision) -> u64 {
    u64::try_from(revision.0).expect("a revision of the line is not negative")
}

pub(super) fn revision(number: u64) -> Revision {
    Revision(i64::try_from(number).expect("the line has fewer than 2^63 revisions"))
}

/// A rule of the line that the simulator can leave out, to show that it would notice.
#[cfg(feature = "teeth")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A lane stores its floor before it takes a revision.
    FloorFirst,
    /// A shard stores its floor at a freeze and keeps it until its entry of the round is logged.
    FreezeFloor,
}

#[cfg(feature = "teeth")]
#[derive(Debug, Default)]
struct Teeth {
    floor_last: std::sync::atomic::AtomicBool,
    freeze_bare: std::sync::atomic::AtomicBool,
}

#[cfg(feature = "teeth")]
impl Sequencer {
    /// Leaves `rule` out from now on.
    pub fn leave_out(&self, rule: Rule) {
        self.tooth(rule).store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn leaves_out(&self, rule: Rule) -> bool {
        self.tooth(rule).load(std::sync::atomic::Ordering::Relaxed)
    }

    fn tooth(&self, rule: Rule) -> &std::sync::atomic::AtomicBool {
        match rule {
            Rule::FloorFirst => &self.teeth.floor_last,
            Rule::FreezeFloor => &self.teeth.freeze_bare,
        }
    }
}
