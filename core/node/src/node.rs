//! The state machine: reports and questions of clients, links to neighbours, and time.

use crate::link::{Dialect, Link, LinkLine, Phase, read};
use crate::output::{CloseReason, Event, Output, Refusal};
use crate::peers::{
    Backoff, DialRole, Dialing, Peer, PeerId, PeerSettings, PeerState, PeerStatus, Readiness,
};
use crate::stats::Counters;
use herd_geo::{Point, parse_iso6709};
use herd_proto::{At, Difference, Hello, Iamat, Instant, Now, Report, UnixTime, effective_time};
use herd_replica::{Applied, LinkId, Record, Replica, Source};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What a node needs to know to be one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The herd's name.
    pub herd: String,
    /// This server's name.
    pub name: String,
    /// Greater at every start of this server.
    pub incarnation: u64,
    /// Chance: for jitter and for hashing. Hard to guess.
    pub seed: u64,
    /// Its neighbours.
    pub peers: Vec<PeerSettings>,
    /// A report may be ordered at most so far ahead of this server's clock.
    pub future_skew_max: Duration,
    /// Bytes of a line between servers at most, without line feed.
    pub line_bytes_max: usize,
    /// How often a neighbour is pinged.
    pub ping_every: Duration,
    /// After so long without a byte a neighbour counts as gone.
    pub dead_after: Duration,
    /// A new connection must say hello within this.
    pub hello_within: Duration,
    /// The first wait before dialing again.
    pub backoff_min: Duration,
    /// The longest wait before dialing again.
    pub backoff_max: Duration,
    /// How long after its start a node is not ready because a neighbour cannot be reached.
    pub ready_grace: Duration,
}

/// A client's newest report, found.
#[derive(Clone, Copy, Debug)]
pub struct Located<'a> {
    /// The report.
    pub report: Report<'a>,
    /// Where that is.
    pub point: Point,
}

/// One server.
///
/// After every `handle_*` drain [`poll_output`](Self::poll_output); when
/// [`poll_timeout`](Self::poll_timeout) comes, call [`handle_timeout`](Self::handle_timeout). No call
/// waits, and none does I/O.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    replica: Replica,
    peers: Vec<Peer>,
    links: BTreeMap<LinkId, Link>,
    links_opened: u64,
    outputs: VecDeque<Output>,
    timeout: Option<Instant>,
    chance: Chance,
    counters: Counters,
    started: Instant,
    clamp_told: Option<Instant>,
    /// Reused for encoding one value.
    value: Vec<u8>,
}

impl Node {
    /// A node that knows nothing yet and will dial its neighbours at once.
    pub fn new(settings: Settings, now: Now) -> Self {
        let backoff = Backoff { min: settings.backoff_min, max: settings.backoff_max };
        let peer = |peer: &PeerSettings| Peer::new(peer.clone(), backoff, now.instant);
        let mut chance = Chance(settings.seed);
        let mut node = Self {
            peers: settings.peers.iter().map(peer).collect(),
            replica: Replica::new(chance.next()),
            settings,
            links: BTreeMap::new(),
            links_opened: 0,
            outputs: VecDeque::new(),
            timeout: None,
            chance,
            counters: Counters::default(),
            started: now.instant,
            clamp_told: None,
            value: Vec::new(),
        };
        node.set_timeout();
        node
    }

    /// This server's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The next effect; drain after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due if nothing happens before. May be early.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    // ---- clients ----

    /// A client reports where it is. Stored and spread if newer than what is known; the answer is the
    /// same either way.
    pub fn handle_report(&mut self, iamat: &Iamat<'_>, now: Now) -> Difference {
        let difference = Difference::between(now.unix, iamat.time);
        let effective = effective_time(iamat.time, difference, self.settings.future_skew_max);
        if effective < iamat.time {
            self.note_clamped(difference, now);
        }
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        Report::encode_received(&self.settings.name, iamat, now.unix, &mut value);
        match self.apply(iamat.client, effective, &value, Source::Here) {
            Applied::Newer => self.counters.updates += 1,
            Applied::NotNewer | Applied::Full => self.counters.not_newer += 1,
        }
        self.value = value;
        difference
    }

    /// An AT line came from somebody who may speak for a server but is no neighbour's link.
    pub fn handle_relay(&mut self, at: &At<'_>) {
        self.counters.relayed += 1;
        self.apply_at(at, Source::Here);
    }

