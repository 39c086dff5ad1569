//! Writing a group's checkpoints, and how they lie on disk, version 1.
//!
//! A checkpoint is a header, chunks and a footer, back to back, in a file named by its index. It is
//! written under a temporary name and published by renaming it: a file with its name is complete.
//! The newest two are kept. All numbers are little-endian.
//!
//! | header bytes | field |
//! |---|---|
//! | 0..8 | magic `BRAIDCKP` |
//! | 8..12 | CRC-32 of bytes 12..length |
//! | 12..16 | format version |
//! | 16..20 | length of the header |
//! | 20..22 | group |
//! | 22..24 | zero |
//! | 24..32 | cluster |
//! | 32..40 | member |
//! | 40..48 | index: the last entry it contains |
//! | 48..56 | term of that entry |
//! | 56..64 | stable revision |
//! | 64..72 | compact revision |
//! | 72..76 | number of opens |
//! | 76..80 | length of the attachment |
//! | 80.. | opens: epoch u64, cut i64 each; then the attachment |
//!
//! | chunk bytes | field |
//! |---|---|
//! | 0..4 | magic `BRCK` |
//! | 4..8 | CRC-32 of the rest of the chunk |
//! | 8..12 | length of its bytes |
//! | 12..16 | ordinal, from 0 |
//! | 16..20 | CRC of the header: to which checkpoint it belongs |
//! | 20.. | its bytes |
//!
//! | footer bytes | field |
//! |---|---|
//! | 0..4 | magic `BREN` |
//! | 4..8 | CRC-32 of the rest of the footer |
//! | 8..12 | number of chunks |
//! | 12..16 | CRC of the header |
//! | 16..24 | bytes of all chunks, without their headers |

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::CHECKPOINT_BUFFER_BYTES_MAX;
use crate::types::{Epoch, LogIndex, Note, Revision, Term};

use super::format::{Owner, Record, put_u16, put_u32, put_u64};
use super::op::{DiskOp, DiskOutcome, DiskPath, Fatal, OpId, checkpoint_directory};

/// The only format version there is.
pub(super) const CHECKPOINT_VERSION: u32 = 1;

pub(super) const HEADER_MAGIC: [u8; 8] = *b"BRAIDCKP";
pub(super) const HEADER_CRC_AT: usize = HEADER_MAGIC.len();
pub(super) const HEADER_VERSION_AT: usize = HEADER_CRC_AT + 4;
pub(super) const HEADER_LENGTH_AT: usize = HEADER_VERSION_AT + 4;
pub(super) const HEADER_GROUP_AT: usize = HEADER_LENGTH_AT + 4;
pub(super) const HEADER_CLUSTER_AT: usize = HEADER_GROUP_AT + 2 + 2;
pub(super) const HEADER_MEMBER_AT: usize = HEADER_CLUSTER_AT + 8;
pub(super) const HEADER_INDEX_AT: usize = HEADER_MEMBER_AT + 8;
pub(super) const HEADER_TERM_AT: usize = HEADER_INDEX_AT + 8;
pub(super) const HEADER_STABLE_AT: usize = HEADER_TERM_AT + 8;
pub(super) const HEADER_COMPACT_AT: usize = HEADER_STABLE_AT + 8;
pub(super) const HEADER_OPENS_AT: usize = HEADER_COMPACT_AT + 8;
pub(super) const HEADER_ATTACHMENT_AT: usize = HEADER_OPENS_AT + 4;
pub(super) const HEADER_BYTES: usize = HEADER_ATTACHMENT_AT + 4;
pub(super) const OPEN_BYTES: usize = 8 + 8;
const _: () = assert!(HEADER_BYTES == 80);

pub(super) const CHUNK_MAGIC: [u8; 4] = *b"BRCK";
pub(super) const CHUNK_CRC_AT: usize = CHUNK_MAGIC.len();
pub(super) const CHUNK_LENGTH_AT: usize = CHUNK_CRC_AT + 4;
pub(super) const CHUNK_ORDINAL_AT: usize = CHUNK_LENGTH_AT + 4;
pub(super) const CHUNK_HEADER_CRC_AT: usize = CHUNK_ORDINAL_AT + 4;
pub(super) const CHUNK_HEADER_BYTES: usize = CHUNK_HEADER_CRC_AT + 4;
const _: () = assert!(CHUNK_HEADER_BYTES == 20);

