//! One history from one seed: its nodes, their clocks, and what is done to them.

use crate::chance::Chance;
use crate::disk::Directory;
use crate::keeper::{Keeper, Waiting};
use crate::membership::Standing;
use crate::net::Wire;
use crate::oracle::{Lawful, Oracle, digits, rank};
use crate::plan::{Graph, Kind, Plan, Step, Time, nanos};
use crate::report::Report;
use herd_proto::{Instant, Now, UnixTime};
use herd_replica::{Applied, Mutant, Origin, Record, Redundancy, Replica, Settings, Tuning};
use std::collections::BTreeMap;
use std::time::Duration;

/// A history that showed a fault.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Repeats it.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// What had happened, if it was asked for.
    pub trace: Vec<String>,
}

/// How far ahead of its server's clock a report may be.
pub(crate) const FUTURE_SKEW_MAX: Duration = Duration::from_mins(1);
/// Everything starts at this wall-clock time.
const START_NS: i64 = 1_700_000_000_000_000_000;
/// Short enough that each history is audited some times, in the middle of what happens too.
const AUDIT_EVERY: Duration = Duration::from_secs(3);
/// Shorter than updates may be on their way, so that they are doubted and must come out right.
const AUDIT_SETTLE: Duration = Duration::from_millis(200);
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

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
    let mut sim = Sim::new(plan.clone(), Chance::new(!seed), mutant, trace);
    match sim.history() {
        Ok(()) => Ok(sim.report()),
        Err(what) => Err(Failure { seed, what, trace: sim.trace.unwrap_or_default() }),
    }
}

pub(crate) struct Sim {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) now_ns: u64,
    pub(crate) nodes: Vec<Option<Replica>>,
    /// How far each node's wall clock is ahead now.
    skews_s: Vec<i64>,
    pub(crate) lives: u64,
    /// The directory of each node that has one, and who writes to it.
    pub(crate) directories: Vec<Option<Directory>>,
    pub(crate) keepers: Vec<Option<Keeper>>,
    /// Directories so far, copies among them.
    pub(crate) places: u64,
    /// What was found to be wrong where nothing could be returned.
    pub(crate) fault: Option<String>,
    pub(crate) standing: Vec<Standing>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) links: u64,
    /// When each edge is dialed again.
    pub(crate) redial_at: Vec<u64>,
    /// Which edges are cut, and which of their directions.
    pub(crate) cut: Vec<[bool; 2]>,
    /// When the next edge is dialed; none if that is to be found anew.
    pub(crate) dial_at: Option<u64>,
    /// Frames that are no longer used.
    pub(crate) spare: Vec<Vec<u8>>,
    /// Nodes that were fed in passing, and are to be looked at.
    pub(crate) fed: Vec<usize>,
    pub(crate) oracle: Oracle,
    /// The greatest time of which each key was forgotten.
    forgotten_ns: BTreeMap<u64, i64>,
    /// The greatest time of which anything was said.
    latest_ns: i64,
    pub(crate) report: Report,
    pub(crate) trace: Option<Vec<String>>,
}

impl Sim {
    fn new(plan: Plan, chance: Chance, mutant: Option<Mutant>, trace: bool) -> Self {
        let mut sim = Self {
            nodes: (0..plan.nodes).map(|_| None).collect(),
            skews_s: plan.skews_s.clone(),
            redial_at: vec![0; plan.edges.len()],
            cut: vec![[false; 2]; plan.edges.len()],
            standing: Standing::at_first(plan.nodes, plan.guest),
            plan,
            chance,
            mutant,
            now_ns: 0,
            lives: 0,
            directories: Vec::new(),
            keepers: Vec::new(),
            places: 0,
            fault: None,
            wires: Vec::new(),
            links: 0,
            dial_at: None,
            spare: Vec::new(),
            fed: Vec::new(),
            oracle: Oracle::default(),
            forgotten_ns: BTreeMap::new(),
            latest_ns: 0,
            report: Report::default(),
            trace: trace.then(Vec::new),
        };
        sim.note(|sim| format!("{:?}", sim.plan));
        for node in 0..sim.plan.nodes {
            let disk = sim.plan.disks.get(node).copied().flatten();
            sim.places += 1;
            sim.directories.push(disk.map(|disk| Directory::new(disk, sim.places)));
            sim.keepers.push(None);
        }
        for node in 0..sim.plan.nodes {
            if sim.plan.guest == Some(node) {
                sim.oracle.end(node);
                sim.set_cuts(|(a, b)| a == node || b == node, [true; 2]);
            } else {
                sim.start(node);
            }
        }
        sim
    }

