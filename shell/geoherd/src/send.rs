//! `geoherd send`: one command to a server, or all that standard input has.

use crate::client::{Refusals, Server, with_time};
use crate::output;
use anyhow::bail;
use clap::Args;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

/// Send a command to a server and print its answer
///
/// Without a command, every line of standard input is one. In an IAMAT the time may be `now`. Ends
/// with 1 if the server answers `?`, and says what is wrong with the command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd send IAMAT kiwi +34.068930-118.445127 now
  geoherd send --server 127.0.0.1:12003 WHATSAT kiwi 10 5
  geoherd send < commands.txt")]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,
    /// The command; its words are joined by blanks
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { server, command } = arguments;
    let refusals = if command.is_empty() {
        if io::stdin().is_terminal() {
            bail!("there is no command to send; write one (see --help), or use `geoherd repl`");
        }
        server.converse(io::stdin(), &mut io::stdout())?
    } else {
        let line = with_time(&command.join(" "));
        if line.contains('\n') {
            bail!("a command is one line; send several through standard input");
        }
        let reply = server.ask(&line)?;
        output::print(&reply)?;
        let mut refusals = Refusals::default();
        refusals.feed(&reply);
        refusals
    };
    Ok(if refusals.tell() { ExitCode::SUCCESS } else { output::NO.into() })
}
