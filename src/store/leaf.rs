//! A leaf of the tree: up to 63 records in key order.
//!
//! A search must not follow a pointer for every key that it compares. So a leaf keeps, in one
//! array, eight bytes of each key (its *head*), taken after the prefix that all keys which can
//! ever be routed here have in common. Nearly always the heads alone decide.

use std::iter::Peekable;

use super::heads::{common, count_below, head, ties};
use super::versions::Record;
use crate::types::{Blob, prefetch};

/// Records of a leaf at most: one bit of a word each, and the leaf fills a 2 KiB size class.
pub(super) const LEAF_RECORDS: usize = 63;

pub(super) struct Leaf {
    /// Bit `i` is set if record `i` exists in the newest state.
    live: u64,
    prefix: u32,
    len: u32,
    heads: [u64; LEAF_RECORDS],
    records: [Record; LEAF_RECORDS],
}

const _: () = assert!(size_of::<Leaf>() <= 2048);

/// The keys that can be routed to a node: from `low` on and below `high`.
#[derive(Clone, Copy, Default)]
pub(super) struct Fences<'a> {
    pub(super) low: Option<&'a [u8]>,
    pub(super) high: Option<&'a [u8]>,
}

impl Fences<'_> {
    /// Bytes that all keys between the fences have in common.
    pub(super) fn prefix(&self) -> usize {
        match (self.low, self.high) {
            (Some(low), Some(high)) => common(low, high),
            _ => 0,
        }
    }
}

impl Leaf {
    pub(super) fn new(prefix: usize) -> Leaf {
        Leaf {
            live: 0,
            prefix: u32::try_from(prefix).expect("a key is below 2 GiB"),
            len: 0,
            heads: [0; LEAF_RECORDS],
            records: [const { Record::VACANT }; LEAF_RECORDS],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == LEAF_RECORDS
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records[..self.len as usize]
    }

    /// See the field.
    pub(super) fn live_bits(&self) -> u64 {
        self.live
    }

    pub(super) fn is_live(&self, at: usize) -> bool {
        self.live >> at & 1 == 1
    }

    /// Keys that exist in the newest state.
    pub(super) fn live(&self) -> u64 {
        u64::from(self.live.count_ones())
    }

    /// Those among the first `end` records.
    pub(super) fn live_before(&self, end: usize) -> u64 {
        u64::from((self.live & below(end)).count_ones())
    }

    /// Finds the position of `key`, or the one where it would be. The key must lie between the
    /// leaf's fences.
    pub(super) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let heads = &self.heads[..self.len()];
        let (first, same) = ties(heads, head(key, self.prefix as usize));
        match self.records[first..first + same].binary_search_by(|r| r.key.as_slice().cmp(key)) {
            Ok(at) => Ok(first + at),
            Err(at) => Err(first + at),
        }
    }

    /// Asks for what a search will look at.
    pub(super) fn prefetch(&self) {
        const HEADS_IN_A_LINE: usize = 8;
        self.heads.iter().step_by(HEADS_IN_A_LINE).for_each(|head| prefetch(&raw const *head));
    }

    /// Finds the first record with the key's head, if there is any, and prefetches it.
    pub(super) fn approach(&self, key: &[u8]) -> Option<usize> {
        let at = count_below(&self.heads[..self.len()], head(key, self.prefix as usize));
        let record = self.records().get(at)?;
        prefetch(record);
        Some(at)
    }

