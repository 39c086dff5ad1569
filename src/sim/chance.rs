//! Numbers from a seed: the only chance there is in a simulation.

/// A stream of numbers that its seed determines (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// An index of something with `count` elements.
    pub fn slot(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True once in `times`, on average; never if that is 0.
    pub fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.slot(from.len())]
    }

    /// The position of one of `weights`, each as likely as it weighs.
    pub fn weighed(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum::<u64>().max(1));
        for (slot, &weight) in weights.iter().enumerate() {
            if left < weight {
                return slot;
            }
            left -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_bounds_hold() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| one.number() == two.number()));
        assert!((0..100).all(|_| (3..=5).contains(&one.within(3, 5))));
        assert!((0..100).all(|_| one.weighed(&[0, 3, 0, 1]) % 2 == 1));
        assert!(!one.one_in(0));
    }
}
