//! The watch engine's targets, on one core and without sockets: what an idle watcher takes, what an
//! event costs that nobody wants, and what telling one costs.
//!
//! `cargo bench --bench watch` prints the bytes of an idle watcher, hub and shard together, then
//! the times. The hub is driven as a core drives it: shards answer at once, every event is posted
//! before stable reaches it.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use braid::types::{
    Blob, CoreId, Epoch, Event, KeyRange, KeyValue, LeaseId, Nanos, Revision, Sub, WatchCreate,
    WatchReply, WatchRequest, WatchStream,
};
use braid::watch::{Hub, HubConfig, HubEffects, HubMessage, Interest, WatchAsk};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const IDLE: usize = 1_000_000;

/// The server's allocator, counting what it is asked for.
struct Counting(mimalloc::MiMalloc);

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to mimalloc.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has this file");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number") * 4096
}

/// A hub and the index of each shard.
struct Side {
    hub: Hub,
    shards: Vec<Interest>,
    revision: i64,
    effects: HubEffects,
}

impl Side {
    fn new(shards: u16) -> Side {
        let config = HubConfig {
            shards,
            seed: 0x5a17,
            progress_interval: 600_000_000_000,
            limits: Default::default(),
        };
        let mut hub = Hub::new(config);
        hub.opened(Epoch(1), Revision(1));
        let shards = (0..shards).map(|_| Interest::new(0x5a17)).collect();
        let mut side = Side { hub, shards, revision: 1, effects: HubEffects::default() };
        side.turn();
        side
    }

    fn turn(&mut self) {
        let Side { hub, shards, revision, effects } = self;
        loop {
            for (shard, ask) in std::mem::take(&mut effects.asks) {
                let interest = &mut shards[usize::from(shard.0)];
                match ask {
                    WatchAsk::Add { topic, keys } => {
                        interest.add(keys, CoreId(0));
                        let (epoch, newest) = (Epoch(1), Revision(*revision));
                        hub.receive(shard, HubMessage::Added { topic, epoch, newest }, effects);
                    }
                    WatchAsk::Drop { keys } => interest.drop(&keys, CoreId(0)),
                    WatchAsk::History(_) => unreachable!("nobody is behind"),
                }
            }
            hub.advance(Revision(*revision), effects);
            if effects.asks.is_empty() {
                return;
            }
        }
    }

    fn watch(&mut self, stream: WatchStream, range: KeyRange) {
        let create = WatchCreate::of(range, 0);
        let stable = Revision(self.revision);
        self.hub.ask(stream, WatchRequest::Create(create), stable, &mut self.effects);
        self.turn();
    }

    /// `count` watchers on `streams` streams.
    fn fill(&mut self, count: usize, streams: usize, range: impl Fn(usize) -> KeyRange) {
        let streams: Vec<_> = (0..streams).map(|_| self.hub.open(Nanos(0))).collect();
        for i in 0..count {
            self.watch(streams[i % streams.len()], range(i));
        }
        self.effects.replies = Vec::new();
    }

    /// One turn in which these keys were put, a revision each; what clients were told and took.
    fn put(&mut self, keys: &[Blob], value: &Blob) -> usize {
        let (shards, after) = (self.shards.len() as u16, Revision(self.revision));
        for key in keys {
            self.revision += 1;
            let shard = braid::types::placement::shard_of(key, shards);
            if self.shards[usize::from(shard.0)].cores_of(key).is_empty() {
                continue;
            }
            let event = event(key, value, self.revision);
            let (epoch, after) = (Epoch(1), Revision(self.revision - 1).max(after));
            let told = HubMessage::Events { epoch, after, events: vec![event] };
            self.hub.receive(shard, told, &mut self.effects);
        }
        self.turn();
        let mut events = 0;
        for (stream, reply) in self.effects.replies.drain(..) {
            if let WatchReply::Events(told) = reply {
                events += told.events.len();
                self.hub.sent(stream, told.bytes);
            }
        }
        events
    }
}

