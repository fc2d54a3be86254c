//! One history: its servers, their clocks, and the time that passes.

use crate::chance::Chance;
use crate::disk::{Directory, Writer};
use crate::oracle::{AHEAD_MIN, Oracle};
use crate::plan::{Absence, Plan, nanos};
use crate::report::{Count, Report};
use crate::tuning::has_small_tables;
use crate::wire::Wire;
use herd_proto::{Instant, Now, UnixTime};
use herd_replica::{Mutant, Replica};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

/// A history in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Repeats it.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// What had happened, if it was asked for.
    pub trace: Vec<String>,
}

/// Everything starts at this wall-clock time.
pub(crate) const START_NS: i64 = 1_700_000_000_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Events at one moment at most.
const STALLED_MAX: u64 = 100_000;

/// Events of one history at most; a storm of restarts has some hundred thousand.
const EVENTS_MAX: u64 = 3_000_000;

thread_local! {
    /// The seed that this thread runs, for a panic to name.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// The seed that this thread runs.
pub fn current_seed() -> u64 {
    SEED.get()
}

/// Runs the history of `seed`.
///
/// # Errors
///
/// [`Failure`] if something did not hold.
pub fn run(seed: u64, mutant: Option<Mutant>, trace: bool) -> Result<Report, Failure> {
    run_plan(&Plan::of(&mut Chance::new(seed)), seed, mutant, trace)
}

/// Shortens the history of `seed`, which fails, and returns it with what fails in it, traced.
///
/// None if it does not fail.
pub fn shrink(seed: u64, mutant: Option<Mutant>) -> Option<(Plan, Failure)> {
    let failure = run(seed, mutant, false).err()?;
    let plan = Plan::of(&mut Chance::new(seed));
    let (plan, failure) = crate::shrink::shrink(plan, failure, mutant);
    let traced = run_plan(&plan, seed, mutant, true).err();
    Some((plan, traced.unwrap_or(failure)))
}

/// Runs a history; `seed` decides what the plan does not.
pub(crate) fn run_plan(
    plan: &Plan,
    seed: u64,
    mutant: Option<Mutant>,
    trace: bool,
) -> Result<Report, Failure> {
    SEED.set(seed);
    let mut world = World::new(plan.clone(), Chance::new(!seed), mutant, trace);
    match world.history() {
        Ok(()) => Ok(world.report),
        Err(what) => Err(Failure { seed, what, trace: world.trace.unwrap_or_default() }),
    }
}

/// One server, or the place of a second process of one.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// The server whose name it has.
    pub(crate) name: usize,
    pub(crate) replica: Option<Replica>,
    pub(crate) incarnation: u64,
    /// How far its wall clock is ahead.
    pub(crate) skew_ns: i64,
    /// The servers that its config names.
    pub(crate) config: BTreeSet<usize>,
    /// Which of the plan's lifetimes it uses at its next start.
    pub(crate) lifetime: usize,
    /// Which it uses now.
    pub(crate) lifetime_now: usize,
    pub(crate) directory: Option<Directory>,
    pub(crate) writer: Option<Writer>,
    /// Some config does not name it.
    pub(crate) is_out: bool,
    /// It has announced that it leaves.
    pub(crate) has_left: bool,
    /// When it takes another incarnation, and one that is less than that.
    pub(crate) renewal: Option<(u64, u64)>,
    /// When it looks at its peers' clocks next.
    pub(crate) clocks_at: u64,
    /// Since its start it has raised the alarm that an origin found no stream.
    pub(crate) was_full: bool,
}

