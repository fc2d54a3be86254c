//! `holds`: the longest that any call holds the node's lock, while a server grows to very many clients.
//!
//! Everything runs in this process, on one thread and in virtual time: a node with a journal, then a second node that
//! catches up from it, and the calls that servers make with the lock held, in the sizes in which they make them. What
//! counts is the thread's CPU time, so that a busy machine does not. Absent: sockets, files, and everything that
//! servers do outside of the lock.

use crate::Options;
use crate::city::Chance;
use crate::table::{Cell, Section};
use anyhow::{Context as _, Result, ensure};
use herd_geo::Point;
use herd_node::{
    Ceiling, DialRole, Dialect, JournalId, LinkId, NearestSearch, NearestStep, Node, PeerId,
    PeerSettings, PeerState, Recovery, Redundancy, Settings,
};
use herd_proto::{Command, Instant, Now, UnixTime, Versions};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How many clients.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Clients of the server at its largest
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    clients: usize,
}

/// What the issue allows a holder of the lock.
const ALLOWED: Duration = Duration::from_millis(2);

/// Lines that a connection hands over in one go.
const BATCH_LINES: usize = 64;
/// A million reports a minute.
const BATCH_EVERY: Duration = Duration::from_micros(60 * BATCH_LINES as u64);
/// Bytes that the journal writer takes in one go.
const JOURNAL_BYTES: usize = 32 * 1024;
/// Bytes that are taken for a link, or read from it, in one go.
const SENT_BYTES: usize = 32 * 1024;
const RECEIVED_BYTES: usize = 8 * 1024;
/// Places read in one go after a start.
const PLACES: u32 = 256;
/// The most clients that a question about neighborhoods may ask for.
const NEAREST: usize = 1000;
/// Both as short as phases of this measure need them.
const HORIZON: Duration = Duration::from_mins(30);
const STEADY: Duration = Duration::from_hours(2);

pub(crate) fn measure(options: &Options, args: &Args) -> Result<Vec<Section>> {
    let mut world = World::new(options.size(args.clients, 5000));
    world.grow()?;
    world.ask()?;
    world.compact()?;
    world.recover()?;
    world.catch_up()?;
    world.forget_and_expire()?;
    Ok(vec![world.section])
}

/// One server and what drives it.
struct World {
    clients: usize,
    now: Now,
    hill: Node,
    journal: JournalId,
    section: Section,
}

impl World {
    fn new(clients: usize) -> Self {
        let now = Now { instant: Instant::from_nanos(1), unix: UnixTime::from_nanos(BEGIN_NS) };
        let mut hill = Node::new(settings("Hill", "Jaquez"), now);
        let journal = hill.open_journal();
        let section = Section::new(
            "Longest holds of the node's lock, microseconds of CPU time",
            "Each call as servers make it, with everything that it makes the node do.",
            &["phase, call", "calls", "mean", "longest", "over 1 ms", "over 2 ms"],
        );
        Self { clients, now, hill, journal, section }
    }

    fn pass(&mut self, time: Duration) {
        let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        self.now.instant = self.now.instant + time;
        self.now.unix = UnixTime::from_nanos(self.now.unix.nanos().saturating_add(nanos));
    }

    /// All clients come, then as many reports of random clients, a million a minute.
    fn grow(&mut self) -> Result<()> {
        for phase in ["growing", "moving"] {
            let mut reports = Holds::new(phase, "64 reports");
            let mut timers = Holds::new(phase, "timers");
            let mut journaled = Holds::new(phase, "32 KB of the journal");
            let mut chance = Chance(7);
            for first in (0..self.clients).step_by(BATCH_LINES) {
                let lines: Vec<_> = (first..(first + BATCH_LINES).min(self.clients))
                    .map(|at| {
                        let is_new = phase == "growing";
                        let client = if is_new { at } else { chance.below(self.clients) };
                        line(client, self.now.unix, &mut chance)
                    })
                    .collect();
                let now = self.now;
                reports.hold(&mut self.hill, |node| report(node, &lines, now));
                self.pass(BATCH_EVERY);
                tick(&mut self.hill, self.now, &mut timers);
                poll_journal(&mut self.hill, self.journal, &mut journaled)?;
            }
            for holds in [reports, timers, journaled] {
                self.add(holds);
            }
        }
        ensure!(self.hill.clients() == self.clients, "{} clients", self.hill.clients());
        Ok(())
    }

