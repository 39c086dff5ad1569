//! The state that the cores of a member share: the line, who sleeps, and gauges that any may read.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::LEASE_BYTES;
use crate::line::{Sequencer, Waits};
use crate::types::{Alarm, CoreId, Epoch, GroupId, MemberId, ShardId};

/// One per member. Each gauge is written by the core that owns what it tells of.
#[derive(Debug)]
pub struct Shared {
    pub sequencer: Arc<Sequencer>,
    pub waits: Waits,
    pub cores: u16,
    pub shards: u16,
    groups: Box<[GroupGauge]>,
    sizes: Box<[SizeGauge]>,
    leader: AtomicU64,
    /// The newest epoch that was opened; stored before its sequencer is.
    epoch: AtomicU64,
    leases: AtomicU64,
    /// The control group's compaction target.
    compacted: AtomicI64,
    ready: AtomicBool,
    /// The disk was full when the process started, and no alarm says so yet.
    short: AtomicBool,
    alarms: Mutex<Arc<[Alarm]>>,
}

/// The position of a group.
#[derive(Debug, Default)]
#[repr(align(64))]
struct GroupGauge {
    committed: AtomicU64,
    applied: AtomicU64,
    term: AtomicU64,
}

/// The size of a shard's store.
#[derive(Debug, Default)]
#[repr(align(64))]
struct SizeGauge {
    in_use: AtomicU64,
    held: AtomicU64,
    keys: AtomicU64,
}

/// Bytes that a member holds besides its data: never 0, for clients divide by it.
const BASE_BYTES: u64 = 20 << 10;

/// Sizes over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub in_use: u64,
    pub held: u64,
    pub keys: u64,
}

impl Shared {
    /// Makes the state that `cores` cores share over `shards` shards.
    pub fn new(cores: u16, shards: u16) -> Shared {
        Shared {
            sequencer: Arc::new(Sequencer::new(usize::from(shards))),
            waits: Waits::new(usize::from(cores)),
            cores,
            shards,
            groups: (0..=shards).map(|_| GroupGauge::default()).collect(),
            sizes: (0..shards).map(|_| SizeGauge::default()).collect(),
            leader: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            leases: AtomicU64::new(0),
            compacted: AtomicI64::new(-1),
            ready: AtomicBool::new(false),
            short: AtomicBool::new(false),
            alarms: Mutex::new(Arc::from([])),
        }
    }

    /// The core that has a shard, as long as the process runs.
    pub fn core_of(&self, shard: ShardId) -> CoreId {
        CoreId(shard.0 % self.cores)
    }

    /// The core that has the control group and the leader.
    pub fn leader_core(&self) -> CoreId {
        CoreId(0)
    }

    pub(super) fn set_group(&self, group: GroupId, committed: u64, applied: u64, term: u64) {
        let gauge = &self.groups[usize::from(group.0)];
        gauge.committed.store(committed, Ordering::Relaxed);
        gauge.applied.store(applied, Ordering::Relaxed);
        gauge.term.store(term, Ordering::Relaxed);
    }

    pub(super) fn set_size(&self, shard: ShardId, in_use: u64, held: u64, keys: u64) {
        let gauge = &self.sizes[usize::from(shard.0)];
        gauge.in_use.store(in_use, Ordering::Relaxed);
        gauge.held.store(held, Ordering::Relaxed);
        gauge.keys.store(keys, Ordering::Relaxed);
    }

    pub(super) fn set_leader(&self, leader: Option<u64>) {
        self.leader.store(leader.unwrap_or(0), Ordering::Relaxed);
    }

    /// Before the sequencer opens: whoever sees a revision of the epoch as stable sees its number.
    pub(super) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn set_leases(&self, count: usize) {
        self.leases.store(count as u64, Ordering::Relaxed);
    }

    /// Counts the leases.
    pub fn leases(&self) -> u64 {
        self.leases.load(Ordering::Relaxed)
    }

    pub(super) fn set_compacted(&self, compacted: i64) {
        self.compacted.store(compacted, Ordering::Relaxed);
    }

    pub(super) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The disk is full at the start: what needs space is refused, and the alarm is raised as soon
    /// as there is an epoch. To be told before any core begins.
    pub fn begin_short(&self) {
        self.short.store(true, Ordering::Release);
    }

    /// Whether that is so and not yet known by an alarm.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// The alarm says so from here on, until an operator disarms it.
    pub(super) fn end_short(&self) {
        self.short.store(false, Ordering::Release);
    }

    pub(super) fn set_alarms(&self, alarms: &Arc<[Alarm]>) {
        *self.alarms.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(alarms);
    }

    /// The alarms that stand. Not for the path of a request: each core has its own copy.
    pub fn alarms(&self) -> Arc<[Alarm]> {
        Arc::clone(&self.alarms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether an epoch has been open and the member has published itself.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The leader, 0 if none is known.
    pub fn leader(&self) -> MemberId {
        MemberId(self.leader.load(Ordering::Relaxed))
    }

    /// The newest compaction target; -1 before the first.
    pub fn compacted(&self) -> i64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// The control group's term: what clients know as the Raft term.
    pub fn term(&self) -> u64 {
        self.groups[0].term.load(Ordering::Relaxed)
    }

    /// Sums of the groups' committed and applied indexes: they only rise.
    pub fn indexes(&self) -> (u64, u64) {
        let sum = |gauge: fn(&GroupGauge) -> &AtomicU64| {
            self.groups.iter().map(|group| gauge(group).load(Ordering::Relaxed)).sum()
        };
        (sum(|group| &group.committed), sum(|group| &group.applied))
    }

    /// Sizes over all shards, and of the leases.
    pub fn sizes(&self) -> Sizes {
        let base = BASE_BYTES + self.leases() * LEASE_BYTES;
        let mut sizes = Sizes { in_use: base, held: base, keys: 0 };
        for gauge in &self.sizes {
            sizes.in_use += gauge.in_use.load(Ordering::Relaxed);
            sizes.held += gauge.held.load(Ordering::Relaxed);
            sizes.keys += gauge.keys.load(Ordering::Relaxed);
        }
        sizes.held = sizes.held.max(sizes.in_use);
        sizes
    }
}
