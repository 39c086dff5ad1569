//! Changes on their way to the destination, gathered into txns.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::protocol::pb::etcdserverpb as pb;
use pb::request_op::Request;

/// Bytes of keys and values that independent changes are gathered up to; half of what etcd takes
/// in one request, so that one more large value still fits.
const BYTES_MAX: usize = 768 << 10;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Put { key: Bytes, value: Bytes },
    Delete { key: Bytes },
}

impl Op {
    fn key(&self) -> &Bytes {
        match self {
            Op::Put { key, .. } | Op::Delete { key } => key,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Op::Put { key, value } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        }
    }

    pub(super) fn into_request(self) -> pb::RequestOp {
        let request = match self {
            Op::Put { key, value } => {
                Request::RequestPut(pb::PutRequest { key, value, ..Default::default() })
            }
            Op::Delete { key } => {
                Request::RequestDeleteRange(pb::DeleteRangeRequest { key, ..Default::default() })
            }
        };
        pb::RequestOp { request: Some(request) }
    }
}

/// The changes of one txn to be. No key is changed twice in it: a server takes that for a mistake.
pub(super) struct Batch {
    ops: Vec<Op>,
    keys: BTreeSet<Bytes>,
    bytes: usize,
    revision: i64,
    ops_max: usize,
}

impl Batch {
    pub(super) fn new(ops_max: usize) -> Batch {
        assert!(ops_max > 0, "a batch holds something");
        Batch { ops: Vec::new(), keys: BTreeSet::new(), bytes: 0, revision: 0, ops_max }
    }

    /// Adds a change of `revision`. Returns what has to be written before it, if that is another
    /// revision's or is as much as one txn takes. The changes of one revision have fitted into one
    /// request at the source, so their bytes are not counted.
    #[must_use]
    pub(super) fn add(&mut self, op: Op, revision: i64) -> Option<Vec<Op>> {
        let full = self.revision != revision
            || self.ops.len() >= self.ops_max
            || self.keys.contains(op.key());
        let before = full.then(|| self.take());
        self.revision = revision;
        self.push(op);
        before.filter(|ops| !ops.is_empty())
    }

    /// Adds a change that may be written together with any other, or apart from it.
    #[must_use]
    pub(super) fn add_independent(&mut self, op: Op) -> Option<Vec<Op>> {
        let full = self.ops.len() >= self.ops_max || self.bytes + op.bytes() > BYTES_MAX;
        let before = full.then(|| self.take());
        self.push(op);
        before.filter(|ops| !ops.is_empty())
    }

    fn push(&mut self, op: Op) {
        self.bytes += op.bytes();
        self.keys.insert(op.key().clone());
        self.ops.push(op);
    }

    /// Takes what is gathered; the batch is empty then.
    pub(super) fn take(&mut self) -> Vec<Op> {
        self.keys.clear();
        self.bytes = 0;
        std::mem::take(&mut self.ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(key: &'static str) -> Op {
        Op::Delete { key: key.into() }
    }

    fn put(key: &'static str, bytes: usize) -> Op {
        Op::Put { key: key.into(), value: vec![0; bytes].into() }
    }

    #[test]
    fn a_revision_is_one_txn_unless_it_is_too_long_or_changes_a_key_twice() {
        let mut batch = Batch::new(2);
        assert_eq!(batch.add(delete("a"), 5), None);
        assert_eq!(batch.add(delete("b"), 5), None);
        assert_eq!(batch.add(delete("c"), 5), Some(vec![delete("a"), delete("b")]), "too long");
        assert_eq!(batch.add(delete("d"), 6), Some(vec![delete("c")]), "another revision");
        assert_eq!(batch.add(put("d", 1), 6), Some(vec![delete("d")]), "the same key");
        assert_eq!(batch.take(), [put("d", 1)]);
        assert_eq!(batch.add(put("d", 1), 7), None, "nothing is left over");
    }

    #[test]
    fn independent_changes_are_limited_by_bytes_too() {
        let mut batch = Batch::new(100);
        assert_eq!(batch.add_independent(put("a", BYTES_MAX)), None, "one always fits");
        let first = batch.add_independent(put("b", 1)).map(|ops| ops.len());
        assert_eq!(first, Some(1));
        assert_eq!(batch.add_independent(put("c", 1)), None);
        assert_eq!(batch.take().len(), 2);
    }
}
