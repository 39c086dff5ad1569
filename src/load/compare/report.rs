//! Medians and ratios, as JSON, as a page and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::contender::Contender;
use super::diff::Figures;
use super::scenario::ScenarioSet;
use super::server::Usage;
use super::statistics::{Ratio, median};
use crate::load::page;
use crate::load::summary::{Latency, RowSummary, Summary};
use crate::load::text::{show_count, show_ns, show_number};

/// One run and what its server used meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) summary: Summary,
    /// The row that is compared.
    pub(super) row: RowSummary,
    pub(super) background: Option<Summary>,
    pub(super) used: Usage,
}

#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) scenario: String,
    pub(super) server: String,
    pub(super) sample: Sample,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Comparison {
    kind: String,
    set: String,
    repetitions: u32,
    when: String,
    /// Who the others are compared with.
    reference: String,
    machine: BTreeMap<String, String>,
    baseline: BaselineReport,
    scenarios: Vec<ScenarioReport>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BaselineReport {
    rounds: usize,
    dsync: Latency,
    loopback: Latency,
}

#[derive(Debug, Serialize, Deserialize)]
struct ScenarioReport {
    name: String,
    results: Vec<ServerReport>,
}

/// Medians over the repetitions.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ServerReport {
    server: String,
    per_second: f64,
    per_second_min: f64,
    per_second_max: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
    cpu_per_1000: f64,
    written_per_op: f64,
    peak_mib: f64,
    /// Errors of all repetitions together.
    errors: u64,
    background_per_second: Option<f64>,
    generator_cpus: f64,
    /// Medians, by name.
    facts: BTreeMap<String, f64>,
    /// The figures of every repetition, in order.
    repetitions: Vec<Raw>,
    /// Every answer was that there is no such key: what was to be measured never happened.
    all_missed: bool,
    /// Against the reference: throughput above 1 is better, latency below 1 is.
    throughput_ratio: Option<Ratio>,
    p99_ratio: Option<Ratio>,
    /// p50 as multiple of one DSYNC write and one loopback round trip together.
    p50_over_baseline: f64,
    /// The curve of the repetition with the median throughput.
    curve: Vec<(f64, u64)>,
}

/// One repetition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Raw {
    per_second: f64,
    p50: u64,
    p99: u64,
    p999: u64,
    max: u64,
    cpu_seconds: f64,
    written_bytes: u64,
    peak_bytes: u64,
    answers: u64,
    errors: u64,
}

impl Comparison {
    pub(super) fn new(
        set: &ScenarioSet,
        contenders: &[Contender],
        machine: BTreeMap<String, String>,
        baselines: &[Baseline],
        measured: &[Measured],
    ) -> Comparison {
        let quietest = |of: fn(&Baseline) -> &Latency| {
            let best = baselines.iter().map(of).min_by_key(|latency| latency.p50);
            best.cloned().unwrap_or_default()
        };
        let baseline = BaselineReport {
            rounds: baselines.len(),
            dsync: quietest(|baseline| &baseline.dsync),
            loopback: quietest(|baseline| &baseline.loopback),
        };
        let floor_ns = (baseline.dsync.p50 + baseline.loopback.p50).max(1) as f64;
        let scenarios = set.scenarios.iter().map(|scenario| {
            let of: Vec<&Measured> =
                measured.iter().filter(|one| one.scenario == scenario.name).collect();
            let results = contenders.iter().filter_map(|Contender { name: server, .. }| {
                let samples: Vec<&Sample> =
                    of.iter().filter(|one| one.server == *server).map(|one| &one.sample).collect();
                (!samples.is_empty()).then(|| ServerReport::new(server, &samples, floor_ns))
            });
            let mut results: Vec<ServerReport> = results.collect();
            relate(&mut results, contenders.last().map_or("", |last| &last.name));
            ScenarioReport { name: scenario.name.clone(), results }
        });
        let now = time::OffsetDateTime::now_utc();
        let date = now.date();
        Comparison {
            kind: "comparison".to_owned(),
            reference: contenders.last().map(|last| last.name.clone()).unwrap_or_default(),
            set: set.name.clone(),
            repetitions: set.repetitions,
            when: format!("{date} {:02}:{:02} UTC", now.hour(), now.minute()),
            machine,
            scenarios: scenarios.collect(),
            baseline,
        }
    }

