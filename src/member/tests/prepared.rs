//! Writes that compare or delete many keys, and leases with many: they are prepared in slices, and
//! decide on the state of their own time.

use super::turns::{KEYS, filled, turn};
use super::*;
use crate::types::{LeaseGrantRequest, LeaseId, LeaseTimeToLiveRequest};

/// Slices of keys that writes may visit in one turn: for evaluations, for a round's compares, for
/// its deletions, and one for what is prepared.
const SLICES: u64 = 4 + 1 + 4 + 4 + 1;

fn write_visits(host: &Host) -> u64 {
    let counters = host.cores.iter().flat_map(Core::shard_counters);
    counters.map(|(_, counted)| counted.turn_write_visits_max).max().expect("a shard")
}

fn compare_all(operator: CompareOperator, operand: CompareOperand) -> Compare {
    let range = KeyRange::from_api(Bytes::from_static(b"key-"), Bytes::from_static(b"key."));
    Compare { range, operator, operand }
}

fn no_value(value: &'static str) -> Compare {
    let operand = CompareOperand::Value(Bytes::from_static(value.as_bytes()));
    compare_all(CompareOperator::NotEqual, operand)
}

fn delete_all() -> Op {
    Op::DeleteRange(DeleteRangeRequest { range: KeyRange::all(), prev_kv: false })
}

/// Puts `after` if no key of the range has the value "bad", else `before`.
fn guarded(compares: Vec<Compare>) -> Request {
    Request::Txn(TxnRequest {
        compare: compares,
        success: vec![put_op("zz-result", "holds")],
        failure: vec![put_op("zz-result", "fails")],
    })
}

fn succeeded(answer: Option<Answer>) -> bool {
    match answer {
        Some(Ok(Reply::Txn(reply))) => reply.succeeded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn puts_go_on_while_a_txn_compares_everything() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        for compares in [1, 5] {
            let mut host = filled(cores, shards);
            let all = (0..compares).map(|_| no_value("bad")).collect();
            let txn = host.send(0, guarded(all));
            let mut puts = Vec::new();
            while !host.answers.contains_key(&txn) {
                let key = format!("key-{:05}", puts.len() * 131 % KEYS);
                puts.push(host.send(0, put(&key, "again")));
                turn(&mut host);
                assert!(puts.len() < 1_000, "the txn gets on");
            }
            host.run();
            let Ok(Reply::Txn(reply)) = host.answers[&txn].clone() else { panic!("a txn") };
            let overtook = puts.iter().filter(|put| match &host.answers[put] {
                Ok(Reply::Put(put)) => put.revision < reply.revision,
                other => panic!("{other:?}"),
            });
            let overtook = overtook.count();
            assert!(overtook > 1, "{overtook} puts overtook the txn");
            assert!(reply.succeeded);
            let visited = write_visits(&host);
            assert!(visited <= SLICES * READ_SLICE_KEYS as u64, "{visited}");
        }
    }
}

#[test]
fn a_compare_of_everything_decides_on_the_state_of_its_own_time() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        // Before, in and behind what a slice has come to; bad for good, and for a while.
        for (key, stays) in [(0, true), (KEYS / 2, true), (KEYS - 1, true), (7, false)] {
            let mut host = filled(cores, shards);
            let txn = host.send(0, guarded(vec![no_value("bad")]));
            turn(&mut host);
            turn(&mut host);
            assert!(!host.answers.contains_key(&txn), "it is being judged");
            let key = format!("key-{key:05}");
            let bad = host.send(0, put(&key, "bad"));
            let good = (!stays).then(|| host.send(0, put(&key, "good")));
            host.run();
            let Ok(Reply::Txn(reply)) = host.answers[&txn].clone() else { panic!("a txn") };
            let revision = |ticket: u64| match &host.answers[&ticket] {
                Ok(Reply::Put(put)) => put.revision,
                other => panic!("{other:?}"),
            };
            let is_bad = revision(bad) < reply.revision
                && good.is_none_or(|good| revision(good) > reply.revision);
            assert_eq!(reply.succeeded, !is_bad, "{key} on {shards} shards");
            assert!(!host.cores.iter().any(Core::is_reading), "nothing is left of it");
        }
    }
}

