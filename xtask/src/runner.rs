//! Running tests: cargo-nextest where it is installed, else cargo test.
//!
//! A run of no tests at all is a failure, and no closing line of a runner ever says "0 tests": who
//! reads the output, person or machine, must be able to trust the last such line. So nextest is
//! told, and of cargo test the blocks of crates without tests are left out.

use crate::test::Outcome;
use crate::{shell, soak};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

/// The tests inside our crates.
///
/// # Errors
///
/// When one fails, or there is none.
pub(crate) fn unit_tests() -> Result<()> {
    tests(&["--lib", "--bins"])
}

/// Every test but those of the documentation.
///
/// # Errors
///
/// When one fails, or there is none.
pub(crate) fn all_tests() -> Result<()> {
    // Tests of other packages start the binary, and cargo builds it only for tests of its own.
    shell::run(shell::cargo().args(["build", "--workspace", "--bins", "--locked"]))?;
    let mut which = vec!["--lib", "--bins", "--tests"];
    let why_not = soak::why_not();
    if why_not.is_some() {
        which.extend(["--exclude", "herd-net"]);
    }
    tests(&which)?;
    if let Some(why) = why_not {
        println!("skipped: all tests of herd-net, servers in network namespaces: {why}");
    }
    Ok(())
}

/// The examples in the documentation, which nextest does not run.
///
/// # Errors
///
/// When one fails.
pub(crate) fn doctests() -> Result<Outcome> {
    let count = cargo_test(&["--doc"])?;
    if count == 0 {
        return Ok(Outcome::Skipped("no crate has any".to_owned()));
    }
    println!("{count} documentation tests passed");
    Ok(Outcome::Passed)
}

fn tests(which: &[&str]) -> Result<()> {
    if shell::succeeds(&["cargo", "nextest", "--version"]) {
        return shell::run(
            shell::cargo()
                .args(["nextest", "run", "--workspace", "--locked"])
                .args(["--no-tests=fail", "--no-fail-fast"])
                .args(which),
        );
    }
    let count = cargo_test(which)?;
    if count == 0 {
        bail!("not a single test ran");
    }
    println!("{count} tests passed");
    Ok(())
}

/// Runs `cargo test` and returns how many tests passed.
fn cargo_test(which: &[&str]) -> Result<u64> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(which);
    stream(&mut cargo)
}

fn stream(command: &mut Command) -> Result<u64> {
    let line = shell::show(command);
    println!("$ {line}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let pipe = child.stdout.take().context("the pipe was asked for above")?;
    let mut filter = Filter::default();
    let mut out = std::io::stdout().lock();
    for text in BufReader::new(pipe).split(b'\n') {
        // What a failing test prints need not be UTF-8.
        if let Some(text) = filter.pass(&String::from_utf8_lossy(&text?)) {
            writeln!(out, "{text}")?;
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(filter.passed)
}

/// Leaves out the blocks of crates without tests, and counts.
#[derive(Default)]
struct Filter {
    passed: u64,
}

impl Filter {
    fn pass(&mut self, line: &str) -> Option<String> {
        if let Some(rest) = line.strip_prefix("test result: ok. ") {
            let count = rest.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            self.passed += count;
            return (count > 0).then(|| line.to_owned());
        }
        (line != "running 0 tests" && !line.is_empty()).then(|| line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_closing_line_says_zero() {
        let printed = [
            "",
            "running 2 tests",
            "test a ... ok",
            "test b ... ok",
            "",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "",
            "running 0 tests",
            "",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "",
        ];
        let mut filter = Filter::default();
        let kept: Vec<String> = printed.iter().filter_map(|line| filter.pass(line)).collect();
        assert_eq!(filter.passed, 2);
        assert_eq!(kept.len(), 4);
        assert!(kept.last().is_some_and(|line| line.starts_with("test result: ok. 2 passed")));
    }
}
