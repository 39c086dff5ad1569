//! The log on a disk in memory: cases by name. `crash_tests` has the random ones.

use bytes::Bytes;

use super::*;
use crate::types::{EntryKind, Revision};
use crate::wal::fake::{FakeDisk, OWNER};
use crate::wal::{Damage, Item, OpenError, Owner, Reader, Recovered, Recovery, recover};

const SEGMENT: u64 = 64 << 10;
const BATCH: usize = 8 << 10;

/// All segments have one size, so that batches are in known places.
fn config() -> Config {
    config_of(OWNER)
}

fn config_of(owner: Owner) -> Config {
    let mut config = Config::with_sizes(owner, SEGMENT, BATCH);
    config.segment_bytes_min = SEGMENT;
    config
}

fn entry(index: u64, term: u64, bytes: usize) -> LogEntry {
    let data = Bytes::from(vec![index as u8; bytes]);
    LogEntry { index: LogIndex(index), term: Term(term), kind: EntryKind::Normal, data }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: 7, commit: LogIndex(commit) }
}

fn open(disk: &FakeDisk) -> Result<(Vec<Item>, Recovered), OpenError> {
    let Recovery { mut log, .. } = recover(disk, config())?;
    let mut items = Vec::new();
    while log.next_batch(&mut items)? {}
    Ok((items, log.finish()?))
}

/// Does everything the log wants.
fn settle(log: &mut Log, disk: &mut FakeDisk) {
    while let Some((id, op)) = log.poll() {
        let outcome = disk.apply(op);
        log.done(id, outcome).unwrap();
    }
}

/// One batch for each entry of `bytes` bytes.
fn filled(disk: &mut FakeDisk, count: u64, bytes: usize) -> Log {
    let mut log = open(disk).unwrap().1.log;
    for index in 1..=count {
        log.append(index, &[entry(index, 1, bytes)], (index == 1).then(|| state(1, 0)));
        settle(&mut log, disk);
    }
    log
}

fn indexes(items: &[Item]) -> Vec<u64> {
    let index = |item: &Item| match item {
        Item::Entry(entry) => Some(entry.index.0),
        _ => None,
    };
    items.iter().filter_map(index).collect()
}

fn damage(disk: &FakeDisk) -> Damage {
    match open(disk) {
        Err(OpenError::Damage(damage)) => damage,
        Err(other) => panic!("{other}"),
        Ok((items, _)) => panic!("opened with {:?}", indexes(&items)),
    }
}

const FIRST: &str = "group-001/wal/00000001.seg";
const SECOND: &str = "group-001/wal/00000002.seg";

#[test]
fn what_waits_goes_out_in_one_batch_and_only_then_counts_as_persisted() {
    let mut disk = FakeDisk::default();
    let mut log = open(&disk).unwrap().1.log;
    log.append(1, &[entry(1, 1, 100), entry(2, 1, 100)], Some(state(1, 0)));
    log.append(2, &[], Some(state(1, 2)));
    let (prepare, op) = log.poll().unwrap();
    assert!(matches!(op, DiskOp::PrepareSegment { bytes: SEGMENT, recycle: None, .. }));
    assert!(log.poll().is_none() && !log.is_prepared());
    let outcome = disk.apply(op);
    log.done(prepare, outcome).unwrap();
    let (write, op) = log.poll().unwrap();
    log.append(3, &[entry(3, 1, 100)], None);
    assert!(log.poll().is_none(), "one batch at a time");
    assert_eq!(log.persisted(), 0);
    let outcome = disk.apply(op);
    log.done(write, outcome).unwrap();
    assert_eq!(log.persisted(), 2);
    settle(&mut log, &mut disk);
    assert_eq!(log.persisted(), 3);
    log.append(4, &[], None);
    assert_eq!(log.persisted(), 4, "nothing to write, nothing to wait for");
    assert_eq!(disk.writes, [8192, 4096]);
    let counters = log.counters();
    assert_eq!((counters.batches, counters.bytes, counters.records), (2, 12288, 6));

    let (items, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&items), [1, 2, 3]);
    assert_eq!(recovered.hard_state, state(1, 2));
    assert!(!recovered.tail.torn);
}

