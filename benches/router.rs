//! A request through a whole core, from `submit` to its answer: on the core that has its shard, and
//! over to another core and back. Disk and wake-ups cost nothing here: it is the work alone, that
//! of both cores together, since one thread drives them in turn. Waking a parked core comes on top.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use braid::limits::READ_SLICE_KEYS;
use braid::member::{
    Core, CoreEffects, Identity, LeaseConfig, MemberConfig, Service, Shared, Ticket,
};
use braid::types::placement::shard_of;
use braid::types::{
    ClusterId, CompactRequest, CoreId, KeyRange, Member, MemberId, Nanos, Op, PutRequest,
    RangeRequest, Request, TxnRequest,
};
use bytes::Bytes;
use common::{KEYS, NoDisk, key};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Revisions that are kept.
const HISTORY: i64 = 1 << 16;

struct Host {
    cores: Vec<Core>,
    shared: Arc<Shared>,
    tickets: u64,
    answers: u64,
    compacted: i64,
    effects: CoreEffects,
}

impl Host {
    fn start(cores: u16, shards: u16) -> Host {
        let identity = Identity { cluster: ClusterId(1), member: MemberId(7), shards, salt: 5 };
        let config = Arc::new(MemberConfig {
            identity,
            member: Member { id: 7, name: "m".into(), ..Member::default() },
            election_ticks: 10,
            request_timeout: u64::MAX,
            quota: 0,
            quota_shown: 0,
            segment_bytes: 64 << 20,
            batch_bytes_max: 1 << 20,
            checkpoint_log_bytes: u64::MAX,
            read_slice_keys: READ_SLICE_KEYS,
            watch_progress_interval: 0,
            watch_limits: braid::watch::WatchLimits::default(),
            leases: LeaseConfig::default(),
        });
        let shared = Arc::new(Shared::new(cores, shards));
        let recover = |core| Core::recover(&config, CoreId(core), &shared, &NoDisk);
        let cores = (0..cores).map(|core| recover(core).expect("an empty disk")).collect();
        let effects = CoreEffects::default();
        let shared_by = Arc::clone(&shared);
        let mut host =
            Host { cores, shared: shared_by, tickets: 0, answers: 0, compacted: 0, effects };
        host.cores.iter_mut().for_each(Core::start);
        for _ in 0..1000 {
            host.turn();
        }
        assert!(shared.is_ready(), "a lone member opens by itself");
        host
    }

    /// A turn of every core, and all that they want of one another and of the disk.
    fn turn(&mut self) {
        for at in 0..self.cores.len() {
            self.cores[at].turn(Nanos(0));
            std::mem::swap(&mut self.effects, self.cores[at].effects());
            self.answers += self.effects.answers.len() as u64;
            self.effects.answers.clear();
            self.effects.ring.clear();
            for (to, mail) in self.effects.mail.drain(..) {
                self.cores[usize::from(to.0)].receive(mail);
            }
            for (group, id, op) in self.effects.disk.drain(..) {
                let outcome = NoDisk.run(op);
                self.cores[at].disk_done(group, id, outcome).expect("a disk without faults");
            }
        }
    }

    fn submit(&mut self, core: usize, request: Request) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let answer = self.cores[core].submit(Nanos(0), ticket, request, None);
        self.answers += u64::from(answer.is_some());
    }

    /// Until everything is answered; now and then history goes, as in a server.
    fn settle(&mut self) {
        while self.answers < self.tickets {
            self.turn();
        }
        let revision = self.shared.sequencer.stable().0 - HISTORY;
        if revision > self.compacted + HISTORY {
            self.compacted = revision;
            self.submit(0, Request::Compact(CompactRequest { revision, physical: false }));
        }
    }
}

/// Keys by the core that has them, of two.
fn keys_of_cores(shards: u16) -> HashMap<usize, Vec<Bytes>> {
    let mut keys: HashMap<usize, Vec<Bytes>> = HashMap::new();
    for number in 0..KEYS / 10 {
        let key = key(number);
        keys.entry(usize::from(shard_of(&key, shards).0 % 2)).or_default().push(key);
    }
    keys
}

fn put(keys: &[Bytes], number: usize, value: &Bytes) -> Request {
    Request::Put(PutRequest::of(keys[number % keys.len()].clone(), value.clone()))
}

fn get(keys: &[Bytes], number: usize, _: &Bytes) -> Request {
    let key = keys[number % keys.len()].clone();
    Request::Range(RangeRequest::of(KeyRange::single(key)))
}

type Make = fn(&[Bytes], usize, &Bytes) -> Request;

fn hops(c: &mut Criterion) {
    let keys = keys_of_cores(2);
    let value = Bytes::from(vec![9; 256]);
    let mut host = Host::start(2, 2);
    let mut number = 0;
    for (name, make) in [("put", put as Make), ("get", get)] {
        let mut group = c.benchmark_group(name);
        for (way, owner) in [("own core", 0), ("other core", 1)] {
            for turn in [1u64, 64] {
                group.throughput(Throughput::Elements(turn));
                group.bench_function(BenchmarkId::new(way, turn), |bencher| {
                    bencher.iter(|| {
                        for _ in 0..turn {
                            number += 1;
                            host.submit(0, make(&keys[&owner], number, &value));
                        }
                        host.settle();
                    });
                });
            }
        }
        group.finish();
    }
}

/// Four keys of two shards on two cores: freeze, check, execute, merged.
fn rounds(c: &mut Criterion) {
    let keys = keys_of_cores(2);
    let value = Bytes::from(vec![9; 256]);
    let mut host = Host::start(2, 2);
    let mut number = 0;
    let mut group = c.benchmark_group("txn of 4 keys");
    for turn in [1u64, 64] {
        group.throughput(Throughput::Elements(turn));
        group.bench_function(BenchmarkId::new("two cores", turn), |bencher| {
            bencher.iter(|| {
                for _ in 0..turn {
                    let success = (0..4).map(|at| {
                        number += 1;
                        let of = &keys[&(at % 2)];
                        Op::Put(PutRequest::of(of[number % of.len()].clone(), value.clone()))
                    });
                    let success = success.collect();
                    host.submit(0, Request::Txn(TxnRequest { success, ..TxnRequest::default() }));
                }
                host.settle();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hops, rounds);
criterion_main!(benches);
