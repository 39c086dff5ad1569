//! The results of a run as values: what the JSON holds, and the table and the page show.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::record::{Attempts, Row, code_name};
use super::run::{Interval, Outcome, Plan};
use super::streaming::Facts;

/// The latencies of one histogram, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) min: u64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) p9999: u64,
    pub(super) max: u64,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram<u64>) -> Latency {
        let quantile = |quantile| histogram.value_at_quantile(quantile);
        Latency {
            count: histogram.len(),
            mean: histogram.mean(),
            min: histogram.min(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            p9999: quantile(0.9999),
            max: histogram.max(),
        }
    }
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RowSummary {
    pub(super) name: String,
    pub(super) answered: u64,
    pub(super) missed: u64,
    pub(super) failed: u64,
    pub(super) per_second: f64,
    pub(super) latency: Latency,
    /// From when requests were sent, where that is not when they were due.
    pub(super) service: Option<Latency>,
    /// Points (quantile, nanoseconds) of the curve of latency by percentile.
    pub(super) curve: Vec<(f64, u64)>,
}

/// One interval, all rows together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct IntervalSummary {
    /// Seconds from the start of the measured time to the end of the interval.
    pub(super) at: f64,
    /// Answers; in the drain none count.
    pub(super) per_second: f64,
    pub(super) failed: u64,
    /// Nothing where nothing ended: a gap, and not zero.
    pub(super) p50: Option<u64>,
    pub(super) p99: Option<u64>,
    pub(super) max: Option<u64>,
    /// After the end of the measured time.
    #[serde(default)]
    pub(super) drain: bool,
    /// Requests per class of latency, see [`heat_class`]; classes without any are left out.
    pub(super) heat: BTreeMap<u32, u64>,
}

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) workload: String,
    pub(super) protocol: String,
    pub(super) endpoints: Vec<String>,
    pub(super) connections: usize,
    pub(super) outstanding: u32,
    pub(super) rate: Option<f64>,
    pub(super) poisson: bool,
    pub(super) keyspace: u64,
    pub(super) distribution: String,
    pub(super) value_bytes: usize,
    pub(super) seed: u64,
    pub(super) seconds: f64,
    pub(super) total: RowSummary,
    pub(super) rows: Vec<RowSummary>,
    pub(super) errors: BTreeMap<String, Failure>,
    /// What each server has answered, where there are several.
    #[serde(default)]
    pub(super) by_endpoint: Vec<RowSummary>,
    /// Attempts to connect that failed; they are no requests.
    #[serde(default)]
    pub(super) attempts: Option<Failure>,
    pub(super) unsent: u64,
    /// Answers that came after the end.
    #[serde(default)]
    pub(super) late: u64,
    /// Seconds that the last answers were waited for.
    #[serde(default)]
    pub(super) drained: f64,
    /// Answers at any time, warm-up and drain included: what a server's usage is divided by.
    pub(super) answered_in_all: u64,
    /// Processors that the generator kept busy.
    pub(super) generator_cpus: f64,
    /// Processor time of the generator per answered request, if any was answered.
    pub(super) generator_us_per_request: Option<f64>,
    pub(super) intervals: Vec<IntervalSummary>,
    /// Further facts, by name.
    #[serde(default)]
    pub(super) facts: Facts,
}

/// Requests that ended with one code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) count: u64,
    /// The first text that came with it.
    pub(super) text: String,
}

/// Name of the row that is the sum of the others.
const SUM: &str = "total";

/// Classes per tenfold of latency.
pub(super) const HEAT_CLASSES: f64 = 12.0;

/// The class of a latency in the heat map: class `c` begins at 10^(c / 12) ns.
pub(super) fn heat_class(ns: u64) -> u32 {
    ((ns.max(1) as f64).log10() * HEAT_CLASSES).floor() as u32
}

/// Gathers intervals while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) intervals: Vec<IntervalSummary>,
}

/// All rows of an interval or a run as one.
pub(super) fn together(rows: &[Row]) -> Row {
    let mut sum = Row::new();
    rows.iter().for_each(|row| sum.add(row));
    sum
}

