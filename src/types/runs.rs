//! Putting keys in order a slice at a time: sorted runs, and their merge.
//!
//! Sorting a million keys at once stops a core for as long as it takes. So keys gather into runs of
//! bounded length, each of which is sorted when it is full, and the merge takes keys off the runs'
//! heads: every call does as much as its caller allows, counted in keys.
//!
//! ```text
//!  push ──▶ gathering ──full: sort, cut to the limit──▶ runs │ 2 7 9 │ 1 4 8 │ 3 5 6
//!                                                               └──── heads ────┘──▶ 1 2 3 …
//! ```

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::{KeyValue, KeyView, RangeRequest, SortOrder, SortTarget};

/// Bytes of values after which a run is full if values are what is compared.
const RUN_VALUE_BYTES: usize = 256 << 10;

/// Bytes of values that count as a visited key if values are what is compared.
const BYTES_PER_VISIT: usize = 1 << 10;

/// An order of keys; those that tie by the target are ordered by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    target: SortTarget,
    descends: bool,
}

impl KeyOrder {
    /// Key by key.
    pub const BY_KEY: KeyOrder = KeyOrder { target: SortTarget::Key, descends: false };

    /// Returns the order that a range asks for.
    pub fn of(request: &RangeRequest) -> KeyOrder {
        KeyOrder { target: request.target, descends: request.order == SortOrder::Descend }
    }

