//! Counters, gauges and histograms with one writer.
//!
//! A cell is written by one core only, with a plain load and store, and read by whoever scrapes.
//! Nothing is locked and nothing is lost, because nobody else adds to it. Readers see each number
//! whole, and each a little later than it was written; that two of them fit together to the last
//! unit is promised by nobody.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that its core adds to, or sets.
#[derive(Debug, Default)]
pub struct Figure(AtomicU64);

impl Figure {
    /// Only for the core that owns it.
    pub fn add(&self, more: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Takes `less` away. Only the core that owns the figure may call this.
    pub fn take(&self, less: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(less), Ordering::Relaxed);
    }

    /// Only for the core that owns it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the figure. Any thread may call this.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The buckets of a histogram, and the unit in which it is shown.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    /// `count` bounds, each twice the one before.
    Doubling {
        /// The first bound, in units observed.
        start: u64,
        /// The value as a float, for the exposition.
        shown: f64,
        count: usize,
    },
    /// Bounds one by one: as observed and as shown.
    Listed(&'static [(u64, f64)]),
}

const MILLISECOND: u64 = 1_000_000;

impl Scale {
    /// Seconds from `start_micros` on, observed in nanoseconds.
    pub const fn seconds(start_micros: u64, count: usize) -> Scale {
        Scale::Doubling { start: start_micros * 1_000, shown: start_micros as f64 / 1e6, count }
    }

    /// Milliseconds from `start_micros` on, observed in nanoseconds.
    pub const fn milliseconds(start_micros: u64, count: usize) -> Scale {
        Scale::Doubling { start: start_micros * 1_000, shown: start_micros as f64 / 1e3, count }
    }

    /// Makes a scale of plain numbers from `start` on.
    pub const fn numbers(start: u64, count: usize) -> Scale {
        Scale::Doubling { start, shown: start as f64, count }
    }

    /// Returns the number of bounds.
    pub fn len(&self) -> usize {
        match self {
            Scale::Doubling { count, .. } => *count,
            Scale::Listed(bounds) => bounds.len(),
        }
    }

    /// Whether there are no bounds.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the upper bound of a bucket, as shown.
    pub fn bound(&self, bucket: usize) -> f64 {
        match self {
            Scale::Doubling { shown, .. } => shown * (1u64 << bucket) as f64,
            Scale::Listed(bounds) => bounds[bucket].1,
        }
    }

    /// Returns a sum of observations, as shown.
    pub fn shown(&self, observed: u64) -> f64 {
        match self {
            // Divided, because what a decimal unit is worth has no exact form.
            Scale::Doubling { start, shown, .. } => {
                observed as f64 / (*start as f64 / shown).round()
            }
            Scale::Listed([(one, shown), ..]) => observed as f64 / (*one as f64 / shown).round(),
            Scale::Listed([]) => observed as f64,
        }
    }

    /// Returns the bucket of a value; as many as there are buckets for one above all bounds.
    fn bucket(&self, value: u64) -> usize {
        match self {
            Scale::Doubling { start, count, .. } => {
                let starts = value.div_ceil(*start);
                let bucket = if starts <= 1 { 0 } else { (starts - 1).ilog2() as usize + 1 };
                bucket.min(*count)
            }
            Scale::Listed(bounds) => {
                bounds.iter().position(|(bound, _)| value <= *bound).unwrap_or(bounds.len())
            }
        }
    }
}

/// The bounds that Prometheus's client libraries have by default.
pub const PROMETHEUS_DEFAULT: Scale = Scale::Listed(&[
    (5 * MILLISECOND, 0.005),
    (10 * MILLISECOND, 0.01),
    (25 * MILLISECOND, 0.025),
    (50 * MILLISECOND, 0.05),
    (100 * MILLISECOND, 0.1),
    (250 * MILLISECOND, 0.25),
    (500 * MILLISECOND, 0.5),
    (1_000 * MILLISECOND, 1.0),
    (2_500 * MILLISECOND, 2.5),
    (5_000 * MILLISECOND, 5.0),
    (10_000 * MILLISECOND, 10.0),
]);

/// A histogram of observations with their sum.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    /// One for each bound, and one above; not cumulated.
    buckets: Box<[Figure]>,
    sum: Figure,
}

impl Histogram {
    /// Makes an empty histogram with the bounds of `scale`.
    pub fn new(scale: Scale) -> Histogram {
        let buckets = (0..=scale.len()).map(|_| Figure::default()).collect();
        Histogram { scale, buckets, sum: Figure::default() }
    }

    /// Observes one value; durations are nanoseconds. Only the core that owns the histogram may
    /// call this.
    pub fn observe(&self, value: u64) {
        self.observe_all(1, value);
    }

