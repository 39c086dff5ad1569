//! `braid-load compare`: Braid and etcd side by side, with the same generator on the same disk.
//!
//! ```text
//!  for each repetition            (so that what drifts on the machine hits all alike)
//!    baselines: one DSYNC write, one loopback round trip
//!    for each scenario
//!      for each server            a fresh one on a fresh directory, alone on the machine, with
//!                                 memory that the machine has at hand
//!        preload, then per protocol: braid-load run …, its server's CPU, I/O and memory around it
//! ```
//!
//! Every run is a process of its own, so that its CPU is its own and nothing of one run lives on in
//! the next. What is reported are medians over the repetitions.

mod baseline;
mod machine;
mod memory;
mod report;
mod scenario;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::baseline::Baseline;
use self::report::{Comparison, Measured, Sample};
use self::scenario::{Scenario, ScenarioSet};
use self::server::{Server, ServerKind, Usage};
use super::arguments::CompareArguments;
use super::summary::Summary;
use super::wire::Protocol;

/// The time that background load runs before measuring begins.
const BACKGROUND_LEAD: Duration = Duration::from_millis(700);

/// The servers to measure and the protocols to speak. Each server's targets stand together.
const TARGETS: [(ServerKind, Protocol, &str); 3] = [
    (ServerKind::Braid, Protocol::Frames, "Braid, frames"),
    (ServerKind::Braid, Protocol::Grpc, "Braid, gRPC"),
    (ServerKind::Etcd, Protocol::Grpc, "etcd, gRPC"),
];

/// Runs the set and writes the reports; says where they are.
pub(super) fn compare(arguments: &CompareArguments) -> Result<(), String> {
    let generator = std::env::current_exe().map_err(|error| error.to_string())?;
    let programs = Programs::found(arguments, generator)?;
    let mut set = ScenarioSet::read(&arguments.scenarios)?;
    if let Some(part) = &arguments.only {
        set.scenarios.retain(|scenario| scenario.name.contains(part.as_str()));
    }
    if set.scenarios.is_empty() {
        return Err("there is no such scenario in the set".to_owned());
    }
    set.repetitions = arguments.repetitions.unwrap_or(set.repetitions).max(1);
    fs::create_dir_all(&programs.scratch)
        .map_err(|error| format!("{}: {error}", programs.scratch.display()))?;
    let mut machine = machine::describe(&programs.scratch, &[&programs.braid, &programs.etcd]);
    let run = set.warm_up + set.duration;
    let (first, again) = (memory::touch(run), memory::touch(run));
    let cost = format!("{first:.2} s/GiB as found, {again:.2} s/GiB before each server's start");
    machine.insert("first touch of memory".to_owned(), cost);
    let mut baselines = Vec::new();
    let mut measured = Vec::new();
    for repetition in 0..set.repetitions {
        baselines.push(Baseline::measure(&programs.scratch)?);
        for scenario in &set.scenarios {
            eprintln!("{}/{}: {}", repetition + 1, set.repetitions, scenario.name);
            for kind in in_turn(repetition) {
                measured.extend(programs.measure_server(&set, scenario, kind)?);
            }
        }
    }
    let comparison = Comparison::new(&set, machine, &baselines, &measured);
    print!("{}", comparison.table());
    let path = comparison.write(&arguments.results)?;
    println!("written to {} and .json beside it", path.display());
    Ok(())
}

/// Returns the order of the servers, which changes with every repetition.
fn in_turn(repetition: u32) -> [ServerKind; 2] {
    match repetition % 2 {
        0 => [ServerKind::Braid, ServerKind::Etcd],
        _ => [ServerKind::Etcd, ServerKind::Braid],
    }
}

struct Programs {
    braid: PathBuf,
    etcd: PathBuf,
    generator: PathBuf,
    scratch: PathBuf,
}

impl Programs {
    /// Finds the programs that a comparison needs. All that is missing is told at once, before
    /// anything is made.
    fn found(arguments: &CompareArguments, generator: PathBuf) -> Result<Programs, String> {
        let braid = arguments.braid.clone().unwrap_or_else(|| generator.with_file_name("braid"));
        let etcd = arguments.etcd.clone().or_else(|| server::on_path("etcd"));
        let mut missing = Vec::new();
        if !arguments.scenarios.is_file() {
            missing.push(format!(
                "a scenario set at {}: run this where Braid's sources are, or name one with \
                 --scenarios",
                arguments.scenarios.display()
            ));
        }
        if !braid.is_file() {
            missing.push(format!("a Braid at {}: say where it is with --braid", braid.display()));
        }
        match &etcd {
            Some(path) if path.is_file() => {}
            Some(path) => missing.push(format!("an etcd at {}", path.display())),
            None => missing.push(
                "an etcd on PATH: say where it is with --etcd; perf/README.md of Braid's sources \
                 says how to get it"
                    .to_owned(),
            ),
        }
        match (etcd, &missing[..]) {
            (Some(etcd), []) => {
                Ok(Programs { braid, etcd, generator, scratch: arguments.scratch.clone() })
            }
            _ => Err(format!("compare needs, and did not find\n  {}", missing.join("\n  "))),
        }
    }

