//! Running other programs from the root of the repository.
//!
//! None of them gets a standard input: a chore that waits for a person would hang in CI.

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The cargo that runs us, so that a `+toolchain` holds for everything below.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Builds the server, and gives the command that builds and runs another of our programs, which finds the
/// server beside itself; arguments are to be added.
///
/// # Errors
///
/// When the server cannot be built.
pub(crate) fn beside_server(program: &[&str]) -> Result<Command> {
    const BUILD: [&str; 3] = ["--quiet", "--release", "--locked"];
    run(cargo().arg("build").args(BUILD).args(["--package", "geoherd"]))?;
    let mut cargo = cargo();
    cargo.arg("run").args(BUILD).args(program).arg("--");
    Ok(cargo)
}

/// `program`, at the root and without standard input.
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Shows and runs `command`; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = show(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs `command` and returns what it printed; its errors go to ours.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print UTF-8"))
}

/// Whether `line` (a program and its arguments) runs and succeeds; prints nothing.
pub(crate) fn succeeds(line: &[&str]) -> bool {
    let Some((program, args)) = line.split_first() else { return false };
    let mut probe = if *program == "cargo" { cargo() } else { command(*program) };
    let probe = probe.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or(command.get_program());
    let mut line = program.to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
