//! Nodes, wires between them, and a clock, all in memory and all from one seed.
//!
//! A wire carries bytes in order in both directions, a few at a time, until it is cut; then each side
//! learns of it when the test says so. What stands in the bytes is not looked at here.

use herd_node::{
    DialRole, Dialect, Event, LinkId, Node, Output, PeerId, PeerSettings, Redundancy, Settings,
};
use herd_proto::{Command, Instant, Now, UnixTime, Versions};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(crate) const START_NS: i64 = 1_700_000_000_000_000_000;

pub(crate) struct Herd {
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) events: Vec<(usize, Event)>,
    edges: Vec<(usize, usize)>,
    wires: Vec<Wire>,
    /// Whether messages and dials get through between two nodes.
    pub(crate) cut: BTreeMap<(usize, usize), bool>,
    now_ns: u64,
    /// How far the wall clock of each node is ahead of the right one.
    pub(crate) ahead_ns: Vec<i64>,
    /// Until when a node is stopped.
    stopped_until: Vec<u64>,
    incarnations: u64,
    change: Change,
    pub(crate) chance: Chance,
}

/// Other settings for the node of that number.
type Change = Box<dyn Fn(usize, &mut Settings)>;

struct Wire {
    ends: [End; 2],
    /// Bytes under way to each end.
    flow: [VecDeque<u8>; 2],
    open: bool,
    /// The accepting end has not read its first line.
    fresh: bool,
}

#[derive(Clone, Copy, PartialEq)]
struct End {
    node: usize,
    link: Option<LinkId>,
}

impl Herd {
    pub(crate) fn new(count: usize, edges: &[(usize, usize)], seed: u64) -> Self {
        Self::with(count, edges, seed, |_, _| {})
    }

