//! `outages`: all five servers are killed under load at the same moment and started again, many times.

use super::known::equal;
use super::{Args, EVERY_50_MS, FIVE, FIVE_LINKS, STUCK_AFTER};
use crate::Options;
use crate::durable::bytes_in;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Reports a second at each server.
const RATE: u32 = 1000;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    /// What a record of such a report takes in the journal: name, location and time in full, and what stands around
    /// them.
    const RECORD_BYTES: u64 = 120;
    /// What a directory may take beside three times that.
    const ALLOWED_BESIDE: u64 = 8_000_000;
    let (rounds, clients) = options.size((20, 1000), (2, 100));
    let total = clients * FIVE.len() as u64;
    let mut section = Section::new(
        &format!(
            "All of the seeds' five are killed under load and started, with their disks, {total} clients"
        ),
        "Equal: seconds from when the last of the five listens until all show the same; at most 1 is allowed. Disk: \
         of the largest directory, half a minute after the last time. Repairs: what comparisons found missing that \
         had been confirmed, which must be nothing.",
        &["rounds", "equal p50 s", "max", "last", "disk MB", "allowed MB", "streams", "repairs"],
    );
    let plan =
        Plan { names: &FIVE, links: &FIVE_LINKS, fsync: Some(EVERY_50_MS), ..Plan::default() };
    let mut herd = Herd::start(options, &plan)?;
    let mut seconds = Vec::new();
    for _ in 0..rounds {
        outage(options, &mut herd, Pace { rate: RATE, clients: u32::try_from(clients)? })?;
        seconds.push(equal(&herd, "", Instant::now(), STUCK_AFTER)?);
        herd.linked()?;
    }
    pass(options.size(Duration::from_secs(30), Duration::from_secs(1)));
    let sizes = FIVE.iter().map(|name| bytes_in(&herd.data_dir(name)));
    let largest = sizes.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    let known = herd.first()?.clients()?;
    let (mut streams, mut repairs) = (0, 0);
    for server in &herd.servers {
        streams = server.incarnations()?.max(streams);
        repairs += server.repairs()?;
    }
    let spread = Spread::of(seconds.iter().copied());
    section.row([
        Cell::count(f64::from(rounds)),
        Cell::figure(spread.median, 3),
        Cell::figure(spread.max, 3),
        Cell::figure(seconds.last().copied().unwrap_or(f64::NAN), 3),
        Cell::figure(largest as f64 / 1e6, 2),
        Cell::figure((3 * known * RECORD_BYTES + ALLOWED_BESIDE) as f64 / 1e6, 2),
        Cell::count(streams as f64),
        Cell::count(repairs as f64),
    ]);
    let all: Vec<_> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
    section.remark(&format!("Each time: {}.", all.join(" ")));
    Ok(vec![section])
}

/// Kills all under load and starts them; returns when the last of them listens.
pub(super) fn outage(options: &Options, herd: &mut Herd, pace: Pace) -> Result<()> {
    herd.servers.sort_by(|one, other| one.name.cmp(&other.name));
    let load = Paced::start(&herd.servers, pace)?;
    pass(options.seconds());
    herd.kill_all();
    // It ended with its servers.
    let _broken = load.stop();
    herd.wake_all()
}
