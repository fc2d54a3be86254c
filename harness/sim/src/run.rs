//! One history from one seed.

use crate::chance::Chance;
use crate::net::{End, Flow, Wire};
use crate::oracle::Oracle;
use crate::plan::{Plan, Step, Time, nanos};
use herd_proto::peer::{Decoded, Message};
use herd_proto::{Instant, Now, UnixTime};
use herd_replica::{
    Applied, Event, Happenings, LinkId, Mutant, Origin, Output, Record, Redundancy, Replica,
    Settings, Sink, Tuning,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What happened in a history that ended well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// What the replicas did, all of them added up.
    pub happenings: Happenings,
    /// Writes taken as newer.
    pub updates: u64,
    /// Writes of a time that the key had already.
    pub collisions: u64,
    /// Writes of the very time of which the key was forgotten.
    pub tombstone_ties: u64,
    /// Writes of a time later than any right clock showed.
    pub futures: u64,
    /// Nodes that lost their memory.
    pub crashes: u64,
    /// Links cut, one way or both.
    pub cuts: u64,
    /// Connections lost without a cut.
    pub breaks: u64,
    /// Keys forgotten.
    pub forgets: u64,
    /// Histories whose clocks differed.
    pub skewed: u64,
}

impl Report {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        self.happenings.add(&other.happenings);
        self.updates += other.updates;
        self.collisions += other.collisions;
        self.tombstone_ties += other.tombstone_ties;
        self.futures += other.futures;
        self.crashes += other.crashes;
        self.cuts += other.cuts;
        self.breaks += other.breaks;
        self.forgets += other.forgets;
        self.skewed += other.skewed;
    }

    /// How often each thing happened.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let h = &self.happenings;
        vec![
            ("updates taken as newer", self.updates),
            ("writes of a time already known", self.collisions),
            ("writes of a tombstone's time", self.tombstone_ties),
            ("writes from the future", self.futures),
            ("nodes that lost their memory", self.crashes),
            ("links cut", self.cuts),
            ("connections lost", self.breaks),
            ("keys forgotten", self.forgets),
            ("histories with skewed clocks", self.skewed),
            ("entries taken in", h.entries),
            ("entries sent", h.sent),
            ("entries come twice", h.duplicates),
            ("rounds of sweeping", h.sweeps),
            ("subscriptions moved", h.resubscriptions),
            ("orphans issued again", h.adopted),
            ("snapshots begun", h.snapshots),
            ("snapshots broken off", h.snapshots_broken),
            ("entries discarded by snapshots", h.discarded),
            ("entries collected", h.collected),
            ("tombstones collected", h.tombstones_collected),
            ("commits ignored", h.commits_ignored),
        ]
    }
}

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

/// A dead neighbour is noticed after this.
const DEAD_AFTER_NS: u64 = 1_500_000_000;
/// How far ahead of its server's clock a report may be.
const FUTURE_SKEW_MAX: Duration = Duration::from_mins(1);
/// Everything starts at this wall-clock time.
const START_NS: i64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

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

struct Sim {
    plan: Plan,
    chance: Chance,
    mutant: Option<Mutant>,
    now_ns: u64,
    nodes: Vec<Option<Replica>>,
    lives: u64,
    wires: Vec<Wire>,
    links: u64,
    /// When each edge is dialed again.
    redial_at: Vec<u64>,
    /// Which edges are cut, and which of their directions.
    cut: Vec<[bool; 2]>,
    oracle: Oracle,
    /// The greatest time of which each key was forgotten.
    forgotten_ns: BTreeMap<u64, i64>,
    report: Report,
    trace: Option<Vec<String>>,
}

impl Sim {
    fn new(plan: Plan, chance: Chance, mutant: Option<Mutant>, trace: bool) -> Self {
        let mut sim = Self {
            nodes: (0..plan.nodes).map(|_| None).collect(),
            redial_at: vec![0; plan.edges.len()],
            cut: vec![[false; 2]; plan.edges.len()],
            plan,
            chance,
            mutant,
            now_ns: 0,
            lives: 0,
            wires: Vec::new(),
            links: 0,
            oracle: Oracle::default(),
            forgotten_ns: BTreeMap::new(),
            report: Report::default(),
            trace: trace.then(Vec::new),
        };
        sim.note(|sim| format!("{:?}", sim.plan));
        for node in 0..sim.plan.nodes {
            sim.start(node);
        }
        sim
    }

