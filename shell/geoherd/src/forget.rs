//! `geoherd forget`: one client is forgotten by the whole herd.

use crate::admin::Admin;
use crate::output;
use anyhow::{Context as _, bail};
use clap::Args;
use std::process::ExitCode;

/// Have all servers forget a client
///
/// Any server can be asked; all forget. Whoever asks for the client afterwards is answered as if
/// nobody had ever reported it. A later report makes it known again.
///
/// Servers take this only where `http` is a loopback address, or the config allows it
/// (`limits.operate_from`). Neighbors that speak plain AT lines cannot be told and go on knowing it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd forget kiwi.example
  geoherd forget kiwi.example --server 127.0.0.1:12103
  geoherd forget kiwi.example --config herd.toml

Exit codes:
  0  it was known, and is forgotten
  1  it is unknown already
  2  nobody could be asked, or the server refuses")]
pub(crate) struct Arguments {
    /// The client's name
    #[arg(value_name = "CLIENT")]
    client: String,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { client, admin } = arguments;
    if !herd_proto::is_name(client) {
        bail!(
            "{client:?} is no name of a client: 1 to 255 bytes without white space or control \
             characters"
        );
    }
    let answer = admin.targets()?.post("/forget", client)?;
    let said: serde_json::Value = serde_json::from_str(&answer.body)
        .with_context(|| format!("what {} answers is not understood", answer.from))?;
    let known = said.get("known").and_then(serde_json::Value::as_bool);
    match known {
        Some(true) => {
            output::print(format!("{client} is forgotten\n").as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(false) => {
            output::print(format!("{client} is unknown\n").as_bytes())?;
            Ok(output::NO.into())
        }
        None => bail!("what {} answers is not understood: {}", answer.from, answer.body.trim()),
    }
}