    fn ask(&mut self) -> Result<()> {
        let mut holds = Holds::new("all known", "1,000 nearest, a step");
        let mut chance = Chance(9);
        for _ in 0..1000 {
            let (from, now) = (point(&mut chance)?, self.now);
            let found = nearest(&mut self.hill, from, now, &mut holds);
            ensure!(found == NEAREST.min(self.clients), "{found} found");
        }
        self.add(holds);
        let mut holds = Holds::new("all known", "status and members");
        for _ in 0..10 {
            let now = self.now;
            holds.hold(&mut self.hill, |node| (node.herd(now).len(), node.peers().count()));
        }
        self.add(holds);
        Ok(())
    }

    /// A second journal begins with everything, while clients go on.
    fn compact(&mut self) -> Result<()> {
        let mut opened = Holds::new("compacting", "open and close");
        let mut slices = Holds::new("compacting", "32 KB of the next journal");
        let mut reports = Holds::new("compacting", "64 reports");
        let mut chance = Chance(11);
        let next = opened.hold(&mut self.hill, Node::open_journal);
        loop {
            let told = slice(&mut self.hill, next, &mut slices)?;
            let lines: Vec<_> = (0..BATCH_LINES)
                .map(|_| line(chance.below(self.clients), self.now.unix, &mut chance))
                .collect();
            let now = self.now;
            reports.hold(&mut self.hill, |node| report(node, &lines, now));
            self.pass(Duration::from_millis(1));
            if told {
                break;
            }
        }
        let old = std::mem::replace(&mut self.journal, next);
        opened.hold(&mut self.hill, |node| node.close_journal(old));
        for holds in [opened, slices, reports] {
            self.add(holds);
        }
        Ok(())
    }

    /// The same server once more, as it starts with its disk.
    fn recover(&mut self) -> Result<()> {
        let mut recovery = Recovery::new(settings("Hill", "Jaquez"), self.now);
        let disk = self.hill.open_journal();
        while !self
            .hill
            .poll_journal(disk, |record| {
                recovery.load(*record);
                true
            })
            .context("a journal was lost")?
            .is_all
        {}
        self.hill.close_journal(disk);
        let (mut node, _journal) = recovery.finish();
        ensure!(node.clients() == self.clients, "{} clients recovered", node.clients());
        let mut places = Holds::new("recovered", "256 places");
        while places.hold(&mut node, |node| node.learn_places(PLACES)) {}
        self.add(places);
        Ok(())
    }

    /// An empty server takes everything over, while clients go on at the full one.
    fn catch_up(&mut self) -> Result<()> {
        let mut calls = [
            ("full peer", "32 KB sent"),
            ("full peer", "8 KB received"),
            ("full peer", "timers"),
            ("empty peer", "32 KB sent"),
            ("empty peer", "8 KB received"),
            ("empty peer", "timers"),
        ]
        .map(|(phase, call)| Holds::new(phase, call));
        let [sent, received, timers, sent_back, received_there, timers_there] = &mut calls;
        let mut reports = Holds::new("full peer", "64 reports");
        let mut jaquez = Node::new(settings("Jaquez", "Hill"), self.now);
        let connected = self.hill.handle_connected(PeerId(0), self.now);
        let here = connected.context("no link")?;
        let there = jaquez.handle_accepted(self.now);
        let mut chance = Chance(13);
        let begun = self.now.instant;
        loop {
            let lines: Vec<_> = (0..BATCH_LINES)
                .map(|_| line(chance.below(self.clients), self.now.unix, &mut chance))
                .collect();
            let now = self.now;
            reports.hold(&mut self.hill, |node| report(node, &lines, now));
            carry((&mut self.hill, here, sent), (&mut jaquez, there, received_there), now);
            carry((&mut jaquez, there, sent_back), (&mut self.hill, here, received), now);
            self.pass(Duration::from_millis(1));
            tick(&mut self.hill, self.now, timers);
            tick(&mut jaquez, self.now, timers_there);
            let is_up = jaquez.peers().all(|peer| peer.state == PeerState::Up);
            if is_up && jaquez.clients() == self.clients {
                break;
            }
            let took = self.now.instant.since(begun);
            ensure!(
                took < Duration::from_mins(20),
                "after {took:?} only {} arrived",
                jaquez.clients()
            );
        }
        let mut closed = Holds::new("full peer", "link closed");
        let now = self.now;
        closed.hold(&mut self.hill, |node| node.handle_link_closed(here, String::new(), now));
        calls.into_iter().chain([reports, closed]).for_each(|holds| self.add(holds));
        Ok(())
    }

