//! Harm done to what lies on disk, of which it is known what must follow.
//!
//! | harm | must follow |
//! |---|---|
//! | a bit of a batch that a later whole batch of its log follows | refused, naming file and offset |
//! | such a batch, or a block of it, was never written | refused |
//! | such a batch went to another place | refused |
//! | a segment in the middle is missing | refused |
//! | a bit of a group's newest checkpoint | nothing: the one before and the log hold everything |
//! | a bit of a group's only checkpoint | refused: `wal` does not guess whether the log is enough |
//! | a bit behind the end of a log | nothing |
//! | every file of a shard, once an epoch is known | refused |
//! | every file of the control group, once a shard has a log | refused |
//! | the end of one log, which another group knows to have been durable | refused |
//! | a group's newest checkpoint file, if there is an older one | nothing |
//!
//! The last batch of a log is left alone but for the last two rows: what no other group knows of
//! cannot be told from a torn write, as `wal::reader` says.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::disk::{Batch, Disk, File};
use super::host::Host;
use crate::chance::Chance;
use crate::member::MemberConfig;
use crate::member::account::GroupAccount;
use crate::types::{GroupId, LogIndex};
use crate::wal::{BLOCK_BYTES, SECTOR_BYTES, group_directory, wal_directory};

/// The consequence that a damage must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The start is refused; nothing is cut.
    Refused,
    /// The start succeeds, and nothing is missing.
    Unharmed,
}

/// Harm done, and how to undo it.
#[derive(Clone, Debug)]
pub struct Harm {
    pub what: String,
    pub expected: Expected,
    before: Vec<(String, File)>,
}

/// Does some harm, if there is anything that it can be done to. Groups in `spared` are harmed
/// already where they can bear it once only.
pub fn harm(
    config: &Arc<MemberConfig>,
    disk: &mut Disk,
    spared: &mut BTreeSet<String>,
    chance: &mut Chance,
) -> Option<Harm> {
    match chance.below(13) {
        0..=2 => flip_in_batch(disk, chance),
        3 => unwrite(disk, chance),
        4 => misdirect(disk, chance),
        5 => lose_segment(disk, chance),
        6 => flip_in_checkpoint(disk, spared, chance),
        7 => flip_behind_end(disk, chance),
        8 => lose_group(config, disk, chance),
        9 => lose_checkpoint(disk, spared, chance),
        _ => lose_end(config, disk, chance),
    }
}

/// Undoes it: the next start finds the files as they were.
pub fn undo(disk: &mut Disk, harm: Harm) {
    disk.files.extend(harm.before);
}

/// The segment that each log was last written in, with the batches there, in order.
fn newest_segments(disk: &Disk) -> Vec<(String, Vec<Batch>)> {
    let mut newest: Vec<(String, String, u64)> = Vec::new();
    for (path, file) in disk.files.iter().filter(|(path, _)| path.contains("/wal/")) {
        let group = path.split('/').next().expect("a path has a first part");
        let Some(order) = file.batches.iter().map(|batch| batch.order).max() else { continue };
        match newest.last_mut().filter(|last| last.0 == group) {
            Some(last) if last.2 < order => (last.1, last.2) = (path.clone(), order),
            Some(_) => {}
            None => newest.push((group.to_owned(), path.clone(), order)),
        }
    }
    newest
        .into_iter()
        .map(|(_, path, _)| {
            let mut batches = disk.files[&path].batches.clone();
            batches.sort_by_key(|batch| batch.order);
            (path, batches)
        })
        .collect()
}

/// A batch that a later whole one follows, in a segment that every start reads.
fn followed_batch(disk: &Disk, chance: &mut Chance) -> Option<(String, Batch)> {
    let mut found = newest_segments(disk);
    found.retain(|(_, batches)| batches.len() >= 2);
    if found.is_empty() {
        return None;
    }
    let (path, batches) = found.swap_remove(chance.slot(found.len()));
    let batch = batches[chance.slot(batches.len() - 1)].clone();
    Some((path, batch))
}