#[test]
fn a_failed_write_is_the_end() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    log.append(2, &[entry(2, 1, 10)], None);
    let (id, _) = log.poll().unwrap();
    let error = log.done(id, DiskOutcome::Failed("seg: I/O error".into())).unwrap_err();
    assert_eq!(error, Fatal("seg: I/O error".into()));
}

#[test]
fn a_full_disk_shows_when_a_segment_is_prepared_and_goes_away_again() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    disk.full = true;
    for index in 2..=20 {
        log.append(index, &[entry(index, 1, 5000)], None);
        settle(&mut log, &mut disk);
    }
    assert!(log.is_full());
    assert_eq!(log.persisted(), 8, "what was left of the segment is used");
    log.retry();
    settle(&mut log, &mut disk);
    assert!(log.is_full());
    disk.full = false;
    log.retry();
    settle(&mut log, &mut disk);
    assert!(!log.is_full());
    assert_eq!(log.persisted(), 20);
    assert_eq!(indexes(&open(&disk).unwrap().0), (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_large_append_is_split_with_the_vote_before_and_the_commit_after_its_entries() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    let entries: Vec<_> = (2..=6).map(|index| entry(index, 2, 5000)).collect();
    log.append(2, &entries, Some(state(2, 6)));
    let mut batches = Vec::new();
    while let Some((id, op)) = log.poll() {
        let writes = matches!(op, DiskOp::WriteBatch { .. });
        assert!(log.persisted() == 1 || !writes);
        let outcome = disk.apply(op);
        log.done(id, outcome).unwrap();
        let (items, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.hard_state.term, Term(2), "the vote is there first");
        batches.push((items.len(), recovered.hard_state.commit.0));
    }
    assert_eq!(log.persisted(), 2);
    assert_eq!(batches.first(), Some(&(5, 0)));
    assert_eq!(batches.iter().map(|batch| batch.1).max(), Some(6));
    assert!(batches[..4].iter().all(|batch| batch.1 == 0), "{batches:?}");
}

#[test]
fn an_entry_larger_than_a_batch_goes_alone() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    let largest = config().record_bytes_max() - 24;
    log.append(2, &[entry(2, 1, largest)], None);
    log.append(3, &[entry(3, 1, 10)], None);
    settle(&mut log, &mut disk);
    assert_eq!(log.persisted(), 3);
    assert_eq!(indexes(&open(&disk).unwrap().0), [1, 2, 3]);
}

/// 256 KiB of bytes that differ from place to place: four segments' worth.
fn very_large(index: u64) -> LogEntry {
    let data = (0..256u32 << 10).map(|at| (at / 251) as u8).collect::<Vec<u8>>();
    LogEntry { data: Bytes::from(data), ..entry(index, 1, 0) }
}

fn entries(items: &[Item]) -> Vec<LogEntry> {
    let entry = |item: &Item| match item {
        Item::Entry(entry) => Some(entry.clone()),
        _ => None,
    };
    items.iter().filter_map(entry).collect()
}

#[test]
fn an_entry_larger_than_a_segment_goes_in_parts_and_counts_with_the_last() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    log.append(2, &[very_large(2), entry(3, 1, 10)], Some(state(1, 3)));
    let mut found = Vec::new();
    while let Some((id, op)) = log.poll() {
        found.extend((log.persisted() == 1).then(|| indexes(&open(&disk).unwrap().0)));
        let outcome = disk.apply(op);
        log.done(id, outcome).unwrap();
    }
    assert_eq!(log.persisted(), 2);
    let without = found.iter().filter(|found| **found == [1]).count();
    assert!(without > 8, "{without}");
    assert!(found[without..].iter().all(|found| *found == [1, 2]), "{found:?}");
    let write_max = config().record_bytes_max() + 2 * BLOCK_BYTES;
    assert!(disk.writes.iter().all(|bytes| *bytes <= write_max), "{:?}", disk.writes);
    let (items, recovered) = open(&disk).unwrap();
    assert_eq!(entries(&items)[1..], [very_large(2), entry(3, 1, 10)]);
    assert_eq!(recovered.hard_state, state(1, 3));
}

