//! `payloads`: messages between servers that carry an update, for each update.
//!
//! Every server writes. Each client reports so seldom that nothing is overtaken on its way, so that
//! each update has to be passed on to everybody.

use super::graph::Graph;
use super::{Args, FLOODING, STREAMS, at_rest};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::table::{Cell, Section};
use anyhow::{Result, ensure};
use std::time::Duration;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "Records sent between servers for each update, all servers writing",
        "Counted by the servers, over loopback, after some seconds in which the trees settle. Must be one \
         less than there are servers, within 2 %. Off: how far it is from that, percent.",
        &["graph", "servers", "updates", "streams", "off", "flooding", "first second"],
    );
    let graphs = [Graph::seeds(), Graph::mesh(), Graph::grid()];
    for graph in graphs.into_iter().take(options.size(3, 1)) {
        let (settled, first, updates) = per_update(options, &graph, STREAMS)?;
        let (flooded, ..) = per_update(options, &graph, FLOODING)?;
        let servers = graph.names().len();
        let least = (servers - 1) as f64;
        section.row([
            Cell::text(graph.what),
            Cell::count(servers as f64),
            Cell::count(updates as f64),
            Cell::figure(settled, 3),
            Cell::figure((settled / least - 1.0) * 100.0, 2),
            Cell::figure(flooded, 3),
            Cell::figure(first, 3),
        ]);
    }
    section.remark("First second: the same with streams, before the trees had settled.");
    Ok(vec![section])
}

/// Records for each update once settled and at first, and how many updates the former stands for.
fn per_update(options: &Options, graph: &Graph, redundancy: &str) -> Result<(f64, f64, u64)> {
    /// All servers together, so that the machine keeps up with the largest herd.
    const RATE: u32 = 1000;
    let (names, links) = (graph.names(), graph.links());
    let plan = Plan { names: &names, links: &links, redundancy, ..Plan::default() };
    let herd = Herd::start(options, &plan)?;
    let servers = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let pace = Pace { rate: RATE / servers, clients: 2 * RATE };
    let sent = || -> Result<u64> {
        herd.servers.iter().map(|server| server.links_sum("records_sent")).sum()
    };
    let run = |time| -> Result<(f64, u64)> {
        let before = sent()?;
        let load = Paced::start(&herd.servers, pace)?;
        pass(time);
        let updates = load.stop()?;
        at_rest(&herd)?;
        ensure!(updates > 0, "nothing was reported");
        Ok(((sent()? - before) as f64 / updates as f64, updates))
    };
    let (first, _) = run(options.size(Duration::from_secs(1), Duration::from_millis(300)))?;
    run(options.size(Duration::from_secs(3), Duration::from_millis(100)))?;
    let (settled, updates) = run(options.seconds() * 5)?;
    Ok((settled, first, updates))
}
