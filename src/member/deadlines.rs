//! Deadlines of leases, which only the leader knows and keeps in memory.
//!
//! ```text
//!  id ──hash──▶ Timed { deadline, queued at … }      renewing moves the deadline, nothing else
//!                          │
//!  (queued at, id) ──ordered──▶ looked at when its time comes: ended, or queued again
//! ```
//!
//! *Lease time* is the member's clock without the pauses: while the process was stopped, no client
//! could renew anything, so that time does not count against any lease. A gap between two looks at
//! the clock that is longer than an election timeout is such a pause; all deadlines move by it at
//! no cost. A member that was paused thus ends no lease that its clients kept alive.
//!
//! Invariant: a lease is queued once, and never later than its deadline.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::teeth::{Rule, leaves_out};
use crate::types::{LeaseId, Nanos};

const SECOND: u64 = 1_000_000_000;

/// A point in lease time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LeaseTime(u64);

impl LeaseTime {
    fn after(self, seconds: i64) -> LeaseTime {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        LeaseTime(self.0.saturating_add(seconds.saturating_mul(SECOND)))
    }

    fn plus(self, nanos: u64) -> LeaseTime {
        LeaseTime(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` on; 0 if it is later.
    pub fn since(self, earlier: LeaseTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The member's clock without its pauses.
#[derive(Debug)]
struct Clock {
    now: LeaseTime,
    seen: Option<Nanos>,
    /// A longer gap is a pause.
    pause_min: u64,
}

impl Clock {
    fn look(&mut self, now: Nanos) {
        let gap = self.seen.map_or(0, |seen| now.0.saturating_sub(seen.0));
        if gap <= self.pause_min || leaves_out(Rule::PauseForgiven) {
            self.now = self.now.plus(gap);
        }
        self.seen = Some(self.seen.unwrap_or(now).max(now));
    }
}

#[derive(Clone, Copy, Debug)]
struct Timed {
    ttl: i64,
    deadline: LeaseTime,
    queued: LeaseTime,
    /// When to write down what is left of it.
    checkpoint: Option<LeaseTime>,
    /// Seconds that are written down as left; 0 is none.
    remaining: i64,
    /// It ends: nothing renews it.
    going: bool,
}

impl Timed {
    fn found(&self, now: LeaseTime) -> Found {
        if self.going || self.deadline <= now {
            return Found::Ending;
        }
        Found::Live { ttl: self.ttl, is_noted: self.remaining > 0 }
    }

    fn renew(&mut self, id: LeaseId, now: LeaseTime, queue: &mut BTreeSet<(LeaseTime, LeaseId)>) {
        self.deadline = now.after(self.ttl);
        if self.deadline < self.queued {
            // It had more than its TTL, as a new leader gives it.
            queue.remove(&(self.queued, id));
            self.queued = self.deadline;
            queue.insert((self.queued, id));
        }
    }
}

/// The answer of a look at a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    /// It ends, or its deadline has passed.
    Ending,
    Live {
        ttl: i64,
        /// The log says that less than the whole TTL is left.
        is_noted: bool,
    },
}

/// The leader's memory of deadlines.
#[derive(Debug)]
pub(super) struct Deadlines {
    clock: Clock,
    /// Never iterated.
    timed: FxHashMap<LeaseId, Timed>,
    queue: BTreeSet<(LeaseTime, LeaseId)>,
    checkpoints: BTreeSet<(LeaseTime, LeaseId)>,
    /// Nanoseconds between two checkpoints of a lease; `None` is never.
    checkpoint_interval: Option<u64>,
}

impl Deadlines {
    /// Without leases.
    pub fn new(pause_min: u64, checkpoint_interval: Option<u64>) -> Deadlines {
        Deadlines {
            clock: Clock { now: LeaseTime(0), seen: None, pause_min },
            timed: FxHashMap::default(),
            queue: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            checkpoint_interval,
        }
    }

    /// Looks at the clock; to be called before whatever depends on it.
    pub fn look(&mut self, now: Nanos) {
        self.clock.look(now);
    }

    /// Lease time.
    pub fn now(&self) -> LeaseTime {
        self.clock.now
    }

    /// Leases that are there, going or not.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.timed.len()
    }

    /// Forgets every lease; time goes on.
    pub fn clear(&mut self) {
        self.timed.clear();
        self.queue.clear();
        self.checkpoints.clear();
    }

    /// A lease begins: with what is left of it if that is written down, and `more` nanoseconds.
    pub fn begin(&mut self, id: LeaseId, ttl: i64, remaining: i64, more: u64) {
        let left = if remaining > 0 { remaining } else { ttl };
        let deadline = self.clock.now.after(left).plus(more);
        let timed =
            Timed { ttl, deadline, queued: deadline, checkpoint: None, remaining, going: false };
        assert!(self.timed.insert(id, timed).is_none(), "lease {id} has a deadline already");
        self.queue.insert((deadline, id));
        self.schedule_checkpoint(id);
    }

    /// A lease that was going when the epoch began: it has no deadline any more.
    pub fn begin_going(&mut self, id: LeaseId, ttl: i64) {
        let deadline = self.clock.now;
        let timed =
            Timed { ttl, deadline, queued: deadline, checkpoint: None, remaining: 0, going: true };
        assert!(self.timed.insert(id, timed).is_none(), "lease {id} has a deadline already");
    }

    /// How it stands with a lease; one that is live, and whose whole TTL the log assumes, is
    /// renewed.
    pub fn keep_alive(&mut self, id: LeaseId) -> Found {
        let Deadlines { clock, timed, queue, .. } = self;
        let Some(timed) = timed.get_mut(&id) else { return Found::Missing };
        let found = timed.found(clock.now);
        if let Found::Live { is_noted: false, .. } = found {
            timed.renew(id, clock.now, queue);
        }
        found
    }

    /// How it stands with a lease.
    pub fn find(&self, id: LeaseId) -> Found {
        self.timed.get(&id).map_or(Found::Missing, |timed| timed.found(self.clock.now))
    }

    /// Whether the lease is on its way out: not merely late.
    pub fn is_going(&self, id: LeaseId) -> bool {
        self.timed.get(&id).is_some_and(|timed| timed.going)
    }

    /// Gives a live lease its whole TTL again. What is written down about it stays so.
    pub fn renew(&mut self, id: LeaseId) {
        let timed = self.timed.get_mut(&id).expect("a live lease is renewed");
        assert!(!timed.going, "lease {id} is renewed while it goes");
        timed.renew(id, self.clock.now, &mut self.queue);
    }

    /// Nothing renews it any more.
    pub fn mark_going(&mut self, id: LeaseId) {
        let timed = self.timed.get_mut(&id).expect("a lease that goes is there");
        timed.going = true;
        self.queue.remove(&(timed.queued, id));
        if let Some(at) = timed.checkpoint.take() {
            self.checkpoints.remove(&(at, id));
        }
    }

    /// It is gone.
    pub fn remove(&mut self, id: LeaseId) {
        if let Some(timed) = self.timed.remove(&id) {
            self.queue.remove(&(timed.queued, id));
            if let Some(at) = timed.checkpoint {
                self.checkpoints.remove(&(at, id));
            }
        }
    }

    /// Marks the lease whose deadline passed first as going. `looks` counts down what it may look
    /// at; at 0, or when nothing has passed, there is none.
    pub fn next_passed(&mut self, looks: &mut usize) -> Option<LeaseId> {
        while *looks > 0 {
            let &(queued, id) = self.queue.first().filter(|(at, _)| *at <= self.clock.now)?;
            *looks -= 1;
            let timed = self.timed.get_mut(&id).expect("what is queued has a deadline");
            if timed.deadline <= self.clock.now {
                self.mark_going(id);
                return Some(id);
            }
            timed.queued = timed.deadline;
            self.queue.remove(&(queued, id));
            self.queue.insert((timed.deadline, id));
        }
        None
    }

    /// Whether a deadline may have passed that was not looked at.
    pub fn has_passed(&self) -> bool {
        self.queue.first().is_some_and(|(at, _)| *at <= self.clock.now)
    }

    /// Whole seconds until the deadline and the granted TTL. A lease that is going is still there,
    /// as its keys may be: none are left to it.
    pub fn left(&self, id: LeaseId) -> Option<(i64, i64)> {
        let timed = self.timed.get(&id)?;
        if timed.going {
            return Some((0, timed.ttl));
        }
        Some(((timed.deadline.since(self.clock.now) / SECOND) as i64, timed.ttl))
    }

    /// When a lease ends: to order by.
    pub fn deadline(&self, id: LeaseId) -> Option<LeaseTime> {
        self.timed.get(&id).map(|timed| timed.deadline)
    }

    /// Leases of which to write down how many seconds are left, at most `count`.
    pub fn next_checkpoints(&mut self, count: usize) -> Vec<(LeaseId, i64)> {
        let mut due = Vec::new();
        let Some(interval) = self.checkpoint_interval else { return due };
        for _ in 0..count {
            let Some(&(at, id)) = self.checkpoints.first().filter(|(at, _)| *at <= self.clock.now)
            else {
                break;
            };
            self.checkpoints.remove(&(at, id));
            let timed = self.timed.get_mut(&id).expect("what is queued has a deadline");
            timed.checkpoint = None;
            let left = timed.deadline.since(self.clock.now).div_ceil(SECOND) as i64;
            let spent = timed.ttl.saturating_sub(left);
            if left > 0 && spent.max(0) as u64 >= interval / SECOND {
                due.push((id, left));
            } else {
                self.schedule_checkpoint(id); // It was renewed meanwhile.
            }
        }
        due
    }

    /// Learns that the log has what is left of a lease; 0 says that it has its whole TTL.
    pub fn noted(&mut self, id: LeaseId, remaining: i64) {
        if let Some(timed) = self.timed.get_mut(&id) {
            timed.remaining = remaining;
            self.schedule_checkpoint(id);
        }
    }

    fn schedule_checkpoint(&mut self, id: LeaseId) {
        let Some(interval) = self.checkpoint_interval else { return };
        let timed = self.timed.get_mut(&id).expect("it has a deadline");
        let is_long = timed.deadline.since(self.clock.now) > interval;
        if timed.checkpoint.is_none() && is_long && !timed.going {
            let at = self.clock.now.plus(interval);
            timed.checkpoint = Some(at);
            self.checkpoints.insert((at, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: u64 = SECOND;

    fn deadlines() -> Deadlines {
        let mut deadlines = Deadlines::new(PAUSE, Some(300 * SECOND));
        deadlines.look(Nanos(77 * SECOND)); // A clock begins anywhere.
        deadlines
    }

    /// Lets `nanos` pass, in ticks.
    fn pass(deadlines: &mut Deadlines, nanos: u64) {
        let mut now = deadlines.clock.seen.expect("it was looked at").0;
        let end = now + nanos;
        while now < end {
            now = end.min(now + SECOND / 10);
            deadlines.look(Nanos(now));
        }
    }

    fn passed(deadlines: &mut Deadlines) -> Vec<i64> {
        let mut looks = usize::MAX;
        std::iter::from_fn(|| deadlines.next_passed(&mut looks)).map(|id| id.0).collect()
    }

    #[test]
    fn leases_end_in_the_order_of_their_deadlines_and_not_before() {
        let mut deadlines = deadlines();
        for (id, ttl) in [(1, 7), (2, 3), (3, 5), (4, 3)] {
            deadlines.begin(LeaseId(id), ttl, 0, 0);
        }
        pass(&mut deadlines, 3 * SECOND - 1);
        assert_eq!(passed(&mut deadlines), [] as [i64; 0]);
        pass(&mut deadlines, 1);
        assert_eq!(passed(&mut deadlines), [2, 4]);
        pass(&mut deadlines, 10 * SECOND);
        assert_eq!(passed(&mut deadlines), [3, 1]);
        assert_eq!(deadlines.len(), 4, "they are going, not gone");
        (1..=4).for_each(|id| deadlines.remove(LeaseId(id)));
        assert_eq!((deadlines.len(), deadlines.queue.len()), (0, 0));
    }

    #[test]
    fn a_renewed_lease_is_looked_at_again_when_its_old_deadline_passes() {
        let mut deadlines = deadlines();
        deadlines.begin(LeaseId(1), 5, 0, 0);
        pass(&mut deadlines, 4 * SECOND);
        assert_eq!(deadlines.left(LeaseId(1)), Some((1, 5)));
        deadlines.renew(LeaseId(1));
        pass(&mut deadlines, 4 * SECOND);
        assert!(deadlines.has_passed());
        assert_eq!(passed(&mut deadlines), [] as [i64; 0]);
        assert!(!deadlines.has_passed());
        pass(&mut deadlines, SECOND);
        assert_eq!(passed(&mut deadlines), [1]);
        assert_eq!(deadlines.find(LeaseId(1)), Found::Ending);
        assert_eq!(deadlines.left(LeaseId(1)), Some((0, 5)), "its keys are still there");
    }

    /// The new leader's election timeout is given once: the first renewal takes it back.
    #[test]
    fn renewing_may_bring_a_deadline_nearer() {
        let mut deadlines = deadlines();
        deadlines.begin(LeaseId(1), 5, 0, SECOND);
        assert_eq!(deadlines.left(LeaseId(1)), Some((6, 5)));
        deadlines.renew(LeaseId(1));
        pass(&mut deadlines, 5 * SECOND);
        assert_eq!(passed(&mut deadlines), [1]);
    }

    #[test]
    fn a_pause_counts_against_no_lease() {
        let mut deadlines = deadlines();
        deadlines.begin(LeaseId(1), 5, 0, 0);
        pass(&mut deadlines, SECOND);
        let seen = deadlines.clock.seen.unwrap().0;
        deadlines.look(Nanos(seen + 1000 * SECOND));
        assert_eq!(passed(&mut deadlines), [] as [i64; 0]);
        assert_eq!(deadlines.left(LeaseId(1)), Some((4, 5)));
        pass(&mut deadlines, 4 * SECOND);
        assert_eq!(passed(&mut deadlines), [1]);
    }

    /// A look that is as late as an election timeout is no pause, and a clock that steps back none.
    #[test]
    fn slow_looks_count() {
        let mut deadlines = deadlines();
        deadlines.begin(LeaseId(1), 5, 0, 0);
        let mut at = deadlines.clock.seen.unwrap().0;
        for _ in 0..5 {
            at += PAUSE;
            deadlines.look(Nanos(at));
            deadlines.look(Nanos(at - 5));
        }
        assert_eq!(passed(&mut deadlines), [1]);
    }

    #[test]
    fn looks_are_counted() {
        let mut deadlines = deadlines();
        for id in 0..10 {
            deadlines.begin(LeaseId(id), 5, 0, 0);
        }
        pass(&mut deadlines, SECOND);
        (0..4).for_each(|id| deadlines.renew(LeaseId(id)));
        pass(&mut deadlines, 4 * SECOND);
        let mut looks = 5;
        assert_eq!(deadlines.next_passed(&mut looks), Some(LeaseId(4)));
        assert_eq!((looks, deadlines.next_passed(&mut looks)), (0, None));
        assert!(deadlines.has_passed());
        assert_eq!(passed(&mut deadlines), [5, 6, 7, 8, 9]);
    }

    #[test]
    fn what_is_left_of_long_leases_is_written_down_now_and_then() {
        let mut deadlines = deadlines();
        deadlines.begin(LeaseId(1), 300, 0, 0);
        deadlines.begin(LeaseId(2), 1000, 0, 0);
        deadlines.begin(LeaseId(3), 1000, 0, 0);
        deadlines.begin(LeaseId(4), 1000, 700, 0);
        pass(&mut deadlines, 200 * SECOND);
        deadlines.renew(LeaseId(3));
        assert!(deadlines.next_checkpoints(9).is_empty());
        pass(&mut deadlines, 100 * SECOND);
        assert_eq!(deadlines.next_checkpoints(1), [(LeaseId(2), 700)]);
        assert_eq!(deadlines.next_checkpoints(9), [(LeaseId(4), 400)]);
        deadlines.noted(LeaseId(2), 700);
        assert_eq!(deadlines.find(LeaseId(2)), Found::Live { ttl: 1000, is_noted: true });
        pass(&mut deadlines, 300 * SECOND);
        assert_eq!(deadlines.next_checkpoints(9), [(LeaseId(2), 400), (LeaseId(3), 600)]);
        deadlines.renew(LeaseId(2));
        assert_eq!(deadlines.find(LeaseId(2)), Found::Live { ttl: 1000, is_noted: true });
        deadlines.noted(LeaseId(2), 0);
        assert_eq!(deadlines.find(LeaseId(2)), Found::Live { ttl: 1000, is_noted: false });
        deadlines.noted(LeaseId(9), 5);
        deadlines.mark_going(LeaseId(2));
        deadlines.remove(LeaseId(3));
        assert!(deadlines.checkpoints.is_empty());
    }

    #[test]
    fn without_an_interval_nothing_is_written_down() {
        let mut deadlines = Deadlines::new(PAUSE, None);
        deadlines.look(Nanos(5));
        deadlines.begin(LeaseId(1), 9_000_000_000, 0, SECOND);
        pass(&mut deadlines, 10 * SECOND);
        assert!(deadlines.next_checkpoints(9).is_empty());
        assert_eq!(deadlines.left(LeaseId(1)), Some((8_999_999_991, 9_000_000_000)));
    }
}
