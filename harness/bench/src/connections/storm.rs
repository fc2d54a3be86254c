//! A storm: thousands of clients connect at once, and each wants its first answer.
//!
//! So it is when a server comes back after a fault, or a network does. Every client must be answered; how late
//! the last one is depends on how many connections the system completes before the server takes them, since
//! who finds no room there tries again after a second.

use super::{connect, possible, report};
use crate::Options;
use crate::herd::{Herd, Plan, Server};
use crate::table::{Cell, Section, Sorted, Spread, grouped};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Nobody waits longer; it is some attempts of the system's to connect.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// Less than the config has: shows what too little costs.
const BACKLOG: usize = 1024;

pub(super) fn measure(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "A storm of connects: each connects, reports, and gets its answer; milliseconds",
        "From the first connect until all are answered, median of the rounds and the longest; and from each \
         one's own connect to its answer, all rounds together. One that fails, or is answered wrongly, ends all.",
        &["clients at once", "all p50", "all max", "one p50", "one p99", "one max"],
    );
    let [few, many, most] = options.size([1000, 5000, 15_000], [50, 100, 200]);
    for (wanted, backlog) in [(few, None), (many, None), (most, None), (many, Some(BACKLOG))] {
        let count = possible(wanted);
        let mut limits = vec![("max_connections", count * 2)];
        limits.extend(backlog.map(|backlog| ("listen_backlog", backlog)));
        let plan = Plan { names: &["Hill"], limits: &limits, ..Plan::default() };
        let herd = Herd::start(options, &plan)?;
        let server = herd.first()?;
        let (mut all, mut each) = (Vec::new(), Vec::new());
        for round in 0..options.rounds() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (took, times) = runtime.block_on(storm(server, count, round))?;
            all.push(took);
            each.extend(times);
        }
        let (all, each) = (Spread::of(all), Sorted::new(each));
        section.row([
            Cell::text(match backlog {
                None => grouped(count as f64),
                Some(backlog) => format!("{}, backlog {backlog}", grouped(count as f64)),
            }),
            Cell::figure(all.median, 1),
            Cell::figure(all.max, 1),
            Cell::figure(each.at(0.5), 1),
            Cell::figure(each.at(0.99), 1),
            Cell::figure(each.at(1.0), 1),
        ]);
    }
    Ok(section)
}

/// Milliseconds until all were answered, and for each from its own connect.
async fn storm(server: &Server, count: usize, round: usize) -> Result<(f64, Vec<f64>)> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..count {
        let (address, name) = (server.address, server.name.clone());
        clients.spawn(async move {
            let came = Instant::now();
            let client = format!("storm{round:02}-{number:06}.example");
            let answered = async {
                let mut stream = connect(address, number).await?;
                report(&mut stream, &name, &client).await?;
                Ok::<_, anyhow::Error>(stream)
            };
            let stream = timeout(ANSWERED_WITHIN, answered).await??;
            Ok::<_, anyhow::Error>((stream, came.elapsed().as_secs_f64() * 1e3))
        });
    }
    let (mut held, mut times, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(ended) = clients.join_next().await {
        match ended? {
            Ok((stream, time)) => {
                held.push(stream);
                times.push(time);
            }
            Err(error) => failures.push(error),
        }
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    if let Some(first) = failures.first() {
        bail!(
            "{} of {count} clients were not answered, the first because: {first:#}",
            failures.len()
        );
    }
    Ok((took, times))
}
