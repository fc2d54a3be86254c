//! `flood`: updates spread through the five servers, all of them asked at once.
//!
//! The clock runs from the first report until every server has the last: what is not yet everywhere
//! is not counted as done. Then every client's newest AT line is asked for at each server and
//! compared, byte for byte, so that a fast herd that loses something fails.
//!
//! Beside them the same herd in Python.

mod peers;

use crate::Options;
use crate::herd::{Herd, Plan, number};
use crate::load::{Expect, Load, Motion, Requests, Target};
use crate::machine::pass;
use crate::probe::Probe;
use crate::table::{Cell, Section, Spread, grouped};
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The herd of the seeds.
const NAMES: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];
const LINKS: [(&str, &str); 6] = [
    ("Hill", "Jaquez"),
    ("Hill", "Smith"),
    ("Singleton", "Jaquez"),
    ("Singleton", "Smith"),
    ("Singleton", "Campbell"),
    ("Smith", "Campbell"),
];

/// Two for each server.
const CONNECTIONS: usize = 2;

/// Reports unanswered at once on one connection.
const DEPTH: usize = 500;

/// The servers agree within this after the last report.
const AGREED_WITHIN: Duration = Duration::from_mins(1);

/// How often clients report.
#[derive(Clone, Copy)]
enum Pace {
    /// Without pause, for a while. Where links do not keep up, a report may be overtaken by the next
    /// of the same client, and only that is sent on: what a busy herd does.
    Freely,
    /// Once each, after every server knew all of them: nothing can be overtaken, so every report is
    /// sent on and stored by all.
    Once,
}

pub(crate) fn measure(options: &Options) -> Result<Vec<Section>> {
    let mut section = Section::new(
        "Updates spread through five servers and six links, clients at all five",
        "From the first report until all five have the last; medians of the rounds. One by one: updates \
         that the other four stored, on average; the rest were overtaken by a newer one of the same client \
         while they waited for a link. CPU and records sent: for each update, all five added up. Behind: \
         from the last reply until all five agreed.",
        &[
            "clients",
            "updates/s",
            "min–max",
            "one by one /s",
            "CPU µs",
            "records",
            "behind ms",
            "server cores",
        ],
    );
    // Few clients that report often, as a game would; many that report now and then; and the strict
    // way to count.
    for (clients, pace) in [
        (options.size(1000, 50), Pace::Freely),
        (options.size(20_000, 200), Pace::Freely),
        (options.size(20_000, 200), Pace::Once),
    ] {
        let mut runs = Vec::new();
        for _ in 0..options.rounds() {
            runs.push(flood(options, clients, pace)?);
        }
        let over = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
        let rate = over(|run| run.per_second);
        let pace = match pace {
            Pace::Freely => "without pause",
            Pace::Once => "once each",
        };
        let all = (clients * CONNECTIONS * NAMES.len()) as f64;
        section.row([
            Cell::text(format!("{} {pace}", grouped(all))),
            Cell::count(rate.median),
            Cell::span(&rate, grouped),
            Cell::count(over(|run| run.one_by_one).median),
            Cell::figure(over(|run| run.cpu_us).median, 2),
            Cell::figure(over(|run| run.records).median, 2),
            Cell::figure(over(|run| run.behind_ms).median, 1),
            Cell::figure(over(|run| run.cores).median, 2),
        ]);
    }
    peers::row(options, options.size(20_000, 200), &mut section)?;
    Ok(vec![section])
}

struct Run {
    per_second: f64,
    one_by_one: f64,
    cpu_us: f64,
    records: f64,
    behind_ms: f64,
    cores: f64,
}