#[test]
fn what_a_crash_leaves_of_an_entry_in_parts_is_void_and_its_place_is_taken_again() {
    for cut in 1.. {
        let mut disk = FakeDisk::default();
        let mut log = filled(&mut disk, 1, 100);
        log.append(2, &[very_large(2)], None);
        for _ in 0..cut {
            let Some((id, op)) = log.poll() else { break };
            let outcome = disk.apply(op);
            log.done(id, outcome).unwrap();
        }
        if log.persisted() == 2 {
            assert!(cut > 8);
            return;
        }
        // Either something small comes in its place, or the same again.
        for second in [entry(2, 2, 50), very_large(2)] {
            let mut disk = disk.clone();
            let mut log = open(&disk).unwrap().1.log;
            log.append(1, std::slice::from_ref(&second), Some(state(2, 1)));
            log.append(2, &[entry(3, 2, 5000)], None);
            settle(&mut log, &mut disk);
            let (items, recovered) = open(&disk).unwrap();
            assert_eq!(entries(&items), [entry(1, 1, 100), second, entry(3, 2, 5000)]);
            assert_eq!(recovered.hard_state, state(2, 1));
        }
    }
}

#[test]
fn a_segment_goes_only_when_no_entry_that_counts_begins_in_it() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 1, 100);
    log.append(2, &[very_large(2), entry(3, 1, 100)], Some(state(1, 3)));
    settle(&mut log, &mut disk);
    let files = disk.files.len();
    let from = |disk: &FakeDisk, covered: u64| {
        let mut reader = Reader::open(disk, config(), (LogIndex(covered), Term(1))).unwrap();
        let mut items = Vec::new();
        while reader.next_batch(&mut items).unwrap() {}
        entries(&items)
    };
    log.truncate(LogIndex(2));
    settle(&mut log, &mut disk);
    assert!(disk.files.contains_key(FIRST), "entry 2 begins there");
    assert_eq!(from(&disk, 1)[1..], [very_large(2), entry(3, 1, 100)]);
    log.truncate(LogIndex(3));
    settle(&mut log, &mut disk);
    assert!(disk.files.len() < files && !disk.files.contains_key(FIRST));
    assert_eq!(from(&disk, 2), [entry(3, 1, 100)]);
    let refused = Reader::open(&disk, config(), (LogIndex(1), Term(1))).err().unwrap();
    assert!(refused.to_string().contains("but 2 is needed"), "{refused}");
}

/// As a release before this one left it.
#[test]
fn a_segment_of_version_1_is_read_and_written_to_no_more() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 3, 100);
    let first = disk.files.get_mut(FIRST).unwrap();
    assert_eq!(first[12..16], SEGMENT_VERSION.to_le_bytes());
    first[12..16].copy_from_slice(&1u32.to_le_bytes());
    let crc = crc32fast::hash(&first[12..512]);
    first[8..12].copy_from_slice(&crc.to_le_bytes());
    let old = first.clone();
    let (items, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&items), [1, 2, 3]);
    let mut log = recovered.log;
    log.append(1, &[entry(4, 1, 100)], None);
    settle(&mut log, &mut disk);
    log.append(2, &[very_large(5)], None);
    settle(&mut log, &mut disk);
    assert!(disk.files[FIRST] == old);
    let (items, recovered) = open(&disk).unwrap();
    assert_eq!(entries(&items)[3..], [entry(4, 1, 100), very_large(5)]);
    assert!(!recovered.tail.torn);
}

#[test]
fn truncated_segments_are_recycled_and_a_restart_reads_what_is_left() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 200, 5000);
    let prepared = disk.files.len() as u64;
    assert_eq!(log.counters().segments_prepared, prepared);
    for index in 201..=1000 {
        log.append(index, &[entry(index, 1, 5000)], Some(state(1, index - 1)));
        settle(&mut log, &mut disk);
        log.truncate(LogIndex(index - 20));
        settle(&mut log, &mut disk);
    }
    assert!(disk.files.len() <= 6, "{:?}", disk.files.keys());
    assert!(log.counters().segments_recycled > 50);
    assert_eq!(log.counters().segments_prepared, prepared, "no new file is made any more");
    assert!(log.log_bytes() < 5 * SEGMENT);
    assert!(log.first_index() <= LogIndex(980));
    // There is no checkpoint: the log alone does not reach back far enough.
    let damage = damage(&disk);
    assert!(damage.what.starts_with("the log begins at index 9"), "{damage}");
    let mut reader = Reader::open(&disk, config(), (LogIndex(979), Term(1))).unwrap();
    let mut items = Vec::new();
    while reader.next_batch(&mut items).unwrap() {}
    assert_eq!(items[0], Item::HardState(state(1, indexes(&items)[0] - 2)), "carried over");
    assert!(indexes(&items)[0] <= 980 && indexes(&items).last() == Some(&1000));
}