    fn note(&mut self, say: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9.3} {}", self.now_ns as f64 / 1e9, say(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    /// The clocks of a node.
    fn now(&self, node: usize) -> Now {
        let skew_ns = self.plan.skews_s[node] * SECOND_NS.cast_signed();
        Now {
            instant: Instant::from_nanos(self.now_ns),
            unix: UnixTime::from_nanos(START_NS + skew_ns + self.now_ns.cast_signed()),
        }
    }

    fn start(&mut self, node: usize) {
        self.lives += 1;
        let settings = Settings {
            origin: Origin {
                server: name(node),
                incarnation: if self.mutant == Some(Mutant::IncarnationKept) {
                    1
                } else {
                    self.lives
                },
            },
            members: (0..self.plan.nodes).map(name).collect(),
            redundancy: match self.plan.redundancy {
                0 => Redundancy::All,
                ways => Redundancy::Ways(ways),
            },
            future_skew_max: FUTURE_SKEW_MAX,
            forget_after: self.plan.forget_after,
            seed: self.chance.next(),
            tuning: Tuning {
                mutant: self.mutant,
                sweep_arrivals_min: self.plan.sweep_arrivals_min,
                segment_arrivals: self.plan.segment_arrivals,
                tombstone_grace: self.plan.graces[node],
                tell_every: self.plan.tell_every,
                tell_every_idle: 3 * self.plan.tell_every,
                ..Tuning::default()
            },
        };
        self.note(|sim| format!("start {node} as {}", sim.lives));
        self.nodes[node] = Some(Replica::new(settings, self.now(node)));
    }

    // ---- the history ----

    fn history(&mut self) -> Result<(), String> {
        for (pause, step) in std::mem::take(&mut self.plan.steps) {
            self.run_until(self.now_ns + nanos(pause))?;
            self.step(step)?;
        }
        self.heal()?;
        self.come_to_rest()?;
        self.write_once_more()?;
        self.come_to_rest()?;
        self.check_rest()
    }

    /// Bootstraps, adoptions and back-offs take seconds each and may follow one another; but they end.
    fn come_to_rest(&mut self) -> Result<(), String> {
        const REST_MAX_S: u64 = 120;
        let end = self.now_ns + REST_MAX_S * SECOND_NS;
        while self.differences().is_some() && self.now_ns < end {
            self.run_until(self.now_ns + SECOND_NS)?;
        }
        if let Some(difference) = self.differences() {
            return Err(format!("at rest: {difference}"));
        }
        // Longer than whatever waits: adoption, asking again, tombstones.
        let grace = self.plan.graces.iter().max().copied().unwrap_or_default();
        let forgets = if self.report.forgets > 0 { nanos(grace) } else { 0 };
        self.run_until(self.now_ns + 3 * SECOND_NS + forgets)?;
        loop {
            let before = self.happened();
            self.run_until(self.now_ns + 5 * SECOND_NS)?;
            let after = self.happened();
            if before == after {
                break;
            }
            if self.now_ns > end {
                return Err(format!("never quiet: {before:?} {after:?}"));
            }
        }
        match self.differences() {
            Some(difference) => Err(format!("after rest: {difference}")),
            None => Ok(()),
        }
    }

    /// Every node writes, and again, until each write reaches each node once, as the redundancy says.
    fn write_once_more(&mut self) -> Result<(), String> {
        const ROUNDS_MAX: u64 = 8;
        let nodes = self.nodes.iter().flatten().count() as u64;
        let mut sent = 0;
        for _ in 0..ROUNDS_MAX {
            let before = self.happened()[0];
            for node in 0..self.plan.nodes {
                let key = 1000 + node as u64;
                self.step(Step::Write { node, key, time: Time::Now, value: 0 })?;
                self.run_until(self.now_ns + 2 * SECOND_NS)?;
            }
            sent = self.happened()[0] - before;
            if self.plan.redundancy != 1 || self.plan.slow_links > 0 || sent == nodes * (nodes - 1)
            {
                return Ok(());
            }
        }
        Err(format!("{nodes} writes are sent {sent} times"))
    }

