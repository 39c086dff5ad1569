//! The bytes of a log on disk, version 2. All numbers are little-endian. A segment of version 1 is
//! the same, but for records that it cannot hold: it is read, and written to no more.
//!
//! A segment file is a header block followed by batches, each beginning on a block boundary:
//!
//! ```text
//!  0        4096                                                            segment_bytes
//!  ├────────┼──────────────┬───────────┬──────────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─ ─┤
//!  │ header │ batch n      │ batch n+1 │ batch n+2        │ zeros, or batches  │
//!  │        │              │           │                  │ of an older life   │
//!  └────────┴──────────────┴───────────┴──────────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─ ─┘
//!  └─ one write, with the ─┘
//!     segment's first batch
//! ```
//!
//! Segment header, one sector that matters and zeros up to the block's end. Every version keeps
//! the first three fields, so that a newer format is recognised as such and not as damage.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `BRAIDSEG` |
//! | 8..12 | CRC-32 of bytes 12..512 |
//! | 12..16 | format version |
//! | 16..24 | cluster |
//! | 24..32 | member |
//! | 32..40 | salt: a number of this member that no client knows |
//! | 40..42 | group |
//! | 42..44 | zero |
//! | 44..48 | CRC of the batch before this segment's first; 0 before the first of all |
//! | 48..56 | segment number, as in the file's name |
//! | 56..64 | sequence number of the first batch |
//! | 64..72 | first index: of the first entry that begins in the segment, when it was begun |
//! | 72..76 | CRC of the first batch: header and batch belong together or are both void |
//!
//! Batch header, followed by its records and zeros up to the next block. The sequence number and
//! the previous batch's CRC make a chain of all batches of a log; segment and offset say where a
//! batch belongs, so that one written to another place is recognised.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `BRWB` |
//! | 4..8 | CRC-32 of bytes 8..length |
//! | 8..12 | length: header and records, without the zeros after them |
//! | 12..16 | number of records |
//! | 16..24 | sequence number, from 1, without gaps |
//! | 24..32 | segment number |
//! | 32..40 | offset of this header in the segment |
//! | 40..48 | salt |
//! | 48..52 | CRC of the batch before |
//! | 52..54 | group |
//! | 54..56 | zero |
//!
//! Record header, followed by `length` bytes of the entry (for a hard state: the vote, u64; for a
//! note: the committed index of each group, u64 each, from group 0 on; for a part: where in the
//! entry it begins, u32, the length of the whole entry, u32, then its bytes).
//!
//! | bytes | field | entry | hard state | restart | note | part |
//! |---|---|---|---|---|---|---|
//! | 0 | kind | 1 ours, 2 membership | 3 | 4 | 5 | 6 |
//! | 1..4 | zero | | | | | |
//! | 4..8 | length | of its bytes | 8 | 0 | 8 for each group | 8 and of its bytes |
//! | 8..16 | term | its term | current term | term of the index | 0 | the entry's |
//! | 16..24 | index | its index | commit | last index the checkpoint covers | stable revision | the entry's |
//!
//! An entry that is too large for one write goes into the log in parts, in order, each in a batch
//! of its own and all of them in as many segments as it takes. It counts when the last is there.
//! What a crash has cut short is followed by another entry, or by the first part of one. Where an
//! entry goes on from one segment to the next, it belongs to the segment in which it begins.

use bytes::Bytes;

use crate::limits::SHARDS_MAX;
use crate::types::{
    ClusterId, EntryKind, GroupId, HardState, LogEntry, LogIndex, MemberId, Note, Revision, Term,
};