/// One edge of the graph as it is now.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) ends: (usize, usize),
    pub(crate) rate: Option<u64>,
    pub(crate) lives_ns: Option<u64>,
    /// Which of its directions are cut.
    pub(crate) cut: [bool; 2],
    /// When it is dialed again.
    pub(crate) dial_at: u64,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) now_ns: u64,
    /// Those of the plan, and one more for a second process of one of them.
    pub(crate) servers: Vec<Server>,
    pub(crate) lines: Vec<Line>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) links: u64,
    pub(crate) starts: u64,
    /// When the next line is dialed; none if that is to be found again.
    pub(crate) dial_at: Option<u64>,
    /// Buffers that are no longer used.
    pub(crate) spare: Vec<Vec<u8>>,
    /// Servers that were fed in passing, and are to be looked at.
    pub(crate) fed: Vec<usize>,
    pub(crate) oracle: Oracle,
    /// The greatest time of which each key was forgotten.
    pub(crate) forgotten_ns: Vec<i64>,
    /// A disk lost what it had acknowledged, or another incarnation was forged: repairs are lawful.
    pub(crate) may_repair: bool,
    /// Entries and whatever else tells that the herd is not at rest, sent since it was set to zero.
    pub(crate) sent: Sent,
    /// Events since time went on.
    stalled: u64,
    events: u64,
    /// Something failed where nothing could be returned.
    pub(crate) fault: Option<String>,
    pub(crate) report: Report,
    pub(crate) trace: Option<Vec<String>>,
}

/// Messages sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) entries: u64,
    pub(crate) members: u64,
    pub(crate) roots: u64,
    pub(crate) answers: u64,
    pub(crate) watermarks: u64,
    pub(crate) others: u64,
}

