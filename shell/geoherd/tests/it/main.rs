//! The built program, driven from outside: what it prints, where, and with which exit code.
//!
//! Servers of the herd are not started here; where a server must answer, a stand-in of the test does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod config;
mod demo;
mod dump;

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What the program did.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn geoherd<S: AsRef<OsStr>>(arguments: &[S]) -> Outcome {
    geoherd_with(arguments, &[], "")
}

fn geoherd_with<S: AsRef<OsStr>>(
    arguments: &[S],
    environment: &[(&str, &str)],
    input: &str,
) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_geoherd"));
    // Whoever runs the tests may have a herd of their own.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GEOHERD_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Most subcommands end without reading it.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn the_version_names_the_commit() {
    let Outcome { code, stdout, .. } = geoherd(&["--version"]);
    assert_eq!(code, Some(0));
    let commit = stdout.trim().strip_prefix(concat!("geoherd ", env!("CARGO_PKG_VERSION"), " ("));
    assert!(commit.is_some_and(|commit| commit.len() > 1 && commit.ends_with(')')), "{stdout}");
}

#[test]
fn every_subcommand_has_examples_and_a_manual_page() {
    for name in [
        "serve",
        "demo",
        "check",
        "config",
        "send",
        "repl",
        "status",
        "forget",
        "near",
        "audit",
        "dump",
        "load",
        "verify",
        "completions",
        "man",
    ] {
        let help = geoherd(&[name, "--help"]);
        let example = format!("Examples:\n  geoherd {name}");
        assert!(help.code == Some(0) && help.stdout.contains(&example), "{help:?}");
        let page = geoherd(&["man", name]);
        let title = format!(".TH geoherd-{name} 1");
        assert!(page.code == Some(0) && page.stdout.contains(&title), "{page:?}");
    }
    assert!(geoherd(&["man"]).stdout.contains(".TH geoherd 1"));
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let Outcome { code, stdout, .. } = geoherd(&["completions", shell]);
        assert!(code == Some(0) && stdout.contains("completions"), "{shell}");
    }
}

#[test]
fn a_call_that_is_wrong_ends_with_2() {
    for call in [&["server"][..], &[], &["check"], &["man", "nope"], &["send", "--timeout", "5"]] {
        let outcome = geoherd(call);
        assert!(outcome.code == Some(2) && !outcome.stderr.is_empty(), "{call:?}: {outcome:?}");
    }
}