fn flood(options: &Options, clients: usize, pace: Pace) -> Result<Run> {
    let herd = Herd::start(options, &Plan { names: &NAMES, links: &LINKS, ..Plan::default() })?;
    let ends: Vec<End> = herd
        .servers
        .iter()
        .map(|server| End { name: server.name.clone(), address: server.address })
        .collect();
    let targets: Vec<Target> = ends.iter().map(|end| end.target(clients, pace)).collect();
    if let Pace::Once = pace {
        let said = Load::start(&targets, options.threads).finish()?;
        await_agreed(&ends, &said)?;
    }
    let counts = Counts::of(&herd)?;
    let began = Instant::now();
    let load = Load::start(&targets, options.threads);
    let said = match pace {
        Pace::Freely => {
            load.pass(options.seconds() * 2);
            load.stop()?
        }
        Pace::Once => load.finish()?,
    };
    let answered = Instant::now();
    await_agreed(&ends, &said)?;
    let agreed = Instant::now();
    let then = Counts::of(&herd)?;
    herd.all_know(said.iter().map(|said| said.newest().count()).sum(), AGREED_WITHIN)?;
    check(&ends, &said)?;
    let seconds = (agreed - began).as_secs_f64();
    let updates = said.iter().map(Requests::sent).sum::<u64>() as f64;
    let taken = (then.taken - counts.taken) as f64 / (NAMES.len() - 1) as f64;
    Ok(Run {
        per_second: updates / seconds,
        one_by_one: taken / seconds,
        cpu_us: (then.cpu - counts.cpu) * 1e6 / updates,
        records: (then.sent - counts.sent) as f64 / updates,
        behind_ms: (agreed - answered).as_secs_f64() * 1e3,
        cores: (then.cpu - counts.cpu) / seconds,
    })
}

/// What all servers together have done so far.
struct Counts {
    /// Seconds.
    cpu: f64,
    /// Records sent over links.
    sent: u64,
    /// Records that came over links and were stored.
    taken: u64,
}

impl Counts {
    fn of(herd: &Herd) -> Result<Self> {
        let mut counts = Self { cpu: herd.cpu()?, sent: 0, taken: 0 };
        for server in &herd.servers {
            for link in server.status()?["links"].as_array().context("no links in the status")? {
                counts.sent += number(&link["records_sent"])?;
            }
            counts.taken += server.taken_from_others()?;
        }
        Ok(counts)
    }
}

/// A server as its clients see it.
struct End {
    name: String,
    address: SocketAddr,
}

impl End {
    fn target(&self, clients: usize, pace: Pace) -> Target {
        Target {
            address: self.address,
            expect: Expect::At(self.name.clone()),
            connections: CONNECTIONS,
            depth: DEPTH.min(clients),
            clients,
            prefix: format!("{}-", self.name),
            motion: Motion::Still,
            rate: None,
            reports_max: match pace {
                Pace::Freely => u64::MAX,
                Pace::Once => clients as u64,
            },
        }
    }
}

/// Waits until every server tells the last report of every connection.
fn await_agreed(ends: &[End], said: &[Requests]) -> Result<()> {
    ends.iter().try_for_each(|server| await_last(server, said))
}

/// Waits until `server` tells the last report of every connection.
fn await_last(server: &End, said: &[Requests]) -> Result<()> {
    let deadline = Instant::now() + AGREED_WITHIN;
    let mut probe = Probe::connect(server.address)?;
    for last in said.iter().filter_map(Requests::last) {
        let client = last.split(' ').next().unwrap_or_default();
        while !probe.locate(client)?.ends_with(format!(" {last}").as_bytes()) {
            ensure!(Instant::now() < deadline, "{} never heard of {last}", server.name);
            pass(Duration::from_micros(200));
        }
    }
    Ok(())
}

/// Every client's newest report is the same AT line at every server, and the one it sent last.
fn check(ends: &[End], said: &[Requests]) -> Result<()> {
    let newest: Vec<&str> = said.iter().flat_map(Requests::newest).collect();
    let mut agreed: Vec<Vec<u8>> = Vec::new();
    for server in ends {
        let told = locate_all(server, &newest)?;
        for (line, newest) in told.iter().zip(&newest) {
            if !line.ends_with(format!(" {newest}").as_bytes()) {
                bail!("{} tells {:?}, not {newest}", server.name, String::from_utf8_lossy(line));
            }
        }
        if agreed.is_empty() {
            agreed = told;
        } else {
            ensure!(agreed == told, "{} and {} do not agree", NAMES[0], server.name);
        }
    }
    Ok(())
}

fn locate_all(server: &End, newest: &[&str]) -> Result<Vec<Vec<u8>>> {
    /// So many questions are sent at once: their answers fit into the sockets' buffers.
    const AT_ONCE: usize = 200;
    let mut probe = Probe::connect(server.address)?;
    let mut lines = Vec::with_capacity(newest.len());
    for some in newest.chunks(AT_ONCE) {
        let mut questions = String::new();
        for report in some {
            let client = report.split(' ').next().unwrap_or_default();
            // Writing to a String cannot fail.
            let _infallible = writeln!(questions, "WHATSAT {client} 0 0");
        }
        probe.send(questions.as_bytes())?;
        for _ in some {
            lines.push(probe.located()?);
        }
    }
    Ok(lines)
}
