//! `donors`: an empty server beside one that knows very many clients, and beside two of them.

use super::{Args, STUCK_AFTER};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::table::{Cell, Section, Spread};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["Hill", "Jaquez", "Smith"];
const ONE: [(&str, &str); 2] = [("Hill", "Jaquez"), ("Hill", "Smith")];
const TWO: [(&str, &str); 3] = [("Hill", "Jaquez"), ("Hill", "Smith"), ("Jaquez", "Smith")];

/// Bytes a second of each link of the empty server, where it is limited.
const RATE: u32 = 20_000_000;

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = args.clients(options);
    let mut section = Section::new(
        &format!("An empty server beside one and beside two that know {clients} clients"),
        "Seconds from starting its process until it knows all and is ready. Over loopback 1.5 are allowed; with links \
         of 20 MB/s each two donors may take 0.6 times as long as one.",
        &[
            "links",
            "donors",
            "rounds",
            "seconds",
            "min–max",
            "against one",
            "records",
            "records/needed",
        ],
    );
    for (what, rate) in [("loopback", None), ("20 MB/s", Some(RATE))] {
        let mut of_one = f64::NAN;
        for (donors, links) in [(1.0, &ONE[..]), (2.0, &TWO[..])] {
            let (seconds, records) = catch_up(options, clients, rate, links)?;
            let spread = Spread::of(seconds.iter().copied());
            if donors < 2.0 {
                of_one = spread.median;
            }
            section.row([
                Cell::text(what),
                Cell::count(donors),
                Cell::count(seconds.len() as f64),
                Cell::figure(spread.median, 2),
                Cell::span(&spread, |seconds| format!("{seconds:.2}")),
                Cell::figure(spread.median / of_one, 2),
                Cell::count(records as f64),
                Cell::figure(records as f64 / clients as f64, 4),
            ]);
        }
    }
    Ok(vec![section])
}

/// How long it took each time, and how many records came the last time.
fn catch_up(
    options: &Options,
    clients: usize,
    rate: Option<u32>,
    links: &[(&str, &str)],
) -> Result<(Vec<f64>, u64)> {
    let wires = Wires::new(Manner { rate, ..Manner::default() })?;
    // The donors are filled over this one.
    wires.set_manner("Hill", "Jaquez", Manner::default());
    let plan = Plan {
        names: &NAMES,
        links,
        asleep: &["Smith"],
        wires: rate.is_some().then_some(&wires),
        ..Plan::default()
    };
    let mut herd = Herd::start(options, &plan)?;
    herd.first()?.fill("walker-", clients)?;
    herd.all_know(clients, STUCK_AFTER)?;
    pass(options.seconds());
    let (mut seconds, mut records) = (Vec::new(), 0);
    for _ in 0..options.rounds().min(3) {
        let began = Instant::now();
        herd.wake("Smith")?;
        let smith = herd.server("Smith")?;
        while smith.clients()? < clients as u64 || smith.status()?["ready"] != true {
            ensure!(began.elapsed() < STUCK_AFTER, "Smith does not get ready: {}", smith.status()?);
            pass(Duration::from_millis(10));
        }
        seconds.push(began.elapsed().as_secs_f64());
        records = smith.links_sum("records_received")?;
        herd.kill("Smith")?;
        pass(options.seconds());
    }
    Ok((seconds, records))
}
