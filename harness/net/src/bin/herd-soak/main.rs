//! A soak: five servers in namespaces, clients everywhere, and faults at random, for as long as asked.
//!
//! What is checked all the time: no server ever shows less than it has shown or accepted in this life of
//! its process (`model.rs` says why that is all that can be asked), and nothing that nobody reported. What is
//! checked at every rest and at the end, with everything healed and no load: all five show the same of
//! every client, at least what any of them had; no audit found anything to repair; memory has stopped growing;
//! every process ends as it should.
//!
//! The faults repeat with the seed; what the machine makes of them does not.

mod ask;
mod chance;
mod faults;
mod load;
mod model;
mod rest;

use crate::chance::Chance;
use crate::faults::Faults;
use crate::load::Load;
use crate::model::Model;
use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use herd_net::{FIVE, FIVE_LINKS, Herd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Runs five servers in network namespaces, breaks them and what is between them, and checks that they agree.
#[derive(Debug, Parser)]
#[command(name = "herd-soak", max_term_width = 100)]
struct Cli {
    /// How long, minutes
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Chooses the faults and the reports
    #[arg(long)]
    seed: Option<u64>,
    /// Reports a second, all servers together
    #[arg(long, default_value_t = 3000)]
    rate: u32,
    /// Clients that move from server to server
    #[arg(long, default_value_t = 20_000)]
    clients: u32,
    /// Between two rests, at which all is healed and everything compared, minutes
    #[arg(long, default_value_t = 5.0)]
    rest_every: f64,
    /// The server's binary; without it the `geoherd` beside this one
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Say whether namespaces can be made here, and do nothing
    #[arg(long)]
    probe: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(why) = herd_net::why_not() {
        println!("{why}");
        return ExitCode::FAILURE;
    }
    if cli.probe {
        return ExitCode::SUCCESS;
    }
    match soak(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line tells how it stands this often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at what is due.
const STEP: Duration = Duration::from_millis(20);

fn soak(cli: &Cli) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = cli.seed.unwrap_or(now.as_secs());
    println!(
        "{} minutes, {} reports/s, {} clients; to repeat its faults: --seed {seed}",
        cli.minutes, cli.rate, cli.clients
    );
    let beside = std::env::current_exe()?.with_file_name("geoherd");
    let program = cli.server.clone().unwrap_or(beside);
    ensure!(program.exists(), "no server at {}; `cargo xtask soak` builds it", program.display());
    let herd = Herd::lay_out(&FIVE, &FIVE_LINKS, "", None, &program)?;
    herd.lab().enter()?;
    let model = Arc::new(Model::new(FIVE.len(), cli.clients));
    let mut faults = Faults::new(herd, model.clone(), Chance::new(seed));
    let result = run(cli, seed, &model, &mut faults);
    if result.is_err() {
        println!("what the servers wrote is in {}", faults.herd_mut().keep_files().display());
    }
    result
}

fn run(cli: &Cli, seed: u64, model: &Arc<Model>, faults: &mut Faults) -> Result<()> {
    faults.start_all();
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(cli.minutes * 60.0);
    let rest_every = Duration::from_secs_f64(cli.rest_every.max(0.1) * 60.0);
    let (mut told, mut rest_at, mut rests) = (begun, begun + rest_every, 0);
    let mut memory = rest::Memory::default();
    let load = Load::start(faults.herd(), model, cli.rate, seed);
    while Instant::now() < end {
        park_timeout(STEP);
        faults.step()?;
        model.verdict()?;
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            println!("{}", line(begun, model, &load, faults));
        }
        if Instant::now() >= rest_at && Instant::now() < end {
            rest::rest(faults, model, &load)?;
            memory.note(faults)?;
            rests += 1;
            println!("{}; at rest, all equal", line(begun, model, &load, faults));
            load.go_on();
            rest_at = Instant::now() + rest_every;
        }
    }
    println!("{}; time is up", line(begun, model, &load, faults));
    let took = rest::rest(faults, model, &load)?;
    memory.note(faults)?;
    let (said, waits) = load.stop()?;
    model.verdict()?;
    let repairs = rest::audit_repairs(faults)?;
    let grown = memory.verdict()?;
    let clients = model.known();
    rest::end_all(faults)?;
    println!();
    println!("seed {seed}, {:.1} minutes, {} rests before the end", cli.minutes, rests);
    println!("faults: {}", faults.counts());
    println!("reports: {} sent, {} answered; {}", said.sent, said.answered, waits);
    println!("looked: {} answers compared with what was known of that server", model.looked());
    println!("audit repairs: {repairs}; memory: {grown}");
    println!(
        "all five equal {:.1} s after healing: {clients} clients, each at least what any server had; every process \
         ended cleanly",
        took.as_secs_f64()
    );
    Ok(())
}

fn line(begun: Instant, model: &Model, load: &Load, faults: &Faults) -> String {
    let (said, _) = load.so_far();
    format!(
        "{:>6.0} s  {} answered of {} sent  {} known  now: {}",
        begun.elapsed().as_secs_f64(),
        said.answered,
        said.sent,
        model.known(),
        faults.now()
    )
}

/// The place of a server among the five.
fn place(name: &str) -> Result<usize> {
    FIVE.iter().position(|other| *other == name).with_context(|| format!("no server {name}"))
}
