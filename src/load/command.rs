//! The subcommands, from arguments to exit code.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use super::affinity::Cpus;
use super::arguments::{
    Arguments, CheckArguments, Command, DiffArguments, FindArguments, NullArguments, RunArguments,
};
use super::check;
use super::compare;
use super::hdr_log::HdrLog;
use super::null::Null;
use super::page;
use super::run::{Plan, drive};
use super::streaming::{BackgroundLoad, measure_idle};
use super::summary::{Gathered, Summary};
use super::table::{live_line, table};
use super::text::{show_count, show_ns};

/// Outstanding requests while keys are put before a run.
const PRELOAD_OUTSTANDING: u32 = 256;

/// Something is wrong with what was found.
const BAD: u8 = 1;
/// A check that had nothing to check.
const NOTHING_VERIFIED: u8 = 3;
/// Something is wrong with what was asked for: it was not done.
const NOT_DONE: u8 = 2;

/// The program. Its exit codes stand in the help.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Find(arguments) => find_rate(&arguments),
        Command::Check(arguments) => check_acks(&arguments),
        Command::Null(arguments) => serve_null(&arguments),
        Command::Diff(DiffArguments { a, b }) => compare::diff(&a, &b).map(|text| {
            print!("{text}");
            ExitCode::SUCCESS
        }),
        Command::Compare(arguments) => compare::compare(&arguments).map(|is_good| match is_good {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(BAD),
        }),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("braid-load: {error}");
            ExitCode::from(NOT_DONE)
        }
    }
}

