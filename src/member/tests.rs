//! A whole member on a disk in memory: what goes in comes out, also after a restart.

mod leases;
mod prepared;
mod rounds;
mod sizes;
mod turns;
mod work;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::limits::READ_SLICE_KEYS;
use crate::sim::Disk;
use crate::types::placement::shard_of;
use crate::types::{
    AlarmAction, AlarmKind, AlarmRequest, ClusterId, CompactRequest, Compare, CompareOperand,
    CompareOperator, CoreId, DeleteRangeRequest, HashKvRequest, KeyRange, KeyValue, Member,
    MemberId, Op, OpReply, PutRequest, RangeFilters, RangeReply, RangeRequest, Refusal, Reply,
    Revision, SortOrder, SortTarget, TxnRequest, WatchCreate, WatchEvents, WatchId, WatchReply,
};
use crate::watch::WatchLimits;

struct Host {
    disk: Disk,
    cores: Vec<Core>,
    shared: Arc<Shared>,
    now: u64,
    next: u64,
    answers: BTreeMap<u64, Answer>,
    watched: Vec<(usize, WatchStream, WatchReply)>,
}

impl Host {
    fn start(disk: Disk, cores: u16, shards: u16) -> Host {
        Host::start_with(disk, cores, shards, LeaseConfig::default())
    }

    fn start_with(disk: Disk, cores: u16, shards: u16, leases: LeaseConfig) -> Host {
        let identity =
            Identity { cluster: ClusterId(1), member: MemberId(7), shards, salt: 0x5a17 };
        let member = Member { id: 7, name: "m".into(), ..Member::default() };
        let config = Arc::new(MemberConfig {
            identity,
            member,
            election_ticks: 10,
            request_timeout: 7_000_000_000,
            quota: 0,
            quota_shown: 0,
            segment_bytes: 1 << 20,
            batch_bytes_max: 64 << 10,
            checkpoint_log_bytes: 256 << 10,
            read_slice_keys: READ_SLICE_KEYS,
            watch_progress_interval: 1_000_000_000,
            watch_limits: WatchLimits::default(),
            leases,
        });
        let shared = Arc::new(Shared::new(cores, shards));
        let cores = (0..cores)
            .map(|core| Core::recover(&config, CoreId(core), &shared, &disk).expect("whole files"))
            .collect();
        let shared_by = Arc::clone(&shared);
        let answers = BTreeMap::new();
        let watched = Vec::new();
        let mut host = Host { disk, cores, shared: shared_by, now: 0, next: 0, answers, watched };
        host.cores.iter_mut().for_each(Core::start);
        host.run();
        assert!(shared.is_ready(), "a lone member opens by itself");
        host
    }

    fn run(&mut self) {
        loop {
            let mut quiet = true;
            let stable = self.shared.sequencer.stable();
            for at in 0..self.cores.len() {
                self.cores[at].look();
                quiet &= !self.cores[at].turn(Nanos(self.now));
                let effects = std::mem::take(self.cores[at].effects());
                quiet &= effects.mail.is_empty() && effects.disk.is_empty();
                self.answers.extend(effects.answers.into_iter().map(|(t, a)| (t.0, a)));
                self.watched.extend(effects.watched.into_iter().map(|(s, r)| (at, s, r)));
                for (to, mail) in effects.mail {
                    self.cores[usize::from(to.0)].receive(mail);
                }
                for (group, id, op) in effects.disk {
                    let outcome = self.disk.finish(op);
                    self.cores[at].disk_done(group, id, outcome).expect("a good disk");
                }
            }
            if quiet && self.shared.sequencer.stable() == stable {
                return;
            }
        }
    }

    fn send(&mut self, core: usize, request: Request) -> u64 {
        self.next += 1;
        let answer = self.cores[core].submit(Nanos(self.now), Ticket(self.next), request, None);
        if let Some(answer) = answer {
            self.answers.insert(self.next, answer);
        }
        self.next
    }