    /// Writes JSON and page; says where the page is.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let json = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        fs::write(folder.join(format!("{}.json", self.set)), json + "\n").map_err(failed)?;
        let html = folder.join(format!("{}.html", self.set));
        fs::write(&html, page::of(self)?).map_err(failed)?;
        Ok(html)
    }

    /// Whether every request of every run had an answer that says something.
    pub(super) fn is_good(&self) -> bool {
        let mut all = self.scenarios.iter().flat_map(|scenario| &scenario.results);
        all.all(|result| result.errors == 0 && !result.all_missed)
    }

    /// What `diff` looks at.
    pub(super) fn figures(&self) -> BTreeMap<String, Figures> {
        let mut all = BTreeMap::new();
        for scenario in &self.scenarios {
            for result in &scenario.results {
                let name = format!("{}, {}", scenario.name, result.server);
                let figures = Figures { rates: result.rates(), p99s: result.p99s() };
                all.insert(name, figures);
            }
        }
        all
    }

    /// Renders the report for the terminal.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            let _ = writeln!(text, "{name}: {value}");
        }
        let BaselineReport { dsync, loopback, .. } = &self.baseline;
        let _ = writeln!(
            text,
            "DSYNC write of 4 KiB: p50 {}; loopback round trip: p50 {}\n",
            show_ns(dsync.p50 as f64),
            show_ns(loopback.p50 as f64)
        );
        for scenario in &self.scenarios {
            let _ = writeln!(text, "{}", scenario.name);
            for result in &scenario.results {
                let _ = write!(
                    text,
                    "  {:<14} {:>7}/s  p50 {:>8}  p99 {:>8}  {:.4} CPU s/1000  {:>6} B/op  \
                     {:.0} MiB",
                    result.server,
                    show_count(result.per_second),
                    show_ns(result.p50),
                    show_ns(result.p99),
                    result.cpu_per_1000,
                    show_count(result.written_per_op),
                    result.peak_mib,
                );
                if let Some(background) = result.background_per_second {
                    let _ = write!(text, "  beside {}/s", show_count(background));
                }
                if result.errors > 0 {
                    let _ = write!(text, "  {} ERRORS", result.errors);
                }
                if result.all_missed {
                    text.push_str("  EVERY KEY WAS MISSED");
                }
                text.push('\n');
                for (what, ratio) in
                    [("throughput", result.throughput_ratio), ("p99", result.p99_ratio)]
                {
                    let Some(ratio) = ratio else { continue };
                    let of = &self.reference;
                    let _ = writeln!(text, "      {what}, of that of {of}: {}", ratio.show());
                }
                for (name, value) in &result.facts {
                    let _ = writeln!(text, "      {name}: {}", show_number(*value));
                }
            }
        }
        text
    }
}

