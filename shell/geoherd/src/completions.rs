//! `geoherd completions`: what a shell needs to complete our command line.

use crate::{Cli, output};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print the completions of this command line for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd completions bash > ~/.local/share/bash-completion/completions/geoherd
  geoherd completions fish > ~/.config/fish/completions/geoherd.fish")]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "geoherd", &mut text);
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
