//! Everything healed and nobody reporting: what must be so then.

use crate::faults::Faults;
use crate::load::Load;
use crate::model::{Model, Rank};
use anyhow::{Context as _, Result, bail, ensure};
use herd_e2e::get;
use herd_net::FIVE;
use std::fmt;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// All five agree within this after everything was healed.
const AGREED_WITHIN: Duration = Duration::from_mins(2);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Heals, stops the load, waits until all five show the same, and checks it; the load stays stopped. How
/// long it took them.
pub(crate) fn rest(faults: &mut Faults, model: &Model, load: &Load) -> Result<Duration> {
    faults.heal_all()?;
    for name in FIVE {
        faults.herd_mut().wait_ready(name);
    }
    load.rest()?;
    let begun = Instant::now();
    loop {
        let shown = FIVE.iter().map(|name| faults.look(name)).collect::<Result<Vec<_>>>()?;
        model.verdict()?;
        let Err(difference) = compare(&shown, &model.greatest()) else { break };
        if begun.elapsed() > AGREED_WITHIN {
            bail!("not equal {AGREED_WITHIN:?} after everything was healed: {difference:#}");
        }
        park_timeout(PAUSE);
    }
    let took = begun.elapsed();
    let known = model.known() as f64;
    for name in FIVE {
        let clients = metric(faults, name, "geoherd_clients")?.context("no geoherd_clients")?;
        ensure!(
            (clients - known).abs() < 0.5,
            "{name} counts {clients} clients, and shows {known}"
        );
    }
    Ok(took)
}

/// Whether all servers show the same of every client, and whoever should be shown is.
fn compare(shown: &[Vec<Option<String>>], greatest: &[Option<Rank>]) -> Result<()> {
    let first = shown.first().context("there are servers")?;
    for (lines, name) in shown.iter().zip(FIVE) {
        for (client, (line, expected)) in lines.iter().zip(first).enumerate() {
            ensure!(
                line == expected,
                "of client {client} {name} shows {line:?} and {} {expected:?}",
                FIVE[0]
            );
        }
    }
    // `look` has raised the floor of each server to what it shows: the greatest of all floors is more than
    // that only where somebody had more before.
    for (client, (line, greatest)) in first.iter().zip(greatest).enumerate() {
        let shown = line.as_deref().map(herd_e2e::At::parse);
        let same = match (&shown, greatest) {
            (None, None) => true,
            (Some(at), Some(rank)) => rank.is_of(at),
            _ => false,
        };
        ensure!(same, "of client {client} all show {line:?}, and one had {greatest:?}");
    }
    Ok(())
}

/// The value of a metric without labels; none if there is no such metric.
fn metric(faults: &Faults, name: &str, metric: &str) -> Result<Option<f64>> {
    let answer = get(faults.herd().http_address(name), "/metrics")?;
    let line = answer.body.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    Ok(line.and_then(|value| value.parse().ok()))
}

/// How often an audit had to repair something: never, or the servers do not agree by themselves.
pub(crate) fn audit_repairs(faults: &Faults) -> Result<String> {
    let mut all = 0.0;
    for name in FIVE {
        match metric(faults, name, "geoherd_audit_repairs_total")? {
            None => return Ok("not available".to_owned()),
            Some(repairs) => all += repairs,
        }
    }
    ensure!(all == 0.0, "{all} audit repairs");
    Ok("0 on all".to_owned())
}

/// Tells every server to end, and waits until it has.
pub(crate) fn end_all(faults: &mut Faults) -> Result<()> {
    for name in FIVE {
        let status = faults.herd_mut().terminate(name);
        ensure!(status.success(), "{name} ended with {status}: {}", faults.herd().printed(name));
    }
    Ok(())
}

/// The servers' memory at each rest.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The largest of the five, bytes.
    largest: Vec<u64>,
}

/// How it came out.
#[derive(Debug)]
pub(crate) struct Grown {
    largest: Vec<u64>,
}

impl Memory {
    pub(crate) fn note(&mut self, faults: &mut Faults) -> Result<()> {
        let bytes = FIVE.map(|name| faults.herd_mut().process(name).resident_bytes());
        self.largest.push(bytes.into_iter().max().context("five servers")?);
        Ok(())
    }

    /// # Errors
    ///
    /// When the second half of the rests shows more memory than the first, by more than chance.
    pub(crate) fn verdict(self) -> Result<Grown> {
        /// What a heap varies by for reasons of its own.
        const VARIES_BYTES: u64 = 8 << 20;
        let (first, second) = self.largest.split_at(self.largest.len() / 2);
        let most = |half: &[u64]| half.iter().copied().max();
        if let (Some(before), Some(after)) = (most(first), most(second)) {
            ensure!(
                after <= before + before / 4 + VARIES_BYTES,
                "the largest server grew from {before} to {after} bytes"
            );
        }
        Ok(Grown { largest: self.largest })
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb: Vec<String> =
            self.largest.iter().map(|&bytes| format!("{:.1}", bytes as f64 / 1e6)).collect();
        write!(f, "largest server at the rests {} MB", mb.join(", "))
    }
}
