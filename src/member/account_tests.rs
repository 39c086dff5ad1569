//! Accounts by hand: what each rule notices, and what it must bear.

use super::*;
use crate::types::{ShardId, ShardSet};
use crate::wal::Tail;

fn found(group: u16, last: u64, noted: (i64, &[u64])) -> Found {
    let file = format!("group-{group:03}/wal/00000001.seg");
    Found {
        last: LogIndex(last),
        is_begun: last > 0,
        tail: Tail { file, offset: 4096 * last, torn: false },
        note: Note {
            stable: Revision(noted.0),
            indexes: noted.1.iter().map(|&index| LogIndex(index)).collect(),
        },
    }
}

fn control(last: u64, epoch: u64) -> GroupAccount {
    GroupAccount::of_control(found(0, last, (0, &[])), Epoch(epoch))
}

/// A shard whose log ends with `last` and holds `revisions`, of which each entry says that `stable`
/// was.
fn shard(number: u16, last: u64, stable: i64, revisions: &[i64]) -> GroupAccount {
    let mut line = Account::new(ShardId(number));
    line.epoch = Epoch(if last > 0 { 2 } else { 0 });
    line.stable = Revision(stable);
    line.revisions = revisions.iter().map(|&revision| Revision(revision)).collect();
    GroupAccount::of_shard(GroupId(number + 1), found(number + 1, last, (0, &[])), line)
}

fn refused(accounts: &[GroupAccount]) -> Option<String> {
    check(accounts.to_vec()).err().map(|error| error.to_string())
}

#[test]
fn a_new_member_and_one_that_is_whole_are_let_start() {
    assert_eq!(refused(&[control(0, 0), shard(0, 0, 1, &[]), shard(1, 0, 1, &[])]), None);
    // The first epoch was being opened: nothing was acknowledged yet.
    let mut led = shard(0, 1, 1, &[]);
    led.epoch = Epoch(0);
    assert_eq!(refused(&[control(1, 0), led, shard(1, 0, 1, &[])]), None);
    assert_eq!(refused(&[control(5, 2), shard(0, 9, 4, &[2, 4]), shard(1, 9, 3, &[3, 5])]), None);
    // Unstable revisions may be anywhere: a crash tears logs where it likes.
    assert_eq!(refused(&[control(5, 2), shard(0, 9, 2, &[2]), shard(1, 9, 2, &[7, 9])]), None);
}

#[test]
fn a_group_that_is_gone_is_named() {
    let text = refused(&[control(5, 2), shard(0, 9, 2, &[2]), shard(1, 0, 1, &[])]).unwrap();
    assert!(text.starts_with("group-002 is missing or incomplete: the group has no log"), "{text}");
    assert!(text.contains("control group knows epoch 2; put back what was removed"), "{text}");
    assert!(text.contains("a cluster of one is restored from its newest backup"), "{text}");
    let text = refused(&[control(0, 0), shard(0, 0, 1, &[]), shard(1, 9, 1, &[])]).unwrap();
    assert!(text.starts_with("group-000 is missing"), "{text}");
    assert!(text.contains("the control group has no log, but group-002 has one"), "{text}");
}

#[test]
fn a_log_that_is_shorter_than_a_note_says_is_named_with_its_end() {
    let mut accounts = [control(5, 2), shard(0, 9, 2, &[2]), shard(1, 9, 2, &[3])];
    accounts[0].found = found(0, 5, (2, &[5, 9, 9]));
    assert_eq!(refused(&accounts), None);
    accounts[2].found = found(2, 9, (2, &[4, 12, 9]));
    let text = refused(&accounts).unwrap();
    assert!(text.starts_with("group-001/wal/00000001.seg is missing or incomplete"), "{text}");
    let what = "ends with index 9 at offset 36864, but index 12 was durable, as group-002 records";
    assert!(text.contains(what), "{text}");
}

#[test]
fn control_reaches_back_to_every_epoch_that_a_shard_knows() {
    let mut accounts = [control(5, 2), shard(0, 9, 2, &[2])];
    accounts[1].epoch = Epoch(6);
    let text = refused(&accounts).unwrap();
    assert!(text.contains("group-000/wal/00000001.seg"), "{text}");
    assert!(text.contains("index 6 was durable, as group-001 records"), "{text}");
}

#[test]
fn a_stable_revision_that_is_in_no_log_is_missed_above_the_newest_checkpoint() {
    let mut accounts =
        [control(5, 2), shard(0, 9, 2, &[2]), shard(1, 9, 5, &[3, 6]), shard(2, 9, 2, &[])];
    let text = refused(&accounts).unwrap();
    let ends = "group-001/wal/00000001.seg or group-003/wal/00000001.seg is missing";
    assert!(text.starts_with(ends), "{text}");
    assert!(text.contains("revision 4 is in no log, but everything up to 5 was durable"), "{text}");
    accounts[3].line.as_mut().unwrap().covered = Revision(5);
    assert_eq!(refused(&accounts), None, "the checkpoint may hold them");
}

#[test]
fn half_a_revision_is_missed_where_it_was_stable() {
    let both = ShardSet::all(2);
    let mut accounts = [control(5, 2), shard(0, 9, 2, &[2, 3]), shard(1, 9, 2, &[])];
    accounts[1].line.as_mut().unwrap().shared = vec![(Revision(3), both)];
    assert_eq!(refused(&accounts), None, "it may have been torn");
    accounts[0].found.note.stable = Revision(3);
    let text = refused(&accounts).unwrap();
    assert!(text.starts_with("group-002/wal/00000001.seg is missing"), "{text}");
    assert!(text.contains("lacks its part of revision 3, which group-001 holds"), "{text}");
}
