//! `geoherd status`: how the herd is, asked of any of its servers.

mod document;
mod table;

use crate::admin::Admin;
use crate::output;
use anyhow::Context as _;
use clap::Args;
use document::Herd;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// See how all servers of the herd are
///
/// One server is asked, over its `http` address, and tells of all: states, links, lag, clients, memory
/// and alarms. What a server cannot say now is what it said last, with the age of that.
///
/// A server's lag is what its neighbors hold and it does not: how many updates, and how long the
/// oldest of them has been missing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd status
  geoherd status --server 127.0.0.1:12103 --watch
  geoherd status --config herd.toml --json | jq .problems

Exit codes:
  0  all is well
  1  something is not, which is told: a server or a link is down, or an alarm is less than ten
     minutes old
  2  nobody could be asked")]
pub(crate) struct Arguments {
    #[command(flatten)]
    admin: Admin,
    /// Print what the server answers: a JSON document, with --watch one a line
    #[arg(long)]
    json: bool,
    /// Ask again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Servers tell one another what has changed once a second.
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { admin, json, watch } = arguments;
    let targets = admin.targets()?;
    let ask = || -> anyhow::Result<(String, bool)> {
        let answer = targets.get("/herd")?;
        let herd: Herd = serde_json::from_str(&answer.body)
            .with_context(|| format!("what {} answers is not understood", answer.from))?;
        let text = if *json {
            format!("{}\n", answer.body.trim())
        } else {
            table::draw(&herd, &answer.from)
        };
        Ok((text, herd.well))
    };
    // What cannot be asked at first is a mistake in the call; later it is something to watch.
    let (mut text, well) = ask()?;
    if !watch {
        output::print(text.as_bytes())?;
        return Ok(if well { ExitCode::SUCCESS } else { output::NO.into() });
    }
    let screen = io::stdout().is_terminal() && !json;
    let mut due = Instant::now();
    loop {
        let shown = if screen {
            on_screen(&text)
        } else if *json {
            text
        } else {
            text + "\n"
        };
        if !output::print_more(shown.as_bytes())? {
            return Ok(ExitCode::SUCCESS);
        }
        due = (due + WATCH_EVERY).max(Instant::now());
        // It may wake early.
        while Instant::now() < due {
            park_timeout(due.saturating_duration_since(Instant::now()));
        }
        text = match ask() {
            Ok((text, _)) => text,
            Err(error) if *json => {
                format!("{}\n", serde_json::json!({ "well": false, "error": format!("{error:#}") }))
            }
            Err(error) => format!("{error:#}\nTrying again every second\n"),
        };
    }
}

/// Over what stands on the screen: from its upper left corner, each line cleared to its end, and all
/// below the last.
fn on_screen(text: &str) -> String {
    let lines = text.lines().flat_map(|line| [line, "\x1b[K\r\n"]);
    std::iter::once("\x1b[H").chain(lines).chain(["\x1b[J"]).collect()
}
