//! `geoherd man`: the manual page of the program or of one of its subcommands.

use crate::{Cli, output};
use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_mangen::Man;
use std::process::ExitCode;

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd man | man -l -
  geoherd man serve > geoherd-serve.1")]
pub(crate) struct Arguments {
    /// Of which subcommand, instead of the whole program
    subcommand: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut program = Cli::command();
    program.build();
    let command = match &arguments.subcommand {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name);
            let found = found.with_context(|| {
                format!("there is no subcommand {name:?}; see `geoherd --help`")
            })?;
            let page_name = format!("geoherd-{}", found.get_name());
            found.clone().display_name(page_name)
        }
    };
    let mut text = Vec::new();
    Man::new(command).render(&mut text).context("cannot write the manual page")?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
