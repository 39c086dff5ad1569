//! The entries that a shard logs, byte by byte.
//!
//! ```text
//! entry   = version u8 | kind u8 | epoch u64 | term u64 | stable i64 | body      little-endian
//! changes = operation*                                                           kind 1
//! open    = cut i64                                                              kind 2
//! compact = revision i64                                                         kind 3
//!
//! operation = tag u8 | Δrevision | [sub] | [participants] | rest                 numbers: LEB128
//! put       = [lease i64] | key length | [value length] | key | [value]          tag bits 0-1: 0
//! delete    = end kind u8 | start length | start | [end length | end] | count    tag bits 0-1: 1
//! revoke    = lease i64 | count                                                  tag bits 0-1: 2
//! ```
//!
//! Bit 2 of the tag: the ordinal is not 0 and follows. Bit 3: participants follow (a cross-shard
//! revision; only its first operation here carries them). Bit 4: a lease follows. Bit 5: the put
//! keeps the value that the key has, and neither it nor its length follows. Bit 6: the put keeps
//! the key's lease. `Δrevision` is the distance from the operation before; the first counts from
//! `stable`, above which everything in an entry lies.
//!
//! What is there already is named and not copied: a range delete is logged as the range with the
//! number of keys that it must hit, the end of a lease as the lease with the number of keys that
//! must be attached to it here, a kept value as such. So the size of an entry follows from the
//! requests alone (`types::logged`), whatever the store holds.
//!
//! Version 2 brought bits 5 and 6. An entry that uses neither is written as version 1, which every
//! reader knows.

use bytes::Bytes;

use crate::types::{
    Epoch, KeyRange, LOGGED_OVERHEAD_BYTES, LeaseId, RangeEnd, Revision, ShardSet, Sub, Term,
};

/// The version of an entry in which no put keeps anything.
const VERSION_PLAIN: u8 = 1;
/// The version of an entry in which some put keeps what its key has.
const VERSION_KEPT: u8 = 2;

/// Bytes of an entry before its first operation.
pub const HEADER_BYTES: usize = 2 + 8 + 8 + 8;
/// Bytes that an entry that compacts has besides its header.
pub const COMPACT_BYTES: usize = 8;

const KIND_CHANGES: u8 = 1;
const KIND_OPEN: u8 = 2;
const KIND_COMPACT: u8 = 3;

const TAG_KIND: u8 = 0b11;
const TAG_PUT: u8 = 0;
const TAG_DELETE: u8 = 1;
const TAG_REVOKE: u8 = 2;
const TAG_SUB: u8 = 1 << 2;
const TAG_PARTICIPANTS: u8 = 1 << 3;
const TAG_LEASE: u8 = 1 << 4;
const TAG_KEPT_VALUE: u8 = 1 << 5;
const TAG_KEPT_LEASE: u8 = 1 << 6;
const TAG_KEPT: u8 = TAG_KEPT_VALUE | TAG_KEPT_LEASE;

/// Returns the bytes of a LEB128 number with so many bits.
const fn number_bytes(bits: usize) -> usize {
    bits.div_ceil(7)
}

/// Bytes of a length: requests are far below 4 GiB.
const LENGTH_BYTES: usize = number_bytes(32);

/// Tag, distance, ordinal, participants; then what each kind says besides its keys and its value.
const OPERATION_BYTES: usize = 1 + number_bytes(64) + number_bytes(32) + 2 * number_bytes(64);
const PUT_BYTES: usize = 8 + 2 * LENGTH_BYTES;
const DELETE_BYTES: usize = 1 + 2 * LENGTH_BYTES + number_bytes(64);
const REVOKE_BYTES: usize = 8 + number_bytes(64);
const _: () = assert!(OPERATION_BYTES + PUT_BYTES <= LOGGED_OVERHEAD_BYTES);
const _: () = assert!(OPERATION_BYTES + DELETE_BYTES <= LOGGED_OVERHEAD_BYTES);
const _: () = assert!(OPERATION_BYTES + REVOKE_BYTES <= LOGGED_OVERHEAD_BYTES);

