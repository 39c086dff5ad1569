//! Rounds beside everything else: whatever waits for a round, what rounds hold back gets on.

use std::collections::VecDeque;

use super::turns::{turn, turn_with};
use super::*;
use crate::limits::{ROUND_BYTES_MAX, UNCOMMITTED_BYTES_MAX};
use crate::types::{GroupId, LeaseGrantRequest, LeaseId, ShardId};
use crate::wal::{DiskOp, OpId};

/// Shapes in which a shard gets its orders by mail of another core.
const WITH_MAIL: [(u16, u16); 3] = [(2, 2), (2, 5), (3, 4)];

/// Rounds that may begin between a request's arrival and its answer.
const ROUNDS_MAX: u64 = 6;

/// The same for a lease that ends: two decisions of the control group, and a round between them.
const REVOKE_ROUNDS_MAX: u64 = 12;

fn txn(success: Vec<Op>) -> Request {
    Request::Txn(TxnRequest { success, ..TxnRequest::default() })
}

/// Sends txns of which no two share a round: each reads the range into which all of them write.
fn storm(host: &mut Host, count: usize) -> Vec<u64> {
    let range = KeyRange::from_api(Bytes::from("L/"), Bytes::from("L0"));
    let read = RangeRequest {
        limit: 1,
        order: SortOrder::Ascend,
        target: SortTarget::Create,
        ..RangeRequest::of(range)
    };
    let cores = host.cores.len();
    let ops = |i| vec![put_op(&format!("L/{i:04}"), "1"), Op::Range(read.clone())];
    (0..count).map(|i| host.send(i % cores, txn(ops(i)))).collect()
}

/// Rounds that have frozen some shard.
fn rounds(host: &Host) -> u64 {
    let counters = host.cores.iter().flat_map(Core::shard_counters);
    counters.map(|(_, counted)| counted.rounds).max().expect("a shard")
}

fn is_over(host: &Host, storm: &[u64]) -> bool {
    storm.iter().all(|ticket| host.answers.contains_key(ticket))
}

