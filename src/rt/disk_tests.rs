//! Logs and checkpoints on a real disk, below `target/`.

use std::io::Read;

use bytes::Bytes;

use super::*;
use crate::rt::DiskReader;
use crate::types::{ClusterId, EntryKind, HardState, LogEntry, LogIndex, MemberId, Revision, Term};
use crate::wal::{BLOCK_BYTES, CheckpointEnd, CheckpointHeader, Config, Item, Log, Owner, recover};

const GROUP: GroupId = GroupId(1);

fn config() -> Config {
    let owner = Owner { cluster: ClusterId(1), member: MemberId(2), group: GROUP, salt: 3 };
    let mut config = Config::with_sizes(owner, 1 << 20, 64 << 10);
    config.segment_bytes_min = config.segment_bytes;
    config
}

/// A directory below `target/`: on the disk that the code is on, not in memory.
fn directory() -> tempfile::TempDir {
    fs::create_dir_all("target").unwrap();
    tempfile::tempdir_in("target").unwrap()
}

struct Bench {
    disk: DiskRing,
    wake: File,
    done: Vec<(DiskTag, DiskOutcome)>,
}

impl Bench {
    fn open(root: &Path) -> Bench {
        // SAFETY: no pointer is passed; the descriptor belongs to nobody else.
        let wake = unsafe { File::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let disk = DiskRing::open(root, &wake, DiskSettings::default()).unwrap();
        Bench { disk, wake, done: Vec::new() }
    }

    /// Waits until something has ended.
    fn wait(&mut self) -> Vec<(DiskTag, DiskOutcome)> {
        self.disk.flush();
        loop {
            self.disk.completions(&mut self.done);
            if !self.done.is_empty() {
                return std::mem::take(&mut self.done);
            }
            self.wake.read_exact(&mut [0; 8]).unwrap();
        }
    }

    fn settle(&mut self, log: &mut Log) {
        let mut in_flight = 0;
        loop {
            while let Some((id, op)) = log.poll() {
                self.disk.submit((GROUP, id), op);
                in_flight += 1;
            }
            if in_flight == 0 {
                assert!(self.disk.is_idle());
                return;
            }
            for ((_, id), outcome) in self.wait() {
                log.done(id, outcome).unwrap();
                in_flight -= 1;
            }
        }
    }
}

fn entry(index: u64, bytes: usize) -> LogEntry {
    let data = Bytes::from(vec![index as u8; bytes]);
    LogEntry { index: LogIndex(index), term: Term(1), kind: EntryKind::Normal, data }
}

fn entries(root: &Path) -> (Vec<LogEntry>, Log) {
    let reader = DiskReader::new(root);
    let mut log = recover(&reader, config()).unwrap().log;
    let mut items = Vec::new();
    while log.next_batch(&mut items).unwrap() {}
    let entries = items.into_iter().filter_map(|item| match item {
        Item::Entry(entry) => Some(entry),
        _ => None,
    });
    (entries.collect(), log.finish().unwrap().log)
}

#[test]
fn each_batch_is_one_flush_and_nothing_else_syncs_on_its_path() {
    let root = directory();
    let mut bench = Bench::open(root.path());
    assert_eq!(bench.disk.warning(), None, "these counts need a disk with direct writes");
    let mut log = entries(root.path()).1;
    log.append(1, &[entry(1, 100)], Some(HardState { term: Term(1), ..HardState::default() }));
    bench.settle(&mut log);
    let before = bench.disk.counters();
    for ticket in 2..=40 {
        log.append(ticket, &[entry(2 * ticket - 2, 300), entry(2 * ticket - 1, 300)], None);
        bench.settle(&mut log);
    }
    let after = bench.disk.counters();
    assert_eq!(log.persisted(), 40);
    assert_eq!(log.counters().batches, 40);
    assert_eq!((after.batches, after.writes, after.registered), (40, 40, 40));
    assert_eq!((after.syncs, after.background_syncs), (0, before.background_syncs));
    assert_eq!(after.bytes, 41 * BLOCK_BYTES as u64, "40 batches and a segment's header");
    drop(bench);
    let expected: Vec<_> =
        [entry(1, 100)].into_iter().chain((2..80).map(|index| entry(index, 300))).collect();
    assert_eq!(entries(root.path()).0, expected);
}

#[test]
fn segments_are_made_recycled_and_removed_and_the_log_goes_on_after_a_restart() {
    let root = directory();
    let mut next = 1;
    for _ in 0..3 {
        let mut bench = Bench::open(root.path());
        let reader = DiskReader::new(root.path());
        let from = LogIndex(u64::max(next, 6) - 6);
        let reading = crate::wal::Reader::open(&reader, config(), (from, Term(1))).unwrap();
        let mut log = reading.finish().unwrap().log;
        for ticket in 1..=150 {
            log.append(ticket, &[entry(next, 50_000)], None);
            bench.settle(&mut log);
            log.truncate(LogIndex(next.saturating_sub(5)));
            next += 1;
        }
        bench.settle(&mut log);
        assert!(log.counters().segments_recycled >= 4, "{:?}", log.counters());
        let names = fs::read_dir(root.path().join("group-001/wal")).unwrap().count();
        assert!(names <= 4, "{names} files");
    }
}

#[test]
fn without_dsync_each_write_is_followed_by_one_sync() {
    let root = directory();
    let mut bench = Bench::open(root.path());
    bench.disk.mode = DiskMode { direct: false, dsync: false };
    let mut log = entries(root.path()).1;
    for ticket in 1..=10 {
        log.append(ticket, &[entry(ticket, 100)], None);
        bench.settle(&mut log);
    }
    let counters = bench.disk.counters();
    assert_eq!((counters.batches, counters.writes, counters.syncs), (10, 10, 10));
    assert_eq!(entries(root.path()).0.len(), 10);
}

#[test]
fn logs_of_several_groups_write_at_the_same_time() {
    let root = directory();
    let mut bench = Bench::open(root.path());
    let mut logs = BTreeMap::new();
    for group in 0..6 {
        let owner = Owner { group: GroupId(group), ..config().owner };
        let mut config = Config::with_sizes(owner, 256 << 10, 16 << 10);
        config.segment_bytes_min = config.segment_bytes;
        let reader = DiskReader::new(root.path());
        let mut log = recover(&reader, config).unwrap().log.finish().unwrap().log;
        (1..=20).for_each(|ticket| log.append(ticket, &[entry(ticket, 9000)], None));
        logs.insert(GroupId(group), log);
    }
    while logs.values().any(|log| log.persisted() < 20) {
        for (&group, log) in &mut logs {
            while let Some((id, op)) = log.poll() {
                bench.disk.submit((group, id), op);
            }
        }
        for ((group, id), outcome) in bench.wait() {
            logs.get_mut(&group).unwrap().done(id, outcome).unwrap();
        }
    }
    assert_eq!(bench.disk.counters().batches, 6 * 20);
}

#[test]
fn a_segment_that_does_not_fit_is_full_and_a_missing_one_is_a_failure() {
    let root = directory();
    let mut bench = Bench::open(root.path());
    let path: DiskPath = "group-001/wal/00000001.seg".into();
    let op = DiskOp::PrepareSegment { path: path.clone(), bytes: 1 << 60, recycle: None };
    bench.disk.submit((GROUP, OpId(1)), op);
    assert!(matches!(bench.wait()[..], [((GROUP, OpId(1)), DiskOutcome::Full)]));
    let left = fs::read_dir(root.path().join("group-001/wal")).unwrap().count();
    assert_eq!(left, 0, "nothing is left behind");
    let mut buffer = AlignedBuf::with_capacity(BLOCK_BYTES);
    buffer.extend(&[1; BLOCK_BYTES]);
    let op = DiskOp::WriteBatch { path, offset: 0, buffer };
    bench.disk.submit((GROUP, OpId(2)), op);
    match &bench.wait()[..] {
        [((GROUP, OpId(2)), DiskOutcome::Failed(what))] => {
            assert!(what.contains("00000001.seg") && what.contains("No such file"), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_checkpoint_is_published_whole_and_read_back() {
    let root = directory();
    let mut bench = Bench::open(root.path());
    let reader = DiskReader::new(root.path());
    let opened = recover(&reader, config()).unwrap();
    let (mut checkpoints, mut log) = (opened.checkpoints, opened.log.finish().unwrap().log);
    let entries: Vec<_> = (1..=5).map(|index| entry(index, 10)).collect();
    log.append(1, &entries, None);
    bench.settle(&mut log);
    let header = CheckpointHeader {
        index: LogIndex(5),
        term: Term(1),
        stable: Revision(9),
        compact: Revision(2),
        opens: vec![(crate::types::Epoch(3), Revision(4))],
        attachment: Bytes::from_static(b"members"),
    };
    checkpoints.begin(&header);
    let mut pushed = 0u32;
    let published = loop {
        while checkpoints.wants_chunk() {
            checkpoints.push(&vec![pushed as u8; 100_000]);
            pushed += 1;
            if pushed == 200 {
                checkpoints.finish();
            }
        }
        while let Some((id, op)) = checkpoints.poll() {
            bench.disk.submit((GROUP, id), op);
        }
        let (tag, outcome) = bench.wait().pop().unwrap();
        if let Some(end) = checkpoints.done(tag.1, outcome).unwrap() {
            break end;
        }
    };
    let CheckpointEnd::Published { index: LogIndex(5), bytes } = published else {
        panic!("{published:?}");
    };
    let mut found = recover(&reader, config()).unwrap().checkpoint.unwrap();
    assert_eq!((found.header(), found.file_bytes()), (&header, bytes));
    let mut chunks = 0;
    while let Some(chunk) = found.next_chunk().unwrap() {
        assert!(chunk.len() == 100_000 && chunk.iter().all(|&byte| byte == chunks as u8));
        chunks += 1;
    }
    assert_eq!(chunks, pushed);
}

#[test]
fn a_directory_in_memory_is_warned_about_and_works() {
    let Ok(root) = tempfile::tempdir_in("/dev/shm") else { return };
    let mut bench = Bench::open(root.path());
    let warning = bench.disk.warning().expect("it is in memory").to_string();
    assert!(warning.contains("a restart of the machine loses everything"), "{warning}");
    let mut log = entries(root.path()).1;
    log.append(1, &[entry(1, 100)], None);
    bench.settle(&mut log);
    assert_eq!(entries(root.path()).0, [entry(1, 100)]);
}