/// The alignment of direct writes, in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes that a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// The version of the segments that are written.
pub const SEGMENT_VERSION: u32 = 2;
/// The oldest that is read: its segments hold no parts.
const SEGMENT_VERSION_OLDEST: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"BRAIDSEG";
const SEGMENT_CRC_AT: usize = SEGMENT_MAGIC.len();
const SEGMENT_VERSION_AT: usize = SEGMENT_CRC_AT + 4;
const SEGMENT_CLUSTER_AT: usize = SEGMENT_VERSION_AT + 4;
const SEGMENT_MEMBER_AT: usize = SEGMENT_CLUSTER_AT + 8;
const SEGMENT_SALT_AT: usize = SEGMENT_MEMBER_AT + 8;
const SEGMENT_GROUP_AT: usize = SEGMENT_SALT_AT + 8;
const SEGMENT_PREVIOUS_CRC_AT: usize = SEGMENT_GROUP_AT + 2 + 2;
const SEGMENT_NUMBER_AT: usize = SEGMENT_PREVIOUS_CRC_AT + 4;
const SEGMENT_SEQUENCE_AT: usize = SEGMENT_NUMBER_AT + 8;
const SEGMENT_INDEX_AT: usize = SEGMENT_SEQUENCE_AT + 8;
const SEGMENT_FIRST_CRC_AT: usize = SEGMENT_INDEX_AT + 8;
const SEGMENT_END: usize = SEGMENT_FIRST_CRC_AT + 4;
/// A header is whole or not there: it lies in one sector.
const _: () = assert!(SEGMENT_END == 76 && SEGMENT_END <= SECTOR_BYTES);
const _: () = assert!(BLOCK_BYTES.is_multiple_of(SECTOR_BYTES));

const BATCH_MAGIC: [u8; 4] = *b"BRWB";
const BATCH_CRC_AT: usize = BATCH_MAGIC.len();
const BATCH_LENGTH_AT: usize = BATCH_CRC_AT + 4;
const BATCH_RECORDS_AT: usize = BATCH_LENGTH_AT + 4;
const BATCH_SEQUENCE_AT: usize = BATCH_RECORDS_AT + 4;
const BATCH_SEGMENT_AT: usize = BATCH_SEQUENCE_AT + 8;
const BATCH_OFFSET_AT: usize = BATCH_SEGMENT_AT + 8;
const BATCH_SALT_AT: usize = BATCH_OFFSET_AT + 8;
const BATCH_PREVIOUS_CRC_AT: usize = BATCH_SALT_AT + 8;
const BATCH_GROUP_AT: usize = BATCH_PREVIOUS_CRC_AT + 4;
/// Bytes of a batch's header.
pub const BATCH_HEADER_BYTES: usize = BATCH_GROUP_AT + 2 + 2;
/// One sector tells whether a batch begins here.
const _: () = assert!(BATCH_HEADER_BYTES == 56 && BATCH_HEADER_BYTES <= SECTOR_BYTES);

const RECORD_LENGTH_AT: usize = 1 + 3;
const RECORD_TERM_AT: usize = RECORD_LENGTH_AT + 4;
const RECORD_INDEX_AT: usize = RECORD_TERM_AT + 8;
/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = RECORD_INDEX_AT + 8;
const _: () = assert!(RECORD_HEADER_BYTES == 24);

const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;
const KIND_HARD_STATE: u8 = 3;
const KIND_RESTART: u8 = 4;
const KIND_NOTE: u8 = 5;
const KIND_PART: u8 = 6;
const VOTE_BYTES: usize = 8;
/// Bytes of a part's head.
const PART_HEAD_BYTES: usize = 4 + 4;
/// Bytes of a hard state's record.
pub const HARD_STATE_BYTES: usize = RECORD_HEADER_BYTES + VOTE_BYTES;
const NOTED_INDEX_BYTES: usize = 8;
/// Bytes of a note's record at most: every shard's group and the control group.
pub const NOTE_BYTES_MAX: usize = RECORD_HEADER_BYTES + (SHARDS_MAX + 1) * NOTED_INDEX_BYTES;

/// The owner of a log; every segment names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub cluster: ClusterId,
    pub member: MemberId,
    pub group: GroupId,
    /// A number of this member that no client knows: bytes of a value that look like a batch are
    /// never taken for one.
    pub salt: u64,
}

/// The first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub version: u32,
    pub owner: Owner,
    pub number: u64,
    pub previous_crc: u32,
    pub first_sequence: u64,
    pub first_index: LogIndex,
    pub first_crc: u32,
}

/// The result of reading a segment's first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentHead {
    Whole(SegmentHeader),
    /// A header of another format version.
    Version(u32),
    /// No header, or a bad one.
    Bad,
}

