//! `visible`: how long until a report is known one, two and three links away.
//!
//! One report at a time through a line of servers that do nothing else. Two ways to tell when the
//! last server knows:
//!
//! - *told*: the bench is a neighbor of the last server (`protocol = "at"`), and the clock stops
//!   when the AT line arrives. Nothing runs but the herd, so this is the time as it would be on an
//!   idle machine, one more hop included.
//! - *asked*: the last server is asked without pause, and the clock stops with the first answer that
//!   has the report. This is the plain meaning of "visible", but asking keeps a core or two busy.
//!
//! Then the same, asked, while half as many reports go through as can (`busy`).

mod busy;

use crate::Options;
use crate::herd::{Foreign, Herd, Plan};
use crate::machine::pass;
use crate::probe::{LOCATION, Probe, report, time_text, unix_nanos};
use crate::process::{Process, Scratch};
use crate::table::{Cell, Section, Sorted};
use anyhow::{Context as _, Result, ensure};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

/// A line of servers.
const NAMES: [&str; 4] = ["Hill", "Smith", "Singleton", "Jaquez"];
const LINKS: [(&str, &str); 3] =
    [("Hill", "Smith"), ("Smith", "Singleton"), ("Singleton", "Jaquez")];

/// Between two reports, so that each finds the herd at rest.
const REST: Duration = Duration::from_millis(3);

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "A report known elsewhere, milliseconds after it was sent",
        "Told: an AT line from the last server to the bench, its foreign neighbor. Asked: the last server \
         answers a WHATSAT with it, asked without pause. Beside them, one round trip to a bare echo.",
        &["distance", "told median", "told p99", "asked median", "asked p99"],
    );
    let reports = options.size(500, 20);
    let round_trip = echo(reports)?;
    section.row([
        Cell::text("echo"),
        Cell::text("-"),
        Cell::text("-"),
        Cell::figure(round_trip.at(0.5), 3),
        Cell::figure(round_trip.at(0.99), 3),
    ]);
    for links in 1..=3 {
        let told = told(options, links, reports)?;
        let asked = asked(&line(options, links)?, reports)?;
        section.row([
            Cell::text(format!("{links} link{}", if links == 1 { "" } else { "s" })),
            Cell::figure(told.at(0.5), 3),
            Cell::figure(told.at(0.99), 3),
            Cell::figure(asked.at(0.5), 3),
            Cell::figure(asked.at(0.99), 3),
        ]);
    }
    Ok(vec![section, busy::measure(options)?])
}

/// The first few reports find nothing warm.
const WARM_UP: usize = 20;

fn series(count: usize, mut one: impl FnMut(usize) -> Result<Duration>) -> Result<Sorted> {
    /// A herd that is far too late is not measured more often than this allows.
    const ENOUGH: Duration = Duration::from_secs(8);
    let mut times = Vec::new();
    let began = Instant::now();
    for number in 0..count + WARM_UP {
        if began.elapsed() > ENOUGH && !times.is_empty() {
            break;
        }
        pass(REST);
        let time = one(number)?;
        if number >= WARM_UP {
            times.push(time.as_secs_f64() * 1e3);
        }
    }
    Ok(Sorted::new(times))
}

fn told(options: &Options, links: usize, reports: usize) -> Result<Sorted> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ear = listener.local_addr()?;
    let names = NAMES.get(..=links).context("a line of servers")?;
    let last = names.last().context("a line has an end")?;
    let plan = Plan {
        names,
        links: LINKS.get(..links).context("a line of servers")?,
        foreign: &[Foreign { name: "Ear".to_owned(), address: ear, of: (*last).to_owned() }],
        ..Plan::default()
    };
    let herd = Herd::start(options, &plan)?;
    let mut ear = Probe::over(listener.accept()?.0)?;
    let first = herd.first()?;
    let mut client = Probe::connect(first.address)?;
    let mut last = Probe::connect(herd.servers.last().context("a line has an end")?.address)?;
    series(reports, |number| {
        let (name, time) = (format!("told{number}"), time_text(unix_nanos()));
        let line = report(&name, &time);
        let began = Instant::now();
        client.send(line.as_bytes())?;
        let heard = ear.line()?.to_vec();
        let took = began.elapsed();
        client.confirm(&first.name, &name, &time)?;
        ensure!(heard.ends_with(format!(" {name} {LOCATION} {time}").as_bytes()), "another report");
        ensure!(last.locate(&name)? == heard, "told and asked, the last server differs");
        Ok(took)
    })
}

/// A line of servers, each linked with the next.
fn line(options: &Options, links: usize) -> Result<Herd> {
    let plan = Plan {
        names: NAMES.get(..=links).context("a line of servers")?,
        links: LINKS.get(..links).context("a line of servers")?,
        ..Plan::default()
    };
    Herd::start(options, &plan)
}

/// Reports at the first server, one after another, until the last one tells them.
fn asked(herd: &Herd, reports: usize) -> Result<Sorted> {
    let first = herd.first()?;
    let mut client = Probe::connect(first.address)?;
    let mut last = Probe::connect(herd.servers.last().context("a line has an end")?.address)?;
    series(reports, |number| {
        /// Long after the deadline of everything else.
        const GIVE_UP: Duration = Duration::from_secs(20);
        let (name, time) = (format!("asked{number}"), time_text(unix_nanos()));
        let line = report(&name, &time);
        let began = Instant::now();
        client.send(line.as_bytes())?;
        let mut told = last.locate(&name)?;
        while told.is_empty() {
            ensure!(began.elapsed() < GIVE_UP, "{name} did not arrive");
            told = last.locate(&name)?;
        }
        let took = began.elapsed();
        client.confirm(&first.name, &name, &time)?;
        ensure!(told.ends_with(format!(" {name} {LOCATION} {time}").as_bytes()), "another report");
        Ok(took)
    })
}

/// A line sent to a bare echo and read again.
fn echo(count: usize) -> Result<Sorted> {
    let dir = Scratch::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    let echo = Process::start(command.arg("echo"), &dir.path().join("echo.errors"))?;
    let address: SocketAddr =
        echo.ready.rsplit(' ').next().context("the echo tells no address")?.parse()?;
    let mut client = Probe::connect(address)?;
    series(count, |number| {
        let line = report(&format!("echo{number}"), &time_text(unix_nanos()));
        let began = Instant::now();
        client.send(line.as_bytes())?;
        let same = client.line()? == line.trim_end().as_bytes();
        ensure!(same, "the echo changed a line");
        Ok(began.elapsed())
    })
}
