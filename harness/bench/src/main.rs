//! Our own numbers: what real server processes do on this machine, as ratios within one run.
//!
//! Absent on purpose: thresholds. Machines differ and are shared, so nothing fails on a time; what
//! fails is a wrong answer. Every file but this one is either a measure (`line`, `flood`, `visible`,
//! `memory`, `connections`, `scale`, `places`, `nearby`, `threads`, `replication`, `agree`,
//! `durable`, `holds`, `moving`) or a tool that several of them use. `echo` is the yardstick: the same runtime and socket settings with no server in between;
//! `peers` are what others made.

mod agree;
mod city;
mod connections;
mod durable;
mod ears;
mod echo;
mod flood;
mod herd;
mod holds;
mod line;
mod load;
mod machine;
mod memory;
mod moving;
mod nearby;
mod pace;
mod peers;
mod pipeline;
mod places;
mod probe;
mod process;
mod pulse;
mod quota;
mod replication;
mod riders;
mod scale;
mod table;
mod threads;
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
    /// Everything below but `replication`, `agree`, `durable` and `holds`, one after another (the default); a quarter of an
    /// hour
    All,
    /// IAMATs answered by one server, against a bare echo of the same lines, Redis and a herd in Python
    Line,
    /// Updates spread through the five servers, and through five in Python
    Flood,
    /// How long until a report is known one, two and three links away, at rest and under half of the
    /// highest load
    Visible,
    /// Bytes for each client
    Memory,
    /// Who is near, among a million clients in one city, against Redis; at rest and while they move
    Nearby,
    /// Very many idle connections, storms of new ones, and whether a greedy client makes others wait
    Connections,
    /// A million clients, or ten, loaded over the wire: how long, how many bytes, how answers are then
    Scale(scale::Args),
    /// Answers about places out of the embedded data
    Places,
    /// Processor time for a message with one thread and with two
    Threads,
    /// How the servers agree: what it costs, how late they are, what a cut, a slow link or an empty
    /// server does. All rows together take a quarter of an hour
    Replication(replication::Args),
    /// How the servers agree where something went wrong: killed, cut off, split, starved. All rows together take half
    /// an hour
    Agree(agree::Args),
    /// What it costs that reports outlive their process: answers, fsyncs, files written anew, starts. All
    /// rows together take some minutes
    Durable(durable::Args),
    /// The longest that the node's lock is held, in memory and without a server: while it grows to ten million
    /// clients, compacts its journal, feeds an empty peer and erases what expired. Takes some minutes and 10 GB
    Holds(holds::Args),
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
    let what = cli.what.clone().unwrap_or(What::All);
    if let What::Echo = what {
        return echo::run();
    }
    process::guard()?;
    // Both ends of every connection are on this machine.
    machine::raise_open_files();
    let alone = matches!(what, What::Index(_) | What::Holds(_));
    let server = if alone { None } else { Some(server(&cli.options)?) };
    let options = Options { server, ..cli.options.clone() };
    let facts = machine::Facts::gather();
    println!("{facts}");
    let (mut sections, mut took) = (Vec::new(), Vec::new());
    let file = what.name();
    for (name, measure) in what.measures() {
        let started = Instant::now();
        for section in measure(&options).with_context(|| format!("measuring `{name}`"))? {
            println!("\n{section}");
            sections.push(section);
        }
        took.push((name, started.elapsed().as_secs_f64()));
        println!("({name} took {:.0} s)", started.elapsed().as_secs_f64());
    }
    if took.len() > 1 {
        println!("\n{}", durations(&took));
    }
    let out = options.out.clone().map_or_else(bench_dir, Ok)?;
    let document = table::document(&facts, &options, &sections, &took);
    write(&out, &format!("{file}.json"), &document)
}

type Measure = Box<dyn Fn(&Options) -> Result<Vec<Section>>>;

impl What {
    /// What its file of figures is called.
    fn name(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Line => "line",
            Self::Flood => "flood",
            Self::Visible => "visible",
            Self::Memory => "memory",
            Self::Nearby => "nearby",
            Self::Connections => "connections",
            Self::Scale(_) => "scale",
            Self::Places => "places",
            Self::Threads => "threads",
            Self::Replication(_) => "replication",
            Self::Agree(_) => "agree",
            Self::Durable(_) => "durable",
            Self::Holds(_) => "holds",
            Self::Index(_) => "index",
            Self::Echo => "echo",
        }
    }

    /// What is to be measured, one after another.
    fn measures(self) -> Vec<(&'static str, Measure)> {
        let name = self.name();
        let one = |measure: Measure| vec![(name, measure)];
        match self {
            Self::All => {
                let parts = [
                    Self::Line,
                    Self::Flood,
                    Self::Visible,
                    Self::Memory,
                    Self::Nearby,
                    Self::Connections,
                    Self::Scale(scale::Args::default()),
                    Self::Places,
                    Self::Threads,
                    Self::Index(moving::Args::default()),
                ];
                parts.into_iter().flat_map(Self::measures).collect()
            }
            Self::Line => one(Box::new(line::measure)),
            Self::Flood => one(Box::new(flood::measure)),
            Self::Visible => one(Box::new(visible::measure)),
            Self::Memory => one(Box::new(memory::measure)),
            Self::Nearby => one(Box::new(nearby::measure)),
            Self::Connections => one(Box::new(connections::measure)),
            Self::Scale(args) => one(Box::new(move |options| scale::measure(options, &args))),
            Self::Places => one(Box::new(places::measure)),
            Self::Threads => one(Box::new(threads::measure)),
            Self::Holds(args) => one(Box::new(move |options| holds::measure(options, &args))),
            Self::Index(args) => one(Box::new(move |options| moving::measure(options, &args))),
            Self::Replication(args) => {
                let rows = args.rows().into_iter();
                let measure = |row: replication::Measure, args: replication::Args| -> Measure {
                    Box::new(move |options| row(options, &args))
                };
                rows.map(|(name, row)| (name, measure(row, args.clone()))).collect()
            }
            Self::Agree(args) => {
                let rows = args.rows().into_iter();
                let measure = |row: agree::Measure, args: agree::Args| -> Measure {
                    Box::new(move |options| row(options, &args))
                };
                rows.map(|(name, row)| (name, measure(row, args.clone()))).collect()
            }
            Self::Durable(args) => {
                let rows = args.rows().into_iter();
                let measure = |row: durable::Measure, args: durable::Args| -> Measure {
                    Box::new(move |options| row(options, &args))
                };
                rows.map(|(name, row)| (name, measure(row, args.clone()))).collect()
            }
            Self::Echo => Vec::new(),
        }
    }
}

/// How long each measure took, in a line.
fn durations(took: &[(&str, f64)]) -> String {
    let parts: Vec<_> = took.iter().map(|(name, s)| format!("{name} {s:.0} s")).collect();
    let sum = took.iter().map(|(_, s)| s).sum::<f64>();
    format!("{}: {:.1} minutes in all", parts.join(", "), sum / 60.0)
}

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