impl SegmentHeader {
    /// Fills `block`, which is one block of zeros.
    pub fn encode(&self, block: &mut [u8]) {
        assert_eq!(block.len(), BLOCK_BYTES, "a segment header is one block");
        block[..SEGMENT_CRC_AT].copy_from_slice(&SEGMENT_MAGIC);
        put_u32(block, SEGMENT_VERSION_AT, self.version);
        put_u64(block, SEGMENT_CLUSTER_AT, self.owner.cluster.0);
        put_u64(block, SEGMENT_MEMBER_AT, self.owner.member.0);
        put_u64(block, SEGMENT_SALT_AT, self.owner.salt);
        put_u16(block, SEGMENT_GROUP_AT, self.owner.group.0);
        put_u32(block, SEGMENT_PREVIOUS_CRC_AT, self.previous_crc);
        put_u64(block, SEGMENT_NUMBER_AT, self.number);
        put_u64(block, SEGMENT_SEQUENCE_AT, self.first_sequence);
        put_u64(block, SEGMENT_INDEX_AT, self.first_index.0);
        put_u32(block, SEGMENT_FIRST_CRC_AT, self.first_crc);
        let crc = crc32fast::hash(&block[SEGMENT_VERSION_AT..SECTOR_BYTES]);
        put_u32(block, SEGMENT_CRC_AT, crc);
    }

    /// Reads the first sector of a segment.
    pub fn decode(block: &[u8]) -> SegmentHead {
        if block.len() < SECTOR_BYTES || block[..SEGMENT_CRC_AT] != SEGMENT_MAGIC {
            return SegmentHead::Bad;
        }
        let crc = crc32fast::hash(&block[SEGMENT_VERSION_AT..SECTOR_BYTES]);
        if get_u32(block, SEGMENT_CRC_AT) != crc {
            return SegmentHead::Bad;
        }
        let version = get_u32(block, SEGMENT_VERSION_AT);
        if !(SEGMENT_VERSION_OLDEST..=SEGMENT_VERSION).contains(&version) {
            return SegmentHead::Version(version);
        }
        SegmentHead::Whole(SegmentHeader {
            version,
            owner: Owner {
                cluster: ClusterId(get_u64(block, SEGMENT_CLUSTER_AT)),
                member: MemberId(get_u64(block, SEGMENT_MEMBER_AT)),
                group: GroupId(get_u16(block, SEGMENT_GROUP_AT)),
                salt: get_u64(block, SEGMENT_SALT_AT),
            },
            number: get_u64(block, SEGMENT_NUMBER_AT),
            previous_crc: get_u32(block, SEGMENT_PREVIOUS_CRC_AT),
            first_sequence: get_u64(block, SEGMENT_SEQUENCE_AT),
            first_index: LogIndex(get_u64(block, SEGMENT_INDEX_AT)),
            first_crc: get_u32(block, SEGMENT_FIRST_CRC_AT),
        })
    }
}

/// The header in front of a batch's records. Only [`BatchHeader::verify`] makes it believable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub crc: u32,
    pub length: u32,
    pub records: u32,
    pub sequence: u64,
    pub segment: u64,
    pub offset: u64,
    pub salt: u64,
    pub previous_crc: u32,
    pub group: GroupId,
}

impl BatchHeader {
    /// Fills in the header of `batch`, whose records are already there, and returns its CRC.
    pub fn seal(mut self, batch: &mut [u8]) -> u32 {
        self.length = u32::try_from(batch.len()).expect("a batch fits its segment");
        batch[..BATCH_CRC_AT].copy_from_slice(&BATCH_MAGIC);
        put_u32(batch, BATCH_LENGTH_AT, self.length);
        put_u32(batch, BATCH_RECORDS_AT, self.records);
        put_u64(batch, BATCH_SEQUENCE_AT, self.sequence);
        put_u64(batch, BATCH_SEGMENT_AT, self.segment);
        put_u64(batch, BATCH_OFFSET_AT, self.offset);
        put_u64(batch, BATCH_SALT_AT, self.salt);
        put_u32(batch, BATCH_PREVIOUS_CRC_AT, self.previous_crc);
        put_u16(batch, BATCH_GROUP_AT, self.group.0);
        put_u16(batch, BATCH_GROUP_AT + 2, 0);
        let crc = crc32fast::hash(&batch[BATCH_LENGTH_AT..]);
        put_u32(batch, BATCH_CRC_AT, crc);
        crc
    }

