//! The cost of the room around raft-rs for a write: propose, persist, commit, apply, one and many.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use braid::raft::{Group, GroupConfig, Restored};
use braid::types::GroupId;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Counts what is allocated, to tell what one cycle allocates.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn leader() -> Group {
    let config = GroupConfig {
        group: GroupId(1),
        raft_id: 1,
        voters: vec![1],
        learners: vec![],
        elects: false,
        heartbeat_ticks: 1,
        election_ticks: 10,
    };
    let mut group = Group::new(&config, Restored::default()).expect("an empty log");
    group.campaign();
    cycle(&mut group);
    group
}

/// Everything that follows a proposal, with a disk that takes no time.
fn cycle(group: &mut Group) {
    while let Some(ready) = group.ready() {
        if ready.must_persist {
            let _ = black_box(group.persisted(ready.number));
        }
        if let Some(last) = ready.committed.last() {
            group.applied_to(last.index);
        }
        black_box(ready);
    }
}

fn single_voter(c: &mut Criterion) {
    for entries in [1u64, 8] {
        let mut group = leader();
        let data = Bytes::from(vec![7; 1000]);
        let mut round = || {
            for _ in 0..entries {
                black_box(group.propose(data.clone())).expect("it leads");
            }
            cycle(&mut group);
        };
        (0..1000).for_each(|_| round());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..1000).for_each(|_| round());
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        println!("single voter, {entries} entries: {} allocations", allocations as f64 / 1000.0);
        let mut bench = c.benchmark_group("single voter");
        bench.throughput(Throughput::Elements(entries));
        bench.bench_function(format!("{entries} entries"), |b| b.iter(&mut round));
        bench.finish();
    }
}

criterion_group!(benches, single_voter);
criterion_main!(benches);
