//! `geoherd leave`: a server leaves the herd for good.

use crate::admin::Admin;
use crate::output;
use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;
use std::process::ExitCode;
use std::time::Duration;

/// Have a server leave the herd for good
///
/// It stops taking clients, waits until its neighbors hold all that it knows, and stops; no
/// server waits for it any more. To stop one that is to come back, send it SIGTERM instead. Take it out
/// of the config afterwards, and tell its neighbors with SIGHUP, or they go on dialing it.
///
/// If what it knows cannot be held elsewhere, because it is alone or a neighbor is behind, it says so and
/// goes on as before.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd leave Smith --config herd.toml
  geoherd leave Smith --server 127.0.0.1:12102

Exit codes:
  0  it has left
  1  it has left, but a link was lost in the last moment, and something may be lost with it
  2  it stays, and says why; or it could not be asked")]
pub(crate) struct Arguments {
    /// The server's name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    admin: Admin,
}

/// A server decides within ten seconds and then answers what it was asked, five more by default.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Deserialize)]
struct Outcome {
    left: bool,
    doubt: Option<String>,
}

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, admin } = arguments;
    let targets = admin.of_server(&name).targets()?.patient(PATIENCE);
    let answer = targets.post("/leave", &name)?;
    let outcome: Outcome = serde_json::from_str(&answer.body)
        .with_context(|| format!("what {} answers is not understood", answer.from))?;
    match outcome {
        Outcome { left: true, doubt: Some(doubt), .. } => {
            output::print(format!("{name} has left the herd, but {doubt}\n").as_bytes())?;
            Ok(output::NO.into())
        }
        Outcome { left: true, .. } => {
            output::print(format!("{name} has left the herd\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome { left: false, .. } => {
            bail!("what {} answers is not understood: {}", answer.from, answer.body.trim())
        }
    }
}
