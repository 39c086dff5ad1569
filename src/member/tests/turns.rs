//! Turns are bounded: what many keys are asked for goes on beside everything else.

use super::*;
use crate::types::GroupId;
use crate::wal::{DiskOp, OpId};

pub(super) const KEYS: usize = 2_000;

/// A member with many keys.
pub(super) fn filled(cores: u16, shards: u16) -> Host {
    let mut host = Host::start(Disk::default(), cores, shards);
    for batch in 0..KEYS / 100 {
        let op = |i| put_op(&format!("key-{i:05}"), &format!("{}", i * 7919 % KEYS));
        let success = (batch * 100..batch * 100 + 100).map(op).collect();
        let reply = host.call(0, Request::Txn(TxnRequest { success, ..TxnRequest::default() }));
        assert!(reply.is_ok(), "{reply:?}");
    }
    host
}

/// One turn of every core, with its mail and its disk.
pub(super) fn turn(host: &mut Host) {
    turn_with(host, |host, at, (group, id, op)| {
        let outcome = host.disk.finish(op);
        host.cores[at].disk_done(group, id, outcome).expect("a good disk");
    });
}

/// One turn of every core, with its mail; `disk` is given what each wants done on it.
pub(super) fn turn_with(
    host: &mut Host,
    mut disk: impl FnMut(&mut Host, usize, (GroupId, OpId, DiskOp)),
) {
    for at in 0..host.cores.len() {
        host.cores[at].look();
        host.cores[at].turn(Nanos(host.now));
        let effects = std::mem::take(host.cores[at].effects());
        host.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
        for (to, mail) in effects.mail {
            host.cores[usize::from(to.0)].receive(mail);
        }
        for op in effects.disk {
            disk(host, at, op);
        }
    }
}

fn visits(host: &Host) -> u64 {
    let counters = host.cores.iter().flat_map(Core::shard_counters);
    counters.map(|(_, counted)| counted.turn_visits_max).max().expect("a shard")
}

