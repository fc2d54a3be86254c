//! `memory`: bytes for each client and for each idle connection.
//!
//! Resident memory of the server's process before and after, divided. What the kernel keeps for a
//! socket is not in it.

use crate::Options;
use crate::herd::{Herd, Server};
use crate::load::{Expect, Load, Motion, Target};
use crate::machine;
use crate::probe::{LOCATION, Probe, time_text, unix_nanos};
use crate::table::{Cell, Section, Sorted};
use anyhow::{Context as _, Result, ensure};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    Ok(vec![clients(options)?, connections(options)?])
}

fn clients(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "Memory for each client of one server",
        "Resident, after so many clients reported `rounds` times in all; text: name, location and time of \
         one report.",
        &["clients", "rounds", "resident MB", "bytes/client", "text bytes"],
    );
    for (clients, rounds) in options
        .size([(100_000, 1), (100_000, 4), (1_000_000, 1)], [(1000, 1), (1000, 4), (2000, 1)])
    {
        let herd = Herd::of_one(options, false)?;
        let server = herd.first()?;
        let before = server.process.resident_bytes()?;
        let connections = 4;
        let target = Target {
            address: server.address,
            expect: Expect::At(server.name.clone()),
            connections,
            depth: 100,
            clients: clients / connections,
            prefix: "walker-".to_owned(),
            motion: Motion::Still,
            rate: None,
            reports_max: (clients / connections * rounds) as u64,
        };
        let said = Load::start(&[target], options.threads).finish()?;
        let known = said.iter().map(|requests| requests.newest().count()).sum::<usize>();
        ensure!(known == clients, "{known} clients reported, not {clients}");
        let told = crate::herd::number(&server.status()?["clients"])?;
        ensure!(told == clients as u64, "the server knows {told} clients, not {clients}");
        let after = server.process.resident_bytes()?;
        let text = said.first().and_then(|requests| requests.last()).map_or(0, |r| r.len() - 2);
        section.row([
            Cell::count(clients as f64),
            Cell::count(rounds as f64),
            Cell::figure(after as f64 / 1e6, 1),
            Cell::figure(after.saturating_sub(before) as f64 / clients as f64, 1),
            Cell::count(text as f64),
        ]);
    }
    Ok(section)
}

fn connections(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        "Idle connections of one server",
        "Resident, with that many connections that said nothing, or were answered once. New client: from \
         connecting to its answer meanwhile.",
        &[
            "connections",
            "resident MB",
            "bytes/connection",
            "new client ms",
            "new client p99",
            "new client max",
        ],
    );
    // The other end of each is a file of this process.
    let spare = 500;
    let wanted = options.size(10_000, 200);
    let count = wanted.min(machine::open_files_max().saturating_sub(spare));
    for answered in [false, true] {
        let herd = Herd::of_one(options, false)?;
        let server = herd.first()?;
        // Once through, so that what every connection shares is there before the count begins.
        new_client(server, 0)?;
        let before = server.process.resident_bytes()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let held = runtime.block_on(open(server, count, answered))?;
        await_connections(server, count)?;
        let after = server.process.resident_bytes()?;
        let newcomers = options.size(200, 10);
        let mut times = Vec::new();
        for number in 0..newcomers {
            times.push(new_client(server, number + 1)?.as_secs_f64() * 1e3);
        }
        let times = Sorted::new(times);
        drop(held);
        section.row([
            Cell::text(format!(
                "{count} {}",
                if answered { "answered once" } else { "said nothing" }
            )),
            Cell::figure(after as f64 / 1e6, 1),
            Cell::figure(after.saturating_sub(before) as f64 / count as f64, 0),
            Cell::figure(times.at(0.5), 3),
            Cell::figure(times.at(0.99), 3),
            Cell::figure(times.at(1.0), 3),
        ]);
    }
    Ok(section)
}

/// Opens connections from several addresses, since one has too few ports for very many.
async fn open(server: &Server, count: usize, answered: bool) -> Result<Vec<TcpStream>> {
    const PER_ADDRESS: usize = 5000;
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        let last = u8::try_from(number / PER_ADDRESS + 1).context("too many connections")?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
        let mut stream = socket.connect(server.address).await?;
        if answered {
            let line = crate::probe::report(&format!("idle{number}"), &time_text(unix_nanos()));
            stream.write_all(line.as_bytes()).await?;
            let mut reply = [0; 256];
            let mut filled = 0;
            while !reply[..filled].ends_with(b"\n") {
                let count = stream.read(&mut reply[filled..]).await?;
                ensure!(count > 0, "the server closed a connection or answered too much");
                filled += count;
            }
            ensure!(
                reply.starts_with(format!("AT {} ", server.name).as_bytes()),
                "a wrong answer: {:?}",
                String::from_utf8_lossy(&reply[..filled])
            );
        }
        held.push(stream);
    }
    Ok(held)
}

fn await_connections(server: &Server, count: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let told = crate::herd::number(&server.status()?["connections"])?;
        if told >= count as u64 {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the server took {told} of {count} connections");
        machine::pass(Duration::from_millis(5));
    }
}

/// How long a new client waits for its first answer.
fn new_client(server: &Server, number: usize) -> Result<Duration> {
    let (name, time) = (format!("new{number}"), time_text(unix_nanos()));
    let began = Instant::now();
    let mut probe = Probe::connect(server.address)?;
    probe.report(&server.name, &name, &time)?;
    let took = began.elapsed();
    ensure!(
        probe.locate(&name)?.ends_with(format!(" {name} {LOCATION} {time}").as_bytes()),
        "a new client is not known"
    );
    Ok(took)
}
