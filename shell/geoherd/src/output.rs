//! What all subcommands print alike: answers to standard output, complaints to standard error.

use anyhow::Context as _;
use herd_server::config::ConfigErrors;
use std::io::{self, ErrorKind, Write as _};

/// The exit code for a call, config or environment that is wrong.
pub(crate) const USAGE: u8 = 2;

/// The exit code for an answer that is no.
pub(crate) const NO: u8 = 1;

/// Writes to standard output. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    print_more(bytes).map(|_| ())
}

/// The same, for what has no end of its own: false if nobody reads any more.
pub(crate) fn print_more(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// Writes one complaint a line, with all that led to it.
pub(crate) fn print_error(error: &anyhow::Error) {
    match error.downcast_ref::<ConfigErrors>() {
        Some(errors) => errors.problems.iter().for_each(|problem| eprintln!("error: {problem}")),
        None => eprintln!("error: {error:#}"),
    }
}