#[test]
fn a_restart_voids_what_was_there_and_needs_its_checkpoint() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 3, 100);
    log.restart(4, LogIndex(50), Term(2), Some(state(2, 50)));
    log.append(5, &[entry(51, 2, 100)], None);
    settle(&mut log, &mut disk);
    assert!(damage(&disk).what.contains("begins again after index 50"));
    let mut reader = Reader::open(&disk, config(), (LogIndex(50), Term(2))).unwrap();
    let mut items = Vec::new();
    while reader.next_batch(&mut items).unwrap() {}
    assert!(items.contains(&Item::Restart { index: LogIndex(50), term: Term(2) }));
    assert_eq!(indexes(&items), [1, 2, 3, 51]);
    assert_eq!(reader.finish().unwrap().last, LogIndex(51));
}

#[test]
fn a_commit_noted_rides_with_the_next_batch_and_never_exceeds_the_log() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 3, 100);
    log.note_commit(LogIndex(9));
    assert!(log.poll().is_none(), "it is not worth a write");
    log.append(4, &[entry(4, 1, 10)], None);
    settle(&mut log, &mut disk);
    assert_eq!(open(&disk).unwrap().1.hard_state, state(1, 4));
}

#[test]
fn replaced_entries_are_named() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 5, 100);
    log.append(6, &[entry(3, 2, 50), entry(4, 2, 50)], Some(state(2, 3)));
    settle(&mut log, &mut disk);
    let (items, recovered) = open(&disk).unwrap();
    assert_eq!(indexes(&items), [1, 2, 3, 4, 5, 3, 4]);
    let superseded = items.iter().position(|item| matches!(item, Item::Superseded { .. }));
    assert_eq!(items[superseded.unwrap()], Item::Superseded { from: LogIndex(3) });
    assert_eq!(recovered.last, LogIndex(4));
}

// What a disk may do wrong. In `filled` with 100 bytes, batch 1 is at 4096 and each later one a
// block further on.

fn block(disk: &FakeDisk, path: &str, number: usize) -> Vec<u8> {
    disk.files[path][number * 4096..(number + 1) * 4096].to_vec()
}

fn put(disk: &mut FakeDisk, path: &str, number: usize, block: &[u8]) {
    disk.files.get_mut(path).unwrap()[number * 4096..(number + 1) * 4096].copy_from_slice(block);
}

#[test]
fn any_flipped_bit_before_the_last_batch_stops_the_start_and_names_the_place() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 4, 100);
    // Each batch has 56 + 24 + 100 bytes; the first has two hard states more.
    for (offset, bytes) in [(4096, 56 + 32 + 124 + 32), (8192, 180), (12288, 180)] {
        for bit in 0..bytes * 8 {
            let byte = offset + bit / 8;
            disk.files.get_mut(FIRST).unwrap()[byte] ^= 1 << (bit % 8);
            let damage = damage(&disk);
            assert_eq!((&*damage.file, damage.offset), (FIRST, offset as u64), "{damage}");
            disk.files.get_mut(FIRST).unwrap()[byte] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn the_last_batch_is_cut_when_it_is_bad_but_not_once_it_is_sealed() {
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 4, 100);
    for bit in 0..180 * 8 {
        let mut disk = disk.clone();
        disk.files.get_mut(FIRST).unwrap()[16384 + bit / 8] ^= 1 << (bit % 8);
        let (items, recovered) = open(&disk).unwrap();
        assert_eq!(indexes(&items), [1, 2, 3]);
        assert_eq!(recovered.tail.offset, 16384);
        assert!(bit < 448 || recovered.tail.torn);
    }
    log.seal();
    settle(&mut log, &mut disk);
    log.seal();
    assert!(log.poll().is_none(), "one seal is enough");
    assert_eq!(disk.writes.len(), 5);
    disk.files.get_mut(FIRST).unwrap()[16384 + 100] ^= 1;
    assert_eq!(damage(&disk).offset, 16384);
}

#[test]
fn a_lost_write_that_a_later_one_follows_is_noticed() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 30, 5000);
    let zeros = vec![0; 8192];
    // In the middle, at a segment's end (batches 1 to 7 take two blocks each after the header),
    // and at a segment's beginning with its header.
    let cases = [(FIRST, 1), (FIRST, 5), (FIRST, 13), (SECOND, 3)];
    for (path, number) in cases {
        let mut disk = disk.clone();
        put(&mut disk, path, number, &zeros[..4096]);
        put(&mut disk, path, number + 1, &zeros[..4096]);
        let damage = damage(&disk);
        assert_eq!((&*damage.file, damage.offset), (path, number as u64 * 4096), "{damage}");
    }
    for number in 0..3 {
        put(&mut disk, SECOND, number, &zeros[..4096]);
    }
    assert_eq!(damage(&disk).file, SECOND);
}

