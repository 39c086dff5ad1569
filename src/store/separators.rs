//! The keys between the children of an inner node.
//!
//! A search compares heads, taken after the prefix that all separators share. That may be more than
//! what keys routed here are known to share: at the edges of the tree those share nothing, while
//! the keys of a real load nearly all begin alike. A key without that prefix lies before the first
//! separator or behind the last.

use std::cmp::Ordering;

use crate::types::Blob;

use super::heads::{common, head, ties};

/// Separator `i` is the lowest key that child `i + 1` may hold.
///
/// Invariants: they ascend; all share `prefix` bytes, and any key that is looked for shares
/// `routed` of these with them.
pub(super) struct Separators {
    routed: usize,
    prefix: usize,
    /// The head of each separator, after `prefix`.
    heads: Vec<u64>,
    keys: Vec<Blob>,
}

impl Separators {
    pub(super) fn of_one(separator: Blob) -> Separators {
        Separators { routed: 0, prefix: separator.len(), heads: vec![0], keys: vec![separator] }
    }

    pub(super) fn keys(&self) -> &[Blob] {
        &self.keys
    }

    /// The child that `key` is routed to. The key must lie between the node's fences.
    pub(super) fn child_of(&self, key: &[u8]) -> usize {
        if self.prefix > self.routed
            && let Some(first) = self.keys.first()
        {
            let shared = &first[self.routed..self.prefix];
            let own = key.get(self.routed..).unwrap_or(&[]);
            match own[..own.len().min(shared.len())].cmp(shared) {
                Ordering::Less => return 0,
                Ordering::Greater => return self.keys.len(),
                Ordering::Equal => {}
            }
        }
        let (first, same) = ties(&self.heads, head(key, self.prefix));
        let tied = &self.keys[first..first + same];
        first + tied.partition_point(|separator| separator.as_slice() <= key)
    }

    pub(super) fn insert(&mut self, at: usize, separator: Blob) {
        let head = head(&separator, self.prefix);
        self.keys.insert(at, separator);
        self.heads.insert(at, head);
        self.shorten_prefix();
    }

    pub(super) fn replace(&mut self, at: usize, separator: Blob) {
        self.heads[at] = head(&separator, self.prefix);
        self.keys[at] = separator;
        self.shorten_prefix();
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.keys.remove(at);
        self.heads.remove(at);
    }

    /// Cuts off those from `middle` on; the last one left goes up, between the two nodes. Both need
    /// [`Separators::route`] afterwards.
    pub(super) fn split(&mut self, middle: usize) -> (Blob, Separators) {
        let right = self.keys.split_off(middle);
        let between = self.keys.pop().expect("two children to the left");
        (between, Separators { routed: 0, prefix: 0, heads: Vec::new(), keys: right })
    }

    /// Takes over `between` and those of the node to the right; needs [`Separators::route`].
    pub(super) fn append(&mut self, between: Blob, right: &mut Separators) {
        self.keys.push(between);
        self.keys.append(&mut right.keys);
    }

    /// From now on keys are looked for that share `routed` bytes with the separators.
    pub(super) fn route(&mut self, routed: usize) {
        self.routed = routed;
        self.set_prefix(self.shared());
    }

    /// Bytes that all of them share.
    fn shared(&self) -> usize {
        match &self.keys[..] {
            [] => self.routed,
            [first, .., last] => common(first, last),
            [one] => one.len(),
        }
    }

    fn shorten_prefix(&mut self) {
        let shared = self.shared();
        if shared < self.prefix {
            self.set_prefix(shared);
        }
    }

    fn set_prefix(&mut self, prefix: usize) {
        self.prefix = prefix;
        self.heads.clear();
        self.heads.extend(self.keys.iter().map(|key| head(key, prefix)));
    }

    #[cfg(test)]
    pub(super) fn assert_invariants(&self, routed_max: usize) {
        assert!(self.routed <= routed_max, "keys that share less come here");
        assert!(self.prefix <= self.shared() || self.keys.is_empty());
        assert!(self.keys.is_sorted() && self.keys.iter().all(|key| key.len() >= self.routed));
        let heads = self.keys.iter().map(|key| head(key, self.prefix));
        assert!(heads.eq(self.heads.iter().copied()), "heads of separators");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(separators: &Separators, key: &[u8]) -> usize {
        separators.keys().iter().filter(|separator| separator.as_slice() <= key).count()
    }

    proptest! {
        #[test]
        fn every_key_finds_its_child(
            begin in "(abc|abcdefghij)?",
            ends in proptest::collection::btree_set("[ab]{0,12}", 1..40),
            keys in proptest::collection::vec("(abc|abcdefghij|ab|b)?[ab]{0,12}", 1..40),
            order in any::<u64>(),
        ) {
            let all: Vec<Blob> =
                ends.iter().map(|end| Blob::from(format!("{begin}{end}").into_bytes())).collect();
            let start = order as usize % all.len();
            let mut separators = Separators::of_one(all[start].clone());
            for (step, key) in all.iter().enumerate().filter(|(step, _)| *step != start) {
                let at = separators.keys().partition_point(|other| other < key);
                separators.insert(at, key.clone());
                separators.assert_invariants(0);
                if step % 5 == 4 {
                    separators.remove(step % separators.keys().len());
                }
            }
            for key in &keys {
                let key = key.as_bytes();
                prop_assert_eq!(separators.child_of(key), expected(&separators, key));
            }
            // Again as a node that only keys with the same beginning come to.
            separators.route(begin.len());
            separators.assert_invariants(begin.len());
            for key in &keys {
                let key = format!("{begin}{key}").into_bytes();
                prop_assert_eq!(separators.child_of(&key), expected(&separators, &key));
            }
        }
    }
}
