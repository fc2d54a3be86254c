//! `cargo xtask torture`: builds the server and the program that tortures it, and runs that.
//!
//! The program itself is `herd-torture`; it finds the server beside itself. Rows that need root or FUSE are
//! skipped where those are missing, which it tells.

use crate::shell::{self, beside_server};
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `storage [kill|power|flips|full] [--seed S] [--kills N] [--cuts N] [--flips N] [--fills N] [--short] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

/// Tortures.
///
/// # Errors
///
/// When a server did something wrong.
pub(crate) fn run(args: &Args) -> Result<()> {
    torture(&args.rest)
}

/// A few of everything, on a fixed seed.
///
/// # Errors
///
/// When a server did something wrong.
pub(crate) fn short() -> Result<()> {
    torture(&["storage", "--short", "--seed", "1"].map(str::to_owned))
}

fn torture(args: &[String]) -> Result<()> {
    let mut program = beside_server(&["--package", "herd-torture"])?;
    shell::run(program.args(args))
}
