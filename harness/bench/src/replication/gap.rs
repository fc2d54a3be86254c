//! `gap`: how long deliveries stop when a link falls silent.
//!
//! Every server writes, and at every other server the reports of each writer arrive some milliseconds
//! apart. Then nothing comes over one link any more, in neither direction, and nobody is told. The gap is
//! the longest time without an arrival, of any writer at any server.

use super::graph::Graph;
use super::{Args, FLOODING, STREAMS};
use crate::Options;
use crate::ears::{Ears, Heard};
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::probe::unix_nanos;
use crate::table::{Cell, Section, Spread};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reports a second at each server: one each 10 ms.
const RATE: u32 = 100;

/// So long it is watched after a cut, and as long before it for comparison.
const WATCHED: Duration = Duration::from_secs(4);

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "The longest gap in deliveries when a link falls silent, milliseconds, the seeds' five",
        "Each link is cut in turn while a report of each server is due everywhere each 10 ms; the longest gap of \
         any writer at any server. Must be 1,000 at most at redundancy 1 and 300 at 2. Whole: the longest gap \
         in as long a time before each cut.",
        &["redundancy", "cuts", "gap median", "min–max", "whole median", "whole max"],
    );
    for redundancy in [STREAMS, "2", FLOODING].into_iter().take(options.size(3, 1)) {
        let mut gaps = Vec::new();
        let mut whole = Vec::new();
        for _ in 0..options.size(2, 1) {
            cut_each(options, redundancy, &mut gaps, &mut whole)?;
        }
        let (gap, before) = (Spread::of(gaps.clone()), Spread::of(whole));
        section.row([
            Cell::text(redundancy.trim_matches('"')),
            Cell::count(gaps.len() as f64),
            Cell::figure(gap.median, 0),
            Cell::span(&gap, |ms| format!("{ms:.0}")),
            Cell::figure(before.median, 0),
            Cell::figure(before.max, 0),
        ]);
    }
    Ok(vec![section])
}

fn cut_each(
    options: &Options,
    redundancy: &str,
    gaps: &mut Vec<f64>,
    whole: &mut Vec<f64>,
) -> Result<()> {
    let graph = Graph::seeds();
    let (names, links) = (graph.names(), graph.links());
    let ears = Ears::of(&names)?;
    let wires = Wires::new(Manner::default())?;
    let foreign = ears.foreign();
    let plan = Plan {
        names: &names,
        links: &links,
        foreign: &foreign,
        redundancy,
        wires: Some(&wires),
        ..Plan::default()
    };
    let herd = Herd::start(options, &plan)?;
    let load = Paced::start(&herd.servers, Pace { rate: RATE, clients: RATE })?;
    let watched = options.size(WATCHED, Duration::from_millis(2500));
    for (one, other) in links.iter().take(options.size(links.len(), 1)) {
        // Trees settle, after the start and after a link came back.
        pass(options.size(Duration::from_secs(3), Duration::from_millis(500)));
        ears.take();
        whole.push(longest(&ears, watched, names.len(), || Ok(()))?);
        gaps.push(longest(&ears, watched, names.len(), || wires.cut(one, other, true))?);
        wires.cut(one, other, false)?;
        herd.linked()?;
    }
    load.stop()?;
    Ok(())
}

/// The longest gap in what any ear hears of any writer, milliseconds, from `begin` on.
fn longest(
    ears: &Ears,
    watched: Duration,
    servers: usize,
    begin: impl FnOnce() -> Result<()>,
) -> Result<f64> {
    let since = unix_nanos();
    begin()?;
    pass(watched);
    let until = unix_nanos();
    let mut longest = 0_u64;
    let heard = ears.take();
    for (at, heard) in heard.iter().enumerate() {
        let mut last: BTreeMap<u16, u64> = BTreeMap::new();
        for &Heard { writer, at: arrived, .. } in heard.iter().filter(|h| h.at >= since) {
            let last = last.entry(writer).or_insert(since);
            longest = longest.max(arrived.saturating_sub(*last));
            *last = arrived;
        }
        let own = u16::try_from(at)?;
        last.remove(&own);
        ensure!(last.len() + 1 == servers, "a server heard of {} others only", last.len());
        for last in last.values() {
            longest = longest.max(until.saturating_sub(*last));
        }
    }
    Ok(longest as f64 / 1e6)
}
