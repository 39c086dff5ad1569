//! The line on one thread, and on a few.

use std::sync::Arc;

use crate::line::{Full, Lane, Sequencer, Waits, mailbox};
use crate::types::{CoreId, Revision, ShardId};

fn open_line(shards: u16, cut: i64) -> (Arc<Sequencer>, Vec<Lane>) {
    let sequencer = Arc::new(Sequencer::new(usize::from(shards)));
    sequencer.open(Revision(cut));
    let lanes = (0..shards).map(|shard| Lane::new(&sequencer, ShardId(shard))).collect();
    (sequencer, lanes)
}

#[test]
fn the_first_write_of_an_empty_store_gets_revision_2() {
    let (sequencer, mut lanes) = open_line(1, Revision::EMPTY.0);
    assert_eq!(sequencer.stable(), Revision(1));
    assert_eq!(sequencer.newest(), Revision(1));
    assert_eq!(lanes[0].take(1), Revision(2));
    assert_eq!(sequencer.newest(), Revision(2));
    assert_eq!(sequencer.stable(), Revision(1), "pending is not visible");
    assert_eq!(lanes[0].committed(Revision(2)), Some(Revision(2)));
    assert_eq!(sequencer.stable(), Revision(2));
}

#[test]
fn a_write_waits_for_lower_revisions_of_other_lanes() {
    let (sequencer, mut lanes) = open_line(3, 10);
    assert_eq!(lanes[0].take(2), Revision(11));
    assert_eq!(lanes[1].take(1), Revision(13));
    assert_eq!(lanes[1].committed(Revision(13)), None, "lane 0 holds the line back");
    assert_eq!(lanes[0].committed(Revision(11)), Some(Revision(11)), "half of its run");
    assert_eq!(lanes[0].oldest_pending(), Some(Revision(12)));
    assert_eq!(lanes[0].committed(Revision(12)), Some(Revision(13)));
    assert_eq!(sequencer.stable(), Revision(13));
}

#[test]
fn idle_lanes_hold_nothing_back() {
    let (sequencer, mut lanes) = open_line(128, 1);
    for expected in 2..50 {
        assert_eq!(lanes[77].take(1), Revision(expected));
        assert_eq!(lanes[77].committed(Revision(expected)), Some(Revision(expected)));
    }
    assert_eq!(sequencer.stable(), Revision(49));
}

#[test]
fn a_commit_below_what_is_pending_changes_nothing() {
    let (sequencer, mut lanes) = open_line(2, 5);
    lanes[0].take(3);
    assert_eq!(lanes[0].committed(Revision(5)), None);
    assert_eq!(lanes[0].oldest_pending(), Some(Revision(6)));
    assert_eq!(lanes[1].committed(Revision(100)), None, "nothing pending there at all");
    assert_eq!(sequencer.stable(), Revision(5));
}

#[test]
fn a_freeze_holds_the_line_until_every_participant_has_logged_the_round() {
    let (sequencer, mut lanes) = open_line(3, 1);
    lanes[0].freeze();
    lanes[1].freeze();
    let round = sequencer.take_for_round(1);
    assert_eq!(round, Revision(2));
    assert_eq!(lanes[2].take(1), Revision(3));
    assert_eq!(lanes[2].committed(Revision(3)), None, "revision 2 is logged nowhere");

    lanes[0].pending_round(round);
    assert_eq!(lanes[0].thaw(), None);
    assert_eq!(lanes[0].committed(round), None, "lane 1 has not logged it");
    assert_eq!(sequencer.stable(), Revision(1));
    lanes[1].pending_round(round);
    assert_eq!(lanes[1].thaw(), None, "logged is not committed");
    assert_eq!(lanes[1].committed(round), Some(Revision(3)));
}