    /// A tenth of all clients are forgotten; then everything expires, tombstones last.
    fn forget_and_expire(&mut self) -> Result<()> {
        let mut forgotten = Holds::new("forgetting", "one client");
        for client in (0..self.clients).step_by(10) {
            let (name, now) = (name(client), self.now);
            forgotten.hold(&mut self.hill, |node| node.handle_forget(&name, now));
            self.pass(Duration::from_micros(10));
        }
        let mut timers = Holds::new("expiring", "timers");
        let mut searches = Holds::new("expiring", "1,000 nearest, a step");
        let mut journaled = Holds::new("expiring", "32 KB of the journal");
        let mut chance = Chance(15);
        let end = self.now.instant + STEADY;
        let mut asked_at = self.now.instant;
        while self.now.instant < end {
            let due = self.hill.poll_timeout().map(|at| at.since(self.now.instant));
            self.pass(due.unwrap_or(Duration::from_secs(1)).max(Duration::from_millis(1)));
            tick(&mut self.hill, self.now, &mut timers);
            poll_journal(&mut self.hill, self.journal, &mut journaled)?;
            if self.now.instant.since(asked_at) > Duration::from_secs(10) {
                asked_at = self.now.instant;
                let (from, now) = (point(&mut chance)?, self.now);
                nearest(&mut self.hill, from, now, &mut searches);
            }
        }
        ensure!(self.hill.clients() == 0, "{} clients did not expire", self.hill.clients());
        for holds in [forgotten, timers, searches, journaled] {
            self.add(holds);
        }
        Ok(())
    }

    fn add(&mut self, holds: Holds) {
        let micros = |ns: u64| ns as f64 / 1000.0;
        eprintln!("{}: {} us", holds.what, micros(holds.longest_ns));
        self.section.row([
            Cell::text(holds.what),
            Cell::count(holds.calls as f64),
            Cell::figure(micros(holds.sum_ns / holds.calls.max(1)), 1),
            Cell::figure(micros(holds.longest_ns), 0),
            Cell::count(holds.over_half as f64),
            Cell::count(holds.over as f64),
        ]);
    }
}

/// How long calls of one kind took.
struct Holds {
    what: String,
    calls: u64,
    sum_ns: u64,
    longest_ns: u64,
    over_half: u64,
    over: u64,
}

impl Holds {
    fn new(phase: &str, call: &str) -> Self {
        let what = format!("{phase}, {call}");
        Self { what, calls: 0, sum_ns: 0, longest_ns: 0, over_half: 0, over: 0 }
    }

