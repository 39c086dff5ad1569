//! Which keys a txn may touch: two that may not change or see each other's keys share a round.
//!
//! Work is counted in *looks*: one for each key or range of a txn that is looked for among those
//! that the round may change, and one more for every [`LOOK_BYTES`] of its key.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use rustc_hash::FxHashSet;

use super::ranges::RangeSet;
use super::routed::{RoundPlan, RoutedPath};
use crate::types::placement::place_of;
use crate::types::txn::PathOp;
use crate::types::{KeyRange, Op, RangeEnd, TxnRequest};

/// Bytes of a key that count as another look.
const LOOK_BYTES: usize = 256;

/// The keys that the txns of a round may change.
#[derive(Debug, Default)]
pub struct Footprint {
    /// Hashes of single keys. Two keys with the same one count as the same: that costs the later
    /// txn a round, and nothing else.
    keys: FxHashSet<u64>,
    /// The single keys in order, as soon as some txn of the round is about a range.
    sorted: Option<BTreeSet<Bytes>>,
    ranges: RangeSet,
}

/// The keys and ranges of a txn.
#[derive(Clone, Copy, Debug)]
pub enum Touches<'a> {
    Unconditional(&'a RoutedPath),
    Conditional(&'a TxnRequest),
}

/// The result of a look at a txn, and how many looks it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It touches no key that an earlier one may change.
    Free(usize),
    /// It does.
    Touched(usize),
    /// Nobody knows: it took as many looks as it was given.
    Unknown,
}

enum Touch<'a> {
    Key { key: &'a Bytes, hash: u64 },
    Range(&'a KeyRange),
}

impl Touch<'_> {
    fn looks(&self) -> usize {
        let key = match self {
            Touch::Key { key, .. } => key,
            Touch::Range(range) => &range.start,
        };
        1 + key.len() / LOOK_BYTES
    }
}

