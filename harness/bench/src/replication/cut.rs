//! `cut`: two servers that know very many clients, a long cut, a few changes at one of them.
//!
//! Bytes are counted where they come out of the wire between the two, in both directions, from its
//! mending until both know all that changed and are linked again.

use super::{AGREED_WITHIN, Args, at_rest};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::probe::Probe;
use crate::pulse::{Beat, Control, Pulse};
use crate::table::{Cell, Section};
use crate::wires::{Manner, Wires};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// The lower name dials.
const HERE: &str = "Hill";
const THERE: &str = "Smith";

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = args.clients(options);
    let changed = clients / 100 / 4 * 4;
    let cut_for = args.cut(options);
    let mut section = Section::new(
        &format!(
            "A link cut for {} s between servers of {clients} clients, {changed} of which report meanwhile",
            cut_for.as_secs_f64()
        ),
        "Bytes: all that comes over the link from its mending until both are at rest again. Records: what \
         stands in the reports that changed, as an AT line of each. Allowed: 1.3 times that and 16 KB. \
         Pauses, milliseconds: a client at each side that reports every millisecond, during and after the \
         cut; no more than 20 is allowed. Echo: the same against a bare echo.",
        &[
            "round",
            "bytes",
            "records",
            "ratio",
            "allowed",
            "caught up ms",
            "pause",
            "p99",
            "echo pause",
        ],
    );
    let control = Control::start()?;
    for round in 0..options.rounds().min(3) {
        let wires = Wires::new(Manner::default())?;
        let plan = Plan {
            names: &[HERE, THERE],
            links: &[(HERE, THERE)],
            wires: Some(&wires),
            ..Plan::default()
        };
        let herd = Herd::start(options, &plan)?;
        let (here, there) = (herd.server(HERE)?, herd.server(THERE)?);
        here.fill("walker-", clients / 2)?;
        there.fill("rider-", clients / 2)?;
        herd.all_know(clients, AGREED_WITHIN)?;
        at_rest(&herd)?;
        let pulses =
            [Pulse::of(here, Beat::Stale)?, Pulse::of(there, Beat::Stale)?, control.pulse()?];
        herd.all_know(clients + 2, AGREED_WITHIN)?;
        wires.cut(HERE, THERE, true)?;
        let cut_at = Instant::now();
        // Each of the first so many reports once more; those of the first connection come first.
        let text = here.fill("walker-", changed)?;
        let records = changed * (text + "AT Hill +0.000000000 ".len() + 1);
        pass(cut_for.saturating_sub(cut_at.elapsed()));
        let before = wires.passed(HERE, THERE)?;
        wires.cut(HERE, THERE, false)?;
        let mended_at = Instant::now();
        // What changed last, as each connection of `fill` said it.
        let last = format!("walker-003-{:07}.example", changed / 4 - 1);
        let (mut ask_here, mut ask_there) =
            (Probe::connect(here.address)?, Probe::connect(there.address)?);
        let newest = ask_here.locate(&last)?;
        while ask_there.locate(&last)? != newest {
            ensure!(mended_at.elapsed() < AGREED_WITHIN, "{THERE} never hears of what changed");
            pass(Duration::from_millis(5));
        }
        let caught_up = mended_at.elapsed();
        at_rest(&herd)?;
        let bytes = wires.passed(HERE, THERE)? - before;
        let [here_pulse, there_pulse, echo] = pulses;
        let (here_pulse, there_pulse, echo) =
            (here_pulse.stop()?, there_pulse.stop()?, echo.stop()?);
        section.row([
            Cell::count((round + 1) as f64),
            Cell::count(bytes as f64),
            Cell::count(records as f64),
            Cell::figure(bytes as f64 / records as f64, 3),
            Cell::count(1.3 * records as f64 + 16384.0),
            Cell::figure(caught_up.as_secs_f64() * 1e3, 0),
            Cell::figure(here_pulse.at(1.0).max(there_pulse.at(1.0)), 2),
            Cell::figure(here_pulse.at(0.99).max(there_pulse.at(0.99)), 2),
            Cell::figure(echo.at(1.0), 2),
        ]);
    }
    Ok(vec![section])
}