/// In which epoch an entry was proposed, and what was stable then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub epoch: Epoch,
    pub term: Term,
    pub stable: Revision,
}

/// The body of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Changes(Changes),
    Open { cut: Revision },
    Compact { revision: Revision },
}

/// The changes of an entry, to be read with [`Changes::operations`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    bytes: Bytes,
    /// Bits that no tag of the entry's version has.
    unknown: u8,
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

/// The change of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `None` is what the key has already.
    Put {
        key: Bytes,
        value: Option<Bytes>,
        lease: Option<LeaseId>,
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
        put_header(&mut bytes, KIND_CHANGES, stamp);
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

    /// Counts the changes.
    pub fn operations(&self) -> usize {
        self.operations
    }

    /// The highest revision in it.
    pub fn last_revision(&self) -> Revision {
        self.last
    }

    /// Adds a put; `None` keeps the value, or the lease, that the key has.
    pub fn put(
        &mut self,
        at: (Revision, Sub),
        participants: Option<ShardSet>,
        key: &[u8],
        value: Option<&[u8]>,
        lease: Option<LeaseId>,
    ) {
        let kept_value = if value.is_none() { TAG_KEPT_VALUE } else { 0 };
        let (lease_tag, lease) = match lease {
            None => (TAG_KEPT_LEASE, LeaseId::NONE),
            Some(LeaseId::NONE) => (0, LeaseId::NONE),
            Some(lease) => (TAG_LEASE, lease),
        };
        self.begin(TAG_PUT | kept_value | lease_tag, at, participants);
        if lease_tag == TAG_LEASE {
            self.bytes.extend_from_slice(&lease.0.to_le_bytes());
        }
        put_number(&mut self.bytes, key.len() as u64);
        if let Some(value) = value {
            put_number(&mut self.bytes, value.len() as u64);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
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
        if tag & TAG_KEPT != 0 {
            self.bytes[0] = VERSION_KEPT;
        }
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
    fixed(KIND_OPEN, stamp, cut)
}

/// An entry that compacts.
pub fn compact(stamp: Stamp, revision: Revision) -> Bytes {
    fixed(KIND_COMPACT, stamp, revision)
}

fn fixed(kind: u8, stamp: Stamp, revision: Revision) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 8);
    put_header(&mut bytes, kind, stamp);
    bytes.extend_from_slice(&revision.0.to_le_bytes());
    Bytes::from(bytes)
}

fn put_header(bytes: &mut Vec<u8>, kind: u8, stamp: Stamp) {
    bytes.extend_from_slice(&[VERSION_PLAIN, kind]);
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
    let unknown = match rest.byte()? {
        VERSION_PLAIN => !(TAG_KIND | TAG_SUB | TAG_PARTICIPANTS | TAG_LEASE),
        VERSION_KEPT => !(TAG_KIND | TAG_SUB | TAG_PARTICIPANTS | TAG_LEASE | TAG_KEPT),
        _ => return Err(BadEntry("an entry of an unknown version")),
    };
    let kind = rest.byte()?;
    let stamp = Stamp {
        epoch: Epoch(rest.fixed()?),
        term: Term(rest.fixed()?),
        stable: Revision(rest.fixed()? as i64),
    };
    let body = match kind {
        KIND_CHANGES => Body::Changes(Changes { bytes: data.slice(rest.at..), unknown }),
        KIND_OPEN => Body::Open { cut: Revision(rest.fixed()? as i64) },
        KIND_COMPACT => Body::Compact { revision: Revision(rest.fixed()? as i64) },
        _ => return Err(BadEntry("an entry of an unknown kind")),
    };
    Ok((stamp, body))
}

impl Changes {
    /// The operations in order; their revisions count from `stable`.
    pub fn operations(&self, stable: Revision) -> Operations<'_> {
        let rest = Cursor { data: &self.bytes, at: 0 };
        Operations { rest, last: stable, unknown: self.unknown }
    }
}

/// The iterator that [`Changes::operations`] returns.
#[derive(Debug)]
pub struct Operations<'a> {
    rest: Cursor<'a>,
    last: Revision,
    unknown: u8,
}

