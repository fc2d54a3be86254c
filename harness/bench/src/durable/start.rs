//! `start`: a server that has very many clients in its directory.
//!
//! The clock runs from the start of the process until it says that it is ready: it is alone, so it waits
//! for nobody.

use super::{Args, EVERY_50_MS};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::table::{Cell, Section, Spread};
use anyhow::{Result, ensure};
use std::time::Instant;

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "A start with very many clients on disk",
        "Seconds from starting the process until it is ready, of several starts after an orderly stop; at most \
         1.5 are allowed for a million and 15 for ten. Memory: resident megabytes before the stop and after \
         the start, which may differ by a tenth.",
        &["clients", "seconds", "min–max", "before MB", "after MB", "after/before"],
    );
    let clients = args.clients(options);
    for clients in [clients, clients * 10] {
        let plan = Plan { names: &["Hill"], fsync: Some(EVERY_50_MS), ..Plan::default() };
        let mut herd = Herd::start(options, &plan)?;
        herd.first()?.fill("walker-", clients)?;
        let before = herd.first()?.process.resident_bytes()?;
        let (mut seconds, mut after) = (Vec::new(), 0);
        for _ in 0..options.rounds().min(3) {
            herd.put_to_sleep("Hill")?;
            let began = Instant::now();
            herd.wake("Hill")?;
            seconds.push(began.elapsed().as_secs_f64());
            let hill = herd.first()?;
            ensure!(hill.status()?["ready"] == true, "{} is not ready", hill.name);
            ensure!(hill.clients()? == clients as u64, "{} clients are known", hill.clients()?);
            after = hill.process.resident_bytes()?;
        }
        let seconds = Spread::of(seconds);
        let mb = |bytes: u64| Cell::figure(bytes as f64 / 1e6, 1);
        section.row([
            Cell::count(clients as f64),
            Cell::figure(seconds.median, 2),
            Cell::span(&seconds, |seconds| format!("{seconds:.2}")),
            mb(before),
            mb(after),
            Cell::figure(after as f64 / before as f64, 2),
        ]);
    }
    Ok(vec![section])
}
