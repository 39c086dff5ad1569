//! Whether two series of figures differ, or only look as if they did.
//!
//! A figure of a run is never the same twice, so a ratio of two of them says nothing without an
//! interval. The interval is that of the mean of the logarithms of the ratios: its standard error
//! is found by drawing the repetitions again and again (*bootstrap*), and widened as Student's
//! distribution asks for few repetitions. An interval that holds 1 is no difference.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;

/// Samples drawn from the repetitions.
const DRAWS: u32 = 4000;
/// The same draws each time: a report does not depend on chance.
const SEED: u64 = 0x626f_6f74;

/// How many times as much one is as the other, with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::load) struct Ratio {
    pub(in crate::load) ratio: f64,
    /// Nothing with fewer than two repetitions.
    pub(in crate::load) interval: Option<(f64, f64)>,
}

impl Ratio {
    /// Whether there is a difference at all: not without an interval.
    pub(in crate::load) fn differs(&self) -> bool {
        self.interval.is_some_and(|(low, high)| low > 1.0 || high < 1.0)
    }

    /// Of `these` to `those`, which were measured in pairs, one after the other.
    pub(in crate::load) fn of_pairs(these: &[f64], those: &[f64]) -> Option<Ratio> {
        let pairs = these.iter().zip(those).filter(|(a, b)| **a > 0.0 && **b > 0.0);
        let logs: Vec<f64> = pairs.map(|(a, b)| (a / b).ln()).collect();
        let freedom = logs.len().checked_sub(1)?;
        Some(Ratio::around(mean(&logs), standard_error(&logs), freedom))
    }

    /// Of `these` to `those`, which were measured at different times.
    pub(in crate::load) fn of_series(these: &[f64], those: &[f64]) -> Option<Ratio> {
        let logs = |values: &[f64]| -> Vec<f64> {
            values.iter().filter(|value| **value > 0.0).map(|value| value.ln()).collect()
        };
        let (these, those) = (logs(these), logs(those));
        let freedom = these.len().min(those.len()).checked_sub(1)?;
        let error = standard_error(&these).hypot(standard_error(&those));
        Some(Ratio::around(mean(&these) - mean(&those), error, freedom))
    }

    fn around(log: f64, error: f64, freedom: usize) -> Ratio {
        let interval = (freedom > 0).then(|| {
            let width = student(freedom) * error;
            ((log - width).exp(), (log + width).exp())
        });
        Ratio { ratio: log.exp(), interval }
    }

    /// For a table.
    pub(in crate::load) fn show(&self) -> String {
        match self.interval {
            None => format!("{:.2}x (one repetition: no interval)", self.ratio),
            Some((low, high)) if self.differs() => {
                format!("{:.2}x [{low:.2}, {high:.2}]", self.ratio)
            }
            Some((low, high)) => format!("no difference [{low:.2}, {high:.2}]"),
        }
    }
}

/// The middle of the values.
pub(in crate::load) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Of the mean: how far the means of samples drawn from the values lie apart.
fn standard_error(values: &[f64]) -> f64 {
    let count = values.len();
    if count < 2 {
        return 0.0;
    }
    let mut chance = Chance::new(SEED);
    let mut draw = || {
        let one = |_| values[chance.below(count as u64) as usize];
        (0..count).map(one).sum::<f64>() / count as f64
    };
    let means: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    let middle = mean(&means);
    let variance = means.iter().map(|mean| (mean - middle).powi(2)).sum::<f64>() / f64::from(DRAWS);
    // Drawn from few values, means lie closer than those of all that could have been.
    variance.sqrt() * (count as f64 / (count - 1) as f64).sqrt()
}

/// Student's t for 95 % on both sides, by degrees of freedom from 1 on.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

fn student(freedom: usize) -> f64 {
    STUDENT.get(freedom - 1).copied().unwrap_or(1.96 + 2.46 / freedom as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    /// A figure with noise of this share.
    fn noisy(chance: &mut Chance, middle: f64, share: f64) -> f64 {
        let bell: f64 = (0..12).map(|_| chance.unit()).sum::<f64>() - 6.0;
        middle * (share * bell).exp()
    }

    /// The same binary against itself was 1.19 times as fast, and 0.79 times.
    #[test]
    fn noise_is_a_difference_in_one_of_twenty() {
        for repetitions in [3, 5, 10] {
            let mut chance = Chance::new(7);
            let mut differ = 0;
            for _ in 0..400 {
                let mut series = || -> Vec<f64> {
                    (0..repetitions).map(|_| noisy(&mut chance, 1000.0, 0.15)).collect()
                };
                let (these, those) = (series(), series());
                differ += u32::from(Ratio::of_pairs(&these, &those).expect("some").differs());
            }
            // 20 of 400 are what 95 % allows; four standard deviations beside it.
            assert!((3..=38).contains(&differ), "{repetitions}: {differ} of 400");
        }
    }

    #[test]
    fn a_difference_is_found_and_its_size_is_right() {
        let mut chance = Chance::new(8);
        for (repetitions, share) in [(5, 0.05), (10, 0.1)] {
            let (mut differ, mut hold) = (0, 0);
            for _ in 0..100 {
                let mut series = |middle| -> Vec<f64> {
                    (0..repetitions).map(|_| noisy(&mut chance, middle, share)).collect()
                };
                let (these, those) = (series(1500.0), series(1000.0));
                for ratio in [Ratio::of_pairs(&these, &those), Ratio::of_series(&these, &those)] {
                    let ratio = ratio.expect("some");
                    let (low, high) = ratio.interval.expect("an interval");
                    differ += u32::from(ratio.differs());
                    hold += u32::from(low < 1.5 && high > 1.5);
                }
            }
            assert!(differ >= 195, "{repetitions}: found {differ} times of 200");
            assert!(hold >= 177, "{repetitions}: {hold} of 200 intervals hold the truth");
        }
    }

    #[test]
    fn what_drifts_hits_both_of_a_pair() {
        // The machine gets slower; one is always 1.2 times the other.
        let those = [1000.0, 700.0, 400.0];
        let these = those.map(|value| value * 1.2);
        assert!(Ratio::of_pairs(&these, &those).expect("some").differs());
        assert!(!Ratio::of_series(&these, &those).expect("some").differs());
    }

    #[test]
    fn one_repetition_says_no_difference() {
        let ratio = Ratio::of_pairs(&[5.0], &[1.0]).expect("a ratio");
        assert!(!ratio.differs() && ratio.interval.is_none() && ratio.ratio > 4.9);
        assert_eq!(Ratio::of_pairs(&[], &[]), None);
        assert_eq!(Ratio::of_pairs(&[0.0], &[1.0]), None);
    }
}
