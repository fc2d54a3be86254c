//! Runs fuzz targets in this process for a while; called as `cargo xtask fuzz`, which builds it right.

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use herd_fuzz::{TARGETS, Target, run};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    match fuzz(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs fuzz targets: their corpora, then random changes of them.
///
/// A crash prints its input, saves it, and tells the command that repeats it. To keep it for good,
/// copy it into the target's corpus, with a name that says what is special about it.
#[derive(Parser)]
#[command(name = "cargo xtask fuzz", bin_name = "cargo xtask fuzz", max_term_width = 100)]
struct Args {
    /// The target; all of them, one after another, if left out
    target: Option<String>,
    /// How long to run each
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Draw the inputs that this seed draws [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run this one input and nothing else
    #[arg(long, value_name = "FILE", requires = "target")]
    repeat: Option<PathBuf>,
    /// Save each input before it runs, for deaths without a panic, such as a stack overflow
    #[arg(long)]
    careful: bool,
    /// Print the names of the targets
    #[arg(long)]
    list: bool,
}

fn fuzz(args: &Args) -> Result<()> {
    if cfg!(panic = "abort") {
        bail!(
            "built without unwinding, a crash would take this program along; use cargo xtask fuzz"
        );
    }
    if args.list {
        for target in TARGETS {
            println!("{}", target.name);
        }
        return Ok(());
    }
    let targets: Vec<&Target> = match &args.target {
        None => TARGETS.iter().collect(),
        Some(name) => vec![herd_fuzz::target(name).with_context(|| {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            format!("no target {name}; there are {}", names.join(", "))
        })?],
    };
    if let (Some(path), [target]) = (&args.repeat, targets.as_slice()) {
        let data = std::fs::read(path).with_context(|| path.display().to_string())?;
        (target.run)(&data);
        println!("{}: {} bytes, no crash", target.name, data.len());
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Any number will do; a short one is easy to type again.
    let seed = args.seed.unwrap_or(u64::from(now.subsec_nanos()));
    let span = Duration::from_secs(args.seconds);
    for target in targets {
        println!("{}: seed {seed}, {} seconds", target.name, args.seconds);
        let plan = run::Plan { seed, span, careful: args.careful };
        let tally = run::campaign(target, plan)
            .with_context(|| format!("{} breaks a promise (seed {seed})", target.name))?;
        let rate = tally.executions as f64 / tally.took.as_secs_f64();
        println!(
            "{}: {} executions ({rate:.0} a second), corpus of {}, no crash",
            target.name, tally.executions, tally.corpus
        );
    }
    Ok(())
}
