//! `starved`: the five servers share 0.3 of a core, and are all killed under load again and again.

use super::known::Known;
use super::outages::outage;
use super::{Args, EVERY_50_MS, FIVE, FIVE_LINKS, STUCK_AFTER};
use crate::Options;
use crate::herd::{Herd, Plan, Server, number};
use crate::machine::pass;
use crate::pace::Pace;
use crate::quota::Quota;
use crate::table::{Cell, Section, Sorted};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};

/// Of each tenth of a second.
const SHARE: Duration = Duration::from_millis(30);

/// Reports a second at each server: more than they can take.
const RATE: u32 = 1000;

pub(super) fn measure(options: &Options, _args: &Args) -> Result<Vec<Section>> {
    let (rounds, clients): (u32, u32) = options.size((12, 2000), (1, 100));
    let total = clients as usize * FIVE.len();
    let quota = Quota::new(SHARE);
    let mut section = Section::new(
        &format!(
            "The seeds' five share 0.3 of a core ({}), {total} clients, all killed under load and started",
            quota.manner()
        ),
        "Equal: seconds from when the last of the five listens until all show the same, by their counts of clients \
         and then by their dumps, which take of the same share; at most 10 are allowed after the last round. \
         Time-outs: links given up since the start because of silence, at most of any link; at most 2 are allowed.",
        &["rounds", "equal p50 s", "max", "last s", "time-outs a link", "all"],
    );
    let plan =
        Plan { names: &FIVE, links: &FIVE_LINKS, fsync: Some(EVERY_50_MS), ..Plan::default() };
    let mut herd = Herd::start(options, &plan)?;
    let pace = Pace { rate: RATE, clients };
    for (writer, server) in herd.servers.iter().enumerate() {
        server.fill(&format!("walker-{writer}-"), clients as usize)?;
    }
    herd.all_know(total, STUCK_AFTER)?;
    herd.share(quota)?;
    let (mut seconds, mut most, mut all) = (Vec::new(), 0, 0);
    for _ in 0..rounds {
        outage(options, &mut herd, pace)?;
        seconds.push(equal(&herd)?);
        pass(options.seconds());
        (most, all) = (0, 0);
        for server in &herd.servers {
            let timeouts = timeouts(server)?;
            most = timeouts.iter().copied().fold(most, u64::max);
            all += timeouts.iter().sum::<u64>();
        }
    }
    let last = seconds.last().copied().unwrap_or(f64::NAN);
    let sorted = Sorted::new(seconds);
    section.row([
        Cell::count(f64::from(rounds)),
        Cell::figure(sorted.at(0.5), 2),
        Cell::figure(sorted.at(1.0), 2),
        Cell::figure(last, 2),
        Cell::count(most as f64),
        Cell::count(all as f64),
    ]);
    Ok(vec![section])
}

/// As [`known::equal`](super::known::equal), and with fewer dumps.
fn equal(herd: &Herd) -> Result<f64> {
    let listened = Instant::now();
    loop {
        let asked = listened.elapsed();
        ensure!(asked < STUCK_AFTER, "after {asked:?} starved servers do not agree");
        let counts = herd.servers.iter().map(Server::clients).collect::<Result<Vec<_>>>()?;
        if counts.iter().all(|count| Some(count) == counts.first()) {
            let known = herd.servers.iter().map(|server| Known::of(server, ""));
            let known = known.collect::<Result<Vec<_>>>()?;
            if known.iter().all(|one| Some(one) == known.first()) {
                return Ok(asked.as_secs_f64());
            }
        }
        pass(Duration::from_millis(100));
    }
}

/// Of each link of a server.
fn timeouts(server: &Server) -> Result<Vec<u64>> {
    let status = server.status()?;
    let links = status["links"].as_array().context("no links in the status")?;
    links.iter().map(|link| number(&link["timeouts"])).collect()
}