#[test]
fn a_lost_first_write_of_the_last_segment_is_noticed() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 9, 5000);
    assert!(disk.files.contains_key(SECOND));
    let zeros = [0; 4096];
    for number in 0..3 {
        put(&mut disk, SECOND, number, &zeros);
    }
    let damage = damage(&disk);
    assert_eq!((&*damage.file, damage.offset), (FIRST, 15 * 4096), "{damage}");
    assert!(damage.what.contains("batch 8 is bad or missing, but batch 9 is whole"), "{damage}");
}

/// What the chain is for: without it the same disk opens, and acknowledged entries are gone.
#[cfg(feature = "teeth")]
#[test]
fn without_the_chain_a_lost_write_cuts_the_log_silently() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 9, 100);
    put(&mut disk, FIRST, 4, &[0; 4096]);
    assert_eq!(damage(&disk).offset, 4 * 4096);
    let mut reader = Reader::open(&disk, config().without_chain(), Default::default()).unwrap();
    let mut items = Vec::new();
    while reader.next_batch(&mut items).unwrap() {}
    assert_eq!(indexes(&items), [1, 2, 3]);
    reader.finish().unwrap();
}

#[test]
fn a_misdirected_write_is_noticed() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 6, 100);
    let batch = |number| block(&disk, FIRST, number);
    // Batch 5 over batch 3; batch 6 one block too far; batch 2 where 7 would be.
    let mut over = disk.clone();
    put(&mut over, FIRST, 3, &batch(5));
    assert!(damage(&over).what.contains("batch 3 should be here, but batch 5 is"));
    let mut far = disk.clone();
    put(&mut far, FIRST, 7, &batch(6));
    put(&mut far, FIRST, 6, &[0; 4096]);
    assert!(damage(&far).what.contains("batch 6 is bad or missing, but batch 6 is whole in"));
    let mut early = disk.clone();
    put(&mut early, FIRST, 7, &batch(2));
    assert!(damage(&early).what.contains("batch 7 should be here, but batch 2 is"));
}

#[test]
fn a_batch_of_another_group_is_noticed() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 3, 100);
    let mut other = FakeDisk::default();
    let owner = Owner { group: crate::types::GroupId(2), ..OWNER };
    let elsewhere = config_of(owner);
    let mut log = recover(&other, elsewhere).unwrap().log.finish().unwrap().log;
    log.append(1, &[entry(1, 1, 100)], None);
    settle(&mut log, &mut other);
    put(&mut disk, FIRST, 4, &block(&other, "group-002/wal/00000001.seg", 1));
    assert_eq!(damage(&disk).what, "a batch of group 2 is here");
}

#[test]
fn a_chain_of_another_past_is_refused() {
    // The same places and numbers, but another history: as if a write of an earlier attempt were
    // there instead of the one that was acknowledged.
    let mut disk = FakeDisk::default();
    filled(&mut disk, 3, 100);
    let mut other = FakeDisk::default();
    filled(&mut other, 3, 101);
    put(&mut disk, FIRST, 3, &block(&other, FIRST, 3));
    assert_eq!(damage(&disk).what, "batch 3 does not follow the one before it");
}