    /// One scenario on a fresh server, over each protocol that it speaks.
    fn measure_server(
        &self,
        set: &ScenarioSet,
        scenario: &Scenario,
        kind: ServerKind,
    ) -> Result<Vec<Measured>, String> {
        let program = match kind {
            ServerKind::Braid => &self.braid,
            ServerKind::Etcd => &self.etcd,
        };
        let mut all = Vec::new();
        let mut running = None;
        for (_, protocol, name) in TARGETS.into_iter().filter(|(of, ..)| *of == kind) {
            let server = match running.take() {
                Some(server) => server,
                None => {
                    let run = scenario.duration.unwrap_or(set.duration);
                    memory::touch(set.warm_up + run);
                    let server = Server::start(kind, program, &self.scratch)?;
                    if scenario.preload {
                        let mut preload = self.generate(&server, protocol, &scenario.run);
                        finish(preload.args(["--preload", "--requests=1"]), "preload")?;
                    }
                    server
                }
            };
            let sample = self.sample(set, scenario, &server, protocol, name)?;
            all.push(Measured { scenario: scenario.name.clone(), server: name, sample });
            match scenario.fresh {
                true => server.stop()?,
                false => running = Some(server),
            }
        }
        running.map_or(Ok(()), Server::stop)?;
        Ok(all)
    }

    fn sample(
        &self,
        set: &ScenarioSet,
        scenario: &Scenario,
        server: &Server,
        protocol: Protocol,
        name: &str,
    ) -> Result<Sample, String> {
        let duration = scenario.duration.unwrap_or(set.duration);
        let json = |name: &str| self.scratch.join(format!("{name}.json"));
        let (json, background_json) = (json("run"), json("background"));
        let before = server.usage()?;
        let background = match &scenario.background {
            None => None,
            Some(run) => {
                let mut command = self.generate(server, protocol, run);
                let length = set.warm_up + duration + 2 * BACKGROUND_LEAD;
                command.args(timing(Duration::ZERO, length));
                command.arg(format!("--json={}", background_json.display()));
                let child = Guard(command.spawn().map_err(|error| error.to_string())?);
                std::thread::sleep(BACKGROUND_LEAD);
                Some(child)
            }
        };
        let mut command = self.generate(server, protocol, &scenario.run_on(name));
        command.args(timing(set.warm_up, duration));
        finish(command.arg(format!("--json={}", json.display())), &scenario.name)?;
        let mut background_summary = None;
        if let Some(child) = background {
            child.succeed("background load")?;
            background_summary = Some(read_summary(&background_json)?);
        }
        let used = Usage::between(&before, &server.usage()?);
        let summary = read_summary(&json)?;
        let row = match &scenario.row {
            None => summary.total.clone(),
            Some(name) => {
                let row = summary.rows.iter().find(|row| row.name == *name);
                row.ok_or_else(|| format!("{}: no row {name:?}", scenario.name))?.clone()
            }
        };
        Ok(Sample { summary, row, background: background_summary, used })
    }

    fn generate(&self, server: &Server, protocol: Protocol, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.generator);
        command.arg("run").args(arguments).arg("--quiet").stdin(Stdio::null());
        command.arg(format!("--endpoints={}", server.endpoint()));
        command.arg(format!("--protocol={protocol}"));
        command
    }
}

fn timing(warm_up: Duration, duration: Duration) -> [String; 2] {
    let milliseconds = |time: Duration| time.as_millis();
    [
        format!("--warm-up={}ms", milliseconds(warm_up)),
        format!("--duration={}ms", milliseconds(duration)),
    ]
}

/// A generator that must not outlive us.
struct Guard(Child);

impl Guard {
    fn succeed(mut self, what: &str) -> Result<(), String> {
        let status = self.0.wait().map_err(|error| error.to_string())?;
        // Requests that failed are counted in what the run has written.
        match status.code() {
            Some(0 | 1) => Ok(()),
            _ => Err(format!("{what}: {status}")),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn finish(command: &mut Command, what: &str) -> Result<(), String> {
    Guard(command.spawn().map_err(|error| error.to_string())?).succeed(what)
}

fn read_summary(path: &Path) -> Result<Summary, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