#[test]
fn a_txn_that_compares_and_deletes_everything_is_one_decision() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        for bad in [false, true] {
            let mut host = filled(cores, shards);
            let txn = Request::Txn(TxnRequest {
                compare: vec![no_value("bad")],
                success: vec![delete_all()],
                failure: vec![put_op("zz-kept", "v")],
            });
            let txn = host.send(0, txn);
            let mut turns = 0;
            while !host.answers.contains_key(&txn) {
                turns += 1;
                host.send(0, put(&format!("key-{:05}-new", turns * 57 % KEYS), "new"));
                if bad && turns == 3 {
                    host.send(0, put("key-00001", "bad"));
                }
                turn(&mut host);
                assert!(turns < 1_000, "it gets on");
            }
            host.run();
            let Some(Ok(Reply::Txn(reply))) = host.answers.remove(&txn) else { panic!("a txn") };
            assert_eq!(reply.succeeded, !bad);
            let left = host.list(0, 0);
            let older = left.iter().filter(|(_, _, at)| *at < reply.revision.0).count();
            assert_eq!(older > 0, bad, "all or nothing");
            let visited = write_visits(&host);
            assert!(visited <= SLICES * READ_SLICE_KEYS as u64, "{visited}");
            let mut again = Host::start(host.disk, cores, shards);
            assert_eq!(again.list(0, 0), left, "the log makes the same of it");
        }
    }
}

#[test]
fn txns_that_compare_many_keys_share_rounds_as_far_as_those_go() {
    let mut host = filled(2, 2);
    // Each looks at 200 keys of a shard, which is no slice; all together are more than a round may.
    let compare = |at: usize| {
        let (start, end) = (format!("key-{at:05}"), format!("key-{:05}", at + 400));
        let range = KeyRange::from_api(start.into(), end.into());
        Compare { range, ..no_value("bad") }
    };
    let txn = |i: usize| {
        let success = vec![put_op(&format!("done-{i}"), ""), put_op(&format!("also-{i}"), "")];
        Request::Txn(TxnRequest { compare: vec![compare(i * 16)], success, failure: Vec::new() })
    };
    let tickets: Vec<u64> = (0..100).map(|i| host.send(i % 2, txn(i))).collect();
    host.run();
    assert!(tickets.iter().all(|ticket| succeeded(host.answers.remove(ticket))));
    let visited = write_visits(&host);
    assert!(visited <= SLICES * READ_SLICE_KEYS as u64, "{visited}");
}

/// A member whose keys are attached to lease 7.
fn leased(cores: u16, shards: u16) -> Host {
    let mut host = Host::start(Disk::default(), cores, shards);
    let grant = LeaseGrantRequest { id: LeaseId(7), ttl: 1_000_000 };
    host.call(0, Request::LeaseGrant(grant)).expect("a lease");
    for batch in 0..KEYS / 100 {
        let op = |i| {
            let key = Bytes::from(format!("key-{i:05}"));
            let put = PutRequest { lease: LeaseId(7), ..PutRequest::of(key, Bytes::new()) };
            Op::Put(put)
        };
        let success = (batch * 100..batch * 100 + 100).map(op).collect();
        let reply = host.call(0, Request::Txn(TxnRequest { success, ..TxnRequest::default() }));
        assert!(reply.is_ok(), "{reply:?}");
    }
    host
}

fn keys_of_lease(host: &mut Host) -> Vec<crate::types::Blob> {
    let request = LeaseTimeToLiveRequest { id: LeaseId(7), keys: true };
    match host.call(0, Request::LeaseTimeToLive(request)) {
        Ok(Reply::LeaseTimeToLive(reply)) => reply.keys,
        other => panic!("{other:?}"),
    }
}

#[test]
fn puts_go_on_while_a_lease_with_many_keys_ends() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        let mut host = leased(cores, shards);
        let keys = keys_of_lease(&mut host);
        assert!(keys.len() == KEYS && keys.is_sorted());
        let revoke = host.send(0, Request::LeaseRevoke { id: LeaseId(7) });
        let mut puts = Vec::new();
        while !host.answers.contains_key(&revoke) {
            // Some leave the lease, some are new.
            let count = puts.len();
            puts.push(host.send(0, put(&format!("key-{:05}", count * 131 % KEYS), "")));
            puts.push(host.send(0, put(&format!("key-{:05}-new", count * 57 % KEYS), "new")));
            turn(&mut host);
            assert!(puts.len() < 4_000, "the end of the lease gets on");
        }
        host.run();
        let Some(Ok(Reply::LeaseRevoke(reply))) = host.answers.remove(&revoke) else {
            panic!("a revocation")
        };
        let at = reply.revision.0;
        let overtook = puts.iter().filter(|put| match &host.answers[put] {
            Ok(Reply::Put(put)) => put.revision.0 < at,
            other => panic!("{other:?}"),
        });
        let overtook = overtook.count();
        assert!(overtook > 2, "{overtook}");
        let (before, left) = (host.list(0, at - 1), host.list(0, 0));
        assert_eq!(before.iter().filter(|(key, ..)| !key.ends_with("new")).count(), KEYS);
        // Those that had left the lease stay, and those that came after.
        let stayed = left.iter().filter(|(_, _, modified)| *modified < at).count();
        assert_eq!(stayed, overtook);
        let visited = write_visits(&host);
        assert!(visited <= SLICES * READ_SLICE_KEYS as u64, "{visited}");
        assert!(!host.cores.iter().any(Core::is_reading), "nothing is left of it");
        let mut again = Host::start(host.disk, cores, shards);
        assert_eq!(again.list(0, 0), left, "the log makes the same of it");
    }
}

