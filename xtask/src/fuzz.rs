//! `cargo xtask fuzz`: builds the fuzz targets as they must be built, and runs them.
//!
//! The program itself is `herd-fuzz`; it stands apart so that the other chores still compile when
//! the core does not.

use crate::shell;
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `[TARGET] [--seconds N] [--seed N] [--repeat FILE] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// Runs the targets.
///
/// # Errors
///
/// When an input made one crash or hang.
pub(crate) fn run(args: &Args) -> Result<()> {
    // Fast, but as in development otherwise: overflow checks and assertions on, panics unwind.
    let mut cargo = shell::cargo();
    cargo.args(["run", "--quiet", "--locked", "--package", "herd-fuzz"]);
    shell::run(cargo.args(["--config", "profile.dev.opt-level=2", "--"]).args(&args.rest))
}
