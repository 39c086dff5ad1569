//! The keys of a watcher, and the cores that want to hear of a key.

use bytes::Bytes;

use crate::types::{Blob, CoreId, KeyRange, RangeEnd};

/// One key, or a span of them. Copied from what the client sent: an idle watcher keeps no network
/// buffer alive. Hub and shards share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    One(Blob),
    Span(Span),
}

/// `[start, end)`; without an end if that is empty. Never empty itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: Blob,
    pub end: Blob,
}

impl Keys {
    /// The keys of a range that is not empty.
    pub fn of(range: &KeyRange) -> Keys {
        assert!(!range.is_empty(), "an empty range is refused before");
        let start = Blob::from(&range.start[..]);
        match &range.end {
            RangeEnd::Single => Keys::One(start),
            RangeEnd::Unbounded => Keys::Span(Span { start, end: Blob::empty() }),
            RangeEnd::Before(end) => Keys::Span(Span { start, end: Blob::from(&end[..]) }),
        }
    }

    /// Returns the range as the store takes it.
    pub fn range(&self) -> KeyRange {
        let bytes = |blob: &Blob| Bytes::copy_from_slice(blob);
        match self {
            Keys::One(key) => KeyRange::single(bytes(key)),
            Keys::Span(Span { start, end }) => {
                let end = match end.is_empty() {
                    true => RangeEnd::Unbounded,
                    false => RangeEnd::Before(bytes(end)),
                };
                KeyRange { start: bytes(start), end }
            }
        }
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Keys::One(one) => one.as_slice() == key,
            Keys::Span(span) => span.contains(key),
        }
    }
}

impl Span {
    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && self.ends_after(key)
    }

    /// Whether its end is above `key`.
    pub(super) fn ends_after(&self, key: &[u8]) -> bool {
        self.end.is_empty() || self.end.as_slice() > key
    }
}

/// A set of cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreSet(pub u128);

impl CoreSet {
    /// Adds a core.
    pub fn insert(&mut self, core: CoreId) {
        self.0 |= 1 << core.0;
    }

    /// Takes a core out.
    pub fn remove(&mut self, core: CoreId) {
        self.0 &= !(1 << core.0);
    }

    /// Whether no core is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The union of both sets.
    pub fn union(self, other: CoreSet) -> CoreSet {
        CoreSet(self.0 | other.0)
    }

    /// The core, if there is exactly one.
    pub fn only(self) -> Option<CoreId> {
        self.0.is_power_of_two().then(|| CoreId(self.0.trailing_zeros() as u16))
    }

    /// In rising order.
    pub fn iter(self) -> impl Iterator<Item = CoreId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            (lowest < 128).then(|| {
                left &= left - 1;
                CoreId(lowest as u16)
            })
        })
    }
}