    fn call(&mut self, core: usize, request: Request) -> Answer {
        let ticket = self.send(core, request);
        self.run();
        self.answers.remove(&ticket).expect("an answer")
    }

    fn put(&mut self, core: usize, key: &str, value: &str) -> i64 {
        match self.call(core, put(key, value)) {
            Ok(Reply::Put(reply)) => reply.revision.0,
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self, core: usize, revision: i64) -> Vec<(String, String, i64)> {
        let request = RangeRequest { revision, ..RangeRequest::of(KeyRange::all()) };
        match self.call(core, Request::Range(request)) {
            Ok(Reply::Range(reply)) => {
                assert_eq!(reply.count as usize, reply.kvs.len());
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                let kvs = reply.kvs.iter();
                kvs.map(|kv| (text(&kv.key), text(&kv.value), kv.modified)).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn put(key: &str, value: &str) -> Request {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Request::Put(PutRequest::of(key, value))
}

fn put_op(key: &str, value: &str) -> Op {
    let Request::Put(put) = put(key, value) else { unreachable!() };
    Op::Put(put)
}

const SHAPES: [(u16, u16); 5] = [(1, 1), (1, 3), (2, 2), (2, 5), (3, 4)];

#[test]
fn puts_take_dense_revisions_over_all_shards() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        for i in 0..40 {
            let core = i as usize % usize::from(cores);
            assert_eq!(host.put(core, &format!("key-{i:02}"), "v"), i + 2);
        }
        let listed = host.list(0, 0);
        assert_eq!(listed.len(), 40);
        assert!(listed.is_sorted());
        assert_eq!(host.list(0, 11).len(), 10, "a read at an old revision");
    }
}

fn looked_up(core: &mut Core, shards: u16, keys: &[String]) -> Vec<(i64, Option<i64>)> {
    let wanted: Vec<_> = keys
        .iter()
        .map(|key| PointRead { shard: shard_of(key.as_bytes(), shards), key: key.as_bytes() })
        .collect();
    let mut told = Vec::new();
    let count = core.multi_get(&wanted, &mut |revision, kv| {
        told.push((revision.0, kv.map(|kv| kv.modified)));
        ControlFlow::Continue(())
    });
    assert_eq!(count, told.len());
    told
}

#[test]
fn keys_of_this_core_are_looked_up_at_stable() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        let (own, foreign): (Vec<String>, Vec<String>) = (0..40)
            .map(|i| format!("key-{i:02}"))
            .partition(|key| host.shared.core_of(shard_of(key.as_bytes(), shards)) == CoreId(0));
        let own: Vec<String> = own.into_iter().take(MULTI_GET_MAX).collect();
        for (put, key) in own.iter().enumerate().take(own.len() / 2) {
            assert_eq!(host.put(0, key, "v"), put as i64 + 2);
        }
        let stable = 1 + (own.len() / 2) as i64;
        let expected: Vec<_> = (0..own.len() as i64)
            .map(|i| (stable, Some(i + 2).filter(|&revision| revision <= stable)))
            .collect();
        assert_eq!(looked_up(&mut host.cores[0], shards, &own), expected);
        // What is evaluated and not yet stable is seen by nobody.
        host.send(0, put(&own[0], "pending"));
        host.cores[0].turn(Nanos(1));
        assert_eq!(looked_up(&mut host.cores[0], shards, &own), expected);
        host.run();
        let after = looked_up(&mut host.cores[0], shards, &own[..1]);
        assert_eq!(after, [(stable + 1, Some(stable + 1))]);
        // From the first key on that is another core's, nothing is told.
        if let Some(foreign) = foreign.first() {
            let keys = [own[0].clone(), foreign.clone(), own[1].clone()];
            assert_eq!(looked_up(&mut host.cores[0], shards, &keys).len(), 1);
        }
        let ranges: u64 = host.cores[0].shard_counters().map(|(_, counted)| counted.ranges).sum();
        let asked = 2 * own.len() + 1 + usize::from(!foreign.is_empty());
        assert_eq!(ranges as usize, asked);
    }
}

#[test]
fn concurrent_puts_and_rounds_are_one_dense_line() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        let mut tickets = Vec::new();
        for i in 0..60 {
            let core = i % usize::from(cores);
            let request = if i % 5 == 0 {
                let success = (0..4).map(|k| put_op(&format!("t{i}-{k}"), "x")).collect();
                Request::Txn(TxnRequest { success, ..TxnRequest::default() })
            } else {
                put(&format!("k{i}"), "y")
            };
            tickets.push(host.send(core, request));
        }
        host.run();
        let mut revisions: Vec<i64> = tickets
            .iter()
            .map(|ticket| match host.answers.remove(ticket) {
                Some(Ok(Reply::Put(reply))) => reply.revision.0,
                Some(Ok(Reply::Txn(reply))) => reply.revision.0,
                other => panic!("{other:?}"),
            })
            .collect();
        revisions.sort_unstable();
        assert_eq!(revisions, (2..62).collect::<Vec<_>>());
        assert_eq!(host.list(0, 0).len(), 48 + 12 * 4);
    }
}