#[test]
fn many_leases_with_many_keys_end_in_rounds_that_are_bounded() {
    let mut host = filled(2, 2);
    for lease in 1..=12 {
        let grant = LeaseGrantRequest { id: LeaseId(lease), ttl: 1_000_000 };
        host.call(0, Request::LeaseGrant(grant)).expect("a lease");
        // Every third has more keys than a round may delete unprepared.
        let count = if lease % 3 == 0 { 1500 } else { 600 };
        let op = |i| {
            let key = Bytes::from(format!("leased-{lease}-{i:05}"));
            let put = PutRequest::of(key, Bytes::new());
            Op::Put(PutRequest { lease: LeaseId(lease), ..put })
        };
        let success = (0..count).map(op).collect();
        host.call(0, Request::Txn(TxnRequest { success, ..TxnRequest::default() })).expect("puts");
    }
    let revokes: Vec<u64> = (1..=12)
        .map(|lease| host.send(lease as usize % 2, Request::LeaseRevoke { id: LeaseId(lease) }))
        .collect();
    host.run();
    assert!(revokes.iter().all(|ticket| host.answers.remove(ticket).is_some_and(|it| it.is_ok())));
    assert_eq!(host.list(0, 0).len(), KEYS, "what no lease had");
    let visited = write_visits(&host);
    assert!(visited <= SLICES * READ_SLICE_KEYS as u64, "{visited}");
}

#[test]
fn the_keys_of_a_lease_whose_keys_were_just_deleted_are_none() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = leased(cores, shards);
        let delete = DeleteRangeRequest { range: KeyRange::all(), prev_kv: false };
        let delete = host.send(0, Request::DeleteRange(delete));
        while !host.answers.contains_key(&delete) {
            turn(&mut host);
        }
        // The index of leases still names them.
        assert_eq!(keys_of_lease(&mut host), []);
        let key = Bytes::from_static(b"key-00007");
        let put = PutRequest { lease: LeaseId(7), ..PutRequest::of(key, Bytes::new()) };
        host.call(0, Request::Put(put)).expect("a put");
        assert_eq!(keys_of_lease(&mut host).len(), 1);
        host.call(0, Request::LeaseRevoke { id: LeaseId(7) }).expect("a revocation");
        assert!(host.list(0, 0).is_empty());
    }
}

#[test]
fn leases_are_listed_in_slices_and_once_for_many_who_ask() {
    const LEASES: i64 = 5_000;
    let mut host = Host::start(Disk::default(), 2, 2);
    for id in 1..=LEASES {
        let grant = LeaseGrantRequest { id: LeaseId(id), ttl: 1_000_000 + id * 7919 % LEASES };
        host.send(0, Request::LeaseGrant(grant));
    }
    host.run();
    host.answers.clear();
    let lists: Vec<u64> = (0..50).map(|i| host.send(i % 2, Request::LeaseLeases)).collect();
    let mut turns = 0;
    while lists.iter().any(|list| !host.answers.contains_key(list)) {
        turns += 1;
        turn(&mut host);
        assert!(turns < 1_000, "the list gets on");
    }
    // Gathered and merged by two thousand a turn, and each who asked gets one of its own.
    assert!((5..100).contains(&turns), "{turns}");
    for list in &lists {
        let Some(Ok(Reply::LeaseLeases(reply))) = host.answers.remove(list) else { panic!() };
        assert_eq!(reply.leases.len(), LEASES as usize);
        let ttl = |id: &LeaseId| id.0 * 7919 % LEASES;
        assert!(reply.leases.is_sorted_by(|one, next| ttl(one) < ttl(next)), "soonest first");
    }
}