    /// One hold of the lock: a call, and what the node asks for after it.
    fn hold<R>(&mut self, node: &mut Node, call: impl FnOnce(&mut Node) -> R) -> R {
        let begun = cpu();
        let result = call(node);
        while node.poll_output().is_some() {}
        let took = cpu().saturating_sub(begun);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.calls += 1;
        self.sum_ns += nanos;
        self.longest_ns = self.longest_ns.max(nanos);
        self.over_half += u64::from(took > ALLOWED / 2);
        self.over += u64::from(took > ALLOWED);
        if took > ALLOWED {
            // The calls of two runs are the same, so one that is long in both is so by itself.
            eprintln!("{}: call {} took {} us", self.what, self.calls, took.as_micros());
        }
        result
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn tick(node: &mut Node, now: Now, holds: &mut Holds) {
    if node.poll_timeout().is_some_and(|at| at <= now.instant) {
        holds.hold(node, |node| node.handle_timeout(now));
    }
}

fn report(node: &mut Node, lines: &[String], now: Now) {
    let commands = || lines.iter().map(|line| Command::parse(line.as_bytes()));
    node.expect_reports(lines.iter().filter_map(|line| line.split(' ').nth(1)));
    for command in commands() {
        if let Command::Iamat(iamat) = command {
            node.handle_report(&iamat, now);
        }
    }
}

/// Searches for the nearest clients step by step, as servers do; returns how many were found.
fn nearest(node: &mut Node, from: Point, now: Now, holds: &mut Holds) -> usize {
    let mut search = NearestSearch::new(from, 1e6, NEAREST);
    loop {
        let found = holds.hold(node, |node| match node.nearest(&mut search, now) {
            NearestStep::Recovering => Some(0),
            NearestStep::Unfinished => None,
            NearestStep::Found(clients) => Some(clients.len()),
        });
        if let Some(found) = found {
            return found;
        }
    }
}

/// Everything that a journal has to say, in slices.
fn poll_journal(node: &mut Node, id: JournalId, holds: &mut Holds) -> Result<()> {
    while !slice(node, id, holds)? {}
    Ok(())
}

/// One slice; true if it was the last.
fn slice(node: &mut Node, id: JournalId, holds: &mut Holds) -> Result<bool> {
    let mut bytes = 0;
    let told = holds.hold(node, |node| {
        node.poll_journal(id, |record| {
            bytes += record.key.len() + record.value.len();
            bytes < JOURNAL_BYTES
        })
    });
    Ok(told.context("a journal was lost")?.is_all)
}

type Side<'a> = (&'a mut Node, LinkId, &'a mut Holds);

/// What one side has to say now goes to the other.
fn carry((from, link, sent): Side<'_>, (to, link_there, received): Side<'_>, now: Now) {
    let mut bytes = Vec::new();
    sent.hold(from, |node| node.poll_transmit(link, &mut bytes, SENT_BYTES, now));
    for bytes in bytes.chunks(RECEIVED_BYTES) {
        received.hold(to, |node| node.handle_link_input(link_there, bytes, now));
    }
}

/// 2027, so that whole seconds have ten digits.
const BEGIN_NS: i64 = 1_800_000_000_000_000_000;

fn name(client: usize) -> String {
    format!("walker-{client:08}")
}

fn line(client: usize, at: UnixTime, chance: &mut Chance) -> String {
    let (lat, lon) = (34.0 + chance.part(), -118.0 - chance.part());
    let seconds = at.nanos() as f64 / 1e9;
    format!("IAMAT {} {lat:+.6}{lon:+.6} {seconds:.6}", name(client))
}

fn point(chance: &mut Chance) -> Result<Point> {
    Ok(Point::new(34.0 + chance.part(), -118.0 - chance.part())?)
}

fn settings(name: &str, peer: &str) -> Settings {
    Settings {
        herd: "bench".to_owned(),
        name: name.to_owned(),
        incarnation: 1,
        seed: 1,
        members: [name, peer].map(Into::into).into(),
        peers: vec![PeerSettings {
            name: peer.to_owned(),
            dialect: Dialect::Native,
            role: DialRole::Always,
            dead_after: Duration::from_hours(2),
        }],
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: Duration::from_mins(10),
        horizon: HORIZON,
        expire_after: None,
        future_skew_max: Duration::from_mins(1),
        ceiling: Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: Duration::from_hours(1),
        hello_within: Duration::from_hours(1),
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(5),
        ready_grace: Duration::from_secs(3),
    }
}