pub(super) const FOOTER_MAGIC: [u8; 4] = *b"BREN";
pub(super) const FOOTER_CRC_AT: usize = FOOTER_MAGIC.len();
pub(super) const FOOTER_CHUNKS_AT: usize = FOOTER_CRC_AT + 4;
pub(super) const FOOTER_HEADER_CRC_AT: usize = FOOTER_CHUNKS_AT + 4;
pub(super) const FOOTER_TOTAL_AT: usize = FOOTER_HEADER_CRC_AT + 4;
pub(super) const FOOTER_BYTES: usize = FOOTER_TOTAL_AT + 8;
const _: () = assert!(FOOTER_BYTES == 24);

/// Bytes of a checkpoint's header at most: opens and attachment are small.
pub const CHECKPOINT_HEADER_BYTES_MAX: usize = 4 << 20;
/// Bytes handed to the disk at once, if there are as many.
const APPEND_BYTES: usize = 256 << 10;
const _: () = assert!(APPEND_BYTES <= CHECKPOINT_BUFFER_BYTES_MAX);
/// The newest one may turn out damaged.
const KEPT: usize = 2;

const SUFFIX: &str = ".ckpt";

/// The header of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointHeader {
    /// The last entry it contains, and that entry's term.
    pub index: LogIndex,
    pub term: Term,
    /// It covers no revision above (D6).
    pub stable: Revision,
    pub compact: Revision,
    /// The epochs it lived through, with their cuts.
    pub opens: Vec<(Epoch, Revision)>,
    /// The group's own data besides its state, as records of the log; see [`attach_note`].
    pub attachment: Bytes,
}

/// Returns an attachment that says what was durable on the member when a checkpoint was begun: once
/// the log below it is gone, nothing else says so.
pub fn attach_note(note: &Note) -> Bytes {
    let mut bytes = Vec::new();
    Record::Note(note.clone()).encode(|part| bytes.extend_from_slice(part));
    Bytes::from(bytes)
}

impl CheckpointHeader {
    /// Returns the note that is attached, if any.
    pub fn note(&self) -> Option<Note> {
        let mut rest = self.attachment.clone();
        std::iter::from_fn(|| Record::decode(&mut rest).ok()).find_map(|record| match record {
            Record::Note(note) => Some(note),
            _ => None,
        })
    }

    pub(super) fn encode(&self, owner: &Owner) -> Vec<u8> {
        let length = HEADER_BYTES + self.opens.len() * OPEN_BYTES + self.attachment.len();
        assert!(length <= CHECKPOINT_HEADER_BYTES_MAX, "a checkpoint's header is too large");
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..HEADER_CRC_AT].copy_from_slice(&HEADER_MAGIC);
        put_u32(&mut bytes, HEADER_VERSION_AT, CHECKPOINT_VERSION);
        put_u32(&mut bytes, HEADER_LENGTH_AT, length as u32);
        put_u16(&mut bytes, HEADER_GROUP_AT, owner.group.0);
        put_u64(&mut bytes, HEADER_CLUSTER_AT, owner.cluster.0);
        put_u64(&mut bytes, HEADER_MEMBER_AT, owner.member.0);
        put_u64(&mut bytes, HEADER_INDEX_AT, self.index.0);
        put_u64(&mut bytes, HEADER_TERM_AT, self.term.0);
        put_u64(&mut bytes, HEADER_STABLE_AT, self.stable.0.cast_unsigned());
        put_u64(&mut bytes, HEADER_COMPACT_AT, self.compact.0.cast_unsigned());
        put_u32(&mut bytes, HEADER_OPENS_AT, self.opens.len() as u32);
        put_u32(&mut bytes, HEADER_ATTACHMENT_AT, self.attachment.len() as u32);
        for (epoch, cut) in &self.opens {
            bytes.extend_from_slice(&epoch.0.to_le_bytes());
            bytes.extend_from_slice(&cut.0.to_le_bytes());
        }
        bytes.extend_from_slice(&self.attachment);
        let crc = crc32fast::hash(&bytes[HEADER_VERSION_AT..]);
        put_u32(&mut bytes, HEADER_CRC_AT, crc);
        bytes
    }
}

