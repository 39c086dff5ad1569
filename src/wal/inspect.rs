//! A data directory described, without changing it and without knowing whose it is: groups,
//! segments, checkpoints, and what is damaged where.

use crate::types::{GroupId, HardState, LogIndex, Revision, Term};

use super::checkpoint_reader::{CheckpointReader, checkpoint_files, owner_of};
use super::config::Config;
use super::damage::{Damage, OpenError};
use super::format::{BLOCK_BYTES, Owner, SECTOR_BYTES, SegmentHead, SegmentHeader};
use super::op::{group_directory, group_of_directory, segment_number, segment_path, wal_directory};
use super::read_disk::{ReadDisk, len, list};
use super::reader::Reader;

/// The files of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFiles {
    pub group: GroupId,
    /// The owner, as the first whole header names it; `None` if there is none.
    pub owner: Option<Owner>,
    /// In order.
    pub segments: Vec<SegmentFile>,
    /// Newest first.
    pub checkpoints: Vec<CheckpointFile>,
    /// The log's end, if it could be read up to there.
    pub log: Option<LogEnd>,
    /// Everything that a start would refuse or warn of.
    pub findings: Vec<Finding>,
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub file: String,
    pub number: u64,
    /// The file's length.
    pub bytes: u64,
    /// The use of the segment; `None` if it is prepared and not begun.
    pub begun: Option<SegmentUse>,
}

/// The use of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentUse {
    pub first_sequence: u64,
    pub first_index: LogIndex,
    /// As far as it could be read.
    pub batches: u64,
    pub bytes_used: u64,
    pub last_index: LogIndex,
}

/// One checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    pub file: String,
    pub index: LogIndex,
    pub term: Term,
    pub stable: Revision,
    pub compact: Revision,
    pub chunks: u32,
    pub bytes: u64,
    /// Every byte was read and is right.
    pub good: bool,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd {
    pub last_index: LogIndex,
    pub hard_state: HardState,
    pub batches: u64,
    /// The last write was torn; the next start cuts it off.
    pub torn: bool,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub file: String,
    pub offset: u64,
    pub what: String,
}

impl From<OpenError> for Finding {
    fn from(error: OpenError) -> Finding {
        let what = error.to_string();
        match error {
            OpenError::Damage(Damage { file, offset, what }) => Finding { file, offset, what },
            OpenError::Io { file, offset, error } => {
                Finding { file, offset, what: format!("cannot be read: {error}") }
            }
            OpenError::Missing { file, .. }
            | OpenError::Foreign { file, .. }
            | OpenError::Format { file, .. } => Finding { file, offset: 0, what },
        }
    }
}

/// Describes every group below the member's directory. An error only if the directory itself
/// cannot be listed; whatever is wrong below is among the findings.
pub fn inspect(disk: &dyn ReadDisk) -> Result<Vec<GroupFiles>, OpenError> {
    let names = list(disk, "")?;
    let mut groups: Vec<GroupId> =
        names.iter().filter_map(|name| group_of_directory(name)).collect();
    groups.sort_unstable();
    Ok(groups.into_iter().map(|group| inspect_group(disk, group)).collect())
}

fn inspect_group(disk: &dyn ReadDisk, group: GroupId) -> GroupFiles {
    let mut found = GroupFiles {
        group,
        owner: None,
        segments: Vec::new(),
        checkpoints: Vec::new(),
        log: None,
        findings: Vec::new(),
    };
    if let Err(error) = found.list_segments(disk) {
        found.findings.push(error.into());
    }
    let covered = found.read_checkpoints(disk).unwrap_or_else(|error| {
        found.findings.push(error.into());
        (LogIndex(0), Term(0))
    });
    if let Err(error) = found.read_log(disk, covered) {
        found.findings.push(error.into());
    }
    found
}

