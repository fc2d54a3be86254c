//! `answers`: IAMATs answered by a server that writes them down, beside the same server without a directory.

use super::{Args, EVERY_50_MS};
use crate::Options;
use crate::herd::{Herd, Plan, Server};
use crate::line::{CLIENTS, SHAPES, Shape};
use crate::load::{Expect, Load, Motion, Target};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;
use std::time::Instant;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "IAMATs answered by a server with a data directory, against the same server without one",
        "Medians of the rounds; the ratio is taken of each pair, measured one right after the other. \
         Pipelined at 50ms it must be 0.6 at least. CPU is the servers' processor time for each message.",
        &[
            "fsync, shape",
            "durable /s",
            "without /s",
            "ratio",
            "min–max",
            "CPU µs",
            "without CPU µs",
        ],
    );
    let plain = Herd::start(options, &Plan { names: &["Hill"], ..Plan::default() })?;
    for fsync in [EVERY_50_MS, "os"] {
        let plan = Plan { names: &["Hill"], fsync: Some(fsync), ..Plan::default() };
        let durable = Herd::start(options, &plan)?;
        for shape in &SHAPES {
            let mut pairs = Vec::new();
            for round in 0..options.rounds() {
                // Whoever goes second finds the machine warm: that changes sides too.
                pairs.push(if round % 2 == 0 {
                    let durable = ask(options, durable.first()?, shape)?;
                    (durable, ask(options, plain.first()?, shape)?)
                } else {
                    let plain = ask(options, plain.first()?, shape)?;
                    (ask(options, durable.first()?, shape)?, plain)
                });
            }
            let over = |figure: fn(&(Rate, Rate)) -> f64| Spread::of(pairs.iter().map(figure));
            let ratio = over(|(durable, plain)| durable.per_second / plain.per_second);
            section.row([
                Cell::text(format!("{fsync}, {}", shape.what)),
                Cell::count(over(|(durable, _)| durable.per_second).median),
                Cell::count(over(|(_, plain)| plain.per_second).median),
                Cell::figure(ratio.median, 2),
                Cell::span(&ratio, |ratio| format!("{ratio:.2}")),
                Cell::figure(over(|(durable, _)| durable.cpu_us).median, 2),
                Cell::figure(over(|(_, plain)| plain.cpu_us).median, 2),
            ]);
        }
    }
    Ok(vec![section])
}

struct Rate {
    per_second: f64,
    cpu_us: f64,
}

fn ask(options: &Options, server: &Server, shape: &Shape) -> Result<Rate> {
    let target = Target {
        address: server.address,
        expect: Expect::At(server.name.clone()),
        connections: shape.connections,
        depth: shape.depth,
        clients: CLIENTS,
        prefix: "walker-".to_owned(),
        motion: Motion::Still,
        rate: None,
        reports_max: u64::MAX,
    };
    let load = Load::start(&[target], options.threads);
    load.pass(options.warm_up());
    let look = || -> Result<_> { Ok((Instant::now(), load.answered(), server.process.cpu()?)) };
    let (began, answered, cpu) = look()?;
    load.pass(options.seconds());
    let (ended, answered_then, cpu_then) = look()?;
    load.stop()?;
    let count = (answered_then - answered) as f64;
    let per_second = count / (ended - began).as_secs_f64();
    Ok(Rate { per_second, cpu_us: (cpu_then - cpu) * 1e6 / count })
}