#[test]
fn a_restart_keeps_everything_and_goes_on_without_a_gap() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        for i in 0..30 {
            host.put(0, &format!("key-{i:02}"), "v");
        }
        let success = vec![put_op("a", "1"), put_op("b", "2"), put_op("c", "3")];
        let txn = TxnRequest { success, ..TxnRequest::default() };
        let Ok(Reply::Txn(reply)) = host.call(0, Request::Txn(txn)) else { panic!("a txn") };
        assert_eq!(reply.revision.0, 32);
        let before = host.list(0, 0);
        let mut host = Host::start(host.disk, cores, shards);
        assert_eq!(host.list(0, 0), before);
        assert_eq!(host.put(0, "next", "v"), 33);
        let mut host = Host::start(host.disk, 1, shards);
        assert_eq!(host.list(0, 0).len(), before.len() + 1, "on another number of cores");
    }
}

#[test]
fn checkpoints_replace_the_log_and_a_restart_reads_them() {
    for (cores, shards) in [(1, 1), (2, 3)] {
        let mut host = Host::start(Disk::default(), cores, shards);
        let value = "v".repeat(4000);
        for i in 0..1500 {
            host.put(0, &format!("key-{:02}", i % 37), &value);
        }
        let taken: u64 =
            host.cores.iter().flat_map(Core::shard_counters).map(|(_, c)| c.checkpoints).sum();
        assert!(taken >= 2, "{taken} checkpoints");
        let before = host.list(0, 1200);
        let mut host = Host::start(host.disk, cores, shards);
        assert_eq!(host.list(0, 1200), before);
        assert_eq!(host.put(0, "next", "v"), 1502);
    }
}