    /// Reads a header without believing it: `None` if no batch begins here.
    pub fn decode(bytes: &[u8]) -> Option<BatchHeader> {
        if bytes.len() < BATCH_HEADER_BYTES || bytes[..BATCH_CRC_AT] != BATCH_MAGIC {
            return None;
        }
        Some(BatchHeader {
            crc: get_u32(bytes, BATCH_CRC_AT),
            length: get_u32(bytes, BATCH_LENGTH_AT),
            records: get_u32(bytes, BATCH_RECORDS_AT),
            sequence: get_u64(bytes, BATCH_SEQUENCE_AT),
            segment: get_u64(bytes, BATCH_SEGMENT_AT),
            offset: get_u64(bytes, BATCH_OFFSET_AT),
            salt: get_u64(bytes, BATCH_SALT_AT),
            previous_crc: get_u32(bytes, BATCH_PREVIOUS_CRC_AT),
            group: GroupId(get_u16(bytes, BATCH_GROUP_AT)),
        })
    }

    /// Whether `batch`, which has `length` bytes, is what was written.
    pub fn verify(&self, batch: &[u8]) -> bool {
        batch.len() == self.length as usize
            && batch.len() >= BATCH_HEADER_BYTES
            && crc32fast::hash(&batch[BATCH_LENGTH_AT..]) == self.crc
    }
}

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Entry(LogEntry),
    HardState(HardState),
    /// The log begins again after `index`; what is up to there is in a checkpoint.
    Restart {
        index: LogIndex,
        term: Term,
    },
    /// The durable state of the whole member.
    Note(Note),
    Part(Part),
}

/// Some of the bytes of an entry that is too large for one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub index: LogIndex,
    pub term: Term,
    /// The offset in the entry at which they begin, and the entry's length.
    pub offset: u32,
    pub total: u32,
    pub data: Bytes,
}

impl Part {
    /// Returns the offset in the entry at which its bytes end.
    pub fn end(&self) -> usize {
        self.offset as usize + self.data.len()
    }

    /// Whether the entry is whole with it.
    pub fn is_last(&self) -> bool {
        self.end() == self.total as usize
    }
}

impl Record {
    /// Bytes of this record in a batch.
    pub fn bytes(&self) -> usize {
        match self {
            Record::Entry(entry) => RECORD_HEADER_BYTES + entry.data.len(),
            Record::HardState(_) => HARD_STATE_BYTES,
            Record::Restart { .. } => RECORD_HEADER_BYTES,
            Record::Note(note) => RECORD_HEADER_BYTES + note.indexes.len() * NOTED_INDEX_BYTES,
            Record::Part(part) => RECORD_HEADER_BYTES + PART_HEAD_BYTES + part.data.len(),
        }
    }

    /// Takes the beginning off a large entry, or off what is left of it, as a part that has `bytes`
    /// bytes in its batch; the rest stays.
    pub fn take_part(&mut self, bytes: usize) -> Record {
        let mut rest = match std::mem::replace(self, Record::HardState(HardState::default())) {
            Record::Part(rest) => rest,
            Record::Entry(LogEntry { index, term, kind: EntryKind::Normal, data }) => {
                let total = u32::try_from(data.len()).expect("requests are far below 4 GiB");
                Part { index, term, offset: 0, total, data }
            }
            other => unreachable!("a small record goes whole: {other:?}"),
        };
        let data = rest.data.split_to(bytes - RECORD_HEADER_BYTES - PART_HEAD_BYTES);
        let part = Part { data, ..rest.clone() };
        rest.offset = part.end() as u32;
        *self = Record::Part(rest);
        Record::Part(part)
    }

