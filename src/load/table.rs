//! The live line and the final table.

use std::fmt::Write;

use super::summary::{IntervalSummary, Latency, RowSummary, Summary};
use super::text::{show_count, show_ns, show_number};

/// One interval on one line.
pub(super) fn live_line(interval: &IntervalSummary, seconds: f64) -> String {
    let mut line = format!(
        "{:5.1}/{seconds:.0} s  {:>7}/s  p50 {:>8}  p99 {:>8}  max {:>8}",
        interval.at,
        show_count(interval.per_second),
        show_ns(interval.p50 as f64),
        show_ns(interval.p99 as f64),
        show_ns(interval.max as f64),
    );
    if interval.failed > 0 {
        let _ = write!(line, "  {} errors", interval.failed);
    }
    line
}

const HEAD: [&str; 10] =
    ["", "per s", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max", "missed"];

/// The whole run.
pub(super) fn table(summary: &Summary) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEAD.map(str::to_owned).to_vec()];
    let mut rows: Vec<&RowSummary> = summary.rows.iter().collect();
    if summary.has_sum() {
        rows.push(&summary.total);
    }
    for row in rows {
        lines.push(line(&row.name, &show_count(row.per_second), &row.latency, row.missed));
        if let Some(service) = &row.service {
            lines.push(line("  once sent", "", service, 0));
        }
    }
    let mut text = describe(summary);
    text.push('\n');
    for cells in &lines {
        for (column, cell) in cells.iter().enumerate() {
            let width = lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for (name, value) in &summary.facts {
        let _ = writeln!(text, "{name}: {}", show_number(*value));
    }
    for (code, failure) in &summary.errors {
        let _ = writeln!(text, "error {code}: {} times, first: {}", failure.count, failure.text);
    }
    if summary.unsent > 0 {
        let _ = writeln!(
            text,
            "unsent: {} requests were due and could not be sent: the server or the generator was \
             too slow for this rate",
            summary.unsent
        );
    }
    text
}

fn line(name: &str, per_second: &str, latency: &Latency, missed: u64) -> Vec<String> {
    let Latency { mean, p50, p90, p99, p999, p9999, max, .. } = *latency;
    let times = [p50, p90, p99, p999, p9999, max].map(|ns| show_ns(ns as f64));
    let mut cells = vec![name.to_owned(), per_second.to_owned(), show_ns(mean)];
    cells.extend(times);
    cells.push(if missed > 0 { missed.to_string() } else { String::new() });
    cells
}

fn describe(summary: &Summary) -> String {
    let loop_text = match summary.rate {
        None => "closed loop".to_owned(),
        Some(rate) => {
            let gaps = if summary.poisson { "Poisson" } else { "fixed" };
            format!("open loop at {}/s ({gaps})", show_count(rate))
        }
    };
    format!(
        "{}: {} over {}, {loop_text}, {} clients with up to {} outstanding, {} {} keys, {} B \
         values, {:.0} s\n{}/s answered, {} errors; generator: {:.2} CPUs, {:.2} us per request\n",
        summary.name,
        summary.workload,
        summary.protocol,
        summary.connections,
        summary.outstanding,
        summary.keyspace,
        summary.distribution,
        summary.value_bytes,
        summary.seconds,
        show_count(summary.total.per_second),
        summary.total.failed,
        summary.generator_cpus,
        summary.generator_us_per_request,
    )
}