    /// Observes `count` things that all came to `value`.
    pub fn observe_all(&self, count: u64, value: u64) {
        self.buckets[self.scale.bucket(value)].add(count);
        self.sum.add(count.wrapping_mul(value));
    }

    /// Only for the core that owns it: what somebody else has counted into the same buckets, the
    /// last of them for what is above all bounds.
    pub fn set(&self, buckets: &[u64], sum: u64) {
        assert_eq!(self.buckets.len(), buckets.len(), "a histogram of another scale");
        for (figure, count) in self.buckets.iter().zip(buckets) {
            figure.set(*count);
        }
        self.sum.set(sum);
    }

    /// Returns what has been observed so far. Any thread may call this.
    pub fn read(&self) -> Observed {
        Observed {
            scale: self.scale,
            buckets: self.buckets.iter().map(Figure::get).collect(),
            sum: self.sum.get(),
        }
    }
}

/// A histogram at one moment; those of several cores add up.
#[derive(Clone, Debug)]
pub struct Observed {
    pub scale: Scale,
    pub buckets: Vec<u64>,
    pub sum: u64,
}

impl Observed {
    /// Makes an empty one.
    pub fn none(scale: Scale) -> Observed {
        Observed { scale, buckets: vec![0; scale.len() + 1], sum: 0 }
    }

    /// Adds another histogram of the same scale.
    pub fn add(&mut self, other: &Observed) {
        assert_eq!(self.buckets.len(), other.buckets.len(), "histograms of one kind");
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Returns the sum, as shown.
    pub fn sum_shown(&self) -> f64 {
        self.scale.shown(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let scale = Scale::seconds(1_000, 14);
        for (nanos, bucket) in [
            (0, 0),
            (1, 0),
            (MILLISECOND, 0),
            (MILLISECOND + 1, 1),
            (2 * MILLISECOND, 1),
            (2 * MILLISECOND + 1, 2),
            (8_192 * MILLISECOND, 13),
            (8_192 * MILLISECOND + 1, 14),
            (u64::MAX, 14),
        ] {
            assert_eq!(scale.bucket(nanos), bucket, "{nanos}");
        }
        assert_eq!(PROMETHEUS_DEFAULT.bucket(5 * MILLISECOND), 0);
        assert_eq!(PROMETHEUS_DEFAULT.bucket(5 * MILLISECOND + 1), 1);
        assert_eq!(PROMETHEUS_DEFAULT.bucket(u64::MAX), 11);
    }

    #[test]
    fn bounds_are_shown_as_prometheus_shows_them() {
        let scale = Scale::seconds(100, 20);
        assert_eq!(scale.bound(0).to_string(), "0.0001");
        assert_eq!(scale.bound(19).to_string(), "52.4288");
        assert_eq!(Scale::milliseconds(500, 14).bound(1), 1.0);
        assert_eq!(Scale::numbers(1, 24).bound(23), 8_388_608.0);
    }

    #[test]
    fn histograms_of_two_cores_add_up() {
        let (one, other) =
            (Histogram::new(Scale::seconds(1_000, 2)), Histogram::new(Scale::seconds(1_000, 2)));
        one.observe(MILLISECOND);
        one.observe(1_500_000);
        other.observe(10 * MILLISECOND);
        let mut sum = Observed::none(Scale::seconds(1_000, 2));
        sum.add(&one.read());
        sum.add(&other.read());
        assert_eq!(sum.buckets, [1, 1, 1]);
        assert_eq!(sum.count(), 3);
        assert_eq!(sum.sum_shown(), 0.0125);
    }

    #[test]
    fn what_came_to_the_same_is_observed_at_once() {
        let (one, all) =
            (Histogram::new(Scale::numbers(1, 4)), Histogram::new(Scale::numbers(1, 4)));
        (0..3).for_each(|_| one.observe(5));
        all.observe_all(3, 5);
        assert_eq!((one.read().buckets, one.read().sum), (all.read().buckets, all.read().sum));
    }

    #[test]
    fn what_was_counted_elsewhere_is_taken_over() {
        let histogram = Histogram::new(Scale::numbers(1, 2));
        histogram.observe(1);
        histogram.set(&[4, 5, 6], 70);
        let read = histogram.read();
        assert_eq!((read.buckets, read.sum), (vec![4, 5, 6], 70));
    }

    #[test]
    fn a_figure_counts() {
        let figure = Figure::default();
        figure.add(2);
        figure.add(3);
        assert_eq!(figure.get(), 5);
        figure.set(1);
        assert_eq!(figure.get(), 1);
    }
}