#[test]
fn a_torn_batch_that_was_cut_does_not_come_back() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 3, 100);
    // A long batch 4 of which everything but the first sector arrives.
    let mut whole = disk.clone();
    let mut log = open(&whole).unwrap().1.log;
    let long: Vec<_> = (4..=10).map(|index| entry(index, 1, 1000)).collect();
    log.append(1, &long, None);
    settle(&mut log, &mut whole);
    let mut torn = whole.clone();
    torn.files.get_mut(FIRST).unwrap()[16384..16384 + 512].fill(0);
    let (items, recovered) = open(&torn).unwrap();
    assert_eq!(indexes(&items), [1, 2, 3]);
    // A short batch 4 takes its place; then the missing sector of the old one turns up.
    let mut log = recovered.log;
    log.append(1, &[entry(4, 2, 10)], None);
    settle(&mut log, &mut torn);
    assert_eq!(indexes(&open(&torn).unwrap().0), [1, 2, 3, 4]);
    log.append(2, &[entry(5, 2, 10)], None);
    settle(&mut log, &mut torn);
    let first = whole.files[FIRST][16384..16384 + 512].to_vec();
    torn.files.get_mut(FIRST).unwrap()[16384..16384 + 512].copy_from_slice(&first);
    assert_eq!(damage(&torn).offset, 16384, "the old batch is not taken for the new one");
}

