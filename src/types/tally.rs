//! Counts for metrics, as pure rooms keep them.

/// Requests by how they ended; both numbers only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were carried out.
    pub done: u64,
    /// Requests that were refused.
    pub refused: u64,
}

impl Tally {
    /// Counts one more.
    pub fn count(&mut self, is_done: bool) {
        self.done += u64::from(is_done);
        self.refused += u64::from(!is_done);
    }

    /// Returns the sum of both.
    pub fn plus(self, other: Tally) -> Tally {
        Tally { done: self.done + other.done, refused: self.refused + other.refused }
    }

    /// Returns the difference since `before`.
    pub fn since(self, before: Tally) -> Tally {
        Tally { done: self.done - before.done, refused: self.refused - before.refused }
    }
}

/// A histogram: how many numbers were at most 1, 2, 4, 8, …, not cumulated. The last place counts
/// those above all bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread<const PLACES: usize> {
    pub places: [u64; PLACES],
    /// The sum of all numbers.
    pub sum: u64,
}

impl<const PLACES: usize> Default for Spread<PLACES> {
    fn default() -> Spread<PLACES> {
        Spread { places: [0; PLACES], sum: 0 }
    }
}

impl<const PLACES: usize> Spread<PLACES> {
    /// Counts one more.
    pub fn add(&mut self, number: u64) {
        let place = if number <= 1 { 0 } else { (number - 1).ilog2() as usize + 1 };
        self.places[place.min(PLACES - 1)] += 1;
        self.sum = self.sum.wrapping_add(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_by_bounds_that_double() {
        let mut spread = Spread::<4>::default();
        (0..=9).for_each(|number| spread.add(number));
        assert_eq!(spread, Spread { places: [2, 1, 2, 5], sum: 45 });
    }

    #[test]
    fn what_has_come_since_is_the_difference() {
        let mut tally = Tally { done: 3, refused: 1 };
        let before = tally;
        tally.count(true);
        tally.count(false);
        assert_eq!(tally.since(before), Tally { done: 1, refused: 1 });
        assert_eq!(before.plus(tally.since(before)), tally);
    }
}