    /// What holds of nodes that are all up, whole and quiet.
    fn check_rest(&self) -> Result<(), String> {
        let nodes: Vec<_> = self.nodes.iter().flatten().collect();
        let adopted: u64 = nodes.iter().map(|replica| replica.happenings().adopted).sum();
        for (node, replica) in nodes.iter().enumerate() {
            if replica.is_bootstrapping() {
                return Err(format!("node {node} is bootstrapping at rest"));
            }
            for stream in replica.streams().skip(1) {
                let other = nodes.iter().flat_map(|replica| replica.streams());
                let furthest = other.filter(|o| o.origin == stream.origin).map(|o| o.version).max();
                if furthest != Some(stream.version) {
                    return Err(format!("node {node} at rest: {stream:?} of {furthest:?}"));
                }
                if stream.upstreams == 0 && adopted == 0 && self.report.crashes == 0 {
                    return Err(format!("node {node} at rest does not ask: {stream:?}"));
                }
            }
            let census = replica.census();
            // Orphans issued again may keep their old entries until somebody writes the key.
            if adopted == 0 && self.report.crashes == 0 && census.entries != census.keys {
                return Err(format!("node {node} at rest holds too much: {census:?}"));
            }
            let pieces = replica.streams().count() as u64 * self.plan.segment_arrivals;
            if census.arrivals as u64 > 3 * census.entries as u64 + pieces {
                return Err(format!("node {node} at rest has too long logs: {census:?}"));
            }
        }
        Ok(())
    }

    /// What must not go on happening at rest.
    fn happened(&self) -> [u64; 4] {
        let mut sum = Happenings::default();
        for replica in self.nodes.iter().flatten() {
            sum.add(&replica.happenings());
        }
        [sum.sent, sum.snapshots, sum.resubscriptions, sum.adopted]
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        self.note(|_| format!("{step:?}"));
        match step {
            Step::Write { node, key, time, value } => self.write(node, key, time, value),
            Step::Burst { node, keys } => {
                (0..keys).try_for_each(|key| self.write(node, key, Time::Now, key % 3))
            }
            Step::Forget { node, key } => self.forget(node, key),
            Step::Crash(node) => {
                self.crash(node);
                Ok(())
            }
            Step::Start(node) => {
                if self.nodes[node].is_none() {
                    self.start(node);
                }
                Ok(())
            }
            Step::Restart(node) => {
                self.crash(node);
                self.start(node);
                Ok(())
            }
            Step::Cut(a, b, ways) => {
                self.report.cuts += 1;
                self.set_cuts(|edge| edge == (a, b), ways);
                Ok(())
            }
            Step::Mend(a, b) => {
                self.set_cuts(|edge| edge == (a, b), [false; 2]);
                Ok(())
            }
            Step::Break(a, b) => {
                self.report.breaks += 1;
                let is_it = |wire: &Wire| self.plan.edges[wire.edge] == (a, b);
                if let Some(wire) = self.wires.iter().position(is_it) {
                    self.break_wire(wire);
                }
                Ok(())
            }
            Step::Isolate(node) => {
                self.report.cuts += 1;
                self.set_cuts(|(a, b)| a == node || b == node, [true; 2]);
                Ok(())
            }
            Step::Split(nodes) => {
                self.report.cuts += 1;
                self.set_cuts(|(a, b)| (nodes >> a & 1) != (nodes >> b & 1), [true; 2]);
                Ok(())
            }
            Step::MendAll => {
                self.set_cuts(|_| true, [false; 2]);
                Ok(())
            }
        }
    }

    fn set_cuts(&mut self, which: impl Fn((usize, usize)) -> bool, ways: [bool; 2]) {
        for edge in 0..self.plan.edges.len() {
            if which(self.plan.edges[edge]) {
                self.set_cut(edge, ways);
            }
        }
    }

