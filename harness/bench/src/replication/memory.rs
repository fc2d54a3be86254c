//! `memory`: bytes for each client at each of five servers, all five being origins.

use super::graph::Graph;
use super::{AGREED_WITHIN, Args, at_rest};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "Memory for each client at each of the seeds' five servers, a fifth of the clients at each",
        "Resident memory beyond that of the empty server, less name, location and time, for each client; \
         must be 250 at most. Moved: every client has reported once more at another server, and what that \
         superseded was collected. Moved again: the same once more; 1.2 times the first are allowed.",
        &[
            "state",
            "clients",
            "text bytes",
            "resident MB",
            "against first",
            "beside text B/client",
            "min–max",
        ],
    );
    let graph = Graph::seeds();
    let (names, links) = (graph.names(), graph.links());
    let herd = Herd::start(options, &Plan { names: &names, links: &links, ..Plan::default() })?;
    let resident = || -> Result<Vec<u64>> {
        herd.servers.iter().map(|server| server.process.resident_bytes()).collect()
    };
    let before = resident()?;
    let clients = args.clients(options) / names.len() / 4 * 4;
    let total = clients * names.len();
    let mut first = f64::NAN;
    for (round, state) in ["each reported once", "moved", "moved again"].into_iter().enumerate() {
        let mut text = 0;
        for (at, name) in names.iter().enumerate() {
            let server = herd.servers.get((at + round) % names.len());
            if let Some(server) = server {
                text = server.fill(&format!("{name}-"), clients)?;
            }
        }
        herd.all_know(total, AGREED_WITHIN)?;
        at_rest(&herd)?;
        // What is stable is told once a second, and collected then.
        crate::machine::pass(
            options.size(std::time::Duration::from_secs(8), std::time::Duration::ZERO),
        );
        let after = resident()?;
        let each = Spread::of(after.iter().zip(&before).map(|(after, before)| {
            after.saturating_sub(*before) as f64 / total as f64 - text as f64
        }));
        let resident = Spread::of(after.iter().map(|&bytes| bytes as f64 / 1e6));
        if round == 0 {
            first = resident.median;
        }
        section.row([
            Cell::text(state),
            Cell::count(total as f64),
            Cell::count(text as f64),
            Cell::figure(resident.median, 1),
            Cell::figure(resident.median / first, 2),
            Cell::figure(each.median, 1),
            Cell::span(&each, |bytes| format!("{bytes:.0}")),
        ]);
    }
    Ok(vec![section])
}
