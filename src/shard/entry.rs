//! The entries that a shard logs, byte by byte.
//!
//! ```text
//! entry   = version u8 | kind u8 | epoch u64 | term u64 | stable i64 | body      little-endian
//! changes = operation*                                                           kind 1
//! open    = cut i64                                                              kind 2
//! compact = revision i64                                                         kind 3
//!
//! operation = tag u8 | Δrevision | [sub] | [participants] | rest                 numbers: LEB128
//! put       = [lease i64] | key length | value length | key | value              tag bits 0-1: 0
//! delete    = end kind u8 | start length | start | [end length | end] | count    tag bits 0-1: 1
//! revoke    = lease i64 | count                                                  tag bits 0-1: 2
//! ```
//!
//! Bit 2 of the tag: the ordinal is not 0 and follows. Bit 3: participants follow (a cross-shard
//! revision; only its first operation here carries them). Bit 4: a lease follows. `Δrevision` is
//! the distance from the operation before; the first counts from `stable`, above which everything
//! in an entry lies. A range delete is logged as the range with the number of keys it must hit, the
//! end of a lease as the lease with the number of keys that must be attached to it here: so either
//! is small, however many keys there are.

use bytes::Bytes;

use crate::types::{Epoch, KeyRange, LeaseId, RangeEnd, Revision, ShardSet, Sub, Term};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 2 + 8 + 8 + 8;

const TAG_KIND: u8 = 0b11;
const TAG_PUT: u8 = 0;
const TAG_DELETE: u8 = 1;
const TAG_REVOKE: u8 = 2;
const TAG_SUB: u8 = 1 << 2;
const TAG_PARTICIPANTS: u8 = 1 << 3;
const TAG_LEASE: u8 = 1 << 4;

/// In which reign an entry was proposed, and what was stable then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub epoch: Epoch,
    pub term: Term,
    pub stable: Revision,
}

/// The body of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Changes follow, to be read with [`Operations`].
    Changes(Bytes),
    Open {
        cut: Revision,
    },
    Compact {
        revision: Revision,
    },
}

/// One change, or a range of keys deleted by one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub revision: Revision,
    pub sub: Sub,
    /// Set on the first operation of a cross-shard revision.
    pub participants: Option<ShardSet>,
    pub change: Change,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Put {
        key: Bytes,
        value: Bytes,
        lease: LeaseId,
    },
    DeleteRange {
        range: KeyRange,
        count: u64,
    },
    /// Every key that is attached to the lease is deleted.
    Revoke {
        lease: LeaseId,
        count: u64,
    },
}

/// The entry's bytes are not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry(pub &'static str);

/// Collects the changes of one turn of a shard.
#[derive(Debug)]
pub struct ChangesBuilder {
    bytes: Vec<u8>,
    last: Revision,
    operations: usize,
}

