//! Requests of any size: what will be logged is known before a revision is taken for it, and waits
//! for room or goes alone.

use proptest::prelude::*;

use super::*;
use crate::limits::{ENTRY_BYTES_MAX, ROUND_BYTES_MAX, UNCOMMITTED_BYTES_MAX};
use crate::shard::ShardCounters;
use crate::types::{GroupId, LOGGED_OVERHEAD_BYTES};
use crate::wal::{DiskOp, OpId};

/// What the harness gives every log: a batch, and a segment.
const BATCH_BYTES: usize = 64 << 10;
const SEGMENT_BYTES: usize = 1 << 20;

/// A write that a shard's log has given out and the disk has not done.
type HeldOp = (usize, GroupId, OpId, DiskOp);

impl Host {
    /// Runs for long enough that nothing moves any more but what waits for a write of a shard's
    /// log; those writes are not done.
    fn run_without_shard_logs(&mut self) -> Vec<HeldOp> {
        const TURNS: usize = 100;
        let mut held = Vec::new();
        for _ in 0..TURNS {
            for at in 0..self.cores.len() {
                self.cores[at].look();
                self.cores[at].turn(Nanos(self.now));
                let effects = std::mem::take(self.cores[at].effects());
                self.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
                for (to, mail) in effects.mail {
                    self.cores[usize::from(to.0)].receive(mail);
                }
                for (group, id, op) in effects.disk {
                    if group != GroupId::CONTROL && matches!(op, DiskOp::WriteBatch { .. }) {
                        held.push((at, group, id, op));
                        continue;
                    }
                    let outcome = self.disk.finish(op);
                    self.cores[at].disk_done(group, id, outcome).expect("a good disk");
                }
            }
        }
        held
    }

    fn finish(&mut self, held: Vec<HeldOp>) {
        for (at, group, id, op) in held {
            let outcome = self.disk.finish(op);
            self.cores[at].disk_done(group, id, outcome).expect("a good disk");
        }
        self.run();
    }

    /// Bytes in the logs of all shards.
    fn logged(&self) -> u64 {
        let shards = self.cores.iter().flat_map(|core| core.shards());
        shards.map(|shard| shard.replica().counters().bytes).sum()
    }

    fn counted(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        self.cores.iter().flat_map(Core::shard_counters).map(|(_, counters)| of(counters)).sum()
    }
}

/// A key of `shard`, one of many.
fn key_of(shard: u16, shards: u16, number: usize) -> String {
    let keys = (0..).map(|i| format!("key-{i:04}"));
    keys.filter(|key| shard_of(key.as_bytes(), shards).0 == shard).nth(number).expect("endless")
}

fn txn(success: Vec<Op>) -> Request {
    Request::Txn(TxnRequest { success, ..TxnRequest::default() })
}

fn keep(key: &str) -> Op {
    let put = PutRequest::of(Bytes::from(key.to_owned()), Bytes::new());
    Op::Put(PutRequest { ignore_value: true, ..put })
}

fn delete(key: &str) -> Op {
    let range = KeyRange::single(Bytes::from(key.to_owned()));
    Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
}

fn range_at(key: &str, revision: i64) -> Op {
    let range = KeyRange::single(Bytes::from(key.to_owned()));
    Op::Range(RangeRequest { revision, ..RangeRequest::of(range) })
}

/// Each once ended the process: what was kept went into the log, in a round and out of it.
#[test]
fn what_puts_keep_adds_nothing_to_the_log() {
    const KEYS: usize = 24;
    for (cores, shards) in [(1, 1), (2, 2)] {
        let mut host = Host::start(Disk::default(), cores, shards);
        let keys: Vec<String> = (0..KEYS).map(|i| key_of(i as u16 % shards, shards, i)).collect();
        let value = "v".repeat(1 << 20);
        for key in &keys {
            host.put(0, key, &value);
        }
        let before = host.logged();
        let beside = host.send(0, put(&key_of(0, shards, 99), "beside"));
        let ticket = host.send(0, txn(keys.iter().map(|key| keep(key)).collect()));
        host.run();
        assert!(matches!(host.answers.remove(&beside), Some(Ok(Reply::Put(_)))));
        let Some(Ok(Reply::Txn(reply))) = host.answers.remove(&ticket) else { panic!("a txn") };
        let written = host.logged() - before;
        assert!(written < 64 << 10, "{written} bytes for names");
        let revision = reply.revision.0;
        let listed = host.list(0, 0);
        let kept = listed.iter().filter(|(_, kept, at)| (kept, *at) == (&value, revision));
        assert_eq!(kept.count(), KEYS);
        let mut host = Host::start(host.disk, cores, shards);
        assert_eq!(host.list(0, 0), listed, "read back from the log");
    }
}

