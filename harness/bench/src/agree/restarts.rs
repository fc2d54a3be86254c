//! `restarts`: one server of three starts, takes a report and is killed, very many times.

use super::known::equal;
use super::{Args, EVERY_50_MS, LINE, STUCK_AFTER, THREE};
use crate::Options;
use crate::durable::bytes_in;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::probe::{Probe, time_text, unix_nanos};
use crate::table::{Cell, Section};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Clients that all know, so that there is something to catch up with.
const CLIENTS: usize = 2000;

/// What a herd has let go of by then.
const RESTED_FOR: Duration = Duration::from_secs(10);

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "One server of three is started, takes a report and is killed, again and again",
        &format!(
            "Streams: known at each server ten seconds after the last start; at most two a member are allowed. Ready: \
             seconds from the start until it is ready and knows all {CLIENTS} clients, the first time and the last. \
             Memory: resident, of the two others together. Disk: bytes of all three directories."
        ),
        &[
            "disk",
            "restarts",
            "starts/s",
            "streams",
            "allowed",
            "ready first s",
            "last s",
            "MB first",
            "MB last",
            "disk first",
            "disk last",
        ],
    );
    for fsync in [None, Some(EVERY_50_MS)] {
        restart(options, args, fsync, &mut section)?;
    }
    Ok(vec![section])
}

fn restart(
    options: &Options,
    args: &Args,
    fsync: Option<&str>,
    section: &mut Section,
) -> Result<()> {
    let plan = Plan { names: &THREE, links: &LINE, fsync, ..Plan::default() };
    let mut herd = Herd::start(options, &plan)?;
    let clients = options.size(CLIENTS, 200);
    herd.server("Jaquez")?.fill("walker-", clients)?;
    herd.all_know(clients, STUCK_AFTER)?;
    report(&herd)?;
    herd.all_know(clients + 1, STUCK_AFTER)?;
    let first = until_ready(&mut herd, clients)?;
    let (memory, disk) = (memory_of_others(&herd)?, disk(&herd, fsync)?);
    let time = options.size(Duration::from_secs(args.restart_seconds), Duration::from_secs(1));
    let began = Instant::now();
    let mut restarts = 0;
    while restarts < args.restarts && began.elapsed() < time {
        herd.kill("Hill")?;
        herd.wake("Hill")?;
        report(&herd)?;
        restarts += 1;
    }
    let rate = restarts as f64 / began.elapsed().as_secs_f64();
    herd.linked()?;
    pass(options.size(RESTED_FOR, Duration::from_secs(1)));
    let streams = herd.servers.iter().map(crate::herd::Server::incarnations);
    let streams = streams.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    let (memory_last, disk_last) = (memory_of_others(&herd)?, self::disk(&herd, fsync)?);
    let last = until_ready(&mut herd, clients)?;
    equal(&herd, "", Instant::now(), STUCK_AFTER)?;
    section.row([
        Cell::text(if fsync.is_some() { "yes" } else { "no" }),
        Cell::count(restarts as f64),
        Cell::figure(rate, 1),
        Cell::count(streams as f64),
        Cell::count((2 * THREE.len()) as f64),
        Cell::figure(first, 3),
        Cell::figure(last, 3),
        Cell::figure(memory as f64 / 1e6, 1),
        Cell::figure(memory_last as f64 / 1e6, 1),
        Cell::count(disk as f64),
        Cell::count(disk_last as f64),
    ]);
    Ok(())
}

/// A report at the server that is restarted, so that its incarnation has a stream.
fn report(herd: &Herd) -> Result<()> {
    let hill = herd.server("Hill")?;
    Probe::connect(hill.address)?.report(&hill.name, "kiwi", &time_text(unix_nanos()))
}

/// Kills and starts the server; seconds from the start until it is ready and knows all.
fn until_ready(herd: &mut Herd, clients: usize) -> Result<f64> {
    herd.kill("Hill")?;
    pass(Duration::from_secs(1));
    let began = Instant::now();
    herd.wake("Hill")?;
    let hill = herd.server("Hill")?;
    while hill.clients()? < clients as u64 + 1 || hill.status()?["ready"] != true {
        ensure!(began.elapsed() < STUCK_AFTER, "Hill does not get ready: {}", hill.status()?);
        pass(Duration::from_millis(2));
    }
    Ok(began.elapsed().as_secs_f64())
}

fn memory_of_others(herd: &Herd) -> Result<u64> {
    let others = herd.servers.iter().filter(|server| server.name != "Hill");
    others.map(|server| server.process.resident_bytes()).sum()
}

fn disk(herd: &Herd, fsync: Option<&str>) -> Result<u64> {
    if fsync.is_none() {
        return Ok(0);
    }
    THREE.iter().map(|name| bytes_in(&herd.data_dir(name))).sum()
}
