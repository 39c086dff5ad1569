//! The simulator: it runs a whole member on a fake disk and clock, driven from one seed.
//!
//! ```text
//!            ┌────────────────────────── World ──────────────────────────┐
//!   seed ──▶ │ Workload ──calls──▶ Host: cores, mail ──operations──▶ Disk │ ──▶ digest
//!            │    ▲                  │                    ▲     torn, full │
//!            │    └────answers───────┘                  harm  failed, slow │
//!            │                Line: what was stable, the model, the verdict│
//!            └────────────────────────────────────────────────────────────┘
//! ```
//!
//! The member is the production code from `member` down. Only sockets, disk, clock and entropy are
//! replaced, and which core runs next is drawn. Nothing else is random: equal seeds give equal
//! traces.
//!
//! It checks the rules of docs/invariants.md and more:
//!
//! - R1, R2 and R7 are asserts of the rooms; a panic is a failure like any other.
//! - R3: no header is above stable. R4: what was stable is there after every restart, unchanged.
//! - R5: no revision is without a change. R6: every revision is whole: it is what one call does.
//! - Linearizability in revision order: a sequential model explains every answer, and headers
//!   respect the order in which calls were answered and invoked.
//! - D1, D5: nothing acknowledged is lost, whatever was torn in whichever logs. D3: damage that
//!   must be noticed is noticed, and damage that must not matter does not.
//! - No wake-up is lost: when nothing moves, nobody waits. Logs do not grow without end.
//! - Watches (`stream`): events are ordered, unique, atomic, reliable, resumable and bookmarkable;
//!   previous pairs and filters are right; every watcher gets everything in the end.
//! - Leases (`leases`): a lease ends only with a cause, ends in time, does not return, and takes
//!   all its keys at one revision.
//!
//! Several members and a network are not there yet.

mod call;
mod connections;
mod damage;
mod disk;
mod host;
mod leases;
mod line;
mod model;
mod plan;
mod stream;
mod streams;
mod trace;
mod verdict;
mod workload;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use crate::chance::Chance;
pub use disk::Disk;
use plan::Plan;
use trace::Trace;
use world::World;

use crate::member::Shared;

/// The options of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub steps: u64,
    /// Drawn from the seed if not given.
    pub cores: Option<u16>,
    pub shards: Option<u16>,
    pub without: Option<Left>,
}

/// The summary of a simulation that held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub seed: u64,
    pub lives: u64,
    pub crashes: u64,
    pub harms: u64,
    pub answers: u64,
    pub revisions: i64,
    /// That watchers were told of.
    pub events: u64,
    pub digest: u64,
    /// The number of answers of each kind.
    pub kinds: BTreeMap<String, u64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seed, lives, crashes, harms, answers, revisions, digest, .. } = self;
        write!(
            f,
            "seed {seed}: {lives} lives, {crashes} crashes, {harms} harms, {answers} answers, \
             {revisions} revisions, digest {digest:016x}"
        )
    }
}

/// A simulation that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub step: u64,
    pub what: String,
    /// The last events before it.
    pub events: Vec<String>,
}

/// A rule that a build with `teeth` can leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Freeze,
    FloorFirst,
    FreezeFloor,
    Chain,
    PersistFirst,
    TellBefore,
    LookFirst,
    AttachRefused,
    GoneAfterStable,
    PauseForgiven,
    Accounted,
}

impl Left {
    /// All of them, with the names that the command line knows.
    pub const NAMES: [(&'static str, Left); 11] = [
        ("freeze", Left::Freeze),
        ("floor-first", Left::FloorFirst),
        ("freeze-floor", Left::FreezeFloor),
        ("chain", Left::Chain),
        ("persist-first", Left::PersistFirst),
        ("tell-before", Left::TellBefore),
        ("look-first", Left::LookFirst),
        ("attach-refused", Left::AttachRefused),
        ("gone-after-stable", Left::GoneAfterStable),
        ("pause-forgiven", Left::PauseForgiven),
        ("accounted", Left::Accounted),
    ];

    #[cfg(not(feature = "teeth"))]
    fn apply(self, _shared: &Shared) {
        panic!("this build leaves out no rule: build with --features teeth");
    }

    #[cfg(feature = "teeth")]
    fn apply(self, shared: &Shared) {
        use crate::{line, teeth};
        match self {
            Left::Freeze => teeth::leave_out(teeth::Rule::Freeze),
            Left::Chain => teeth::leave_out(teeth::Rule::Chain),
            Left::PersistFirst => teeth::leave_out(teeth::Rule::PersistFirst),
            Left::TellBefore => teeth::leave_out(teeth::Rule::TellBefore),
            Left::LookFirst => teeth::leave_out(teeth::Rule::LookFirst),
            Left::AttachRefused => teeth::leave_out(teeth::Rule::AttachRefused),
            Left::GoneAfterStable => teeth::leave_out(teeth::Rule::GoneAfterStable),
            Left::PauseForgiven => teeth::leave_out(teeth::Rule::PauseForgiven),
            Left::Accounted => teeth::leave_out(teeth::Rule::Accounted),
            Left::FloorFirst => shared.sequencer.leave_out(line::sequencer::Rule::FloorFirst),
            Left::FreezeFloor => shared.sequencer.leave_out(line::sequencer::Rule::FreezeFloor),
        }
    }
}

thread_local! {
    /// The place and the message of this thread's last panic.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics for the report instead of printing them; for the whole program, once.
pub fn keep_panics() {
    panic::set_hook(Box::new(|panic| PANIC.set(Some(panic.to_string()))));
}

/// Runs one simulation. If it fails it is run again, to tell what happened last.
pub fn simulate(options: &Options) -> Result<Summary, Box<Failure>> {
    match attempt(options, &mut Trace::default()) {
        Ok(summary) => Ok(summary),
        Err((step, what)) => {
            let mut trace = Trace::kept();
            let again = attempt(options, &mut trace);
            let mut events: Vec<String> = trace.lines().cloned().collect();
            if !again.is_err_and(|again| again.0 == step) {
                events.push("THE SECOND RUN OF THIS SEED WENT OTHERWISE".to_owned());
            }
            Err(Box::new(Failure { seed: options.seed, step, what, events }))
        }
    }
}

fn attempt(options: &Options, trace: &mut Trace) -> Result<Summary, (u64, String)> {
    let mut chance = Chance::new(options.seed);
    let plan = Plan::draw(&mut chance, options.cores, options.shards);
    trace.record(|| format!("{plan:?}"));
    let mut world = World::new(options.seed, plan, options.without, chance);
    PANIC.set(None);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| world.run(options.steps, trace)));
    match ran {
        Ok(Ok(summary)) => Ok(summary),
        Ok(Err(broken)) => Err((trace.at(), broken)),
        Err(payload) => {
            // A world that panicked may panic again when it is taken apart.
            std::mem::forget(world);
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|&s| s.to_owned()));
            let what = PANIC.take().or(text).unwrap_or_else(|| "a panic".to_owned());
            Err((trace.at(), what))
        }
    }
}
