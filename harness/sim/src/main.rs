//! Runs many seeds, reports what happened in them, and how to repeat the first that fails.

use clap::Parser;
use herd_replica::Mutant;
use herd_sim::{Batch, Kind, Setting, broadcast, current_seed, idle, run, shrink};
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
    /// Threads; results do not depend on them [default: one per core]
    #[arg(long)]
    jobs: Option<usize>,
    /// Print everything that happens, on one thread
    #[arg(long)]
    trace: bool,
    /// Make every known fault on purpose, and see that each is found within this many seeds
    #[arg(long)]
    mutants: bool,
    /// Count the messages for each broadcast among 25 servers, and hold them against the public bars
    #[arg(long)]
    broadcast: bool,
    /// Measure what the links of an idle herd carry
    #[arg(long)]
    idle: bool,
    /// Make this fault on purpose; with --mutants, see that it is found
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Only histories of this kind; other seeds are skipped
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// Only histories with small tables of streams, guests and recent peers; other seeds are skipped
    #[arg(long)]
    small_tables: bool,
    /// Go on after failures
    #[arg(long)]
    keep_going: bool,
}

/// In so many seeds everything must have happened at least once.
const ALL_HAPPENS_WITHIN: u64 = 10_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let seed = current_seed();
        eprintln!("seed {seed}; repeat it: cargo xtask sim --from {seed} --seeds 1 --trace");
        tell(panic);
    }));
    if arguments.idle {
        idle_herds()
    } else if arguments.broadcast {
        broadcasts()
    } else if arguments.mutants {
        kill_mutants(&arguments)
    } else if arguments.trace {
        trace(&arguments)
    } else {
        run_seeds(&arguments)
    }
}

impl Arguments {
    fn batch(&self, mutant: Option<Mutant>) -> Batch {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Batch {
            seeds: self.from..self.from.saturating_add(self.seeds),
            mutant,
            kind: self.kind,
            small_tables: self.small_tables,
            jobs: self.jobs.unwrap_or_else(cores),
            keep_going: self.keep_going,
            progress: !self.mutants,
        }
    }
}

fn run_seeds(arguments: &Arguments) -> ExitCode {
    let outcome = arguments.batch(arguments.mutant).run();
    for failure in &outcome.failures {
        println!("seed {} failed: {}", failure.seed, failure.what);
    }
    if let Some(first) = outcome.failures.first()
        && !arguments.keep_going
    {
        explain(first.seed, arguments.mutant);
        return ExitCode::FAILURE;
    }
    let mut never = 0;
    println!("       times    histories");
    for (what, times, histories) in outcome.report.counts() {
        never += u64::from(times == 0);
        let never = if times == 0 { "  NEVER HAPPENED" } else { "" };
        println!("{times:>12} {histories:>12}  {what}{never}");
    }
    println!("{} seeds, {} failed", arguments.seeds, outcome.failures.len());
    let all = arguments.seeds >= ALL_HAPPENS_WITHIN
        && arguments.kind.is_none()
        && !arguments.small_tables;
    if never > 0 && all {
        println!("{never} things never happened, so they were not tested");
        return ExitCode::FAILURE;
    }
    if outcome.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == name);
    found.ok_or_else(|| format!("no such kind; there are {:?}", Kind::ALL))
}

fn mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| format!("no such mutant; there are {:?}", Mutant::ALL))
}

/// Prints whole histories that fail.
fn trace(arguments: &Arguments) -> ExitCode {
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        if let Err(failure) = run(seed, arguments.mutant, true) {
            for line in &failure.trace {
                println!("{line}");
            }
            println!("seed {seed} failed: {}", failure.what);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Prints a history that fails, shortened.
fn explain(seed: u64, mutant: Option<Mutant>) {
    if let Some((plan, failure)) = shrink(seed, mutant) {
        println!("shortened to {} steps:", plan.steps.len());
        for line in &failure.trace {
            println!("{line}");
        }
        println!("{}", failure.what);
    }
    let mutant = mutant.map(|mutant| format!(" --mutant {mutant:?}")).unwrap_or_default();
    println!("repeat it: cargo xtask sim --from {seed} --seeds 1{mutant} --trace");
}

/// Prints the figures of every setting. The rule is in `broadcast.rs`.
fn broadcasts() -> ExitCode {
    println!(
        "25 servers, 100 operations a second, half broadcasts, for 20 s; every batch handed to a link"
    );
    println!("counts; latency is until the last server shows a broadcast");
    println!(" messages/op   median      max  bar");
    let mut above = 0;
    for (setting, bar) in herd_sim::settings() {
        let Setting { mesh, delay, hold, watermarks_every, tell_every } = setting;
        let figures = broadcast(setting);
        let is_below = figures.zip(bar).map(|(figures, bar)| figures.is_below(bar));
        above += u32::from(is_below == Some(false) || figures.is_none());
        let verdict = match is_below {
            Some(true) => "below",
            Some(false) => "ABOVE",
            None => "none",
        };
        if let Some(figures) = figures {
            let (median, max) = (figures.median.as_millis(), figures.max.as_millis());
            let messages = figures.messages_per_operation();
            print!("{messages:>12.2} {median:>5} ms {max:>5} ms  {verdict}: ");
        } else {
            print!("did not reach everyone: ");
        }
        println!(
            "{mesh:?}, {delay:?} one way, held {hold:?}, watermarks every {watermarks_every:?}, \
             members every {tell_every:?}"
        );
    }
    if above == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what idle herds send.
fn idle_herds() -> ExitCode {
    let mut above = 0;
    for servers in [25, 100] {
        let figure = idle(servers);
        let is_above = figure.bytes_a_second > figure.bar;
        above += u32::from(is_above);
        println!(
            "{servers} servers, {} links: {:.0} B/s a link ({}, bar {:.0})",
            figure.links,
            figure.bytes_a_second,
            if is_above { "ABOVE" } else { "below" },
            figure.bar
        );
    }
    if above == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kill_mutants(arguments: &Arguments) -> ExitCode {
    let mut living = 0;
    let mutants = arguments.mutant.map_or_else(|| Mutant::ALL.to_vec(), |only| vec![only]);
    for &mutant in &mutants {
        let outcome = Batch { keep_going: false, ..arguments.batch(Some(mutant)) }.run();
        if let Some(failure) = outcome.failures.first() {
            let after = failure.seed - arguments.from + 1;
            let what: String = failure.what.chars().take(90).collect();
            println!("{mutant:?}: found after {after} seeds: {what}");
        } else {
            living += 1;
            println!("{mutant:?}: NOT FOUND within {} seeds", arguments.seeds);
        }
    }
    println!("{} mutants, {living} not found", mutants.len());
    if living == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
