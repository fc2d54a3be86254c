//! `cargo xtask bench`: builds the server and the program that measures it, and runs that.
//!
//! The program itself is `herd-bench`; it finds the server beside itself.

use crate::shell::{self, beside_server};
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `[all|line|flood|visible|memory|nearby|connections|scale|places|threads|replication|agree|durable|holds|index]
    /// [--rounds N] [--seconds N] [--quick] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// Measures.
///
/// # Errors
///
/// When something was answered wrongly; never on a time.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut program = beside_server(&["--package", "herd-bench"])?;
    shell::run(program.args(&args.rest))
}