#[test]
fn a_range_delete_over_all_shards_is_one_revision() {
    let mut host = Host::start(Disk::default(), 2, 3);
    for i in 0..10 {
        host.put(0, &format!("k{i}"), "v");
    }
    let delete = DeleteRangeRequest {
        range: KeyRange::from_api(Bytes::from("k2"), Bytes::from("k8")),
        prev_kv: true,
    };
    let Ok(Reply::DeleteRange(reply)) = host.call(1, Request::DeleteRange(delete.clone())) else {
        panic!("a delete")
    };
    assert_eq!((reply.deleted, reply.revision.0), (6, 12));
    assert!(reply.prev_kvs.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(host.list(0, 0).len(), 4);
    let Ok(Reply::DeleteRange(reply)) = host.call(1, Request::DeleteRange(delete)) else {
        panic!("a delete")
    };
    assert_eq!((reply.deleted, reply.revision.0), (0, 12), "nothing to delete takes no revision");
}

#[test]
fn compares_over_shards_decide_on_the_state_before() {
    let mut host = Host::start(Disk::default(), 2, 5);
    host.put(0, "a", "1");
    host.put(0, "b", "2");
    let version = |key: &str, version| Compare {
        range: KeyRange::single(Bytes::from(key.to_owned())),
        operator: CompareOperator::Equal,
        operand: CompareOperand::Version(version),
    };
    let range =
        |key: &str| Op::Range(RangeRequest::of(KeyRange::single(Bytes::from(key.to_owned()))));
    let txn = TxnRequest {
        compare: vec![version("a", 1), version("b", 1), version("c", 0)],
        success: vec![put_op("a", "x"), range("a"), range("b"), put_op("c", "y")],
        failure: vec![range("a")],
    };
    let Ok(Reply::Txn(reply)) = host.call(1, Request::Txn(txn.clone())) else { panic!("a txn") };
    assert!(reply.succeeded);
    assert_eq!((reply.revision.0, reply.responses.len()), (4, 4));
    let Ok(Reply::Txn(reply)) = host.call(0, Request::Txn(txn)) else { panic!("a txn") };
    assert!(!reply.succeeded);
    assert_eq!((reply.revision.0, reply.responses.len()), (4, 1));
}

#[test]
fn compaction_refuses_older_reads_on_every_shard_and_hashes_agree_over_restarts() {
    let mut host = Host::start(Disk::default(), 2, 3);
    for i in 0..20 {
        host.put(0, &format!("k{}", i % 4), &format!("v{i}"));
    }
    let compact = |revision| Request::Compact(CompactRequest { revision, physical: true });
    assert_eq!(host.call(1, compact(99)), Err(Refusal::FutureRevision));
    assert!(host.call(1, compact(15)).is_ok());
    assert_eq!(host.call(1, compact(15)), Err(Refusal::Compacted));
    let old = RangeRequest { revision: 14, ..RangeRequest::of(KeyRange::all()) };
    assert_eq!(host.call(0, Request::Range(old)), Err(Refusal::Compacted));
    assert_eq!(host.list(0, 15).len(), 4);
    let hash = |host: &mut Host| match host.call(0, Request::HashKv(HashKvRequest { revision: 0 }))
    {
        Ok(Reply::HashKv(reply)) => (reply.hash, reply.compact_revision, reply.hash_revision),
        other => panic!("{other:?}"),
    };
    let before = hash(&mut host);
    assert_eq!((before.1, before.2), (15, 21));
    let mut host = Host::start(host.disk, 1, 3);
    assert_eq!(hash(&mut host), before);
}

/// Found by the simulator: a shard without a key said of every compare that it holds.
#[test]
fn compares_of_missing_keys_over_shards_are_judged_like_version_zero() {
    let mut host = Host::start(Disk::default(), 2, 5);
    let compare = |key: &str, operand| Compare {
        range: KeyRange::single(Bytes::from(key.to_owned())),
        operator: CompareOperator::Equal,
        operand,
    };
    let missing = [
        (CompareOperand::Version(0), true),
        (CompareOperand::Version(1), false),
        (CompareOperand::Value(Bytes::new()), false),
    ];
    for (operand, holds) in missing {
        for success in [vec![put_op("x", "1"), put_op("y", "1"), put_op("z", "1")], vec![]] {
            let compare = vec![compare("a", operand.clone()), compare("b", operand.clone())];
            let compare = [compare, vec![compare_missing("c")]].concat();
            let txn = TxnRequest { compare, success, failure: vec![] };
            let Ok(Reply::Txn(reply)) = host.call(1, Request::Txn(txn)) else { panic!("a txn") };
            assert_eq!(reply.succeeded, holds, "{operand:?}");
        }
    }
}

fn compare_missing(key: &str) -> Compare {
    Compare {
        range: KeyRange::single(Bytes::from(key.to_owned())),
        operator: CompareOperator::Equal,
        operand: CompareOperand::Mod(0),
    }
}

/// Found by the simulator: nobody was asked, so nobody answered.
#[test]
fn a_txn_that_comes_down_to_nothing_is_answered() {
    let mut host = Host::start(Disk::default(), 2, 5);
    let range =
        |key: &str| Op::Range(RangeRequest::of(KeyRange::single(Bytes::from(key.to_owned()))));
    let failure = vec![range("a"), range("b"), range("c")];
    let txn = TxnRequest { failure, ..TxnRequest::default() };
    let Ok(Reply::Txn(reply)) = host.call(1, Request::Txn(txn)) else { panic!("a txn") };
    assert!(reply.succeeded && reply.responses.is_empty());
}

/// Found by the simulator: a tick had answered it when its client left.
#[test]
fn a_cancelled_request_is_not_answered_even_if_its_answer_was_made() {
    let mut host = Host::start(Disk::default(), 1, 1);
    let core = &mut host.cores[0];
    let answer = core.submit(Nanos(0), Ticket(1), put("k", "v"), Some(Nanos(1)));
    assert_eq!(answer, None);
    for _ in 0..5 {
        core.tick(Nanos(2), 1);
    }
    assert_eq!(core.effects().answers, [(Ticket(1), Err(Refusal::DeadlineExceeded))]);
    core.cancel(Ticket(1));
    assert!(core.effects().answers.is_empty());
}

/// Found by the simulator: shards dropped the values before the parts were merged by them.
#[test]
fn keys_only_sorted_by_value_over_shards_is_sorted_by_value() {
    let mut host = Host::start(Disk::default(), 2, 5);
    for (key, value) in [("a", "5"), ("b", "1"), ("c", "4"), ("d", "2"), ("e", "3")] {
        host.put(0, key, value);
    }
    let request = RangeRequest {
        keys_only: true,
        target: crate::types::SortTarget::Value,
        order: crate::types::SortOrder::Ascend,
        limit: 4,
        ..RangeRequest::of(KeyRange::all())
    };
    let Ok(Reply::Range(reply)) = host.call(0, Request::Range(request)) else { panic!("a range") };
    let keys: Vec<&[u8]> = reply.kvs.iter().map(|kv| &kv.key[..]).collect();
    assert_eq!(keys, [b"b", b"d", b"e", b"c"]);
    assert!(reply.kvs.iter().all(|kv| kv.value.is_empty()));
}

/// Found by the simulator: shards that disagreed about a compaction were asked again in the same
/// turn for ever, so the disk was never heard of.
#[test]
fn a_hash_while_a_compaction_is_on_its_way_ends_its_turn() {
    let mut host = Host::start(Disk::default(), 1, 2);
    for i in 0..6 {
        host.put(0, &format!("k{i}"), "v");
    }
    let compact = Request::Compact(CompactRequest { revision: 5, physical: false });
    assert_eq!(host.cores[0].submit(Nanos(1), Ticket(901), compact, None), None);
    let mut late = Vec::new();
    for round in 0..12 {
        if round == 6 {
            let hash = Request::HashKv(HashKvRequest { revision: 0 });
            assert_eq!(host.cores[0].submit(Nanos(1), Ticket(902), hash, None), None);
        }
        host.cores[0].turn(Nanos(1));
        for (group, id, op) in std::mem::take(&mut host.cores[0].effects().disk) {
            let outcome = host.disk.finish(op);
            if group.0 == 2 {
                late.push((group, id, outcome)); // The disk takes its time with this shard.
                continue;
            }
            host.cores[0].disk_done(group, id, outcome).expect("a good disk");
        }
    }
    assert!(host.cores[0].effects().answers.is_empty(), "one shard lacks the compaction");
    for (group, id, outcome) in late {
        host.cores[0].disk_done(group, id, outcome).expect("a good disk");
    }
    host.run();
    let answers: Vec<u64> = host.answers.keys().copied().collect();
    assert_eq!(answers, [901, 902]);
}

#[test]
fn a_full_disk_raises_the_alarm_and_stops_nothing() {
    let mut host = Host::start(Disk::default(), 2, 2);
    host.disk.fill(true);
    let value = "v".repeat(20_000);
    let mut refused = false;
    for i in 0..400 {
        match host.call(0, put(&format!("key-{i}"), &value)) {
            Ok(_) => {} // One shard's log fills before the other's.
            Err(refusal) => {
                assert_eq!(refusal, Refusal::NoSpace);
                refused = true;
            }
        }
    }
    assert!(refused);
    for _ in 0..5 {
        host.cores.iter_mut().for_each(|core| core.tick(Nanos(0), 1));
    }
    host.run();
    let alarms = host.shared.alarms();
    assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::NoSpace]);
    assert!(!host.list(1, 0).is_empty(), "reads go on");
    host.disk.fill(false);
    for _ in 0..5 {
        host.cores.iter_mut().for_each(|core| core.tick(Nanos(0), 1));
    }
    host.run();
    let disarm = Request::Alarm(AlarmRequest {
        action: AlarmAction::Deactivate,
        member: alarms[0].member,
        kind: Some(AlarmKind::NoSpace),
    });
    assert!(host.call(0, disarm).is_ok());
    assert!(host.call(0, put("after", "v")).is_ok());
}

