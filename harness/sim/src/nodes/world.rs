//! The clock, what is to come, and everyone and everything there is.

use crate::chance::Chance;
use crate::nodes::Fault;
use crate::nodes::config::{Being, Host, Server};
use crate::nodes::foreign::Foreign;
use crate::nodes::oracle::Oracle;
use crate::nodes::plan::{Dials, Plan};
use crate::nodes::seen::{Seen, Tally};
use crate::nodes::wire::Conn;
use herd_node::{Node, Output};
use herd_proto::{Instant, Now, UnixTime};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The right clock shows this when a history begins.
pub(crate) const START_NS: i64 = 1_700_000_000_000_000_000;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// More than any history has: something goes round in circles.
const EVENTS_MAX: u64 = 2_000_000;

/// More timers than any history has due at one instant: some do not move.
const TIMERS_AT_ONCE_MAX: usize = 100_000;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) fault: Option<Fault>,
    pub(crate) now_ns: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) conns: Vec<Conn>,
    /// Connections of which an end is open.
    pub(crate) live: Vec<usize>,
    pub(crate) edges: Vec<Edge>,
    queue: BinaryHeap<Reverse<(u64, u64, Ev)>>,
    queued: u64,
    events: u64,
    /// What servers asked for and has not been done.
    pub(crate) todo: VecDeque<(usize, u64, Output)>,
    /// A server has ended a link for silence and is about to say which.
    pub(crate) gives_up: bool,
    /// Servers that something was done to since they were last checked.
    pub(crate) touched: Vec<usize>,
    /// Somebody has lost its memory.
    pub(crate) crashed: bool,
    pub(crate) oracle: Oracle,
    pub(crate) tally: Tally,
    pub(crate) trace: Option<Vec<String>>,
}

/// How an edge of the plan is.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Nothing gets to the first, or to the second, of its hosts.
    pub(crate) cut: [bool; 2],
    /// Counts the cuts.
    pub(crate) cuts: u64,
    pub(crate) dials: Dials,
}

/// Something that comes at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ev {
    /// The first piece on its way to this side of a connection.
    Deliver { conn: usize, side: usize },
    /// A server's dial ends: at somebody, or with nothing.
    Dialed { host: usize, life: u64, peer: usize, to: Option<usize> },
    /// A foreign server dials this neighbor unless it is connected.
    ForeignDial { host: usize, life: u64, neighbor: usize },
    /// A write has taken as long as it may.
    WriteEnds { conn: usize, side: usize, writes: u64 },
    /// The kernel gives up what got no answer since this many cuts of the edge.
    KernelEnds { conn: usize, cuts: u64 },
    /// A reset arrives.
    Reset { conn: usize, side: usize },
    /// A stranger goes.
    Quit { conn: usize },
    /// A stopped server goes on.
    Thaw { host: usize },
    /// A server learns that a peer's machine answers.
    Sign { host: usize, life: u64, peer: usize },
    /// A starved server is stopped again.
    Starve { host: usize },
}

impl World {
    pub(crate) fn new(plan: Plan, chance: Chance, fault: Option<Fault>, trace: bool) -> Self {
        let edge = |_: &_| Edge { cut: [false; 2], cuts: 0, dials: Dials::Reach };
        let mut world = Self {
            hosts: plan.found(),
            edges: plan.edges.iter().map(edge).collect(),
            chance,
            fault,
            now_ns: 0,
            conns: Vec::new(),
            live: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            events: 0,
            todo: VecDeque::new(),
            gives_up: false,
            touched: Vec::new(),
            crashed: false,
            oracle: Oracle::new(!plan.foreign.is_empty()),
            plan,
            tally: Tally::default(),
            trace: trace.then(Vec::new),
        };
        world.note(|world| format!("{:?}", world.plan));
        if world.plan.servers == 8 {
            world.tally.see(Seen::Eights);
        }
        for host in 0..world.plan.hosts() {
            world.start(host);
        }
        world
    }

