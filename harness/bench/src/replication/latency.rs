//! `latency`: how long an update takes to be known at every other server, beside plain flooding.
//!
//! A foreign neighbor at each server hears what that server learns. With flooding the first way is the
//! fastest there is at that moment; a tree has to be as fast without trying all ways.

use super::graph::Graph;
use super::{Args, FLOODING, STREAMS};
use crate::Options;
use crate::ears::{Ears, of_server};
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pace::{Pace, Paced};
use crate::table::{Cell, Section, Sorted, Spread};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::time::Duration;

/// Reports a second at all servers together: the largest graph must not fill the machine when it floods,
/// or what is measured is the machine.
const RATE: u32 = 500;

/// So long trees settle before anything counts.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "From a report to its being known at each of the other servers, milliseconds, all servers writing",
        "Medians of the rounds. Ratios: streams to flooding, of each round; must be 1.10 at most at the \
         median and 1.25 at p99. On links of 20 ms with up to 10 ms of jitter more, and on plain loopback.",
        &[
            "graph and links",
            "streams p50",
            "p99",
            "flooding p50",
            "p99",
            "ratio p50",
            "min–max",
            "ratio p99",
            "min–max",
        ],
    );
    let late = Manner {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(10),
        ..Manner::default()
    };
    let herds = [
        (Graph::seeds(), Some(late)),
        (Graph::seeds(), None),
        (Graph::mesh(), Some(late)),
        (Graph::mesh(), None),
        (Graph::grid(), Some(late)),
    ];
    for (graph, manner) in herds.into_iter().take(options.size(5, 2)) {
        let mut rounds = Vec::new();
        for round in 0..options.rounds() {
            // Whoever goes second finds the machine warm: that changes sides.
            let pair = if round % 2 == 0 {
                let streams = delays(options, &graph, manner, STREAMS)?;
                (streams, delays(options, &graph, manner, FLOODING)?)
            } else {
                let flooding = delays(options, &graph, manner, FLOODING)?;
                (delays(options, &graph, manner, STREAMS)?, flooding)
            };
            rounds.push(pair);
        }
        let over =
            |figure: &dyn Fn(&(Sorted, Sorted)) -> f64| Spread::of(rounds.iter().map(figure));
        let ratio = |part| over(&|(streams, flooding)| streams.at(part) / flooding.at(part));
        let links = if manner.is_some() { "20 ms" } else { "loopback" };
        section.row([
            Cell::text(format!("{}, {links}", graph.what)),
            Cell::figure(over(&|(streams, _)| streams.at(0.5)).median, 2),
            Cell::figure(over(&|(streams, _)| streams.at(0.99)).median, 2),
            Cell::figure(over(&|(_, flooding)| flooding.at(0.5)).median, 2),
            Cell::figure(over(&|(_, flooding)| flooding.at(0.99)).median, 2),
            Cell::figure(ratio(0.5).median, 3),
            Cell::span(&ratio(0.5), |ratio| format!("{ratio:.3}")),
            Cell::figure(ratio(0.99).median, 3),
            Cell::span(&ratio(0.99), |ratio| format!("{ratio:.3}")),
        ]);
    }
    Ok(vec![section])
}

fn delays(
    options: &Options,
    graph: &Graph,
    manner: Option<Manner>,
    redundancy: &str,
) -> Result<Sorted> {
    let (names, links) = (graph.names(), graph.links());
    let ears = Ears::of(&names)?;
    let wires = manner.map(Wires::new).transpose()?;
    let foreign = ears.foreign();
    let plan = Plan {
        names: &names,
        links: &links,
        foreign: &foreign,
        redundancy,
        wires: wires.as_ref(),
        ..Plan::default()
    };
    let herd = Herd::start(options, &plan)?;
    let rate = RATE / u32::try_from(names.len())?;
    let load = Paced::start(&herd.servers, Pace { rate, clients: RATE })?;
    pass(options.size(SETTLE, Duration::from_millis(500)));
    // What was sent from here on counts.
    let since = crate::probe::unix_nanos();
    pass(options.seconds());
    let until = crate::probe::unix_nanos();
    // What is on its way arrives.
    pass(Duration::from_millis(500));
    load.stop()?;
    let heard = ears.take();
    let mut delays = Vec::new();
    for at in 0..names.len() {
        let heard = of_server(&heard, at)?.iter();
        let counted = heard.filter(|heard| {
            usize::from(heard.writer) != at && (since..until).contains(&heard.sent)
        });
        delays.extend(counted.map(|heard| heard.at.saturating_sub(heard.sent) as f64 / 1e6));
    }
    let servers = names.len() as f64;
    let sent = servers * f64::from(rate) * (until - since) as f64 / 1e9;
    let expected = sent * (servers - 1.0);
    let told = delays.len() as f64;
    ensure!(told > 0.8 * expected, "of some {expected:.0} deliveries only {told} were heard");
    Ok(Sorted::new(delays))
}