#[test]
fn a_segments_first_batch_counts_without_its_header_but_not_the_other_way_round() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 8, 5000);
    let (before, after) = (1..=7u64, 1..=8u64);
    assert_eq!(indexes(&open(&disk).unwrap().0), after.collect::<Vec<_>>());
    for missing in [vec![1], vec![2], vec![0, 1], vec![0, 2], vec![0, 1, 2]] {
        let mut disk = disk.clone();
        missing.iter().for_each(|&number| put(&mut disk, SECOND, number, &[0; 4096]));
        let (items, recovered) = open(&disk).unwrap();
        assert_eq!(indexes(&items), before.clone().collect::<Vec<_>>(), "{missing:?}");
        let mut log = recovered.log;
        for ticket in 1..=12 {
            log.append(ticket, &[entry(7 + ticket, 3, 3000)], None);
            settle(&mut log, &mut disk);
            let last = 7 + ticket;
            assert_eq!(indexes(&open(&disk).unwrap().0), (1..=last).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_segments_only_batch_is_kept_when_just_its_header_is_bad() {
    // The second segment's, and that of the very first.
    for (count, path) in [(8, SECOND), (1, FIRST)] {
        let mut disk = FakeDisk::default();
        filled(&mut disk, count, 5000);
        let all: Vec<u64> = (1..=count).collect();
        let header = block(&disk, path, 0);
        for bad in [vec![0; 4096], vec![0xff; 4096]] {
            let mut disk = disk.clone();
            put(&mut disk, path, 0, &bad);
            let (items, recovered) = open(&disk).unwrap();
            assert_eq!(indexes(&items), all);
            assert!(!recovered.tail.torn);
            // Before anything is written behind it, it gets its header again.
            let mut log = recovered.log;
            log.append(1, &[entry(count + 1, 1, 100)], None);
            let (id, op) = log.poll().unwrap();
            assert!(
                matches!(&op, DiskOp::WriteBatch { offset: 0, buffer, .. } if buffer.len() == 4096)
            );
            assert_eq!(
                indexes(&open(&disk).unwrap().0),
                all,
                "a crash here is another of the kind"
            );
            let outcome = disk.apply(op);
            log.done(id, outcome).unwrap();
            assert_eq!(block(&disk, path, 0)[..512], header[..512]);
            settle(&mut log, &mut disk);
            assert_eq!(indexes(&open(&disk).unwrap().0), (1..=count + 1).collect::<Vec<_>>());
            // A batch that another follows must have had a header: this is damage.
            put(&mut disk, path, 0, &bad);
            damage(&disk);
        }
    }
}

#[test]
fn a_note_rides_on_what_is_written_and_is_carried_from_segment_to_segment() {
    let note = |stable, index| Note {
        stable: Revision(stable),
        indexes: [LogIndex(1), LogIndex(index)].into(),
    };
    let mut disk = FakeDisk::default();
    let mut log = filled(&mut disk, 3, 100);
    let writes = disk.writes.len();
    log.note(&note(5, 3));
    settle(&mut log, &mut disk);
    assert_eq!(disk.writes.len(), writes, "it is not worth a write of its own");
    log.append(4, &[entry(4, 1, 100)], None);
    settle(&mut log, &mut disk);
    assert_eq!(disk.writes.len(), writes + 1);
    let (items, _) = open(&disk).unwrap();
    assert_eq!(items.last(), Some(&Item::Note(note(5, 3))));
    // The batch that seals the log takes a newer one along, and seals it nevertheless.
    log.note(&note(6, 4));
    log.seal();
    settle(&mut log, &mut disk);
    log.note(&note(6, 4));
    log.write_note();
    log.seal();
    assert!(log.poll().is_none(), "nothing new");
    assert_eq!(disk.writes.len(), writes + 2);
    log.note(&note(7, 4));
    log.write_note();
    settle(&mut log, &mut disk);
    assert_eq!(disk.writes.len(), writes + 3, "if it is asked for, it is written");
    let mut log = open(&disk).unwrap().1.log;
    log.seal();
    assert!(log.poll().is_none(), "a note alone seals the log");
    for index in 5..=30 {
        log.append(index, &[entry(index, 1, 5000)], None);
        settle(&mut log, &mut disk);
    }
    log.truncate(LogIndex(28));
    settle(&mut log, &mut disk);
    assert!(!disk.files.contains_key(FIRST));
    let mut reader = Reader::open(&disk, config(), (LogIndex(27), Term(1))).unwrap();
    let mut items = Vec::new();
    while reader.next_batch(&mut items).unwrap() {}
    let notes: Vec<&Item> = items.iter().filter(|item| matches!(item, Item::Note(_))).collect();
    assert!(!notes.is_empty() && notes.iter().all(|item| **item == Item::Note(note(7, 4))));
}

/// Of a log whose segments grow from 16 KiB to 256 KiB, and may hold large records.
fn growing(disk: &FakeDisk) -> Log {
    let config = Config::with_sizes(OWNER, 256 << 10, BATCH);
    let mut log = recover(disk, config).unwrap().log;
    let mut items = Vec::new();
    while log.next_batch(&mut items).unwrap() {}
    log.finish().unwrap().log
}

fn sizes(disk: &FakeDisk) -> Vec<usize> {
    disk.files.values().map(Vec::len).collect()
}

#[test]
fn segments_grow_with_what_the_log_holds() {
    let mut disk = FakeDisk::default();
    let mut log = growing(&disk);
    for index in 1..=200 {
        log.append(index, &[entry(index, 1, 5000)], None);
        settle(&mut log, &mut disk);
        let held = log.log_bytes() as usize;
        let files: usize = sizes(&disk).iter().sum();
        assert!(files <= 2 * held + (32 << 10), "{files} bytes of files for {held}");
    }
    let all = sizes(&disk);
    assert_eq!((all[0], *all.last().unwrap()), (16 << 10, 256 << 10));
    assert!(all.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= 2 * pair[0]), "{all:?}");
    log.truncate(LogIndex(199));
    settle(&mut log, &mut disk);
    let held = log.log_bytes() as usize;
    let spare = sizes(&disk).iter().sum::<usize>() - held;
    assert!(spare <= 3 * (256 << 10), "two are kept for what comes: {:?}", sizes(&disk));
}

#[test]
fn a_record_that_no_prepared_segment_has_room_for_gets_one_that_has() {
    let mut disk = FakeDisk::default();
    let mut log = growing(&disk);
    for (index, bytes) in [(1, 100), (2, 60 << 10), (3, 100), (4, 240 << 10), (5, 100)] {
        log.append(index, &[entry(index, 1, bytes)], None);
        settle(&mut log, &mut disk);
        assert_eq!(log.persisted(), index);
    }
    drop(log);
    let config = Config::with_sizes(OWNER, 256 << 10, BATCH);
    let mut reader = Reader::open(&disk, config, Default::default()).unwrap();
    let mut items = Vec::new();
    while reader.next_batch(&mut items).unwrap() {}
    assert_eq!(indexes(&items), [1, 2, 3, 4, 5]);
}

#[test]
fn what_is_given_back_is_gone_and_the_log_goes_on_in_a_small_segment() {
    let mut disk = FakeDisk::default();
    let mut log = growing(&disk);
    assert!(log.is_small(), "a new one has nothing to give");
    for index in 1..=200 {
        log.append(index, &[entry(index, 1, 5000)], None);
        settle(&mut log, &mut disk);
    }
    log.truncate(LogIndex(150));
    settle(&mut log, &mut disk);
    assert!(!log.is_small());
    log.give_back();
    assert!(log.is_rolling());
    settle(&mut log, &mut disk);
    assert!(!log.is_rolling(), "nothing need be appended for it");
    log.append(201, &[entry(201, 1, 100)], None);
    settle(&mut log, &mut disk);
    log.truncate(LogIndex(201));
    settle(&mut log, &mut disk);
    assert_eq!(sizes(&disk), [16 << 10; 2], "the next one is prepared");
    assert!(log.is_small());
    log.end_giving_back();
    // On a full disk it waits, and what is there goes on being written.
    disk.full = true;
    log.give_back();
    log.append(202, &[entry(202, 1, 100)], None);
    settle(&mut log, &mut disk);
    assert_eq!(log.persisted(), 202);
    assert!(log.is_rolling() && log.is_full());
}

#[test]
fn files_that_are_missing_or_renamed_are_noticed() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 30, 5000);
    let third = "group-001/wal/00000003.seg";
    let mut hole = disk.clone();
    hole.files.remove(SECOND);
    assert_eq!(damage(&hole).what, "segment 2 is missing before it");
    let mut swapped = disk.clone();
    let (second, other) = (swapped.files[SECOND].clone(), swapped.files[third].clone());
    swapped.files.insert(third.into(), second);
    swapped.files.insert(SECOND.into(), other);
    assert_eq!(damage(&swapped).what, "the header is that of segment 3");
    let mut beheaded = disk.clone();
    beheaded.files.remove(FIRST);
    assert_eq!(damage(&beheaded).what, "the log begins at index 8, but 1 is needed");
    let mut cut = disk.clone();
    cut.files.get_mut(third).unwrap().truncate(8192);
    assert_eq!(damage(&cut).file, third);
}