impl ServerReport {
    fn new(server: &str, samples: &[&Sample], floor_ns: f64) -> ServerReport {
        let of = |value: &dyn Fn(&Sample) -> f64| {
            median(samples.iter().map(|sample| value(sample)).collect())
        };
        let rates = || samples.iter().map(|sample| sample.row.per_second);
        let operations = |sample: &Sample| {
            let background = sample.background.as_ref().map_or(0, |one| one.answered_in_all);
            (sample.summary.answered_in_all + background).max(1) as f64
        };
        let per_second = of(&|sample| sample.row.per_second);
        let typical = samples.iter().min_by(|a, b| {
            let off = |sample: &Sample| (sample.row.per_second - per_second).abs();
            off(a).total_cmp(&off(b))
        });
        let latency = |of: &Sample| of.row.latency.clone();
        let has_background = samples.iter().any(|sample| sample.background.is_some());
        let background = has_background.then(|| {
            of(&|sample| sample.background.as_ref().map_or(0.0, |one| one.total.per_second))
        });
        let p50 = of(&|sample| latency(sample).p50 as f64);
        ServerReport {
            server: server.to_owned(),
            per_second,
            per_second_min: rates().fold(f64::INFINITY, f64::min),
            per_second_max: rates().fold(0.0, f64::max),
            p50,
            p99: of(&|sample| latency(sample).p99 as f64),
            p999: of(&|sample| latency(sample).p999 as f64),
            max: of(&|sample| latency(sample).max as f64),
            cpu_per_1000: of(&|sample| sample.used.cpu_seconds * 1000.0 / operations(sample)),
            written_per_op: of(&|sample| sample.used.written_bytes as f64 / operations(sample)),
            peak_mib: of(&|sample| sample.used.peak_bytes as f64 / f64::from(1 << 20)),
            errors: samples.iter().map(|sample| sample.summary.failed()).sum(),
            background_per_second: background,
            generator_cpus: of(&|sample| sample.summary.generator_cpus),
            facts: facts(samples),
            repetitions: samples.iter().map(|sample| Raw::new(sample)).collect(),
            all_missed: samples.iter().any(|sample| sample.summary.all_missed()),
            throughput_ratio: None,
            p99_ratio: None,
            p50_over_baseline: p50 / floor_ns,
            curve: typical.map(|sample| sample.row.curve.clone()).unwrap_or_default(),
        }
    }
}

/// Medians of the facts that all samples have.
fn facts(samples: &[&Sample]) -> BTreeMap<String, f64> {
    let Some(first) = samples.first() else { return BTreeMap::new() };
    let of = |name: &String| {
        let values: Option<Vec<f64>> =
            samples.iter().map(|sample| sample.summary.facts.get(name).copied()).collect();
        Some((name.clone(), median(values?)))
    };
    first.summary.facts.keys().filter_map(of).collect()
}

impl Raw {
    fn new(sample: &Sample) -> Raw {
        let Latency { p50, p99, p999, max, .. } = sample.row.latency;
        Raw {
            per_second: sample.row.per_second,
            p50,
            p99,
            p999,
            max,
            cpu_seconds: sample.used.cpu_seconds,
            written_bytes: sample.used.written_bytes,
            peak_bytes: sample.used.peak_bytes,
            answers: sample.summary.answered_in_all,
            errors: sample.summary.failed(),
        }
    }
}

impl ServerReport {
    fn rates(&self) -> Vec<f64> {
        self.repetitions.iter().map(|one| one.per_second).collect()
    }

    fn p99s(&self) -> Vec<f64> {
        self.repetitions.iter().map(|one| one.p99 as f64).collect()
    }
}

/// Sets everybody's ratios to the reference, repetition by repetition.
fn relate(results: &mut [ServerReport], reference: &str) {
    let Some(of) = results.iter().find(|result| result.server == reference) else { return };
    let (rates, p99s) = (of.rates(), of.p99s());
    for result in results.iter_mut().filter(|result| result.server != reference) {
        result.throughput_ratio = Ratio::of_pairs(&result.rates(), &rates);
        result.p99_ratio = Ratio::of_pairs(&result.p99s(), &p99s);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_reference() {
        let report = |server: &str, factor: f64| ServerReport {
            server: server.to_owned(),
            repetitions: [100.0, 104.0, 102.0]
                .map(|rate| Raw { per_second: rate * factor, p99: 50, ..Raw::default() })
                .to_vec(),
            ..ServerReport::default()
        };
        let mut results = [report("B", 3.0), report("A", 1.0)];
        relate(&mut results, "A");
        let ratio = results[0].throughput_ratio.expect("a ratio");
        assert!(ratio.differs() && (ratio.ratio - 3.0).abs() < 1e-9, "{ratio:?}");
        assert!(!results[0].p99_ratio.expect("a ratio").differs());
        assert_eq!(results[1].throughput_ratio, None);
        let mut alone = [report("B", 1.0)];
        relate(&mut alone, "A");
        assert_eq!(alone[0].throughput_ratio, None);
    }
}
