//! `braid-load find`: the highest rate at which a server keeps its promise.
//!
//! ```text
//!   rate ×2 while it holds ──▶ bracket ──▶ halved until narrow ──▶ one answer
//!                                └─ once per repetition: the middle one, and their spread
//! ```
//!
//! Every probe is an open loop with random gaps, so that a server that falls behind shows it. A
//! rate holds if the run meets every term of the objective and made the rate at all.

use std::fmt;
use std::str::FromStr;

use super::summary::Summary;
use super::text::{parse_share, parse_time, show_count, show_ns};

/// A service level objective: terms that must all hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Objective(Vec<Term>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Term {
    /// A latency below so many nanoseconds.
    Latency(Point, u64),
    /// Errors and requests that were never sent, as a share of all.
    Errors(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Mean,
    P50,
    P90,
    P99,
    P999,
    P9999,
    Max,
}

const POINTS: [(&str, Point); 7] = [
    ("mean", Point::Mean),
    ("p50", Point::P50),
    ("p90", Point::P90),
    ("p99", Point::P99),
    ("p99.9", Point::P999),
    ("p99.99", Point::P9999),
    ("max", Point::Max),
];

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Objective, String> {
        let terms = text.split(',').map(|term| {
            let (name, bound) = term
                .split_once('<')
                .ok_or_else(|| format!("{term:?}: a term is like p99<10ms or errors<0.1%"))?;
            let (name, bound) = (name.trim(), bound.trim());
            if name == "errors" {
                return Ok(Term::Errors(parse_share(bound)?));
            }
            let point = POINTS.iter().find(|(known, _)| *known == name);
            let Some((_, point)) = point else {
                let known: Vec<&str> = POINTS.iter().map(|(known, _)| *known).collect();
                return Err(format!("{name:?} is not known; {} and errors are", known.join(", ")));
            };
            Ok(Term::Latency(*point, parse_time(bound)?.as_nanos() as u64))
        });
        Ok(Objective(terms.collect::<Result<_, String>>()?))
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, term) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match term {
                Term::Errors(share) => write!(f, "{comma}errors<{}%", share * 100.0)?,
                Term::Latency(point, ns) => {
                    let name =
                        POINTS.iter().find(|(_, known)| known == point).map(|(name, _)| name);
                    write!(f, "{comma}{}<{}", name.unwrap_or(&""), show_ns(*ns as f64))?;
                }
            }
        }
        Ok(())
    }
}

impl Objective {
    /// What a run breaks first, in words; nothing if it holds.
    pub(super) fn broken_by(&self, run: &Summary) -> Option<String> {
        if run.answered_in_all == 0 {
            return Some("no request was answered".to_owned());
        }
        let broken = self.0.iter().find_map(|term| match *term {
            Term::Errors(most) => {
                let bad = run.failed();
                let share = bad as f64 / (bad + run.answered_in_all) as f64;
                (share > 0.0 && share >= most).then(|| format!("errors {:.2}%", share * 100.0))
            }
            Term::Latency(point, most) => {
                let l = &run.total.latency;
                let (value, name) = match point {
                    Point::Mean => (l.mean as u64, "mean"),
                    Point::P50 => (l.p50, "p50"),
                    Point::P90 => (l.p90, "p90"),
                    Point::P99 => (l.p99, "p99"),
                    Point::P999 => (l.p999, "p99.9"),
                    Point::P9999 => (l.p9999, "p99.99"),
                    Point::Max => (l.max, "max"),
                };
                (value >= most).then(|| format!("{name} {}", show_ns(value as f64)))
            }
        });
        let overload = || {
            let (asked, reached) = run.overload()?;
            Some(format!("reached {}/s of {}/s", show_count(reached), show_count(asked)))
        };
        broken.or_else(overload)
    }
}

/// How a rate is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Search {
    /// Per second; the first rate that is tried.
    pub(super) from: f64,
    pub(super) most: f64,
    /// How narrow the bracket gets, as a share of the rate.
    pub(super) precision: f64,
    pub(super) repetitions: u32,
}

/// The lowest rate that is tried.
const RATE_MIN: f64 = 1.0;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The middle of those of the repetitions.
    pub(super) rate: f64,
    /// The farthest of them from it, and half of the bracket, as a share of it.
    pub(super) spread: f64,
    /// No rate up to the highest one broke the objective.
    pub(super) is_bound: bool,
}