#[test]
fn what_is_foreign_or_newer_is_refused_by_name() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 1, 10);
    let as_owner = |owner: Owner| {
        let config = config_of(owner);
        recover(&disk, config).err().unwrap().to_string()
    };
    let cluster = as_owner(Owner { cluster: crate::types::ClusterId(0xc2), ..OWNER });
    assert!(cluster.contains("it is of cluster c1, this one is c2"), "{cluster}");
    let member = as_owner(Owner { member: crate::types::MemberId(0xa2), ..OWNER });
    assert!(member.contains("it is of member a1, this one is a2"), "{member}");
    let salt = as_owner(Owner { salt: 1, ..OWNER });
    assert!(salt.contains("an earlier member with the same name"), "{salt}");
    let mut newer = disk.clone();
    let header = newer.files.get_mut(FIRST).unwrap();
    header[12] = 9;
    let crc = crc32fast::hash(&header[12..512]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    let error = open(&newer).unwrap_err().to_string();
    assert!(error.contains("has format version 9, this program reads up to 2"), "{error}");
}

#[test]
fn what_a_crash_left_behind_is_cleared_away() {
    let mut disk = FakeDisk::default();
    filled(&mut disk, 1, 100);
    disk.files.insert("group-001/wal/00000002.seg.tmp".into(), vec![0; 10]);
    disk.files.insert("group-001/wal/00000002.seg".into(), vec![0; 8192]);
    let mut log = open(&disk).unwrap().1.log;
    settle(&mut log, &mut disk);
    assert_eq!(disk.files.keys().collect::<Vec<_>>(), [FIRST]);
    for index in 2..=30 {
        log.append(index, &[entry(index, 1, 5000)], None);
        settle(&mut log, &mut disk);
    }
    assert_eq!(indexes(&open(&disk).unwrap().0).len(), 30);
}
