//! Bounds what a write adds to a log. They are known before a write is evaluated, and so before a
//! revision is taken for it.
//!
//! What a put keeps (`ignore_value`, `ignore_lease`) is named in the log and not copied into it, as
//! a range delete names its range and the end of a lease the lease. So these numbers follow from
//! the request alone, and none of them exceeds the request's own bytes by more than
//! [`LOGGED_OVERHEAD_BYTES`] for each operation.

use super::txn::PathOp;
use super::{DeleteRangeRequest, KeyRange, Op, PutRequest, RangeEnd, TxnRequest};

/// Bytes that an operation takes in a log besides its keys and its value, at most. The format of an
/// entry (`shard::entry`) is held to it.
pub const LOGGED_OVERHEAD_BYTES: usize = 64;

impl PutRequest {
    /// Bytes that the put adds to a log at most.
    pub fn logged_bytes(&self) -> usize {
        let value = if self.ignore_value { 0 } else { self.value.len() };
        LOGGED_OVERHEAD_BYTES + self.key.len() + value
    }
}

impl DeleteRangeRequest {
    /// Bytes that the deletion adds to a log at most, however many keys it hits.
    pub fn logged_bytes(&self) -> usize {
        let KeyRange { start, end } = &self.range;
        let end = if let RangeEnd::Before(end) = end { end.len() } else { 0 };
        LOGGED_OVERHEAD_BYTES + start.len() + end
    }
}

impl TxnRequest {
    /// Bytes that the txn adds to a log at most, whichever branches are taken.
    pub fn logged_bytes(&self) -> usize {
        let branch = |ops: &[Op]| {
            let bytes = ops.iter().map(|op| match op {
                Op::Range(_) => 0,
                Op::Put(put) => put.logged_bytes(),
                Op::DeleteRange(delete) => delete.logged_bytes(),
                Op::Txn(nested) => nested.logged_bytes(),
            });
            bytes.sum::<usize>()
        };
        branch(&self.success).max(branch(&self.failure))
    }
}

impl PathOp {
    /// Bytes that the operation adds to a log at most.
    pub fn logged_bytes(&self) -> usize {
        match self {
            PathOp::Range(_) => 0,
            PathOp::Put(put) => put.logged_bytes(),
            PathOp::DeleteRange(delete) => delete.logged_bytes(),
            PathOp::Revoke(_) => LOGGED_OVERHEAD_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn put(bytes: usize) -> Op {
        Op::Put(PutRequest::of(Bytes::from_static(b"key"), Bytes::from(vec![0; bytes])))
    }

    #[test]
    fn a_txn_counts_its_dearer_branch_at_every_level() {
        let nested = TxnRequest { success: vec![put(10)], failure: vec![put(20)], ..txn() };
        let whole =
            TxnRequest { success: vec![put(30)], failure: vec![Op::Txn(nested), put(1)], ..txn() };
        assert_eq!(whole.logged_bytes(), 2 * LOGGED_OVERHEAD_BYTES + 3 + 20 + 3 + 1);
    }

    fn txn() -> TxnRequest {
        TxnRequest::default()
    }

    #[test]
    fn a_kept_value_adds_nothing() {
        let mut put = PutRequest::of(Bytes::from_static(b"key"), Bytes::new());
        put.ignore_value = true;
        put.ignore_lease = true;
        assert_eq!(put.logged_bytes(), LOGGED_OVERHEAD_BYTES + 3);
    }
}
