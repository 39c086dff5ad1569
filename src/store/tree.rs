//! The B+-tree: records in key order, and how many keys exist below every child.
//!
//! ```text
//!                  ┌─ Inner ──────────────────┐
//!                  │ separators   "g"    "p"  │   child i holds the keys from separator i-1 on
//!                  │ live      120   98   131 │   and below separator i; `live` counts those that
//!                  └───────────┬─────┬────┬───┘   exist in the newest state: a count over a range
//!                    ┌─ Leaf ──┴─┐  ...  ...      is two descents
//!                    │ a b c …   │
//!                    └───────────┘
//! ```
//!
//! Separators are as short as they can be. Those on both sides of a node (its *fences*) fix the
//! prefix after which a leaf takes the heads of its keys. A leaf that is full first hands
//! records to a neighbour and splits only when that is nearly full too, so that leaves of a random
//! load are about 80% full; a node that runs low is merged with a neighbour.

use std::iter::Peekable;
use std::ops::ControlFlow;

use crate::types::{Blob, KeyRange, RangeEnd};

use super::heads::common;
use super::leaf::{Fences, LEAF_RECORDS, Leaf};
use super::separators::Separators;
use super::versions::Record;

/// Children of an inner node at most.
const INNER_CHILDREN: usize = 64;
/// Below this a leaf looks for a neighbour to merge with.
const LEAF_LOW: usize = LEAF_RECORDS / 4;
/// Below this an inner node looks for a neighbour to merge with.
const INNER_LOW: usize = INNER_CHILDREN / 4;
/// A neighbour with fewer records than this takes some of a full leaf.
const LEAF_ROOMY: usize = LEAF_RECORDS * 3 / 4;

/// Invariants: keys ascend; no node but a root leaf is empty; `live[i]` is the number of live
/// records below child `i`.
pub(super) struct Tree {
    root: Node,
}

enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

struct Inner {
    separators: Separators,
    live: Vec<u64>,
    children: Vec<Node>,
}

/// The effect of an insertion on a node: how its live keys grew, and the node split off to its
/// right.
struct Insertion<R> {
    result: R,
    growth: i64,
    split: Option<(Blob, Node)>,
}

/// A part of a leaf, as a walk meets it: records and, from bit 0 on, which of them are live.
pub(super) type Visit<'v, 'a> = &'v mut dyn FnMut(&'a [Record], u64) -> ControlFlow<()>;

impl Tree {
    pub(super) fn new() -> Tree {
        Tree { root: Node::Leaf(Box::new(Leaf::new(0))) }
    }

