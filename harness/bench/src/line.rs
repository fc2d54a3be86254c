//! `line`: IAMATs answered by one server, beside a bare echo of the same lines, and beside peers.
//!
//! Server and echo are measured in turn, one right after the other, so that what else happens on the
//! machine meets both; the ratio is taken of each such pair. Processor time for each message is
//! steadier than the rate: it does not tell how the cores were shared with the load.

mod peers;

use crate::Options;
use crate::herd::{Herd, Server};
use crate::load::{Expect, Load, Motion, Requests, Target};
use crate::process::{self, Process, Scratch};
use crate::table::{Cell, Section, Spread, grouped};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

/// One way to ask.
pub(crate) struct Shape {
    pub(crate) what: &'static str,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
}

pub(crate) const SHAPES: [Shape; 4] = [
    Shape { what: "50 connections, depth 1", connections: 50, depth: 1 },
    Shape { what: "50 connections, depth 16", connections: 50, depth: 16 },
    Shape { what: "50 connections, depth 100", connections: 50, depth: 100 },
    // Some 300 KB of requests and of replies: more than a server reads or holds at once, so it is
    // never without work, and less than would make it stop reading for long.
    Shape { what: "4 connections, pipelined", connections: 4, depth: 3000 },
];

/// Distinct clients of one connection.
pub(crate) const CLIENTS: usize = 1000;

const COLUMNS: [&str; 10] = [
    "shape",
    "server /s",
    "min–max",
    "echo /s",
    "server/echo",
    "ratio min–max",
    "server CPU µs",
    "echo CPU µs",
    "server cores",
    "load cores",
];

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "IAMATs answered by one server, against a bare echo of the same lines",
        "Medians of the rounds; CPU is the processor time for each message; cores: how many were busy, \
         of those the server had and the load.",
        &COLUMNS,
    );
    let dir = Scratch::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    let echo = Process::start(command.arg("echo"), &dir.path().join("echo.errors"))?;
    let echo = Side {
        address: echo.ready.rsplit(' ').next().context("the echo tells no address")?.parse()?,
        expect: Expect::Echo,
        motion: Motion::Still,
        process: &echo,
    };
    for log_traffic in [false, true] {
        let herd = Herd::of_one(options, log_traffic)?;
        let first = herd.first()?;
        let server = Side::of(first);
        let mut answered = 0;
        for shape in SHAPES {
            // One row shows what logging every message costs, at the depth in the middle.
            if !log_traffic || shape.depth == 16 {
                answered += row(options, &shape, log_traffic, &server, &echo, &mut section)?;
            }
        }
        if log_traffic {
            // A line for each message received and one for each sent.
            let lost = first.log_lines_lost()? as f64 / (2 * answered) as f64;
            section.remark(&format!("Of the messages to log {:.0} % were lost.", lost * 100.0));
        }
    }
    Ok(vec![section, peers::measure(options)?])
}

/// Measures one shape; returns how many messages the server answered.
fn row(
    options: &Options,
    shape: &Shape,
    log_traffic: bool,
    server: &Side<'_>,
    echo: &Side<'_>,
    section: &mut Section,
) -> Result<u64> {
    let mut pairs = Vec::new();
    for round in 0..options.rounds() {
        pairs.push(pair(options, shape, round, server, echo)?);
    }
    let over = |figure: fn(&(Rate, Rate)) -> f64| Spread::of(pairs.iter().map(figure));
    let rate = over(|(server, _)| server.per_second);
    let ratio = over(|(server, echo)| server.per_second / echo.per_second);
    let logged = if log_traffic { ", every message logged" } else { "" };
    section.row([
        Cell::text(format!("{}{logged}", shape.what)),
        Cell::count(rate.median),
        Cell::span(&rate, grouped),
        Cell::count(over(|(_, echo)| echo.per_second).median),
        Cell::figure(ratio.median, 2),
        Cell::span(&ratio, |ratio| format!("{ratio:.2}")),
        Cell::figure(over(|(server, _)| server.cpu_us).median, 2),
        Cell::figure(over(|(_, echo)| echo.cpu_us).median, 2),
        Cell::figure(over(|(server, _)| server.cores).median, 2),
        Cell::figure(over(|(server, _)| server.load_cores).median, 2),
    ]);
    Ok(pairs.iter().map(|(server, _)| server.answered).sum())
}

/// Measures both, one right after the other.
fn pair(
    options: &Options,
    shape: &Shape,
    round: usize,
    one: &Side<'_>,
    other: &Side<'_>,
) -> Result<(Rate, Rate)> {
    // Whoever goes second finds the machine warm: that changes sides too.
    if round.is_multiple_of(2) {
        let one = one.ask(options, shape)?;
        Ok((one, other.ask(options, shape)?))
    } else {
        let other = other.ask(options, shape)?;
        Ok((one.ask(options, shape)?, other))
    }
}

/// One of the two that are compared.
pub(crate) struct Side<'a> {
    address: SocketAddr,
    expect: Expect,
    motion: Motion,
    process: &'a Process,
}

/// What one measurement found.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// Processor time for each message.
    pub(crate) cpu_us: f64,
    /// Cores that were busy with answering, and with asking.
    cores: f64,
    load_cores: f64,
    /// Messages in all, warming up included.
    answered: u64,
}

impl<'a> Side<'a> {
    pub(crate) fn of(server: &'a Server) -> Self {
        Self {
            address: server.address,
            expect: Expect::At(server.name.clone()),
            motion: Motion::Still,
            process: &server.process,
        }
    }

    /// Lets clients report for a while and tells how fast they were answered.
    pub(crate) fn ask(&self, options: &Options, shape: &Shape) -> Result<Rate> {
        let target = Target {
            address: self.address,
            expect: self.expect.clone(),
            connections: shape.connections,
            depth: shape.depth,
            clients: CLIENTS,
            prefix: "walker-".to_owned(),
            motion: self.motion,
            rate: None,
            reports_max: u64::MAX,
        };
        let load = Load::start(&[target], options.threads);
        load.pass(options.warm_up());
        let look = || -> Result<_> {
            Ok((Instant::now(), load.answered(), self.process.cpu()?, process::own_cpu()?))
        };
        let (began, answered, cpu, own) = look()?;
        load.pass(options.seconds());
        let (ended, answered_then, cpu_then, own_then) = look()?;
        let said = load.stop()?;
        let seconds = (ended - began).as_secs_f64();
        let count = (answered_then - answered) as f64;
        let cpu = cpu_then - cpu;
        Ok(Rate {
            per_second: count / seconds,
            cpu_us: cpu * 1e6 / count,
            cores: cpu / seconds,
            load_cores: (own_then - own) / seconds,
            answered: said.iter().map(Requests::sent).sum(),
        })
    }
}
