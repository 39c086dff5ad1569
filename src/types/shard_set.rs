//! Sets of shards.

use super::ShardId;

/// A set of shards, for example the participants of a cross-shard write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(pub u128);

impl ShardSet {
    /// No shard.
    pub const EMPTY: ShardSet = ShardSet(0);

    /// Returns the first `shards` shards.
    pub fn all(shards: u16) -> ShardSet {
        assert!(shards <= 128, "a set has room for 128 shards");
        if shards == 128 { ShardSet(u128::MAX) } else { ShardSet((1 << shards) - 1) }
    }

    /// Returns exactly one shard.
    pub fn one(shard: ShardId) -> ShardSet {
        ShardSet(1 << shard.0)
    }

    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }

    /// Takes a shard out; whether it was in.
    pub fn remove(&mut self, shard: ShardId) -> bool {
        let was_in = self.contains(shard);
        self.0 &= !(1 << shard.0);
        was_in
    }

    /// Whether the shard is in.
    pub fn contains(self, shard: ShardId) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// Whether no shard is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of shards in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Returns the union of both sets.
    pub fn union(self, other: ShardSet) -> ShardSet {
        ShardSet(self.0 | other.0)
    }

    /// Iterates in rising order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            (lowest < 128).then(|| {
                left &= left - 1;
                ShardId(lowest as u16)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_shards_in_order() {
        let mut set = ShardSet::all(128);
        assert_eq!(set.len(), 128);
        assert!(set.remove(ShardId(0)) && !set.remove(ShardId(0)));
        assert_eq!(set.iter().next(), Some(ShardId(1)));
        assert_eq!(set.iter().last(), Some(ShardId(127)));
        assert_eq!(ShardSet::all(3).iter().map(|s| s.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
