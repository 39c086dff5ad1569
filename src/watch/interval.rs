//! An interval tree: which spans hold a key.
//!
//! ```text
//!                 [d, k)          ordered by (start, end): a treap, so that it stays flat
//!                 furthest: [b, z)
//!                /        \
//!          [b, z)          [f, g)
//!     furthest: itself     furthest: itself
//! ```
//!
//! Every node knows which span below it (itself included) ends last. A walk for a key turns back
//! where nothing below ends after the key, and does not go right of a span that starts after it:
//! it costs the height of the tree and what it finds.
//!
//! Invariants: ordered by (start, end), each pair once; a node's priority is no lower than those of
//! its children; `furthest` is right at every node.

use std::cmp::Ordering;

use super::keys::Span;
use crate::chance::Chance;

const NONE: u32 = u32::MAX;

/// A value for each of many spans.
#[derive(Debug)]
pub(super) struct IntervalMap<V> {
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    root: u32,
    /// State of the generator of priorities.
    /// Gives nodes their priorities. Clients do not know its seed.
    chance: Chance,
}

#[derive(Debug)]
struct Node<V> {
    span: Span,
    value: V,
    left: u32,
    right: u32,
    priority: u32,
    /// The node at or below this one whose span ends last.
    furthest: u32,
}

fn by_end(a: &Span, b: &Span) -> Ordering {
    match (a.end.is_empty(), b.end.is_empty()) {
        (false, false) => a.end.cmp(&b.end),
        (a, b) => a.cmp(&b),
    }
}

fn by_place(a: &Span, b: &Span) -> Ordering {
    a.start.cmp(&b.start).then_with(|| by_end(a, b))
}

impl<V: Default> IntervalMap<V> {
    /// An empty one; `seed` keeps clients from choosing spans that make it steep.
    pub fn new(seed: u64) -> IntervalMap<V> {
        IntervalMap { nodes: Vec::new(), free: Vec::new(), root: NONE, chance: Chance::new(seed) }
    }

    pub fn is_empty(&self) -> bool {
        self.root == NONE
    }

