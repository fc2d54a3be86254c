//! `cargo xtask sim`: builds the simulator of the servers' agreement and runs it; with `--nodes` the one of
//! whole servers.
//!
//! The programs themselves are `herd-sim` and `herd-sim-nodes`. CI runs fixed seeds; a failing one is
//! repeated with the command that it prints.

use crate::shell;
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `[--nodes] [--seeds N] [--from S] [--jobs J] [--mutants] [--broadcast] [--idle] [--trace] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// How many seeds CI runs: less than a minute on two cores.
const CI_SEEDS: &str = "30000";

/// Within so many seeds every mutant is found that CI makes.
const CI_MUTANT_SEEDS: &str = "2000";

/// The same of whole servers: a minute on one core.
const CI_NODES_SEEDS: &str = "8000";

/// Faults made on purpose in whole servers: each is found within this.
const CI_NODES_MUTANTS: &str = "2000";

/// Runs histories.
///
/// # Errors
///
/// When one of them shows a fault, or a fault made on purpose is not found.
pub(crate) fn run(args: &Args) -> Result<()> {
    simulate(&args.rest)
}

/// The fixed seeds, the mutants, and the figures of broadcasts and of idle herds.
///
/// # Errors
///
/// When a history shows a fault, a mutant is not found, or a figure is above its bar.
pub(crate) fn fixed_seeds() -> Result<()> {
    let runs: [&[&str]; 6] = [
        &["--seeds", CI_SEEDS],
        &["--mutants", "--seeds", CI_MUTANT_SEEDS],
        &["--broadcast"],
        &["--idle"],
        &[NODES, "--seeds", CI_NODES_SEEDS],
        &[NODES, "--mutants", "--seeds", CI_NODES_MUTANTS],
    ];
    runs.iter()
        .try_for_each(|run| simulate(&run.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()))
}

/// Chooses the simulator of whole servers.
const NODES: &str = "--nodes";

fn simulate(args: &[String]) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--release", "--locked", "--package", "herd-sim"]);
    let nodes = args.iter().any(|arg| arg == NODES);
    cargo.args(["--bin", if nodes { "herd-sim-nodes" } else { "herd-sim" }, "--"]);
    shell::run(cargo.args(args.iter().filter(|&arg| arg != NODES)))
}
