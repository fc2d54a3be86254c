//! `cargo xtask test`: all parts of the check in their order, each timed.

use crate::{counts, need, runner, shell, sim, tidy, torture};
use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use std::time::{Duration, Instant};

/// What of the check to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The inner loop: format, tidy and unit tests only
    #[arg(long, conflicts_with = "only")]
    fast: bool,
    /// Run these parts alone, in the usual order
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Run the other parts when one fails
    #[arg(long)]
    keep_going: bool,
}

/// One part of the check; each is a subcommand too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Subcommand)]
pub(crate) enum Part {
    /// What a machine must have: missing things, and how to install them
    Need,
    /// cargo fmt --check
    Fmt,
    /// Clippy over all targets, warnings denied
    Clippy,
    /// The documentation, warnings denied
    Doc,
    /// What no other tool checks: arrows between rooms, manifests, links, left-overs
    Tidy,
    /// The tests inside our crates only (of `--fast`; `tests` runs them too)
    Unit,
    /// All tests: unit, property, integration, corpus replay
    Tests,
    /// The examples in the documentation
    Doctests,
    /// The simulator of the servers' agreement, fixed seeds
    Seeds,
    /// Real servers on real files, killed, cut off, damaged and filled: a few times each
    Tortures,
    /// Instructions of the core's hot functions against those kept, where valgrind is installed
    Instructions,
    /// Licenses, sources and doubles of our dependencies, where cargo-deny is installed
    Deny,
}

const ALL: &[Part] = &[
    Part::Need,
    Part::Fmt,
    Part::Clippy,
    Part::Doc,
    Part::Tidy,
    Part::Tests,
    Part::Doctests,
    Part::Seeds,
    Part::Tortures,
    Part::Instructions,
    Part::Deny,
];
const FAST: &[Part] = &[Part::Fmt, Part::Tidy, Part::Unit];

/// How a part ended when it did not fail.
pub(crate) enum Outcome {
    Passed,
    /// Not run, and why.
    Skipped(String),
}

/// Runs the parts that `args` asks for and prints a table of them.
///
/// # Errors
///
/// When a part failed; the table names it.
pub(crate) fn run(args: &Args, install: bool) -> Result<()> {
    let parts: Vec<Part> = match (args.fast, args.only.as_slice()) {
        (true, _) => FAST.to_vec(),
        (false, []) => ALL.to_vec(),
        (false, only) => {
            let order = [ALL, &[Part::Unit]].concat();
            order.into_iter().filter(|part| only.contains(part)).collect()
        }
    };
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for part in parts {
        println!("== {}", part.name());
        let start = Instant::now();
        let result = part.run(install);
        let took = start.elapsed();
        let verdict = match result {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => {
                eprintln!("error: {}: {error:#}", part.name());
                failed.push(part.name());
                "failed".to_owned()
            }
        };
        rows.push((part.name(), took, verdict));
        if !failed.is_empty() && !args.keep_going {
            break;
        }
    }
    print!("\n{}", table(&rows));
    if let Some(first) = failed.first() {
        bail!("failed: {} (alone: cargo xtask {first})", failed.join(", "));
    }
    println!("all parts passed");
    Ok(())
}

/// Runs one part alone, without the table.
///
/// # Errors
///
/// When it failed.
pub(crate) fn run_one(part: Part, install: bool) -> Result<()> {
    if let Outcome::Skipped(why) = part.run(install)? {
        println!("skipped: {why}");
    }
    Ok(())
}

impl Part {
    fn run(self, install: bool) -> Result<Outcome> {
        let mut cargo = shell::cargo();
        match self {
            Part::Need => need::run(install)?,
            Part::Fmt => shell::run(cargo.args(["fmt", "--all", "--check"]))?,
            Part::Clippy => shell::run(
                cargo
                    .args(["clippy", "--workspace", "--all-targets", "--locked"])
                    .args(["--", "-D", "warnings"]),
            )?,
            Part::Doc => shell::run(
                cargo
                    .args(["doc", "--no-deps", "--workspace", "--locked"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )?,
            Part::Tidy => tidy::run()?,
            Part::Unit => runner::unit_tests()?,
            Part::Tests => runner::all_tests()?,
            Part::Doctests => return runner::doctests(),
            Part::Seeds => sim::fixed_seeds()?,
            Part::Tortures => torture::short()?,
            Part::Instructions => return counts::check(),
            Part::Deny => return deny(),
        }
        Ok(Outcome::Passed)
    }

    fn name(self) -> &'static str {
        match self {
            Part::Need => "need",
            Part::Fmt => "fmt",
            Part::Clippy => "clippy",
            Part::Doc => "doc",
            Part::Tidy => "tidy",
            Part::Unit => "unit",
            Part::Tests => "tests",
            Part::Doctests => "doctests",
            Part::Seeds => "seeds",
            Part::Tortures => "tortures",
            Part::Instructions => "instructions",
            Part::Deny => "deny",
        }
    }
}

/// Advisories are left out: they come from the network, and yesterday's green must stay green.
fn deny() -> Result<Outcome> {
    if !shell::succeeds(&["cargo", "deny", "--version"]) {
        return Ok(Outcome::Skipped("cargo-deny is not installed".to_owned()));
    }
    shell::run(shell::cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    Ok(Outcome::Passed)
}

fn table(rows: &[(&str, Duration, String)]) -> String {
    let row = |name: &str, took: Duration| format!("{name:<12} {:>8.1}", took.as_secs_f64());
    let mut lines = vec![format!("{:<12} {:>8}  result", "part", "seconds")];
    lines.extend(rows.iter().map(|(name, took, end)| format!("{}  {end}", row(name, *took))));
    lines.push(row("total", rows.iter().map(|(_, took, _)| *took).sum()));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_name_everywhere() {
        for part in Part::value_variants() {
            let value = part.to_possible_value().expect("no part is hidden");
            assert_eq!(value.get_name(), part.name());
        }
    }

    #[test]
    fn table_lines_up() {
        let rows = [
            ("fmt", Duration::from_millis(1_240), "passed".to_owned()),
            ("deny", Duration::from_mins(10), "skipped: not here".to_owned()),
        ];
        let expected = "\
part          seconds  result
fmt               1.2  passed
deny            600.0  skipped: not here
total           601.2
";
        assert_eq!(table(&rows), expected);
    }
}
