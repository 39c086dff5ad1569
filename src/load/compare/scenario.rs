//! Scenario sets: `perf/scenarios/*.yaml`.
//!
//! ```yaml
//! name: short
//! repetitions: 3
//! warm_up: 500ms
//! duration: 2s
//! scenarios:
//!   - name: put
//!     run: [--workload=put, --keyspace=100k]     # arguments of `braid-load run`
//!     preload: true                              # every key is there before
//!     background: [--workload=put]               # a second generator meanwhile
//!     vary:                                      # one scenario per combination
//!       outstanding: [1, 128]
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;

use crate::load::arguments::{Arguments, Command};
use crate::load::text::parse_time;

/// Combinations of one scenario at most.
const COMBINATIONS_MAX: usize = 1000;

/// A set as it is run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScenarioSet {
    pub(super) name: String,
    pub(super) repetitions: u32,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) scenarios: Vec<Scenario>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) run: Vec<String>,
    pub(super) preload: bool,
    pub(super) background: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    name: String,
    repetitions: u32,
    warm_up: String,
    duration: String,
    scenarios: Vec<RawScenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: String,
    run: Vec<String>,
    #[serde(default)]
    preload: bool,
    #[serde(default)]
    background: Option<Vec<String>>,
    #[serde(default)]
    vary: BTreeMap<String, Vec<String>>,
}

impl ScenarioSet {
    pub(super) fn read(path: &Path) -> Result<ScenarioSet, String> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
        ScenarioSet::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<ScenarioSet, String> {
        let raw: RawSet = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut scenarios = Vec::new();
        for scenario in &raw.scenarios {
            scenarios.extend(expand(scenario)?);
        }
        for scenario in &scenarios {
            for run in std::iter::once(&scenario.run).chain(&scenario.background) {
                check(run).map_err(|error| format!("scenario {:?}: {error}", scenario.name))?;
            }
        }
        Ok(ScenarioSet {
            name: raw.name,
            repetitions: raw.repetitions,
            warm_up: parse_time(&raw.warm_up)?,
            duration: parse_time(&raw.duration)?,
            scenarios,
        })
    }
}

/// One scenario per combination of what it varies.
fn expand(raw: &RawScenario) -> Result<Vec<Scenario>, String> {
    let count = raw.vary.values().try_fold(1usize, |all, values| all.checked_mul(values.len()));
    if !count.is_some_and(|count| (1..=COMBINATIONS_MAX).contains(&count)) {
        return Err(format!(
            "scenario {:?}: 1 to {COMBINATIONS_MAX} combinations are possible",
            raw.name
        ));
    }
    let mut scenarios = vec![Scenario {
        name: raw.name.clone(),
        run: raw.run.clone(),
        preload: raw.preload,
        background: raw.background.clone(),
    }];
    for (option, values) in &raw.vary {
        scenarios = scenarios
            .iter()
            .flat_map(|scenario| {
                values.iter().map(|value| {
                    let mut scenario = scenario.clone();
                    scenario.name.push_str(&format!(", {option} {value}"));
                    scenario.run.push(format!("--{option}={value}"));
                    scenario
                })
            })
            .collect();
    }
    Ok(scenarios)
}

/// The arguments are sound; better found now than after an hour.
fn check(run: &[String]) -> Result<(), String> {
    let all = ["braid-load", "run"].into_iter().chain(run.iter().map(String::as_str));
    match Arguments::try_parse_from(all).map_err(|error| error.to_string())?.command {
        Command::Run(run) => run.plan().map(drop),
        _ => Err("not a run".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name: n\nrepetitions: 3\nwarm_up: 500ms\nduration: 2s\nscenarios:\n";

    #[test]
    fn what_varies_becomes_scenarios() {
        let set = ScenarioSet::parse(&format!(
            "{HEAD}  - name: put\n    run: [--workload=put]\n    vary:\n      \
             outstanding: [1, 16]\n      value-size: [64, 1KiB]\n"
        ));
        let set = set.expect("a set");
        let names: Vec<&str> = set.scenarios.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names[0], "put, outstanding 1, value-size 64");
        assert_eq!((names.len(), names[3]), (4, "put, outstanding 16, value-size 1KiB"));
        assert_eq!(
            set.scenarios[3].run,
            ["--workload=put", "--outstanding=16", "--value-size=1KiB"]
        );
        assert_eq!((set.repetitions, set.warm_up), (3, Duration::from_millis(500)));
    }

    #[test]
    fn unsound_sets_are_refused_with_the_reason() {
        for (scenario, reason) in [
            ("  - name: a\n    run: [--workload=puts]\n", "scenario \"a\": workload \"puts\""),
            ("  - name: a\n    run: [--strange]\n", "--strange"),
            ("  - name: a\n    run: []\n    vary: { rate: [] }\n", "combinations"),
            ("  - name: a\n    runs: []\n", "runs"),
            ("  - name: a\n    run: []\n    background: [--rate=0]\n", "rate"),
        ] {
            let error = ScenarioSet::parse(&format!("{HEAD}{scenario}")).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_sets_of_the_repository_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("perf/scenarios");
        let sets = fs::read_dir(folder).expect("the folder").map(|entry| {
            let path = entry.expect("an entry").path();
            ScenarioSet::read(&path).unwrap_or_else(|error| panic!("{error}"))
        });
        assert!(sets.count() >= 2);
    }
}