    fn write(&mut self, node: usize, key: u64, time: Time, value: u64) -> Result<(), String> {
        let now = self.now(node);
        let wall = now.unix.nanos();
        let second = SECOND_NS.cast_signed();
        let forgotten = self.forgotten_ns.get(&key).copied();
        let effective_ns = match time {
            Time::Now => wall,
            Time::Second(ago) => wall / second * second - ago * second,
            Time::Ago(ago) => wall - ago,
            Time::Future(less) => wall + (60 - less) * second,
            Time::Forgotten => forgotten.unwrap_or(wall),
        };
        let name = key.to_string();
        // A client does not report anything older than what its server once knew to be forgotten; nor
        // may a server that has lost its memory hear of such.
        let shown = self.oracle.shown(node, name.as_bytes());
        let known = shown.filter(|shown| shown.1).map(|shown| shown.0);
        let floor = if self.plan.calm { known } else { forgotten };
        let floor = floor.map_or(i64::MIN, |forgotten| forgotten + 1);
        let effective_ns = effective_ns.max(floor);
        self.report.tombstone_ties += u64::from(forgotten == Some(effective_ns));
        let value = format!("v{value}");
        let record = Record {
            key: name.as_bytes(),
            effective_ns,
            tombstone: false,
            value: value.as_bytes(),
        };
        let Some(replica) = &mut self.nodes[node] else { return Ok(()) };
        if replica.get(record.key).is_some_and(|known| known.effective_ns == effective_ns) {
            self.report.collisions += 1;
        }
        let applied = replica.update(record, now);
        if applied == Applied::Newer {
            self.oracle.accept(&record, replica);
            self.report.updates += 1;
            self.report.futures += u64::from(effective_ns > wall + 30 * second);
        }
        self.note(|_| format!("  {name} {effective_ns} {value}: {applied:?}"));
        self.touched(node)
    }

    fn forget(&mut self, node: usize, key: u64) -> Result<(), String> {
        let now = self.now(node);
        let Some(replica) = &mut self.nodes[node] else { return Ok(()) };
        let name = key.to_string();
        if replica.forget(name.as_bytes(), now) {
            let Some(record) = replica.get(name.as_bytes()) else { return Ok(()) };
            self.oracle.accept(&record, replica);
            let forgotten = self.forgotten_ns.entry(key).or_insert(i64::MIN);
            *forgotten = (*forgotten).max(record.effective_ns);
            self.report.forgets += 1;
            self.note(|_| "  forgotten".to_owned());
        }
        self.touched(node)
    }

    fn crash(&mut self, node: usize) {
        self.report.crashes += u64::from(self.nodes[node].is_some());
        if let Some(replica) = self.nodes[node].take() {
            self.add_up(replica.happenings());
        }
        self.oracle.forget(node);
        for wire in 0..self.wires.len() {
            for side in 0..2 {
                if self.wires[wire].ends[side].node == node {
                    self.wires[wire].ends[side].open = false;
                    self.break_wire(wire);
                }
            }
        }
    }

    fn set_cut(&mut self, edge: usize, ways: [bool; 2]) {
        self.note(|sim| format!("cut {:?} {ways:?}", sim.plan.edges[edge]));
        self.cut[edge] = ways;
        let now = self.now_ns;
        for wire in self.wires.iter_mut().filter(|wire| wire.edge == edge) {
            for (flow, cut) in wire.flows.iter_mut().zip(ways) {
                if cut && !flow.cut {
                    flow.cut_since = now;
                }
                flow.cut = cut;
            }
        }
    }

    fn heal(&mut self) -> Result<(), String> {
        self.note(|_| "heal".to_owned());
        for edge in 0..self.plan.edges.len() {
            self.set_cut(edge, [false; 2]);
        }
        for node in 0..self.plan.nodes {
            if self.plan.lost == Some(node) {
                self.crash(node);
            } else if self.nodes[node].is_none() {
                self.start(node);
            }
        }
        self.run_until(self.now_ns + 2 * SECOND_NS)
    }

    fn differences(&self) -> Option<String> {
        let mut views = self.nodes.iter().flatten().map(Oracle::view);
        let first = views.next()?;
        for (at, view) in views.enumerate() {
            if view != first {
                let differing = first.keys().chain(view.keys());
                let key = differing.into_iter().find(|key| first.get(*key) != view.get(*key))?;
                return Some(format!(
                    "key {}: node 0 shows {:?}, node {} {:?}",
                    key.escape_ascii(),
                    first.get(key),
                    at + 1,
                    view.get(key)
                ));
            }
        }
        None
    }

    fn report(&mut self) -> Report {
        let happened: Vec<_> = self.nodes.iter().flatten().map(Replica::happenings).collect();
        for one in happened {
            self.add_up(one);
        }
        self.report.skewed = u64::from(self.plan.skews_s.iter().any(|&skew| skew != 0));
        self.report
    }

    fn add_up(&mut self, one: Happenings) {
        self.report.happenings.add(&one);
    }

    // ---- time and the network ----

    fn run_until(&mut self, until: u64) -> Result<(), String> {
        loop {
            let Some(at) = self.next_event().filter(|&at| at <= until) else {
                self.now_ns = until;
                for (node, replica) in self.nodes.iter().enumerate() {
                    if let Some(replica) = replica {
                        self.oracle.check_lost(node, replica)?;
                    }
                }
                return Ok(());
            };
            self.now_ns = at.max(self.now_ns);
            self.happen()?;
        }
    }

