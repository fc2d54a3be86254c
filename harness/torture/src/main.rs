//! Tortures of what servers write down: real processes on real files, killed, cut off from power, their files
//! damaged, their disks filled; and after each of it they are asked what they know.
//!
//! A row is a torture: `kill`, `power`, `flips`, `full`, each a file that says what must hold. `book.rs` knows
//! what was sent and acknowledged, `guard.rs` sees to it that nothing is left behind. Left out: servers
//! that disagree (`herd-sim`), networks that fail (`herd-soak`).
//!
//! Every choice comes from the seed. What the machine makes of it differs from run to run: least for the flips,
//! whose files differ in the times and ids that stand in them.

mod book;
mod chance;
mod flips;
mod full;
mod fuse;
mod guard;
mod http;
mod kill;
mod load;
mod platter;
mod power;
mod server;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use guard::Scratch;
use load::now_ns;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Begins the names of directories of ours.
const TORTURE: &str = "herd-torture";

/// Tortures real servers.
#[derive(Debug, Parser)]
#[command(name = TORTURE, bin_name = "cargo xtask torture", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What servers write down: kills, power cuts, damaged files, full disks
    ///
    /// Prints how it goes, then one line a row. The exit code is 1 at the first wrong thing, which is told
    /// together with the command that repeats it. A row for which this machine lacks something is skipped,
    /// and that is told.
    Storage(Args),
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Rows:
  kill   five servers under load, killed all at once; what any had acknowledged must be there
  power  the files lie on a disk of ours (FUSE, as root) that forgets what was not made safe, or part of it
  flips  bits, blocks and ends of a data directory are changed: that is told, or makes no difference
  full   a small disk (tmpfs, as root) fills and is emptied again

Examples:
  cargo xtask torture storage
  cargo xtask torture storage kill power --fsync always --kills 20 --cuts 50
  cargo xtask torture storage flips --seed 7 --from 4711 --flips 1")]
struct Args {
    /// Which rows; without any, all
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
    /// Chooses everything
    #[arg(long)]
    seed: Option<u64>,
    /// With these settings of fsync alone (kill, power)
    #[arg(long, value_delimiter = ',')]
    fsync: Vec<Fsync>,
    /// Times that all five are killed, for each setting of fsync
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Power cuts, for each setting of fsync
    #[arg(long, default_value_t = 200)]
    cuts: usize,
    /// Damaged directories
    #[arg(long, default_value_t = 10_000)]
    flips: usize,
    /// The number of the first of them
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// Full disks, for each setting of on_disk_error
    #[arg(long, default_value_t = 10)]
    fills: usize,
    /// Damaged directories that are tried at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A few of everything: half a minute
    #[arg(long)]
    short: bool,
    /// Leave the files of a row that fails
    #[arg(long)]
    keep: bool,
    /// The server's binary; without it the `geoherd` beside this one
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
}

/// What is done to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Row {
    /// See the rows below
    Kill,
    /// The same
    Power,
    /// The same
    Flips,
    /// The same
    Full,
}

/// When the server makes safe what it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fsync {
    /// Before it answers
    Always,
    /// Within this time
    #[value(name = "50ms")]
    Soon,
    /// When the system likes to
    Os,
}

impl Fsync {
    const ALL: [Self; 3] = [Self::Always, Self::Soon, Self::Os];

    /// As the config and the command line name it.
    fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Soon => "50ms",
            Self::Os => "os",
        }
    }
}

/// What a row is run with.
#[derive(Debug)]
struct Run {
    program: PathBuf,
    seed: u64,
    args: Args,
}

/// How a row ended that did not fail.
#[derive(Debug)]
enum Ended {
    Well(String),
    Skipped(String),
}

impl Run {
    fn count(&self, full: usize, short: usize) -> usize {
        if self.args.short { full.min(short) } else { full }
    }

    fn settings(&self) -> Vec<Fsync> {
        let chosen = &self.args.fsync;
        Fsync::ALL.into_iter().filter(|one| chosen.is_empty() || chosen.contains(one)).collect()
    }

    /// Runs something in a directory of its own.
    fn in_scratch<T>(&self, run: impl FnOnce(&Scratch) -> Result<T>) -> Result<T> {
        let mut scratch = Scratch::new()?;
        let outcome = run(&scratch);
        if outcome.is_err() && self.args.keep {
            scratch.keep();
            println!("files are left in {}", scratch.path().display());
        }
        outcome
    }
}

/// Tells now and then how far a row has come.
#[derive(Debug)]
struct Progress {
    what: String,
    all: usize,
    told: Instant,
}

/// Between two lines.
const TOLD_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    fn new(what: impl Into<String>, all: usize) -> Self {
        Self { what: what.into(), all, told: Instant::now() }
    }

    fn tell(&mut self, done: usize, more: impl FnOnce() -> String) {
        if self.told.elapsed() >= TOLD_EVERY {
            self.told = Instant::now();
            println!("{}: {done} of {}; {}", self.what, self.all, more());
        }
    }
}

fn main() -> ExitCode {
    let What::Storage(args) = Cli::parse().what;
    match guard::guard().and_then(|()| storage(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !guard::is_interrupted() {
                println!("FAILED: {error:#}");
            }
            guard::end_all();
            ExitCode::FAILURE
        }
    }
}

type Torture = fn(&Run) -> Result<Vec<Ended>>;

fn storage(args: Args) -> Result<()> {
    const ROWS: [(Row, &str, Torture); 4] = [
        (Row::Kill, "kill", kill::run),
        (Row::Power, "power", power::run),
        (Row::Flips, "flips", flips::run),
        (Row::Full, "full", full::run),
    ];
    let beside = std::env::current_exe()?.with_file_name("geoherd");
    let program = args.server.clone().unwrap_or(beside);
    ensure!(
        program.exists(),
        "no server at {}; `cargo xtask torture` builds it",
        program.display()
    );
    let seed = args.seed.unwrap_or_else(|| now_ns() / 1_000_000 % 1_000_000);
    println!("to repeat the choices: --seed {seed}");
    let run = Run { program: program.canonicalize()?, seed, args };
    let mut lines = Vec::new();
    for (row, name, torture) in ROWS {
        if !run.args.rows.is_empty() && !run.args.rows.contains(&row) {
            continue;
        }
        let begun = Instant::now();
        let again = format!("{name} --seed {seed}{}", if run.args.short { " --short" } else { "" });
        let ended = torture(&run)
            .with_context(|| format!("again: cargo xtask torture storage {again}\n "))?;
        for ended in ended {
            lines.push(match ended {
                Ended::Well(line) => format!("{name:<6}{line}"),
                Ended::Skipped(why) => format!("{name:<6}skipped: {why}"),
            });
        }
        lines.push(format!("{name:<6}took {:.0} s", begun.elapsed().as_secs_f64()));
    }
    println!("\nseed {seed}\n{}", lines.join("\n"));
    Ok(())
}

/// The middle one of some.
fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds, to be read.
fn ms(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