fn kvs(answer: &Answer) -> &[KeyValue] {
    match answer {
        Ok(Reply::Range(reply)) => &reply.kvs,
        Ok(Reply::Txn(reply)) => match reply.responses.last() {
            Some(OpReply::Range(range)) => &range.kvs,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// What takes many visits, each with the keys that it finds at revision `at`.
fn heavy() -> Vec<Request> {
    let all = RangeRequest::of(KeyRange::all());
    let sorted = RangeRequest { target: SortTarget::Value, ..all.clone() };
    let filters = RangeFilters { min_mod: 1, ..RangeFilters::default() };
    let txn = |ops: Vec<Op>| Request::Txn(TxnRequest { success: ops, ..TxnRequest::default() });
    vec![
        Request::Range(all.clone()),
        Request::Range(RangeRequest { order: SortOrder::Descend, ..all.clone() }),
        Request::Range(RangeRequest { order: SortOrder::Ascend, ..sorted.clone() }),
        Request::Range(RangeRequest { limit: 1500, ..sorted }),
        Request::Range(RangeRequest { filters, ..all.clone() }),
        Request::Range(RangeRequest { keys_only: true, ..all.clone() }),
        txn(vec![Op::Range(all.clone())]),
        txn(vec![put_op("key-00000", "0"), put_op("other", "x"), Op::Range(all)]),
    ]
}

#[test]
fn a_put_beside_a_read_of_many_keys_waits_for_a_slice_of_it() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        for request in heavy() {
            let mut host = filled(cores, shards);
            let read = host.send(0, request.clone());
            let mut overtaken = 0;
            while !host.answers.contains_key(&read) {
                let put = host.send(0, put("zz-beside", "v"));
                for _ in 0..12 {
                    turn(&mut host);
                }
                overtaken += usize::from(!host.answers.contains_key(&read));
                assert!(host.answers.remove(&put).is_some_and(|answer| answer.is_ok()));
                assert!(overtaken < 1_000, "the read gets on");
            }
            assert!(visits(&host) <= 2 * READ_SLICE_KEYS as u64, "{}", visits(&host));
            let found = kvs(&host.answers[&read]).len();
            let limit = matches!(&request, Request::Range(range) if range.limit > 0);
            assert!(limit || found >= KEYS - 1, "{found} by {request:?}");
        }
    }
}

#[test]
fn what_a_write_reads_is_what_was_there_between_its_operations() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = filled(cores, shards);
        let delete = |key: &str| {
            let range = KeyRange::single(Bytes::from(key.to_owned()));
            Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
        };
        let all = || Op::Range(RangeRequest::of(KeyRange::all()));
        let success =
            vec![all(), put_op("a", "1"), delete("key-00001"), all(), put_op("b", "2"), all()];
        let ticket = host.send(0, Request::Txn(TxnRequest { success, ..TxnRequest::default() }));
        turn(&mut host);
        // Overtakes the reads of the txn, which must not see it.
        let (later, first) = (host.send(0, put("c", "3")), host.send(0, put("key-00002", "new")));
        host.run();
        assert!(host.answers[&later].is_ok() && host.answers[&first].is_ok());
        let Ok(Reply::Txn(reply)) = &host.answers[&ticket] else { panic!("a txn") };
        let at = reply.revision.0;
        let found: Vec<_> = reply
            .responses
            .iter()
            .filter_map(|response| match response {
                OpReply::Range(range) => Some(range),
                _ => None,
            })
            .collect();
        let has = |range: &RangeReply, key: &str| {
            range.kvs.iter().any(|kv| &kv.key[..] == key.as_bytes())
        };
        let seen = found.iter().map(|range| {
            assert_eq!(range.count as usize, range.kvs.len());
            assert!(range.kvs.iter().all(|kv| kv.modified <= at), "nothing later");
            (range.count as usize - KEYS, has(range, "a"), has(range, "key-00001"), has(range, "b"))
        });
        let expected = [(0, false, true, false), (0, true, false, false), (1, true, false, true)];
        assert_eq!(seen.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_read_in_progress_keeps_its_revision_from_a_compaction() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = filled(cores, shards);
        let at = host.put(0, "key-00000", "old");
        let read = host.send(0, Request::Range(RangeRequest::of(KeyRange::all())));
        turn(&mut host);
        // Everything that it has not come to changes, and what was before is compacted.
        for i in (0..KEYS).rev().step_by(7) {
            host.send(0, put(&format!("key-{i:05}"), "new"));
        }
        let newest = host.put_among(read);
        if !host.answers.contains_key(&read) {
            let compact = CompactRequest { revision: newest, physical: true };
            host.send(0, Request::Compact(compact));
        }
        host.run();
        let kvs = kvs(&host.answers[&read]);
        assert!(kvs.len() == KEYS && kvs.iter().all(|kv| kv.modified <= at), "as it began");
    }
}

#[test]
fn a_read_that_nobody_waits_for_ends() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = filled(cores, shards);
        let before = visits_in_all(&host);
        let read = host.send(0, Request::Range(RangeRequest::of(KeyRange::all())));
        turn(&mut host);
        assert!(!host.answers.contains_key(&read));
        host.cores[0].cancel(Ticket(read));
        host.run();
        let visited = visits_in_all(&host) - before;
        assert!(visited < KEYS as u64, "{visited}");
        assert!(!host.cores.iter().any(Core::is_reading), "nothing is left of it");
    }
}

fn visits_in_all(host: &Host) -> u64 {
    let counters = host.cores.iter().flat_map(Core::shard_counters);
    counters.map(|(_, counted)| counted.visits).sum()
}

impl Host {
    /// Puts, by single turns, until that is answered or the other call is; the revision.
    fn put_among(&mut self, other: u64) -> i64 {
        let ticket = self.send(0, put("zz-among", "v"));
        while !self.answers.contains_key(&ticket) && !self.answers.contains_key(&other) {
            turn(self);
        }
        match self.answers.get(&ticket) {
            Some(Ok(Reply::Put(reply))) => reply.revision.0,
            _ => 0,
        }
    }
}

fn delete_all(prev_kv: bool) -> Request {
    Request::DeleteRange(DeleteRangeRequest { range: KeyRange::all(), prev_kv })
}