/// One run, or one per point of a sweep.
fn run(arguments: &RunArguments) -> Result<ExitCode, String> {
    let mut plan = arguments.plan()?;
    plan.protocol = arguments.target.protocol()?;
    if arguments.preload {
        preload(&plan)?;
    }
    let mut log = match &arguments.hdr_log {
        Some(path) => {
            Some(HdrLog::create(path).map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let mut summaries = Vec::new();
    let background = BackgroundLoad::gather(&arguments.streaming, &plan)?;
    let mut bad = Vec::new();
    let points = points(arguments, &plan);
    let is_sweep = points.len() > 1;
    for (name, plan) in points {
        background.wait(&plan);
        if let Some(log) = &mut log {
            log.begin_run(is_sweep.then_some(&*name), plan.warm_up);
        }
        let mut summary = match measure_idle(&name, &plan)? {
            Some(summary) => summary,
            None => {
                let summary = measure(&name, &plan, arguments.quiet, log.as_mut())?;
                bad.extend(summary.invalid(arguments.allow_errors, is_sweep));
                summary
            }
        };
        summary.facts.extend(background.facts(&plan)?);
        if !arguments.quiet {
            println!("{}", table(&summary));
        }
        summaries.push(summary);
    }
    if let Some(path) = &arguments.json {
        let json = match &summaries[..] {
            [one] => serde_json::to_string_pretty(one),
            all => serde_json::to_string_pretty(all),
        };
        write_file(path, &json.map_err(|error| error.to_string())?)?;
    }
    if let Some(path) = &arguments.html {
        write_file(path, &page::of_runs(&summaries)?)?;
    }
    bad.iter().for_each(|reason| eprintln!("braid-load: not a good run: {reason}"));
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(BAD) })
}

/// The highest rate that holds, from many runs.
fn find_rate(arguments: &FindArguments) -> Result<ExitCode, String> {
    let (search, mut plan) = arguments.plan()?;
    let (run, slo) = (&arguments.run, &arguments.slo);
    plan.protocol = run.target.protocol()?;
    if run.preload {
        preload(&plan)?;
    }
    let background = BackgroundLoad::gather(&run.streaming, &plan)?;
    let workload = run.name.clone().unwrap_or_else(|| plan.workload.text.clone());
    let mut probes: Vec<Summary> = Vec::new();
    let found = search.run(|rate| {
        let plan = Plan { rate: Some(rate), ..plan.clone() };
        background.wait(&plan);
        let probe = measure(&format!("{workload}, {rate:.0}/s"), &plan, true, None)?;
        let broken = slo.broken_by(&probe);
        if !run.quiet {
            let p99 = show_ns(probe.total.latency.p99 as f64);
            let verdict = broken.as_deref().unwrap_or("holds");
            eprintln!("{:>7}/s  p99 {p99:>8}  {verdict}", show_count(rate));
        }
        probes.push(probe);
        Ok(broken.is_none())
    })?;
    let said = match &found {
        None => format!("no rate holds {slo}"),
        Some(found) if found.is_bound => {
            format!("at least {}/s holds {slo}; none above was tried", show_count(found.rate))
        }
        Some(found) => {
            let (rate, spread) = (show_count(found.rate), found.spread * 100.0);
            format!("{rate}/s ± {spread:.0} % holds {slo}, of {} runs", probes.len())
        }
    };
    println!("{workload}: {said}");
    if let Some(path) = &run.json {
        let json = serde_json::json!({
            "kind": "find",
            "slo": slo.to_string(),
            "rate": found.as_ref().map(|found| found.rate),
            "spread": found.as_ref().map(|found| found.spread),
            "is_bound": found.as_ref().map(|found| found.is_bound),
            "probes": &probes,
        });
        write_file(path, &format!("{json:#}\n"))?;
    }
    if let Some(path) = &run.html {
        let rate = |probe: &Summary| probe.rate.unwrap_or(0.0);
        probes.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        write_file(path, &page::of_runs(&probes)?)?;
    }
    Ok(if found.is_some() { ExitCode::SUCCESS } else { ExitCode::from(BAD) })
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Puts every key of the workload once.
fn preload(plan: &Plan) -> Result<(), String> {
    let families = plan.workload.families.iter().enumerate();
    for (family, of) in families.filter(|(_, of)| of.preloads) {
        let preload = Plan {
            workload: plan.workload.preload(family).into(),
            requests: Some(of.keys),
            rate: None,
            outstanding: PRELOAD_OUTSTANDING,
            acks: None,
            ..plan.clone()
        };
        let outcome = drive(&preload, |_| {})?;
        let failed: u64 = outcome.rows.iter().flat_map(|row| row.errors).sum();
        if failed > 0 {
            let text = outcome.texts.into_iter().flatten().next().unwrap_or_default();
            return Err(format!("preload: {failed} of {} puts failed, first: {text}", of.keys));
        }
    }
    Ok(())
}

/// The runs of a sweep, or the one run.
fn points(arguments: &RunArguments, plan: &Plan) -> Vec<(String, Plan)> {
    let name = arguments.name.clone().unwrap_or_else(|| plan.workload.text.clone());
    let outstanding = arguments.sweep_outstanding.iter().map(|&outstanding| {
        (format!("{name}, {outstanding} outstanding"), Plan { outstanding, ..plan.clone() })
    });
    let rates = arguments
        .sweep_rate
        .iter()
        .map(|&rate| (format!("{name}, {rate}/s"), Plan { rate: Some(rate), ..plan.clone() }));
    let points: Vec<_> = outstanding.chain(rates).collect();
    if points.is_empty() { vec![(name, plan.clone())] } else { points }
}

fn measure(
    name: &str,
    plan: &Plan,
    quiet: bool,
    mut log: Option<&mut HdrLog>,
) -> Result<Summary, String> {
    let mut gathered = Gathered::default();
    let mut trouble = None;
    let live = !quiet && std::io::stderr().is_terminal();
    let outcome = drive(plan, |interval| {
        let summary = gathered.add(plan, interval);
        if live {
            eprint!("\r\x1b[K{}", live_line(summary, plan.duration.as_secs_f64()));
            let _ = std::io::stderr().flush();
        } else if !quiet {
            eprintln!("{}", live_line(summary, plan.duration.as_secs_f64()));
        }
        if let Some(log) = &mut log
            && let Err(error) = log.add(&plan.workload.rows(), interval)
        {
            trouble = Some(format!("the HdrHistogram log: {error}"));
        }
    })?;
    if live {
        eprint!("\r\x1b[K");
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => Ok(Summary::new(name, plan, &outcome, gathered)),
    }
}

/// Verifies a log of acknowledged changes.
fn check_acks(arguments: &CheckArguments) -> Result<ExitCode, String> {
    let log = check::read_logs(&arguments.acks)?;
    let address = arguments.target.addresses()?[0];
    let protocol = arguments.target.protocol()?;
    let verdict = check::check(protocol, address, log, arguments.outstanding)?;
    println!(
        "{} acknowledged changes are there, {} cannot be verified (compacted), {} are wrong",
        verdict.verified, verdict.compacted, verdict.wrong
    );
    println!(
        "now: {} keys are as their newest acknowledged change left them, {} have changed since, \
         of {} it is not known (a delete without an answer)",
        verdict.present, verdict.later, verdict.doubtful
    );
    verdict.examples.iter().for_each(|example| println!("wrong: {example}"));
    if !verdict.has_verified() {
        eprintln!("braid-load: nothing was verified");
        return Ok(ExitCode::from(NOTHING_VERIFIED));
    }
    Ok(if verdict.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::from(BAD) })
}

fn serve_null(arguments: &NullArguments) -> Result<ExitCode, String> {
    let cpus = Cpus::parse(arguments.cpus.as_deref())?;
    let null = Null::bind(arguments.listen)?;
    println!("ready to serve client requests on {}", null.address);
    null.serve(cpus)?;
    Ok(ExitCode::SUCCESS)
}