#[test]
fn deletes_of_large_keys_weigh_what_they_add_to_the_log() {
    const TXNS: usize = 40;
    const KEY_BYTES: usize = 1 << 20;
    let mut host = Host::start(Disk::default(), 2, 2);
    let small: Vec<String> = (0..TXNS).map(|i| key_of(i as u16 % 2, 2, i)).collect();
    for key in &small {
        host.put(0, key, "v");
    }
    let rounds = host.counted(|counters| counters.rounds);
    let tickets: Vec<u64> = small
        .iter()
        .enumerate()
        .map(|(number, key)| {
            // From the key on, so that it is there to be deleted and the range is logged.
            let end = format!("{key}{}", "z".repeat(KEY_BYTES));
            let range = KeyRange::from_api(Bytes::from(key.clone()), Bytes::from(end));
            let wide = Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
            host.send(0, txn(vec![delete(&format!("none-{number}")), wide]))
        })
        .collect();
    host.run();
    let done = |ticket: &u64| matches!(host.answers.get(ticket), Some(Ok(Reply::Txn(_))));
    assert!(tickets.iter().all(done));
    // Of two shards each.
    let rounds = (host.counted(|counters| counters.rounds) - rounds) / 2;
    let least = TXNS / (ROUND_BYTES_MAX / KEY_BYTES);
    assert!(rounds as usize >= least, "{rounds} rounds for {TXNS} txns");
    assert!(host.list(0, 0).is_empty());
}

#[test]
fn a_compaction_waits_for_room_instead_of_ending_the_epoch() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.put(0, "a", "1");
    host.put(0, "a", "2");
    let large = "v".repeat(UNCOMMITTED_BYTES_MAX + 1);
    let tickets = [0, 1].map(|shard| host.send(0, put(&key_of(shard, 2, 0), &large)));
    let compact = CompactRequest { revision: 3, physical: false };
    let compact = host.send(1, Request::Compact(compact));
    let held = host.run_without_shard_logs();
    assert!(!held.is_empty() && host.answers.is_empty());
    let epoch = host.shared.epoch();
    host.finish(held);
    for ticket in tickets {
        assert!(matches!(host.answers.remove(&ticket), Some(Ok(Reply::Put(_)))));
    }
    assert!(matches!(host.answers.remove(&compact), Some(Ok(Reply::Compact(_)))));
    assert_eq!(host.shared.epoch(), epoch);
    assert_eq!(host.put(0, "a", "3"), 6);
}

#[test]
fn a_round_that_waits_for_room_is_not_kept_waiting_by_later_writes() {
    let mut host = Host::start(Disk::default(), 1, 2);
    let first = host.send(0, put(&key_of(0, 2, 0), "first"));
    let mut held = host.run_without_shard_logs();
    let value = "v".repeat(UNCOMMITTED_BYTES_MAX / 2);
    let puts = (0..2).flat_map(|shard| (1..3).map(move |i| (shard, i)));
    let ops = puts.map(|(shard, i)| put_op(&key_of(shard, 2, i), &value)).collect();
    let round = host.send(0, txn(ops));
    held.extend(host.run_without_shard_logs());
    let later = host.send(0, put(&key_of(0, 2, 5), "later"));
    held.extend(host.run_without_shard_logs());
    host.finish(held);
    let revision = |ticket: u64| match host.answers.get(&ticket) {
        Some(Ok(Reply::Put(reply))) => reply.revision.0,
        Some(Ok(Reply::Txn(reply))) => reply.revision.0,
        other => panic!("{other:?}"),
    };
    assert_eq!([first, round, later].map(revision), [2, 3, 4]);
}

/// So many that their number needs more than 16 bits.
#[test]
fn more_compares_than_65_536_are_all_told_apart() {
    let many = (1 << 16) + 1;
    for (cores, shards) in [(1, 1), (2, 3)] {
        let mut host = Host::start(Disk::default(), cores, shards);
        host.put(0, "last", "v");
        let compare = |number: usize| {
            let is_last = number + 1 == many;
            let key = if is_last { "last".to_owned() } else { format!("none-{number}") };
            let operand = CompareOperand::Version(i64::from(is_last));
            let range = KeyRange::single(Bytes::from(key));
            Compare { range, operator: CompareOperator::Equal, operand }
        };
        let all: Vec<Compare> = (0..many).map(compare).collect();
        let get = |key: &str| range_at(key, 0);
        for success in [vec![get("last"), get("a")], vec![put_op("a", "1"), put_op("b", "1")]] {
            // The last one is false by itself, and then all are true.
            let mut compare = all.clone();
            compare.last_mut().expect("many").operand = CompareOperand::Version(2);
            for (compare, holds) in [(compare, false), (all.clone(), true)] {
                let txn = TxnRequest { compare, success: success.clone(), failure: Vec::new() };
                let Ok(Reply::Txn(reply)) = host.call(0, Request::Txn(txn)) else {
                    panic!("a txn")
                };
                assert_eq!(reply.succeeded, holds);
            }
        }
    }
}

