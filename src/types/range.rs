//! Key ranges with etcd's conventions.

use bytes::Bytes;

/// The end of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// `range_end` empty: exactly the start key.
    Single,
    /// `range_end` is one zero byte: every key from the start on.
    Unbounded,
    /// Half-open; a bound at or below the start makes the range empty, which is no error.
    Before(Bytes),
}

/// A set of keys: one, `[start, end)`, or everything from `start` on. Bytewise order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    pub start: Bytes,
    pub end: RangeEnd,
}

impl KeyRange {
    /// Returns the range of exactly one key.
    pub fn single(key: Bytes) -> KeyRange {
        KeyRange { start: key, end: RangeEnd::Single }
    }

    /// Returns the range of every key there can be (an empty key is illegal).
    pub fn all() -> KeyRange {
        KeyRange { start: Bytes::from_static(b"\0"), end: RangeEnd::Unbounded }
    }

    /// Makes a range of the API's pair of fields.
    pub fn from_api(key: Bytes, range_end: Bytes) -> KeyRange {
        let end = match &range_end[..] {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        KeyRange { start: key, end }
    }

    /// Returns the range in memory of its own: a slice would keep alive all that was read with it.
    pub fn detached(&self) -> KeyRange {
        let end = match &self.end {
            RangeEnd::Before(end) => RangeEnd::Before(Bytes::copy_from_slice(end)),
            end => end.clone(),
        };
        KeyRange { start: Bytes::copy_from_slice(&self.start), end }
    }

    /// Returns the one key of a range that can hold no other.
    pub fn single_key(&self) -> Option<&Bytes> {
        matches!(self.end, RangeEnd::Single).then_some(&self.start)
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == &self.start[..],
            RangeEnd::Unbounded => key >= &self.start[..],
            RangeEnd::Before(end) => key >= &self.start[..] && key < &end[..],
        }
    }

    /// Whether no key at all can lie in the range.
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end[..] <= self.start[..])
    }

    /// Whether some key could lie in both.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        if self.is_empty() || other.is_empty() {
            return false;
        }
        self.starts_below_end_of(other) && other.starts_below_end_of(self)
    }

    fn starts_below_end_of(&self, other: &KeyRange) -> bool {
        match &other.end {
            RangeEnd::Single => self.start <= other.start,
            RangeEnd::Unbounded => true,
            RangeEnd::Before(end) => self.start < *end,
        }
    }
}
