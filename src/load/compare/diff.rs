//! `braid-load diff`: two results that were written before, side by side.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::report::Comparison;
use super::statistics::Ratio;
use crate::load::summary::Summary;

/// What was measured of one thing, repetition by repetition.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) rates: Vec<f64>,
    pub(super) p99s: Vec<f64>,
}

/// By name: a run's, or a scenario's and a server's.
type Results = BTreeMap<String, Figures>;

/// Says of everything that is in both files how `b` is to `a`.
pub(in crate::load) fn diff(a: &Path, b: &Path) -> Result<String, String> {
    let read = |path: &Path| {
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        results(&text).map_err(failed)
    };
    relate(&read(a)?, &read(b)?)
}

/// Results of `run`, of a sweep, or of `compare`.
fn results(text: &str) -> Result<Results, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let failed = |error: serde_json::Error| format!("not results of braid-load: {error}");
    if value.get("kind").is_some() {
        let comparison: Comparison = serde_json::from_value(value).map_err(failed)?;
        return Ok(comparison.figures());
    }
    let runs: Vec<Summary> = match value {
        Value::Array(_) => serde_json::from_value(value).map_err(failed)?,
        one => vec![serde_json::from_value(one).map_err(failed)?],
    };
    let mut results = Results::new();
    for run in runs {
        let figures = results.entry(run.name.clone()).or_default();
        figures.rates.push(run.total.per_second);
        figures.p99s.push(run.total.latency.p99 as f64);
    }
    Ok(results)
}

fn relate(a: &Results, b: &Results) -> Result<String, String> {
    let mut text = String::new();
    for (name, of_a) in a {
        let Some(of_b) = b.get(name) else { continue };
        let _ = writeln!(text, "{name}");
        for (what, b, a) in
            [("throughput", &of_b.rates, &of_a.rates), ("p99", &of_b.p99s, &of_a.p99s)]
        {
            let shown =
                Ratio::of_series(b, a).map_or("nothing measured".to_owned(), |one| one.show());
            let _ = writeln!(text, "  {what} of B, of that of A: {shown}");
        }
    }
    if text.is_empty() {
        let names = |results: &Results| results.keys().cloned().collect::<Vec<_>>().join("; ");
        return Err(format!(
            "nothing is in both; in the first: {}; in the second: {}",
            names(a),
            names(b)
        ));
    }
    for (file, only, other) in [("A", a, b), ("B", b, a)] {
        for name in only.keys().filter(|name| !other.contains_key(*name)) {
            let _ = writeln!(text, "only in {file}: {name}");
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rates: &[f64]) -> Figures {
        Figures { rates: rates.to_vec(), p99s: rates.to_vec() }
    }

    #[test]
    fn what_is_in_both_is_related_and_the_rest_is_named() {
        let a = Results::from([
            ("put".to_owned(), figures(&[100.0, 101.0, 99.0])),
            ("get".to_owned(), figures(&[100.0])),
            ("gone".to_owned(), figures(&[1.0])),
        ]);
        let b = Results::from([
            ("put".to_owned(), figures(&[200.0, 201.0, 199.0])),
            ("get".to_owned(), figures(&[100.0])),
        ]);
        let text = relate(&a, &b).expect("two are in both");
        assert!(text.contains("put\n  throughput of B, of that of A: 2.00x [1."), "{text}");
        assert!(text.contains("get\n  throughput of B, of that of A: 1.00x (one"), "{text}");
        assert!(text.contains("only in A: gone"), "{text}");
        let noise = Results::from([("put".to_owned(), figures(&[97.0, 104.0, 99.0]))]);
        assert!(relate(&a, &noise).expect("one is in both").contains("no difference"));
        let other = Results::from([("other".to_owned(), figures(&[1.0]))]);
        assert!(relate(&a, &other).expect_err("nothing is").contains("in the second: other"));
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for text in ["", "{", "[]x", "{\"kind\":\"comparison\"}", "{\"name\":1}", "3"] {
            assert!(results(text).is_err(), "{text}");
        }
        assert_eq!(results("[]"), Ok(Results::new()));
    }
}