    /// Hands header and bytes to `write`, in this order.
    pub fn encode(&self, mut write: impl FnMut(&[u8])) {
        let (vote, noted, mut head);
        let mut before: &[u8] = &[];
        let (kind, term, index, body): (u8, Term, LogIndex, &[u8]) = match self {
            Record::Entry(entry) => {
                let kind = match entry.kind {
                    EntryKind::Normal => KIND_NORMAL,
                    EntryKind::Membership => KIND_MEMBERSHIP,
                };
                (kind, entry.term, entry.index, &entry.data)
            }
            Record::HardState(state) => {
                vote = state.vote.to_le_bytes();
                (KIND_HARD_STATE, state.term, state.commit, &vote)
            }
            Record::Restart { index, term } => (KIND_RESTART, *term, *index, &[]),
            Record::Note(note) => {
                noted =
                    note.indexes.iter().flat_map(|index| index.0.to_le_bytes()).collect::<Vec<_>>();
                (KIND_NOTE, Term(0), LogIndex(note.stable.0.cast_unsigned()), &noted)
            }
            Record::Part(part) => {
                head = [0; PART_HEAD_BYTES];
                put_u32(&mut head, 0, part.offset);
                put_u32(&mut head, 4, part.total);
                before = &head;
                (KIND_PART, part.term, part.index, &part.data)
            }
        };
        let length = before.len() + body.len();
        let length = u32::try_from(length).expect("a record fits its segment");
        let mut header = [0; RECORD_HEADER_BYTES];
        header[0] = kind;
        put_u32(&mut header, RECORD_LENGTH_AT, length);
        put_u64(&mut header, RECORD_TERM_AT, term.0);
        put_u64(&mut header, RECORD_INDEX_AT, index.0);
        write(&header);
        write(before);
        write(body);
    }

    /// Takes the first record off `bytes`, sharing its memory. The error says what is wrong.
    pub fn decode(bytes: &mut Bytes) -> Result<Record, &'static str> {
        if bytes.len() < RECORD_HEADER_BYTES {
            return Err("a record ends early");
        }
        let header = bytes.split_to(RECORD_HEADER_BYTES);
        let length = get_u32(&header, RECORD_LENGTH_AT) as usize;
        if bytes.len() < length {
            return Err("a record is longer than its batch");
        }
        let data = bytes.split_to(length);
        let term = Term(get_u64(&header, RECORD_TERM_AT));
        let index = LogIndex(get_u64(&header, RECORD_INDEX_AT));
        let entry = |kind| Record::Entry(LogEntry { index, term, kind, data: data.clone() });
        match header[0] {
            KIND_NORMAL => Ok(entry(EntryKind::Normal)),
            KIND_MEMBERSHIP => Ok(entry(EntryKind::Membership)),
            KIND_HARD_STATE if length == VOTE_BYTES => {
                Ok(Record::HardState(HardState { term, vote: get_u64(&data, 0), commit: index }))
            }
            KIND_RESTART if length == 0 => Ok(Record::Restart { index, term }),
            KIND_NOTE if length.is_multiple_of(NOTED_INDEX_BYTES) => {
                let indexes = data.chunks_exact(NOTED_INDEX_BYTES);
                Ok(Record::Note(Note {
                    stable: Revision(index.0.cast_signed()),
                    indexes: indexes.map(|index| LogIndex(get_u64(index, 0))).collect(),
                }))
            }
            KIND_PART if length > PART_HEAD_BYTES => {
                let (offset, total) = (get_u32(&data, 0), get_u32(&data, 4));
                let part = Part { index, term, offset, total, data: data.slice(PART_HEAD_BYTES..) };
                let fits = part.end() <= total as usize;
                fits.then_some(Record::Part(part)).ok_or("a part is longer than its entry")
            }
            KIND_HARD_STATE | KIND_RESTART | KIND_NOTE | KIND_PART => {
                Err("a record has the wrong length for its kind")
            }
            _ => Err("a record has an unknown kind"),
        }
    }
}

