//! The programs that make and break networks: `ip`, `tc` and `nft`.
//!
//! Run as programs, since what they do takes milliseconds and happens a few times a second at most.

use anyhow::{Context as _, Result, bail};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs a program with arguments parted by blanks, and returns what it printed.
///
/// # Errors
///
/// When it cannot be started, or fails: with what it said.
pub(crate) fn run(line: &str) -> Result<String> {
    run_with(line, "")
}

/// The same, with something to read.
pub(crate) fn run_with(line: &str, input: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("a command has a name")?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{program}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails before it has read all says why itself.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