    /// The newest report of `client`, if any server has told this one of it.
    pub fn locate(&self, client: &str) -> Option<Located<'_>> {
        let record = self.replica.get(client.as_bytes())?;
        let report = Report::decode(record.value)?;
        let point = parse_iso6709(report.location.as_bytes()).ok()?;
        Some(Located { report, point })
    }

    // ---- links ----

    /// A connection that [`Output::Connect`] asked for is open. Drive it as the link returned.
    pub fn handle_connected(&mut self, peer: PeerId, now: Now) -> Option<LinkId> {
        let settings = &self.peers.get(peer.0)?.settings;
        let dialect = settings.dialect;
        let phase = match dialect {
            Dialect::At => Phase::Up,
            Dialect::Native => Phase::Greeting { until: now.instant + self.settings.hello_within },
        };
        let id = self.add_link(Some(peer), dialect, phase, now);
        match dialect {
            Dialect::At => {
                if let Some(peer) = self.peers.get_mut(peer.0) {
                    peer.dialing = Dialing::Idle;
                }
                self.link_up(id, peer, now);
            }
            Dialect::Native => {
                if let Some(peer) = self.peers.get_mut(peer.0) {
                    peer.dialing = Dialing::Greeting(id);
                }
                self.say_hello(id);
            }
        }
        self.set_timeout();
        Some(id)
    }

    /// A connection that [`Output::Connect`] asked for could not be opened.
    pub fn handle_connect_failed(&mut self, peer: PeerId, why: String, now: Now) {
        let (backoff, chance) = (self.backoff(), self.chance.next());
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.dial_failed(why, backoff, chance, now.instant);
        }
        self.set_timeout();
    }

    /// Somebody connected and its first line is a hello. Drive the connection as the link returned,
    /// beginning with that line.
    pub fn handle_accepted(&mut self, now: Now) -> LinkId {
        let phase = Phase::Greeting { until: now.instant + self.settings.hello_within };
        let id = self.add_link(None, Dialect::Native, phase, now);
        self.set_timeout();
        id
    }

    /// Bytes came in on a link.
    pub fn handle_link_input(&mut self, id: LinkId, bytes: &[u8], now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.heard = now.instant;
        if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.bytes_received += bytes.len() as u64;
        }
        let Some(mut framer) = link.take_framer() else { return };
        for frame in framer.feed(bytes) {
            self.handle_link_line(id, &read(&frame), now);
        }
        framer.settle();
        if let Some(link) = self.links.get_mut(&id) {
            link.put_framer(framer);
        }
        self.set_timeout();
    }

    /// A link's socket was closed, by this side (after [`Output::Close`]) or the other, or failed.
    pub fn handle_link_closed(&mut self, id: LinkId, why: String, now: Now) {
        self.retire_link(id, CloseReason::Socket(why), now);
        self.links.remove(&id);
        self.set_timeout();
    }

    /// Appends what is to be sent on a link now, until `out` has at least `budget` bytes or nothing
    /// is left. If nothing was appended, [`Output::Transmit`] tells when to ask again.
    pub fn poll_transmit(&mut self, id: LinkId, out: &mut Vec<u8>, budget: usize) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let start = out.len();
        link.drain_control(out);
        let mut records = 0;
        if link.phase == Phase::Up {
            while out.len() < budget {
                let Some(record) = self.replica.poll_link(id) else { break };
                if let Some((client, report)) = decode(&record) {
                    report.write_at(client, out);
                    records += 1;
                }
            }
            if !link.told_all && self.replica.has_caught_up(id) {
                link.told_all = true;
                if link.dialect == Dialect::Native {
                    Link::write_synced(out);
                }
            }
        }
        let sent = out.len() - start;
        link.waiting = sent == 0;
        if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.records_sent += records;
            peer.counters.bytes_sent += sent as u64;
        }
    }

    /// A moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if matches!(peer.dialing, Dialing::At(when) if when <= now.instant) {
                peer.dialing = Dialing::Connecting;
                self.outputs.push_back(Output::Connect(PeerId(at)));
            }
        }
        let (dead_after, ping_every) = (self.settings.dead_after, self.settings.ping_every);
        let mut ended = Vec::new();
        let mut pinged = Vec::new();
        for (&id, link) in &mut self.links {
            match link.phase {
                Phase::Greeting { until } if until <= now.instant => {
                    ended.push((id, CloseReason::NoHello(self.settings.hello_within)));
                }
                Phase::Up if link.dialect == Dialect::Native => {
                    if link.heard + dead_after <= now.instant {
                        ended.push((id, CloseReason::Dead(dead_after)));
                    } else if link.pinged + ping_every <= now.instant {
                        link.say_ping(now.instant);
                        pinged.push(id);
                    }
                }
                Phase::Greeting { .. } | Phase::Up | Phase::Closing => {}
            }
        }
        for (id, reason) in ended {
            self.close_link(id, reason, now);
        }
        for id in pinged {
            self.wake(id);
        }
        self.set_timeout();
    }

    // ---- for those who watch ----

    /// Clients known.
    pub fn clients(&self) -> usize {
        self.replica.len()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every neighbour as seen from here.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.iter().map(|peer| PeerStatus {
            name: peer.settings.name.clone(),
            dialect: peer.settings.dialect,
            state: self.state(peer),
            since: peer.since,
            round_trip: peer.round_trip,
            last_error: peer.last_error.clone(),
            counters: peer.counters,
        })
    }

    /// The name of a neighbour; empty for one that does not exist.
    pub fn peer_name(&self, peer: PeerId) -> &str {
        self.peers.get(peer.0).map_or("", |peer| &peer.settings.name)
    }

    /// Whether this node has caught up with its neighbours. One that cannot be reached is waited for
    /// only during the first moments: a herd that lost a server goes on being ready.
    pub fn readiness(&self, now: Now) -> Readiness {
        let waiting = now.instant.since(self.started) < self.settings.ready_grace;
        let mut ready = true;
        let mut missing = Vec::new();
        for peer in &self.peers {
            let state = self.state(peer);
            if state == PeerState::Up {
                continue;
            }
            ready &= state != PeerState::CatchingUp && !waiting;
            missing.push((peer.settings.name.clone(), state));
        }
        Readiness { ready, missing }
    }

    // ---- inside ----

    fn apply_at(&mut self, at: &At<'_>, source: Source) -> Applied {
        let skew_max = self.settings.future_skew_max;
        let effective = effective_time(at.report.time, at.difference, skew_max);
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        Report::encode_relayed(at, &mut value);
        let applied = self.apply(at.report.client, effective, &value, source);
        self.value = value;
        applied
    }

    fn apply(
        &mut self,
        client: &str,
        effective: UnixTime,
        value: &[u8],
        source: Source,
    ) -> Applied {
        let key = client.as_bytes();
        let record = Record { key, effective_ns: effective.nanos(), value };
        let applied = self.replica.apply(record, source);
        if applied == Applied::Newer {
            for (&id, link) in &mut self.links {
                if link.waiting && link.phase == Phase::Up {
                    link.waiting = false;
                    self.outputs.push_back(Output::Transmit(id));
                }
            }
        }
        applied
    }

    fn note_clamped(&mut self, difference: Difference, now: Now) {
        /// A phone with a wrong clock sends every second; the log hears of it this often.
        const TOLD_EVERY: Duration = Duration::from_secs(1);
        self.counters.clamped += 1;
        if self.clamp_told.is_none_or(|told| now.instant.since(told) >= TOLD_EVERY) {
            self.clamp_told = Some(now.instant);
            let ahead = Duration::from_nanos(difference.nanos().unsigned_abs());
            self.outputs.push_back(Output::Event(Event::Clamped { ahead }));
        }
    }

    fn handle_link_line(&mut self, id: LinkId, line: &LinkLine<'_>, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match (link.phase, line) {
            (Phase::Closing, _) | (_, LinkLine::Blank) => {}
            (Phase::Greeting { .. }, LinkLine::Hello(hello)) => self.greet(id, hello, now),
            (_, LinkLine::Refused(reason)) => {
                let reason = CloseReason::RefusedByPeer((*reason).to_owned());
                self.close_link(id, reason, now);
            }
            // It does not know our hello: it is a foreign server, whatever the configuration says.
            (Phase::Greeting { .. }, LinkLine::NotUnderstood(_)) if link.dialed => {
                link.dialect = Dialect::At;
                link.heard_all = true;
                if let Some(peer) = link.peer {
                    self.end_dialing(peer);
                    self.link_up(id, peer, now);
                }
            }
            (Phase::Up, LinkLine::At(at)) => self.handle_at(id, at, now),
            (_, LinkLine::NotUnderstood(line)) => {
                let peer = link.peer.map_or("", |peer| self.peer_name(peer)).to_owned();
                let line = printable(line);
                self.outputs.push_back(Output::Event(Event::NotUnderstood { peer, line }));
            }
            (Phase::Up, line) if link.dialect == Dialect::At => {
                link.say_not_understood(line);
                self.wake(id);
            }
            (Phase::Up, LinkLine::Synced) => {
                link.heard_all = true;
                let after = now.instant.since(link.opened);
                let peer = link.peer.map_or("", |peer| self.peer_name(peer)).to_owned();
                self.outputs.push_back(Output::Event(Event::CaughtUp { peer, after }));
            }
            (Phase::Up, LinkLine::Ping(sent)) => {
                link.say_pong(*sent);
                self.wake(id);
            }
            (Phase::Up, LinkLine::Pong(sent)) => {
                let round_trip = now.instant.since(Instant::from_nanos(*sent));
                if let Some(peer) = link.peer.and_then(|peer| self.peers.get_mut(peer.0)) {
                    peer.round_trip = Some(round_trip);
                }
            }
            (_, line) => {
                let line = if let LinkLine::Other(line) | LinkLine::TooLong(line) = line {
                    printable(line)
                } else {
                    printable(format!("{line:?}").as_bytes())
                };
                self.close_link(id, CloseReason::Nonsense(line), now);
            }
        }
    }

    fn handle_at(&mut self, id: LinkId, at: &At<'_>, now: Now) {
        let peer = self.links.get(&id).and_then(|link| link.peer);
        if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            peer.counters.records_received += 1;
        }
        if self.apply_at(at, Source::Link(id)) == Applied::Newer {
            let received = at.report.time.nanos().saturating_add(at.difference.nanos());
            self.counters.propagation.record(now.unix.nanos().saturating_sub(received));
        }
    }

    /// The other side said who it is.
    fn greet(&mut self, id: LinkId, hello: &Hello<'_>, now: Now) {
        let peer = match self.judge(id, hello) {
            Ok(peer) => peer,
            Err(refusal) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.say_refused(&refusal);
                }
                self.close_link(id, CloseReason::Refused(refusal), now);
                return;
            }
        };
        if let Some(old) = self.peers.get(peer.0).and_then(|peer| peer.link) {
            self.close_link(old, CloseReason::Replaced, now);
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        link.peer = Some(peer);
        link.incarnation = hello.incarnation;
        link.phase = Phase::Up;
        if link.dialed {
            self.end_dialing(peer);
        } else {
            self.say_hello(id);
        }
        self.link_up(id, peer, now);
    }

    /// Which neighbour a hello comes from, or why it is not talked to.
    fn judge(&self, id: LinkId, hello: &Hello<'_>) -> Result<PeerId, Refusal> {
        let (ours, found) = (&self.settings, hello.server);
        if hello.herd != ours.herd {
            let (ours, theirs) = (ours.herd.clone(), hello.herd.to_owned());
            return Err(Refusal::OtherHerd { ours, theirs });
        }
        if found == ours.name {
            return Err(Refusal::OwnName(ours.name.clone()));
        }
        let Some(link) = self.links.get(&id) else { return Err(Refusal::AlreadyLinked) };
        let id = if let Some(expected) = link.peer {
            let expected_name = self.peer_name(expected);
            if expected_name != found {
                let (expected, found) = (expected_name.to_owned(), found.to_owned());
                return Err(Refusal::WrongServer { expected, found });
            }
            expected
        } else {
            let at = self.peers.iter().position(|peer| peer.settings.name == found);
            PeerId(at.ok_or_else(|| Refusal::NotANeighbor(found.to_owned()))?)
        };
        // Of two connections the one stays that the side opened which dials always; unless the other
        // side has started anew and cannot know it.
        let Some(peer) = self.peers.get(id.0) else { return Err(Refusal::AlreadyLinked) };
        let keeps = |link: &Link| link.dialed == (peer.settings.role == DialRole::Always);
        let old = peer.link.and_then(|old| self.links.get(&old));
        if old.is_some_and(|old| keeps(old) && !keeps(link) && old.incarnation == hello.incarnation)
        {
            return Err(Refusal::AlreadyLinked);
        }
        Ok(id)
    }

    fn link_up(&mut self, id: LinkId, peer: PeerId, now: Now) {
        self.replica.open_link(id);
        if let Some(link) = self.links.get_mut(&id) {
            link.phase = Phase::Up;
            link.pinged = now.instant;
            let (dialed, plain) = (link.dialed, link.dialect == Dialect::At);
            let name = self.peer_name(peer).to_owned();
            self.outputs.push_back(Output::Event(Event::LinkUp { peer: name, dialed, plain }));
        }
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.link_up(id, now.instant);
        }
        self.wake(id);
    }

    fn add_link(
        &mut self,
        peer: Option<PeerId>,
        dialect: Dialect,
        phase: Phase,
        now: Now,
    ) -> LinkId {
        self.links_opened += 1;
        let id = LinkId(self.links_opened);
        let link = Link::new(peer, dialect, phase, self.settings.line_bytes_max, now.instant);
        self.links.insert(id, link);
        id
    }

    fn say_hello(&mut self, id: LinkId) {
        let Settings { herd, name, incarnation, .. } = &self.settings;
        let hello = Hello { herd, server: name, incarnation: *incarnation, features: "-" };
        if let Some(link) = self.links.get_mut(&id) {
            link.say_hello(&hello);
        }
        self.wake(id);
    }

    /// The driver shall look for something to send, once, however often this is called before it does.
    fn wake(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.waiting {
            link.waiting = false;
            self.outputs.push_back(Output::Transmit(id));
        }
    }

    /// A link ends from this side: its last words may still be sent, nothing else.
    fn close_link(&mut self, id: LinkId, reason: CloseReason, now: Now) {
        if self.retire_link(id, reason, now) {
            self.outputs.push_back(Output::Close(id));
        }
    }

    /// Unties a link from the herd. False if that was done before, or there is no such link.
    fn retire_link(&mut self, id: LinkId, reason: CloseReason, now: Now) -> bool {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.phase != Phase::Closing) else {
            return false;
        };
        link.phase = Phase::Closing;
        let peer = link.peer;
        self.replica.close_link(id);
        let (backoff, chance) = (self.backoff(), self.chance.next());
        if let Some(peer) = peer.and_then(|peer| self.peers.get_mut(peer.0)) {
            if peer.link == Some(id) {
                peer.link_down(reason.to_string(), backoff, chance, now.instant);
            } else if peer.dialing == Dialing::Greeting(id) {
                peer.dial_failed(reason.to_string(), backoff, chance, now.instant);
            }
        }
        let peer = peer.map(|peer| self.peer_name(peer).to_owned());
        self.outputs.push_back(Output::Event(Event::LinkDown { peer, reason }));
        true
    }

    fn end_dialing(&mut self, peer: PeerId) {
        if let Some(peer) = self.peers.get_mut(peer.0) {
            peer.dialing = Dialing::Idle;
        }
    }

    fn state(&self, peer: &Peer) -> PeerState {
        match (peer.link.and_then(|id| self.links.get(&id)), peer.dialing) {
            (Some(link), _) if link.heard_all => PeerState::Up,
            (Some(_), _) => PeerState::CatchingUp,
            (None, Dialing::Connecting | Dialing::Greeting(_)) => PeerState::Connecting,
            (None, Dialing::Idle | Dialing::At(_)) => PeerState::Down,
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff { min: self.settings.backoff_min, max: self.settings.backoff_max }
    }

    /// Only links and dials have timers, so only what changes those comes here.
    fn set_timeout(&mut self) {
        let Settings { ping_every, dead_after, .. } = self.settings;
        let dials = self.peers.iter().filter_map(|peer| match peer.dialing {
            Dialing::At(when) => Some(when),
            Dialing::Idle | Dialing::Connecting | Dialing::Greeting(_) => None,
        });
        let links = self.links.values().filter_map(|link| link.deadline(ping_every, dead_after));
        self.timeout = dials.chain(links).min();
    }
}

/// A record as a report; None if it is none, which only another kind of value can be.
fn decode<'a>(record: &Record<'a>) -> Option<(&'a str, Report<'a>)> {
    Some((std::str::from_utf8(record.key).ok()?, Report::decode(record.value)?))
}

/// The start of a foreign line, fit for a log.
fn printable(line: &[u8]) -> String {
    const SHOWN_BYTES: usize = 120;
    line.get(..SHOWN_BYTES).unwrap_or(line).escape_ascii().to_string()
}

/// A small generator of random numbers (SplitMix64): enough for jitter, not for secrets.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