pub(super) fn put_u16(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u64(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

pub(super) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(super) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            version: SEGMENT_VERSION,
            owner: Owner {
                cluster: ClusterId(0x0102_0304_0506_0708),
                member: MemberId(9),
                group: GroupId(3),
                salt: 77,
            },
            number: 5,
            previous_crc: 0xdead_beef,
            first_sequence: 41,
            first_index: LogIndex(1000),
            first_crc: 6,
        }
    }

    #[test]
    fn a_segment_header_lies_on_disk_as_the_table_says() {
        let mut block = [0; BLOCK_BYTES];
        header().encode(&mut block);
        assert_eq!(&block[..8], b"BRAIDSEG");
        assert_eq!(block[12..16], [2, 0, 0, 0]);
        assert_eq!(block[16..24], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(block[40..44], [3, 0, 0, 0]);
        assert_eq!(block[44..48], [0xef, 0xbe, 0xad, 0xde]);
        assert_eq!((block[48], block[56], get_u64(&block, 64)), (5, 41, 1000));
        assert_eq!(SegmentHeader::decode(&block), SegmentHead::Whole(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let mut block = [0; BLOCK_BYTES];
        header().encode(&mut block);
        for bit in 0..SECTOR_BYTES * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&block), SegmentHead::Bad, "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut block = [0; BLOCK_BYTES];
        header().encode(&mut block);
        put_u32(&mut block, SEGMENT_VERSION_AT, SEGMENT_VERSION + 1);
        let crc = crc32fast::hash(&block[SEGMENT_VERSION_AT..SECTOR_BYTES]);
        put_u32(&mut block, SEGMENT_CRC_AT, crc);
        assert_eq!(SegmentHeader::decode(&block), SegmentHead::Version(SEGMENT_VERSION + 1));
    }

    #[test]
    fn records_read_back_and_hostile_ones_are_refused() {
        let records = [
            Record::Entry(LogEntry {
                index: LogIndex(7),
                term: Term(2),
                kind: EntryKind::Membership,
                data: Bytes::from_static(b"change"),
            }),
            Record::HardState(HardState { term: Term(2), vote: 9, commit: LogIndex(6) }),
            Record::Restart { index: LogIndex(50), term: Term(3) },
        ];
        let mut bytes = Vec::new();
        for record in &records {
            let before = bytes.len();
            record.encode(|part| bytes.extend_from_slice(part));
            assert_eq!(bytes.len() - before, record.bytes());
        }
        let mut rest = Bytes::from(bytes.clone());
        for record in &records {
            assert_eq!(Record::decode(&mut rest).as_ref(), Ok(record));
        }
        assert!(rest.is_empty());

        let hostile = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            Record::decode(&mut Bytes::from(bytes)).unwrap_err()
        };
        let mut part = Vec::new();
        let data = Bytes::from_static(b"part");
        let end = Part { index: LogIndex(9), term: Term(4), offset: 5, total: 9, data };
        Record::Part(end.clone()).encode(|bytes| part.extend_from_slice(bytes));
        part[RECORD_HEADER_BYTES + 4] = 8;
        let decoded = Record::decode(&mut Bytes::from(part));
        assert_eq!(decoded, Err("a part is longer than its entry"));
        assert_eq!(hostile(0, 9), "a record has an unknown kind");
        assert_eq!(hostile(0, KIND_RESTART), "a record has the wrong length for its kind");
        assert_eq!(hostile(7, 0xff), "a record is longer than its batch");
        let short = &mut Bytes::from_static(&[1; 23]);
        assert_eq!(Record::decode(short), Err("a record ends early"));
    }

    #[test]
    fn an_entry_comes_apart_into_parts_that_follow_one_another() {
        let data = Bytes::from((0..100).collect::<Vec<u8>>());
        let (index, term, kind) = (LogIndex(7), Term(3), EntryKind::Normal);
        let mut rest = Record::Entry(LogEntry { index, term, kind, data: data.clone() });
        let mut found = Vec::new();
        while !matches!(&rest, Record::Part(part) if part.data.len() <= 40) {
            let part = rest.take_part(RECORD_HEADER_BYTES + PART_HEAD_BYTES + 30);
            assert_eq!(part.bytes(), RECORD_HEADER_BYTES + PART_HEAD_BYTES + 30);
            found.push(part);
        }
        found.push(rest);
        let mut whole = Vec::new();
        for (number, record) in found.iter().enumerate() {
            let Record::Part(part) = record else { panic!("{record:?}") };
            assert_eq!((part.index, part.term, part.total), (index, term, 100));
            assert_eq!(part.offset as usize, whole.len());
            assert_eq!(part.is_last(), number + 1 == found.len());
            whole.extend_from_slice(&part.data);
            let mut bytes = Vec::new();
            record.encode(|piece| bytes.extend_from_slice(piece));
            assert_eq!(Record::decode(&mut Bytes::from(bytes)).as_ref(), Ok(record));
        }
        assert_eq!((found.len(), whole), (3, data.to_vec()));
    }
}
