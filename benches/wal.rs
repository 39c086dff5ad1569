//! The log alone: encoding a batch, flushing one, reading a log back.
//!
//! `WAL_BENCH_DIR` chooses the disk (default: `target/`), `WAL_BENCH_READ_MIB` the length of the
//! log that is read (default 256).

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use braid::rt::{DiskReader, DiskRing, DiskSettings};
use braid::types::{ClusterId, EntryKind, GroupId, LogEntry, LogIndex, MemberId, Term};
use braid::wal::{Config, DiskOp, DiskOutcome, Log, Owner, recover};

const GROUP: GroupId = GroupId(1);
const BATCH_BYTES: usize = 16 << 10;

fn config() -> Config {
    Config::new(Owner { cluster: ClusterId(1), member: MemberId(2), group: GROUP, salt: 3 })
}

/// One entry that fills a batch of 16 KiB.
fn entry(index: u64, bytes: usize) -> LogEntry {
    let data = Bytes::from(vec![index as u8; bytes]);
    LogEntry { index: LogIndex(index), term: Term(1), kind: EntryKind::Normal, data }
}

struct Disk {
    ring: DiskRing,
    wake: File,
}

impl Disk {
    fn open(root: &Path) -> Disk {
        // SAFETY: no pointer is passed; the descriptor belongs to nobody else.
        let wake = unsafe { File::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let settings = DiskSettings { zero_bytes_per_second: 1 << 40, ..DiskSettings::default() };
        let ring = DiskRing::open(root, &wake, settings).expect("the disk opens");
        if let Some(warning) = ring.warning() {
            println!("warning: {warning}");
        }
        Disk { ring, wake }
    }

    /// Until everything appended is durable.
    fn persist(&mut self, log: &mut Log, ticket: u64) {
        let mut done = Vec::new();
        while log.persisted() < ticket {
            while let Some((id, op)) = log.poll() {
                self.ring.submit((GROUP, id), op);
            }
            self.ring.flush();
            self.wake.read_exact(&mut [0; 8]).expect("the eventfd is read");
            self.ring.completions(&mut done);
            for ((_, id), outcome) in done.drain(..) {
                log.done(id, outcome).expect("the disk works");
            }
        }
    }
}

fn directory() -> tempfile::TempDir {
    let parent = std::env::var_os("WAL_BENCH_DIR").map_or("target".into(), PathBuf::from);
    fs::create_dir_all(&parent).expect("the directory can be made");
    tempfile::tempdir_in(parent).expect("the directory can be written")
}

fn open(root: &Path) -> Log {
    let reader = DiskReader::new(root);
    let opened = recover(&reader, config()).expect("the log opens");
    opened.log.finish().expect("the log opens").log
}

/// Queue, copy, checksum; a disk that takes no time.
fn encode(criterion: &mut Criterion) {
    let root = directory();
    let mut log = open(root.path());
    let mut index = 0;
    let mut group = criterion.benchmark_group("wal");
    group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
    let data = Bytes::from(vec![7; BATCH_BYTES - 200]);
    group.bench_function("encode 16 KiB batch", |bencher| {
        bencher.iter(|| {
            index += 1;
            let (term, kind, data) = (Term(1), EntryKind::Normal, data.clone());
            log.append(index, &[LogEntry { index: LogIndex(index), term, kind, data }], None);
            log.truncate(LogIndex(index));
            while let Some((id, op)) = log.poll() {
                let buffer = match black_box(op) {
                    DiskOp::WriteBatch { buffer, .. } => Some(buffer),
                    _ => None,
                };
                log.done(id, DiskOutcome::Done(buffer)).expect("this disk works");
            }
        });
    });
}

/// One batch at a time, until it is durable.
fn flush(criterion: &mut Criterion) {
    let root = directory();
    let mut disk = Disk::open(root.path());
    let mut log = open(root.path());
    let mut index = 0;
    let mut latencies: Vec<Duration> = Vec::new();
    let mut group = criterion.benchmark_group("wal");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.bench_function("flush 16 KiB batch", |bencher| {
        bencher.iter(|| {
            index += 1;
            let begun = Instant::now();
            log.append(index, &[entry(index, BATCH_BYTES - 200)], None);
            disk.persist(&mut log, index);
            latencies.push(begun.elapsed());
            log.truncate(LogIndex(index));
        });
    });
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
    println!(
        "flush 16 KiB: p50 {:?} p99 {:?} p99.9 {:?} max {:?} of {}; {:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        latencies.len(),
        disk.ring.counters()
    );
}

/// A log of puts of 256 B in batches of about 64 KiB, read to its end and opened for writing.
fn read(criterion: &mut Criterion) {
    let root = directory();
    let mib: u64 = std::env::var("WAL_BENCH_READ_MIB")
        .map_or(256, |text| text.parse().expect("WAL_BENCH_READ_MIB is a number"));
    let mut disk = Disk::open(root.path());
    let mut log = open(root.path());
    let mut ticket = 0;
    while log.log_bytes() < mib << 20 {
        ticket += 1;
        // An entry is what waited at one turn: 16 requests of 256 B with key and header.
        let entries: Vec<_> = (0..14).map(|one| entry(ticket * 14 - 13 + one, 16 * 290)).collect();
        log.append(ticket, &entries, None);
        disk.persist(&mut log, ticket);
    }
    drop(disk);
    let mut group = criterion.benchmark_group("wal");
    group.throughput(Throughput::Bytes(log.log_bytes()));
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    group.bench_function(format!("read a log of {mib} MiB"), |bencher| {
        bencher.iter(|| {
            let reader = DiskReader::new(root.path());
            let mut opened = recover(&reader, config()).expect("the log opens").log;
            let mut items = Vec::new();
            while opened.next_batch(&mut items).expect("the log is good") {
                black_box(&items);
                items.clear();
            }
            opened.finish().expect("the log is good").last
        });
    });
}

criterion_group!(benches, encode, flush, read);
criterion_main!(benches);