impl ChangesBuilder {
    /// An entry without changes yet.
    pub fn new(stamp: Stamp) -> ChangesBuilder {
        let mut bytes = Vec::with_capacity(4096);
        put_header(&mut bytes, 1, stamp);
        ChangesBuilder { bytes, last: stamp.stable, operations: 0 }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `bytes` more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Whether there is nothing to log.
    pub fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// How many changes there are.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// The highest revision in it.
    pub fn last_revision(&self) -> Revision {
        self.last
    }

    /// Adds a put.
    pub fn put(
        &mut self,
        at: (Revision, Sub),
        participants: Option<ShardSet>,
        key: &[u8],
        value: &[u8],
        lease: LeaseId,
    ) {
        let has_lease = if lease == LeaseId::NONE { 0 } else { TAG_LEASE };
        self.begin(TAG_PUT | has_lease, at, participants);
        if has_lease != 0 {
            self.bytes.extend_from_slice(&lease.0.to_le_bytes());
        }
        put_number(&mut self.bytes, key.len() as u64);
        put_number(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Adds a range delete that hits `count` keys.
    pub fn delete_range(
        &mut self,
        at: (Revision, Sub),
        participants: Option<ShardSet>,
        range: &KeyRange,
        count: u64,
    ) {
        self.begin(TAG_DELETE, at, participants);
        self.bytes.push(match range.end {
            RangeEnd::Single => 0,
            RangeEnd::Unbounded => 1,
            RangeEnd::Before(_) => 2,
        });
        put_slice(&mut self.bytes, &range.start);
        if let RangeEnd::Before(end) = &range.end {
            put_slice(&mut self.bytes, end);
        }
        put_number(&mut self.bytes, count);
    }

    /// Adds the deletion of the `count` keys that are attached to `lease`.
    pub fn delete_lease_keys(
        &mut self,
        at: (Revision, Sub),
        participants: Option<ShardSet>,
        lease: LeaseId,
        count: u64,
    ) {
        self.begin(TAG_REVOKE, at, participants);
        self.bytes.extend_from_slice(&lease.0.to_le_bytes());
        put_number(&mut self.bytes, count);
    }

    fn begin(&mut self, tag: u8, (revision, sub): (Revision, Sub), set: Option<ShardSet>) {
        assert!(revision >= self.last, "R2: an entry's revisions rise");
        let has_sub = if sub == Sub(0) { 0 } else { TAG_SUB };
        let has_set = if set.is_none() { 0 } else { TAG_PARTICIPANTS };
        self.bytes.push(tag | has_sub | has_set);
        put_number(&mut self.bytes, (revision.0 - self.last.0) as u64);
        if has_sub != 0 {
            put_number(&mut self.bytes, u64::from(sub.0));
        }
        if let Some(set) = set {
            put_number(&mut self.bytes, set.0 as u64);
            put_number(&mut self.bytes, (set.0 >> 64) as u64);
        }
        self.last = revision;
        self.operations += 1;
    }

    /// The entry's bytes.
    pub fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

/// An entry that opens an epoch.
pub fn open(stamp: Stamp, cut: Revision) -> Bytes {
    fixed(2, stamp, cut)
}

/// An entry that compacts.
pub fn compact(stamp: Stamp, revision: Revision) -> Bytes {
    fixed(3, stamp, revision)
}

fn fixed(kind: u8, stamp: Stamp, revision: Revision) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 8);
    put_header(&mut bytes, kind, stamp);
    bytes.extend_from_slice(&revision.0.to_le_bytes());
    Bytes::from(bytes)
}

fn put_header(bytes: &mut Vec<u8>, kind: u8, stamp: Stamp) {
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&stamp.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&stamp.term.0.to_le_bytes());
    bytes.extend_from_slice(&stamp.stable.0.to_le_bytes());
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_slice(bytes: &mut Vec<u8>, slice: &[u8]) {
    put_number(bytes, slice.len() as u64);
    bytes.extend_from_slice(slice);
}

/// Reads an entry's stamp and body.
pub fn decode(data: &Bytes) -> Result<(Stamp, Body), BadEntry> {
    let mut rest = Cursor { data, at: 0 };
    if rest.byte()? != VERSION {
        return Err(BadEntry("an entry of an unknown version"));
    }
    let kind = rest.byte()?;
    let stamp = Stamp {
        epoch: Epoch(rest.fixed()?),
        term: Term(rest.fixed()?),
        stable: Revision(rest.fixed()? as i64),
    };
    let body = match kind {
        1 => Body::Changes(data.slice(rest.at..)),
        2 => Body::Open { cut: Revision(rest.fixed()? as i64) },
        3 => Body::Compact { revision: Revision(rest.fixed()? as i64) },
        _ => return Err(BadEntry("an entry of an unknown kind")),
    };
    Ok((stamp, body))
}

/// The operations of an entry of changes, in order.
#[derive(Debug)]
pub struct Operations<'a> {
    rest: Cursor<'a>,
    last: Revision,
}

impl<'a> Operations<'a> {
    /// Reads `body`, whose revisions count from `stable`.
    pub fn of(body: &'a Bytes, stable: Revision) -> Operations<'a> {
        Operations { rest: Cursor { data: body, at: 0 }, last: stable }
    }

    fn operation(&mut self) -> Result<Operation, BadEntry> {
        let tag = self.rest.byte()?;
        let delta = i64::try_from(self.rest.number()?).map_err(|_| BadEntry("a far revision"))?;
        let revision = self.last.0.checked_add(delta).ok_or(BadEntry("a far revision"))?;
        self.last = Revision(revision);
        let sub = if tag & TAG_SUB == 0 { 0 } else { self.rest.number()? };
        let participants = if tag & TAG_PARTICIPANTS == 0 {
            None
        } else {
            let low = u128::from(self.rest.number()?);
            Some(ShardSet(low | u128::from(self.rest.number()?) << 64))
        };
        let change = match tag & TAG_KIND {
            TAG_PUT => self.put(tag)?,
            TAG_DELETE => self.delete()?,
            TAG_REVOKE => {
                let lease = LeaseId(self.rest.fixed()? as i64);
                Change::Revoke { lease, count: self.rest.number()? }
            }
            _ => return Err(BadEntry("an operation of an unknown kind")),
        };
        let sub = Sub(u32::try_from(sub).map_err(|_| BadEntry("a far ordinal"))?);
        Ok(Operation { revision: self.last, sub, participants, change })
    }

    fn put(&mut self, tag: u8) -> Result<Change, BadEntry> {
        let lease = if tag & TAG_LEASE == 0 { 0 } else { self.rest.fixed()? as i64 };
        let (key, value) = (self.rest.number()?, self.rest.number()?);
        let (key, value) = (self.rest.take(key)?, self.rest.take(value)?);
        Ok(Change::Put { key, value, lease: LeaseId(lease) })
    }

    fn delete(&mut self) -> Result<Change, BadEntry> {
        let end = self.rest.byte()?;
        let start = self.rest.slice()?;
        let end = match end {
            0 => RangeEnd::Single,
            1 => RangeEnd::Unbounded,
            2 => RangeEnd::Before(self.rest.slice()?),
            _ => return Err(BadEntry("a range with an unknown end")),
        };
        let count = self.rest.number()?;
        Ok(Change::DeleteRange { range: KeyRange { start, end }, count })
    }
}

impl Iterator for Operations<'_> {
    type Item = Result<Operation, BadEntry>;