/// What is kept for a full disk lets an operator make room: by deletes, a compaction, and a
/// defragmentation, which gives segments back.
#[test]
fn a_full_disk_is_emptied_from_a_reserve() {
    let mut host = Host::start(Disk::default(), 2, 2);
    let value = "v".repeat(20_000);
    for i in 0..80 {
        host.put(0, &format!("key-{i}"), &value);
    }
    host.disk.fill(true);
    let mut puts = 80..400;
    while puts.next().is_some_and(|i| host.call(0, put(&format!("key-{i}"), &value)).is_ok()) {}
    assert!(!puts.is_empty());
    let tick = |host: &mut Host| {
        for _ in 0..5 {
            host.cores.iter_mut().for_each(|core| core.tick(Nanos(0), 1));
        }
        host.run();
    };
    tick(&mut host);
    assert_eq!(host.shared.alarms().len(), 1);
    let full = host.disk.bytes();
    let all = DeleteRangeRequest { range: KeyRange::all(), prev_kv: false };
    let deleted = match host.call(1, Request::DeleteRange(all)) {
        Ok(Reply::DeleteRange(reply)) => reply.revision.0,
        other => panic!("{other:?}"),
    };
    tick(&mut host);
    let compact = CompactRequest { revision: deleted, physical: true };
    assert!(host.call(0, Request::Compact(compact)).is_ok());
    tick(&mut host);
    let outcome = host.call(0, Request::Defragment);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(host.disk.bytes() < full / 4, "{} of {full}", host.disk.bytes());
}

