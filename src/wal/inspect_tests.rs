//! Inspecting directories in memory.

use bytes::Bytes;

use super::*;
use crate::types::{EntryKind, LogEntry};
use crate::wal::fake::{FakeDisk, OWNER};
use crate::wal::{CheckpointHeader, recover};

/// 30 entries in a few segments, checkpoints at 10 and 20.
fn written() -> FakeDisk {
    let mut config = Config::with_sizes(OWNER, 64 << 10, 8 << 10);
    config.segment_bytes_min = config.segment_bytes;
    let mut disk = FakeDisk::default();
    let opened = recover(&disk, config).unwrap();
    let (mut checkpoints, mut log) = (opened.checkpoints, opened.log.finish().unwrap().log);
    for index in 1..=30 {
        let data = Bytes::from(vec![1; 5000]);
        let (index, term, kind) = (LogIndex(index), Term(4), EntryKind::Normal);
        let state = HardState { term, vote: 1, commit: index };
        log.append(index.0, &[LogEntry { index, term, kind, data }], Some(state));
        while let Some((id, op)) = log.poll() {
            let outcome = disk.apply(op);
            log.done(id, outcome).unwrap();
        }
    }
    for index in [10, 20] {
        checkpoints.begin(&CheckpointHeader {
            index: LogIndex(index),
            term: Term(4),
            stable: Revision(7),
            compact: Revision(3),
            opens: Vec::new(),
            attachment: Bytes::new(),
        });
        checkpoints.push(b"one");
        checkpoints.push(b"two");
        checkpoints.finish();
        while let Some((id, op)) = checkpoints.poll() {
            let outcome = disk.apply(op);
            checkpoints.done(id, outcome).unwrap();
        }
    }
    disk
}

#[test]
fn a_good_directory_is_described() {
    let mut disk = written();
    disk.files.insert("identity".into(), vec![1]);
    let groups = inspect(&disk).unwrap();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.group, group.owner), (GroupId(1), Some(OWNER)));
    assert_eq!(group.findings, []);
    let begun: Vec<SegmentUse> = group.segments.iter().filter_map(|s| s.begun).collect();
    assert_eq!(begun.len() + 1, group.segments.len(), "one is prepared");
    assert_eq!(begun.iter().map(|segment| segment.batches).sum::<u64>(), 30);
    assert_eq!(begun[0].first_index, LogIndex(1));
    assert!(begun.windows(2).all(|pair| pair[0].last_index.0 + 1 == pair[1].first_index.0));
    assert!(begun.iter().all(|segment| segment.bytes_used >= 8192));
    let log = group.log.as_ref().unwrap();
    assert_eq!((log.last_index, log.batches, log.torn), (LogIndex(30), 30, false));
    assert_eq!(log.hard_state.commit, LogIndex(30));
    let checkpoints = &group.checkpoints;
    assert_eq!(checkpoints.iter().map(|one| one.index.0).collect::<Vec<_>>(), [20, 10]);
    assert!(checkpoints.iter().all(|one| one.good && one.chunks == 2));
    assert_eq!((checkpoints[0].stable, checkpoints[0].compact), (Revision(7), Revision(3)));
}

#[test]
fn damage_is_found_with_file_and_offset_and_the_rest_still_described() {
    let mut disk = written();
    let (second, checkpoint) =
        ("group-001/wal/00000002.seg", "group-001/checkpoint/00000000000000000010.ckpt");
    disk.files.get_mut(second).unwrap()[4096 + 8192 + 700] ^= 1;
    *disk.files.get_mut(checkpoint).unwrap().last_mut().unwrap() ^= 1;
    let groups = inspect(&disk).unwrap();
    let places: Vec<_> =
        groups[0].findings.iter().map(|found| (&*found.file, found.offset)).collect();
    let footer = disk.files[checkpoint].len() as u64 - 24;
    assert_eq!(places, [(checkpoint, footer), (second, 4096 + 8192)]);
    let good: Vec<_> = groups[0].checkpoints.iter().map(|one| one.good).collect();
    assert_eq!(good, [true, false]);
    assert_eq!(groups[0].segments[1].begun.unwrap().batches, 1);
    assert_eq!(groups[0].log, None);
}

#[test]
fn a_directory_without_a_log_or_with_nonsense_is_no_reason_to_stop() {
    assert_eq!(inspect(&FakeDisk::default()).unwrap(), []);
    let mut disk = FakeDisk::default();
    disk.files.insert("group-002/wal/00000001.seg".into(), vec![9; 4096]);
    disk.files.insert("group-002/checkpoint/00000000000000000005.ckpt".into(), vec![9; 50]);
    let groups = inspect(&disk).unwrap();
    assert_eq!(groups[0].segments[0].begun, None);
    assert_eq!(groups[0].findings[0].what, "this is no checkpoint");
}
