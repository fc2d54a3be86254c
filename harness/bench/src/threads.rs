//! `threads`: processor time for a message with two threads, against that with one.
//!
//! What a second thread costs is waiting for the first: locks, and caches that change hands. Two servers, one
//! with one thread and one with two, are measured in turn, and the ratio is taken of each such pair. That two
//! are also faster shows only where the machine has cores to spare for the load.

use crate::Options;
use crate::herd::{Herd, Plan};
use crate::line::{Rate, SHAPES, Side};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;

/// The deepest of the shapes that a bare echo is compared at.
const DEPTH_MAX: usize = 100;

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "Processor time for an IAMAT by the threads that serve clients, microseconds",
        "Medians of the rounds; the ratio is of each pair, one right after the other. Beside them, what \
         each answered in a second.",
        &["shape", "one", "two", "two/one", "ratio min–max", "one /s", "two /s"],
    );
    let herd = |threads| {
        let limits = &[("threads", threads)];
        Herd::start(options, &Plan { names: &["Hill"], limits, ..Plan::default() })
    };
    let (one, two) = (herd(1)?, herd(2)?);
    let (one, two) = (Side::of(one.first()?), Side::of(two.first()?));
    for shape in SHAPES.iter().filter(|shape| shape.depth <= DEPTH_MAX) {
        let mut pairs = Vec::new();
        for round in 0..options.rounds() {
            // Whoever goes second finds the machine warm: that changes sides too.
            let pair = if round % 2 == 0 {
                let one = one.ask(options, shape)?;
                (one, two.ask(options, shape)?)
            } else {
                let two = two.ask(options, shape)?;
                (one.ask(options, shape)?, two)
            };
            pairs.push(pair);
        }
        let over = |figure: fn(&(Rate, Rate)) -> f64| Spread::of(pairs.iter().map(figure));
        let ratio = over(|(one, two)| two.cpu_us / one.cpu_us);
        section.row([
            Cell::text(shape.what),
            Cell::figure(over(|(one, _)| one.cpu_us).median, 2),
            Cell::figure(over(|(_, two)| two.cpu_us).median, 2),
            Cell::figure(ratio.median, 2),
            Cell::span(&ratio, |ratio| format!("{ratio:.2}")),
            Cell::count(over(|(one, _)| one.per_second).median),
            Cell::count(over(|(_, two)| two.per_second).median),
        ]);
    }
    Ok(vec![section])
}
