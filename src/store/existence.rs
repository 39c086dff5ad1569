//! Which keys a txn's operations leave there: asked by puts that keep what their key has.
//!
//! ```text
//!  put    b   d            h          not deleted since
//!  gone     [c        f)       [k, …  deleted since; ranges that overlap are one
//! ```
//!
//! Every operation is taken in once and every question is a search, so a whole txn costs what
//! sorting its keys would, however many of its operations ask.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::types::txn::PathOp;
use crate::types::{KeyRange, RangeEnd, Sub};

/// The keys that operations have put and deleted, so far.
#[derive(Debug, Default)]
pub(super) struct Existence<'a> {
    put: BTreeSet<&'a [u8]>,
    /// By their beginnings, with their ends.
    gone: BTreeMap<KeyBound<'a>, KeyBound<'a>>,
}

/// A place between keys: before a key, behind it, or (with `true` first) behind all.
type KeyBound<'a> = (bool, &'a [u8], bool);

const fn before(key: &[u8]) -> KeyBound<'_> {
    (false, key, false)
}

const fn behind(key: &[u8]) -> KeyBound<'_> {
    (false, key, true)
}

const END: KeyBound<'_> = (true, &[], false);

impl<'a> Existence<'a> {
    /// After all of `ops`.
    pub fn after<O: Borrow<PathOp>>(ops: &'a [(Sub, O)]) -> Existence<'a> {
        let mut existence = Existence::default();
        ops.iter().for_each(|(_, op)| existence.follow(op.borrow()));
        existence
    }

    /// After `op`, too.
    pub fn follow(&mut self, op: &'a PathOp) {
        match op {
            PathOp::Put(put) => {
                self.put.insert(&put.key);
            }
            PathOp::DeleteRange(delete) => self.delete(&delete.range),
            // A lease ends alone: no operation comes after that.
            PathOp::Range(_) | PathOp::Revoke(_) => {}
        }
    }

    fn delete(&mut self, range: &'a KeyRange) {
        if range.is_empty() {
            return;
        }
        let start: &[u8] = &range.start;
        let (upper, end) = match &range.end {
            RangeEnd::Single => (Bound::Included(start), behind(start)),
            RangeEnd::Before(end) => (Bound::Excluded(&end[..]), before(end)),
            RangeEnd::Unbounded => (Bound::Unbounded, END),
        };
        let put: Vec<&[u8]> =
            self.put.range::<[u8], _>((Bound::Included(start), upper)).copied().collect();
        for key in put {
            self.put.remove(key);
        }
        let (mut from, mut to) = (before(start), end);
        while let Some((&first, &last)) = self.gone.range(..=to).next_back()
            && last >= from
        {
            self.gone.remove(&first);
            (from, to) = (from.min(first), to.max(last));
        }
        self.gone.insert(from, to);
    }

    /// Whether `key` is there now, if an operation has decided it.
    pub fn of(&self, key: &[u8]) -> Option<bool> {
        if self.put.contains(key) {
            return Some(true);
        }
        let (_, &end) = self.gone.range(..=before(key)).next_back()?;
        (end > before(key)).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{DeleteRangeRequest, PutRequest};

    /// As it says in the header, and slowly: the last operation that concerns the key decides.
    fn plainly(ops: &[(Sub, PathOp)], key: &[u8]) -> Option<bool> {
        ops.iter().rev().find_map(|(_, op)| match op {
            PathOp::Put(put) => (put.key == key).then_some(true),
            PathOp::DeleteRange(delete) => delete.range.contains(key).then_some(false),
            PathOp::Range(_) | PathOp::Revoke(_) => None,
        })
    }

    fn key() -> impl Strategy<Value = Bytes> {
        // Few, and some the beginnings of others: neighbours down to one zero byte.
        let bytes = prop::collection::vec(prop::sample::select(vec![0u8, 1, 255]), 1..4);
        bytes.prop_map(Bytes::from)
    }

    fn op() -> impl Strategy<Value = PathOp> {
        let put = key().prop_map(|key| PathOp::Put(PutRequest::of(key, Bytes::new())));
        let end = prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(b"\0")), key()];
        let delete = (key(), end).prop_map(|(start, end)| {
            let range = KeyRange::from_api(start, end);
            PathOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
        });
        prop_oneof![put, delete]
    }

    proptest! {
        #[test]
        fn the_last_operation_about_a_key_decides(
            ops in prop::collection::vec(op(), 0..40),
            asked in prop::collection::vec(key(), 1..20),
        ) {
            let ops: Vec<_> = ops.into_iter().map(|op| (Sub(0), op)).collect();
            let existence = Existence::after(&ops);
            for key in asked {
                prop_assert_eq!(existence.of(&key), plainly(&ops, &key));
            }
            let ranges: Vec<_> = existence.gone.iter().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