#[test]
fn puts_go_on_while_a_delete_of_everything_is_prepared() {
    for (cores, shards) in [(1, 1), (1, 3), (2, 2)] {
        for prev_kv in [false, true] {
            let mut host = filled(cores, shards);
            let delete = host.send(0, delete_all(prev_kv));
            let mut puts = Vec::new();
            while !host.answers.contains_key(&delete) {
                // Old keys and new ones, before and behind what is prepared.
                let count = puts.len();
                puts.push(host.send(0, put(&format!("key-{:05}", count * 131 % KEYS), "again")));
                puts.push(host.send(0, put(&format!("key-{:05}-new", count * 57 % KEYS), "new")));
                turn(&mut host);
                assert!(puts.len() < 4_000, "the delete gets on");
            }
            host.run();
            let Some(Ok(Reply::DeleteRange(reply))) = host.answers.remove(&delete) else {
                panic!("a delete")
            };
            let at = reply.revision.0;
            let revisions = puts.iter().map(|put| match &host.answers[put] {
                Ok(Reply::Put(put)) => put.revision.0,
                other => panic!("{other:?}"),
            });
            let before = revisions.clone().filter(|&revision| revision < at).count();
            let behind = revisions.filter(|&revision| revision > at).count();
            assert!(before > 2, "{before} puts overtook the delete");
            let left = host.list(0, 0);
            assert!(left.iter().all(|(_, _, modified)| *modified > at), "all of it is gone");
            assert_eq!(left.len(), behind);
            let old = host.list(0, at - 1);
            assert_eq!(reply.deleted as usize, old.len());
            assert_eq!(reply.prev_kvs.len(), if prev_kv { old.len() } else { 0 });
            assert!(reply.prev_kvs.is_sorted_by(|one, next| one.key < next.key));
            let mut again = Host::start(host.disk, cores, shards);
            assert_eq!(again.list(0, 0), left, "the log makes the same of it");
        }
    }
}

#[test]
fn a_txn_whose_deletes_are_prepared_decides_on_the_state_of_its_own_time() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = filled(cores, shards);
        let range = |start: &str, end: &str| {
            KeyRange::from_api(Bytes::from(start.to_owned()), Bytes::from(end.to_owned()))
        };
        let delete =
            |range: KeyRange| Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
        let compare = Compare {
            range: KeyRange::single(Bytes::from_static(b"guard")),
            operator: CompareOperator::Equal,
            operand: CompareOperand::Version(0),
        };
        let txn = TxnRequest {
            compare: vec![compare],
            success: vec![
                delete(range("key-00000", "key-01000")),
                delete(range("key-01000", "\0")),
            ],
            failure: vec![put_op("zz-kept", "v")],
        };
        let ticket = host.send(0, Request::Txn(txn.clone()));
        for _ in 0..2 {
            turn(&mut host);
        }
        assert!(!host.answers.contains_key(&ticket), "it is being prepared");
        host.send(0, put("guard", "there now"));
        host.run();
        let Ok(Reply::Txn(reply)) = &host.answers[&ticket] else { panic!("a txn") };
        assert!(!reply.succeeded, "the guard came before it");
        assert_eq!(host.list(0, 0).len(), KEYS + 2);
        // Without the guard it goes through, and nothing is left of the first preparation.
        let range = KeyRange::single(Bytes::from_static(b"guard"));
        host.call(0, Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false }))
            .expect("a delete");
        let Ok(Reply::Txn(reply)) = host.call(0, Request::Txn(txn)) else { panic!("a txn") };
        let deleted = reply.responses.iter().map(|response| match response {
            OpReply::DeleteRange(delete) => delete.deleted,
            other => panic!("{other:?}"),
        });
        assert_eq!(deleted.collect::<Vec<_>>(), [1000, 1001], "the kept one too");
        assert!(host.list(0, 0).is_empty());
    }
}

#[test]
fn a_delete_that_nobody_waits_for_any_more_is_not_made() {
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = filled(cores, shards);
        let delete = host.send(0, delete_all(false));
        for _ in 0..2 {
            turn(&mut host);
        }
        assert!(!host.answers.contains_key(&delete), "it is being prepared");
        host.cores[0].cancel(Ticket(delete));
        host.run();
        assert_eq!(host.list(0, 0).len(), KEYS);
        assert!(!host.cores.iter().any(Core::is_reading), "nothing is left of it");
        let Ok(Reply::DeleteRange(reply)) = host.call(0, delete_all(false)) else { panic!() };
        assert_eq!(reply.deleted as usize, KEYS);
    }
}