    /// Compares two keys in this order.
    pub fn compare(self, a: KeyView<'_>, b: KeyView<'_>) -> Ordering {
        let by_target = match self.target {
            SortTarget::Key => a.key.cmp(b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create.cmp(&b.create),
            SortTarget::Mod => a.modified.cmp(&b.modified),
            SortTarget::Value => a.value.cmp(b.value),
        };
        let by_target = if self.descends { by_target.reverse() } else { by_target };
        by_target.then_with(|| a.key.cmp(b.key))
    }

    /// Returns the cost of comparing the key, in visited keys.
    fn cost(self, kv: &KeyValue) -> usize {
        match self.target {
            SortTarget::Value => 1 + kv.value.len() / BYTES_PER_VISIT,
            _ => 1,
        }
    }
}

/// Keys on their way into an order, of which the first `limit` are wanted.
#[derive(Debug)]
pub struct Runs {
    order: KeyOrder,
    limit: usize,
    run_keys: usize,
    gathering: Vec<KeyValue>,
    gathered_bytes: usize,
    runs: Vec<std::vec::IntoIter<KeyValue>>,
    /// The first key of each run, once the merge has begun.
    heads: BinaryHeap<Head>,
    /// Runs whose first key is among the heads.
    headed: usize,
    taken: usize,
    /// No key from this one on is among the first `limit`.
    worst: Option<KeyValue>,
}

#[derive(Debug)]
struct Head {
    kv: KeyValue,
    run: usize,
    order: KeyOrder,
}

impl Ord for Head {
    /// The heap has its greatest on top: that is the first in order.
    fn cmp(&self, other: &Head) -> Ordering {
        let order = self.order.compare(other.kv.view(), self.kv.view());
        order.then_with(|| other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

impl Runs {
    /// Begins without keys. A run takes at most `run_keys`.
    pub fn new(order: KeyOrder, limit: usize, run_keys: usize) -> Runs {
        Runs {
            order,
            limit,
            run_keys: run_keys.max(1),
            gathering: Vec::new(),
            gathered_bytes: 0,
            runs: Vec::new(),
            heads: BinaryHeap::new(),
            headed: 0,
            taken: 0,
            worst: None,
        }
    }

    /// Whether the key may be among the first: there is no need to add it otherwise.
    pub fn wants(&self, kv: KeyView<'_>) -> bool {
        let is_before = |worst: &KeyValue| self.order.compare(kv, worst.view()).is_lt();
        self.worst.as_ref().is_none_or(is_before)
    }

    /// Adds a key.
    pub fn push(&mut self, kv: KeyValue) {
        if self.order.target == SortTarget::Value {
            self.gathered_bytes += kv.value.len();
        }
        self.gathering.push(kv);
        if self.gathering.len() >= self.run_keys || self.gathered_bytes >= RUN_VALUE_BYTES {
            self.seal();
        }
    }

    /// Adds keys that are in order already.
    pub fn push_run(&mut self, run: Vec<KeyValue>) {
        assert!(self.headed == 0, "the merge has not begun");
        self.runs.push(run.into_iter());
    }

    fn seal(&mut self) {
        let order = self.order;
        let mut run = std::mem::take(&mut self.gathering);
        self.gathered_bytes = 0;
        run.sort_unstable_by(|a, b| order.compare(a.view(), b.view()));
        run.truncate(self.limit);
        if run.len() == self.limit
            && let Some(last) = run.last().filter(|last| self.wants(last.view()))
        {
            self.worst = Some(last.clone());
        }
        self.push_run(run);
    }

    /// Hands keys over in order, taking what that costs off `visits`; whether all that are wanted
    /// have been. What nobody wants is dropped in slices too.
    pub fn take_some(&mut self, visits: &mut usize, mut hand: impl FnMut(KeyValue)) -> bool {
        if !self.gathering.is_empty() {
            self.seal();
        }
        while self.headed < self.runs.len() {
            if *visits == 0 {
                return false;
            }
            let (run, order) = (self.headed, self.order);
            self.headed += 1;
            *visits -= 1;
            if let Some(kv) = self.runs[run].next() {
                self.heads.push(Head { kv, run, order });
            }
        }
        while self.taken < self.limit
            && let Some(mut head) = self.heads.peek_mut()
        {
            if *visits == 0 {
                return false;
            }
            *visits -= (*visits).min(self.order.cost(&head.kv));
            self.taken += 1;
            hand(match self.runs[head.run].next() {
                Some(next) => std::mem::replace(&mut head.kv, next),
                None => PeekMut::pop(head).kv,
            });
        }
        self.drop_some(visits)
    }

    /// Discards the keys.
    pub fn discard(self, discarded: &mut Discarded) {
        discarded.keys.extend(self.runs);
        discarded.put(self.gathering);
    }

    fn drop_some(&mut self, visits: &mut usize) -> bool {
        drop_some(&mut self.runs, visits)
    }
}

/// Keys that nobody wants any more: dropping a million of them at once takes as long as a slice of
/// anything else with a million.
#[derive(Debug, Default)]
pub struct Discarded {
    keys: Vec<std::vec::IntoIter<KeyValue>>,
}

impl Discarded {
    /// Takes what is to be dropped.
    pub fn put(&mut self, kvs: Vec<KeyValue>) {
        if !kvs.is_empty() {
            self.keys.push(kvs.into_iter());
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Drops so many keys at most, which it takes off `visits`.
    pub fn drop_some(&mut self, visits: &mut usize) {
        drop_some(&mut self.keys, visits);
    }
}

fn drop_some(keys: &mut Vec<std::vec::IntoIter<KeyValue>>, visits: &mut usize) -> bool {
    while let Some(run) = keys.last_mut() {
        *visits -= run.by_ref().take(*visits).count();
        if *visits == 0 && run.len() > 0 {
            return false;
        }
        keys.pop();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Blob;

    fn kv(key: u64, version: i64) -> KeyValue {
        let key = Blob::from(&key.to_be_bytes()[..]);
        KeyValue { key, version, ..KeyValue::default() }
    }

    #[test]
    fn slices_of_any_size_sort_like_one_sort() {
        let order = KeyOrder { target: SortTarget::Version, descends: true };
        let keys: Vec<KeyValue> = (0..500).map(|i| kv(i * 7919 % 500, (i % 13) as i64)).collect();
        let mut sorted = keys.clone();
        sorted.sort_by(|a, b| order.compare(a.view(), b.view()));
        for (slice, limit) in [(1, 500), (3, 17), (64, usize::MAX), (10_000, 1), (7, 499)] {
            let mut runs = Runs::new(order, limit, slice);
            let mut pushed = 0;
            for kv in &keys {
                if runs.wants(kv.view()) {
                    runs.push(kv.clone());
                    pushed += 1;
                }
            }
            assert!(limit > 1 || slice > 500 || pushed < 100, "{pushed} for the first one");
            let mut out = Vec::new();
            loop {
                let mut visits = slice;
                let before = out.len();
                let is_through = runs.take_some(&mut visits, |kv| out.push(kv));
                assert!(out.len() - before <= slice, "no more than was allowed");
                if is_through {
                    break;
                }
                assert_eq!(visits, 0, "it stops only because it has to");
            }
            assert_eq!(out, sorted[..limit.min(500)], "slices of {slice}, limit {limit}");
        }
    }

    #[test]
    fn comparing_large_values_counts_their_bytes() {
        let order = KeyOrder { target: SortTarget::Value, descends: false };
        let mut runs = Runs::new(order, usize::MAX, 512);
        let value = Blob::from(vec![0; 64 << 10]);
        (0..64).for_each(|i| runs.push(KeyValue { value: value.clone(), ..kv(i, 1) }));
        let (mut out, mut slices) = (Vec::new(), 0);
        while !runs.take_some(&mut 512, |kv| out.push(kv)) {
            slices += 1;
        }
        assert_eq!(out.len(), 64);
        assert!(slices >= 64 * 64 / 512 - 1, "{slices}");
    }
}
