//! Runs many seeds of whole servers, tells what happened in them, and how to repeat the first that fails.

use clap::Parser;
use herd_node::Mutant;
use herd_sim::nodes::{Fault, Tally, run, shrink};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Run histories of whole servers, byte by byte, against the oracle.
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
    /// Make this fault on purpose: one of a node, or one of the agreement
    #[arg(long, value_parser = fault)]
    mutant: Option<Fault>,
    /// Go on after failures
    #[arg(long)]
    keep_going: bool,
}

/// In so many histories everything happens that can; what did not was not tested.
const ALL_SEEN_SEEDS: u64 = 10_000;

/// The seed under way, for whoever reads of a panic.
static SEED: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let seed = SEED.load(Relaxed);
        eprintln!(
            "seed {seed}; repeat it: cargo xtask sim --nodes --from {seed} --seeds 1 --trace"
        );
        tell(panic);
    }));
    if arguments.mutants {
        return kill_mutants(&arguments);
    }
    let mut total = Tally::default();
    let mut failed = 0;
    for seed in arguments.from..arguments.from + arguments.seeds {
        SEED.store(seed, Relaxed);
        match run(seed, arguments.mutant, arguments.trace) {
            Ok(tally) => total.add(&tally),
            Err(failure) => {
                println!("seed {seed} failed: {}", failure.what);
                failed += 1;
                if !arguments.keep_going {
                    explain(seed, arguments.mutant, &failure.trace, &failure.what);
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    let mut never = 0;
    for (what, times) in total.counts() {
        never += u64::from(times == 0);
        println!("{times:>12}  {what}{}", if times == 0 { "  NEVER HAPPENED" } else { "" });
    }
    println!("{:>12}  milliseconds to come to rest, at most", total.settled_ms_max);
    println!("{} seeds, {failed} failed", arguments.seeds);
    let untested = never > 0 && arguments.seeds >= ALL_SEEN_SEEDS;
    if failed == 0 && !untested { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fault(name: &str) -> Result<Fault, String> {
    let node = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    let replica = herd_replica::Mutant::ALL.into_iter().find(|one| format!("{one:?}") == name);
    let found = node.map(Fault::Node).or(replica.map(Fault::Replica));
    found.ok_or_else(|| format!("no such mutant; there are {:?}", Mutant::ALL))
}

/// Prints a history that fails, shortened unless all of it was asked for.
fn explain(seed: u64, fault: Option<Fault>, trace: &[String], what: &str) {
    if trace.is_empty() {
        if let Some((plan, failure)) = shrink(seed, fault) {
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
        println!("{what}");
    }
    let mutant = match fault {
        Some(Fault::Node(mutant)) => format!(" --mutant {mutant:?}"),
        Some(Fault::Replica(mutant)) => format!(" --mutant {mutant:?}"),
        None => String::new(),
    };
    println!("repeat it: cargo xtask sim --nodes --from {seed} --seeds 1 --trace{mutant}");
}

fn kill_mutants(arguments: &Arguments) -> ExitCode {
    let mut living = 0;
    for mutant in Mutant::ALL {
        let seeds = arguments.from..arguments.from + arguments.seeds;
        let killed = seeds.into_iter().find_map(|seed| {
            SEED.store(seed, Relaxed);
            run(seed, Some(Fault::Node(mutant)), false).err()
        });
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
