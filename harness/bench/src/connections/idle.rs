//! Idle connections: what one costs in the server's memory, and what it costs those who come new.

use super::{connect, possible, report};
use crate::Options;
use crate::herd::{Herd, Plan, Server, number};
use crate::machine;
use crate::probe::{LOCATION, Probe, time_text, unix_nanos};
use crate::table::{Cell, Section, Sorted, grouped};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

pub(super) fn measure(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "Idle connections of one server",
        "Resident, with that many connections that said nothing, or were answered once. New client: from \
         connecting to its answer meanwhile, milliseconds, and before there was any of them.",
        &[
            "connections",
            "resident MB",
            "bytes/connection",
            "new client p50",
            "p99",
            "max",
            "before p50",
            "before p99",
        ],
    );
    let wanted = options.size(50_000, 200);
    let count = possible(wanted);
    if count < wanted {
        section.remark(&format!(
            "Wanted were {}; the system lets a process open {} files and no more.",
            grouped(wanted as f64),
            grouped(machine::open_files_max() as f64)
        ));
    }
    for answered in [false, true] {
        // Room for those who come new, too.
        let limits = &[("max_connections", wanted + 1000)];
        let plan = Plan { names: &["Hill"], limits, ..Plan::default() };
        let herd = Herd::start(options, &plan)?;
        let server = herd.first()?;
        // Also so that what every connection shares is there before the count begins.
        let few = new_clients(options, server, "early")?;
        let before = server.process.resident_bytes()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let held = runtime.block_on(open(server, count, answered))?;
        await_connections(server, count)?;
        let after = server.process.resident_bytes()?;
        let many = new_clients(options, server, "late")?;
        drop(held);
        let what = if answered { "answered once" } else { "said nothing" };
        section.row([
            Cell::text(format!("{} {what}", grouped(count as f64))),
            Cell::figure(after as f64 / 1e6, 1),
            Cell::figure(after.saturating_sub(before) as f64 / count as f64, 0),
            Cell::figure(many.at(0.5), 3),
            Cell::figure(many.at(0.99), 3),
            Cell::figure(many.at(1.0), 3),
            Cell::figure(few.at(0.5), 3),
            Cell::figure(few.at(0.99), 3),
        ]);
    }
    Ok(section)
}

async fn open(server: &Server, count: usize, answered: bool) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let mut stream = connect(server.address, number).await?;
        if answered {
            report(&mut stream, &server.name, &format!("idle{number}")).await?;
        }
        held.push(stream);
    }
    Ok(held)
}

/// Waits until the server has taken them all.
fn await_connections(server: &Server, count: usize) -> Result<()> {
    /// It takes some ten thousand in a second.
    const TAKEN_WITHIN: Duration = Duration::from_mins(1);
    let deadline = Instant::now() + TAKEN_WITHIN;
    loop {
        let told = number(&server.status()?["connections"])?;
        if told >= count as u64 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the server took {told} of {count} connections");
        machine::pass(Duration::from_millis(5));
    }
}

/// Milliseconds that new clients waited for their first answers, one after another.
fn new_clients(options: &Options, server: &Server, prefix: &str) -> Result<Sorted> {
    let one = |number| Ok(new_client(server, &format!("{prefix}{number}"))?.as_secs_f64() * 1e3);
    Ok(Sorted::new((0..options.size(500, 10)).map(one).collect::<Result<_>>()?))
}

fn new_client(server: &Server, name: &str) -> Result<Duration> {
    let time = time_text(unix_nanos());
    let began = Instant::now();
    let mut probe = Probe::connect(server.address)?;
    probe.report(&server.name, name, &time)?;
    let took = began.elapsed();
    ensure!(
        probe.locate(name)?.ends_with(format!(" {name} {LOCATION} {time}").as_bytes()),
        "a new client is not known"
    );
    Ok(took)
}