    fn next(&mut self) -> Option<Result<Operation, BadEntry>> {
        if self.rest.at == self.rest.data.len() {
            return None;
        }
        let operation = self.operation();
        if operation.is_err() {
            self.rest.at = self.rest.data.len();
        }
        Some(operation)
    }
}

#[derive(Debug)]
struct Cursor<'a> {
    data: &'a Bytes,
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, BadEntry> {
        let byte = *self.data.get(self.at).ok_or(BadEntry("an entry cut short"))?;
        self.at += 1;
        Ok(byte)
    }

    fn fixed(&mut self) -> Result<u64, BadEntry> {
        let bytes = self.data.get(self.at..self.at + 8).ok_or(BadEntry("an entry cut short"))?;
        self.at += 8;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    fn number(&mut self) -> Result<u64, BadEntry> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(BadEntry("a number without end"))
    }

    fn take(&mut self, length: u64) -> Result<Bytes, BadEntry> {
        let left = (self.data.len() - self.at) as u64;
        if length > left {
            return Err(BadEntry("an entry cut short"));
        }
        let slice = self.data.slice(self.at..self.at + length as usize);
        self.at += length as usize;
        Ok(slice)
    }

    fn slice(&mut self) -> Result<Bytes, BadEntry> {
        let length = self.number()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { epoch: Epoch(3), term: Term(9), stable: Revision(40) }
    }

    fn changes() -> Bytes {
        let mut entry = ChangesBuilder::new(stamp());
        let set = ShardSet(1 << 127 | 5);
        entry.put((Revision(41), Sub(0)), None, b"key", b"value", LeaseId::NONE);
        entry.put((Revision(44), Sub(2)), Some(set), b"", &[7; 300], LeaseId(-2));
        let range = KeyRange::from_api(Bytes::from("a"), Bytes::from("b"));
        entry.delete_range((Revision(44), Sub(3)), None, &range, 1_000_000);
        entry.delete_range((Revision(45), Sub(0)), None, &KeyRange::all(), 2);
        entry.delete_lease_keys((Revision(46), Sub(0)), Some(set), LeaseId(-9), 300);
        entry.finish()
    }

    #[test]
    fn an_entry_reads_back_as_it_was_built() {
        let (read, body) = decode(&changes()).unwrap();
        assert_eq!(read, stamp());
        let Body::Changes(body) = body else { panic!("changes") };
        let operations: Vec<_> =
            Operations::of(&body, read.stable).collect::<Result<_, _>>().unwrap();
        let revisions: Vec<_> = operations.iter().map(|op| (op.revision.0, op.sub.0)).collect();
        assert_eq!(revisions, [(41, 0), (44, 2), (44, 3), (45, 0), (46, 0)]);
        assert_eq!(operations[1].participants, Some(ShardSet(1 << 127 | 5)));
        let Change::Put { lease, value, .. } = &operations[1].change else { panic!("a put") };
        assert_eq!((lease.0, value.len()), (-2, 300));
        let Change::DeleteRange { range, count } = &operations[3].change else {
            panic!("a delete")
        };
        assert_eq!((range, *count), (&KeyRange::all(), 2));
        assert_eq!(operations[4].change, Change::Revoke { lease: LeaseId(-9), count: 300 });
    }

    #[test]
    fn open_and_compact_read_back() {
        let (_, body) = decode(&open(stamp(), Revision(77))).unwrap();
        assert_eq!(body, Body::Open { cut: Revision(77) });
        let (_, body) = decode(&compact(stamp(), Revision(12))).unwrap();
        assert_eq!(body, Body::Compact { revision: Revision(12) });
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic() {
        let whole = changes();
        for length in 0..whole.len() {
            let cut = whole.slice(..length);
            if let Ok((stamp, Body::Changes(body))) = decode(&cut) {
                let _ = Operations::of(&body, stamp.stable).count();
            }
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.to_vec();
                flipped[at] ^= 1 << bit;
                if let Ok((stamp, Body::Changes(body))) = decode(&Bytes::from(flipped)) {
                    let _ = Operations::of(&body, stamp.stable).count();
                }
            }
        }
    }
}
