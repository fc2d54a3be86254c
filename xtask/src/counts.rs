//! `cargo xtask counts`: instructions of the core's hot functions, compared with those kept in the repository.
//!
//! Counted by callgrind, so they do not depend on what else the machine does, and little on which machine it is. They
//! do depend on the compiler: with another one than the kept counts are of nothing is compared.

use crate::shell;
use crate::test::Outcome;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::PathBuf;

/// What is to be done with the counts.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep what is counted now in place of what was kept
    #[arg(long)]
    write: bool,
    /// Count these cases alone; nothing is kept then
    cases: Vec<String>,
}

/// Beyond this, of a hundred, up or down, counts are to be looked at, and kept anew if they are right: hash seeds and
/// what the C library chooses for a processor move them by less.
const TOLERANCE_PERCENT: f64 = 5.0;

/// One case as it was counted.
struct Count {
    name: String,
    /// For each operation.
    instructions: f64,
}

/// Counts, and compares or keeps.
///
/// # Errors
///
/// When a count is off by more than the tolerance, or valgrind is missing.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(has_valgrind(), "valgrind is not installed; `cargo xtask need --install` installs it");
    let counts = count(&args.cases)?;
    if args.write && args.cases.is_empty() {
        return keep(&counts);
    }
    if let Outcome::Skipped(why) = compare(&counts)? {
        println!("not compared: {why}");
    }
    Ok(())
}

/// The part of the check.
///
/// # Errors
///
/// When a count is off by more than the tolerance.
pub(crate) fn check() -> Result<Outcome> {
    if !has_valgrind() {
        return Ok(Outcome::Skipped("valgrind is not installed".to_owned()));
    }
    if let Some(why) = incomparable(&kept()?)? {
        return Ok(Outcome::Skipped(why));
    }
    compare(&count(&[])?)
}

fn has_valgrind() -> bool {
    shell::succeeds(&["valgrind", "--version"])
}

fn file() -> PathBuf {
    shell::root().join("harness/counts/counts.json")
}

fn kept() -> Result<Value> {
    let file = file();
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn compiler() -> Result<String> {
    let mut rustc = shell::command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let version = shell::output(rustc.arg("--version"))?;
    Ok(format!("{} {}", version.trim(), std::env::consts::ARCH))
}

/// Why what is kept says nothing about what is counted here.
fn incomparable(kept: &Value) -> Result<Option<String>> {
    let of = kept.get("compiler").and_then(Value::as_str).unwrap_or_default();
    let compiler = compiler()?;
    Ok((of != compiler).then(|| format!("kept counts are of {of}, and this is {compiler}")))
}

fn count(only: &[String]) -> Result<Vec<Count>> {
    shell::run(shell::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "herd-counts",
    ]))?;
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .exec()
        .context("cannot ask cargo where it builds")?;
    let target = metadata.target_directory.into_std_path_buf();
    let program = target.join("release/herd-counts");
    let dir = target.join("counts");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let cases = shell::output(&mut shell::command(&program))?;
    let mut counts = Vec::new();
    for case in cases.lines() {
        let (name, operations) = case.split_once(' ').context("a case has no number")?;
        if !only.is_empty() && !only.iter().any(|only| only == name) {
            continue;
        }
        let out = dir.join(format!("{name}.callgrind"));
        let mut valgrind = shell::command("valgrind");
        valgrind
            .args(["--tool=callgrind", "--quiet", "--toggle-collect=*measured*"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(&program)
            .arg(name);
        shell::output(&mut valgrind)?;
        let text = fs::read_to_string(&out)?;
        let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
        let total: f64 = total.context("callgrind tells no sum")?.trim().parse()?;
        let instructions = (total / operations.parse::<f64>()?).round();
        counts.push(Count { name: name.to_owned(), instructions });
    }
    ensure!(!counts.is_empty(), "no such case; there are\n{cases}");
    Ok(counts)
}

fn keep(counts: &[Count]) -> Result<()> {
    let of: Map<String, Value> =
        counts.iter().map(|c| (c.name.clone(), json!(c.instructions))).collect();
    let document = json!({ "compiler": compiler()?, "instructions": of });
    fs::write(file(), format!("{document:#}\n"))?;
    println!("kept in {}", file().display());
    Ok(())
}

fn compare(counts: &[Count]) -> Result<Outcome> {
    let document = kept()?;
    let incomparable = incomparable(&document)?;
    let mut off = Vec::new();
    println!("{:<20} {:>10} {:>10} {:>8}", "case", "kept", "counted", "%");
    for Count { name, instructions } in counts {
        let kept = document.get("instructions").and_then(|all| all.get(name)?.as_f64());
        let percent = kept.map(|kept| 100.0 * (instructions - kept) / kept);
        let text = |figure: Option<f64>, decimals: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.decimals$}"))
        };
        println!("{name:<20} {:>10} {instructions:>10} {:>8}", text(kept, 0), text(percent, 1));
        if percent.is_none_or(|percent| percent.abs() > TOLERANCE_PERCENT) {
            off.push(name.as_str());
        }
    }
    if let Some(why) = incomparable {
        return Ok(Outcome::Skipped(why));
    }
    if !off.is_empty() {
        bail!(
            "{} off by more than {TOLERANCE_PERCENT} %; if that is as it should be, keep them with \
             `cargo xtask counts --write`",
            off.join(", ")
        );
    }
    Ok(Outcome::Passed)
}