impl Gathered {
    pub(super) fn add(&mut self, plan: &Plan, interval: &Interval) -> &IntervalSummary {
        let row = plan.workload.total(&interval.rows);
        let mut heat = BTreeMap::new();
        for bucket in row.intended.iter_recorded() {
            *heat.entry(heat_class(bucket.value_iterated_to())).or_insert(0) +=
                bucket.count_at_value();
        }
        let value = |value: u64| (!row.intended.is_empty()).then_some(value);
        self.intervals.push(IntervalSummary {
            at: (interval.start + interval.length).as_secs_f64(),
            per_second: row.answered as f64 / interval.length.as_secs_f64().max(1e-9),
            failed: interval.rows.iter().flat_map(|row| row.errors).sum(),
            p50: value(row.intended.value_at_quantile(0.5)),
            p99: value(row.intended.value_at_quantile(0.99)),
            max: value(row.intended.max()),
            drain: interval.is_drain,
            heat,
        });
        self.intervals.last().expect("just added")
    }
}

/// Quantiles of a curve: dense, and denser towards the end.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let mut points = Vec::new();
    if histogram.is_empty() {
        return points;
    }
    // Up to the last quantile that this many values can tell.
    let nines_max = (histogram.len() as f64).log10().max(0.3);
    let steps = (0..=96).map(|step| 1.0 - 10f64.powf(-nines_max * f64::from(step) / 96.0));
    let last = 1.0 - 10f64.powf(-nines_max);
    let named = [0.5, 0.9, 0.99, 0.999, 0.9999].into_iter().filter(|&named| named < last);
    let mut quantiles: Vec<f64> = steps.chain(named).collect();
    quantiles.sort_by(f64::total_cmp);
    for quantile in quantiles {
        points.push((quantile, histogram.value_at_quantile(quantile)));
    }
    points.push((1.0, histogram.max()));
    points
}

fn row_summary(
    name: &str,
    row: &Row,
    service: Option<&Histogram<u64>>,
    seconds: f64,
) -> RowSummary {
    RowSummary {
        name: name.to_owned(),
        answered: row.answered,
        missed: row.missed,
        failed: row.errors.iter().sum(),
        per_second: row.answered as f64 / seconds,
        latency: Latency::of(&row.intended),
        service: service.map(Latency::of),
        curve: curve(&row.intended),
    }
}

impl Summary {
    pub(super) fn new(name: &str, plan: &Plan, outcome: &Outcome, gathered: Gathered) -> Summary {
        let seconds = outcome.seconds.max(1e-9);
        let total_row = plan.workload.total(&outcome.rows);
        // Rows of streaming workloads have no sum.
        let counted = if plan.workload.streaming.is_some() { 1 } else { outcome.service.len() };
        let mut service = outcome.service.first().cloned();
        for other in outcome.service.iter().take(counted).skip(1) {
            if let Some(sum) = &mut service {
                sum.add(other).expect("equal bounds");
            }
        }
        let names = plan.workload.rows();
        let rows = names.iter().zip(&outcome.rows).enumerate();
        let rows = rows
            .map(|(at, (name, row))| {
                let service = outcome.service.get(at).filter(|service| !service.is_empty());
                row_summary(name, row, service, seconds)
            })
            .collect();
        let every_row = together(&outcome.rows);
        let mut errors = BTreeMap::new();
        for (code, &count) in every_row.errors.iter().enumerate().filter(|(_, count)| **count > 0) {
            let text = outcome.texts.get(code).cloned().flatten().unwrap_or_default();
            errors.insert(code_name(code).into_owned(), Failure { count, text });
        }
        let family = &plan.workload.families[0];
        let per_second = total_row.answered as f64 / seconds;
        let name_of_total = if plan.workload.streaming.is_some() { names[0] } else { SUM };
        let service = service.as_ref().filter(|service| !service.is_empty());
        let mut total = row_summary(name_of_total, &total_row, service, seconds);
        total.failed = every_row.errors.iter().sum();
        Summary {
            name: name.to_owned(),
            workload: plan.workload.text.clone(),
            protocol: plan.protocol.to_string(),
            endpoints: plan.endpoints.iter().map(ToString::to_string).collect(),
            connections: plan.connections,
            outstanding: plan.outstanding,
            rate: plan.rate,
            poisson: plan.poisson,
            keyspace: family.keys,
            distribution: family.distribution.to_string(),
            value_bytes: family.value_bytes,
            seed: plan.seed,
            seconds,
            total,
            rows,
            errors,
            by_endpoint: plan
                .endpoints
                .iter()
                .zip(&outcome.endpoints)
                .map(|(at, row)| row_summary(&at.to_string(), row, None, seconds))
                .collect(),
            attempts: failure(&outcome.attempts),
            unsent: outcome.unsent,
            late: outcome.late,
            drained: outcome.drained.as_secs_f64(),
            answered_in_all: outcome.answered_in_all,
            generator_cpus: outcome.cpus_used,
            generator_us_per_request: (per_second > 0.0)
                .then(|| outcome.cpus_used * 1e6 / per_second),
            intervals: gathered.intervals,
            facts: outcome.facts.clone(),
        }
    }