impl Search {
    /// The highest rate that holds, or nothing if not even the lowest one does; `holds` makes a
    /// run.
    pub(super) fn run(
        &self,
        mut holds: impl FnMut(f64) -> Result<bool, String>,
    ) -> Result<Option<Found>, String> {
        let mut rates = Vec::new();
        let mut start = self.from.clamp(RATE_MIN, self.most);
        for _ in 0..self.repetitions.max(1) {
            let Some((low, high)) = self.bracket(start, &mut holds)? else { return Ok(None) };
            if low >= self.most {
                return Ok(Some(Found { rate: low, spread: 0.0, is_bound: true }));
            }
            let rate = self.narrow(low, high, &mut holds)?;
            rates.push(rate);
            // The next one begins near the answer, and finds its bracket anew.
            start = rate;
        }
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        let apart = rates.iter().map(|other| (other / rate - 1.0).abs()).fold(0.0, f64::max);
        Ok(Some(Found { rate, spread: apart.max(self.precision / 2.0), is_bound: false }))
    }

    /// A rate that holds, and one above it that does not, or the highest one twice.
    fn bracket(
        &self,
        start: f64,
        holds: &mut impl FnMut(f64) -> Result<bool, String>,
    ) -> Result<Option<(f64, f64)>, String> {
        let mut step = 1.0 + (2.0 * self.precision).clamp(0.01, 1.0);
        if holds(start)? {
            let mut low = start;
            while low < self.most {
                let next = (low * step).min(self.most);
                step = (step * step).min(2.0);
                if !holds(next)? {
                    return Ok(Some((low, next)));
                }
                low = next;
            }
            return Ok(Some((low, low)));
        }
        let mut high = start;
        while high > RATE_MIN {
            let next = (high / step).max(RATE_MIN);
            step = (step * step).min(2.0);
            if holds(next)? {
                return Ok(Some((next, high)));
            }
            high = next;
        }
        Ok(None)
    }

    fn narrow(
        &self,
        mut low: f64,
        mut high: f64,
        holds: &mut impl FnMut(f64) -> Result<bool, String>,
    ) -> Result<f64, String> {
        while high / low > 1.0 + self.precision {
            let middle = (low * high).sqrt();
            match holds(middle)? {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    const SEARCH: Search = Search { from: 1000.0, most: 1e6, precision: 0.05, repetitions: 3 };

    #[test]
    fn objectives_are_read_and_shown() {
        let objective: Objective = "p99<10ms, errors<0.1%".parse().expect("sound");
        assert_eq!(objective.to_string(), "p99<10.0 ms,errors<0.1%");
        for (text, reason) in [
            ("", "a term is like"),
            ("p99", "a term is like"),
            ("p98<1s", "is not known; mean, p50"),
            ("p99<x", "no time"),
            ("errors<2", "between 0 and 1"),
        ] {
            let error = text.parse::<Objective>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn the_highest_rate_that_holds_is_found_from_anywhere() {
        for limit in [1.5, 40.0, 990.0, 1010.0, 41_200.0, 900_000.0] {
            let mut probes = 0;
            let found = SEARCH.run(|rate| {
                probes += 1;
                Ok(rate <= limit)
            });
            let found = found.expect("no failure").expect("a rate");
            assert!(found.rate <= limit && found.rate * 1.06 > limit, "{limit}: {found:?}");
            assert!(probes <= 45 && !found.is_bound, "{limit}: {probes} probes");
        }
    }

    #[test]
    fn noise_widens_the_answer() {
        let mut chance = Chance::new(3);
        let mut noisy = |rate: f64| Ok(rate <= 10_000.0 * (0.8 + 0.4 * chance.unit()));
        let found = SEARCH.run(&mut noisy).expect("no failure").expect("a rate");
        assert!((8_000.0..12_000.0).contains(&found.rate), "{found:?}");
        assert!(found.spread >= 0.025, "{found:?}");
    }

    #[test]
    fn there_may_be_no_such_rate_and_no_end() {
        assert_eq!(SEARCH.run(|_| Ok(false)), Ok(None));
        let found = SEARCH.run(|_| Ok(true)).expect("no failure").expect("a rate");
        assert_eq!((found.rate, found.is_bound), (1e6, true));
        let failed = SEARCH.run(|_| Err("gone".to_owned()));
        assert_eq!(failed, Err("gone".to_owned()));
    }
}
