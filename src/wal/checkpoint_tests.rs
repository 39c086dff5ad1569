//! Checkpoints on a disk in memory.

use super::*;
use crate::chance::Chance;
use crate::wal::fake::{FakeDisk, OWNER};
use crate::wal::{CheckpointReader, Config, OpenError, ReadDisk, recover};

fn header(index: u64) -> CheckpointHeader {
    CheckpointHeader {
        index: LogIndex(index),
        term: Term(3),
        stable: Revision(100 + index as i64),
        compact: Revision(-1),
        opens: vec![(Epoch(2), Revision(7)), (Epoch(9), Revision(70))],
        attachment: Bytes::from_static(b"three voters"),
    }
}

fn config() -> Config {
    Config::with_sizes(OWNER, 64 << 10, 8 << 10)
}

fn settle(checkpoints: &mut Checkpoints, disk: &mut FakeDisk) -> Option<CheckpointEnd> {
    let mut end = None;
    while let Some((id, op)) = checkpoints.poll() {
        assert!(id.is_checkpoint());
        let outcome = disk.apply(op);
        end = checkpoints.done(id, outcome).unwrap().or(end);
    }
    end
}

fn write(checkpoints: &mut Checkpoints, disk: &mut FakeDisk, index: u64) -> Option<CheckpointEnd> {
    checkpoints.begin(&header(index));
    for chunk in 0..5u8 {
        checkpoints.push(&vec![chunk; 1000 * usize::from(chunk)]);
    }
    checkpoints.finish();
    settle(checkpoints, disk)
}

/// A disk with a prepared log and the checkpoints 10, 20, 30.
fn three() -> (FakeDisk, Checkpoints) {
    let mut disk = FakeDisk::default();
    let opened = recover(&disk, config()).unwrap();
    let (mut checkpoints, mut log) = (opened.checkpoints, opened.log.finish().unwrap().log);
    while let Some((id, op)) = log.poll() {
        let outcome = disk.apply(op);
        log.done(id, outcome).unwrap();
    }
    for index in [10, 20, 30] {
        let end = write(&mut checkpoints, &mut disk, index);
        assert!(matches!(end, Some(CheckpointEnd::Published { .. })));
    }
    (disk, checkpoints)
}

fn names(disk: &FakeDisk) -> Vec<String> {
    let mut names = disk.list("group-001/checkpoint").unwrap();
    names.sort();
    names
}

const TWENTY: &str = "group-001/checkpoint/00000000000000000020.ckpt";
const THIRTY: &str = "group-001/checkpoint/00000000000000000030.ckpt";

#[test]
fn the_newest_two_are_kept_and_the_log_is_needed_from_the_older() {
    let (disk, checkpoints) = three();
    assert_eq!(names(&disk), ["00000000000000000020.ckpt", "00000000000000000030.ckpt"]);
    assert_eq!((checkpoints.newest(), checkpoints.log_needed_from()), (LogIndex(30), LogIndex(21)));
    let opened = recover(&disk, config()).unwrap();
    let mut found = opened.checkpoint.unwrap();
    assert_eq!(found.header(), &header(30));
    let mut lengths = Vec::new();
    while let Some(chunk) = found.next_chunk().unwrap() {
        lengths.push(chunk.len());
    }
    assert_eq!(lengths, [0, 1000, 2000, 3000, 4000]);
    assert_eq!(opened.checkpoints.log_needed_from(), LogIndex(21));
}

#[test]
fn a_damaged_one_is_passed_over_named_and_replaced() {
    let (mut disk, _) = three();
    disk.files.get_mut(THIRTY).unwrap()[500] ^= 4;
    let opened = recover(&disk, config()).unwrap();
    assert_eq!(opened.checkpoint.as_ref().unwrap().header().index, LogIndex(20));
    let [OpenError::Damage(damage)] = &opened.damaged[..] else { panic!() };
    assert_eq!((&*damage.file, &*damage.what), (THIRTY, "a chunk's checksum does not match"));
    let mut checkpoints = opened.checkpoints;
    assert_eq!(checkpoints.log_needed_from(), LogIndex(1), "only one is known to be good");
    assert_eq!(settle(&mut checkpoints, &mut disk), None);
    assert_eq!(names(&disk).len(), 2, "the damaged one is left to be looked at");
    write(&mut checkpoints, &mut disk, 40).unwrap();
    assert_eq!(names(&disk), ["00000000000000000020.ckpt", "00000000000000000040.ckpt"]);
}

