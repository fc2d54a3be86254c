//! `geoherd config`: an example to begin with, and the reference of all keys.

use crate::output;
use clap::{Args, Subcommand};
use herd_server::config;
use std::process::ExitCode;

/// Print an example config, or what every key means
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd config example > herd.toml
  geoherd config reference | less")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a commented config of five servers on this machine
    Example,
    /// Print every key with its type, default, meaning and environment variable, as Markdown
    Reference,
    /// Print the JSON schema of the config, for editors
    Schema,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let text = match arguments.what {
        What::Example => config::EXAMPLE.to_owned(),
        What::Reference => config::reference(),
        What::Schema => format!("{:#}\n", config::schema()),
    };
    output::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
