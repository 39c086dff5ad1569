//! The real thing on real threads, with delays from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread;

use crate::chance::Chance;
use crate::line::{Lane, Sequencer, Waits, mailbox};
use crate::types::{CoreId, Revision, ShardId};

const SHARDS: u16 = 3;
const WRITES: usize = 20_000;

/// Which revisions are committed, as their lanes mark them before they say so.
struct Truth {
    committed: Vec<AtomicU8>,
}

impl Truth {
    fn new(revisions: usize) -> Truth {
        Truth { committed: (0..revisions + 2).map(|_| AtomicU8::new(0)).collect() }
    }

    fn commit(&self, revision: i64) {
        self.committed[revision as usize].store(1, Ordering::Relaxed);
    }

    /// Everything above `from`, up to `to`, must be committed.
    fn check(&self, from: Revision, to: Revision) {
        for revision in from.0 + 1..=to.0 {
            let committed = self.committed[revision as usize].load(Ordering::Relaxed);
            assert_eq!(committed, 1, "stable {to} covers {revision}, which is pending");
        }
    }
}

fn write_all(lane: &mut Lane, truth: &Truth, chance: &mut Chance) {
    let mut left = WRITES as u64;
    let mut newest = Revision(0);
    while left > 0 {
        let count = (chance.below(3) + 1).min(left);
        left -= count;
        let first = lane.take(count);
        newest = Revision(first.0 + count as i64 - 1);
        // Commit late, and not always everything.
        if chance.below(3) > 0 || left == 0 {
            let keep = if left > 0 { chance.below(count + 1) as i64 } else { 0 };
            let through = Revision(newest.0 - keep);
            let oldest = lane.oldest_pending().expect("just taken");
            (oldest.0..=through.0).for_each(|revision| mark(lane, truth, revision));
            let _ = lane.committed(through);
        }
    }
    assert_eq!(lane.newest(), newest);
}

/// Marks a revision as committed if it is this lane's: whole runs may lie between its own.
fn mark(lane: &Lane, truth: &Truth, revision: i64) {
    if lane.has_pending(Revision(revision)) {
        truth.commit(revision);
    }
}

#[test]
fn stable_never_covers_what_is_pending_and_ends_at_the_newest() {
    let sequencer = Arc::new(Sequencer::new(usize::from(SHARDS)));
    sequencer.open(Revision::EMPTY);
    let truth = Truth::new(WRITES * usize::from(SHARDS));
    let writing = AtomicUsize::new(usize::from(SHARDS));
    thread::scope(|scope| {
        for shard in 0..SHARDS {
            let mut lane = Lane::new(&sequencer, ShardId(shard));
            let (truth, writing) = (&truth, &writing);
            scope.spawn(move || {
                write_all(&mut lane, truth, &mut Chance::new(u64::from(shard)));
                writing.fetch_sub(1, Ordering::Release);
            });
        }
        let mut seen = sequencer.stable();
        loop {
            let over = writing.load(Ordering::Acquire) == 0;
            let stable = sequencer.stable();
            assert!(stable >= seen, "R4: stable went from {seen} to {stable}");
            truth.check(seen, stable);
            seen = stable;
            if over {
                break;
            }
            std::hint::spin_loop();
        }
    });
    let all = Revision(1 + (WRITES * usize::from(SHARDS)) as i64);
    assert_eq!(sequencer.newest(), all);
    assert_eq!(sequencer.stable(), all, "whoever raised the last floor must have looked");
}

#[test]
fn a_sleeper_is_woken_for_each_revision_and_each_message() {
    let sequencer = Arc::new(Sequencer::new(1));
    sequencer.open(Revision::EMPTY);
    let waits = Waits::new(2);
    let (mut sender, mut receiver) = mailbox::<u64>(8);
    let rung = AtomicBool::new(false);
    let sleeper = CoreId(1);
    thread::scope(|scope| {
        let (sequencer, waits, rung) = (&sequencer, &waits, &rung);
        let waiter = scope.spawn(move || {
            let (mut stable, mut taken) = (Revision::EMPTY, 0u64);
            let over = Revision(1 + WRITES as i64);
            while stable < over || taken < WRITES as u64 {
                while let Some(message) = receiver.pop() {
                    assert_eq!(message, taken);
                    taken += 1;
                }
                stable = sequencer.stable();
                let wanted = stable.next();
                waits.wait_for(sleeper, Some(wanted).filter(|wanted| *wanted <= over));
                waits.prepare(sleeper);
                let news = sequencer.stable() > stable || !receiver.is_empty();
                if news || (stable >= over && taken == WRITES as u64) {
                    waits.stay(sleeper);
                    continue;
                }
                // A lost wake-up would leave this thread here for ever.
                while !rung.swap(false, Ordering::AcqRel) {
                    thread::park();
                }
                waits.stay(sleeper);
            }
        });
        let wake = waiter.thread().clone();
        let ring = || {
            rung.store(true, Ordering::Release);
            wake.unpark();
        };
        let mut lane = Lane::new(sequencer, ShardId(0));
        for message in 0..WRITES as u64 {
            while sender.room() == 0 {
                thread::yield_now();
            }
            sender.push(message).expect("there is room");
            if waits.pushed(sleeper) {
                ring();
            }
            let revision = lane.take(1);
            let raised = lane.committed(revision).expect("alone on the line");
            waits.raised(raised).for_each(|_| ring());
        }
    });
}
