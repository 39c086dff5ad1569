//! The store's targets: a million keys of 32 bytes with values of 256, on one core.
//!
//! `cargo bench --bench store` prints what a key takes, then what each operation takes. Keys are
//! visited in random order, so that what is measured is memory, not cache, as in life. Times are
//! CPU time of the one thread, page faults included: what else the machine does costs only cache.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use braid::chance::mix;
use braid::store::{HashCursor, Store};
use braid::types::{KeyRange, LeaseId, PutRequest, RangeEnd, RangeRequest, Revision, Sub};
use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const KEYS: usize = 1_000_000;
const VALUE: [u8; 256] = [0x5a; 256];

/// The server's allocator, counting what it is asked for.
struct Counting(mimalloc::MiMalloc);

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to mimalloc.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

/// What criterion measures instead of the clock on the wall.
struct CpuTime;

impl CpuTime {
    /// CPU time that this thread has used.
    fn now() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes the time into the place given.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(failed, 0, "Linux has this clock");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        CpuTime::now()
    }

    fn end(&self, start: Duration) -> Duration {
        CpuTime::now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Only the one thread that is measured allocates, so this need not be one step.
fn count(bytes: isize) {
    let before = ALLOCATED.load(Ordering::Relaxed);
    ALLOCATED.store(before.wrapping_add_signed(bytes), Ordering::Relaxed);
}

/// Bytes of memory that the kernel says we have.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// 32 bytes: a prefix shared by all, as real keys have, and a number.
fn key(i: usize) -> [u8; 32] {
    let mut key = *b"/registry/pods/ns-0/............";
    for (place, digit) in key[20..].iter_mut().rev().zip(0..) {
        *place = b'0' + (i / 10_usize.pow(digit) % 10) as u8;
    }
    key
}

/// Every number below [`KEYS`] once, in random order.
fn shuffled() -> Vec<usize> {
    let mut order: Vec<usize> = (0..KEYS).collect();
    for i in (1..KEYS).rev() {
        order.swap(i, (mix(i as u64) % (i as u64 + 1)) as usize);
    }
    order
}

fn filled(order: &[usize]) -> (Store, i64) {
    let mut store = Store::new();
    let mut revision = 1;
    for &i in order {
        revision += 1;
        let lease = Some(LeaseId::NONE);
        let put = store.apply_put(Revision(revision), Sub(0), &key(i), Some(&VALUE), lease);
        put.expect("it keeps nothing");
    }
    (store, revision)
}

/// What a key takes beyond its own 32 and 256 bytes.
fn print_memory(name: &str, order: &[usize]) {
    let (allocated, in_core) = (ALLOCATED.load(Ordering::Relaxed), resident());
    let begin = CpuTime::now();
    let (mut store, revision) = filled(order);
    let took = CpuTime::now() - begin;
    let per_key = |bytes: usize| bytes as f64 / KEYS as f64;
    let asked = || per_key(ALLOCATED.load(Ordering::Relaxed) - allocated) - 288.0;
    println!("memory per key beyond key and value, {name}:");
    println!("  {:.1} B asked of the allocator", asked());
    println!("  {:.1} B reckoned by size()", per_key(store.size().in_use as usize) - 288.0);
    match resident().saturating_sub(in_core) {
        // What an earlier store left is used again: nothing to be learnt.
        grown if per_key(grown) < 288.0 => {}
        grown => println!("  {:.1} B resident", per_key(grown) - 288.0),
    }
    println!("  filled at {:.0} ns per put", per_key(took.as_nanos() as usize));
    let begin = CpuTime::now();
    store.set_compaction(Revision(revision));
    while !store.compact_slice(Revision(revision), 512) {}
    let took = CpuTime::now() - begin;
    println!("  {:.1} B asked for when the timeline is compacted away,", asked());
    println!("  at {:.0} ns per change, nothing to drop", per_key(took.as_nanos() as usize));
}

fn store(c: &mut Criterion<CpuTime>) {
    let order = shuffled();
    let in_order: Vec<usize> = (0..KEYS).collect();
    print_memory("keys in random order", &order);
    print_memory("keys in order", &in_order);

    let (mut store, mut revision) = filled(&order);
    reads(c, &store, &order, revision);

    let requests: Vec<PutRequest> = order
        .iter()
        .map(|&i| PutRequest::of(Bytes::copy_from_slice(&key(i)), Bytes::from_static(&VALUE)))
        .collect();
    overwrites(c, &mut store, &requests, &mut revision);
    inserts(c, &mut store, &order, revision);
}

/// Puts of keys between those that are there; rolled back before they make the store larger.
fn inserts(c: &mut Criterion<CpuTime>, store: &mut Store, order: &[usize], revision: i64) {
    let requests: Vec<PutRequest> = order
        .iter()
        .map(|&i| {
            let new = [&key(i)[..], b"!"].concat();
            PutRequest::of(Bytes::from(new), Bytes::from_static(&VALUE))
        })
        .collect();
    c.bench_function("put, a new key", |b| {
        b.iter_custom(|puts| {
            let mut took = Duration::ZERO;
            let mut left = puts as usize;
            while left > 0 {
                let round = left.min(100_000);
                left -= round;
                let begin = CpuTime::now();
                for (i, request) in requests[..round].iter().enumerate() {
                    black_box(store.put(Revision(revision + 1 + i as i64), Sub(0), request));
                }
                took += CpuTime::now() - begin;
                store.roll_back(Revision(revision));
            }
            took
        });
    });
}

/// Puts of keys that exist, and the compactions that keep memory in bounds meanwhile.
fn overwrites(
    c: &mut Criterion<CpuTime>,
    store: &mut Store,
    requests: &[PutRequest],
    revision: &mut i64,
) {
    let compact = |store: &mut Store, revision: i64| {
        let begin = CpuTime::now();
        store.set_compaction(Revision(revision));
        while !store.compact_slice(Revision(revision), 512) {}
        CpuTime::now() - begin
    };
    compact(store, *revision);
    let mut next = 0;
    let (mut dropping, mut dropped) = (Duration::ZERO, 0_u128);
    c.bench_function("put, a key that exists", |b| {
        b.iter_custom(|puts| {
            let mut took = Duration::ZERO;
            let mut left = puts;
            while left > 0 {
                let round = left.min(100_000);
                left -= round;
                let begin = CpuTime::now();
                for _ in 0..round {
                    next = (next + 1) % KEYS;
                    *revision += 1;
                    black_box(store.put(Revision(*revision), Sub(0), &requests[next]));
                }
                took += CpuTime::now() - begin;
                dropping += compact(store, *revision);
                dropped += u128::from(round);
            }
            took
        });
    });
    println!("compaction: {} ns per version dropped", dropping.as_nanos() / dropped.max(1));
}

fn reads(c: &mut Criterion<CpuTime>, store: &Store, order: &[usize], revision: i64) {
    let keys: Vec<[u8; 32]> = order.iter().rev().map(|&i| key(i)).collect();
    let mut next = 0;
    for (name, at) in [("get, newest", i64::MAX), ("get, at a revision", revision)] {
        c.bench_function(name, |b| {
            b.iter(|| {
                next = (next + 1) % KEYS;
                store.get(&keys[next], Revision(at))
            });
        });
    }

    let mut group = c.benchmark_group("scan");
    let limits: [(&str, u64); 3] = [("all", 0), ("1000 keys", 1000), ("10 keys", 10)];
    for (name, limit) in limits {
        let mut next = 0;
        let count = if limit == 0 { KEYS as u64 } else { limit };
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |b| {
            b.iter(|| {
                next = (next + 1) % KEYS;
                let start = if limit == 0 { key(0) } else { key(order[next] / 2) };
                let range =
                    KeyRange { start: Bytes::copy_from_slice(&start), end: RangeEnd::Unbounded };
                let request = RangeRequest { limit, ..RangeRequest::of(range) };
                store.range(&request, Revision::NEWEST)
            });
        });
    }
    group.finish();

    let half = KeyRange {
        start: Bytes::copy_from_slice(&key(KEYS / 4)),
        end: RangeEnd::Before(Bytes::copy_from_slice(&key(KEYS * 3 / 4))),
    };
    assert_eq!(store.count(&half, Revision::NEWEST), KEYS as i64 / 2);
    for (name, below) in [("newest", 0), ("100 changes back", 100), ("10000 changes back", 10_000)]
    {
        c.bench_function(&format!("count of 500k keys, {name}"), |b| {
            b.iter(|| store.count(black_box(&half), Revision(revision - below)));
        });
    }

    c.bench_function("hash, a slice of 1000 keys", |b| {
        let mut cursor = HashCursor::new(Revision(revision));
        b.iter(|| {
            if store.hash_slice(&mut cursor, 1000).is_some() {
                cursor = HashCursor::new(Revision(revision));
            }
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    targets = store
}
criterion_main!(benches);