/// Every key deleted, the history compacted: what is left on disk is what an empty member takes.
#[test]
fn a_defragmentation_gives_segments_back() {
    let mut host = Host::start(Disk::default(), 2, 3);
    let fresh = host.disk.bytes();
    let value = "v".repeat(20_000);
    for i in 0..300 {
        host.put(0, &format!("key-{i}"), &value);
    }
    let full = host.disk.bytes();
    let all = DeleteRangeRequest { range: KeyRange::all(), prev_kv: false };
    assert!(host.call(1, Request::DeleteRange(all)).is_ok());
    let revision = host.put(1, "left", "over");
    let compact = CompactRequest { revision, physical: true };
    assert!(host.call(0, Request::Compact(compact)).is_ok());
    assert!(host.disk.bytes() * 2 > full, "so far nothing was given back");
    assert!(host.call(0, Request::Defragment).is_ok());
    // A write that is under way may need a segment beside the current one.
    assert!(host.disk.bytes() < 2 * fresh, "{} of {full}, {fresh} at first", host.disk.bytes());
    let writes = host.put(0, "more", "v");
    assert_eq!(writes, revision + 1);
    let bytes = host.disk.bytes();
    assert!(host.call(0, Request::Defragment).is_ok(), "nothing is left to give");
    assert!(host.disk.bytes() <= bytes);
    let mut host = Host::start(host.disk, 1, 3);
    assert_eq!(host.list(0, 0).len(), 2);
}