/// The checkpoints of one group: written one at a time, published, removed when old.
#[derive(Debug)]
pub struct Checkpoints {
    owner: Owner,
    /// Oldest first.
    published: VecDeque<LogIndex>,
    stream: Option<Stream>,
    remove: VecDeque<DiskPath>,
    /// Kept for whoever wants to look, until there is a better one.
    damaged: Vec<DiskPath>,
    in_flight: Option<(OpId, Step)>,
    operations: u64,
}

#[derive(Debug)]
struct Stream {
    index: LogIndex,
    header_crc: u32,
    /// Not yet handed to the disk.
    buffer: Vec<u8>,
    offset: u64,
    chunks: u32,
    total: u64,
    finished: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Append,
    Publish,
    Remove,
}

/// The end of a checkpoint's writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointEnd {
    /// It is durable under its name: the log may be truncated.
    Published { index: LogIndex, bytes: u64 },
    /// There was no space for it. Nothing is lost but the effort; try again later.
    NoSpace { index: LogIndex },
}

impl Checkpoints {
    pub(super) fn new(
        owner: Owner,
        mut published: Vec<LogIndex>,
        left: Vec<DiskPath>,
        damaged: Vec<DiskPath>,
    ) -> Checkpoints {
        published.sort_unstable();
        Checkpoints {
            owner,
            published: published.into(),
            stream: None,
            remove: left.into(),
            damaged,
            in_flight: None,
            operations: 0,
        }
    }

    /// Begins a checkpoint; none is being written.
    pub fn begin(&mut self, header: &CheckpointHeader) {
        assert!(self.stream.is_none(), "one checkpoint at a time");
        let buffer = header.encode(&self.owner);
        let header_crc = super::format::get_u32(&buffer, HEADER_CRC_AT);
        self.stream = Some(Stream {
            index: header.index,
            header_crc,
            buffer,
            offset: 0,
            chunks: 0,
            total: 0,
            finished: false,
        });
    }