#[test]
fn a_round_that_came_to_nothing_lets_the_line_go_on() {
    let (sequencer, mut lanes) = open_line(2, 1);
    lanes[0].freeze();
    assert!(lanes[0].is_frozen());
    lanes[1].take(1);
    assert_eq!(lanes[1].committed(Revision(2)), None);
    assert_eq!(lanes[0].thaw(), Some(Revision(2)), "the freeze held it back; thawing tells");
    assert_eq!(sequencer.stable(), Revision(2));
}

#[test]
fn a_frozen_lane_with_pending_writes_keeps_the_lower_floor_then_the_freeze() {
    let (sequencer, mut lanes) = open_line(2, 1);
    lanes[0].take(2);
    lanes[0].freeze();
    assert_eq!(lanes[0].committed(Revision(2)), Some(Revision(2)));
    assert_eq!(lanes[0].committed(Revision(3)), Some(Revision(3)), "up to the freeze");
    lanes[1].take(1);
    assert_eq!(lanes[1].committed(Revision(4)), None);
    // A round of two txns, of which this lane takes part in the second only.
    assert_eq!(sequencer.take_for_round(2), Revision(5));
    lanes[0].pending_round(Revision(6));
    assert_eq!(lanes[0].committed(Revision(6)), None, "frozen still");
    assert_eq!(lanes[0].thaw(), Some(Revision(6)), "lane 1 took no part in this test's round");
}

#[test]
fn closing_keeps_stable_and_the_next_epoch_begins_at_its_cut() {
    let (sequencer, mut lanes) = open_line(2, 1);
    lanes[0].take(1);
    let _ = lanes[0].committed(Revision(2));
    lanes[1].take(3);
    sequencer.close();
    assert!(!sequencer.is_open());
    assert_eq!(lanes[1].committed(Revision(5)), None, "its epoch is over");
    assert_eq!(sequencer.stable(), Revision(2));
    drop(lanes);
    sequencer.open(Revision(4));
    assert_eq!((sequencer.stable(), sequencer.newest()), (Revision(4), Revision(4)));
    let mut lane = Lane::new(&sequencer, ShardId(1));
    assert_eq!(lane.take(1), Revision(5), "void in the last epoch, handed out in this one");
    assert_eq!(lane.committed(Revision(5)), Some(Revision(5)));
}

#[test]
#[should_panic(expected = "shard 1 keeps the lane of the last")]
fn an_epoch_does_not_open_over_a_lane_of_the_last() {
    let (sequencer, mut lanes) = open_line(2, 1);
    sequencer.close();
    lanes.remove(0);
    sequencer.open(Revision(1));
}

#[test]
#[should_panic(expected = "R4: the cut 1 is below stable 2")]
fn the_line_does_not_go_back_between_epochs() {
    let (sequencer, mut lanes) = open_line(1, 1);
    lanes[0].take(1);
    let _ = lanes[0].committed(Revision(2));
    sequencer.close();
    drop(lanes);
    sequencer.open(Revision(1));
}

#[test]
#[should_panic(expected = "R7")]
fn a_frozen_shard_takes_no_revision() {
    let (_sequencer, mut lanes) = open_line(1, 1);
    lanes[0].freeze();
    lanes[0].take(1);
}

#[test]
#[should_panic(expected = "R2: revision 2 follows 2")]
fn a_round_is_logged_once() {
    let (sequencer, mut lanes) = open_line(1, 1);
    lanes[0].freeze();
    let round = sequencer.take_for_round(1);
    lanes[0].pending_round(round);
    lanes[0].pending_round(round);
}

#[test]
#[should_panic(expected = "has an owner")]
fn a_lane_has_one_owner() {
    let (sequencer, _lanes) = open_line(1, 1);
    let _second = Lane::new(&sequencer, ShardId(0));
}

#[test]
#[should_panic(expected = "was given up with work pending")]
fn a_lane_that_was_dropped_with_work_pending_is_not_given_out_again() {
    let (sequencer, mut lanes) = open_line(1, 1);
    lanes[0].take(1);
    drop(lanes);
    let _second = Lane::new(&sequencer, ShardId(0));
}