impl Footprint {
    /// Begins a new round.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.sorted = None;
        self.ranges.clear();
    }

    /// Whether `txn` reads, compares or may change a key that an earlier one may change, found in
    /// about `looks` looks at most. `earlier` are all that were added.
    pub fn look<'a>(
        &mut self,
        txn: Touches<'_>,
        looks: usize,
        earlier: impl Iterator<Item = Touches<'a>>,
    ) -> Looked {
        let (mut earlier, mut looked) = (Some(earlier), 0);
        let mut is_touched = false;
        let end = txn.visit(&mut |touch, _| {
            if looked >= looks {
                return ControlFlow::Break(());
            }
            looked += touch.looks();
            if matches!(touch, Touch::Range(_)) && self.sorted.is_none() {
                self.sort(earlier.take().expect("sorted once"));
            }
            is_touched = self.covers(&touch);
            if is_touched { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match end {
            ControlFlow::Continue(()) => Looked::Free(looked),
            ControlFlow::Break(()) if is_touched => Looked::Touched(looked),
            ControlFlow::Break(()) => Looked::Unknown,
        }
    }

    /// Once a round: the first of its txns that is about a range.
    fn sort<'a>(&mut self, earlier: impl Iterator<Item = Touches<'a>>) {
        let mut sorted = BTreeSet::new();
        for txn in earlier {
            let _ = txn.visit(&mut |touch, writes| {
                if let (Touch::Key { key, .. }, true) = (touch, writes) {
                    sorted.insert(key.clone());
                }
                ControlFlow::Continue(())
            });
        }
        self.sorted = Some(sorted);
    }

    /// Adds what `txn` may change, on either branch.
    pub fn add(&mut self, txn: Touches<'_>) {
        let _ = txn.visit(&mut |touch, writes| {
            match touch {
                _ if !writes => {}
                Touch::Key { key, hash } => {
                    self.keys.insert(hash);
                    if let Some(sorted) = &mut self.sorted {
                        sorted.insert(key.clone());
                    }
                }
                Touch::Range(range) => drop(self.ranges.add(range)),
            }
            ControlFlow::Continue(())
        });
    }

    fn covers(&self, touch: &Touch<'_>) -> bool {
        let range = match touch {
            Touch::Key { key, hash } => return self.keys.contains(hash) || self.ranges.has(key),
            Touch::Range(range) if range.is_empty() => return false,
            Touch::Range(range) => range,
        };
        let sorted = self.sorted.as_ref().expect("made for the first txn with a range");
        let keys = match &range.end {
            RangeEnd::Single => unreachable!("a single key"),
            RangeEnd::Unbounded => sorted.range(range.start.clone()..).next().is_some(),
            RangeEnd::Before(end) => {
                let bounds = (Bound::Included(&range.start), Bound::Excluded(end));
                sorted.range::<Bytes, _>(bounds).next().is_some()
            }
        };
        keys || self.ranges.meets(range)
    }
}

impl<'a> Touches<'a> {
    /// Returns the keys and ranges of a plan.
    pub fn of(plan: &'a RoundPlan) -> Touches<'a> {
        match plan {
            RoundPlan::Unconditional(path) => Touches::Unconditional(path),
            RoundPlan::Conditional(txn) => Touches::Conditional(txn),
        }
    }

    /// Bytes that it adds to the log of a shard at most.
    pub fn logged_bytes(self) -> usize {
        match self {
            Touches::Unconditional(path) => path.logged_bytes(),
            Touches::Conditional(txn) => txn.logged_bytes(),
        }
    }

    /// Calls `each` with every key and range, and whether it may be changed.
    fn visit(self, each: &mut Visit<'_, 'a>) -> ControlFlow<()> {
        let path = match self {
            Touches::Unconditional(path) => path,
            Touches::Conditional(txn) => return visit(txn, each),
        };
        for (op, hash) in path.hashed() {
            let (range, writes) = match op {
                PathOp::Put(put) => {
                    each(Touch::Key { key: &put.key, hash }, true)?;
                    continue;
                }
                PathOp::Range(range) => (&range.range, false),
                PathOp::DeleteRange(delete) => (&delete.range, true),
                PathOp::Revoke(lease) => unreachable!("lease {lease} ends in a round of its own"),
            };
            match range.single_key() {
                Some(key) => each(Touch::Key { key, hash }, writes)?,
                None => each(Touch::Range(range), writes)?,
            }
        }
        ControlFlow::Continue(())
    }
}

/// Receives a key or range, and whether it may be changed; `Break` ends the visit.
type Visit<'v, 'a> = dyn FnMut(Touch<'a>, bool) -> ControlFlow<()> + 'v;

/// Every branch, nested ones included.
fn visit<'a>(txn: &'a TxnRequest, each: &mut Visit<'_, 'a>) -> ControlFlow<()> {
    fn key_or_range(range: &KeyRange) -> Touch<'_> {
        match range.single_key() {
            Some(key) => Touch::Key { key, hash: place_of(key) },
            None => Touch::Range(range),
        }
    }
    for compare in &txn.compare {
        each(key_or_range(&compare.range), false)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Range(range) => each(key_or_range(&range.range), false)?,
            Op::Put(put) => each(Touch::Key { key: &put.key, hash: place_of(&put.key) }, true)?,
            Op::DeleteRange(delete) => each(key_or_range(&delete.range), true)?,
            Op::Txn(nested) => visit(nested, each)?,
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::routed::RoundTxn;
    use crate::types::{Compare, CompareOperand, CompareOperator};
    use crate::types::{DeleteRangeRequest, PutRequest, RangeRequest, ShardSet};

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn txn(op: Op) -> TxnRequest {
        TxnRequest { success: vec![op], ..TxnRequest::default() }
    }

    fn put(text: &'static str) -> TxnRequest {
        txn(Op::Put(PutRequest::of(key(text), key("value"))))
    }

    fn get(start: &'static str, end: &'static str) -> TxnRequest {
        txn(Op::Range(RangeRequest::of(KeyRange::from_api(key(start), key(end)))))
    }

    fn delete(start: &'static str, end: &'static str) -> TxnRequest {
        let range = KeyRange::from_api(key(start), key(end));
        txn(Op::DeleteRange(DeleteRangeRequest { range, prev_kv: false }))
    }

    /// Makes the txn depend on a compare, with its operations on the other branch.
    fn guarded(mut txn: TxnRequest) -> TxnRequest {
        std::mem::swap(&mut txn.success, &mut txn.failure);
        let range = KeyRange::single(key("some other key"));
        let (operator, operand) = (CompareOperator::Equal, CompareOperand::Version(0));
        txn.compare.push(Compare { range, operator, operand });
        txn
    }

    /// Takes each txn that touches nothing which an earlier one may change; which ones.
    fn taken(txns: Vec<TxnRequest>) -> Vec<usize> {
        let mut footprint = Footprint::default();
        let mut requests: Vec<(usize, RoundTxn)> = Vec::new();
        for (number, txn) in txns.into_iter().enumerate() {
            let request = RoundTxn::new(txn, ShardSet::all(2), 2);
            let earlier = requests.iter().map(|(_, request)| Touches::of(&request.plan));
            let looked = footprint.look(Touches::of(&request.plan), usize::MAX, earlier);
            if matches!(looked, Looked::Free(_)) {
                footprint.add(Touches::of(&request.plan));
                requests.push((number, request));
            }
        }
        requests.into_iter().map(|(number, _)| number).collect()
    }

    /// `second` shares a round with `first`, each with a compare or without.
    fn shares(first: &TxnRequest, second: &TxnRequest) -> bool {
        let all = [(false, false), (false, true), (true, false), (true, true)].map(|(one, two)| {
            let of = |txn: &TxnRequest, guard| match guard {
                true => guarded(txn.clone()),
                false => txn.clone(),
            };
            taken(vec![of(first, one), of(second, two)]).len() == 2
        });
        assert!(all.iter().all(|&shares| shares == all[0]), "a compare makes no difference");
        all[0]
    }

    #[test]
    fn a_read_of_a_written_key_waits_whatever_its_branch() {
        assert!(!shares(&put("b"), &get("b", "")));
        assert!(!shares(&put("b"), &get("a", "c")));
        assert!(!shares(&put("b"), &get("a", "\0")));
        assert!(!shares(&put("b"), &put("b")));
        assert!(shares(&put("b"), &get("c", "\0")));
        assert!(shares(&put("b"), &get("a", "b")), "half-open");
        assert!(shares(&put("b"), &get("c", "a")), "empty");
    }

    #[test]
    fn a_deleted_range_covers_its_keys_and_reads_share_a_round() {
        assert!(!shares(&delete("m", "p"), &put("n")));
        assert!(!shares(&delete("m", "p"), &get("o", "z")));
        assert!(shares(&delete("m", "p"), &put("p")));
        assert!(!shares(&delete("m", ""), &put("m")));
        assert!(shares(&get("x", "z"), &put("y")), "a read keeps nobody out");
    }

    #[test]
    fn keys_before_and_after_the_first_range_are_all_covered() {
        let txns = vec![put("a"), get("b", "c"), put("d"), delete("c", "e"), get("a", "aa")];
        assert_eq!(taken(txns), [0, 1, 2]);
    }

    #[test]
    fn another_round_begins_with_nothing() {
        let request = RoundTxn::new(put("b"), ShardSet::all(2), 2);
        let mut footprint = Footprint::default();
        footprint.add(Touches::of(&request.plan));
        footprint.clear();
        let touches = Touches::of(&request.plan);
        assert_eq!(footprint.look(touches, 1, std::iter::empty()), Looked::Free(1));
    }
    #[test]
    fn a_look_ends_at_the_first_key_that_is_touched_or_when_it_has_taken_enough() {
        let mut many = get("x", "");
        many.success.extend((0..99).flat_map(|_| get("b", "c").success));
        let many = RoundTxn::new(many, ShardSet::all(2), 2);
        let touches = Touches::of(&many.plan);
        let mut footprint = Footprint::default();
        let none = std::iter::empty;
        assert_eq!(footprint.look(touches, 100, none()), Looked::Free(100));
        assert_eq!(footprint.look(touches, 99, none()), Looked::Unknown);
        let delete = RoundTxn::new(delete("a", "bb"), ShardSet::all(2), 2);
        footprint.add(Touches::of(&delete.plan));
        assert_eq!(footprint.look(touches, 99, none()), Looked::Touched(2));
        let long = Bytes::from(vec![b'k'; 10 * LOOK_BYTES]);
        let long = RangeRequest::of(KeyRange::single(long));
        let long = RoundTxn::new(txn(Op::Range(long)), ShardSet::all(2), 2);
        assert_eq!(footprint.look(Touches::of(&long.plan), 99, none()), Looked::Free(11));
    }
}