    /// Whether a checkpoint is being written.
    pub fn is_writing(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the checkpoint takes more chunks now; otherwise the disk has to catch up first.
    pub fn wants_chunk(&self) -> bool {
        let wants =
            |stream: &Stream| !stream.finished && stream.buffer.len() < CHECKPOINT_BUFFER_BYTES_MAX;
        self.stream.as_ref().is_some_and(wants)
    }

    /// Adds a chunk of the group's state.
    pub fn push(&mut self, chunk: &[u8]) {
        let stream = self.stream.as_mut().expect("a checkpoint is being written");
        assert!(!stream.finished, "a finished checkpoint takes no more chunks");
        let start = stream.buffer.len();
        stream.buffer.reserve(CHUNK_HEADER_BYTES + chunk.len());
        stream.buffer.resize(start + CHUNK_HEADER_BYTES, 0);
        stream.buffer.extend_from_slice(chunk);
        let bytes = &mut stream.buffer[start..];
        bytes[..CHUNK_CRC_AT].copy_from_slice(&CHUNK_MAGIC);
        put_u32(bytes, CHUNK_LENGTH_AT, u32::try_from(chunk.len()).expect("chunks are small"));
        put_u32(bytes, CHUNK_ORDINAL_AT, stream.chunks);
        put_u32(bytes, CHUNK_HEADER_CRC_AT, stream.header_crc);
        let crc = crc32fast::hash(&bytes[CHUNK_LENGTH_AT..]);
        put_u32(bytes, CHUNK_CRC_AT, crc);
        stream.chunks += 1;
        stream.total += chunk.len() as u64;
    }

    /// Publishes the checkpoint, whose chunks are all there.
    pub fn finish(&mut self) {
        let stream = self.stream.as_mut().expect("a checkpoint is being written");
        assert!(!stream.finished, "a checkpoint is finished once");
        let mut footer = [0; FOOTER_BYTES];
        footer[..FOOTER_CRC_AT].copy_from_slice(&FOOTER_MAGIC);
        put_u32(&mut footer, FOOTER_CHUNKS_AT, stream.chunks);
        put_u32(&mut footer, FOOTER_HEADER_CRC_AT, stream.header_crc);
        put_u64(&mut footer, FOOTER_TOTAL_AT, stream.total);
        let crc = crc32fast::hash(&footer[FOOTER_CHUNKS_AT..]);
        put_u32(&mut footer, FOOTER_CRC_AT, crc);
        stream.buffer.extend_from_slice(&footer);
        stream.finished = true;
    }

    /// Gives up the checkpoint that is being written, if it is not yet being published.
    pub fn abort(&mut self) {
        let publishing = self.in_flight.is_some_and(|(_, step)| step == Step::Publish);
        if !publishing && self.stream.take().is_some() {
            self.remove.push_back(self.temporary());
        }
    }

    /// Returns the next operation for the disk; call until there is none.
    pub fn poll(&mut self) -> Option<(OpId, DiskOp)> {
        if self.in_flight.is_some() {
            return None;
        }
        let (step, op) = self.next_op()?;
        let id = OpId::checkpoint(self.operations);
        self.operations += 1;
        self.in_flight = Some((id, step));
        Some((id, op))
    }

    fn next_op(&mut self) -> Option<(Step, DiskOp)> {
        if let Some(path) = self.remove.pop_front() {
            return Some((Step::Remove, DiskOp::Remove { path }));
        }
        // Asked at every turn: no path is made before there is something to do with it.
        let stream = self.stream.as_ref()?;
        if stream.buffer.is_empty() && stream.finished {
            let directory = checkpoint_directory(self.owner.group);
            let (path, target) = (self.temporary(), checkpoint_path(&directory, stream.index));
            return Some((Step::Publish, DiskOp::PublishTemporary { path, target }));
        }
        if stream.buffer.len() < APPEND_BYTES && !stream.finished {
            return None;
        }
        let path = self.temporary();
        let stream = self.stream.as_mut().expect("just seen");
        let (bytes, offset) = (std::mem::take(&mut stream.buffer), stream.offset);
        stream.offset += bytes.len() as u64;
        Some((Step::Append, DiskOp::AppendTemporary { path, offset, bytes }))
    }

    /// Takes the outcome of an operation that [`Checkpoints::poll`] gave out.
    pub fn done(&mut self, id: OpId, outcome: DiskOutcome) -> Result<Option<CheckpointEnd>, Fatal> {
        let (expected, step) = self.in_flight.take().expect("an outcome belongs to an operation");
        assert_eq!(id, expected, "an outcome belongs to the operation in flight");
        match outcome {
            DiskOutcome::Failed(what) => Err(Fatal(what)),
            DiskOutcome::Full => {
                let index = self.stream.as_ref().map(|stream| stream.index);
                self.abort();
                Ok(index.map(|index| CheckpointEnd::NoSpace { index }))
            }
            DiskOutcome::Done(_) if step == Step::Publish => Ok(Some(self.published())),
            DiskOutcome::Done(_) => Ok(None),
        }
    }

    fn published(&mut self) -> CheckpointEnd {
        let stream = self.stream.take().expect("a checkpoint was being published");
        let directory = checkpoint_directory(self.owner.group);
        self.published.retain(|&index| index != stream.index);
        self.published.push_back(stream.index);
        self.published.make_contiguous().sort_unstable();
        let target = checkpoint_path(&directory, stream.index);
        self.remove.extend(self.damaged.drain(..).filter(|path| *path != target));
        while self.published.len() > KEPT {
            let oldest = self.published.pop_front().expect("there are more than are kept");
            self.remove.push_back(checkpoint_path(&directory, oldest));
        }
        CheckpointEnd::Published { index: stream.index, bytes: stream.offset }
    }

    /// Returns the newest one's index; 0 if there is none.
    pub fn newest(&self) -> LogIndex {
        self.published.back().copied().unwrap_or(LogIndex(0))
    }

    /// The log must reach back to this index, for [`Log::truncate`](super::Log::truncate): should
    /// the newest checkpoint be damaged, the one before and the log still hold everything.
    pub fn log_needed_from(&self) -> LogIndex {
        match self.published.len() {
            0 | 1 => LogIndex(1),
            count => LogIndex(self.published[count - 2].0 + 1),
        }
    }

    fn temporary(&self) -> DiskPath {
        format!("{}/next{SUFFIX}.tmp", checkpoint_directory(self.owner.group)).into()
    }
}

pub(super) fn checkpoint_path(directory: &str, index: LogIndex) -> DiskPath {
    format!("{directory}/{:020}{SUFFIX}", index.0).into()
}

/// Returns the index of the checkpoint with this file name.
pub(super) fn checkpoint_index(name: &str) -> Option<LogIndex> {
    let index: u64 = name.strip_suffix(SUFFIX)?.parse().ok()?;
    (format!("{index:020}{SUFFIX}") == name).then_some(LogIndex(index))
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