    /// Keys that exist in the newest state.
    pub(super) fn live(&self) -> u64 {
        self.root.live()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Record> {
        let leaf = self.leaf_of(key);
        leaf.search(key).ok().map(|at| &leaf.records()[at])
    }

    /// The leaf to which `key` is routed.
    pub(super) fn leaf_of(&self, key: &[u8]) -> &Leaf {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => node = &inner.children[inner.child_of(key)],
            }
        }
    }

    /// Changes the record of `key`, which is made if there is none; a version must be in it then.
    pub(super) fn upsert<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Record) -> R) -> R {
        let done = self.root.upsert(key, Fences::default(), change);
        if let Some((separator, right)) = done.split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Box::new(Leaf::new(0))));
            self.root = Node::Inner(Box::new(Inner::of_two(left, separator, right)));
        }
        done.result
    }

    /// Changes a record that is there, and removes it when no version is left in it.
    pub(super) fn modify<R>(
        &mut self,
        key: &[u8],
        change: impl FnOnce(&mut Record) -> R,
    ) -> Option<R> {
        let (result, _, _) = self.root.modify(key, Fences::default(), change)?;
        self.collapse_root();
        Some(result)
    }

    fn collapse_root(&mut self) {
        while let Node::Inner(inner) = &mut self.root {
            if inner.children.len() > 1 {
                break;
            }
            self.root = inner.children.pop().expect("an inner node has a child");
        }
    }

    /// Changes every live record of `range`; each must keep a version.
    pub(super) fn modify_live(&mut self, range: &KeyRange, change: &mut dyn FnMut(&mut Record)) {
        if range.is_empty() {
            return;
        }
        match range.single_key() {
            Some(key) => {
                self.modify(key, |record| {
                    if record.live_top().is_some() {
                        change(record);
                    }
                });
            }
            None => {
                self.root.modify_live(bounds(range), change);
            }
        }
    }

    /// Counts the live keys of `range` out, whose records have got their tombstones; how many there
    /// were. That looks at leaves, not at keys.
    pub(super) fn clear_live(&mut self, range: &KeyRange) -> u64 {
        assert!(range.single_key().is_none(), "it would be looked up");
        if range.is_empty() { 0 } else { self.root.clear_live(bounds(range)) }
    }

    /// Counts these keys out, which are live and in order, whose records have got their tombstones
    /// and share their keys with these; how many there were. That looks at leaves, at no key but
    /// the first of each.
    pub(super) fn clear_live_keys<'k>(&mut self, keys: impl Iterator<Item = &'k Blob>) -> u64 {
        self.root.clear_live_keys(&mut keys.peekable(), None)
    }

    /// Keys of `range` that exist in the newest state.
    pub(super) fn count(&self, range: &KeyRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        match &range.end {
            RangeEnd::Single => {
                u64::from(self.get(&range.start).is_some_and(|r| r.live_top().is_some()))
            }
            RangeEnd::Unbounded => self.live() - self.root.live_below(&range.start),
            RangeEnd::Before(end) => self.root.live_below(end) - self.root.live_below(&range.start),
        }
    }

    /// Walks the records of `range`, upwards or downwards by leaf (in a leaf always upwards),
    /// until `visit` breaks.
    pub(super) fn walk<'a>(&'a self, range: &KeyRange, downwards: bool, visit: Visit<'_, 'a>) {
        if range.is_empty() {
            return;
        }
        let _ = match range.single_key() {
            Some(key) => match self.get(key) {
                Some(record) => {
                    let live = u64::from(record.live_top().is_some());
                    visit(std::slice::from_ref(record), live)
                }
                None => ControlFlow::Continue(()),
            },
            None => self.root.walk(bounds(range), downwards, visit),
        };
    }

    /// Walks upwards from `start`.
    pub(super) fn walk_from<'a>(&'a self, start: &[u8], visit: Visit<'_, 'a>) {
        let _ = self.root.walk(Fences { low: Some(start), high: None }, false, visit);
    }

    /// Shrinks and repacks at least `records` records from `start` on; returns where to go on.
    pub(super) fn repack(&mut self, start: &[u8], records: usize) -> Option<Blob> {
        let mut left = records.max(1);
        let from = Fences { low: Some(start), high: None };
        let rest = self.root.repack(from, Fences::default(), &mut left);
        self.collapse_root();
        rest
    }

    #[cfg(test)]
    pub(super) fn assert_invariants(&self) {
        self.root.assert_invariants(Fences::default(), true);
    }
}

fn bounds(range: &KeyRange) -> Fences<'_> {
    let high = match &range.end {
        RangeEnd::Before(end) => Some(&end[..]),
        RangeEnd::Unbounded => None,
        RangeEnd::Single => unreachable!("a single key is looked up"),
    };
    Fences { low: Some(&range.start), high }
}