fn create(range: KeyRange, start: i64) -> WatchCreate {
    WatchCreate { prev_kv: true, ..WatchCreate::of(range, start) }
}

impl Host {
    /// A stream with one watcher on it.
    fn watch(&mut self, core: usize, create: WatchCreate) -> WatchStream {
        let stream = self.cores[core].watch_open(Nanos(self.now));
        assert!(self.cores[core].watch(Nanos(self.now), stream, WatchRequest::Create(create)));
        self.run();
        stream
    }

    /// What a stream was told since this was last asked.
    fn told(&mut self, core: usize, stream: WatchStream) -> Vec<WatchReply> {
        let ours = |told: &mut (usize, WatchStream, WatchReply)| (told.0, told.1) == (core, stream);
        self.watched.extract_if(.., ours).map(|(_, _, reply)| reply).collect()
    }
}

/// Each event as `revision key = value, before`.
fn lines(replies: &[WatchReply]) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut lines = Vec::new();
    for reply in replies {
        let WatchReply::Events(WatchEvents { events, .. }) = reply else {
            lines.push(format!("{reply:?}"));
            continue;
        };
        for event in events {
            let value = event.put.as_ref().map_or("-".to_owned(), |kv| text(&kv.value));
            let prev = event.prev.as_ref().map_or("-".to_owned(), |kv| text(&kv.value));
            lines.push(format!("{} {} = {value}, {prev}", event.revision, text(&event.key)));
        }
    }
    lines
}

#[test]
fn watchers_on_any_core_are_told_whole_revisions_in_order() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        host.put(0, "a", "0");
        let all: Vec<_> = (0..usize::from(cores))
            .map(|core| (core, host.watch(core, create(KeyRange::all(), 0))))
            .collect();
        let one = host.watch(0, create(KeyRange::single(Bytes::from("b")), 0));
        let past = host.watch(0, create(KeyRange::all(), 1));
        for (core, stream) in &all {
            let told = host.told(*core, *stream);
            assert!(matches!(told[..], [WatchReply::Created { revision: Revision(2), .. }]));
        }
        host.put(0, "b", "1");
        let success = vec![put_op("b", "2"), put_op("c", "2"), put_op("a", "2")];
        let txn = TxnRequest { success, ..TxnRequest::default() };
        assert!(host.call(0, Request::Txn(txn)).is_ok());
        let delete = DeleteRangeRequest {
            range: KeyRange::from_api(Bytes::from("a"), Bytes::from("c")),
            prev_kv: false,
        };
        assert!(host.call(0, Request::DeleteRange(delete)).is_ok());
        let expected =
            ["3 b = 1, -", "4 b = 2, 1", "4 c = 2, -", "4 a = 2, 0", "5 a = -, 2", "5 b = -, 2"];
        for (core, stream) in all {
            let told = host.told(core, stream);
            assert_eq!(lines(&told), expected);
            assert_eq!(told.len(), 3, "a reply for each revision");
        }
        let told = host.told(0, one);
        assert_eq!(lines(&told[1..]), ["3 b = 1, -", "4 b = 2, 1", "5 b = -, 2"]);
        let told = host.told(0, past);
        assert_eq!(lines(&told[1..2]), ["2 a = 0, -"]);
        assert_eq!(lines(&told[2..]), expected);
        let late = host.watch(0, create(KeyRange::all(), 2));
        let told = host.told(0, late);
        assert_eq!(told.len(), 2, "history is one reply");
        assert_eq!(lines(&told[1..])[1..], expected);
        host.cores[0].watch(Nanos(0), late, WatchRequest::Cancel(WatchId(0)));
        host.put(0, "b", "9");
        assert!(matches!(host.told(0, late)[..], [WatchReply::Canceled { compacted: None, .. }]));
    }
}

