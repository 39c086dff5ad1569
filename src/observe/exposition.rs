//! Prometheus's text form, as its Go library writes it: families by name, labels by name, numbers
//! in Go's shortest form.
//!
//! Our own, because etcd's names are older than OpenMetrics' rules (gauges that end in `_total`,
//! counters that do not), which a library would correct.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cell::Observed;
use crate::gotext::float;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Counter,
    Gauge,
    Histogram,
}

impl Form {
    fn as_str(self) -> &'static str {
        match self {
            Form::Counter => "counter",
            Form::Gauge => "gauge",
            Form::Histogram => "histogram",
        }
    }
}

pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A scrape under way.
pub struct Exposition {
    /// Returns the HELP text of a family.
    help: fn(&str) -> &'static str,
    /// The lines of each family, by its name.
    families: BTreeMap<&'static str, String>,
}

impl Exposition {
    /// Makes an empty one, whose families have the HELP texts that `help` returns for their names.
    pub fn new(help: fn(&str) -> &'static str) -> Exposition {
        Exposition { help, families: BTreeMap::new() }
    }

    /// Opens a family; it is shown also if it gets no sample.
    pub fn family(&mut self, name: &'static str, form: Form) -> Family<'_> {
        let help = self.help;
        let text = self.families.entry(name).or_insert_with(|| {
            format!("# HELP {name} {}\n# TYPE {name} {}\n", help(name), form.as_str())
        });
        Family { name, text }
    }

    /// Writes a counter without labels.
    pub fn counter(&mut self, name: &'static str, value: u64) {
        self.family(name, Form::Counter).sample(&[], value as f64);
    }

    /// Writes a gauge without labels.
    pub fn gauge(&mut self, name: &'static str, value: f64) {
        self.family(name, Form::Gauge).sample(&[], value);
    }

    /// Writes a histogram without labels.
    pub fn histogram(&mut self, name: &'static str, observed: &Observed) {
        self.family(name, Form::Histogram).observed(&[], observed);
    }

    /// Returns the whole text.
    pub fn finish(self) -> String {
        self.families.into_values().collect()
    }
}

/// One family, to add samples to.
pub struct Family<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Family<'_> {
    pub fn sample(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, None, value);
    }

    pub fn observed(&mut self, labels: Labels<'_>, observed: &Observed) {
        let mut below = 0;
        for (bucket, count) in observed.buckets.iter().enumerate() {
            below += count;
            let bound = match bucket == observed.scale.len() {
                true => "+Inf".to_string(),
                false => float(observed.scale.bound(bucket)),
            };
            self.line("_bucket", labels, Some(&bound), below as f64);
        }
        self.line("_sum", labels, None, observed.sum_shown());
        self.line("_count", labels, None, below as f64);
    }

    /// Labels stand by name, and a histogram's bound after them.
    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: f64) {
        let mut sorted = labels.to_vec();
        sorted.sort_unstable();
        sorted.extend(bound.map(|bound| ("le", bound)));
        let _ = write!(self.text, "{}{suffix}", self.name);
        for (at, (name, value)) in sorted.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{name}=\"{}\"", escaped(value));
        }
        let close = if sorted.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {}", float(value));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Histogram, Scale};
    use super::*;

    #[test]
    fn a_family_is_written_as_prometheus_wants_it() {
        let histogram = Histogram::new(Scale::seconds(1_000, 2));
        histogram.observe(500_000);
        histogram.observe(3_000_000);
        let mut text = Exposition::new(|name| match name {
            "a_seconds" => "A.",
            "b_total" => "B.",
            _ => "Last.",
        });
        text.gauge("z_gauge", 2.0);
        text.family("b_total", Form::Counter).sample(&[("type", "x\"y\\z\n"), ("code", "OK")], 7.0);
        text.family("a_seconds", Form::Histogram)
            .observed(&[("success", "true"), ("op", "Put")], &histogram.read());
        assert_eq!(
            text.finish(),
            "# HELP a_seconds A.\n\
             # TYPE a_seconds histogram\n\
             a_seconds_bucket{op=\"Put\",success=\"true\",le=\"0.001\"} 1\n\
             a_seconds_bucket{op=\"Put\",success=\"true\",le=\"0.002\"} 1\n\
             a_seconds_bucket{op=\"Put\",success=\"true\",le=\"+Inf\"} 2\n\
             a_seconds_sum{op=\"Put\",success=\"true\"} 0.0035\n\
             a_seconds_count{op=\"Put\",success=\"true\"} 2\n\
             # HELP b_total B.\n\
             # TYPE b_total counter\n\
             b_total{code=\"OK\",type=\"x\\\"y\\\\z\\n\"} 7\n\
             # HELP z_gauge Last.\n\
             # TYPE z_gauge gauge\n\
             z_gauge 2\n"
        );
    }
}