    /// Whether the total is the sum of several rows, and not one of them.
    pub(super) fn has_sum(&self) -> bool {
        self.rows.len() > 1 && self.total.name == SUM
    }

    /// Requests that ended badly or never began.
    pub(super) fn failed(&self) -> u64 {
        self.total.failed + self.unsent
    }

    /// What was asked for and what was reached, per second, where the rate of an open loop was too
    /// much for the server or the generator.
    pub(super) fn overload(&self) -> Option<(f64, f64)> {
        let (asked, reached) = (self.rate?, self.requests_per_second()?);
        // Four standard deviations of a Poisson stream, and a hundredth.
        let noise = 4.0 * (asked / self.seconds).sqrt() + asked / 100.0;
        (self.unsent > 0 || reached < asked - noise).then_some((asked, reached))
    }

    /// The answers that the rate of an open loop asks for: those to requests.
    fn requests_per_second(&self) -> Option<f64> {
        match self.total.name == SUM || self.rows.len() == 1 {
            true => Some(self.total.per_second),
            // A watch run makes the requests of its last row.
            false => self.rows.last().map(|row| row.per_second),
        }
    }

    /// Whether every answer was that there is no such key.
    pub(super) fn all_missed(&self) -> bool {
        self.total.answered > 0 && self.total.missed == self.total.answered
    }

    /// Why the figures stand for nothing, if they do not: too large a share of the requests had no
    /// answer. `ignores_unsent` where more was asked for than can be done on purpose.
    pub(super) fn invalid(&self, allowed: f64, ignores_unsent: bool) -> Option<String> {
        if self.answered_in_all == 0 {
            return Some(format!("{}: no request was answered", self.name));
        }
        let unsent = if ignores_unsent { 0 } else { self.unsent };
        let bad = self.total.failed + unsent;
        let share = bad as f64 / (self.answered_in_all + bad) as f64;
        (share > allowed).then(|| {
            format!(
                "{}: {} errors and {unsent} requests that were not sent, beside {} answers; \
                 --allow-errors says what is still good",
                self.name, self.total.failed, self.answered_in_all
            )
        })
    }
}

fn failure(attempts: &Attempts) -> Option<Failure> {
    let text = attempts.text.clone().unwrap_or_default();
    (attempts.failed > 0).then_some(Failure { count: attempts.failed, text })
}

#[cfg(test)]
mod tests {
    use super::super::record::histogram;
    use super::*;

    #[test]
    fn classes_of_heat_are_twelve_per_tenfold() {
        assert_eq!((heat_class(0), heat_class(1), heat_class(1000)), (0, 0, 36));
        assert_eq!(heat_class(999_999_999), 107);
        assert_eq!(heat_class(2_000), heat_class(2_100));
    }

    #[test]
    fn a_curve_rises_to_the_maximum() {
        let mut histogram = histogram();
        for value in 1..=10_000u64 {
            histogram.saturating_record(value * 1000);
        }
        let points = curve(&histogram);
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        let (quantile, value) = points[points.len() - 1];
        assert!(quantile == 1.0 && value.abs_diff(10_000_000) <= 20_000, "{value}");
        assert!(curve(&super::super::record::histogram()).is_empty());
    }

    #[test]
    fn latencies_are_those_of_the_values() {
        let mut histogram = histogram();
        for value in 1..=1000u64 {
            histogram.saturating_record(value * 1_000_000);
        }
        let latency = Latency::of(&histogram);
        for (value, expected) in [(latency.p50, 500), (latency.p99, 990), (latency.max, 1000)] {
            let expected = expected * 1_000_000;
            assert!(value.abs_diff(expected) <= expected / 500, "{value} for {expected}");
        }
    }
}
