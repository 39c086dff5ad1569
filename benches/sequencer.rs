//! The cost of the line for a write: take and commit, alone and against another core.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use braid::line::{Lane, Sequencer, mailbox};
use braid::types::{Revision, ShardId};
use criterion::{Criterion, criterion_group, criterion_main};

fn open_line(shards: usize) -> Arc<Sequencer> {
    let sequencer = Arc::new(Sequencer::new(shards));
    sequencer.open(Revision::EMPTY);
    sequencer
}

fn take_and_commit(lane: &mut Lane) -> Option<Revision> {
    let revision = lane.take(1);
    lane.committed(revision)
}

fn alone(c: &mut Criterion) {
    for shards in [1, 2, 16, 128] {
        let sequencer = open_line(shards);
        let mut lane = Lane::new(&sequencer, ShardId(0));
        c.bench_function(&format!("take and commit, alone, {shards} shards"), |b| {
            b.iter(|| black_box(take_and_commit(&mut lane)));
        });
    }
}

fn contended(c: &mut Criterion) {
    c.bench_function("take and commit, against another core", |b| {
        b.iter_custom(|rounds| {
            let sequencer = open_line(2);
            let mut lane = Lane::new(&sequencer, ShardId(0));
            let mut other = Lane::new(&sequencer, ShardId(1));
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        black_box(take_and_commit(&mut other));
                    }
                });
                let began = Instant::now();
                for _ in 0..rounds {
                    black_box(take_and_commit(&mut lane));
                }
                let took = began.elapsed();
                over.store(true, Ordering::Relaxed);
                took
            })
        });
    });
}

fn mailboxes(c: &mut Criterion) {
    let (mut sender, mut receiver) = mailbox::<u64>(1024);
    c.bench_function("mailbox push and pop, one thread", |b| {
        b.iter(|| {
            sender.push(black_box(7)).expect("it is empty");
            receiver.pop()
        });
    });
}

criterion_group!(benches, alone, contended, mailboxes);
criterion_main!(benches);