impl GroupFiles {
    fn list_segments(&mut self, disk: &dyn ReadDisk) -> Result<(), OpenError> {
        let names = list(disk, &wal_directory(self.group))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        for number in numbers {
            let file = segment_path(self.group, number).to_string();
            let bytes = len(disk, &file)?;
            let mut sector = [0; SECTOR_BYTES];
            let read = disk.read_at(&file, 0, &mut sector);
            let read =
                read.map_err(|error| OpenError::Io { file: file.clone(), offset: 0, error })?;
            let header = match SegmentHeader::decode(&sector[..read]) {
                SegmentHead::Whole(header) => Some(header),
                // Damage to these comes up when the log is read.
                SegmentHead::Version(_) | SegmentHead::Bad => None,
            };
            self.owner = self.owner.or(header.map(|header| header.owner));
            let current = header.filter(|header| header.number == number);
            let begun = current.map(|header| SegmentUse {
                first_sequence: header.first_sequence,
                first_index: header.first_index,
                batches: 0,
                bytes_used: BLOCK_BYTES as u64,
                last_index: LogIndex(header.first_index.0.saturating_sub(1)),
            });
            self.segments.push(SegmentFile { file, number, bytes, begun });
        }
        Ok(())
    }

    /// Returns the index and term of the newest good checkpoint.
    fn read_checkpoints(&mut self, disk: &dyn ReadDisk) -> Result<(LogIndex, Term), OpenError> {
        let files = checkpoint_files(disk, self.group)?;
        let mut newest = None;
        for (index, path) in files.published {
            let mut file = CheckpointFile {
                file: path.to_string(),
                index,
                term: Term(0),
                stable: Revision(0),
                compact: Revision(0),
                chunks: 0,
                bytes: len(disk, &path)?,
                good: false,
            };
            match self.read_checkpoint(disk, &mut file) {
                Ok(()) => newest = newest.or(Some((index, file.term))),
                Err(error) => self.findings.push(error.into()),
            }
            self.checkpoints.push(file);
        }
        Ok(newest.unwrap_or_default())
    }

    fn read_checkpoint(
        &self,
        disk: &dyn ReadDisk,
        file: &mut CheckpointFile,
    ) -> Result<(), OpenError> {
        let owner = match self.owner {
            Some(owner) => owner,
            None => owner_of(disk, &file.file)?,
        };
        let mut reader = CheckpointReader::open(disk, owner, file.file.as_str().into())?;
        let header = reader.header();
        (file.term, file.stable, file.compact) = (header.term, header.stable, header.compact);
        if header.index != file.index {
            let what = format!("its name and its index, {}, differ", header.index);
            return Err(Damage { file: file.file.clone(), offset: 0, what }.into());
        }
        while reader.next_chunk()?.is_some() {
            file.chunks = reader.chunks();
        }
        file.good = true;
        Ok(())
    }

    /// Reads the log from its first segment on, as a start would from the checkpoint on.
    fn read_log(
        &mut self,
        disk: &dyn ReadDisk,
        covered: (LogIndex, Term),
    ) -> Result<(), OpenError> {
        let Some(owner) = self.owner else { return Ok(()) };
        let config = Config::new(Owner { group: self.group, ..owner });
        // Would a start find what it needs?
        Reader::open(disk, config, covered)?;
        let first = self.segments.iter().find_map(|segment| segment.begun);
        let Some(first) = first else { return Ok(()) };
        let from = LogIndex(first.first_index.0.saturating_sub(1)).min(covered.0);
        let mut reader = Reader::open(disk, config, (from, Term(0)))?;
        reader.covered = covered.0;
        reader.covered_term = covered.1;
        let mut items = Vec::new();
        loop {
            let before = reader.batches();
            let more = reader.next_batch(&mut items);
            items.clear();
            self.note(&reader, reader.batches() - before);
            if !more? {
                break;
            }
        }
        let torn = reader.tail().is_some_and(|tail| tail.torn);
        self.log = Some(LogEnd {
            last_index: reader.last,
            hard_state: reader.hard_state,
            batches: reader.batches(),
            torn,
        });
        Ok(())
    }

    /// Notes the position of the reader.
    fn note(&mut self, reader: &Reader<'_>, batches: u64) {
        let number = reader.files.get(reader.at).map(|file| file.number);
        let segment = self.segments.iter_mut().find(|segment| Some(segment.number) == number);
        if let Some(begun) = segment.and_then(|segment| segment.begun.as_mut()) {
            begun.batches += batches;
            begun.bytes_used = reader.offset.max(BLOCK_BYTES as u64);
            begun.last_index = reader.last;
        }
    }

    /// Returns the directory of this group below the member's.
    pub fn directory(&self) -> String {
        group_directory(self.group)
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
