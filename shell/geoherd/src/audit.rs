//! `geoherd audit`: one server compares what it knows with its neighbors now.

use crate::admin::Admin;
use crate::output;
use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Have a server compare what it knows with its neighbors
///
/// Servers do it every minute; this asks for it now and tells what it showed. A record that was confirmed and is
/// missing all the same is fetched, and is an alarm: a program or a disk has a fault.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd audit
  geoherd audit --server 127.0.0.1:12103
  geoherd audit --config herd.toml --server Smith --json

Exit codes:
  0  it and its neighbors know the same
  1  something was missing, a comparison did not end, or a neighbor could not be compared with
  2  no server could be asked, or it refuses")]
pub(crate) struct Arguments {
    #[command(flatten)]
    admin: Admin,
    /// Print what the server answers, a JSON document
    #[arg(long)]
    json: bool,
}

/// A server answers within twelve seconds, whatever it finds.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize)]
struct Outcome {
    server: String,
    same: bool,
    neighbors: Vec<Compared>,
    under_way: u64,
    repaired: u64,
    repaired_ever: u64,
}

#[derive(Debug, Deserialize)]
struct Compared {
    server: String,
    outcome: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { admin, json } = arguments;
    let answer = admin.targets()?.patient(PATIENCE).post("/audit", "")?;
    let outcome: Outcome = serde_json::from_str(&answer.body)
        .with_context(|| format!("what {} answers is not understood", answer.from))?;
    let text = if *json { format!("{}\n", answer.body.trim()) } else { told(&outcome) };
    output::print(text.as_bytes())?;
    Ok(if outcome.same { ExitCode::SUCCESS } else { output::NO.into() })
}

fn told(outcome: &Outcome) -> String {
    let Outcome { server, neighbors, under_way, repaired, repaired_ever, .. } = outcome;
    let width = neighbors.iter().map(|one| one.server.chars().count()).max().unwrap_or_default();
    let mut text = format!("{server} compared what it knows with its neighbors\n");
    for Compared { server, outcome } in neighbors {
        let meaning = match outcome.as_str() {
            "moving" => "the same, but for what was on its way",
            "silent" => "did not answer in time",
            "unlinked" => "is not linked",
            "plain" => "speaks plain AT lines and cannot be compared with",
            other => other,
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  {server:width$}  {meaning}");
    }
    if *repaired > 0 {
        let _infallible = writeln!(
            text,
            "! {repaired} records were missing and have been fetched: a program or a disk has a fault"
        );
    } else {
        let _infallible = match repaired_ever {
            0 => writeln!(text, "nothing was repaired, now or since {server} started"),
            _ => writeln!(
                text,
                "nothing was repaired now; {repaired_ever} records since {server} started"
            ),
        };
    }
    if *under_way > 0 {
        let _infallible = writeln!(text, "! {under_way} comparisons had not ended; ask again");
    }
    text
}