    fn next_event(&self) -> Option<u64> {
        let ticks = self.nodes.iter().flatten().map(|replica| replica.poll_timeout().nanos());
        let frames = self.wires.iter().flat_map(|wire| {
            let frames = wire.flows.iter().filter_map(Flow::next_at);
            let dead = wire.flows.iter().filter(|flow| flow.cut);
            let dead = dead.map(|flow| flow.cut_since + DEAD_AFTER_NS);
            frames.chain(dead).chain(wire.ends_at)
        });
        let dials = (0..self.plan.edges.len())
            .filter(|&edge| self.may_dial(edge))
            .map(|edge| self.redial_at[edge]);
        ticks.chain(frames).chain(dials).min()
    }

    fn may_dial(&self, edge: usize) -> bool {
        let (a, b) = self.plan.edges[edge];
        let both = self.nodes[a].is_some() && self.nodes[b].is_some();
        let linked = |wire: &Wire| wire.edge == edge && wire.ends.iter().all(|end| end.open);
        both && self.cut[edge] == [false; 2] && !self.wires.iter().any(linked)
    }

    /// Whatever is due now.
    fn happen(&mut self) -> Result<(), String> {
        for wire in 0..self.wires.len() {
            let dead = |flow: &Flow| flow.cut && flow.cut_since + DEAD_AFTER_NS <= self.now_ns;
            if self.wires[wire].flows.iter().any(dead) {
                self.break_wire(wire);
            }
            if self.wires[wire].ends_at.is_some_and(|at| at <= self.now_ns) {
                self.close_ends(wire);
            }
        }
        self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
        for wire in 0..self.wires.len() {
            for side in 0..2 {
                self.deliver(wire, side)?;
            }
        }
        for edge in 0..self.plan.edges.len() {
            if self.redial_at[edge] <= self.now_ns && self.may_dial(edge) {
                self.dial(edge)?;
            }
        }
        for node in 0..self.nodes.len() {
            let now = self.now(node);
            let due = |replica: &&mut Replica| replica.poll_timeout() <= now.instant;
            if let Some(replica) = self.nodes[node].as_mut().filter(due) {
                replica.handle_timeout(now);
                self.touched(node)?;
            }
        }
        Ok(())
    }

    fn dial(&mut self, edge: usize) -> Result<(), String> {
        // A half-open connection of the same edge ends when a new one comes.
        for wire in 0..self.wires.len() {
            if self.wires[wire].edge == edge {
                self.close_ends(wire);
            }
        }
        self.wires.retain(|wire| wire.ends.iter().any(|end| end.open));
        let (a, b) = self.plan.edges[edge];
        let mut end = |node| {
            self.links += 1;
            End { node, link: self.links, open: true }
        };
        let ends = [end(a), end(b)];
        let slow = self.chance.per_mille(self.plan.slow_links);
        let spacing = if slow { self.plan.slow.as_nanos() } else { 0 };
        let spacing_ns = u64::try_from(spacing).unwrap_or(0);
        let flow = || Flow { spacing_ns, ..Flow::default() };
        self.wires.push(Wire { ends, flows: [flow(), flow()], edge, ends_at: None });
        let wire = self.wires.len() - 1;
        self.note(|sim| format!("link {:?}", sim.wires[wire].ends));
        for End { node, link, .. } in ends {
            let now = self.now(node);
            if let Some(replica) = &mut self.nodes[node] {
                replica.open_link(LinkId(link), now);
                let spacing = Duration::from_nanos(spacing_ns);
                replica.set_round_trip(LinkId(link), 2 * self.plan.delay + 4 * spacing);
            }
        }
        for (side, end) in ends.into_iter().enumerate() {
            self.transmit(wire, side);
            self.touched(end.node)?;
        }
        Ok(())
    }

    /// A connection is lost: what was on it is gone; one end may notice before the other.
    fn break_wire(&mut self, wire: usize) {
        let edge = self.wires[wire].edge;
        for flow in &mut self.wires[wire].flows {
            flow.frames.clear();
            flow.cut = true;
            flow.cut_since = u64::MAX / 2;
        }
        self.redial_at[edge] = self.now_ns + 50_000_000 + self.chance.below(SECOND_NS);
        let side = self.chance.index(2);
        self.close_end(wire, side);
        let later = self.now_ns + self.chance.below(DEAD_AFTER_NS);
        let ends_at = &mut self.wires[wire].ends_at;
        *ends_at = Some(ends_at.unwrap_or(later).min(later));
    }

