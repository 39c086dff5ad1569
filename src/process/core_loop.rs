//! The loop of one core: what came in, one turn, what goes out; and when there is nothing, sleep.
//!
//! ```text
//!  mailboxes ─┐                      ┌─▶ answers to connections
//!  disk ──────┼─▶ Core ── turn ──────┼─▶ mailboxes, ringing who sleeps
//!  requests ──┘   ▲                  └─▶ disk
//!                 └── once more, or park until a doorbell rings
//! ```
//!
//! Requests need no queue of their own: connections submit to the core directly and notify the
//! loop. What arrived while a turn ran is one batch of the next: that is the group commit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::applying::Applying;
use super::chronicle::Chronicle;
use super::compacting::Compacting;
use super::metrics::Figures;
use crate::chance::Chance;
use crate::line::Mailboxes;
use crate::member::{Core, CoreEffects, Mail, Park, Shared};
use crate::observe::CoreMetrics;
use crate::observe::slow::slow_sync;
use crate::rt::{self, DiskRing, DiskTag, Doorbell, Notify, Ringer};
use crate::server::Front;
use crate::types::{CoreId, Nanos, Term};
use crate::wal::{DiskOp, DiskOutcome};

/// One core and everything that its loop touches.
pub(super) struct CoreLoop {
    pub core: Rc<RefCell<Core>>,
    pub front: Rc<Front>,
    pub shared: Arc<Shared>,
    pub work: Rc<Notify>,
    pub mailboxes: Mailboxes<Mail>,
    pub ringers: Vec<Ringer>,
    pub disk: DiskRing,
    /// Rings for mail, for stable and for ended disk operations.
    pub _bell: Doorbell,
    pub stopping: Rc<Cell<bool>>,
    /// Told about the first turn after which the member is ready.
    pub on_ready: Option<Box<dyn FnOnce()>>,
    pub figures: Arc<Figures>,
}

/// Between two slices of compaction, checkpoint, hash or defragmentation: a slice takes about half
/// as long, so that traffic has most of the core meanwhile.
const WORK_PAUSE: Duration = Duration::from_micros(400);

/// The time that a core looks for the other cores' part in a round before it parks.
const POLL_TIME: Duration = Duration::from_micros(30);

/// State that one turn leaves to the next, and memory that all of them use.
struct Scratch {
    effects: CoreEffects,
    completions: Vec<(DiskTag, DiskOutcome)>,
    /// The operations on their way whose time is counted.
    flights: Vec<Flight>,
    /// When the next slice of background work is due.
    work_at: Nanos,
    turn_began: Nanos,
    /// The term as connections show it.
    term: u64,
    applying: Applying,
    compacting: Compacting,
}

/// A disk operation under way.
struct Flight {
    tag: DiskTag,
    begun: Nanos,
    kind: FlightKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlightKind {
    /// A batch of a log.
    Batch,
    /// A piece of a checkpoint.
    Piece,
    /// Making a checkpoint durable.
    Publish,
}

impl FlightKind {
    fn of(operation: &DiskOp) -> Option<FlightKind> {
        match operation {
            DiskOp::WriteBatch { .. } => Some(FlightKind::Batch),
            DiskOp::AppendTemporary { .. } => Some(FlightKind::Piece),
            DiskOp::PublishTemporary { .. } => Some(FlightKind::Publish),
            DiskOp::PrepareSegment { .. } | DiskOp::Remove { .. } => None,
        }
    }
}

/// etcd warns of a log write that takes longer.
const SLOW_SYNC: Duration = Duration::from_secs(1);

impl Flight {
    /// Counts its time, and logs a disk that is too slow.
    fn landed(&self, figures: &CoreMetrics) {
        let nanos = rt::now().0.saturating_sub(self.begun.0);
        match self.kind {
            FlightKind::Batch => {
                figures.wal_fsync_duration.observe(nanos);
                figures.wal_write_duration.observe(nanos);
                slow_sync(Duration::from_nanos(nanos), SLOW_SYNC);
            }
            FlightKind::Piece => figures.checkpoint_write_duration.observe(nanos),
            FlightKind::Publish => figures.checkpoint_commit_duration.observe(nanos),
        }
    }
}

impl Scratch {
    fn new(applying: Applying) -> Scratch {
        Scratch {
            effects: CoreEffects::default(),
            completions: Vec::new(),
            flights: Vec::new(),
            work_at: Nanos(0),
            turn_began: Nanos(0),
            term: 0,
            applying,
            compacting: Compacting::default(),
        }
    }
}

impl CoreLoop {
    /// Runs until it is told to stop and nothing is under way.
    pub async fn run(mut self) {
        let id = self.core.borrow().id();
        let mut scratch = Scratch::new(Applying::new(self.figures.slow_apply()));
        let figures = Arc::clone(&self.figures);
        let figures = figures.core(usize::from(id.0));
        let mut sealed = false;
        loop {
            self.shared.waits.stay(id);
            if !self.mailboxes.is_sent(|to| ring(&self.shared, &self.ringers, to)) {
                rt::give_way().await;
                continue;
            }
            figures.loop_turns.add(1);
            // The turn looks at all that was notified of. Left rung, it would have a core that
            // polls take turn after turn until a round is over.
            self.work.take();
            let more = self.turn(&mut scratch, figures);
            self.carry_out(&mut scratch);
            figures.turn_duration.observe(rt::now().0 - scratch.turn_began.0);
            let park = self.core.borrow().park();
            if self.mailboxes.owes() {
                rt::give_way().await;
                continue;
            }
            if park.polls && self.poll(park).await {
                continue;
            }
            if !more && self.stopping.get() && self.disk.is_idle() && self.front.requests() == 0 {
                if std::mem::replace(&mut sealed, true) {
                    return;
                }
                self.core.borrow_mut().seal();
                continue;
            }
            self.shared.waits.wait_for(id, park.lowest);
            self.shared.waits.prepare(id);
            let stable = self.shared.sequencer.stable();
            if park.lowest.is_some_and(|lowest| lowest <= stable) || self.mailboxes.has_mail() {
                continue;
            }
            if self.core.borrow().is_reading() {
                // A client waits for it: only others' turns come between two slices.
                rt::give_way().await;
                continue;
            }
            if more {
                rt::within(WORK_PAUSE, self.work.wait()).await;
                continue;
            }
            figures.parks.add(1);
            self.work.wait().await;
        }
    }

