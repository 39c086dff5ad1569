//! Small models whose every interleaving loom goes through.
//!
//! `cargo test --lib --features loom line::`

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use crate::line::{Full, Lane, Sequencer, Waits, mailbox};
use crate::types::{CoreId, Revision, ShardId};

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// Lanes hold the sequencer by the standard library's `Arc`: how it is freed is not modelled.
fn open_line(shards: u16) -> (std::sync::Arc<Sequencer>, Vec<Lane>) {
    let sequencer = std::sync::Arc::new(Sequencer::new(usize::from(shards)));
    sequencer.open(Revision::EMPTY);
    let lanes = (0..shards).map(|shard| Lane::new(&sequencer, ShardId(shard))).collect();
    (sequencer, lanes)
}

/// Which revisions are committed; an index is a revision.
type Truth = Arc<[AtomicBool; 6]>;

fn truth() -> Truth {
    Arc::new(std::array::from_fn(|_| AtomicBool::new(false)))
}

fn commit(lane: &mut Lane, truth: &Truth, revision: Revision) {
    truth[revision.0 as usize].store(true, Ordering::Relaxed);
    let _ = lane.committed(revision);
}

fn check(sequencer: &Sequencer, truth: &Truth) -> Revision {
    let stable = sequencer.stable();
    for revision in 2..=stable.0 {
        let committed = truth[revision as usize].load(Ordering::Relaxed);
        assert!(committed, "stable {stable} covers {revision}, which is pending");
    }
    stable
}

#[test]
fn stable_covers_nothing_pending_and_misses_nothing_committed() {
    model(|| {
        let (sequencer, mut lanes) = open_line(2);
        let truth = truth();
        let writers: Vec<_> = [lanes.remove(0), lanes.remove(0)]
            .into_iter()
            .map(|mut lane| {
                let truth = Arc::clone(&truth);
                thread::spawn(move || {
                    let revision = lane.take(1);
                    commit(&mut lane, &truth, revision);
                })
            })
            .collect();
        let first = check(&sequencer, &truth);
        let second = check(&sequencer, &truth);
        assert!(second >= first, "R4");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(sequencer.stable(), Revision(3), "who raised the last floor did not look");
    });
}

#[test]
fn a_lane_that_goes_idle_and_takes_again_is_never_overtaken() {
    model(|| {
        let (sequencer, mut lanes) = open_line(2);
        let truth = truth();
        let mut other = lanes.pop().unwrap();
        let mut lane = lanes.pop().unwrap();
        let writer = thread::spawn({
            let truth = Arc::clone(&truth);
            move || {
                for _ in 0..2 {
                    let revision = lane.take(1);
                    commit(&mut lane, &truth, revision);
                }
            }
        });
        let revision = other.take(1);
        commit(&mut other, &truth, revision);
        check(&sequencer, &truth);
        writer.join().unwrap();
        assert_eq!(sequencer.stable(), Revision(4));
    });
}

#[test]
fn a_round_is_covered_only_when_every_participant_has_committed_it() {
    model(|| {
        let (sequencer, mut lanes) = open_line(2);
        let truth = truth();
        let shares = Arc::new(AtomicUsize::new(0));
        let mut second = lanes.pop().unwrap();
        let mut first = lanes.pop().unwrap();
        // The coordinator runs on the second participant's core; its freeze is answered there.
        second.freeze();
        let frozen = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(AtomicUsize::new(0));
        let participant = thread::spawn({
            let (truth, shares) = (Arc::clone(&truth), Arc::clone(&shares));
            let (frozen, taken) = (Arc::clone(&frozen), Arc::clone(&taken));
            move || {
                let own = first.take(1);
                first.freeze();
                frozen.store(true, Ordering::Release);
                commit(&mut first, &truth, own);
                let round = taken.load(Ordering::Acquire);
                if round == 0 {
                    // Asked too early in this interleaving: the round came to nothing for it.
                    return (first, None);
                }
                let round = Revision(round as i64);
                first.pending_round(round);
                let _ = first.thaw();
                if shares.fetch_add(1, Ordering::AcqRel) == 1 {
                    truth[round.0 as usize].store(true, Ordering::Relaxed);
                }
                let _ = first.committed(round);
                (first, Some(round))
            }
        });
        if frozen.load(Ordering::Acquire) {
            let round = sequencer.take_for_round(1);
            taken.store(round.0 as usize, Ordering::Release);
            second.pending_round(round);
            let _ = second.thaw();
            if shares.fetch_add(1, Ordering::AcqRel) == 1 {
                truth[round.0 as usize].store(true, Ordering::Relaxed);
            }
            let _ = second.committed(round);
        }
        check(&sequencer, &truth);
        let (first, logged) = participant.join().unwrap();
        let stable = check(&sequencer, &truth);
        if let Some(round) = logged {
            assert_eq!(stable, round, "a committed round is not covered");
        }
        drop(first);
    });
}

