//! Disk operations of the log and the checkpoints, as values. `rt::disk` carries them out; the
//! simulator does so on a fake.
//!
//! Paths are relative to the member's directory, with `/` between names:
//! `group-001/wal/00000003.seg`.

use std::sync::Arc;

use crate::types::GroupId;

use super::buffer::AlignedBuf;

/// A file below the member's directory.
pub type DiskPath = Arc<str>;

/// One operation of one group: what comes back carries the number it went out with. The log and
/// the checkpoints of a group draw from different halves, so that `(GroupId, OpId)` is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

impl OpId {
    const CHECKPOINT: u64 = 1 << 63;

    pub(super) fn checkpoint(number: u64) -> OpId {
        OpId(number | OpId::CHECKPOINT)
    }

    /// Whether the operation belongs to the group's checkpoints, and not to its log.
    pub fn is_checkpoint(self) -> bool {
        self.0 & OpId::CHECKPOINT != 0
    }
}

/// An operation. Each is durable when it is reported done.
#[derive(Debug)]
pub enum DiskOp {
    /// One direct, synchronous write of whole blocks into a prepared segment, not past its end.
    /// Gives the buffer back.
    WriteBatch { path: DiskPath, offset: u64, buffer: AlignedBuf },
    /// Makes a segment of exactly `bytes`, every block of which is already written: either zeros,
    /// or the file `recycle` with whatever it holds, renamed. The file appears whole under its
    /// name, or not at all. `recycle` is gone afterwards. Missing directories are made.
    PrepareSegment { path: DiskPath, bytes: u64, recycle: Option<DiskPath> },
    /// Appends to a temporary file; the first append (`offset` 0) begins it anew. Need not be
    /// durable before it is published.
    AppendTemporary { path: DiskPath, offset: u64, bytes: Vec<u8> },
    /// Syncs the temporary file, renames it to `target`, syncs the directory.
    PublishTemporary { path: DiskPath, target: DiskPath },
    /// Removes a file, durably; one that is not there is no error.
    Remove { path: DiskPath },
}

/// How an operation ended.
#[derive(Debug)]
pub enum DiskOutcome {
    /// It is done; a batch's buffer comes back.
    Done(Option<AlignedBuf>),
    /// There is no space left; nothing is changed but that a file to recycle may be gone.
    Full,
    /// The disk refused. The text names the file.
    Failed(String),
}

/// The disk failed in a way after which nothing it holds can be relied upon but by reading it
/// again: the process ends (D2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal(pub String);

impl std::fmt::Display for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fatal {}

/// Returns the directory of a group below the member's.
pub fn group_directory(group: GroupId) -> String {
    format!("group-{:03}", group.0)
}

/// Returns the group whose directory this is.
pub fn group_of_directory(name: &str) -> Option<GroupId> {
    let group = GroupId(name.strip_prefix("group-")?.parse().ok()?);
    (group_directory(group) == name).then_some(group)
}

/// Returns the directory of a group's segments.
pub fn wal_directory(group: GroupId) -> String {
    format!("group-{:03}/wal", group.0)
}

/// Returns the directory of a group's checkpoints.
pub fn checkpoint_directory(group: GroupId) -> String {
    format!("group-{:03}/checkpoint", group.0)
}

/// The suffix of a file that does not have its name yet.
pub const TEMPORARY_SUFFIX: &str = ".tmp";
const SEGMENT_SUFFIX: &str = ".seg";

pub(super) fn segment_path(group: GroupId, number: u64) -> DiskPath {
    format!("{}/{number:08}{SEGMENT_SUFFIX}", wal_directory(group)).into()
}

/// Returns the number of the segment with this file name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(SEGMENT_SUFFIX)?.parse().ok()?;
    (format!("{number:08}{SEGMENT_SUFFIX}") == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_look_alikes_do_not() {
        assert_eq!(&*segment_path(GroupId(1), 3), "group-001/wal/00000003.seg");
        assert_eq!(segment_number("00000003.seg"), Some(3));
        assert_eq!(segment_number("123456789.seg"), Some(123_456_789));
        for name in ["3.seg", "+0000003.seg", "00000003.seg.tmp", "00000003", ".seg"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
        assert_eq!(group_of_directory("group-012"), Some(GroupId(12)));
        for name in ["group-12", "group-", "group--01", "group-99999", "identity"] {
            assert_eq!(group_of_directory(name), None, "{name}");
        }
    }
}
