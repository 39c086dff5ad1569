//! Numbers from a seed: chance for whatever must be the same for the same seed.
//!
//! The generator is splitmix64. Any seed is as good as another, and its stream is the same on every
//! machine and in every version: seeds that once failed stand in `tests/sim_seeds.txt`.

use std::ops::RangeInclusive;

/// A stream of numbers that its seed determines: a few instructions each.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Returns the stream of `seed`.
    pub const fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// Returns the next number.
    #[inline]
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number below `limit`, which is not 0. The bias is below `limit` in 2^64.
    #[inline]
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// Returns an index of something with `count` elements, which are not 0.
    #[inline]
    pub fn slot(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns a number of the range, both ends included.
    pub fn in_range(&mut self, range: RangeInclusive<i64>) -> i64 {
        range.start() + self.below((range.end() - range.start()) as u64 + 1) as i64
    }

    /// Returns true once in `times`, on average; never if that is 0.
    pub fn one_in(&mut self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    /// Returns one of the elements; there is one at least.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.slot(from.len())]
    }

    /// Returns the position of one of `weights`, each as likely as it weighs.
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

    /// Returns `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number() as u8).collect()
    }

    /// Returns a number of at least 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns a permutation of 64-bit numbers that leaves no pattern.
#[inline]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_stream_and_bounds_hold() {
        let (mut one, mut two) = (Chance::new(7), Chance::new(7));
        assert!((0..100).all(|_| one.number() == two.number()));
        assert!((0..100).all(|_| (3..=5).contains(&one.within(3, 5))));
        assert!((0..100).all(|_| (-3..=5).contains(&one.in_range(-3..=5))));
        assert!((0..100).all(|_| one.weighed(&[0, 3, 0, 1]) % 2 == 1));
        assert!((0..100).all(|_| (0.0..1.0).contains(&one.unit())));
        assert!(!one.one_in(0));
        assert_eq!((one.pick(&["only"]), one.bytes(9).len()), ("only", 9));
    }

    #[test]
    fn the_same_seed_says_the_same() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [chance.number(), chance.number(), chance.below(1000)]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    /// The first numbers of splitmix64 from 0, as its authors give them.
    #[test]
    fn the_stream_is_that_of_splitmix64() {
        let mut chance = Chance::new(0);
        assert_eq!(chance.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(chance.number(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut chance = Chance::new(1);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[chance.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