impl Operations<'_> {
    fn operation(&mut self) -> Result<Operation, BadEntry> {
        let tag = self.rest.byte()?;
        if tag & self.unknown != 0 {
            return Err(BadEntry("an operation with an unknown flag"));
        }
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
        let keeps_value = tag & TAG_KEPT_VALUE != 0;
        let key = self.rest.number()?;
        let value = if keeps_value { 0 } else { self.rest.number()? };
        let (key, value) = (self.rest.take(key)?, self.rest.take(value)?);
        let value = Some(value).filter(|_| !keeps_value);
        let lease = Some(LeaseId(lease)).filter(|_| tag & TAG_KEPT_LEASE == 0);
        Ok(Change::Put { key, value, lease })
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
    use crate::types::txn::PathOp;
    use crate::types::{DeleteRangeRequest, PutRequest};

    fn stamp() -> Stamp {
        Stamp { epoch: Epoch(3), term: Term(9), stable: Revision(40) }
    }

    fn changes() -> Bytes {
        let mut entry = ChangesBuilder::new(stamp());
        let set = ShardSet(1 << 127 | 5);
        entry.put((Revision(41), Sub(0)), None, b"key", Some(b"value"), Some(LeaseId::NONE));
        entry.put((Revision(44), Sub(2)), Some(set), b"", Some(&[7; 300]), Some(LeaseId(-2)));
        let range = KeyRange::from_api(Bytes::from("a"), Bytes::from("b"));
        entry.delete_range((Revision(44), Sub(3)), None, &range, 1_000_000);
        entry.delete_range((Revision(45), Sub(0)), None, &KeyRange::all(), 2);
        entry.delete_lease_keys((Revision(46), Sub(0)), Some(set), LeaseId(-9), 300);
        entry.put((Revision(47), Sub(0)), None, b"kept", None, None);
        entry.finish()
    }

    #[test]
    fn an_entry_reads_back_as_it_was_built() {
        let (read, body) = decode(&changes()).unwrap();
        assert_eq!(read, stamp());
        let Body::Changes(body) = body else { panic!("changes") };
        let operations: Vec<_> = body.operations(read.stable).collect::<Result<_, _>>().unwrap();
        let revisions: Vec<_> = operations.iter().map(|op| (op.revision.0, op.sub.0)).collect();
        assert_eq!(revisions, [(41, 0), (44, 2), (44, 3), (45, 0), (46, 0), (47, 0)]);
        assert_eq!(operations[1].participants, Some(ShardSet(1 << 127 | 5)));
        let Change::Put { lease, value, .. } = &operations[1].change else { panic!("a put") };
        assert_eq!(*lease, Some(LeaseId(-2)));
        assert_eq!(value.as_ref().map(Bytes::len), Some(300));
        let Change::DeleteRange { range, count } = &operations[3].change else {
            panic!("a delete")
        };
        assert_eq!((range, *count), (&KeyRange::all(), 2));
        assert_eq!(operations[4].change, Change::Revoke { lease: LeaseId(-9), count: 300 });
    }

    /// The changes that `build` puts into an entry, and the entry's bytes.
    fn built(build: impl FnOnce(&mut ChangesBuilder)) -> (Vec<Operation>, Bytes) {
        let mut entry = ChangesBuilder::new(stamp());
        build(&mut entry);
        let bytes = entry.finish();
        let (_, Body::Changes(body)) = decode(&bytes).unwrap() else { panic!("changes") };
        (body.operations(stamp().stable).collect::<Result<_, _>>().unwrap(), bytes)
    }

    #[test]
    fn what_a_put_keeps_is_named_and_not_copied() {
        let at = |revision| (Revision(revision), Sub(0));
        let (operations, bytes) = built(|entry| {
            entry.put(at(41), None, b"both", None, None);
            entry.put(at(42), None, b"value", None, Some(LeaseId(7)));
            entry.put(at(43), None, b"lease", Some(b"new"), None);
        });
        let kept: Vec<_> = operations
            .iter()
            .map(|operation| match &operation.change {
                Change::Put { value, lease, .. } => (value.as_deref(), *lease),
                other => panic!("{other:?}"),
            })
            .collect();
        let new: &[u8] = b"new";
        assert_eq!(kept, [(None, None), (None, Some(LeaseId(7))), (Some(new), None)]);
        assert_eq!(bytes[0], VERSION_KEPT);
    }

    /// Byte for byte what version 1 wrote before there was another.
    #[test]
    fn an_entry_that_keeps_nothing_is_of_version_1_as_ever() {
        let (operations, bytes) = built(|entry| {
            let lease = Some(LeaseId(3));
            entry.put((Revision(41), Sub(0)), None, b"k", Some(b"vw"), Some(LeaseId::NONE));
            entry.put((Revision(42), Sub(1)), Some(ShardSet(5)), b"l", Some(b""), lease);
        });
        assert_eq!(operations.len(), 2);
        let plain = [0, 1, 1, 2, b'k', b'v', b'w'];
        let rest = [0b1_1100, 1, 1, 5, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, b'l'];
        assert_eq!((bytes[0], bytes[1]), (1, 1));
        assert_eq!(bytes[HEADER_BYTES..], [&plain[..], &rest].concat());
    }

    #[test]
    fn a_flag_that_a_version_does_not_have_is_an_error() {
        let (_, bytes) = built(|entry| {
            entry.put((Revision(41), Sub(0)), None, b"key", None, None);
        });
        for (version, tag) in [(1, TAG_KEPT_VALUE), (1, TAG_KEPT_LEASE), (1, 1 << 7), (2, 1 << 7)] {
            let mut bad = bytes.to_vec();
            bad[0] = version;
            bad[HEADER_BYTES] = tag;
            let (stamp, Body::Changes(body)) = decode(&Bytes::from(bad)).unwrap() else {
                panic!("changes")
            };
            let read = body.operations(stamp.stable).next().expect("an error");
            assert_eq!(read, Err(BadEntry("an operation with an unknown flag")));
        }
        let mut newer = bytes.to_vec();
        newer[0] = 3;
        assert!(decode(&Bytes::from(newer)).is_err(), "a clear stop, and no guess");
    }

    #[test]
    fn an_operation_adds_no_more_than_its_request_says() {
        let far = |sub| (Revision(i64::MAX), Sub(sub));
        let all = Some(ShardSet(u128::MAX));
        let key = [7; 200];
        let put = |ignore| {
            let mut put = PutRequest::of(Bytes::copy_from_slice(&key), Bytes::from(vec![1; 3000]));
            put.lease = LeaseId(-1);
            (put.ignore_value, put.ignore_lease) = (ignore, ignore);
            put
        };
        let range = KeyRange::from_api(Bytes::copy_from_slice(&key), Bytes::from(vec![8; 300]));
        let delete = DeleteRangeRequest { range: range.clone(), prev_kv: true };
        let first = |build: &dyn Fn(&mut ChangesBuilder)| built(build).1.len() - HEADER_BYTES;
        let (given, kept) = (put(false), put(true));
        let given_bytes = first(&|entry| {
            entry.put(far(u32::MAX), all, &given.key, Some(&given.value), Some(given.lease));
        });
        assert!((given.key.len() + 3000..=given.logged_bytes()).contains(&given_bytes));
        let kept_bytes = first(&|entry| entry.put(far(u32::MAX), all, &kept.key, None, None));
        assert!(kept_bytes <= kept.logged_bytes() && kept.logged_bytes() < 300);
        let delete_bytes = first(&|entry| entry.delete_range(far(u32::MAX), all, &range, u64::MAX));
        assert!(delete_bytes <= delete.logged_bytes());
        let revoke_bytes =
            first(&|entry| entry.delete_lease_keys(far(u32::MAX), all, LeaseId(-1), u64::MAX));
        assert!(revoke_bytes <= PathOp::Revoke(LeaseId(-1)).logged_bytes());
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
                let _ = body.operations(stamp.stable).count();
            }
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.to_vec();
                flipped[at] ^= 1 << bit;
                if let Ok((stamp, Body::Changes(body))) = decode(&Bytes::from(flipped)) {
                    let _ = body.operations(stamp.stable).count();
                }
            }
        }
    }
}
