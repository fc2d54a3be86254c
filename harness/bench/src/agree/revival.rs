//! `revival`: a server that received every client itself is killed and started again, with its disk.

use super::known::{equal, records_sent};
use super::{Args, EVERY_50_MS, LINE, STUCK_AFTER, THREE};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::replication::at_rest;
use crate::table::{Cell, Section};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = args.clients(options);
    let mut section = Section::new(
        &format!(
            "A server that received {clients} clients is killed and started, with its disk, in a line of three"
        ),
        "Sent: records from its start until a while after all show the same; at most 1 % of the clients are allowed. \
         Equal: seconds from when it listens until it knows all and says that it is ready. Streams: known at the \
         first server before the kill and ten seconds after the start.",
        &[
            "clients",
            "sent by it",
            "by others",
            "part %",
            "start s",
            "equal s",
            "streams",
            "streams after",
        ],
    );
    let plan = Plan { names: &THREE, links: &LINE, fsync: Some(EVERY_50_MS), ..Plan::default() };
    let mut herd = Herd::start(options, &plan)?;
    herd.server("Hill")?.fill("walker-", clients)?;
    herd.all_know(clients, STUCK_AFTER)?;
    at_rest(&herd)?;
    let streams = herd.server("Smith")?.incarnations()?;
    herd.kill("Hill")?;
    pass(options.seconds());
    let before = records_sent(&herd)?;
    let began = Instant::now();
    herd.wake("Hill")?;
    let start_s = began.elapsed().as_secs_f64();
    let listened = Instant::now();
    let hill = herd.server("Hill")?;
    while hill.clients()? < clients as u64 || hill.status()?["ready"] != true {
        ensure!(listened.elapsed() < STUCK_AFTER, "Hill does not get ready: {}", hill.status()?);
        pass(Duration::from_millis(10));
    }
    let equal_s = listened.elapsed().as_secs_f64();
    herd.linked()?;
    pass(options.size(Duration::from_secs(10), Duration::from_secs(1)));
    let by_hill = herd.server("Hill")?.links_sum("records_sent")?;
    let by_others = (records_sent(&herd)? - by_hill).saturating_sub(before);
    equal(&herd, "", listened, STUCK_AFTER)?;
    section.row([
        Cell::count(clients as f64),
        Cell::count(by_hill as f64),
        Cell::count(by_others as f64),
        Cell::figure(100.0 * (by_hill + by_others) as f64 / clients as f64, 3),
        Cell::figure(start_s, 2),
        Cell::figure(equal_s, 2),
        Cell::count(streams as f64),
        Cell::count(herd.server("Smith")?.incarnations()? as f64),
    ]);
    Ok(vec![section])
}
