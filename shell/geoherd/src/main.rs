//! The one binary: a server of the herd, and the tools to look after one.
//!
//! Exit codes: 0 all is well; 1 the answer is no; 2 the call, the config or the environment is wrong.

mod admin;
mod audit;
mod check;
mod client;
mod completions;
mod config_cmd;
mod config_file;
mod demo;
mod dump;
mod explain;
mod forget;
mod leave;
mod load;
mod man;
mod near;
mod output;
mod progress;
mod repl;
mod send;
mod serve;
mod status;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A server herd that knows where everyone is.
///
/// Clients report where they are to any server, and any server answers where a client is and what is
/// near it.
#[derive(Debug, Parser)]
#[command(name = "geoherd", version = VERSION, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HERD_COMMIT"), ")");

const EXAMPLES: &str = "\
Examples:
  geoherd demo                                      See a herd at work
  geoherd config example > herd.toml                Begin a config
  geoherd check --config herd.toml                  Look for mistakes in it
  geoherd serve Hill --config herd.toml             Run one of its servers
  geoherd send IAMAT kiwi +34.068930-118.445127 now Say where you are
  geoherd send WHATSAT kiwi 10 5                    Ask what is near kiwi
  geoherd status --watch                            See how the herd is
  geoherd dump --output herd.jsonl                  Write down where everybody is
  geoherd verify --data-dir /var/lib/geoherd/Hill   Check what a server has written down";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Demo(demo::Arguments),
    Check(check::Arguments),
    Config(config_cmd::Arguments),
    Send(send::Arguments),
    Repl(repl::Arguments),
    Status(status::Arguments),
    Forget(forget::Arguments),
    Near(near::Arguments),
    Audit(audit::Arguments),
    Completions(completions::Arguments),
    Leave(leave::Arguments),
    Dump(dump::Arguments),
    Load(load::Arguments),
    Verify(verify::Arguments),
    Man(man::Arguments),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve::run(arguments, VERSION),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Config(arguments) => config_cmd::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Repl(arguments) => repl::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Forget(arguments) => forget::run(&arguments),
        Command::Near(arguments) => near::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Leave(arguments) => leave::run(arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        output::print_error(&error);
        ExitCode::from(output::USAGE)
    })
}
