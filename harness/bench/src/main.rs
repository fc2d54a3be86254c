//! Our own numbers: what real server processes do on this machine, as ratios within one run.
//!
//! Absent on purpose: thresholds. Machines differ and are shared, so nothing fails on a time; what
//! fails is a wrong answer. Every file but this one is either a measure (`line`, `flood`, `visible`,
//! `memory`, `nearby`, `replication`, `durable`, `moving`) or a tool that several of them use. `echo` is the yardstick:
//! the same runtime and socket settings with no server in between; `peers` are what others made.

mod city;
mod durable;
mod ears;
mod echo;
mod flood;
mod herd;
mod line;
mod load;
mod machine;
mod memory;
mod moving;
mod nearby;
mod pace;
mod peers;
mod probe;
mod process;
mod pulse;
mod replication;
mod table;
mod visible;
mod wires;

use crate::table::Section;
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::end_all();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures servers of the herd on this machine.
#[derive(Parser)]
#[command(name = "herd-bench", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Subcommand)]
enum What {
    /// Everything below but `replication`, `durable` and `index`, one after another (the default)
    All,
    /// IAMATs answered by one server, against a bare echo of the same lines, Redis and a herd in Python
    Line,
    /// Updates spread through the five servers, and through five in Python
    Flood,
    /// How long until a report is known one, two and three links away
    Visible,
    /// Bytes for each client and each idle connection
    Memory,
    /// Who is near, among a million clients in one city, against Redis; at rest and while they move
    Nearby,
    /// How the servers agree: what it costs, how late they are, what a cut, a slow link or an empty
    /// server does. All rows together take a quarter of an hour
    Replication(replication::Args),
    /// What it costs that reports outlive their process: answers, fsyncs, files written anew, starts. All
    /// rows together take some minutes
    Durable(durable::Args),
    /// Where everyone is, in memory and without a server: moves, who is near, bytes
    Index(moving::Args),
    /// Run the yardstick: answer lines as they came, until killed
    Echo,
}

/// How thoroughly to measure.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// How often each pair is measured; medians are told
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes
    #[arg(long, global = true, default_value_t = 2.0)]
    seconds: f64,
    /// Everything once and tiny: shows that the answers are right, not how fast they are
    #[arg(long, global = true)]
    quick: bool,
    /// Threads that make load; more only help where the machine has cores to spare
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
    /// The server's binary; without it the `geoherd` beside this one
    #[arg(long, global = true, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Where NAME.json is written; without it `bench` in the target directory
    #[arg(long, global = true, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Options {
    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.2 } else { self.seconds })
    }

    fn warm_up(&self) -> Duration {
        self.seconds() / 5
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }

    /// `full`, or `tiny` for a quick run.
    fn size<T>(&self, full: T, tiny: T) -> T {
        if self.quick { tiny } else { full }
    }
}

fn run(cli: &Cli) -> Result<()> {
    const MEASURES: [(&str, Measure); 5] = [
        ("line", line::measure),
        ("flood", flood::measure),
        ("visible", visible::measure),
        ("memory", memory::measure),
        ("nearby", nearby::measure),
    ];
    let name = match &cli.what {
        None | Some(What::All) => None,
        Some(What::Line) => Some("line"),
        Some(What::Flood) => Some("flood"),
        Some(What::Visible) => Some("visible"),
        Some(What::Memory) => Some("memory"),
        Some(What::Nearby) => Some("nearby"),
        Some(What::Replication(_)) => Some("replication"),
        Some(What::Durable(_)) => Some("durable"),
        Some(What::Index(_)) => Some("index"),
        Some(What::Echo) => return echo::run(),
    };
    process::guard()?;
    // Both ends of every connection are on this machine.
    machine::raise_open_files();
    let server = match &cli.what {
        Some(What::Index(_)) => None,
        _ => Some(server(&cli.options)?),
    };
    let options = Options { server, ..cli.options.clone() };
    let facts = machine::Facts::gather();
    println!("{facts}");
    let mut sections = Vec::new();
    let mut run = |name: &str, measure: &dyn Fn() -> Result<Vec<Section>>| -> Result<()> {
        let started = Instant::now();
        for section in measure().with_context(|| format!("measuring `{name}`"))? {
            println!("\n{section}");
            sections.push(section);
        }
        println!("({name} took {:.0} s)", started.elapsed().as_secs_f64());
        Ok(())
    };
    if let Some(What::Replication(args)) = &cli.what {
        for (name, measure) in args.rows() {
            run(name, &|| measure(&options, args))?;
        }
    } else if let Some(What::Durable(args)) = &cli.what {
        for (name, measure) in args.rows() {
            run(name, &|| measure(&options, args))?;
        }
    } else if let Some(What::Index(args)) = &cli.what {
        run("index", &|| moving::measure(&options, args))?;
    } else {
        for (measure_name, measure) in MEASURES {
            if name.is_none_or(|name| name == measure_name) {
                run(measure_name, &|| measure(&options))?;
            }
        }
    }
    let file = name.unwrap_or("all");
    let out = options.out.clone().map_or_else(bench_dir, Ok)?;
    let document = table::document(&facts, &options, &sections);
    write(&out, &format!("{file}.json"), &document)
}

type Measure = fn(&Options) -> Result<Vec<Section>>;

/// The server's binary: the one named, or the one that was built into the same directory.
fn server(options: &Options) -> Result<PathBuf> {
    let path = match &options.server {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("geoherd"),
    };
    path.canonicalize().with_context(|| {
        format!("no server at {}; `cargo xtask bench` builds it first", path.display())
    })
}

/// `target/bench`, as this binary lies in `target/PROFILE`.
fn bench_dir() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let target = exe.ancestors().nth(2).context("this binary lies in no target directory")?;
    Ok(target.join("bench"))
}

fn write(dir: &Path, name: &str, document: &serde_json::Value) -> Result<()> {
    let path = dir.join(name);
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, format!("{document:#}\n")))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_taken_on_either_side_of_the_measure() {
        let cli = Cli::parse_from(["herd-bench", "--quick", "line", "--rounds", "3"]);
        assert!(matches!(cli.what, Some(What::Line)));
        assert!(cli.options.quick && cli.options.rounds == 3);
    }
}
