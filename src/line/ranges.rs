//! A set of keys that grows by whole ranges.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::types::{KeyRange, RangeEnd};

/// Ranges that neither overlap nor touch, so that one look at a neighbour says whether a key or
/// another range meets any of them.
#[derive(Debug, Default)]
pub(super) struct RangeSet {
    /// Start to end, half-open, never empty; without an end, everything from the start on.
    ranges: BTreeMap<Bytes, Option<Bytes>>,
}

impl RangeSet {
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Adds a range of more than one key. Returns how many ranges it was joined with: each of them
    /// is gone, so over all additions that is no more than were added.
    pub fn add(&mut self, range: &KeyRange) -> usize {
        if range.is_empty() {
            return 0;
        }
        let mut start = range.start.clone();
        let mut end = end_of(range).cloned();
        let mut joined = 0;
        while let Some((other_start, other_end)) = self.last_until(end.as_ref()) {
            if other_end.is_some_and(|other_end| *other_end < start) {
                break;
            }
            let other_start = other_start.clone();
            let other_end = self.ranges.remove(&other_start).expect("just seen");
            start = start.min(other_start);
            end = end.zip(other_end).map(|(one, other)| one.max(other));
            joined += 1;
        }
        self.ranges.insert(start, end);
        joined
    }

    /// Whether `key` is in the set.
    pub fn has(&self, key: &[u8]) -> bool {
        let until = (Bound::Unbounded, Bound::Included(key));
        let last = self.ranges.range::<[u8], _>(until).next_back();
        last.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < &end[..]))
    }

    /// Whether some key of a range of more than one could be in the set.
    pub fn meets(&self, range: &KeyRange) -> bool {
        let until = match end_of(range) {
            Some(end) => Bound::Excluded(&end[..]),
            None => Bound::Unbounded,
        };
        let last = self.ranges.range::<[u8], _>((Bound::Unbounded, until)).next_back();
        let is_behind = |end: &Option<Bytes>| end.as_ref().is_none_or(|end| *end > range.start);
        !range.is_empty() && last.is_some_and(|(_, end)| is_behind(end))
    }

    /// The last range that starts at or before `end`.
    fn last_until(&self, end: Option<&Bytes>) -> Option<(&Bytes, Option<&Bytes>)> {
        let until = match end {
            Some(end) => Bound::Included(&end[..]),
            None => Bound::Unbounded,
        };
        let last = self.ranges.range::<[u8], _>((Bound::Unbounded, until)).next_back();
        last.map(|(start, end)| (start, end.as_ref()))
    }
}

fn end_of(range: &KeyRange) -> Option<&Bytes> {
    match &range.end {
        RangeEnd::Before(end) => Some(end),
        RangeEnd::Unbounded => None,
        RangeEnd::Single => unreachable!("a single key"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Ends = (u8, Option<u8>);

    fn range((start, end): Ends) -> KeyRange {
        let start = Bytes::from(vec![b'a' + start]);
        let end = end.map(|end| RangeEnd::Before(Bytes::from(vec![b'a' + end])));
        KeyRange { start, end: end.unwrap_or(RangeEnd::Unbounded) }
    }

    fn ends(with_end: f64) -> impl Strategy<Value = Ends> {
        (0..20u8, prop::option::weighted(with_end, 0..20u8))
    }

    proptest! {
        #[test]
        fn says_what_a_plain_list_of_ranges_says(
            ranges in prop::collection::vec(ends(0.95), 0..12),
            asked in prop::collection::vec(ends(0.9), 1..20),
        ) {
            let (mut set, mut plain) = (RangeSet::default(), Vec::new());
            let mut joined = 0;
            for ends in ranges {
                joined += set.add(&range(ends));
                plain.push(range(ends));
                prop_assert!(joined <= plain.len());
            }
            for asked in asked.into_iter().map(range) {
                let has = plain.iter().any(|own| own.contains(&asked.start));
                prop_assert_eq!(set.has(&asked.start), has);
                prop_assert_eq!(set.meets(&asked), plain.iter().any(|own| own.overlaps(&asked)));
            }
            let ends = set.ranges.iter().map(|(start, end)| (start, end.as_ref()));
            let all: Vec<_> = ends.collect();
            for pair in all.windows(2) {
                prop_assert!(pair[0].1.is_some_and(|end| end < pair[1].0), "they do not touch");
            }
        }
    }
}