    /// Spins up to [`POLL_TIME`] for a stable advance or mail, yielding to other tasks between
    /// checks; returns whether any came. A round's answer comes within microseconds if the other
    /// core has a CPU. If it has none, spinning does not help: the core parks, and is rung like
    /// any other.
    async fn poll(&mut self, park: Park) -> bool {
        let end = rt::now().0 + POLL_TIME.as_nanos() as u64;
        loop {
            rt::give_way().await;
            let stable = self.shared.sequencer.stable();
            let released = park.lowest.is_some_and(|lowest| lowest <= stable);
            if released || self.work.is_rung() || self.mailboxes.has_mail() {
                return true;
            }
            if rt::now().0 >= end {
                return false;
            }
        }
    }

    /// Gives the core what has come in and has it take a turn; whether it wants another.
    fn turn(&mut self, scratch: &mut Scratch, figures: &CoreMetrics) -> bool {
        let own = Rc::clone(&self.core);
        let mut core = own.borrow_mut();
        let now = rt::now();
        // First what is stable, then the mail: so it holds every event up to there.
        core.look();
        figures.mailed(self.mailboxes.take(|mail| core.receive(mail)));
        self.disk.completions(&mut scratch.completions);
        for ((group, op), outcome) in scratch.completions.drain(..) {
            let landed = scratch.flights.iter().position(|flight| flight.tag == (group, op));
            if let Some(at) = landed {
                scratch.flights.swap_remove(at).landed(figures);
            }
            if let Err(fatal) = core.disk_done(group, op, outcome) {
                super::die(&format!("the disk failed: {fatal}"));
            }
        }
        let work = now >= scratch.work_at;
        let more = core.turn_and(now, work);
        let end = rt::now();
        scratch.turn_began = now;
        if work {
            scratch.compacting.turn(&core, (now, end), figures);
            scratch.work_at = Nanos(end.0 + WORK_PAUSE.as_nanos() as u64);
        }
        scratch.applying.turn(&core.applied(), end.0 - now.0, figures);
        std::mem::swap(core.effects(), &mut scratch.effects);
        more
    }

    /// Does what the turn wants done: the disk first, for it takes the longest.
    fn carry_out(&mut self, scratch: &mut Scratch) {
        for (group, op, operation) in scratch.effects.disk.drain(..) {
            if let Some(kind) = FlightKind::of(&operation) {
                scratch.flights.push(Flight { tag: (group, op), begun: rt::now(), kind });
            }
            self.disk.submit((group, op), operation);
        }
        self.disk.flush();
        let effects = &mut scratch.effects;
        self.mailboxes.send(&mut effects.mail, |to| ring(&self.shared, &self.ringers, to));
        for core in effects.ring.drain(..) {
            self.ringers[usize::from(core.0)].ring();
        }
        if self.shared.term() != scratch.term {
            scratch.term = self.shared.term();
            self.front.set_term(Term(scratch.term));
        }
        self.front.answer_all(&mut scratch.effects.answers);
        for (stream, reply) in scratch.effects.watched.drain(..) {
            self.front.watched(stream, reply);
        }
        if let Some(on_ready) = self.on_ready.take_if(|_| self.shared.is_ready()) {
            on_ready();
        }
    }
}

/// There is mail for `core`: rings it if it sleeps.
fn ring(shared: &Shared, ringers: &[Ringer], core: CoreId) {
    if shared.waits.pushed(core) {
        ringers[usize::from(core.0)].ring();
    }
}

/// The work that a core does by the clock.
pub(super) struct Beat {
    pub core: Rc<RefCell<Core>>,
    pub front: Rc<Front>,
    pub work: Rc<Notify>,
    pub figures: Arc<Figures>,
    pub shared: Arc<Shared>,
}

impl Beat {
    /// Ticks the core's clock as long as it lives.
    pub async fn run(self, interval: Duration) {
        // Election timeouts only have to differ between members.
        let mut chance = Chance::new(rt::now().0);
        let mut chronicle = Chronicle::new(&self.core.borrow(), &self.shared);
        loop {
            rt::sleep(interval).await;
            let mut core = self.core.borrow_mut();
            core.tick(rt::now(), chance.number());
            self.figures.publish(&core, &self.front);
            chronicle.beat(&core, &self.shared, &self.figures);
            drop(core);
            self.work.notify();
        }
    }
}
