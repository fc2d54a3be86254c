//! The same graph of servers in Python: what the plainest herd makes of the same updates.
//!
//! Only once each: it has no bound on what waits for a link, so without pause it would owe more and more.

use super::{CONNECTIONS, End, LINKS, NAMES, Pace, Run, await_agreed, check};
use crate::Options;
use crate::load::{Load, Requests, Target};
use crate::peers::python::PythonHerd;
use crate::table::{Cell, Section, Spread, grouped};
use anyhow::Result;
use std::time::Instant;

pub(super) fn row(options: &Options, clients: usize, section: &mut Section) -> Result<()> {
    let mut runs = Vec::new();
    let mut kind = String::new();
    for _ in 0..options.rounds() {
        let Some(herd) = PythonHerd::start(&NAMES, &LINKS)?.or_row(section) else { return Ok(()) };
        runs.push(flood(options, clients, &herd)?);
        kind = herd.kind;
    }
    let over = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    let rate = over(|run| run.per_second);
    let all = (clients * CONNECTIONS * NAMES.len()) as f64;
    section.row([
        Cell::text(format!("{} once each, Python on {kind}", grouped(all))),
        Cell::count(rate.median),
        Cell::span(&rate, grouped),
        Cell::count(over(|run| run.one_by_one).median),
        Cell::figure(over(|run| run.cpu_us).median, 2),
        // It does not count them.
        Cell::text("-"),
        Cell::figure(over(|run| run.behind_ms).median, 1),
        Cell::figure(over(|run| run.cores).median, 2),
    ]);
    Ok(())
}

fn flood(options: &Options, clients: usize, herd: &PythonHerd) -> Result<Run> {
    let ends: Vec<End> = herd
        .servers
        .iter()
        .map(|server| End { name: server.name.clone(), address: server.address })
        .collect();
    let targets: Vec<Target> = ends.iter().map(|end| end.target(clients, Pace::Once)).collect();
    let said = Load::start(&targets, options.threads).finish()?;
    await_agreed(&ends, &said)?;
    let cpu = herd.cpu()?;
    let began = Instant::now();
    let said = Load::start(&targets, options.threads).finish()?;
    let answered = Instant::now();
    await_agreed(&ends, &said)?;
    let agreed = Instant::now();
    let cpu = herd.cpu()? - cpu;
    check(&ends, &said)?;
    let seconds = (agreed - began).as_secs_f64();
    let updates = said.iter().map(Requests::sent).sum::<u64>() as f64;
    Ok(Run {
        per_second: updates / seconds,
        // Nothing is overtaken where each client reports once and all are told all.
        one_by_one: updates / seconds,
        cpu_us: cpu * 1e6 / updates,
        records: f64::NAN,
        behind_ms: (agreed - answered).as_secs_f64() * 1e3,
        cores: cpu / seconds,
    })
}