fn event(key: &Blob, value: &Blob, revision: i64) -> Arc<Event> {
    let put = KeyValue {
        key: key.clone(),
        value: value.clone(),
        create: 2,
        modified: revision,
        version: revision - 1,
        lease: LeaseId::NONE,
    };
    Arc::new(Event::new(Revision(revision), Sub(0), key.clone(), Some(put), None))
}

fn key(i: usize) -> String {
    format!("/registry/pods/default/{i:09}")
}

fn one(i: usize) -> KeyRange {
    KeyRange::single(Bytes::from(key(i)))
}

fn prefix(i: usize) -> KeyRange {
    KeyRange::from_api(Bytes::from(format!("{}/", key(i))), Bytes::from(format!("{}0", key(i))))
}

/// What an idle watcher takes, in bytes.
fn bytes_of_idle(_: &mut Criterion) {
    let print = |what: &str, shards: u16, streams: usize, range: &dyn Fn(usize) -> KeyRange| {
        let mut side = Side::new(shards);
        let (allocated, before) = (ALLOCATED.load(Ordering::Relaxed), resident());
        side.fill(IDLE, streams, range);
        let allocated = (ALLOCATED.load(Ordering::Relaxed) - allocated) / IDLE;
        let resident = resident().saturating_sub(before) / IDLE;
        println!("idle watcher, {what}: {allocated} B allocated, {resident} B resident");
        drop(black_box(side));
    };
    print("a key of 32 bytes each, 1000 streams", 2, 1000, &one);
    print("a key of 32 bytes each, a stream each", 2, IDLE, &one);
    print("one key, 1000 streams", 2, 1000, &|_| one(0));
    print("a prefix of 33 bytes each, 1000 streams, 2 shards", 2, 1000, &prefix);
}

fn an_event_nobody_wants(criterion: &mut Criterion) {
    let mut interest = Interest::new(7);
    for i in 0..100_000 {
        interest.add(braid::watch::Keys::of(&one(i)), CoreId(0));
    }
    let mut group = criterion.benchmark_group("an event among watchers of other keys");
    let stranger = key(200_000);
    group.bench_function("100k keys", |bencher| {
        bencher.iter(|| interest.cores_of(black_box(stranger.as_bytes())));
    });
    for i in 0..100_000 {
        interest.add(braid::watch::Keys::of(&prefix(i)), CoreId(0));
    }
    group.bench_function("100k keys and 100k prefixes", |bencher| {
        bencher.iter(|| interest.cores_of(black_box(stranger.as_bytes())));
    });
    group.finish();
}

fn telling(criterion: &mut Criterion) {
    let value = Blob::from(&[0x5a; 256][..]);
    let mut group = criterion.benchmark_group("telling");
    let mut side = Side::new(2);
    side.fill(10_000, 100, |_| one(0));
    let hot = [Blob::from(key(0).into_bytes())];
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("one event to 10,000 watchers of its key", |bencher| {
        bencher.iter(|| assert_eq!(side.put(&hot, &value), 10_000));
    });

    let mut side = Side::new(2);
    side.fill(1000, 100, one);
    let keys: Vec<Blob> = (0..1000).map(|i| Blob::from(key(i).into_bytes())).collect();
    let mut turn = 0;
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 events to watchers of a key each, of 1000", |bencher| {
        bencher.iter(|| {
            turn += 1;
            let at = turn * 64 % 900;
            assert_eq!(side.put(&keys[at..at + 64], &value), 64);
        });
    });

    let mut side = Side::new(2);
    side.fill(100, 100, |_| KeyRange::all());
    group.throughput(Throughput::Elements(6400));
    group.bench_function("64 events to 100 watchers of every key", |bencher| {
        bencher.iter(|| assert_eq!(side.put(&keys[..64], &value), 6400));
    });
    group.finish();
}

criterion_group! {
    name = watch;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .without_plots();
    targets = bytes_of_idle, an_event_nobody_wants, telling
}
criterion_main!(watch);
