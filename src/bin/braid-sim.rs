//! The simulator's command line: parse, run seeds, tell what broke.

use std::collections::BTreeMap;
use std::process::ExitCode;

use braid::sim::{Left, Options, keep_panics, simulate};
use clap::Parser;

/// Runs a whole member on a fake disk and clock, from seeds, and checks what it does.
#[derive(Parser)]
#[command(name = "braid-sim", version)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds to run, one after another.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Cores in every life, instead of what the seed says.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    cores: Option<u16>,
    /// Shards, instead of what the seed says.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=128))]
    shards: Option<u16>,
    /// Leaves a rule out, in a build with the feature `teeth`: then some seed must fail.
    #[arg(long, value_parser = left, value_name = "RULE")]
    without: Option<Left>,
    /// The last events to show of a seed that fails.
    #[arg(long, default_value_t = 40)]
    events: usize,
    /// Says nothing of seeds that hold.
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.without.is_some() && !cfg!(feature = "teeth") {
        eprintln!("--without needs a build with --features teeth");
        return ExitCode::from(2);
    }
    keep_panics();
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for seed in (0..arguments.seeds).map(|nth| arguments.seed.wrapping_add(nth)) {
        let options = Options {
            seed,
            steps: arguments.steps,
            cores: arguments.cores,
            shards: arguments.shards,
            without: arguments.without,
        };
        match simulate(&options) {
            Ok(summary) => {
                if !arguments.quiet {
                    println!("{summary}");
                }
                for (kind, count) in summary.kinds {
                    *kinds.entry(kind).or_default() += count;
                }
            }
            Err(failure) if arguments.without.is_some() => {
                println!("caught by seed {seed} at step {}: {}", failure.step, failure.what);
                return ExitCode::SUCCESS;
            }
            Err(failure) => {
                let skipped = failure.events.len().saturating_sub(arguments.events);
                failure.events.iter().skip(skipped).for_each(|event| println!("{event}"));
                println!("seed {seed} fails at step {}: {}", failure.step, failure.what);
                println!("again: braid-sim --seed {seed} --steps {}", arguments.steps);
                return ExitCode::FAILURE;
            }
        }
    }
    if arguments.without.is_some() {
        println!("not caught in {} seeds", arguments.seeds);
        return ExitCode::FAILURE;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("answers: {}", kinds.join(", "));
    println!("{} seeds hold", arguments.seeds);
    ExitCode::SUCCESS
}

fn left(name: &str) -> Result<Left, String> {
    let names = || Left::NAMES.map(|(name, _)| name).join(", ");
    let found = Left::NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, left)| *left).ok_or_else(|| format!("there are: {}", names()))
}
