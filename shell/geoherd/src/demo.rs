//! `geoherd demo`: five real servers and people who move through Malta. Not built yet.

use clap::Args;
use std::process::ExitCode;

/// Watch five servers keep up with people who move through Malta
///
/// Starts real servers on free ports of this machine, moves simulated people along real streets, and
/// shows who is where. Everything it starts ends with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd demo
  geoherd demo --once
  geoherd demo --clients 200 --servers 3")]
pub(crate) struct Arguments {
    /// No table: one scripted conversation, printed line by line; ends with 0 if all went as it must
    #[arg(long)]
    once: bool,
    /// How many people move about
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// How many of the five servers run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=5))]
    servers: u32,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { once, clients, servers } = arguments;
    anyhow::bail!("the demo (once {once}, {clients} clients, {servers} servers) is not built yet")
}