    /// Changes a record in place; returns by how much the live keys grew.
    pub(super) fn modify<R>(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Record) -> R,
    ) -> (R, i64) {
        let before = self.is_live(at);
        let result = change(&mut self.records[at]);
        let after = self.records[at].live_top().is_some();
        self.live = self.live & !(1 << at) | u64::from(after) << at;
        (result, i64::from(after) - i64::from(before))
    }

    pub(super) fn insert(&mut self, at: usize, record: Record) {
        assert!(!self.is_full() && at <= self.len(), "a split made room");
        let end = self.len();
        self.heads.copy_within(at..end, at + 1);
        self.heads[at] = head(&record.key, self.prefix as usize);
        let high = (self.live & !below(at)) << 1;
        self.live = self.live & below(at) | u64::from(record.live_top().is_some()) << at | high;
        self.records[at..=end].rotate_right(1);
        self.records[at] = record;
        self.len += 1;
    }

    pub(super) fn remove(&mut self, at: usize) -> Record {
        let end = self.len();
        self.heads.copy_within(at + 1..end, at);
        let high = (self.live & !below(at + 1)) >> 1;
        self.live = self.live & below(at) | high;
        self.records[at..end].rotate_left(1);
        self.len -= 1;
        std::mem::take(&mut self.records[end - 1])
    }

    /// Moves the records from `at` on to a leaf of their own.
    pub(super) fn split_off(&mut self, at: usize) -> Box<Leaf> {
        let mut right = Box::new(Leaf::new(self.prefix as usize));
        let moved = self.len() - at;
        right.heads[..moved].copy_from_slice(&self.heads[at..self.len as usize]);
        right.records[..moved].swap_with_slice(&mut self.records[at..self.len as usize]);
        right.live = self.live.checked_shr(at as u32).unwrap_or(0);
        right.len = moved as u32;
        self.live &= below(at);
        self.len = at as u32;
        right
    }

    /// Moves the first `count` records of `right` behind those of this leaf. Both must have had
    /// [`Leaf::set_prefix`] to a common prefix first.
    pub(super) fn take_front(&mut self, right: &mut Leaf, count: usize) {
        assert!(self.prefix == right.prefix && self.len() + count <= LEAF_RECORDS);
        let (start, end) = (self.len(), right.len());
        self.heads[start..start + count].copy_from_slice(&right.heads[..count]);
        self.records[start..start + count].swap_with_slice(&mut right.records[..count]);
        self.live |= (right.live & below(count)) << start;
        self.len += count as u32;
        right.heads.copy_within(count..end, 0);
        right.records[..end].rotate_left(count);
        right.live = right.live.checked_shr(count as u32).unwrap_or(0);
        right.len -= count as u32;
    }

    /// Moves the last `count` records to the front of `right`, under the same condition.
    pub(super) fn give_back(&mut self, right: &mut Leaf, count: usize) {
        assert!(self.prefix == right.prefix && right.len() + count <= LEAF_RECORDS);
        let (from, end) = (self.len() - count, right.len());
        right.heads.copy_within(..end, count);
        right.records[..end + count].rotate_right(count);
        right.heads[..count].copy_from_slice(&self.heads[from..from + count]);
        right.records[..count].swap_with_slice(&mut self.records[from..from + count]);
        right.live = right.live << count | self.live >> from;
        right.len += count as u32;
        self.live &= below(from);
        self.len -= count as u32;
    }

    /// Takes heads after another prefix, which all keys that can be routed here must share.
    pub(super) fn set_prefix(&mut self, prefix: usize) {
        if self.prefix as usize == prefix {
            return;
        }
        self.prefix = u32::try_from(prefix).expect("a key is below 2 GiB");
        for at in 0..self.len() {
            self.heads[at] = head(&self.records[at].key, prefix);
        }
    }

    /// Calls `change` for every live record of `start..end`; returns how the live keys grew.
    pub(super) fn modify_live(
        &mut self,
        start: usize,
        end: usize,
        change: &mut dyn FnMut(&mut Record),
    ) -> i64 {
        let mut growth = 0;
        for at in start..end {
            if self.is_live(at) {
                growth += self.modify(at, &mut *change).1;
            }
        }
        growth
    }

    /// Takes the live bits off `start..end`; how many there were.
    pub(super) fn clear_live(&mut self, start: usize, end: usize) -> u64 {
        let mask = below(end) & !below(start);
        let cleared = self.live & mask;
        self.live &= !mask;
        u64::from(cleared.count_ones())
    }

    /// Takes the live bits off the first of `keys`, as many as are here; how many. They share their
    /// bytes with the records, so none is looked at.
    pub(super) fn clear_live_keys<'k, I: Iterator<Item = &'k Blob>>(
        &mut self,
        keys: &mut Peekable<I>,
    ) -> u64 {
        let (mut mask, mut at) = (0, 0);
        while let Some(key) = keys.peek()
            && let Some(steps) = self.records()[at..].iter().position(|r| r.key.is_same(key))
        {
            mask |= 1 << (at + steps);
            at += steps + 1;
            keys.next();
        }
        let cleared = self.live & mask;
        self.live &= !mask;
        u64::from(cleared.count_ones())
    }

    /// Gives back memory that only the past needed.
    pub(super) fn shrink(&mut self) {
        let end = self.len();
        self.records[..end].iter_mut().for_each(Record::shrink);
    }

    #[cfg(test)]
    pub(super) fn assert_invariants(&self, fences: Fences<'_>) {
        assert!(self.prefix as usize <= fences.prefix(), "a head after no common prefix");
        assert_eq!(self.live & !below(self.len()), 0);
        for (at, record) in self.records().iter().enumerate() {
            let key = record.key.as_slice();
            assert!(!record.is_empty(), "a record without a version");
            assert_eq!(self.heads[at], head(key, self.prefix as usize));
            assert_eq!(self.is_live(at), record.live_top().is_some());
            assert!(fences.low.is_none_or(|low| low <= key));
            assert!(fences.high.is_none_or(|high| key < high));
            assert!(at == 0 || self.records[at - 1].key.as_slice() < key, "keys ascend");
        }
        assert!(self.records[self.len()..].iter().all(Record::is_empty));
    }
}

/// The bits below `end`.
fn below(end: usize) -> u64 {
    if end >= 64 { u64::MAX } else { (1 << end) - 1 }
}