impl World {
    fn new(plan: Plan, chance: Chance, mutant: Option<Mutant>, trace: bool) -> Self {
        let server = |name: usize| Server {
            name,
            skew_ns: plan.skews_s.get(name).map_or(0, |skew| skew * SECOND_NS.cast_signed()),
            config: (0..plan.servers)
                .filter(|&other| plan.guest != Some(other) || other == name)
                .collect(),
            directory: plan.disks.get(name).copied().flatten().map(Directory::new),
            is_out: plan.guest == Some(name),
            clocks_at: u64::MAX,
            ..Server::default()
        };
        let lines = plan.edges.iter().map(|edge| Line {
            ends: edge.ends,
            rate: edge.rate,
            lives_ns: edge.lives.map(nanos),
            cut: [false; 2],
            dial_at: 0,
        });
        let mut world = Self {
            servers: (0..=plan.servers).map(server).collect(),
            lines: lines.collect(),
            plan,
            chance,
            mutant,
            now_ns: 0,
            wires: Vec::new(),
            links: 0,
            starts: 0,
            dial_at: None,
            spare: Vec::new(),
            fed: Vec::new(),
            oracle: Oracle::default(),
            forgotten_ns: Vec::new(),
            may_repair: false,
            sent: Sent::default(),
            stalled: 0,
            events: 0,
            fault: None,
            report: Report::default(),
            trace: trace.then(Vec::new),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.note(|world| format!("{:?}", world.plan));
        self.report.set_kind(self.plan.kind);
        let small = has_small_tables(&self.plan.tuning);
        self.report.count_many(Count::SmallTables, small.into());
        self.oracle.has_liar = self.plan.has_liar();
        let lifetimes = self.plan.lifetimes;
        let shortest =
            lifetimes.map(|one| one.expire_after.unwrap_or(one.horizon)).into_iter().min();
        self.oracle.shortest = shortest.filter(|_| lifetimes[0] != lifetimes[1]);
        self.oracle.far_future = self.plan.has_far_clocks().then_some(AHEAD_MIN);
        self.may_repair = self.plan.has_liar() || self.plan.has_far_clocks();
        let skews = self.plan.skews_s.iter().any(|&skew| skew != 0);
        self.report.count_many(Count::Skews, skews.into());
        let slow = self.plan.edges.iter().any(|edge| edge.rate.is_some());
        self.report.count_many(Count::SlowEdges, slow.into());
        match self.plan.absent {
            Some((_, Absence::Dead)) => self.report.count(Count::DeadAtRest),
            Some((_, Absence::Mute)) => self.report.count(Count::Mute),
            Some((_, Absence::Thin)) => self.report.count(Count::Thin),
            Some((_, Absence::Lying)) => self.report.count(Count::Lying),
            None => {}
        }
        for server in 0..self.plan.servers {
            self.oracle.see_skew(self.servers[server].skew_ns);
            if self.plan.guest == Some(server) {
                self.cut_all_of(server, [true; 2]);
            } else {
                self.start(server);
            }
        }
    }

    pub(crate) fn note(&mut self, say: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9.3} {}", self.now_ns as f64 / 1e9, say(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// The clocks of a server.
    pub(crate) fn now(&self, server: usize) -> Now {
        Now {
            instant: Instant::from_nanos(self.now_ns),
            unix: UnixTime::from_nanos(
                START_NS + self.servers[server].skew_ns + self.now_ns.cast_signed(),
            ),
        }
    }

    /// What is wrong with a server, if anything is.
    pub(crate) fn absence(&self, server: usize) -> Option<Absence> {
        self.plan.absent.filter(|&(absent, _)| absent == server).map(|(_, absence)| absence)
    }

    fn history(&mut self) -> Result<(), String> {
        for (pause, step) in self.plan.steps.clone() {
            self.run_for(nanos(pause))?;
            self.step(step)?;
            self.check_kept()?;
        }
        self.rest()
    }

    pub(crate) fn check_kept(&self) -> Result<(), String> {
        for (at, server) in self.servers.iter().enumerate() {
            if let Some(replica) = &server.replica {
                self.oracle.check_kept(at, replica, self.now(at))?;
            }
        }
        Ok(())
    }

    pub(crate) fn run_for(&mut self, span_ns: u64) -> Result<(), String> {
        let until = self.now_ns + span_ns;
        self.look_at_fed()?;
        loop {
            let at = self.next_event().min(self.next_dial());
            if at > until {
                self.now_ns = until;
                return Ok(());
            }
            self.stalled = if at > self.now_ns { 0 } else { self.stalled + 1 };
            self.events += 1;
            if self.stalled > STALLED_MAX || self.events > EVENTS_MAX {
                let (events, now) = (self.events, self.now_ns);
                return Err(format!("no end: {events} events, the last at {now} ns"));
            }
            self.now_ns = at.max(self.now_ns);
            self.happen()?;
        }
    }

    fn next_event(&self) -> u64 {
        let servers = self.servers.iter().map(Server::next_at);
        let wires = self.wires.iter().map(Wire::next_at);
        servers.chain(wires).fold(u64::MAX, u64::min)
    }

    /// Whatever is due now.
    fn happen(&mut self) -> Result<(), String> {
        for wire in 0..self.wires.len() {
            if self.wires[wire].next_at() <= self.now_ns {
                self.happen_on_wire(wire)?;
            }
        }
        self.look_at_fed()?;
        if self.dial_at.is_none() {
            // Some were lost.
            self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
        }
        if self.next_dial() <= self.now_ns {
            self.dial_all()?;
        }
        for server in 0..self.servers.len() {
            if self.servers[server].next_at() <= self.now_ns {
                self.happen_at_server(server)?;
            }
        }
        self.look_at_fed()
    }

    fn happen_at_server(&mut self, server: usize) -> Result<(), String> {
        let now = self.now(server);
        let this = &mut self.servers[server];
        if let Some(replica) = this.replica.as_mut().filter(|r| r.poll_timeout() <= now.instant) {
            replica.handle_timeout(now);
            self.fed.push(server);
        }
        if this.writer.as_ref().is_some_and(|writer| writer.at_ns <= now.instant.nanos()) {
            self.write_to_disk(server)?;
        }
        if self.servers[server].renewal.is_some_and(|(at, _)| at <= self.now_ns) {
            self.renew(server);
        }
        if self.servers[server].clocks_at <= self.now_ns {
            self.look_at_clocks(server)?;
        }
        self.look_at_fed()
    }

    /// What servers that were fed in passing ask for is done.
    pub(crate) fn look_at_fed(&mut self) -> Result<(), String> {
        while let Some(server) = self.fed.pop() {
            self.touched(server)?;
        }
        self.fault.take().map_or(Ok(()), Err)
    }
}

impl Server {
    /// When something happens here next.
    fn next_at(&self) -> u64 {
        let Some(replica) = &self.replica else { return u64::MAX };
        let timeout = replica.poll_timeout().nanos();
        let writer = self.writer.as_ref().map_or(u64::MAX, |writer| writer.at_ns);
        let renewal = self.renewal.map_or(u64::MAX, |(at, _)| at);
        timeout.min(writer).min(renewal).min(self.clocks_at)
    }
}

/// The name of a server.
pub(crate) fn name(server: usize) -> Box<str> {
    format!("n{server}").into()
}

/// A moment at random before `span` has passed.
pub(crate) fn within(span: Duration, chance: &mut Chance) -> u64 {
    chance.below(nanos(span) + 1)
}
