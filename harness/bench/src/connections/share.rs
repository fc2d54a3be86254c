//! The share of each: greedy clients pipeline a million commands, and another asks one at a time.
//!
//! Some clients report at a steady pace while greedy ones do, and as many ask a bare echo meanwhile: what
//! both of them lose went to the load, which shares the cores, and not to a server that serves the greedy
//! first.

use crate::Options;
use crate::herd::{Herd, Server};
use crate::load::{Expect, Load, Motion, Requests, Target};
use crate::machine;
use crate::pulse::{Beat, Control, Pulse};
use crate::table::{Cell, Section, Sorted, Spread};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Greedy clients at once.
const GREEDY: [usize; 2] = [1, 4];

/// Modest clients at once, and how often each asks. A client asks once more only when it was answered, so the
/// pause is longer than any answer should take.
const MODEST: usize = 5;
const EVERY: Duration = Duration::from_millis(10);

/// What a greedy one keeps unanswered: two megabytes, so that the server is never without work of it.
const DEPTH: usize = 30_000;

pub(super) fn measure(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "Clients that ask every 10 ms while greedy ones pipeline a million commands each; milliseconds",
        "From when a report was due until its answer, medians of the rounds; p99 more: than without greedy ones \
         in the same round. Echo: a bare echo asked meanwhile, which shows what is the machine's.",
        &[
            "greedy",
            "p50",
            "p99",
            "max",
            "p99 more",
            "lowest",
            "highest",
            "echo p50",
            "echo p99",
            "echo max",
            "greedy /s",
        ],
    );
    let control = Control::start()?;
    let herd = Herd::of_one(options, false)?;
    let server = herd.first()?;
    let mut quiet = Vec::new();
    let mut greedy = GREEDY.map(|_| Vec::new());
    for _ in 0..options.rounds() {
        quiet.push(beside(server, &control, || {
            machine::pass(options.seconds());
            Ok(0)
        })?);
        for (runs, count) in greedy.iter_mut().zip(GREEDY) {
            runs.push(beside(server, &control, || devour(options, server, count))?);
        }
    }
    let names = GREEDY.map(|count| count.to_string());
    for (name, runs) in
        std::iter::once(("none", &quiet)).chain(names.iter().map(String::as_str).zip(&greedy))
    {
        let over = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure)).median;
        let more =
            runs.iter().zip(&quiet).map(|(run, quiet)| run.pulse.at(0.99) - quiet.pulse.at(0.99));
        let more = Spread::of(more);
        section.row([
            Cell::text(name),
            Cell::figure(over(|run| run.pulse.at(0.5)), 3),
            Cell::figure(over(|run| run.pulse.at(0.99)), 3),
            Cell::figure(over(|run| run.pulse.at(1.0)), 3),
            Cell::figure(more.median, 3),
            Cell::figure(more.min, 3),
            Cell::figure(more.max, 3),
            Cell::figure(over(|run| run.echo.at(0.5)), 3),
            Cell::figure(over(|run| run.echo.at(0.99)), 3),
            Cell::figure(over(|run| run.echo.at(1.0)), 3),
            Cell::count(over(|run| run.devoured)),
        ]);
    }
    Ok(section)
}

/// What one round found.
struct Run {
    pulse: Sorted,
    echo: Sorted,
    /// Commands of the greedy ones answered in a second.
    devoured: f64,
}

/// Modest clients ask the server and the echo while something is done.
fn beside(server: &Server, control: &Control, busy: impl Fn() -> Result<u64>) -> Result<Run> {
    let ask = |_| Ok([Pulse::slow(server, Beat::Fresh, EVERY)?, control.slow_pulse(EVERY)?]);
    let modest = (0..MODEST).map(ask).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    let count = busy()?;
    let devoured = count as f64 / began.elapsed().as_secs_f64();
    let (mut pulses, mut echoes) = (Vec::new(), Vec::new());
    for [pulse, echo] in modest {
        pulses.push(pulse.stop()?);
        echoes.push(echo.stop()?);
    }
    Ok(Run { pulse: Sorted::join(pulses), echo: Sorted::join(echoes), devoured })
}

/// So many clients ask for a million commands each; returns how many that were.
fn devour(options: &Options, server: &Server, greedy: usize) -> Result<u64> {
    let commands = options.size(1_000_000, 10_000);
    let depth = options.size(DEPTH, 1000);
    let target = Target {
        address: server.address,
        expect: Expect::At(server.name.clone()),
        connections: greedy,
        depth,
        clients: depth,
        prefix: "greedy-".to_owned(),
        motion: Motion::Still,
        rate: None,
        reports_max: commands,
    };
    let said = Load::start(&[target], options.threads).finish()?;
    let sent = said.iter().map(Requests::sent).sum::<u64>();
    ensure!(sent == commands * greedy as u64, "{sent} commands were sent");
    Ok(sent)
}