/// Takes turns until all of `tickets` are answered, in `most` rounds.
fn answer_within(host: &mut Host, most: u64, tickets: &[(String, u64)]) {
    let before = rounds(host);
    while let Some((name, _)) =
        tickets.iter().find(|(_, ticket)| !host.answers.contains_key(ticket))
    {
        turn(host);
        let passed = rounds(host) - before;
        assert!(passed <= most, "{name} waits for {passed} rounds");
    }
    for (name, ticket) in tickets {
        let answer = host.answers.remove(ticket).expect("seen");
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
}

/// Requests that need no round, by name.
fn others(key: &str, at: i64) -> Vec<(String, Request)> {
    let single = || KeyRange::single(Bytes::from(key.to_owned()));
    let delete = || DeleteRangeRequest { range: single(), prev_kv: false };
    let compare = Compare {
        range: single(),
        operator: CompareOperator::Greater,
        operand: CompareOperand::Version(0),
    };
    let conditional = TxnRequest {
        compare: vec![compare],
        success: vec![put_op(key, "2")],
        failure: vec![put_op(key, "1")],
    };
    let before = RangeRequest { revision: at, ..RangeRequest::of(KeyRange::all()) };
    let requests = [
        ("put", put(key, "v")),
        ("delete", Request::DeleteRange(delete())),
        ("txn", Request::Txn(conditional)),
        ("txn of a delete", txn(vec![Op::DeleteRange(delete())])),
        ("range at a revision", Request::Range(before)),
        ("hash", Request::HashKv(HashKvRequest { revision: at })),
    ];
    requests.map(|(name, request)| (format!("{name} of {key}"), request)).into()
}

#[test]
fn no_request_waits_for_more_than_a_few_rounds_however_many_are_queued() {
    for (cores, shards) in WITH_MAIL {
        let mut host = Host::start(Disk::default(), cores, shards);
        let at = host.put(0, "first", "1");
        let storm = storm(&mut host, 300);
        (0..4).for_each(|_| turn(&mut host));
        for (number, key) in ["a", "b", "c", "d", "e", "f", "g", "h"].iter().enumerate() {
            let core = number % usize::from(cores);
            let tickets: Vec<_> = others(key, at)
                .into_iter()
                .map(|(name, request)| (name, host.send(core, request)))
                .collect();
            answer_within(&mut host, ROUNDS_MAX, &tickets);
        }
        let grant = LeaseGrantRequest { id: LeaseId(5), ttl: 60 };
        let grant = host.send(1, Request::LeaseGrant(grant));
        answer_within(&mut host, ROUNDS_MAX, &[("grant".into(), grant)]);
        let revoke = host.send(1, Request::LeaseRevoke { id: LeaseId(5) });
        answer_within(&mut host, REVOKE_ROUNDS_MAX, &[("revoke".into(), revoke)]);
        assert!(!is_over(&host, &storm), "the storm outlasts them all");
        host.run();
        assert!(storm.iter().all(|ticket| host.answers[ticket].is_ok()));
    }
}

#[test]
fn a_compaction_is_logged_and_carried_out_while_rounds_follow_one_another() {
    for (cores, shards) in WITH_MAIL {
        let mut host = Host::start(Disk::default(), cores, shards);
        let mut newest = 0;
        for i in 0..600 {
            newest = host.put(0, &format!("key-{:02}", i % 60), "v");
        }
        let storm = storm(&mut host, 300);
        (0..4).for_each(|_| turn(&mut host));
        let request = CompactRequest { revision: newest, physical: true };
        let compact = host.send(1, Request::Compact(request));
        while !host.answers.contains_key(&compact) {
            assert!(!is_over(&host, &storm), "compacting waits for the end of the storm");
            turn(&mut host);
        }
        assert!(host.answers[&compact].is_ok());
        host.run();
    }
}

#[test]
fn a_round_waits_for_a_few_turns_however_many_puts_arrive() {
    for (cores, shards) in WITH_MAIL {
        let mut host = Host::start(Disk::default(), cores, shards);
        for round in 0..10 {
            let ops = (0..8).map(|i| put_op(&format!("t{round}-{i}"), "x")).collect();
            let ticket = host.send(round % usize::from(cores), txn(ops));
            let mut turns = 0;
            while !host.answers.contains_key(&ticket) {
                for i in 0..200 {
                    host.send(i % usize::from(cores), put(&format!("k{i}"), "v"));
                }
                turn(&mut host);
                turns += 1;
                assert!(turns <= 12, "a round waits for {turns} turns of puts");
            }
        }
    }
}

/// A disk that takes some turns for each operation.
#[derive(Default)]
struct SlowDisk {
    turns: usize,
    under_way: VecDeque<(usize, usize, GroupId, OpId, DiskOp)>,
}

impl SlowDisk {
    const TURNS: usize = 6;

    fn turn(&mut self, host: &mut Host) {
        self.turns += 1;
        while self.under_way.front().is_some_and(|(due, ..)| *due <= self.turns) {
            let (_, at, group, id, op) = self.under_way.pop_front().expect("a front");
            let outcome = host.disk.finish(op);
            host.cores[at].disk_done(group, id, outcome).expect("a good disk");
        }
        let due = self.turns + Self::TURNS;
        turn_with(host, |_, at, (group, id, op)| {
            self.under_way.push_back((due, at, group, id, op));
        });
    }
}

/// Rounds may fill the log twice as far as writes: without a share of its own, a write finds no
/// room as long as rounds wait for room.
#[test]
fn rounds_that_fill_the_log_leave_room_for_a_put() {
    let mut host = Host::start(Disk::default(), 2, 2);
    let of_shard = |shard| move |key: &String| shard_of(key.as_bytes(), 2) == ShardId(shard);
    let keys: Vec<String> = (0..40).map(|i| format!("key-{i:02}")).collect();
    let small = keys.iter().find(|key| of_shard(0)(key)).expect("a key of each shard");
    let large: Vec<&String> = keys.iter().filter(|key| of_shard(1)(key)).collect();
    let value = Bytes::from(vec![b'v'; ROUND_BYTES_MAX * 3 / 4]);
    let storm: Vec<u64> = (0..24)
        .map(|_| {
            let key = Bytes::from(large[0].clone());
            let ops = vec![put_op(small, "1"), Op::Put(PutRequest::of(key, value.clone()))];
            host.send(0, txn(ops))
        })
        .collect();
    let mut disk = SlowDisk::default();
    let fills = (UNCOMMITTED_BYTES_MAX / value.len()) as u64;
    while rounds(&host) <= fills {
        disk.turn(&mut host);
    }
    let before = rounds(&host);
    let beside = host.send(1, put(large[1], "v"));
    while !host.answers.contains_key(&beside) {
        disk.turn(&mut host);
        let passed = rounds(&host) - before;
        assert!(passed <= ROUNDS_MAX, "a put waits for {passed} rounds");
    }
    assert!(!is_over(&host, &storm), "the storm outlasts it");
}
