//! How many operations a txn's bytes hold, before anything is allocated for them.
//!
//! An operation can be two bytes on the wire and a hundred times that in memory, and a txn can be
//! nested as deep as its bytes go. So before prost builds anything, this walk reads the outline of
//! the message: keys and lengths, nothing else. Each level may hold what its longest list above
//! left of `--max-txn-ops`, as in etcd. (etcd counts a nested txn only when it gets there, so a
//! request that has another fault before it is refused for that one there, and for its size here.)

use crate::limits::{TXN_DEPTH_MAX, TXN_OPS_TOTAL_MAX};

/// Why a txn is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    Malformed,
    TooManyOps,
    TooDeep,
}

const TXN_COMPARE: u64 = 1;
const TXN_SUCCESS: u64 = 2;
const TXN_FAILURE: u64 = 3;
const OP_TXN: u64 = 4;

/// Checks the outline of a marshalled `TxnRequest`.
pub(super) fn check(payload: &[u8], max_txn_ops: usize) -> Result<(), Excess> {
    let total_max = max_txn_ops.saturating_mul(4).max(TXN_OPS_TOTAL_MAX);
    Outline { total_left: total_max }.txn(payload, max_txn_ops, TXN_DEPTH_MAX)
}

struct Outline {
    /// Operations and compares that the whole tree may still have.
    total_left: usize,
}

impl Outline {
    fn txn(&mut self, message: &[u8], budget: usize, depth: usize) -> Result<(), Excess> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(Excess::TooDeep);
        };
        let mut counts = [0usize; 3];
        for field in Fields(message) {
            if let Field { number: number @ TXN_COMPARE..=TXN_FAILURE, bytes: Some(_), .. } = field?
            {
                let count = &mut counts[number as usize - 1];
                *count += 1;
                if *count > budget || self.total_left == 0 {
                    return Err(Excess::TooManyOps);
                }
                self.total_left -= 1;
            }
        }
        let left = budget - counts.iter().max().expect("three counts");
        for field in Fields(message) {
            if let Field { number: TXN_SUCCESS | TXN_FAILURE, bytes: Some(op), .. } = field?
                && let Some(nested) = nested_txn(op)?
            {
                self.txn(nested, left, depth)?;
            }
        }
        Ok(())
    }
}

/// The txn that an operation is. Protobuf would merge several into one, which could then hold more
/// than each of them; no client sends that.
fn nested_txn(op: &[u8]) -> Result<Option<&[u8]>, Excess> {
    let mut found = None;
    for field in Fields(op) {
        if let Field { number: OP_TXN, bytes: Some(nested), .. } = field?
            && found.replace(nested).is_some()
        {
            return Err(Excess::Malformed);
        }
    }
    Ok(found)
}

/// The fields of a message, one after the other; the first fault is the last item.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

pub(super) struct Field<'a> {
    pub(super) number: u64,
    /// What a length-delimited field holds.
    pub(super) bytes: Option<&'a [u8]>,
    /// What a varint field holds.
    pub(super) varint: Option<u64>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Excess>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Excess::Malformed))
    }
}

impl<'a> Fields<'a> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next field of a message that is not empty.
    #[inline]
    pub(super) fn field(&mut self) -> Option<Field<'a>> {
        let key = self.varint()?;
        let number = key >> 3;
        let (mut bytes, mut varint) = (None, None);
        match key & 7 {
            0 => varint = Some(self.varint()?),
            1 => drop(self.take(8)?),
            2 => {
                let length = self.varint()?;
                bytes = Some(self.take(usize::try_from(length).ok()?)?);
            }
            5 => drop(self.take(4)?),
            // Groups: proto3 has none, and no version of this API had.
            _ => return None,
        }
        Some(Field { number, bytes, varint })
    }

    #[inline]
    fn varint(&mut self) -> Option<u64> {
        match self.0 {
            &[byte, ref rest @ ..] if byte < 0x80 => {
                self.0 = rest;
                Some(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.0.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return None; // More than 64 bits.
            }
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