    pub(crate) fn note(&mut self, say: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9.4} {}", self.now_ns as f64 / 1e9, say(self));
            if let Some(trace) = &mut self.trace {
                trace.push(line);
            }
        }
    }

    pub(crate) fn after(&mut self, wait_ns: u64, event: Ev) {
        self.queued += 1;
        self.queue.push(Reverse((self.now_ns + wait_ns, self.queued, event)));
    }

    /// What the wall clock of a host shows, nanoseconds since 1970.
    pub(crate) fn unix_ns(&self, host: usize) -> i64 {
        START_NS + self.now_ns.cast_signed() + self.hosts[host].ahead_ns
    }

    /// Both clocks of a server; its monotonic one began when it did.
    pub(crate) fn clock(&self, host: usize) -> Now {
        let started_ns = self.hosts[host].server().map_or(0, |server| server.started_ns);
        Now {
            instant: Instant::from_nanos(self.now_ns - started_ns),
            unix: UnixTime::from_nanos(self.unix_ns(host)),
        }
    }

    pub(crate) fn is_frozen(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|host| host.frozen_until > self.now_ns)
    }

    /// Does something to a server; what it asks for then is done by [`carry_out`](Self::carry_out).
    pub(crate) fn enter<R>(
        &mut self,
        host: usize,
        visit: impl FnOnce(&mut Node, Now) -> R,
    ) -> Option<R> {
        let now = self.clock(host);
        let late_ns = if self.plan.late_ns > 0 { self.chance.below(self.plan.late_ns) } else { 0 };
        let life = self.hosts[host].life;
        let server = self.hosts[host].server_mut()?;
        let result = visit(&mut server.node, now);
        while let Some(output) = server.node.poll_output() {
            self.todo.push_back((host, life, output));
        }
        server.timer_ns = match server.node.poll_timeout() {
            Some(at) => (server.started_ns + at.nanos()).max(self.now_ns) + late_ns,
            None => u64::MAX,
        };
        if !self.touched.contains(&host) {
            self.touched.push(host);
        }
        Some(result)
    }

    /// Starts a host that is down, without its memory.
    pub(crate) fn start(&mut self, host: usize) {
        if !self.hosts[host].is_down() {
            return;
        }
        self.hosts[host].life += 1;
        self.hosts[host].frozen_until = 0;
        self.hosts[host].starved_until = 0;
        let life = self.hosts[host].life;
        if self.plan.is_foreign(host) {
            self.note(|world| format!("start {}", world.hosts[host].name));
            let plan = self.plan.foreign[host - self.plan.servers];
            self.hosts[host].is = Being::Foreign(Foreign::new(plan));
            for neighbor in 0..self.hosts[host].neighbors.len() {
                let wait = self.chance.below(SECOND_NS / 10);
                self.after(wait, Ev::ForeignDial { host, life, neighbor });
            }
            return;
        }
        // As a server does it: the time at its start, which is smaller than before if its clock was set
        // back.
        let before = self.hosts[host].incarnation;
        let mut incarnation = self.unix_ns(host).unsigned_abs();
        incarnation += u64::from(incarnation == before);
        if incarnation < before {
            self.tally.see(Seen::OlderLives);
        }
        self.hosts[host].incarnation = incarnation;
        self.note(|world| format!("start {} as {incarnation}", world.hosts[host].name));
        let seed = self.chance.next();
        let settings = self.plan.settings(&self.hosts, host, seed);
        let tuning = self.plan.tuning(self.fault);
        let now =
            Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(self.unix_ns(host)) };
        let mut node = Node::with_tuning(settings, tuning, now);
        if let Some(Fault::Node(mutant)) = self.fault {
            node.set_mutant(mutant);
        }
        let started_ns = self.now_ns;
        let links = std::collections::BTreeMap::new();
        self.oracle.begin(host, self.hosts[host].neighbors.len());
        self.hosts[host].is =
            Being::Server(Box::new(Server { node, started_ns, timer_ns: started_ns, links }));
    }

    /// Lets time pass up to `until_ns`, and everything that it brings.
    pub(crate) fn run_until(&mut self, until_ns: u64) -> Result<(), String> {
        let mut still = 0;
        loop {
            let event_ns = self.queue.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let timers = self.hosts.iter().enumerate().filter_map(|(at, host)| {
                Some((host.server()?.timer_ns.max(host.frozen_until), at))
            });
            let (timer_ns, host) = timers.min().unwrap_or((u64::MAX, 0));
            let next_ns = event_ns.min(timer_ns);
            if next_ns > until_ns {
                self.now_ns = until_ns;
                return Ok(());
            }
            self.events += 1;
            if self.events > EVENTS_MAX {
                return Err("something goes round in circles".into());
            }
            // Much may arrive at one instant where links have no delay, but only so many timers are due.
            let is_timer = timer_ns < event_ns;
            still = if next_ns > self.now_ns { 0 } else { still + usize::from(is_timer) };
            if still > TIMERS_AT_ONCE_MAX {
                return Err("time stands still: timers that do not move".into());
            }
            self.now_ns = next_ns.max(self.now_ns);
            if event_ns <= timer_ns {
                if let Some(Reverse((.., event))) = self.queue.pop() {
                    self.happen(event);
                }
            } else {
                self.enter(host, Node::handle_timeout);
            }
            self.carry_out()?;
            self.check()?;
        }
    }

    /// The latest time that any clock has shown.
    pub(crate) fn note_clocks(&mut self) {
        let ahead_ns = self.hosts.iter().map(|host| host.ahead_ns).max().unwrap_or(0);
        let latest_ns = START_NS + self.now_ns.cast_signed() + ahead_ns;
        self.oracle.latest_ns = self.oracle.latest_ns.max(latest_ns);
    }

    /// Checks every server that something was done to.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        while let Some(host) = self.touched.pop() {
            self.note_clocks();
            // What is frozen notices nothing before it thaws.
            let now_ns = self.now_ns.max(self.hosts[host].frozen_until);
            if let Some(server) = self.hosts[host].server() {
                self.oracle
                    .check(host, &server.node, now_ns)
                    .map_err(|what| format!("{} {what}", self.hosts[host].name))?;
            }
        }
        Ok(())
    }
}