    pub(crate) fn note(&mut self, say: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9.3} {}", self.now_ns as f64 / 1e9, say(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// The clocks of a node.
    pub(crate) fn now(&self, node: usize) -> Now {
        let skew_ns = self.skews_s[node] * SECOND_NS.cast_signed();
        Now {
            instant: Instant::from_nanos(self.now_ns),
            unix: UnixTime::from_nanos(START_NS + skew_ns + self.now_ns.cast_signed()),
        }
    }

    /// Whether anything was said that is too far ahead of a node's clock.
    pub(crate) fn is_ahead(&self, node: usize) -> bool {
        let latest = self.now(node).unix.saturating_add(2 * FUTURE_SKEW_MAX);
        self.latest_ns > latest.nanos()
    }

    /// All clocks show the same from now on, and late enough for what was said by clocks that were wrong:
    /// as if so much time had passed.
    pub(crate) fn set_clocks_right(&mut self) {
        if self.report.jumps > 0 {
            let ahead_ns = self.latest_ns - START_NS - self.now_ns.cast_signed();
            let ahead_s = ahead_ns / SECOND_NS.cast_signed() + 1;
            let skew_s = self.skews_s.iter().max().copied().unwrap_or_default().max(ahead_s);
            self.skews_s.fill(skew_s);
        }
    }

