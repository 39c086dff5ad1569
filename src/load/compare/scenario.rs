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
//!     duration: 8s                               # instead of the set's
//!     row: put                                   # the row to compare, instead of the total
//!     also: { "etcd, gRPC": [--rate=5000] }      # further arguments for one of those compared
//!     vary:                                      # one scenario per combination
//!       outstanding: [1, 128]
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;

use super::contender::CLASSES;
use crate::load::arguments::{Arguments, Command};
use crate::load::text::parse_time;

/// Combinations of one scenario at most.
const COMBINATIONS_MAX: usize = 1000;

/// Sets that need no file.
const EMBEDDED: [(&str, &str); 4] = [
    ("short", include_str!("../../../perf/scenarios/short.yaml")),
    ("full", include_str!("../../../perf/scenarios/full.yaml")),
    ("living", include_str!("../../../perf/scenarios/living.yaml")),
    ("heavy", include_str!("../../../perf/scenarios/heavy.yaml")),
];

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
    pub(super) duration: Option<Duration>,
    pub(super) row: Option<String>,
    pub(super) also: BTreeMap<String, Vec<String>>,
}

impl Scenario {
    /// The arguments of a run against this server.
    pub(super) fn run_on(&self, server: &str) -> Vec<String> {
        let also = self.also.get(server).into_iter().flatten();
        self.run.iter().chain(also).cloned().collect()
    }
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
    duration: Option<String>,
    #[serde(default)]
    row: Option<String>,
    #[serde(default)]
    also: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    vary: BTreeMap<String, Vec<String>>,
}

impl ScenarioSet {
    /// One of the sets that this program brings along, by its name, or a file.
    pub(super) fn find(name: &str) -> Result<ScenarioSet, String> {
        match EMBEDDED.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => ScenarioSet::parse(text),
            None => ScenarioSet::read(Path::new(name)),
        }
    }

    fn read(path: &Path) -> Result<ScenarioSet, String> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| {
            let known: Vec<&str> = EMBEDDED.iter().map(|(name, _)| *name).collect();
            format!("{}: {error}; sets that are always there: {}", path.display(), known.join(", "))
        })?;
        ScenarioSet::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn parse(text: &str) -> Result<ScenarioSet, String> {
        let raw: RawSet = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let mut scenarios = Vec::new();
        for scenario in &raw.scenarios {
            scenarios.extend(expand(scenario)?);
        }
        for scenario in &scenarios {
            let failed = |error| format!("scenario {:?}: {error}", scenario.name);
            for server in CLASSES {
                check(&scenario.run_on(server), scenario.row.as_deref()).map_err(failed)?;
            }
            if let Some(run) = &scenario.background {
                check(run, None).map_err(failed)?;
            }
            let is_known = |name: &&String| CLASSES.contains(&name.as_str());
            if let Some(name) = scenario.also.keys().find(|name| !is_known(name)) {
                return Err(failed(format!("also: nobody is called {name:?}")));
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
        duration: raw.duration.as_deref().map(parse_time).transpose()?,
        row: raw.row.clone(),
        also: raw.also.clone(),
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
fn check(run: &[String], row: Option<&str>) -> Result<(), String> {
    let all = ["braid-load", "run"].into_iter().chain(run.iter().map(String::as_str));
    let plan = match Arguments::try_parse_from(all).map_err(|error| error.to_string())?.command {
        Command::Run(run) => run.plan()?,
        _ => return Err("not a run".to_owned()),
    };
    match row.filter(|row| !plan.workload.rows().contains(row)) {
        Some(row) => Err(format!("there is no row {row:?} in {:?}", plan.workload.rows())),
        None => Ok(()),
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
    fn a_server_can_have_arguments_of_its_own() {
        let set = ScenarioSet::parse(&format!(
            "{HEAD}  - name: watch\n    run: [--workload=watch]\n    row: put\n    \
             duration: 8s\n    also: {{ \"etcd, gRPC\": [--rate=5000] }}\n"
        ));
        let scenario = &set.expect("a set").scenarios[0];
        assert_eq!(scenario.run_on("Braid, frames"), ["--workload=watch"]);
        assert_eq!(scenario.run_on("etcd, gRPC"), ["--workload=watch", "--rate=5000"]);
        assert_eq!(scenario.duration, Some(Duration::from_secs(8)));
        assert_eq!(scenario.row.as_deref(), Some("put"));
    }

    #[test]
    fn unsound_sets_are_refused_with_the_reason() {
        for (scenario, reason) in [
            ("  - name: a\n    run: [--workload=puts]\n", "scenario \"a\": workload \"puts\""),
            ("  - name: a\n    run: [--strange]\n", "--strange"),
            ("  - name: a\n    run: []\n    vary: { rate: [] }\n", "combinations"),
            ("  - name: a\n    runs: []\n", "runs"),
            ("  - name: a\n    run: []\n    background: [--rate=0]\n", "rate"),
            ("  - name: a\n    run: []\n    row: get\n", "no row \"get\""),
            ("  - name: a\n    run: []\n    also: { zk: [] }\n", "nobody is called \"zk\""),
            ("  - name: a\n    run: []\n    also: { \"etcd, gRPC\": [--rate=0] }\n", "rate"),
            ("  - name: a\n    run: []\n    duration: 5h\n", "5h"),
        ] {
            let error = ScenarioSet::parse(&format!("{HEAD}{scenario}")).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_sets_of_the_repository_are_sound_and_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("perf/scenarios");
        for entry in fs::read_dir(folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            let set = ScenarioSet::read(&path).unwrap_or_else(|error| panic!("{error}"));
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            assert_eq!(ScenarioSet::find(name), Ok(set), "{name}");
        }
        assert!(ScenarioSet::find("nowhere").expect_err("no file").contains("short, full"));
    }
}
