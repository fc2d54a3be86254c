//! `cargo xtask sim`: builds the simulator of the servers' agreement and runs it.
//!
//! The program itself is `herd-sim`. CI runs fixed seeds; a failing one is repeated with the command
//! that it prints.

use crate::shell;
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `[--seeds N] [--from S] [--mutants] [--trace] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// How many seeds CI runs: about a minute on one core.
const CI_SEEDS: &str = "20000";

/// Runs histories.
///
/// # Errors
///
/// When one of them shows a fault, or a fault made on purpose is not found.
pub(crate) fn run(args: &Args) -> Result<()> {
    simulate(&args.rest)
}

/// The fixed seeds.
///
/// # Errors
///
/// When one of them shows a fault.
pub(crate) fn fixed_seeds() -> Result<()> {
    simulate(&["--seeds".to_owned(), CI_SEEDS.to_owned()])
}

fn simulate(args: &[String]) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--release", "--locked", "--package", "herd-sim", "--"]);
    shell::run(cargo.args(args))
}
