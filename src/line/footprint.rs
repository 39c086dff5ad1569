//! Which keys a txn may touch: two that may not change or see each other's keys share a round.

use std::collections::BTreeSet;
use std::ops::Bound;

use bytes::Bytes;

use crate::types::{KeyRange, Op, RangeEnd, TxnRequest};

/// The keys that the txns of a round may change.
#[derive(Debug, Default)]
pub struct Footprint {
    keys: BTreeSet<Bytes>,
    ranges: Vec<KeyRange>,
}

impl Footprint {
    /// Whether `txn` reads, compares or may change a key that an earlier one may change.
    pub fn is_touched_by(&self, txn: &TxnRequest) -> bool {
        let mut touched = false;
        visit(txn, &mut |range, _| touched |= self.covers(range));
        touched
    }

    /// Adds what `txn` may change, on either branch.
    pub fn add(&mut self, txn: &TxnRequest) {
        visit(txn, &mut |range, writes| {
            if !writes {
                return;
            }
            match range.single_key() {
                Some(key) => drop(self.keys.insert(key.clone())),
                None => self.ranges.push(range.clone()),
            }
        });
    }

    fn covers(&self, range: &KeyRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let keys = match &range.end {
            RangeEnd::Single => self.keys.contains(&range.start),
            RangeEnd::Unbounded => self.keys.range(range.start.clone()..).next().is_some(),
            RangeEnd::Before(end) => {
                let bounds = (Bound::Included(&range.start), Bound::Excluded(end));
                self.keys.range::<Bytes, _>(bounds).next().is_some()
            }
        };
        keys || self.ranges.iter().any(|own| own.overlaps(range))
    }
}

/// Bytes that a txn's puts may add to a log.
pub fn put_bytes(txn: &TxnRequest) -> usize {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.map(|op| match op {
        Op::Put(put) => put.key.len() + put.value.len(),
        Op::Txn(nested) => put_bytes(nested),
        Op::Range(_) | Op::DeleteRange(_) => 0,
    })
    .sum()
}

/// Calls `each` with every range of the txn, nested ones included, and whether it may change it.
fn visit(txn: &TxnRequest, each: &mut dyn FnMut(&KeyRange, bool)) {
    for compare in &txn.compare {
        each(&compare.range, false);
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) => each(&range.range, false),
            Op::Put(put) => each(&KeyRange::single(put.key.clone()), true),
            Op::DeleteRange(delete) => each(&delete.range, true),
            Op::Txn(nested) => visit(nested, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DeleteRangeRequest, PutRequest, RangeRequest};

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn put(text: &'static str) -> TxnRequest {
        let op = Op::Put(PutRequest::of(key(text), key("value")));
        TxnRequest { success: vec![op], ..TxnRequest::default() }
    }

    fn get(start: &'static str, end: &'static str) -> TxnRequest {
        let range = KeyRange::from_api(key(start), key(end));
        TxnRequest { failure: vec![Op::Range(RangeRequest::of(range))], ..TxnRequest::default() }
    }

    #[test]
    fn a_read_of_a_written_key_waits_whatever_its_branch() {
        let mut footprint = Footprint::default();
        footprint.add(&put("b"));
        assert!(footprint.is_touched_by(&get("b", "")));
        assert!(footprint.is_touched_by(&get("a", "c")));
        assert!(footprint.is_touched_by(&get("a", "\0")));
        assert!(footprint.is_touched_by(&put("b")));
        assert!(!footprint.is_touched_by(&get("c", "\0")));
        assert!(!footprint.is_touched_by(&get("a", "b")), "half-open");
        assert!(!footprint.is_touched_by(&get("c", "a")), "empty");
    }

    #[test]
    fn a_deleted_range_covers_its_keys_and_reads_share_a_round() {
        let mut footprint = Footprint::default();
        let range = KeyRange::from_api(key("m"), key("p"));
        let delete = Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
        footprint.add(&TxnRequest { success: vec![delete], ..TxnRequest::default() });
        assert!(footprint.is_touched_by(&put("n")));
        assert!(footprint.is_touched_by(&get("o", "z")));
        assert!(!footprint.is_touched_by(&put("p")));
        footprint.add(&get("x", "z"));
        assert!(!footprint.is_touched_by(&put("y")), "a read keeps nobody out");
    }
}