    /// What a node is told at its start.
    pub(crate) fn settings(&mut self, node: usize, incarnation: u64) -> Settings {
        let idle_max = Duration::from_secs(5);
        Settings {
            origin: Origin { server: name(node), incarnation },
            members: self.standing[node].config.iter().copied().map(name).collect(),
            redundancy: match self.plan.redundancy {
                0 => Redundancy::All,
                ways => Redundancy::Ways(ways),
            },
            future_skew_max: FUTURE_SKEW_MAX,
            forget_after: self.plan.forget_after,
            expire_after: None,
            seed: self.chance.next(),
            tuning: Tuning {
                mutant: self.mutant,
                sweep_arrivals_min: self.plan.sweep_arrivals_min,
                segment_arrivals: self.plan.segment_arrivals,
                tombstone_grace: self.plan.graces[node],
                tell_every: self.plan.tell_every,
                tell_every_idle: (10 * self.plan.tell_every).min(idle_max),
                audit_every: AUDIT_EVERY,
                audit_settle: AUDIT_SETTLE,
                ..Tuning::default()
            },
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.lives += 1;
        let incarnation = if self.mutant == Some(Mutant::IncarnationKept) { 1 } else { self.lives };
        let replica = if self.directories[node].is_some() {
            match self.read_disk(node, incarnation) {
                Ok(Some(replica)) => replica,
                // It cannot start; later it may.
                Ok(None) => return,
                Err(what) => {
                    self.fault = Some(what);
                    return;
                }
            }
        } else {
            Replica::new(self.settings(node, incarnation), self.now(node))
        };
        self.nodes[node] = Some(replica);
        self.oracle.begin(node, self.now_ns);
        self.forget_members(node);
        if self.standing[node].is_out {
            // What is on its disk nobody waited for.
            self.excuse(node, true);
        }
        self.dial_at = None;
        self.fed.push(node);
    }

    fn history(&mut self) -> Result<(), String> {
        for (pause, step) in std::mem::take(&mut self.plan.steps) {
            self.run_until(self.now_ns + nanos(pause))?;
            self.step(step)?;
        }
        self.rest()
    }

    pub(crate) fn step(&mut self, step: Step) -> Result<(), String> {
        self.note(|_| format!("{step:?}"));
        self.settle_standing();
        match step {
            Step::Write { node, key, time, value } => self.write(node, key, time, value)?,
            Step::Burst { node, keys } => {
                (0..keys).try_for_each(|key| self.write(node, key, Time::Now, key % 3))?;
            }
            Step::Forget { node, key } => self.forget(node, key)?,
            Step::Crash(node) => self.crash(node),
            Step::Start(node) => {
                if self.nodes[node].is_none() {
                    self.start(node);
                }
            }
            Step::Restart(node) => {
                self.crash(node);
                self.start(node);
            }
            Step::Cut(a, b, ways) => {
                self.report.cuts += 1;
                self.set_cuts(|edge| edge == (a, b), ways);
            }
            Step::Mend(a, b) => self.set_cuts(|edge| edge == (a, b), [false; 2]),
            Step::Break(a, b) => {
                let is_it = |wire: &Wire| self.plan.edges[wire.edge] == (a, b) && wire.is_open();
                if let Some(wire) = self.wires.iter().position(is_it) {
                    self.report.breaks += 1;
                    self.deliver_part(wire)?;
                    self.break_wire(wire);
                }
            }
            Step::Double(a, b) => self.double((a, b))?,
            Step::Jump(node, seconds) => {
                self.report.jumps += 1;
                self.skews_s[node] = self.plan.skews_s[node] + seconds;
            }
            Step::Isolate(node) => {
                self.report.cuts += 1;
                self.set_cuts(|(a, b)| a == node || b == node, [true; 2]);
            }
            Step::Split(nodes) => {
                self.report.cuts += 1;
                self.set_cuts(|(a, b)| (nodes >> a & 1) != (nodes >> b & 1), [true; 2]);
            }
            Step::MendAll => self.set_cuts(|_| true, [false; 2]),
            Step::TakeOut(node, tellers) => self.take_out(node, tellers),
            Step::PutBack(node) => self.put_back(node),
            Step::Leave(node) => self.leave(node),
            Step::Stop(node) => self.stop(node),
            Step::PowerCut(node) => self.cut_power(node),
            Step::KillAll { power } => {
                self.report.disks.all_at_once += 1;
                for node in 0..self.plan.nodes {
                    if power { self.cut_power(node) } else { self.crash(node) }
                }
            }
            Step::StartAll => {
                for node in 0..self.plan.nodes {
                    if self.nodes[node].is_none() && !self.standing[node].is_out {
                        self.start(node);
                    }
                }
            }
            Step::Disk(node, trouble) => self.trouble(node, trouble),
            Step::Anew(node) => {
                if let Some(keeper) = &mut self.keepers[node] {
                    keeper.begin_anew(self.now_ns);
                }
            }
        }
        self.look_at_fed()
    }

    fn write(&mut self, node: usize, key: u64, time: Time, value: u64) -> Result<(), String> {
        let now = self.now(node);
        let wall = now.unix.nanos();
        let second = SECOND_NS.cast_signed();
        let forgotten = self.forgotten_ns.get(&key).copied();
        let mut effective_ns = match time {
            Time::Now => wall,
            Time::Second(ago) => wall / second * second - ago * second,
            Time::Ago(ago) => wall - ago,
            Time::Future(less) => wall + (60 - less) * second,
            Time::Forgotten => forgotten.unwrap_or(wall),
            Time::BeforeForgotten(ago) => forgotten.unwrap_or(wall) - ago,
        };
        let mut lawful = self.oracle.lawful(node, key, effective_ns);
        if lawful == Lawful::Anew && !self.plan.anew {
            effective_ns = forgotten.map_or(effective_ns, |forgotten| forgotten + 1);
            lawful = Lawful::Never;
        }
        if self.standing[node].is_out {
            lawful = Lawful::Anew;
        }
        // Of what is said anew it must be known that it was.
        let value = match lawful {
            Lawful::Never => format!("v{value}"),
            Lawful::Anew => format!("r{}", self.report.updates),
        };
        let mut text = [0; 20];
        let name = digits(key, &mut text);
        let record = Record { key: name, effective_ns, tombstone: false, value: value.as_bytes() };
        let Some(replica) = &mut self.nodes[node] else { return Ok(()) };
        let known_ns = replica.get(name).map(|known| known.effective_ns);
        let applied = replica.update(record, now);
        if applied == Applied::Newer {
            self.oracle.accept(node, &record, lawful, replica, self.now_ns);
            self.report.updates += 1;
            self.report.collisions += u64::from(known_ns == Some(effective_ns));
            self.report.tombstone_ties += u64::from(forgotten == Some(effective_ns));
            self.report.revenants += u64::from(lawful == Lawful::Anew);
            self.report.futures += u64::from(effective_ns > wall + 30 * second);
            self.latest_ns = self.latest_ns.max(effective_ns);
            let rank = rank(&record);
            self.await_safety(node, key, rank);
        }
        self.note(|_| format!("  {key} {effective_ns} {value}: {applied:?}"));
        self.touched(node)
    }

    fn forget(&mut self, node: usize, key: u64) -> Result<(), String> {
        let now = self.now(node);
        let is_out = self.standing[node].is_out;
        let Some(replica) = &mut self.nodes[node] else { return Ok(()) };
        let mut text = [0; 20];
        let name = digits(key, &mut text);
        if replica.forget(name, now) {
            let Some(record) = replica.get(name) else { return Ok(()) };
            let known = self.oracle.lawful(node, key, record.effective_ns);
            let lawful = if is_out { Lawful::Anew } else { known };
            self.oracle.accept(node, &record, lawful, replica, self.now_ns);
            let forgotten = self.forgotten_ns.entry(key).or_insert(i64::MIN);
            *forgotten = (*forgotten).max(record.effective_ns);
            self.latest_ns = self.latest_ns.max(record.effective_ns);
            self.report.forgets += 1;
            let rank = rank(&record);
            self.await_safety(node, key, rank);
            self.note(|_| "  forgotten".to_owned());
        }
        self.touched(node)
    }

    /// A node writes down everything and stops.
    fn stop(&mut self, node: usize) {
        if let (Some(replica), Some(mut keeper)) =
            (&mut self.nodes[node], self.keepers[node].take())
        {
            let waiting = std::mem::take(&mut keeper.waiting);
            if keeper.close(replica) {
                self.report.disks.stops += 1;
                for Waiting { key, rank, .. } in waiting {
                    self.oracle.acknowledged(node, key, rank, self.now_ns);
                }
                if let Some(directory) = &mut self.directories[node] {
                    directory.durable_ns = self.now_ns;
                }
            } else {
                self.report.disks.stops_failed += 1;
            }
        }
        self.crash(node);
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.kill_keeper(node);
        self.report.crashes += u64::from(self.nodes[node].is_some());
        if let Some(replica) = self.nodes[node].take() {
            self.report.happenings.add(&replica.happenings());
        }
        self.oracle.end(node);
        self.dial_at = None;
        for wire in 0..self.wires.len() {
            for side in 0..2 {
                if self.wires[wire].ends[side].node == node {
                    self.wires[wire].ends[side].open = false;
                    self.break_wire(wire);
                }
            }
        }
    }

    fn report(&mut self) -> Report {
        for replica in self.nodes.iter().flatten() {
            self.report.happenings.add(&replica.happenings());
        }
        self.report.skewed = u64::from(self.plan.skews_s.iter().any(|&skew| skew != 0));
        let kind = Kind::ALL.iter().position(|&kind| kind == self.plan.kind);
        let graph = Graph::ALL.iter().position(|&graph| graph == self.plan.graph);
        if let (Some(kind), Some(graph)) = (kind, graph) {
            self.report.kinds[kind] = 1;
            self.report.graphs[graph] = 1;
        }
        self.report
    }
}

pub(crate) fn name(node: usize) -> Box<str> {
    format!("n{node}").into()
}
