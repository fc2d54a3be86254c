//! `flap`: an empty server behind a slow link that never lives as long as catching up takes.

use super::{Args, STUCK_AFTER};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::table::{Cell, Section};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const HERE: &str = "Hill";
const THERE: &str = "Smith";

/// Bytes a second in each direction.
const RATE: u32 = 1_250_000;

/// How long the link lives, and how long it is down between.
const UP: Duration = Duration::from_secs(15);
const DOWN: Duration = Duration::from_secs(5);

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let clients = options.size(200_000, 2000);
    let mut section = Section::new(
        &format!(
            "An empty server behind a link of 1.25 MB/s that lives 15 s at a time, {clients} clients"
        ),
        "Bytes: all that came over the link, both directions. Up: seconds for which the link was up until the server \
         knew all; allowed are 1.3 times the bytes over a link without limit, divided by the rate. Records: received \
         by the empty server; all of them are needed once.",
        &["link", "bytes", "up s", "allowed s", "part", "times up", "records", "records/needed"],
    );
    let free = catch_up(options, clients, Manner::default(), None)?;
    let allowed = free.bytes as f64 / f64::from(RATE);
    let slow = Manner { rate: Some(RATE), ..Manner::default() };
    let flapping = catch_up(options, clients, slow, Some(options.size(UP, UP / 10)))?;
    for (link, run) in [("without limit", free), ("flapping", flapping)] {
        section.row([
            Cell::text(link),
            Cell::count(run.bytes as f64),
            Cell::figure(run.up_s, 2),
            Cell::figure(1.3 * allowed, 2),
            Cell::figure(run.up_s / allowed, 3),
            Cell::count(f64::from(run.times)),
            Cell::count(run.records as f64),
            Cell::figure(run.records as f64 / clients as f64, 4),
        ]);
    }
    Ok(vec![section])
}

/// How a server caught up.
struct Run {
    bytes: u64,
    up_s: f64,
    times: u32,
    records: u64,
}

/// With a link that lives so long at a time, or for ever.
fn catch_up(
    options: &Options,
    clients: usize,
    manner: Manner,
    lives: Option<Duration>,
) -> Result<Run> {
    let wires = Wires::new(manner)?;
    let plan = Plan {
        names: &[HERE, THERE],
        links: &[(HERE, THERE)],
        asleep: &[THERE],
        wires: Some(&wires),
        ..Plan::default()
    };
    let mut herd = Herd::start(options, &plan)?;
    herd.first()?.fill("walker-", clients)?;
    wires.take_down(HERE, THERE, true)?;
    herd.wake(THERE)?;
    let there = herd.server(THERE)?;
    let began = Instant::now();
    let (mut up, mut times) = (Duration::ZERO, 0);
    loop {
        wires.take_down(HERE, THERE, false)?;
        let since = Instant::now();
        times += 1;
        while there.clients()? < clients as u64 && lives.is_none_or(|lives| since.elapsed() < lives)
        {
            ensure!(
                began.elapsed() < STUCK_AFTER,
                "{THERE} does not catch up: {}",
                there.status()?
            );
            pass(Duration::from_millis(10));
        }
        up += since.elapsed();
        if there.clients()? == clients as u64 {
            break;
        }
        wires.take_down(HERE, THERE, true)?;
        pass(DOWN);
    }
    // What ends a comparison.
    let bytes = wires.passed(HERE, THERE)?;
    let records = there.links_sum("records_received")?;
    Ok(Run { bytes, up_s: up.as_secs_f64(), times, records })
}
