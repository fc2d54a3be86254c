//! Runs many seeds, tells what happened in them, and how to repeat the first that fails.

use clap::Parser;
use herd_replica::Mutant;
use herd_sim::{Report, run, shrink};
use std::process::ExitCode;

/// Run histories of replicas against the oracle.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first one
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
    /// Make every known fault on purpose, and see that each is found within so many seeds
    #[arg(long)]
    mutants: bool,
    /// Make this fault on purpose
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Go on after failures
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutants {
        return kill_mutants(&arguments);
    }
    let mut total = Report::default();
    let mut failed = 0;
    for seed in arguments.from..arguments.from + arguments.seeds {
        match run(seed, arguments.mutant, arguments.trace) {
            Ok(report) => total.add(&report),
            Err(failure) => {
                println!("seed {seed} failed: {}", failure.what);
                failed += 1;
                if !arguments.keep_going {
                    explain(seed, arguments.mutant, &failure.trace);
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    for (what, times) in total.counts() {
        println!("{times:>12}  {what}{}", if times == 0 { "  NEVER HAPPENED" } else { "" });
    }
    println!("{} seeds, {failed} failed", arguments.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| format!("no such mutant; there are {:?}", Mutant::ALL))
}

/// Prints a history that fails, shortened unless all of it was asked for.
fn explain(seed: u64, mutant: Option<Mutant>, trace: &[String]) {
    if trace.is_empty() {
        if let Some((plan, failure)) = shrink(seed, mutant) {
            println!("shortened to {} steps:", plan.steps.len());
            for line in &failure.trace {
                println!("{line}");
            }
            println!("{}", failure.what);
        }
    } else {
        for line in trace {
            println!("{line}");
        }
    }
    println!("repeat it: cargo xtask sim --from {seed} --seeds 1 --trace");
}

fn kill_mutants(arguments: &Arguments) -> ExitCode {
    let mut living = 0;
    for mutant in Mutant::ALL {
        let seeds = arguments.from..arguments.from + arguments.seeds;
        let killed = seeds.into_iter().find_map(|seed| run(seed, Some(mutant), false).err());
        if let Some(failure) = killed {
            let after = failure.seed - arguments.from + 1;
            let what: String = failure.what.chars().take(90).collect();
            println!("{mutant:?}: found after {after} seeds: {what}");
        } else {
            living += 1;
            println!("{mutant:?}: NOT FOUND within {} seeds", arguments.seeds);
        }
    }
    println!("{} mutants, {living} not found", Mutant::ALL.len());
    if living == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