/// C11. A shard may be asked for a revision that is handed out, to another one, and not stable.
#[test]
fn an_answer_without_effect_waits_for_the_revision_that_it_looked_at() {
    let shards = 3;
    let (one, other) = (key_of(1, shards, 0), key_of(2, shards, 0));
    for is_round in [false, true] {
        let mut host = Host::start(Disk::default(), 1, shards);
        let pending = host.send(0, put(&key_of(0, shards, 0), "v"));
        let held = host.run_without_shard_logs();
        let without_effect = delete(if is_round { &other } else { &one });
        let asked = host.send(0, txn(vec![range_at(&one, 2), without_effect]));
        let refused = host.send(0, txn(vec![range_at(&one, 3), delete(&one)]));
        let more = host.run_without_shard_logs();
        assert!(more.is_empty(), "nothing of it is logged");
        assert!(!host.answers.contains_key(&asked), "round {is_round}: 2 is not stable");
        host.finish(held);
        assert!(matches!(host.answers.remove(&pending), Some(Ok(Reply::Put(_)))));
        let Some(Ok(Reply::Txn(reply))) = host.answers.remove(&asked) else { panic!("a txn") };
        assert_eq!(reply.revision, Revision(2));
        assert_eq!(host.answers.remove(&refused), Some(Err(Refusal::FutureRevision)));
    }
}

/// Every size at which something is decided.
const BOUNDS: [usize; 8] = [
    0,
    BATCH_BYTES,
    4 * BATCH_BYTES,
    SEGMENT_BYTES,
    ENTRY_BYTES_MAX + SEGMENT_BYTES / 2,
    ROUND_BYTES_MAX,
    UNCOMMITTED_BYTES_MAX / 2,
    UNCOMMITTED_BYTES_MAX,
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Keep,
    /// Of a range of two keys of the size.
    Delete,
    /// Two puts, of any shards, with a compare or without.
    Txn {
        guarded: bool,
    },
    /// Two puts that keep what they have.
    KeepBoth,
}

fn sized() -> impl Strategy<Value = (Kind, usize, usize, bool)> {
    let kinds = vec![
        Kind::Put,
        Kind::Put,
        Kind::Keep,
        Kind::Delete,
        Kind::Txn { guarded: false },
        Kind::Txn { guarded: true },
        Kind::KeepBoth,
    ];
    let about = (prop::sample::select(BOUNDS.to_vec()), 0..4 * LOGGED_OVERHEAD_BYTES);
    let size =
        about.prop_map(|(bound, more)| (bound + more).saturating_sub(2 * LOGGED_OVERHEAD_BYTES));
    (prop::sample::select(kinds), size, 0..6usize, any::<bool>())
}

fn request((kind, size, number, _): (Kind, usize, usize, bool)) -> Request {
    let key = |number: usize| format!("key-{}", number % 6);
    let value = "v".repeat(size);
    match kind {
        Kind::Put => put(&key(number), &value),
        Kind::Keep => txn(vec![keep(&key(number))]),
        Kind::KeepBoth => txn(vec![keep(&key(number)), keep(&key(number + 1))]),
        Kind::Delete => {
            let bound = |last: &str| Bytes::from(format!("{value}{last}"));
            let range = KeyRange::from_api(bound("a"), bound("b"));
            Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
        }
        Kind::Txn { guarded } => {
            let half = &value[..size / 2];
            let ops = vec![put_op(&key(number), half), put_op(&key(number + 1), half)];
            let missing = Compare {
                range: KeyRange::single(Bytes::from("missing")),
                operator: CompareOperator::Equal,
                operand: CompareOperand::Version(0),
            };
            let compare = if guarded { vec![missing] } else { Vec::new() };
            Request::Txn(TxnRequest { compare, success: ops, failure: Vec::new() })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the sizes, all at once or after one another: each is answered as it should be, and
    /// a restart finds what was there.
    #[test]
    fn requests_around_every_bound_are_answered_and_found_again(
        requests in prop::collection::vec(sized(), 1..12),
        shape in prop::sample::select(vec![(1, 1), (1, 2), (2, 3)]),
    ) {
        let (cores, shards) = shape;
        let mut host = Host::start(Disk::default(), cores, shards);
        let mut tickets = Vec::new();
        for (number, &sized) in requests.iter().enumerate() {
            let core = number % usize::from(cores);
            tickets.push((host.send(core, request(sized)), sized));
            if sized.3 {
                host.run();
            }
        }
        host.run();
        for (ticket, (kind, ..)) in tickets {
            match (host.answers.remove(&ticket), kind) {
                (Some(Ok(_)), _) => {}
                (Some(Err(Refusal::KeyNotFound)), Kind::Keep | Kind::KeepBoth) => {}
                (other, _) => panic!("{kind:?}: {other:?}"),
            }
        }
        let listed = host.list(0, 0);
        let mut host = Host::start(host.disk, cores, shards);
        prop_assert!(host.list(0, 0) == listed, "a restart finds something else");
    }
}
