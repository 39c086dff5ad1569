//! One shard from ask to answer: evaluation, the log entry, Raft of one member, the WAL's batch,
//! the store, the line, the release. Only the disk costs nothing.
//!
//! Per request in a turn of 1, 16 or 128, which is how a shard meets its load; history is
//! compacted as it goes, as a server's is.

mod common;

use std::sync::Arc;

use braid::limits::READ_SLICE_KEYS;
use braid::line::Sequencer;
use braid::line::message::{Order, Report};
use braid::replica::ReplicaConfig;
use braid::shard::{Ask, Recovery, Shard, ShardEffects, ShardReply, Write};
use braid::types::{
    ClusterId, Compare, CompareOperand, CompareOperator, CoreId, Epoch, GroupId, KeyRange,
    MemberId, Nanos, Op, Origin, PutRequest, RangeRequest, Revision, ShardId, TxnRequest,
};
use bytes::Bytes;
use common::{KEYS, NoDisk, key, scattered};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SHARD: ShardId = ShardId(0);
const EPOCH: Epoch = Epoch(1);
/// Revisions that are kept.
const HISTORY: i64 = 1 << 16;

struct Host {
    shard: Shard,
    sequencer: Arc<Sequencer>,
    effects: ShardEffects,
    calls: u64,
    answers: u64,
}

impl Host {
    /// A shard that serves and holds every key once.
    fn start() -> Host {
        let sequencer = Arc::new(Sequencer::new(1));
        let replica = ReplicaConfig {
            group: GroupId::of(SHARD),
            cluster: ClusterId(1),
            member: MemberId(2),
            salt: 3,
            elects: false,
            election_ticks: 10,
            segment_bytes: 64 << 20,
            batch_bytes_max: 1 << 20,
        };
        let recovery = Recovery {
            shard: SHARD,
            replica,
            checkpoint_log_bytes: u64::MAX,
            read_slice_keys: READ_SLICE_KEYS,
        };
        let mut warnings = Vec::new();
        let shard = Shard::recover(&recovery, &sequencer, &NoDisk, &mut warnings);
        let shard = shard.expect("an empty disk").shard;
        let effects = ShardEffects::default();
        let mut host = Host { shard, sequencer, effects, calls: 0, answers: 0 };
        host.shard.order(Order::Campaign, &mut host.effects);
        host.run_until(|report| matches!(report, Report::Led { .. }));
        let open = Order::Open { epoch: EPOCH, cut: Revision::EMPTY };
        host.shard.order(open, &mut host.effects);
        host.run_until(|report| matches!(report, Report::Opened { .. }));
        host.sequencer.open(Revision::EMPTY);
        host.shard.order(Order::Serve { epoch: EPOCH }, &mut host.effects);
        let value = Bytes::from(vec![7; 256]);
        for number in 0..KEYS {
            host.ask(Ask::Write(Write::Put(PutRequest::of(key(number), value.clone()))));
            if number % 128 == 0 {
                host.settle();
            }
        }
        host.settle();
        host
    }

    fn run_until(&mut self, mut is_it: impl FnMut(&Report) -> bool) {
        for _ in 0..1000 {
            self.turn();
            if self.effects.reports.drain(..).any(|report| is_it(&report)) {
                return;
            }
        }
        panic!("the shard does not get there");
    }

    fn ask(&mut self, ask: Ask) {
        self.calls += 1;
        let origin = Origin { core: CoreId(0), call: self.calls, part: 0 };
        self.shard.ask(origin, None, ask, &mut self.effects);
    }

    /// One turn, and all that it wants of the disk.
    fn turn(&mut self) {
        self.shard.turn(Nanos(0), true, &mut self.effects);
        for (id, op) in self.effects.disk.drain(..) {
            self.shard.disk_done(id, NoDisk.run(op)).expect("a disk without faults");
        }
        for (_, told) in self.effects.replies.drain(..) {
            assert!(matches!(told, ShardReply::Answer(Ok(_))), "{told:?}");
            self.answers += 1;
        }
    }

    /// Until everything is answered.
    fn settle(&mut self) {
        while self.answers < self.calls {
            self.turn();
        }
    }

    fn compact(&mut self) {
        let revision = Revision(self.sequencer.stable().0 - HISTORY);
        if revision > Revision::EMPTY {
            self.shard.order(Order::Compact { revision }, &mut self.effects);
            self.turn();
        }
        self.effects.reports.clear();
    }
}

fn put(number: u64, value: &Bytes) -> Ask {
    Ask::Write(Write::Put(PutRequest::of(key(scattered(number)), value.clone())))
}

/// Put if the key is there, and read it back: what a Kubernetes API server sends.
fn txn(number: u64, value: &Bytes) -> Ask {
    let key = key(scattered(number));
    let compare = Compare {
        range: KeyRange::single(key.clone()),
        operator: CompareOperator::Greater,
        operand: CompareOperand::Version(0),
    };
    let put = Op::Put(PutRequest::of(key.clone(), value.clone()));
    let failure = vec![Op::Range(RangeRequest::of(KeyRange::single(key)))];
    Ask::Write(Write::Txn(TxnRequest { compare: vec![compare], success: vec![put], failure }))
}

fn get(number: u64, _: &Bytes) -> Ask {
    Ask::Range(RangeRequest::of(KeyRange::single(key(scattered(number)))))
}

type Make = fn(u64, &Bytes) -> Ask;

fn evaluation(c: &mut Criterion) {
    let value = Bytes::from(vec![9; 256]);
    let mut host = Host::start();
    let mut number = 0;
    for (name, make) in [("put", put as Make), ("guarded txn", txn), ("get", get)] {
        let mut group = c.benchmark_group(name);
        for turn in [1u64, 16, 128] {
            group.throughput(Throughput::Elements(turn));
            group.bench_function(BenchmarkId::new("per turn", turn), |bencher| {
                bencher.iter(|| {
                    for _ in 0..turn {
                        number += 1;
                        host.ask(make(number, &value));
                    }
                    host.settle();
                    if number % 1024 < turn {
                        host.compact();
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, evaluation);
criterion_main!(benches);
