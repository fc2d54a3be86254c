//! `split`: a herd of four falls into two halves for longer than it remembers servers, and comes together again.

use super::known::{equal, records_sent};
use super::{Args, STUCK_AFTER};
use crate::Options;
use crate::herd::{Herd, Plan};
use crate::machine::pass;
use crate::replication::at_rest;
use crate::table::{Cell, Section};
use crate::wires::{Manner, Wires};
use anyhow::Result;
use std::time::{Duration, Instant};

const FOUR: [&str; 4] = ["Hill", "Jaquez", "Smith", "Campbell"];
const LINKS: [(&str, &str); 4] =
    [("Hill", "Jaquez"), ("Smith", "Campbell"), ("Hill", "Smith"), ("Jaquez", "Campbell")];

/// Those of them that break.
const BROKEN: [(&str, &str); 2] = [("Hill", "Smith"), ("Jaquez", "Campbell")];

/// The herd forgets servers after this, and is split for longer.
const FORGET_AFTER: &str = "5s";
const SPLIT_FOR: Duration = Duration::from_secs(20);

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let (clients, changed) = options.size((50_000, 200), (2000, 8));
    let mut section = Section::new(
        &format!(
            "Four servers split for four times forget_after, {clients} clients, {changed} of which report"
        ),
        "From when the links are up again: seconds until all show the same; records sent and bytes on all links until \
         ten seconds later, and the bytes beyond what a calm herd sends in as long a time. At most 2,000 records and \
         1.5 MB are allowed.",
        &["clients", "changed", "equal s", "records", "bytes", "calm bytes", "beyond"],
    );
    let wires = Wires::new(Manner::default())?;
    let plan = Plan {
        names: &FOUR,
        links: &LINKS,
        wires: Some(&wires),
        forget_after: FORGET_AFTER,
        ..Plan::default()
    };
    let herd = Herd::start(options, &plan)?;
    let first = herd.server("Hill")?;
    first.fill("walker-", clients)?;
    herd.all_know(clients, STUCK_AFTER)?;
    at_rest(&herd)?;
    let passed =
        || -> Result<u64> { LINKS.iter().map(|(one, other)| wires.passed(one, other)).sum() };
    let watched = options.size(Duration::from_secs(10), Duration::from_secs(1));
    pass(watched / 2);
    let (calm_since, before) = (Instant::now(), passed()?);
    pass(watched);
    let calm = (passed()? - before) as f64 / calm_since.elapsed().as_secs_f64();
    for (one, other) in BROKEN {
        wires.take_down(one, other, true)?;
    }
    let split = Instant::now();
    first.fill("walker-", changed / 2)?;
    herd.server("Smith")?.fill("rider-", changed / 2)?;
    pass(options.size(SPLIT_FOR, Duration::from_secs(1)).saturating_sub(split.elapsed()));
    let (records, bytes) = (records_sent(&herd)?, passed()?);
    let joined = Instant::now();
    for (one, other) in BROKEN {
        wires.take_down(one, other, false)?;
    }
    let equal_s = equal(&herd, "", joined, STUCK_AFTER)?;
    pass(watched);
    let bytes = (passed()? - bytes) as f64;
    let calm = calm * joined.elapsed().as_secs_f64();
    section.row([
        Cell::count(clients as f64),
        Cell::count(changed as f64),
        Cell::figure(equal_s, 2),
        Cell::count((records_sent(&herd)? - records) as f64),
        Cell::count(bytes),
        Cell::count(calm),
        Cell::count(bytes - calm),
    ]);
    Ok(vec![section])
}