#[cfg(feature = "teeth")]
mod teeth {
    use super::*;
    use crate::line::sequencer::Rule;

    #[test]
    fn without_the_floor_first_stable_covers_what_is_pending() {
        let (sequencer, mut lanes) = open_line(2, 1);
        sequencer.leave_out(Rule::FloorFirst);
        let revision = lanes[0].take(1);
        assert!(sequencer.stable() >= revision, "the rule is not left out");
    }

    #[test]
    fn without_the_freeze_floor_stable_covers_a_round_that_is_logged_nowhere() {
        let (sequencer, mut lanes) = open_line(2, 1);
        sequencer.leave_out(Rule::FreezeFloor);
        let below = lanes[1].take(1);
        lanes[0].freeze();
        let round = sequencer.take_for_round(1);
        let _ = lanes[1].committed(below);
        assert!(sequencer.stable() >= round, "the rule is not left out");
        lanes[0].pending_round(round);
        assert_eq!(lanes[0].thaw(), None);
        assert_eq!(lanes[0].committed(round), None);
    }
}

#[test]
fn who_waits_for_less_is_rung_once_and_who_is_awake_is_not() {
    let waits = Waits::new(4);
    waits.wait_for(CoreId(0), Some(Revision(5)));
    waits.wait_for(CoreId(1), Some(Revision(9)));
    waits.wait_for(CoreId(2), Some(Revision(5)));
    for core in [0, 1, 3] {
        waits.prepare(CoreId(core));
    }
    assert_eq!(waits.raised(Revision(4)).count(), 0);
    let rung: Vec<CoreId> = waits.raised(Revision(5)).collect();
    assert_eq!(rung, [CoreId(0)], "1 waits for more, 2 is awake, 3 waits for nothing");
    assert_eq!(waits.raised(Revision(5)).count(), 0, "it was rung already");
    assert!(waits.pushed(CoreId(1)));
    assert!(!waits.pushed(CoreId(1)), "it was rung already");
    assert!(!waits.pushed(CoreId(2)), "it is awake");
    waits.stay(CoreId(3));
    assert!(!waits.pushed(CoreId(3)));
    waits.prepare(CoreId(1));
    waits.wait_for(CoreId(1), None);
    assert_eq!(waits.raised(Revision(100)).count(), 0);
}

#[test]
fn a_mailbox_is_bounded_and_keeps_order() {
    let (mut sender, mut receiver) = mailbox(3);
    for n in 0..3 {
        assert_eq!(sender.push(n), Ok(()));
    }
    assert_eq!((sender.room(), sender.len(), receiver.len()), (0, 3, 3));
    assert_eq!(sender.push(3), Err(Full(3)));
    assert_eq!(receiver.pop(), Some(0));
    assert_eq!(sender.push(3), Ok(()));
    for n in 1..4 {
        assert!(!receiver.is_empty());
        assert_eq!(receiver.pop(), Some(n));
    }
    assert_eq!(receiver.pop(), None);
    assert!(receiver.is_empty() && sender.is_empty());
}

#[test]
fn a_mailbox_drops_what_nobody_took() {
    let counted = Arc::new(());
    let (mut sender, mut receiver) = mailbox(4);
    for round in 0..3 {
        for _ in 0..3 {
            sender.push(Arc::clone(&counted)).expect("there is room");
        }
        drop((receiver.pop(), receiver.pop(), receiver.pop()));
        assert_eq!(Arc::strong_count(&counted), 1, "round {round}");
    }
    sender.push(Arc::clone(&counted)).expect("there is room");
    sender.push(Arc::clone(&counted)).expect("there is room");
    drop(receiver);
    assert_eq!(Arc::strong_count(&counted), 3, "the sender keeps the ring");
    drop(sender);
    assert_eq!(Arc::strong_count(&counted), 1);
}