/// The parts of a batch's write that mean something: the segment's header, header and records.
fn meaning(file: &File, batch: &Batch) -> Vec<std::ops::Range<usize>> {
    let mut parts = Vec::new();
    let mut start = batch.offset;
    if start == 0 {
        parts.push(0..SECTOR_BYTES);
        start = BLOCK_BYTES;
    }
    let length: [u8; 4] = file.bytes[start + 8..start + 12].try_into().expect("four bytes");
    parts.push(start..start + u32::from_le_bytes(length) as usize);
    parts
}

fn keep(disk: &Disk, paths: &[&str]) -> Vec<(String, File)> {
    paths.iter().map(|&path| (path.to_owned(), disk.files[path].clone())).collect()
}

fn flip_in_batch(disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let (path, batch) = followed_batch(disk, chance)?;
    let parts = meaning(&disk.files[&path], &batch);
    let part = parts[chance.slot(parts.len())].clone();
    let at = part.start + chance.slot(part.len());
    let before = keep(disk, &[&path]);
    disk.files.get_mut(&path).expect("it is there").bytes[at] ^= 1 << chance.below(8);
    let what = format!("a bit flips at {at} of {path}, in the batch at {}", batch.offset);
    Some(Harm { what, expected: Expected::Refused, before })
}

