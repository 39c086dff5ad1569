//! Counts the operations in a txn's bytes before anything is allocated for them.
//!
//! An operation can be two bytes on the wire and a hundred times that in memory, and a txn can be
//! nested as deep as its bytes go. So before prost builds anything, this walk reads the outline of
//! the message: keys and lengths, nothing else. Each level may hold what its longest list above
//! left of `--max-txn-ops`, as in etcd. (etcd counts a nested txn only when it gets there, so a
//! request that has another fault before it is refused for that one there, and for its size here.)

use crate::limits::{TXN_DEPTH_MAX, TXN_OPS_TOTAL_MAX};
use crate::protocol::{Field, Fields};

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
        let mut fields = Fields(message);
        for field in &mut fields {
            if let Field { number: number @ TXN_COMPARE..=TXN_FAILURE, bytes: Some(_), .. } = field
            {
                let count = &mut counts[number as usize - 1];
                *count += 1;
                if *count > budget || self.total_left == 0 {
                    return Err(Excess::TooManyOps);
                }
                self.total_left -= 1;
            }
        }
        is_whole(fields)?;
        let left = budget - counts.iter().max().expect("three counts");
        for field in Fields(message) {
            if let Field { number: TXN_SUCCESS | TXN_FAILURE, bytes: Some(op), .. } = field
                && let Some(nested) = nested_txn(op)?
            {
                self.txn(nested, left, depth)?;
            }
        }
        Ok(())
    }
}

/// Returns the txn that an operation is. Protobuf would merge several into one, which could then
/// hold more than each of them; no client sends that.
fn nested_txn(op: &[u8]) -> Result<Option<&[u8]>, Excess> {
    let mut found = None;
    let mut fields = Fields(op);
    for field in &mut fields {
        if let Field { number: OP_TXN, bytes: Some(nested), .. } = field
            && found.replace(nested).is_some()
        {
            return Err(Excess::Malformed);
        }
    }
    is_whole(fields).map(|()| found)
}

/// Whether a message was read to its end.
fn is_whole(fields: Fields<'_>) -> Result<(), Excess> {
    if fields.is_empty() { Ok(()) } else { Err(Excess::Malformed) }
}
