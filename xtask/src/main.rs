//! `cargo xtask`: every chore that is more than one cargo command.
//!
//! One file a chore; this one only names them. What CI runs and what a person runs is the same
//! `cargo xtask test`, and each of its parts can be run alone under its own name.

mod bench;
mod counts;
mod fuzz;
mod need;
mod runner;
mod shell;
mod sim;
mod soak;
mod test;
mod tidy;
mod torture;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.chore {
        Chore::Test(args) => test::run(&args, cli.install),
        Chore::Fuzz(args) => fuzz::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Counts(args) => counts::run(&args),
        Chore::Sim(args) => sim::run(&args),
        Chore::Soak(args) => soak::run(&args),
        Chore::Torture(args) => torture::run(&args),
        Chore::Part(part) => test::run_one(part, cli.install),
    }
}

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    /// Install what is missing (Debian packages, rustup components); CI=true means the same
    #[arg(long, global = true)]
    install: bool,
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run everything that CI runs, timed, stopping at the first part that fails
    Test(test::Args),
    /// Run fuzz targets in this process for a while; `cargo xtask fuzz --help` tells the rest
    Fuzz(fuzz::Args),
    /// Measure real servers on this machine; `cargo xtask bench --help` tells the rest
    Bench(bench::Args),
    /// Count the instructions of the core's hot functions, and compare with those kept in the repository
    Counts(counts::Args),
    /// Try to break the agreement between servers; `cargo xtask sim --help` tells the rest
    Sim(sim::Args),
    /// Break real servers in network namespaces for a while; `cargo xtask soak --help` tells the rest
    Soak(soak::Args),
    /// Kill, cut off, damage and fill what real servers write down; `cargo xtask torture --help` tells the rest
    Torture(torture::Args),
    #[command(flatten)]
    Part(test::Part),
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
    fn flags_of_a_fuzz_run_reach_it_whole() {
        let cli = Cli::parse_from(["cargo xtask", "fuzz", "line", "--seconds", "3"]);
        let Chore::Fuzz(args) = cli.chore else { panic!("not a fuzz run") };
        assert_eq!(args.rest, ["line", "--seconds", "3"]);
    }
}
