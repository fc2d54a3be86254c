//! `survivors`: a server is killed under load and stays away; the others agree about what it had sent to some of them.

use super::known::equal;
use super::{Args, FIVE, FIVE_LINKS, STUCK_AFTER};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Begins the names of the clients of the server that is killed, as the load writes them.
const PREFIX: &str = "paced000-";

/// Reports a second at the server that is killed, and at each of the others.
const RATE: u32 = 4000;
const RATE_OF_OTHERS: u32 = 500;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "One of the seeds' five is killed under load and not started: until the others show the same",
        "Seconds from the kill until all clients of the killed server are the same at the other four, while those go \
         on under load; at most 3 are allowed. Kills: each server in turn.",
        &["kills", "seconds p50", "max", "min"],
    );
    let plan = Plan { names: &FIVE, links: &FIVE_LINKS, ..Plan::default() };
    let mut herd = Herd::start(options, &plan)?;
    let mut seconds = Vec::new();
    for round in 0..options.size(2 * FIVE.len(), 1) {
        let name = FIVE[round % FIVE.len()];
        let pace = Pace { rate: RATE, clients: RATE / 2 };
        let load = Paced::start([herd.server(name)?], pace)?;
        let others = herd.servers.iter().filter(|server| server.name != name);
        let pace = Pace { rate: RATE_OF_OTHERS, clients: RATE_OF_OTHERS };
        let calm = Paced::start_as(1, others, pace)?;
        pass(options.seconds());
        herd.kill(name)?;
        let killed = Instant::now();
        seconds.push(equal(&herd, PREFIX, killed, STUCK_AFTER)?);
        calm.stop()?;
        // It ended with its server.
        let _broken = load.stop();
        herd.wake(name)?;
        herd.linked()?;
        pass(Duration::from_millis(500));
    }
    let spread = Spread::of(seconds.iter().copied());
    section.row([
        Cell::count(seconds.len() as f64),
        Cell::figure(spread.median, 3),
        Cell::figure(spread.max, 3),
        Cell::figure(spread.min, 3),
    ]);
    Ok(vec![section])
}