    /// With other settings: `change` is given the number of the node.
    pub(crate) fn with(
        count: usize,
        edges: &[(usize, usize)],
        seed: u64,
        change: impl Fn(usize, &mut Settings) + 'static,
    ) -> Self {
        let mut herd = Self {
            nodes: (0..count).map(|_| None).collect(),
            events: Vec::new(),
            edges: edges.to_vec(),
            wires: Vec::new(),
            cut: BTreeMap::new(),
            now_ns: 0,
            ahead_ns: vec![0; count],
            stopped_until: vec![0; count],
            incarnations: 0,
            change: Box::new(change),
            chance: Chance(seed),
        };
        for node in 0..count {
            herd.start(node);
        }
        herd
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            instant: Instant::from_nanos(self.now_ns),
            unix: UnixTime::from_nanos(START_NS + self.now_ns.cast_signed()),
        }
    }

    /// Both clocks of a node.
    pub(crate) fn now_at(&self, at: usize) -> Now {
        let Now { instant, unix } = self.now();
        Now { instant, unix: UnixTime::from_nanos(unix.nanos() + self.ahead_ns[at]) }
    }

    /// A node does nothing for so long; its kernel goes on.
    pub(crate) fn stop(&mut self, at: usize, span: Duration) {
        self.stopped_until[at] = self.now_ns + u64::try_from(span.as_nanos()).unwrap();
    }

    fn is_stopped(&self, at: usize) -> bool {
        self.stopped_until[at] > self.now_ns
    }

    /// Starts a node that knows nothing.
    pub(crate) fn start(&mut self, at: usize) {
        self.incarnations += 1;
        let mut settings = Settings {
            incarnation: self.incarnations,
            seed: self.chance.next(),
            members: (0..self.nodes.len()).map(|at| name(at).into()).collect(),
            peers: self.neighbors(at).iter().map(|&other| peer(at, other)).collect(),
            ..settings(&name(at))
        };
        (self.change)(at, &mut settings);
        self.nodes[at] = Some(Node::new(settings, self.now_at(at)));
    }

    /// Ends a node as kill -9 does: its neighbors' sockets close.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
        for wire in 0..self.wires.len() {
            if self.wires[wire].ends.iter().any(|end| end.node == at) {
                self.close(wire, "reset");
            }
        }
    }

    fn neighbors(&self, at: usize) -> Vec<usize> {
        let mut found: Vec<_> = self
            .edges
            .iter()
            .filter_map(|&(a, b)| if a == at { Some(b) } else { (b == at).then_some(a) })
            .collect();
        found.sort_unstable();
        found
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.get(&(a.min(b), a.max(b))).copied().unwrap_or_default()
    }

    /// A client reports at a node; false if that is not there.
    pub(crate) fn report(&mut self, at: usize, client: &str, location: &str, time: &str) -> bool {
        let now = self.now_at(at);
        let line = format!("IAMAT {client} {location} {time}");
        let Command::Iamat(iamat) = Command::parse(line.as_bytes()) else { panic!("{line}") };
        let Some(node) = &mut self.nodes[at] else { return false };
        node.handle_report(&iamat, now);
        self.drain(at);
        true
    }

    /// The AT line of a client's newest report at a node.
    pub(crate) fn at_line(&self, at: usize, client: &str) -> Option<String> {
        let found = self.nodes[at].as_ref()?.locate(client, self.now_at(at).unix)?;
        let mut line = Vec::new();
        found.report.write_at(client, &mut line);
        Some(String::from_utf8(line).unwrap())
    }

    pub(crate) fn drain(&mut self, at: usize) {
        while let Some(output) = self.nodes[at].as_mut().and_then(Node::poll_output) {
            match output {
                Output::Connect(peer) => self.connect(at, peer),
                Output::Probe(peer) => self.probe(at, peer),
                Output::Event(event) => self.events.push((at, event)),
                Output::Journal | Output::Journaled(_) => {}
                Output::Transmit(link) => self.transmit(at, link),
                Output::Close(link) => {
                    self.transmit(at, link);
                    if let Some(wire) = self.wire_of(at, link) {
                        self.close(wire, "closed");
                    }
                    let now = self.now_at(at);
                    if let Some(node) = &mut self.nodes[at] {
                        node.handle_link_closed(link, "closed".into(), now);
                    }
                }
            }
        }
    }

    /// Whom a node reaches when it dials a peer: by the first letter of its name, or whoever it takes for it.
    fn reached(&self, at: usize, peer: PeerId) -> (usize, bool) {
        let wanted = self.nodes[at].as_ref().map_or("A", |node| node.peer_name(peer));
        let is_it = |&other: &usize| {
            other != at && self.nodes[other].as_ref().is_some_and(|node| node.name() == wanted)
        };
        let found = self.neighbors(at).into_iter().find(is_it);
        let other = found.unwrap_or_else(|| usize::from(wanted.as_bytes()[0] - b'A'));
        (other, self.nodes[other].is_some() && !self.is_cut(at, other))
    }

    fn probe(&mut self, at: usize, peer: PeerId) {
        let now = self.now_at(at);
        if self.reached(at, peer).1
            && let Some(node) = &mut self.nodes[at]
        {
            node.handle_sign_of_life(peer, now);
        }
    }

    fn connect(&mut self, at: usize, peer: PeerId) {
        let (other, reachable) = self.reached(at, peer);
        let now = self.now_at(at);
        let Some(node) = &mut self.nodes[at] else { return };
        if !reachable {
            node.handle_connect_failed(peer, "refused".into(), now);
            return;
        }
        let link = node.handle_connected(peer, now);
        let ends = [End { node: at, link }, End { node: other, link: None }];
        self.wires.push(Wire { ends, flow: Default::default(), open: true, fresh: true });
        if let Some(link) = link {
            self.transmit(at, link);
        }
    }

    fn wire_of(&self, node: usize, link: LinkId) -> Option<usize> {
        let end = End { node, link: Some(link) };
        self.wires.iter().position(|wire| wire.open && wire.ends.contains(&end))
    }

    fn transmit(&mut self, at: usize, link: LinkId) {
        let Some(wire) = self.wire_of(at, link) else { return };
        let toward = usize::from(self.wires[wire].ends[0].node == at);
        let now = self.now_at(at);
        let Some(node) = &mut self.nodes[at] else { return };
        loop {
            let mut bytes = Vec::new();
            node.poll_transmit(link, &mut bytes, 256, now);
            if bytes.is_empty() {
                return;
            }
            self.wires[wire].flow[toward].extend(bytes);
        }
    }

    /// Closes a wire; what was under way toward a living node still arrives first.
    fn close(&mut self, wire: usize, why: &str) {
        if !std::mem::take(&mut self.wires[wire].open) {
            return;
        }
        for side in 0..2 {
            let End { node, link } = self.wires[wire].ends[side];
            let now = self.now_at(node);
            let rest: Vec<u8> = self.wires[wire].flow[side].drain(..).collect();
            if let (Some(node), Some(link)) = (&mut self.nodes[node], link) {
                node.handle_link_input(link, &rest, now);
                node.handle_link_closed(link, why.into(), now);
            }
        }
        for side in 0..2 {
            self.drain(self.wires[wire].ends[side].node);
        }
    }

    /// Carries some bytes over some wire; false if none are under way that get through.
    pub(crate) fn carry(&mut self) -> bool {
        let ready: Vec<_> = (0..self.wires.len() * 2)
            .map(|n| (n / 2, n % 2))
            .filter(|&(wire, side)| {
                let one = &self.wires[wire];
                let [a, b] = one.ends;
                let is_stopped = self.is_stopped(one.ends[side].node);
                let passes = !is_stopped && !self.is_cut(a.node, b.node);
                one.open && !one.flow[side].is_empty() && passes
            })
            .collect();
        let Some(&(wire, side)) = self.chance.pick(&ready) else { return false };
        let mut count = 1 + self.chance.below(400);
        let End { node: at, link } = self.wires[wire].ends[side];
        let now = self.now_at(at);
        if link.is_none() && self.wires[wire].fresh {
            // The shell hands a connection over with its first line whole.
            let line = self.wires[wire].flow[side].iter().position(|&b| b == b'\n');
            count = count.max(line.map_or(usize::MAX, |end| end + 1));
            self.wires[wire].fresh = false;
            let link = self.nodes[at].as_mut().map(|node| node.handle_accepted(now));
            self.wires[wire].ends[side].link = link;
        }
        let count = count.min(self.wires[wire].flow[side].len());
        let bytes: Vec<u8> = self.wires[wire].flow[side].drain(..count).collect();
        let link = self.wires[wire].ends[side].link;
        if let (Some(node), Some(link)) = (&mut self.nodes[at], link) {
            node.handle_link_input(link, &bytes, now);
            self.drain(at);
            self.transmit(at, link);
        }
        true
    }

    /// Lets so much time pass that the next timer is due, at most `span`.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now_ns + u64::try_from(span.as_nanos()).unwrap();
        let timers = self.nodes.iter().zip(&self.stopped_until).filter_map(|(node, &stopped)| {
            let due = node.as_ref().and_then(Node::poll_timeout)?;
            Some(due.nanos().max(stopped))
        });
        let next = timers.min().unwrap_or(until);
        self.now_ns = next.clamp(self.now_ns, until);
        for at in 0..self.nodes.len() {
            if self.is_stopped(at) {
                continue;
            }
            let now = self.now_at(at);
            let due = |node: &&mut Node| node.poll_timeout().is_some_and(|at| at <= now.instant);
            if let Some(node) = self.nodes[at].as_mut().filter(due) {
                node.handle_timeout(now);
                self.drain(at);
            }
        }
    }

    /// Runs for `span` of the made-up clock with everything carried at once.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now_ns + u64::try_from(span.as_nanos()).unwrap();
        loop {
            while self.carry() {}
            if self.now_ns >= end {
                return;
            }
            self.pass(Duration::from_nanos(end - self.now_ns));
        }
    }
}

/// A node alone.
pub(crate) fn settings(name: &str) -> Settings {
    Settings {
        herd: "news".into(),
        name: name.to_owned(),
        incarnation: 1,
        seed: 1,
        members: [name.into()].into(),
        peers: Vec::new(),
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: Duration::from_mins(10),
        horizon: Duration::from_hours(24 * 30),
        expire_after: None,
        future_skew_max: Duration::from_mins(1),
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: Duration::from_millis(500),
        hello_within: Duration::from_millis(1500),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_secs(5),
        ready_grace: Duration::from_secs(3),
    }
}

pub(crate) fn name(at: usize) -> String {
    char::from(b'A' + u8::try_from(at).unwrap()).to_string()
}

pub(crate) fn peer(at: usize, other: usize) -> PeerSettings {
    let role = if at < other { DialRole::Always } else { DialRole::Once };
    let dead_after = Duration::from_millis(1500);
    PeerSettings { name: name(other), dialect: Dialect::Native, role, dead_after }
}

/// Random numbers that a seed repeats.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 32)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}