fn unwrite(disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let (path, batch) = followed_batch(disk, chance)?;
    let parts = meaning(&disk.files[&path], &batch);
    let before = keep(disk, &[&path]);
    let file = disk.files.get_mut(&path).expect("it is there");
    let block = chance.slot(batch.len / BLOCK_BYTES);
    let is_one = chance.one_in(2);
    for at in 0..batch.len / BLOCK_BYTES {
        if is_one && at != block {
            continue;
        }
        let (from, to) = (at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
        let place = batch.offset + from;
        file.bytes[place..place + BLOCK_BYTES].copy_from_slice(&batch.before[from..to]);
    }
    let was = &before[0].1.bytes;
    if parts.into_iter().all(|part| was[part.clone()] == file.bytes[part]) {
        disk.files.insert(path, before.into_iter().next().expect("one file").1);
        return None;
    }
    let part = if is_one { format!("block {block}") } else { "all".to_owned() };
    let what = format!("{part} of the batch at {} of {path} was never written", batch.offset);
    Some(Harm { what, expected: Expected::Refused, before })
}

fn misdirect(disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let (path, batch) = followed_batch(disk, chance)?;
    let segments: Vec<String> =
        disk.files.keys().filter(|path| path.ends_with(".seg")).cloned().collect();
    let target = segments[chance.slot(segments.len())].clone();
    let room = disk.files[&target].bytes.len().checked_sub(batch.len)?;
    let at = chance.slot(room / BLOCK_BYTES + 1) * BLOCK_BYTES;
    let is_apart = at + batch.len <= batch.offset || batch.offset + batch.len <= at;
    if target == path && !is_apart {
        return None;
    }
    let before = keep(disk, &[&path, &target]);
    let place = batch.offset..batch.offset + batch.len;
    let file = disk.files.get_mut(&path).expect("it is there");
    let bytes = file.bytes[place.clone()].to_vec();
    file.bytes[place].copy_from_slice(&batch.before);
    let file = disk.files.get_mut(&target).expect("it is there");
    file.bytes[at..at + batch.len].copy_from_slice(&bytes);
    let what = format!("the batch at {} of {path} went to {at} of {target}", batch.offset);
    Some(Harm { what, expected: Expected::Refused, before })
}

fn lose_segment(disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let newest = newest_segments(disk);
    let (newest, _) = &newest[chance.slot(newest.len().max(1)).min(newest.len().checked_sub(1)?)];
    let directory = newest.rsplit_once('/').expect("it is in a directory").0.to_owned() + "/";
    let inside = |path: &&String| path.starts_with(&directory) && path.ends_with(".seg");
    let mut segments: Vec<String> = disk.files.keys().filter(inside).cloned().collect();
    segments.retain(|path| path <= newest);
    if segments.len() < 3 {
        return None;
    }
    let path = segments.swap_remove(1 + chance.slot(segments.len() - 2));
    let before = keep(disk, &[&path]);
    disk.files.remove(&path);
    Some(Harm { what: format!("{path} is missing"), expected: Expected::Refused, before })
}

fn flip_in_checkpoint(
    disk: &mut Disk,
    spared: &mut BTreeSet<String>,
    chance: &mut Chance,
) -> Option<Harm> {
    let path = newest_checkpoint(disk, spared, chance)?;
    let directory = path.rsplit_once('/').expect("it is in a directory").0;
    let is_other = |other: &String| other.starts_with(directory) && other.ends_with(".ckpt");
    let is_only = disk.files.keys().filter(|other| is_other(other)).count() == 1;
    let before = keep(disk, &[&path]);
    let file = disk.files.get_mut(&path).expect("it is there");
    let at = chance.slot(file.bytes.len());
    file.bytes[at] ^= 1 << chance.below(8);
    let what = format!("a bit flips at {at} of {path}");
    if is_only {
        return Some(Harm { what, expected: Expected::Refused, before });
    }
    spared.insert(path);
    Some(Harm { what, expected: Expected::Unharmed, before })
}

fn flip_behind_end(disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let mut newest = newest_segments(disk);
    if newest.is_empty() {
        return None;
    }
    let (path, batches) = newest.swap_remove(chance.slot(newest.len()));
    let last = batches.last().expect("it has batches");
    let end = last.offset + last.len;
    let before = keep(disk, &[&path]);
    let file = disk.files.get_mut(&path).expect("it is there");
    if end >= file.bytes.len() {
        return None;
    }
    let at = end + chance.slot(file.bytes.len() - end);
    file.bytes[at] ^= 1 << chance.below(8);
    let what = format!("a bit flips at {at} of {path}, behind the end at {end}");
    Some(Harm { what, expected: Expected::Unharmed, before })
}

/// The newest checkpoint of a group that has not been harmed where it can bear it once only.
fn newest_checkpoint(
    disk: &Disk,
    spared: &mut BTreeSet<String>,
    chance: &mut Chance,
) -> Option<String> {
    spared.retain(|path| disk.files.contains_key(path));
    let mut newest: Vec<String> = Vec::new();
    for path in disk.files.keys().filter(|path| path.ends_with(".ckpt")) {
        let directory = path.rsplit_once('/').expect("it is in a directory").0;
        newest.retain(|other| !other.starts_with(directory));
        newest.push(path.clone());
    }
    let is_spared = |path: &String| {
        let directory = path.rsplit_once('/').expect("it is in a directory").0;
        spared.iter().any(|harmed| harmed.starts_with(directory))
    };
    newest.retain(|path| !is_spared(path));
    if newest.is_empty() {
        return None;
    }
    Some(newest.swap_remove(chance.slot(newest.len())))
}

fn lose_checkpoint(
    disk: &mut Disk,
    spared: &mut BTreeSet<String>,
    chance: &mut Chance,
) -> Option<Harm> {
    let path = newest_checkpoint(disk, spared, chance)?;
    let directory = path.rsplit_once('/').expect("it is in a directory").0;
    let is_older = |other: &&String| {
        other.starts_with(directory) && other.ends_with(".ckpt") && **other < path
    };
    let older = disk.files.keys().rfind(is_older)?.clone();
    let before = keep(disk, &[&path]);
    disk.files.remove(&path);
    spared.insert(older);
    Some(Harm { what: format!("{path} is missing"), expected: Expected::Unharmed, before })
}

fn lose_group(config: &Arc<MemberConfig>, disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let accounts = Host::accounts(config, disk).ok()?;
    let group = GroupId(chance.slot(accounts.len()) as u16);
    let (control, shards) = accounts.split_first().expect("there is a control group");
    let is_known = match group {
        GroupId::CONTROL => shards.iter().any(|shard| shard.found.is_begun),
        _ => control.epoch.0 > 0,
    };
    let directory = group_directory(group) + "/";
    let paths: Vec<String> =
        disk.files.keys().filter(|path| path.starts_with(&directory)).cloned().collect();
    if !is_known || paths.is_empty() {
        return None;
    }
    let before = keep(disk, &paths.iter().map(String::as_str).collect::<Vec<_>>());
    paths.iter().for_each(|path| drop(disk.files.remove(path)));
    Some(Harm { what: format!("{directory} is missing"), expected: Expected::Refused, before })
}

/// The last batches of a log in its newest segment were never written, or are zeros, or the file
/// ends before them.
fn lose_end(config: &Arc<MemberConfig>, disk: &mut Disk, chance: &mut Chance) -> Option<Harm> {
    let mut newest = newest_segments(disk);
    if newest.is_empty() {
        return None;
    }
    let (path, batches) = newest.swap_remove(chance.slot(newest.len()));
    let lost = chance.within(1, batches.len() as u64) as usize;
    let first = batches[batches.len() - lost].offset;
    let accounts = Host::accounts(config, disk).ok()?;
    let before = keep(disk, &[&path]);
    let file = disk.files.get_mut(&path).expect("it is there");
    let way = match chance.below(3) {
        0 => {
            for batch in batches.iter().rev().take(lost) {
                let place = batch.offset..batch.offset + batch.len;
                file.bytes[place].copy_from_slice(&batch.before);
            }
            "were never written"
        }
        1 => {
            for batch in batches.iter().rev().take(lost) {
                file.bytes[batch.offset..batch.offset + batch.len].fill(0);
            }
            "are zeros"
        }
        _ if first == 0 => {
            disk.files.remove(&path);
            "went with the file"
        }
        _ => {
            file.bytes.truncate(first);
            "were cut off"
        }
    };
    let what = format!("the last {lost} batches of {path}, from {first} on, {way}");
    let harm = Harm { what, expected: Expected::Refused, before };
    let at = accounts
        .iter()
        .position(|account| path.starts_with(&wal_directory(account.group)))
        .expect("a log is of a group");
    if is_known_elsewhere(&accounts, at, Host::accounts(config, disk).ok().as_deref()) {
        return Some(harm);
    }
    undo(disk, harm);
    None
}

/// Whether other groups know of something that the group's log held before and does not after;
/// also if what is left of it cannot be read at all.
fn is_known_elsewhere(before: &[GroupAccount], at: usize, after: Option<&[GroupAccount]>) -> bool {
    let Some(after) = after else { return true };
    let others = || before.iter().enumerate().filter(|(other, _)| *other != at).map(|of| of.1);
    let noted = others().map(|other| other.found.note.index(at)).max();
    if noted.is_some_and(|noted| noted > after[at].found.last) {
        return true;
    }
    let (Some(was), Some(is)) = (&before[at].line, &after[at].line) else {
        let epochs = others().map(|other| LogIndex(other.epoch.0)).max();
        return epochs.is_some_and(|epoch| epoch > after[at].found.last);
    };
    let lines = || others().filter_map(|other| other.line.as_ref());
    let noted = others().map(|other| other.found.note.stable);
    let stable = lines().map(|line| line.stable).chain(noted).max().unwrap_or_default();
    let covered = lines().map(|line| line.covered).max().unwrap_or_default().max(is.covered);
    (covered.0 + 1..=stable.0)
        .map(crate::types::Revision)
        .any(|revision| was.revisions.contains(revision) && !is.revisions.contains(revision))
}
