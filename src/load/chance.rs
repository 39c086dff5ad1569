//! Numbers that look random, the same for the same seed, and the Zipf distribution.

/// A stream of numbers (splitmix64): a few instructions each, any seed is as good as another.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, by multiplication: the bias is below `bound` in 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// At least 0, below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with this mean: the gaps of a Poisson stream.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.unit()).ln() * mean
    }
}

/// A permutation of 64-bit numbers that leaves no pattern.
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Ranks 1 to n with probability ∝ 1/rank^q, by rejection-inversion (Hörmann and Derflinger 1996):
/// no table, constant time, any q above 0.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: u64,
    exponent: f64,
    area_first: f64,
    area_last: f64,
    accepted: f64,
}

impl Zipf {
    /// # Panics
    ///
    /// If there is nothing to choose or the exponent is not above 0.
    pub(super) fn new(count: u64, exponent: f64) -> Zipf {
        assert!(count > 0 && exponent > 0.0, "a Zipf distribution over {count} with {exponent}");
        let mut zipf = Zipf { count, exponent, area_first: 0.0, area_last: 0.0, accepted: 0.0 };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_last = zipf.area(count as f64 + 0.5);
        zipf.accepted = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    /// A rank, 1 the likeliest.
    pub(super) fn rank(&self, chance: &mut Chance) -> u64 {
        loop {
            let u = self.area_last + chance.unit() * (self.area_first - self.area_last);
            let x = self.area_inverse(u);
            let rank = x.round().clamp(1.0, self.count as f64);
            if rank - x <= self.accepted || u >= self.area(rank + 0.5) - self.height(rank) {
                return rank as u64;
            }
        }
    }

    fn height(&self, x: f64) -> f64 {
        x.powf(-self.exponent)
    }

    /// The integral of `height`.
    fn area(&self, x: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { x.ln() } else { (x.powf(power) - 1.0) / power }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { area.exp() } else { (1.0 + area * power).powf(1.0 / power) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_says_the_same() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [chance.number(), chance.number(), chance.below(1000)]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
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

    #[test]
    fn gaps_of_a_poisson_stream_have_their_mean() {
        let mut chance = Chance::new(2);
        let sum: f64 = (0..100_000).map(|_| chance.exponential(250.0)).sum();
        assert!((245.0..255.0).contains(&(sum / 100_000.0)), "{sum}");
    }

    /// Against the definition: the share of each of the first ranks.
    #[test]
    fn zipf_has_the_shares_of_its_definition() {
        const COUNT: u64 = 1000;
        const DRAWS: u32 = 400_000;
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let zipf = Zipf::new(COUNT, exponent);
            let mut chance = Chance::new(3);
            let mut counts = vec![0u32; COUNT as usize + 1];
            for _ in 0..DRAWS {
                counts[zipf.rank(&mut chance) as usize] += 1;
            }
            let sum: f64 = (1..=COUNT).map(|rank| (rank as f64).powf(-exponent)).sum();
            for rank in [1usize, 2, 3, 10] {
                let expected = f64::from(DRAWS) * (rank as f64).powf(-exponent) / sum;
                let off = (f64::from(counts[rank]) - expected).abs();
                assert!(off < 5.0 * expected.sqrt(), "q {exponent} rank {rank}: {off}");
            }
            assert_eq!(counts[0], 0);
        }
    }
}