#[test]
fn a_watch_from_the_past_outlives_a_restart_and_ends_with_its_history() {
    for (cores, shards) in SHAPES {
        let mut host = Host::start(Disk::default(), cores, shards);
        for i in 0..30 {
            host.put(0, &format!("k{}", i % 5), &format!("v{i}"));
        }
        let mut host = Host::start(host.disk, cores, shards);
        let core = usize::from(cores) - 1;
        let stream = host.watch(core, create(KeyRange::all(), 2));
        let told = host.told(core, stream);
        assert!(matches!(told[0], WatchReply::Created { revision: Revision(31), .. }));
        let told = lines(&told[1..]);
        assert_eq!((told.len(), &*told[0], &*told[29]), (30, "2 k0 = v0, -", "31 k4 = v29, v24"));
        host.put(0, "k0", "live");
        assert_eq!(lines(&host.told(core, stream)), ["32 k0 = live, v25"]);
        let compact = Request::Compact(CompactRequest { revision: 20, physical: true });
        assert!(host.call(0, compact).is_ok());
        let whole = host.watch(core, create(KeyRange::all(), 20));
        let told = lines(&host.told(core, whole)[1..]);
        // What was before the first is what the compaction took.
        assert_eq!((told.len(), &*told[0], &*told[1]), (13, "20 k3 = v18, -", "21 k4 = v19, v14"));
        let late = host.watch(core, create(KeyRange::single(Bytes::from("k1")), 19));
        let told = host.told(core, late);
        let [WatchReply::Created { .. }, WatchReply::Canceled { revision, compacted, .. }] =
            told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!((revision, compacted), (Revision(0), Some(Revision(20))));
    }
}

#[test]
fn a_slow_client_holds_up_nobody_and_is_told_everything() {
    let mut host = Host::start(Disk::default(), 2, 3);
    let slow = host.watch(1, create(KeyRange::all(), 0));
    let quick = host.watch(1, create(KeyRange::all(), 0));
    let mut notify = create(KeyRange::single(Bytes::from("quiet")), 0);
    notify.progress_notify = true;
    let quiet = host.watch(0, notify);
    let value = "v".repeat(200_000);
    let (mut waits, mut came) = (0, Vec::new());
    for i in 0..60 {
        host.put(0, &format!("k{}", i % 7), &value);
        for reply in host.told(1, quick) {
            let WatchReply::Events(told) = reply else { continue };
            host.cores[1].watch_sent(quick, told.bytes);
            came.extend(told.events.iter().map(|event| event.revision.0));
        }
        waits = host.cores[1].watch_counts().unsynced;
    }
    assert_eq!(came, (2..62).collect::<Vec<_>>());
    assert_eq!(waits, 1, "the slow one has no room");
    let mut came = Vec::new();
    loop {
        let told = host.told(1, slow);
        if told.is_empty() {
            break;
        }
        for reply in told {
            let WatchReply::Events(told) = reply else { continue };
            host.cores[1].watch_sent(slow, told.bytes);
            came.extend(told.events.iter().map(|event| event.revision.0));
        }
        host.run();
    }
    assert_eq!(came, (2..62).collect::<Vec<_>>());
    host.told(0, quiet);
    host.cores[0].tick(Nanos(3_000_000_000), 99);
    host.run();
    let told = host.told(0, quiet);
    assert!(matches!(told[..], [WatchReply::Progress { revision: Revision(61), .. }]), "{told:?}");
    host.cores[0].watch_close(quiet);
    host.cores[1].watch_close(slow);
    host.cores[1].watch_close(quick);
    host.put(0, "after", "all");
    assert!(host.watched.is_empty());
}
