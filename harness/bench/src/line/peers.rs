//! IAMATs answered by one server with one thread, beside what others do with the same points: redis-server, which
//! has one thread too, and the herd in Python.
//!
//! Here clients move with every report: for Redis a point that stays would be no work.

use super::{CLIENTS, Rate, SHAPES, Shape, Side, pair};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::load::{Expect, Motion};
use crate::peers::python::PythonHerd;
use crate::peers::redis::Redis;
use crate::table::{Cell, Section, Spread};
use anyhow::{Context as _, Result};

/// Both ends of one connection are never without work at the deepest.
const DEPTH_MAX: usize = 100;

pub(super) fn measure(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "IAMATs answered by one server with one thread, against peers that are told the same points",
        &format!(
            "{CLIENTS} clients a connection, each moving some meters with every report; ratios of pairs within one \
             round. CPU is the processor time for each message; cores: how many were busy, of the server, the peer, \
             and the load while the server was asked."
        ),
        &[
            "peer and shape",
            "server /s",
            "peer /s",
            "server/peer",
            "ratio min–max",
            "server CPU µs",
            "peer CPU µs",
            "peer/server CPU",
            "server cores",
            "peer cores",
            "load cores",
        ],
    );
    let plan = Plan { names: &["Hill"], limits: &[("threads", 1)], ..Plan::default() };
    let herd = Herd::start(options, &plan)?;
    let first = herd.first()?;
    let server = Side {
        address: first.address,
        expect: Expect::At(first.name.clone()),
        motion: Motion::Walk,
        process: &first.process,
    };
    if let Some(redis) = Redis::start()?.or_row(&mut section) {
        let peer = Side {
            address: redis.address,
            expect: Expect::Count,
            motion: Motion::Walk,
            process: &redis.process,
        };
        rows(options, "redis GEOADD", &server, &peer, &mut section)?;
    }
    if let Some(python) = PythonHerd::start(&["Hill"], &[])?.or_row(&mut section) {
        let one = python.servers.first().context("one was asked for")?;
        let peer = Side {
            address: one.address,
            expect: Expect::At(one.name.clone()),
            motion: Motion::Walk,
            process: &one.process,
        };
        rows(options, &format!("Python on {}", python.kind), &server, &peer, &mut section)?;
    }
    Ok(section)
}

fn rows(
    options: &Options,
    name: &str,
    server: &Side<'_>,
    peer: &Side<'_>,
    section: &mut Section,
) -> Result<()> {
    for shape in SHAPES.iter().filter(|shape| shape.depth <= DEPTH_MAX) {
        row(options, name, shape, server, peer, section)?;
    }
    Ok(())
}

fn row(
    options: &Options,
    name: &str,
    shape: &Shape,
    server: &Side<'_>,
    peer: &Side<'_>,
    section: &mut Section,
) -> Result<()> {
    let pairs = (0..options.rounds())
        .map(|round| pair(options, shape, round, server, peer))
        .collect::<Result<Vec<_>>>()?;
    let over = |figure: fn(&(Rate, Rate)) -> f64| Spread::of(pairs.iter().map(figure));
    let ratio = over(|(server, peer)| server.per_second / peer.per_second);
    section.row([
        Cell::text(format!("{name}, {}", shape.what)),
        Cell::count(over(|(server, _)| server.per_second).median),
        Cell::count(over(|(_, peer)| peer.per_second).median),
        Cell::figure(ratio.median, 2),
        Cell::span(&ratio, |ratio| format!("{ratio:.2}")),
        Cell::figure(over(|(server, _)| server.cpu_us).median, 2),
        Cell::figure(over(|(_, peer)| peer.cpu_us).median, 2),
        Cell::figure(over(|(server, peer)| peer.cpu_us / server.cpu_us).median, 2),
        Cell::figure(over(|(server, _)| server.cores).median, 2),
        Cell::figure(over(|(_, peer)| peer.cores).median, 2),
        Cell::figure(over(|(server, _)| server.load_cores).median, 2),
    ]);
    Ok(())
}
