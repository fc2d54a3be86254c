//! `always`: answers that wait until the disk has their report, beside what the disk does by itself.
//!
//! Sixty-four clients that each wait for their answer: if every report had an fsync of its own they would
//! be answered no faster than the disk makes files safe.

use super::Args;
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::load::{Expect, Load, Motion, Target};
use crate::table::{Cell, Section, Spread};
use anyhow::Result;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

const CONNECTIONS: usize = 64;

/// About what one report takes in a file.
const RECORD_BYTES: usize = 150;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "fsync = \"always\": 64 clients, each waiting for its answer",
        "The disk: one thread that writes a record at the end of a file in the same directory and makes it \
         safe, again and again, measured before and after each round. Updates must be 20 times that.",
        &["round", "updates /s", "fsyncs /s", "updates/fsync"],
    );
    let plan = Plan { names: &["Hill"], fsync: Some("always"), ..Plan::default() };
    let herd = Herd::start(options, &plan)?;
    let hill = herd.first()?;
    let dir = herd.data_dir("Hill");
    let mut ratios = Vec::new();
    for round in 0..options.rounds() {
        let before = fsyncs(options, &dir)?;
        let target = Target {
            address: hill.address,
            expect: Expect::At(hill.name.clone()),
            connections: CONNECTIONS,
            depth: 1,
            clients: 1,
            prefix: "walker-".to_owned(),
            motion: Motion::Still,
            rate: None,
            reports_max: u64::MAX,
        };
        let load = Load::start(&[target], options.threads);
        load.pass(options.warm_up());
        let (began, answered) = (Instant::now(), load.answered());
        load.pass(options.seconds());
        let updates = (load.answered() - answered) as f64 / began.elapsed().as_secs_f64();
        load.stop()?;
        let disk = f64::midpoint(before, fsyncs(options, &dir)?);
        ratios.push(updates / disk);
        section.row([
            Cell::count((round + 1) as f64),
            Cell::count(updates),
            Cell::count(disk),
            Cell::figure(updates / disk, 1),
        ]);
    }
    section.remark(&format!("Median: {:.1}.", Spread::of(ratios).median));
    Ok(vec![section])
}

/// How often a second a file in this directory can be made safe.
fn fsyncs(options: &Options, dir: &Path) -> Result<f64> {
    let path = dir.join("measure.tmp");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < options.seconds() / 2 {
        file.write_all(&[b'.'; RECORD_BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}
