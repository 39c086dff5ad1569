//! The cores that sleep, the revisions that they sleep until, and who must wake them.
//!
//! A core that finds nothing to do parks. Two things end that: stable reaches what the core waits
//! for, or another core puts something into one of its mailboxes. Neither may be missed, and nobody
//! rings a core that is awake: a ring is an eventfd write, dear next to an atomic.
//!
//! ```text
//!  core that parks                     core that has news
//!  ---------------                     ------------------
//!  lowest = L       (wait_for)         stable = S  or  push into its mailbox
//!  sleeping = true  (prepare)          fence
//!  fence                               sleeping? and (lowest ≤ S  or  pushed): ring
//!  stable ≥ L? mailbox empty?
//!  then park, else `stay`
//! ```
//!
//! Both sides store, fence and load, so at least one of them sees the other. A core that finds
//! news after `prepare` stays awake; that somebody has rung it as well costs one idle turn.
//!
//! What rings (an eventfd, the simulator's queue) belongs to the runtime: these return whom.

use super::atomics::{AtomicBool, AtomicU64, Ordering, Padded, fence};
use super::sequencer::line_number;
use crate::limits::CORES_MAX;
use crate::types::{CoreId, Revision};

/// Waits for no revision.
const NOTHING: u64 = u64::MAX;

/// The sleepers' board of one member: one line per core, written by that core.
#[derive(Debug)]
pub struct Waits {
    cores: Box<[Padded<Wait>]>,
}

#[derive(Debug)]
struct Wait {
    /// The lowest stable that the core waits for.
    lowest: AtomicU64,
    /// Set by the core before it parks, cleared by it or by the one who rings.
    sleeping: AtomicBool,
}

impl Waits {
    /// Begins with every core awake and none waiting.
    pub fn new(cores: usize) -> Waits {
        assert!((1..=CORES_MAX).contains(&cores), "1 to {CORES_MAX} cores, not {cores}");
        let awake = || Wait { lowest: AtomicU64::new(NOTHING), sleeping: AtomicBool::new(false) };
        Waits { cores: (0..cores).map(|_| Padded(awake())).collect() }
    }

    /// `core` says what it waits for: the lowest revision that stable must reach. It need not be
    /// said each time that it changes, but before `prepare`.
    pub fn wait_for(&self, core: CoreId, lowest: Option<Revision>) {
        let lowest = lowest.map_or(NOTHING, line_number);
        let published = &self.of(core).lowest;
        if published.load(Ordering::Relaxed) != lowest {
            published.store(lowest, Ordering::Relaxed);
        }
    }

    /// `core` is about to park. It must now look at stable and its mailboxes once more, and park
    /// only if there is nothing; else `stay`.
    pub fn prepare(&self, core: CoreId) {
        self.of(core).sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// `core` is awake: it did not park after all, or it has been woken by whatever.
    pub fn stay(&self, core: CoreId) {
        let sleeping = &self.of(core).sleeping;
        if sleeping.load(Ordering::Relaxed) {
            sleeping.store(false, Ordering::Relaxed);
        }
    }

    /// The caller has raised stable to `stable`: the cores to ring for that, each to be rung by
    /// this caller alone. The iterator does the work: go through it.
    pub fn raised(&self, stable: Revision) -> impl Iterator<Item = CoreId> + use<'_> {
        fence(Ordering::SeqCst);
        let stable = line_number(stable);
        let sleepers = self.cores.iter().enumerate().filter(move |(_, wait)| {
            wait.sleeping.load(Ordering::Relaxed)
                && wait.lowest.load(Ordering::Relaxed) <= stable
                && wait.sleeping.swap(false, Ordering::AcqRel)
        });
        sleepers.map(|(core, _)| CoreId(u16::try_from(core).expect("CORES_MAX fits")))
    }

    /// The caller has pushed into a mailbox of `core`: must it ring?
    #[must_use = "the core sleeps on if nobody rings"]
    pub fn pushed(&self, core: CoreId) -> bool {
        fence(Ordering::SeqCst);
        let sleeping = &self.of(core).sleeping;
        sleeping.load(Ordering::Relaxed) && sleeping.swap(false, Ordering::AcqRel)
    }

    fn of(&self, core: CoreId) -> &Wait {
        &self.cores[usize::from(core.0)]
    }
}
