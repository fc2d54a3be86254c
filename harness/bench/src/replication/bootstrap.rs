//! `bootstrap`: an empty server beside one that knows very many clients.
//!
//! The clock runs from the start of the process until it knows every client and says that it is ready.

use super::{AGREED_WITHIN, Args};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::pulse::{Beat, Control, Pulse};
use crate::table::{Cell, Section, Sorted, Spread};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

pub(super) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let clients = args.clients(options);
    let mut section = Section::new(
        &format!("An empty server beside one that knows {clients} clients, over loopback"),
        "Seconds from starting its process until it knows all and is ready; must be 5 at most. The donor's \
         clients, milliseconds: one that reports every millisecond, at rest and meanwhile; p99 must be 10 \
         at most. Echo: the same against a bare echo meanwhile, which is what the machine does.",
        &["round", "seconds", "rest p99", "meanwhile p99", "max", "echo p99", "echo max"],
    );
    let control = Control::start()?;
    let mut seconds = Vec::new();
    for round in 0..options.rounds().min(3) {
        let plan = Plan {
            names: &["Hill", "Smith"],
            links: &[("Hill", "Smith")],
            asleep: &["Smith"],
            ..Plan::default()
        };
        let mut herd = Herd::start(options, &plan)?;
        herd.first()?.fill("walker-", clients)?;
        let pulse = Pulse::of(herd.first()?, Beat::Fresh)?;
        pass(options.seconds());
        let rest = pulse.stop()?;
        let (pulse, echo) = (Pulse::of(herd.first()?, Beat::Fresh)?, control.pulse()?);
        let began = Instant::now();
        herd.wake("Smith")?;
        let smith = herd.server("Smith")?;
        // One more: the pulse is a client too.
        while smith.clients()? < clients as u64 + 1 || smith.status()?["ready"] != true {
            ensure!(
                began.elapsed() < AGREED_WITHIN,
                "Smith does not get ready: {}",
                smith.status()?
            );
            pass(Duration::from_millis(10));
        }
        let took = began.elapsed().as_secs_f64();
        let (pulse, echo) = (pulse.stop()?, echo.stop()?);
        seconds.push(took);
        let ms = |times: &Sorted, part| Cell::figure(times.at(part), 2);
        section.row([
            Cell::count((round + 1) as f64),
            Cell::figure(took, 2),
            ms(&rest, 0.99),
            ms(&pulse, 0.99),
            ms(&pulse, 1.0),
            ms(&echo, 0.99),
            ms(&echo, 1.0),
        ]);
    }
    section.remark(&format!("Median: {:.2} s.", Spread::of(seconds).median));
    Ok(vec![section])
}
