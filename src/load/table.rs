//! The live line and the final table.

use std::fmt::Write;

use super::summary::{Failure, IntervalSummary, Latency, RowSummary, Summary};
use super::text::{show_count, show_ns, show_number};

/// One interval on one line.
pub(super) fn live_line(interval: &IntervalSummary, seconds: f64) -> String {
    let time = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| show_ns(ns as f64));
    let rate = match interval.drain {
        true => "drain".to_owned(),
        false => format!("{}/s", show_count(interval.per_second)),
    };
    let mut line = format!(
        "{:5.1}/{seconds:.0} s  {rate:>9}  p50 {:>8}  p99 {:>8}  max {:>8}",
        interval.at,
        time(interval.p50),
        time(interval.p99),
        time(interval.max),
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
    for row in &summary.by_endpoint {
        let name = match row.failed {
            0 => format!("at {}", row.name),
            failed => format!("at {} ({failed} errors)", row.name),
        };
        lines.push(line(&name, &show_count(row.per_second), &row.latency, 0));
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
    if let Some((asked, reached)) = summary.overload() {
        let (asked, reached) = (show_count(asked), show_count(reached));
        let _ = write!(text, "OVERLOAD: asked {asked}/s, reached {reached}/s");
        let _ = match summary.unsent {
            0 => writeln!(text),
            unsent => writeln!(text, "; {unsent} requests were due and never sent"),
        };
    }
    if summary.late > 0 || summary.drained > 0.1 {
        let (late, drained) = (summary.late, show_ns(summary.drained * 1e9));
        let _ = writeln!(text, "drain: {late} answers came in the {drained} after the end");
    }
    for (name, value) in &summary.facts {
        let _ = writeln!(text, "{name}: {}", show_number(*value));
    }
    for (code, failure) in &summary.errors {
        let _ = writeln!(text, "error {code}: {} times, first: {}", failure.count, failure.text);
    }
    if let Some(Failure { count, text: first }) = &summary.attempts {
        let _ = writeln!(text, "attempts to connect that failed: {count}, first: {first}");
    }
    text
}

/// Blank where there was nothing to measure.
fn line(name: &str, per_second: &str, latency: &Latency, missed: u64) -> Vec<String> {
    let Latency { mean, p50, p90, p99, p999, p9999, max, .. } = *latency;
    let show = |ns: f64| if latency.count > 0 { show_ns(ns) } else { String::new() };
    let mut cells = vec![name.to_owned(), per_second.to_owned(), show(mean)];
    cells.extend([p50, p90, p99, p999, p9999, max].map(|ns| show(ns as f64)));
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
    let per_request = match summary.generator_us_per_request {
        Some(us) => format!(", {us:.2} us per request"),
        None => String::new(),
    };
    format!(
        "{}: {} over {}, {loop_text}, {} clients with up to {} outstanding, {} {} keys, {} B \
         values, {:.0} s\n{}/s answered, {} errors; generator: {:.2} CPUs{per_request}\n",
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
    )
}
