//! `cargo xtask soak`: builds the server and the program that breaks it, and runs that.
//!
//! The program itself is `herd-soak`; it finds the server beside itself. It needs network namespaces.

use crate::shell::{self, beside_server};
use anyhow::Result;

/// Handed on as they are.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// `[--minutes N] [--seed S] [--rate N] [--clients N] [--rest-every MINUTES] [--help]`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) rest: Vec<String>,
}

const SOAK: [&str; 4] = ["--package", "herd-net", "--bin", "herd-soak"];

/// Soaks.
///
/// # Errors
///
/// When servers did not agree, or something else was not as it must be; or no namespaces may be made.
pub(crate) fn run(args: &Args) -> Result<()> {
    shell::run(beside_server(&SOAK)?.args(&args.rest))
}

/// Why no network namespaces may be made here, if so.
pub(crate) fn why_not() -> Option<String> {
    let mut probe = shell::cargo();
    probe.args(["run", "--quiet", "--locked"]).args(SOAK).args(["--", "--probe"]);
    let output = probe.output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Some(if said.is_empty() { "the probe does not run".to_owned() } else { said })
        }
        Err(error) => Some(error.to_string()),
    }
}
