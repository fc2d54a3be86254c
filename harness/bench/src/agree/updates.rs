//! `updates`: very many updates over a link that breaks again and again, in a line of three.

use super::known::{equal, records_sent};
use super::{Args, LINE, STUCK_AFTER, THREE};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::replication::at_rest;
use crate::table::{Cell, Section};
use crate::wires::{Manner, Wires};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Reports a second, each of another client.
const RATE: u32 = 10_000;

/// How long the link lives, and how long it is down between: longer than links need to see that.
const UP: Duration = Duration::from_secs(3);
const DOWN: Duration = Duration::from_millis(2500);

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let updates = options.size(300_000, 5000);
    let mut section = Section::new(
        &format!(
            "{updates} updates of as many clients at one end of a line of three, whose first link breaks every 3 s"
        ),
        "Needed: two records for each update. Sent: by all servers, until they are at rest; at most 1.1 times what is \
         needed is allowed. Repairs: what comparisons found missing that had been confirmed, which must be nothing.",
        &["updates", "needed", "sent", "sent/needed", "times up", "equal s", "repairs"],
    );
    let wires = Wires::new(Manner::default())?;
    let plan = Plan { names: &THREE, links: &LINE, wires: Some(&wires), ..Plan::default() };
    let herd = Herd::start(options, &plan)?;
    let load = Paced::start([herd.server("Hill")?], Pace { rate: RATE, clients: updates })?;
    let mut times = 1;
    // Not more of them, or some of what a link missed would be superseded when it is up again.
    let until_sent = |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time && load.sent() < u64::from(updates) {
            pass(Duration::from_millis(5));
        }
    };
    while load.sent() < u64::from(updates) {
        until_sent(options.size(UP, UP / 10));
        wires.take_down("Hill", "Jaquez", true)?;
        until_sent(options.size(DOWN, DOWN / 10));
        wires.take_down("Hill", "Jaquez", false)?;
        times += 1;
    }
    let sent = load.stop()?;
    let equal_s = equal(&herd, "", Instant::now(), STUCK_AFTER)?;
    at_rest(&herd)?;
    let needed = 2 * sent;
    let records = records_sent(&herd)?;
    let repairs = herd.servers.iter().map(crate::herd::Server::repairs).sum::<Result<u64>>()?;
    section.row([
        Cell::count(sent as f64),
        Cell::count(needed as f64),
        Cell::count(records as f64),
        Cell::figure(records as f64 / needed as f64, 3),
        Cell::count(f64::from(times)),
        Cell::figure(equal_s, 2),
        Cell::count(repairs as f64),
    ]);
    Ok(vec![section])
}