    pub fn get_mut(&mut self, span: &Span) -> Option<&mut V> {
        let mut at = self.root;
        while at != NONE {
            let node = &self.nodes[at as usize];
            at = match by_place(span, &node.span) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return Some(&mut self.nodes[at as usize].value),
            };
        }
        None
    }

    /// Adds a span that is not there.
    pub fn insert(&mut self, span: Span, value: V) {
        let priority = self.draw();
        let node = Node { span, value, left: NONE, right: NONE, priority, furthest: NONE };
        let new = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 spans")
            }
        };
        self.root = self.insert_below(self.root, new);
    }

    /// Takes a span out.
    pub fn remove(&mut self, span: &Span) -> Option<V> {
        let (root, removed) = self.remove_below(self.root, span);
        self.root = root;
        let removed = removed?;
        self.free.push(removed);
        let node = &mut self.nodes[removed as usize];
        node.span = Span::default();
        let value = std::mem::take(&mut node.value);
        if self.root == NONE {
            (self.nodes, self.free) = (Vec::new(), Vec::new());
        }
        Some(value)
    }

    /// Visits the values of all spans that hold `key`, in order.
    pub fn stab(&self, key: &[u8], visit: &mut impl FnMut(&V)) {
        if self.root != NONE {
            self.stab_below(self.root, key, visit);
        }
    }

    fn stab_below(&self, at: u32, key: &[u8], visit: &mut impl FnMut(&V)) {
        let node = &self.nodes[at as usize];
        if !self.nodes[node.furthest as usize].span.ends_after(key) {
            return;
        }
        if node.left != NONE {
            self.stab_below(node.left, key, visit);
        }
        if node.span.start.as_slice() > key {
            return;
        }
        if node.span.ends_after(key) {
            visit(&node.value);
        }
        if node.right != NONE {
            self.stab_below(node.right, key, visit);
        }
    }

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        if at == NONE {
            self.refresh(new);
            return new;
        }
        if self.nodes[new as usize].priority > self.nodes[at as usize].priority {
            let (left, right) = self.split(at, new);
            let node = &mut self.nodes[new as usize];
            (node.left, node.right) = (left, right);
            self.refresh(new);
            return new;
        }
        match by_place(&self.nodes[new as usize].span, &self.nodes[at as usize].span) {
            Ordering::Less => {
                let left = self.insert_below(self.nodes[at as usize].left, new);
                self.nodes[at as usize].left = left;
            }
            Ordering::Greater => {
                let right = self.insert_below(self.nodes[at as usize].right, new);
                self.nodes[at as usize].right = right;
            }
            Ordering::Equal => panic!("a span is inserted twice"),
        }
        self.refresh(at);
        at
    }

    /// Splits the spans below that of `pivot` from those above.
    fn split(&mut self, at: u32, pivot: u32) -> (u32, u32) {
        if at == NONE {
            return (NONE, NONE);
        }
        let order = by_place(&self.nodes[at as usize].span, &self.nodes[pivot as usize].span);
        assert!(order != Ordering::Equal, "a span is inserted twice");
        let (left, right) = if order == Ordering::Less {
            let (left, right) = self.split(self.nodes[at as usize].right, pivot);
            self.nodes[at as usize].right = left;
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at as usize].left, pivot);
            self.nodes[at as usize].left = right;
            (left, at)
        };
        self.refresh(at);
        (left, right)
    }

    fn remove_below(&mut self, at: u32, span: &Span) -> (u32, Option<u32>) {
        if at == NONE {
            return (NONE, None);
        }
        let node = &self.nodes[at as usize];
        let (left, right) = (node.left, node.right);
        let removed = match by_place(span, &node.span) {
            Ordering::Equal => return (self.join(left, right), Some(at)),
            Ordering::Less => {
                let (left, removed) = self.remove_below(left, span);
                self.nodes[at as usize].left = left;
                removed
            }
            Ordering::Greater => {
                let (right, removed) = self.remove_below(right, span);
                self.nodes[at as usize].right = right;
                removed
            }
        };
        if removed.is_some() {
            self.refresh(at);
        }
        (at, removed)
    }

    /// One tree of two, all of `left` below all of `right`.
    fn join(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE || right == NONE {
            return left.min(right);
        }
        if self.nodes[left as usize].priority >= self.nodes[right as usize].priority {
            let inner = self.join(self.nodes[left as usize].right, right);
            self.nodes[left as usize].right = inner;
            self.refresh(left);
            left
        } else {
            let inner = self.join(left, self.nodes[right as usize].left);
            self.nodes[right as usize].left = inner;
            self.refresh(right);
            right
        }
    }

    fn refresh(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let mut furthest = at;
        for child in [node.left, node.right] {
            if child == NONE {
                continue;
            }
            let other = self.nodes[child as usize].furthest;
            let (a, b) = (&self.nodes[other as usize].span, &self.nodes[furthest as usize].span);
            if by_end(a, b) == Ordering::Greater {
                furthest = other;
            }
        }
        self.nodes[at as usize].furthest = furthest;
    }

    fn draw(&mut self) -> u32 {
        (self.chance.number() >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Blob;

    fn span(chance: &mut Chance) -> Span {
        let text = |number: u64| Blob::from(&number.to_be_bytes()[6..]);
        let start = chance.below(60);
        let end = start + 1 + chance.below(30);
        let end = if chance.below(8) == 0 { Blob::empty() } else { text(end) };
        Span { start: text(start), end }
    }

    fn assert_ordered(map: &IntervalMap<u32>, at: u32) -> usize {
        if at == NONE {
            return 0;
        }
        let node = &map.nodes[at as usize];
        let mut count = 1;
        for (child, order) in [(node.left, Ordering::Less), (node.right, Ordering::Greater)] {
            if child != NONE {
                let below = &map.nodes[child as usize];
                assert_eq!(by_place(&below.span, &node.span), order);
                assert!(below.priority <= node.priority);
            }
            count += assert_ordered(map, child);
        }
        count
    }

    #[test]
    fn finds_what_a_plain_list_finds() {
        for seed in 1..40 {
            let mut chance = Chance::new(seed);
            let mut map: IntervalMap<u32> = IntervalMap::new(seed);
            let mut list: Vec<(Span, u32)> = Vec::new();
            for number in 0..300 {
                let span = span(&mut chance);
                let there = list.iter().position(|(other, _)| *other == span);
                assert_eq!(map.get_mut(&span).copied(), there.map(|at| list[at].1));
                match there {
                    Some(at) if chance.below(2) == 0 => {
                        assert_eq!(map.remove(&span), Some(list.swap_remove(at).1));
                        assert_eq!(map.remove(&span), None);
                    }
                    Some(_) => {}
                    None => {
                        map.insert(span.clone(), number);
                        list.push((span, number));
                    }
                }
                if chance.below(3) == 0 && !list.is_empty() {
                    let at = chance.below(list.len() as u64) as usize;
                    let (span, value) = list.swap_remove(at);
                    assert_eq!(map.remove(&span), Some(value));
                }
                assert_eq!(assert_ordered(&map, map.root), list.len());
                assert_eq!(map.is_empty(), list.is_empty());
                for key in 0..95_u64 {
                    let key = &key.to_be_bytes()[6..];
                    let mut expected: Vec<u32> =
                        list.iter().filter(|(s, _)| s.contains(key)).map(|(_, v)| *v).collect();
                    let mut found = Vec::new();
                    map.stab(key, &mut |value| found.push(*value));
                    expected.sort_unstable();
                    found.sort_unstable();
                    assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn many_spans_make_no_steep_tree() {
        let mut map: IntervalMap<u32> = IntervalMap::new(0x5a17);
        for number in 0..100_000_u32 {
            let start = Blob::from(&number.to_be_bytes()[..]);
            map.insert(Span { start, end: Blob::from(&(number + 1).to_be_bytes()[..]) }, number);
        }
        fn height(map: &IntervalMap<u32>, at: u32) -> usize {
            let Some(node) = map.nodes.get(at as usize) else { return 0 };
            1 + height(map, node.left).max(height(map, node.right))
        }
        assert!(height(&map, map.root) < 60, "{}", height(&map, map.root));
        let mut found = Vec::new();
        map.stab(&777_u32.to_be_bytes(), &mut |value| found.push(*value));
        assert_eq!(found, [777]);
    }
}
