//! `braid-load compare`: Braid and etcd side by side, or any two programs, with the same generator
//! on the same disk.
//!
//! ```text
//!  for each repetition            (so that what drifts on the machine hits all alike)
//!    baselines: one DSYNC write, one loopback round trip
//!    for each scenario
//!      for each contender         a fresh server on a fresh directory, alone on the machine, with
//!                                 memory that the machine has at hand
//!        preload, then: braid-load run …, its server's CPU, I/O and memory around it
//! ```
//!
//! Every run is a process of its own, so that its CPU is its own and nothing of one run lives on in
//! the next. What is reported are medians over the repetitions, every repetition's own figures, and
//! ratios with an interval ([`statistics`]): what the interval does not show is no difference.

mod baseline;
mod contender;
mod diff;
mod machine;
mod memory;
mod report;
mod scenario;
mod server;
mod signals;
mod statistics;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use self::baseline::Baseline;
use self::contender::Contender;
pub(super) use self::diff::diff;
use self::report::{Comparison, Measured, Sample};
use self::scenario::{Scenario, ScenarioSet};
use self::server::{Server, Usage};
use super::arguments::CompareArguments;
use super::summary::Summary;

/// The time that background load runs before measuring begins.
const BACKGROUND_LEAD: Duration = Duration::from_millis(700);

/// Runs the set and writes the reports; says where they are. Whether all of it is good.
pub(super) fn compare(arguments: &CompareArguments) -> Result<bool, String> {
    let generator = std::env::current_exe().map_err(|error| error.to_string())?;
    let contenders = Contender::all(arguments, &generator)?;
    let mut set = ScenarioSet::find(&arguments.scenarios)?;
    if let Some(part) = &arguments.only {
        set.scenarios.retain(|scenario| scenario.name.contains(part.as_str()));
    }
    if set.scenarios.is_empty() {
        return Err("there is no such scenario in the set".to_owned());
    }
    set.repetitions = arguments.repetitions.unwrap_or(set.repetitions).max(1);
    let scratch = &arguments.scratch;
    fs::create_dir_all(scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    signals::catch();
    let bench = Bench { generator, scratch: scratch.clone() };
    let mut machine = machine::describe(scratch, &contenders);
    let run = set.warm_up + set.duration;
    let (first, again) = (memory::touch(run), memory::touch(run));
    let cost = format!("{first:.2} s/GiB as found, {again:.2} s/GiB before each server's start");
    machine.insert("first touch of memory".to_owned(), cost);
    let mut baselines = Vec::new();
    let mut measured = Vec::new();
    for repetition in 0..set.repetitions {
        baselines.push(Baseline::measure(scratch)?);
        for scenario in &set.scenarios {
            eprintln!("{}/{}: {}", repetition + 1, set.repetitions, scenario.name);
            for contender in in_turn(&contenders, repetition) {
                measured.push(bench.measure(&set, scenario, contender)?);
            }
        }
    }
    let comparison = Comparison::new(&set, &contenders, machine, &baselines, &measured);
    print!("{}", comparison.table());
    let path = comparison.write(&arguments.results)?;
    println!("written to {} and .json beside it", path.display());
    Ok(comparison.is_good())
}

/// The order changes with every repetition, so that nobody always comes first.
fn in_turn(contenders: &[Contender], repetition: u32) -> Vec<&Contender> {
    let mut all: Vec<&Contender> = contenders.iter().collect();
    match repetition % 2 {
        0 => all.rotate_left(repetition as usize / 2 % contenders.len()),
        _ => all.reverse(),
    }
    all
}

/// What measures: the generator, and the disk.
struct Bench {
    generator: PathBuf,
    scratch: PathBuf,
}

impl Bench {
    /// One scenario on a fresh server.
    fn measure(
        &self,
        set: &ScenarioSet,
        scenario: &Scenario,
        contender: &Contender,
    ) -> Result<Measured, String> {
        memory::touch(set.warm_up + scenario.duration.unwrap_or(set.duration));
        let server = Server::start(contender.kind, &contender.program, &self.scratch)?;
        if scenario.preload {
            let mut preload = self.generate(&server, contender, &scenario.run);
            finish(preload.args(["--preload", "--requests=1"]), "preload")?;
        }
        let sample = self.sample(set, scenario, &server, contender)?;
        server.stop()?;
        let server = contender.name.clone();
        Ok(Measured { scenario: scenario.name.clone(), server, sample })
    }

    fn sample(
        &self,
        set: &ScenarioSet,
        scenario: &Scenario,
        server: &Server,
        contender: &Contender,
    ) -> Result<Sample, String> {
        let duration = scenario.duration.unwrap_or(set.duration);
        let json = |name: &str| server.folder().join(format!("{name}.json"));
        let (json, background_json) = (json("run"), json("background"));
        let before = server.usage()?;
        let background = match &scenario.background {
            None => None,
            Some(run) => {
                let mut command = self.generate(server, contender, run);
                let length = set.warm_up + duration + 2 * BACKGROUND_LEAD;
                command.args(timing(Duration::ZERO, length));
                command.arg(format!("--json={}", background_json.display()));
                let child = Guard::start(&mut command)?;
                std::thread::sleep(BACKGROUND_LEAD);
                Some(child)
            }
        };
        let mut command = self.generate(server, contender, &scenario.run_on(contender.class()));
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

    fn generate(&self, server: &Server, contender: &Contender, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.generator);
        signals::ends_with_us(&mut command);
        command.arg("run").args(arguments).arg("--quiet").stdin(Stdio::null());
        command.arg(format!("--endpoints={}", server.endpoint()));
        command.arg(format!("--protocol={}", contender.protocol));
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
    fn start(command: &mut Command) -> Result<Guard, String> {
        Ok(Guard(command.spawn().map_err(|error| error.to_string())?))
    }

    fn succeed(mut self, what: &str) -> Result<(), String> {
        let status = signals::wait(&mut self.0)?;
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
    Guard::start(command)?.succeed(what)
}

fn read_summary(path: &Path) -> Result<Summary, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