#[test]
fn a_frozen_participant_holds_the_line_below_its_round() {
    model(|| {
        let (sequencer, mut lanes) = open_line(2);
        let truth = truth();
        let mut other = lanes.pop().unwrap();
        let mut participant = lanes.pop().unwrap();
        // The write under way is what holds stable back; when it commits, its lane looks around.
        let below = other.take(1);
        participant.freeze();
        let round = sequencer.take_for_round(1);
        let logging = thread::spawn({
            let truth = Arc::clone(&truth);
            move || {
                participant.pending_round(round);
                let _ = participant.thaw();
                commit(&mut participant, &truth, round);
            }
        });
        commit(&mut other, &truth, below);
        check(&sequencer, &truth);
        let above = other.take(1);
        commit(&mut other, &truth, above);
        check(&sequencer, &truth);
        logging.join().unwrap();
        assert_eq!(check(&sequencer, &truth), above);
    });
}

#[test]
fn no_wake_up_for_a_revision_is_lost() {
    model(|| {
        let (sequencer, mut lanes) = open_line(1);
        let waits = Arc::new(Waits::new(1));
        let rung = Arc::new(AtomicBool::new(false));
        let mut lane = lanes.remove(0);
        let writer = thread::spawn({
            let (waits, rung) = (Arc::clone(&waits), Arc::clone(&rung));
            move || {
                let revision = lane.take(1);
                if let Some(raised) = lane.committed(revision) {
                    waits.raised(raised).for_each(|_| rung.store(true, Ordering::Release));
                }
            }
        });
        waits.wait_for(CoreId(0), Some(Revision(2)));
        waits.prepare(CoreId(0));
        let parked = sequencer.stable() < Revision(2);
        if !parked {
            waits.stay(CoreId(0));
        }
        writer.join().unwrap();
        assert!(!parked || rung.load(Ordering::Acquire), "it sleeps for ever");
    });
}

#[test]
fn no_wake_up_for_a_message_is_lost() {
    model(|| {
        let waits = Arc::new(Waits::new(1));
        let (mut sender, mut receiver) = mailbox(2);
        let writer = thread::spawn({
            let waits = Arc::clone(&waits);
            move || {
                sender.push(7).expect("there is room");
                waits.pushed(CoreId(0))
            }
        });
        waits.prepare(CoreId(0));
        let parked = receiver.is_empty();
        if !parked {
            waits.stay(CoreId(0));
            assert_eq!(receiver.pop(), Some(7));
        }
        let rung = writer.join().unwrap();
        assert!(!parked || rung, "it sleeps for ever");
    });
}

#[test]
fn a_mailbox_loses_and_doubles_nothing() {
    model(|| {
        let (mut sender, mut receiver) = mailbox(2);
        let writer = thread::spawn(move || {
            let mut pushed = 0;
            for n in 0..3 {
                match sender.push(Box::new(n)) {
                    Ok(()) => pushed += 1,
                    Err(Full(back)) => assert_eq!(*back, n),
                }
            }
            pushed
        });
        let mut last = None;
        let mut popped = 0;
        for _ in 0..2 {
            if let Some(n) = receiver.pop() {
                assert!(last < Some(*n), "{n} after {last:?}");
                last = Some(*n);
                popped += 1;
            }
        }
        let pushed = writer.join().unwrap();
        while let Some(n) = receiver.pop() {
            assert!(last < Some(*n), "{n} after {last:?}");
            last = Some(*n);
            popped += 1;
        }
        assert_eq!(pushed, popped);
    });
}

#[test]
fn a_mailbox_drops_what_is_left_in_it() {
    model(|| {
        let counted = std::sync::Arc::new(());
        let (mut sender, mut receiver) = mailbox(2);
        let writer = thread::spawn({
            let counted = std::sync::Arc::clone(&counted);
            move || {
                for _ in 0..2 {
                    sender.push(std::sync::Arc::clone(&counted)).expect("there is room");
                }
            }
        });
        let _ = receiver.pop();
        drop(receiver);
        writer.join().unwrap();
        assert_eq!(std::sync::Arc::strong_count(&counted), 1);
    });
}