#[test]
fn with_no_good_one_left_the_start_is_refused() {
    let (mut disk, _) = three();
    disk.files.get_mut(THIRTY).unwrap()[0] = 0;
    disk.files.get_mut(TWENTY).unwrap().pop();
    let error = recover(&disk, config()).err().unwrap().to_string();
    assert!(error.contains("30.ckpt is damaged at offset 0: this is no checkpoint"), "{error}");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (disk, _) = three();
    let verify = |disk: &FakeDisk| {
        CheckpointReader::open(disk, OWNER, THIRTY.into()).and_then(|mut found| found.verify())
    };
    verify(&disk).unwrap();
    let mut broken = disk.clone();
    let len = disk.files[THIRTY].len();
    for at in (0..len).filter(|at| at % 7 == 0 || *at < 200 || *at > len - 40) {
        for bit in [0, 5] {
            broken.files.get_mut(THIRTY).unwrap()[at] ^= 1 << bit;
            verify(&broken).expect_err("a flipped bit");
            broken.files.get_mut(THIRTY).unwrap()[at] ^= 1 << bit;
        }
    }
    for at in (0..len).filter(|at| at % 97 == 0 || *at > len - 40) {
        broken.files.get_mut(THIRTY).unwrap().truncate(at);
        verify(&broken).expect_err("a cut file");
        broken.files.insert(THIRTY.into(), disk.files[THIRTY].clone());
    }
    broken.files.get_mut(THIRTY).unwrap().push(0);
    verify(&broken).expect_err("a byte too many");
    // A chunk of another checkpoint, in the right place.
    let mut chance = Chance::new(3);
    for _ in 0..200 {
        let noise = (0..chance.below(300)).map(|_| chance.number() as u8).collect();
        broken.files.insert(THIRTY.into(), noise);
        verify(&broken).expect_err("noise");
    }
}

#[test]
fn a_chunk_of_another_checkpoint_is_noticed() {
    let (mut disk, _) = three();
    let twenty = disk.files[TWENTY].clone();
    // The headers are of one length; the chunks differ only in which header they belong to.
    let start = HEADER_BYTES + 2 * OPEN_BYTES + 12;
    let end = start + CHUNK_HEADER_BYTES;
    disk.files.get_mut(THIRTY).unwrap()[start..end].copy_from_slice(&twenty[start..end]);
    let opened = recover(&disk, config()).unwrap();
    assert!(opened.damaged[0].to_string().contains("a chunk belongs elsewhere"));
}

#[test]
fn another_members_or_a_newer_one_is_refused_by_name() {
    let (mut disk, _) = three();
    let other = Owner { member: crate::types::MemberId(0xbb), ..OWNER };
    let error = CheckpointReader::open(&disk, other, THIRTY.into()).err().unwrap().to_string();
    assert!(error.contains("it is of member a1, this one is bb"), "{error}");
    let file = disk.files.get_mut(THIRTY).unwrap();
    file[HEADER_VERSION_AT] = 7;
    let length = file[HEADER_LENGTH_AT] as usize;
    let crc = crc32fast::hash(&file[HEADER_VERSION_AT..length]);
    put_u32(file, HEADER_CRC_AT, crc);
    let error = recover(&disk, config()).err().unwrap().to_string();
    assert!(error.contains("has format version 7, this program reads up to 1"), "{error}");
}

#[test]
fn without_space_a_checkpoint_is_given_up_and_the_next_one_works() {
    let (mut disk, mut checkpoints) = three();
    disk.full = true;
    let end = write(&mut checkpoints, &mut disk, 40);
    assert_eq!(end, Some(CheckpointEnd::NoSpace { index: LogIndex(40) }));
    assert!(!checkpoints.is_writing());
    assert_eq!(names(&disk).len(), 2, "nothing is left behind");
    disk.full = false;
    assert!(matches!(
        write(&mut checkpoints, &mut disk, 40),
        Some(CheckpointEnd::Published { .. })
    ));
    assert_eq!(checkpoints.newest(), LogIndex(40));
}

#[test]
fn what_waits_for_the_disk_is_bounded_and_an_aborted_one_leaves_nothing() {
    let (mut disk, mut checkpoints) = three();
    checkpoints.begin(&header(40));
    let mut pushed = 0;
    while checkpoints.wants_chunk() {
        checkpoints.push(&[1; 64 << 10]);
        pushed += 64 << 10;
    }
    assert!(pushed <= CHECKPOINT_BUFFER_BYTES_MAX + (64 << 10));
    let (id, op) = checkpoints.poll().unwrap();
    assert!(checkpoints.poll().is_none() && checkpoints.wants_chunk());
    checkpoints.abort();
    let outcome = disk.apply(op);
    checkpoints.done(id, outcome).unwrap();
    assert_eq!(settle(&mut checkpoints, &mut disk), None);
    assert_eq!(names(&disk).len(), 2);
}
