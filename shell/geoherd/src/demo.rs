//! `geoherd demo`: real servers on this machine, people who move through Malta, and somebody watching.
//!
//! Everything is done from outside, with the commands that anybody can type and the health addresses
//! that any operator has: the demo knows no more of a server than they do.
//!
//! What was started ends with the demo: when it is done, on a signal, on an error, and on a panic, for
//! which a drop is not enough where panics abort. Only a SIGKILL of the demo itself leaves servers.

mod board;
mod chance;
mod children;
mod herd;
mod http;
mod line;
mod live;
mod news;
mod people;
mod plain;
mod plan;
mod probe;
mod screen;
mod script;
mod table;
mod walker;
mod wires;

use crate::output;
use anyhow::Context as _;
use clap::Args;
use herd::Herd;
use script::WrongReply;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Weak};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Watch servers keep up with people who move through Malta
///
/// Starts real servers on free ports of this machine, moves simulated people along real streets, and
/// shows who is where, which server heard it, and how soon all others knew. Servers can be killed and
/// started again meanwhile, and the links between them cut and mended: the parts of a split herd go on,
/// each by itself, and agree again when they are joined. Where the output is no terminal, it is a few lines every three seconds.
///
/// Everything it starts ends with it, also on Ctrl-C. Only if the demo itself is ended with `kill -9` do
/// its servers stay: they are those with `geoherd-demo-` in their command line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  geoherd demo
  geoherd demo --clients 100 --servers 9
  geoherd demo --once

Keys:
  left, right  choose a server        up, down  choose a person
  k            kill the server (-9)   r         start it again
  l, L         choose a link          c         cut it, or mend it
  q, Ctrl-C    quit

Exit codes:
  0  all went as it must
  1  --once: a reply was wrong, which is told
  2  the demo could not be held")]
pub(crate) struct Arguments {
    /// No table: one scripted conversation with every reply checked, `>` sent and `<` received
    #[arg(long)]
    once: bool,
    /// How many people move about, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 24, conflicts_with = "once",
        value_parser = clap::value_parser!(u16).range(1..=500))]
    clients: u16,
    /// How many servers run, 1 to 26; with --once, at least 2
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u8).range(1..=i64::from(plan::SERVERS_MAX)))]
    servers: u8,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !arguments.once || arguments.servers > 1,
        "one server has no other to tell; use --servers 2 or more with --once"
    );
    // One thread: the machine is for the servers.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("cannot start the runtime")?.block_on(hold(arguments));
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<WrongReply>() => {
            output::print_error(&error);
            Ok(output::NO.into())
        }
        Err(error) => Err(error),
    }
}

async fn hold(arguments: &Arguments) -> anyhow::Result<()> {
    // Before anything is started that a signal would have to end.
    let mut signals = Signals::new()?;
    if io::stdout().is_terminal() && !arguments.once {
        eprintln!("Starting {} servers and loading the map of Malta", arguments.servers);
    }
    let demo = async {
        let herd = Herd::start(arguments.servers.into(), clean_up_on_panic).await?;
        let herd = Arc::new(herd);
        if arguments.once {
            script::converse(&herd).await
        } else {
            let seed = RandomState::new().hash_one(());
            live::watch(herd, arguments.clients.into(), seed).await
        }
    };
    // Dropping the demo ends its servers.
    tokio::select! {
        outcome = demo => outcome,
        () = signals.next() => {
            anyhow::ensure!(!arguments.once, "stopped by a signal in the middle of the conversation");
            Ok(())
        }
    }
}

/// Any signal by which people and systems end a program.
struct Signals([Signal; 4]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let one = |kind| signal(kind).context("cannot wait for signals");
        Ok(Self([
            one(SignalKind::interrupt())?,
            one(SignalKind::terminate())?,
            one(SignalKind::hangup())?,
            one(SignalKind::quit())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// From now on a panic gives the terminal back, is told, and takes the servers and their directory with
/// it, whether panics unwind or abort in this build. It ends the demo also where only a task of it
/// panicked.
fn clean_up_on_panic(children: &Arc<children::Children>, dir: &Path) {
    let tell = std::panic::take_hook();
    let (children, dir): (Weak<_>, PathBuf) = (Arc::downgrade(children), dir.to_owned());
    std::panic::set_hook(Box::new(move |panic| {
        screen::give_back();
        tell(panic);
        if let Some(children) = children.upgrade() {
            children.end_all();
            let _left_over = std::fs::remove_dir_all(&dir);
        }
        // The code by which a panic is known.
        std::process::exit(101);
    }));
}