    fn close_ends(&mut self, wire: usize) {
        self.wires[wire].ends_at = None;
        for side in 0..2 {
            self.close_end(wire, side);
        }
    }

    fn close_end(&mut self, wire: usize, side: usize) {
        let now = self.now(self.wires[wire].ends[side].node);
        let end = &mut self.wires[wire].ends[side];
        if std::mem::take(&mut end.open) {
            let End { node, link, .. } = *end;
            self.note(|_| format!("node {node} loses link {link}"));
            if let Some(replica) = &mut self.nodes[node] {
                replica.close_link(LinkId(link), now);
                // What it asks for is seen at its next touch.
            }
        }
    }

    fn deliver(&mut self, wire: usize, side: usize) -> Result<(), String> {
        loop {
            let End { node, link, open } = self.wires[wire].ends[side];
            let flow = &mut self.wires[wire].flows[side];
            if flow.next_at().is_none_or(|at| at > self.now_ns) {
                return Ok(());
            }
            let Some((_, frame)) = flow.frames.pop_front() else { return Ok(()) };
            let now = self.now(node);
            let Some(replica) = self.nodes[node].as_mut().filter(|_| open) else { continue };
            match Message::decode(&frame) {
                Ok(Some((Decoded::Message(message), taken))) if taken == frame.len() => {
                    replica.handle(LinkId(link), &message, now);
                    // What members tell would drown the rest.
                    let is_member = matches!(message, Message::Member { .. });
                    if self.trace.is_some() && !is_member {
                        let text = format!("node {node} hears on {link}: {message:?}");
                        self.note(|_| text);
                    }
                }
                other => return Err(format!("a frame was not read back: {other:?}")),
            }
            self.touched(node)?;
            // There is room on the way for another.
            self.transmit(wire, 1 - side);
        }
    }

    /// Lets the node at `side` of a wire send what there is room for.
    fn transmit(&mut self, wire: usize, side: usize) {
        let End { node, link, open } = self.wires[wire].ends[side];
        let now = self.now(node);
        let delay = nanos(self.plan.delay);
        loop {
            let flow = &self.wires[wire].flows[1 - side];
            let room = self.plan.window.saturating_sub(flow.frames.len());
            let Some(replica) = self.nodes[node].as_mut().filter(|_| open && room > 0) else {
                return;
            };
            let mut sink = Frames { frames: Vec::new(), room };
            replica.poll_transmit(LinkId(link), &mut sink, now);
            if sink.frames.is_empty() {
                return;
            }
            for frame in sink.frames {
                let delay = self.chance.below(delay + 1);
                self.wires[wire].flows[1 - side].send(self.now_ns, delay, frame);
            }
        }
    }

    /// A node has been fed: what it asks for is done, and what it shows is checked.
    fn touched(&mut self, node: usize) -> Result<(), String> {
        while let Some(output) = self.nodes[node].as_mut().and_then(Replica::poll_output) {
            match output {
                Output::Transmit(link) => {
                    let at = self.wires.iter().enumerate().find_map(|(wire, one)| {
                        let side = one.ends.iter().position(|end| end.link == link.0)?;
                        Some((wire, side))
                    });
                    if let Some((wire, side)) = at {
                        self.transmit(wire, side);
                    }
                }
                // No journal is kept.
                Output::Journal | Output::Journaled(_) => {}
                Output::Close(link, fault) => {
                    return Err(format!("node {node} closes link {}: {fault}", link.0));
                }
                Output::Event(Event::OwnStreamAhead) => {
                    return Err(format!("node {node} lost part of its own stream"));
                }
                Output::Event(event) => self.note(|_| format!("node {node}: {event:?}")),
            }
        }
        match &mut self.nodes[node] {
            Some(replica) => self.oracle.check(node, replica),
            None => Ok(()),
        }
    }
}

struct Frames {
    frames: Vec<Vec<u8>>,
    room: usize,
}

impl Sink for Frames {
    fn put(&mut self, message: &Message<'_>) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.frames.push(frame);
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= self.room
    }
}

fn name(node: usize) -> Box<str> {
    format!("n{node}").into()
}