impl Node {
    fn live(&self) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.live(),
            Node::Inner(inner) => inner.live.iter().sum(),
        }
    }

    fn is_low(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.len() < LEAF_LOW,
            Node::Inner(inner) => inner.children.len() < INNER_LOW,
        }
    }

    fn upsert<R>(
        &mut self,
        key: &[u8],
        fences: Fences<'_>,
        change: impl FnOnce(&mut Record) -> R,
    ) -> Insertion<R> {
        match self {
            Node::Inner(inner) => inner.upsert(key, fences, change),
            Node::Leaf(leaf) => match leaf.search(key) {
                Ok(at) => {
                    let (result, growth) = leaf.modify(at, change);
                    Insertion { result, growth, split: None }
                }
                Err(at) => {
                    let mut record = Record::new(key);
                    let result = change(&mut record);
                    assert!(!record.is_empty(), "an upsert leaves a version");
                    let growth = i64::from(record.live_top().is_some());
                    let split = insert_or_split(leaf, at, record, fences);
                    Insertion { result, growth, split }
                }
            },
        }
    }

    fn modify<R>(
        &mut self,
        key: &[u8],
        fences: Fences<'_>,
        change: impl FnOnce(&mut Record) -> R,
    ) -> Option<(R, i64, bool)> {
        match self {
            Node::Inner(inner) => inner.modify(key, fences, change),
            Node::Leaf(leaf) => {
                let at = leaf.search(key).ok()?;
                let (result, growth) = leaf.modify(at, change);
                let gone = leaf.records()[at].is_empty();
                if gone {
                    leaf.remove(at);
                }
                Some((result, growth, gone))
            }
        }
    }

    fn modify_live(&mut self, range: Fences<'_>, change: &mut dyn FnMut(&mut Record)) -> i64 {
        match self {
            Node::Leaf(leaf) => {
                let (start, end) = span(leaf, range);
                leaf.modify_live(start, end, change)
            }
            Node::Inner(inner) => {
                let (first, last) = inner.children_of(range);
                let mut growth = 0;
                for i in first..=last {
                    let part = part(range, i == first, i == last);
                    let grown = inner.children[i].modify_live(part, change);
                    inner.live[i] = inner.live[i].checked_add_signed(grown).expect("counted");
                    growth += grown;
                }
                growth
            }
        }
    }

    fn clear_live(&mut self, range: Fences<'_>) -> u64 {
        match self {
            Node::Leaf(leaf) => {
                let (start, end) = span(leaf, range);
                leaf.clear_live(start, end)
            }
            Node::Inner(inner) => {
                let (first, last) = inner.children_of(range);
                let mut cleared = 0;
                for i in first..=last {
                    if inner.live[i] == 0 {
                        continue;
                    }
                    let part = part(range, i == first, i == last);
                    let there = inner.children[i].clear_live(part);
                    inner.live[i] -= there;
                    cleared += there;
                }
                cleared
            }
        }
    }

    /// Those below `high`, which lie in this node.
    fn clear_live_keys<'k, I: Iterator<Item = &'k Blob>>(
        &mut self,
        keys: &mut Peekable<I>,
        high: Option<&[u8]>,
    ) -> u64 {
        match self {
            Node::Leaf(leaf) => leaf.clear_live_keys(keys),
            Node::Inner(inner) => {
                let mut cleared = 0;
                while let Some(key) = keys.peek()
                    && high.is_none_or(|high| key.as_slice() < high)
                {
                    let child = inner.child_of(key);
                    let Inner { separators, children, live } = &mut **inner;
                    let high = separators.keys().get(child).map(Blob::as_slice).or(high);
                    let there = children[child].clear_live_keys(keys, high);
                    assert!(there > 0, "a key is not where it belongs");
                    live[child] -= there;
                    cleared += there;
                }
                cleared
            }
        }
    }

    /// Live keys below `key`.
    fn live_below(&self, key: &[u8]) -> u64 {
        let mut node = self;
        let mut count = 0;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (Ok(at) | Err(at)) = leaf.search(key);
                    return count + leaf.live_before(at);
                }
                Node::Inner(inner) => {
                    let child = inner.child_of(key);
                    count += inner.live[..child].iter().sum::<u64>();
                    node = &inner.children[child];
                }
            }
        }
    }

    fn walk<'a>(
        &'a self,
        range: Fences<'_>,
        downwards: bool,
        visit: Visit<'_, 'a>,
    ) -> ControlFlow<()> {
        match self {
            Node::Leaf(leaf) => {
                let (start, end) = span(leaf, range);
                if start >= end {
                    return ControlFlow::Continue(());
                }
                let bits = leaf.live_bits() & (u64::MAX >> (64 - end));
                visit(&leaf.records()[start..end], bits >> start)
            }
            Node::Inner(inner) => {
                let (first, last) = inner.children_of(range);
                for step in 0..=last - first {
                    let i = if downwards { last - step } else { first + step };
                    let part = part(range, i == first, i == last);
                    inner.children[i].walk(part, downwards, visit)?;
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn repack(&mut self, range: Fences<'_>, fences: Fences<'_>, left: &mut usize) -> Option<Blob> {
        match self {
            Node::Leaf(leaf) => {
                leaf.shrink();
                *left = left.saturating_sub(leaf.len());
                None
            }
            Node::Inner(inner) => {
                let mut i = range.low.map_or(0, |low| inner.child_of(low));
                let mut low = range.low;
                while i < inner.children.len() {
                    // Child 0 begins where a separator further up says: only that one knows.
                    if *left == 0 && i > 0 {
                        return Some(inner.separators.keys()[i - 1].clone());
                    }
                    let Inner { separators, children, .. } = &mut **inner;
                    let own = fences_of(separators, i, fences);
                    let rest =
                        children[i].repack(Fences { low: low.take(), high: None }, own, left);
                    if rest.is_some() {
                        return rest;
                    }
                    if !inner.absorb_right(i, fences) {
                        i += 1;
                    }
                }
                None
            }
        }
    }

    #[cfg(test)]
    fn assert_invariants(&self, fences: Fences<'_>, is_root: bool) -> usize {
        match self {
            Node::Leaf(leaf) => {
                assert!(is_root || leaf.len() > 0, "an empty leaf");
                leaf.assert_invariants(fences);
                1
            }
            Node::Inner(inner) => {
                let count = inner.children.len();
                assert!((1..=INNER_CHILDREN).contains(&count) && (count > 1 || !is_root));
                assert_eq!((inner.separators.keys().len(), inner.live.len()), (count - 1, count));
                inner.separators.assert_invariants(fences.prefix());
                let mut depths = (0..count).map(|i| {
                    let own = fences_of(&inner.separators, i, fences);
                    assert!(own.low.is_none() || own.high.is_none() || own.low < own.high);
                    assert_eq!(inner.live[i], inner.children[i].live(), "a count is off");
                    inner.children[i].assert_invariants(own, false)
                });
                let depth = depths.next().expect("a child");
                assert!(depths.all(|other| other == depth), "leaves at one depth");
                depth + 1
            }
        }
    }
}

/// The part of a range that concerns the first, a middle or the last child it touches.
fn part(range: Fences<'_>, is_first: bool, is_last: bool) -> Fences<'_> {
    Fences { low: range.low.filter(|_| is_first), high: range.high.filter(|_| is_last) }
}

/// Which records of a leaf lie in `range`.
fn span(leaf: &Leaf, range: Fences<'_>) -> (usize, usize) {
    let position = |key| match leaf.search(key) {
        Ok(at) | Err(at) => at,
    };
    (range.low.map_or(0, position), range.high.map_or(leaf.len(), position))
}

fn fences_of<'a>(separators: &'a Separators, child: usize, of: Fences<'a>) -> Fences<'a> {
    let separators = separators.keys();
    Fences {
        low: child.checked_sub(1).map(|i| separators[i].as_slice()).or(of.low),
        high: separators.get(child).map(Blob::as_slice).or(of.high),
    }
}

/// The shortest key above `left` and not above `right`.
fn separator(left: &Record, right: &Record) -> Blob {
    let shared = common(&left.key, &right.key);
    Blob::from(&right.key[..=shared])
}

fn insert_or_split(
    leaf: &mut Leaf,
    at: usize,
    record: Record,
    fences: Fences<'_>,
) -> Option<(Blob, Node)> {
    if !leaf.is_full() {
        leaf.insert(at, record);
        return None;
    }
    // Keys that come in order leave full leaves behind.
    let is_append = at == LEAF_RECORDS && fences.high.is_none();
    let middle = if is_append { LEAF_RECORDS } else { LEAF_RECORDS / 2 };
    let mut right = leaf.split_off(middle);
    if at <= middle && !is_append {
        leaf.insert(at, record);
    } else {
        right.insert(at - middle, record);
    }
    let records = leaf.records();
    let separator = separator(&records[records.len() - 1], &right.records()[0]);
    leaf.set_prefix(Fences { low: fences.low, high: Some(&separator) }.prefix());
    right.set_prefix(Fences { low: Some(&separator), high: fences.high }.prefix());
    Some((separator, Node::Leaf(right)))
}

impl Inner {
    fn of_two(left: Node, separator: Blob, right: Node) -> Inner {
        Inner {
            separators: Separators::of_one(separator),
            live: vec![left.live(), right.live()],
            children: vec![left, right],
        }
    }

    /// Finds the child of a key, as [`Separators::child_of`] does.
    fn child_of(&self, key: &[u8]) -> usize {
        self.separators.child_of(key)
    }

    /// The first and the last child that a range touches.
    fn children_of(&self, range: Fences<'_>) -> (usize, usize) {
        let first = range.low.map_or(0, |low| self.child_of(low));
        let last = range.high.map_or(self.children.len() - 1, |high| self.child_of(high));
        (first, last)
    }

    fn upsert<R>(
        &mut self,
        key: &[u8],
        fences: Fences<'_>,
        change: impl FnOnce(&mut Record) -> R,
    ) -> Insertion<R> {
        let mut i = self.child_of(key);
        if self.make_room(i, key, fences) {
            i = self.child_of(key);
        }
        let own = fences_of(&self.separators, i, fences);
        let mut done = self.children[i].upsert(key, own, change);
        match done.split.take() {
            None => self.live[i] = self.live[i].checked_add_signed(done.growth).expect("counted"),
            Some((separator, right)) => {
                self.live[i] = self.children[i].live();
                self.live.insert(i + 1, right.live());
                self.separators.insert(i, separator);
                self.children.insert(i + 1, right);
                if self.children.len() > INNER_CHILDREN {
                    done.split = Some(self.split(fences));
                }
            }
        }
        done
    }

    /// Before `key` is added to a full leaf, hands some of its records to a neighbour with room.
    fn make_room(&mut self, i: usize, key: &[u8], fences: Fences<'_>) -> bool {
        let Node::Leaf(leaf) = &self.children[i] else { return false };
        if !leaf.is_full() || leaf.search(key).is_ok() {
            return false;
        }
        let roomy = |child: &Node| matches!(child, Node::Leaf(l) if l.len() < LEAF_ROOMY);
        if self.children.get(i + 1).is_some_and(roomy) {
            self.level(i, fences);
            return true;
        }
        if i > 0 && roomy(&self.children[i - 1]) {
            self.level(i - 1, fences);
            return true;
        }
        false
    }

    /// Evens out the leaves `i` and `i + 1`.
    fn level(&mut self, i: usize, fences: Fences<'_>) {
        let low = fences_of(&self.separators, i, fences).low;
        let high = fences_of(&self.separators, i + 1, fences).high;
        let [Node::Leaf(left), Node::Leaf(right)] = &mut self.children[i..i + 2] else {
            unreachable!("both were found to be leaves");
        };
        let prefix = Fences { low, high }.prefix();
        left.set_prefix(prefix);
        right.set_prefix(prefix);
        let half = (left.len() + right.len()) / 2;
        if left.len() > half {
            left.give_back(right, left.len() - half);
        } else {
            left.take_front(right, half - left.len());
        }
        let separator = separator(&left.records()[half - 1], &right.records()[0]);
        left.set_prefix(Fences { low, high: Some(&separator) }.prefix());
        right.set_prefix(Fences { low: Some(&separator), high }.prefix());
        (self.live[i], self.live[i + 1]) = (left.live(), right.live());
        self.separators.replace(i, separator);
    }

    fn split(&mut self, fences: Fences<'_>) -> (Blob, Node) {
        let middle = self.children.len() / 2;
        let (separator, separators) = self.separators.split(middle);
        let mut right = Inner {
            separators,
            live: self.live.split_off(middle),
            children: self.children.split_off(middle),
        };
        let left = Fences { low: fences.low, high: Some(&separator) };
        self.separators.route(left.prefix());
        right.separators.route(Fences { low: Some(&separator), high: fences.high }.prefix());
        (separator, Node::Inner(Box::new(right)))
    }

    fn modify<R>(
        &mut self,
        key: &[u8],
        fences: Fences<'_>,
        change: impl FnOnce(&mut Record) -> R,
    ) -> Option<(R, i64, bool)> {
        let i = self.child_of(key);
        let own = fences_of(&self.separators, i, fences);
        let (result, growth, gone) = self.children[i].modify(key, own, change)?;
        self.live[i] = self.live[i].checked_add_signed(growth).expect("counted");
        if gone && self.children[i].is_low() && !self.absorb_right(i, fences) && i > 0 {
            self.absorb_right(i - 1, fences);
        }
        Some((result, growth, gone))
    }

    /// Merges child `i + 1` into child `i` if it is there and both fit into one.
    fn absorb_right(&mut self, i: usize, fences: Fences<'_>) -> bool {
        let Some([left, right]) = self.children.get_mut(i..i + 2) else { return false };
        let low = fences_of(&self.separators, i, fences).low;
        let high = fences_of(&self.separators, i + 1, fences).high;
        let prefix = Fences { low, high }.prefix();
        match (left, right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                if left.len() + right.len() > LEAF_RECORDS {
                    return false;
                }
                left.set_prefix(prefix);
                right.set_prefix(prefix);
                let count = right.len();
                left.take_front(right, count);
            }
            (Node::Inner(left), Node::Inner(right)) => {
                if left.children.len() + right.children.len() > INNER_CHILDREN {
                    return false;
                }
                let between = self.separators.keys()[i].clone();
                left.separators.append(between, &mut right.separators);
                left.live.append(&mut right.live);
                left.children.append(&mut right.children);
                left.separators.route(prefix);
            }
            _ => unreachable!("children of a node are at one depth"),
        }
        self.children.remove(i + 1);
        self.separators.remove(i);
        self.live[i] += self.live.remove(i + 1);
        true
    }
}
