//! The state machine: reports and questions of clients, links to peers, and time.

use crate::link::{Dialect, Link, Phase, SilenceFaults};
use crate::mutants::Mutant;
use crate::nearby::Whereabouts;
use crate::output::{CloseReason, Event, Output};
use crate::own_time::OwnTime;
use crate::peers::{
    Backoff, Dialing, Peer, PeerId, PeerSettings, PeerState, PeerStatus, Readiness,
};
use crate::renewal::Renewals;
use crate::silence::Verdict;
use crate::stats::Counters;
use crate::watch::Watch;
use herd_geo::{Point, parse_iso6709};
use herd_proto::{
    At, Difference, Iamat, Instant, Now, Report, UnixTime, Versions, effective_time, is_name,
};
use herd_replica::{
    Applied, ComparisonReport, LinkId, Origin, Record, Redundancy, Replica, Tuning,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The settings of a node.
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
    /// Its peers.
    pub peers: Vec<PeerSettings>,
    /// All servers of the herd that speak this product's protocol, this one among them.
    pub members: BTreeSet<Box<str>>,
    /// The frames that it speaks with its peers; [`Versions::CURRENT`] but in tests.
    pub frames: Versions,
    /// Number of peers that each server's updates are asked of.
    pub redundancy: Redundancy,
    /// A server that was silent for so long is not waited for when superseded updates are forgotten.
    pub forget_after: Duration,
    /// A report that was received longer ago is neither accepted nor kept. To be alike on all servers.
    pub horizon: Duration,
    /// The same if it is shorter; None for the horizon alone. To be alike on all servers.
    pub expire_after: Option<Duration>,
    /// A report may be ordered at most so far ahead of this server's clock, and the clocks of peers may differ by at
    /// most twice as much.
    pub future_skew_max: Duration,
    /// The limits from which on new clients are turned away.
    pub ceiling: Ceiling,
    /// Bytes of a line between servers at most, without line feed.
    pub line_bytes_max: usize,
    /// How often a peer is pinged.
    pub ping_every: Duration,
    /// A new connection must say hello within this.
    pub hello_within: Duration,
    /// The first wait before dialing again.
    pub backoff_min: Duration,
    /// The longest wait before dialing again.
    pub backoff_max: Duration,
    /// How long after its start a node is not ready because a peer cannot be reached.
    pub ready_grace: Duration,
}

/// The limits from which on a server is full: clients that it does not know are turned away, known ones go on. Records
/// of peers are accepted all the same, or servers would differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Keys stored, those of forgotten clients among them.
    pub clients: usize,
    /// Bytes of memory that the process has from the system at most, as it was told last.
    pub resident_bytes: u64,
}

impl Default for Ceiling {
    /// No limits.
    fn default() -> Self {
        Self { clients: usize::MAX, resident_bytes: u64::MAX }
    }
}

/// What became of an AT line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// It was newer than what was known.
    Newer,
    /// It was not.
    NotNewer,
    /// Its first server received it longer ago than reports are kept.
    TooOld,
    /// Its client is not known here, and this server is full.
    TurnedAway,
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
    pub(crate) settings: Settings,
    pub(crate) replica: Replica,
    pub(crate) peers: Vec<Peer>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) links_opened: u64,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) timeout: Option<Instant>,
    pub(crate) chance: Chance,
    pub(crate) counters: Counters,
    pub(crate) started: Instant,
    pub(crate) renewals: Renewals,
    pub(crate) own_time: OwnTime,
    /// All that some peer held has arrived since the start.
    has_caught_up: bool,
    pub(crate) has_left: bool,
    pub(crate) watch: Watch,
    pub(crate) whereabouts: Whereabouts,
    clamp_told: Option<Instant>,
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<Mutant>,
    /// Reused for encoding one key and one value.
    key: Vec<u8>,
    value: Vec<u8>,
    /// The same for several keys: where each ends.
    key_ends: Vec<usize>,
}

impl Node {
    /// A node that knows nothing yet and will dial its peers at once.
    pub fn new(settings: Settings, now: Now) -> Self {
        Self::with_tuning(settings, Tuning::default(), now)
    }

    /// A node whose replica has other sizes and times, as only short histories need them.
    pub fn with_tuning(settings: Settings, tuning: Tuning, now: Now) -> Self {
        let backoff = Backoff { min: settings.backoff_min, max: settings.backoff_max };
        let peer = |peer: &PeerSettings| Peer::new(peer.clone(), backoff, now.instant);
        let mut chance = Chance(settings.seed);
        let mut node = Self {
            peers: settings.peers.iter().map(peer).collect(),
            replica: Replica::new(replica_settings(&settings, tuning, chance.next()), now),
            settings,
            links: BTreeMap::new(),
            links_opened: 0,
            outputs: VecDeque::new(),
            timeout: None,
            chance,
            counters: Counters::default(),
            started: now.instant,
            renewals: Renewals::default(),
            own_time: OwnTime::new(now),
            has_caught_up: false,
            has_left: false,
            watch: Watch::new(now.instant),
            whereabouts: Whereabouts::default(),
            clamp_told: None,
            #[cfg(feature = "mutants")]
            mutant: None,
            key: Vec::new(),
            value: Vec::new(),
            key_ends: Vec::new(),
        };
        node.replica.watch_places();
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

    /// A client reports where it is. Stored and replicated if newer than what is known; the answer is the
    /// same either way. None, and nothing stored, if it is not known and this node [is full](Self::is_full).
    pub fn handle_report(&mut self, iamat: &Iamat<'_>, now: Now) -> Option<Difference> {
        self.note_time(now);
        let difference = Difference::between(now.unix, iamat.time);
        let effective = effective_time(iamat.time, difference, self.settings.future_skew_max);
        if effective < iamat.time {
            self.note_clamped(difference, now);
        }
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        Report::encode_received(&self.settings.name, iamat, now.unix, &mut value);
        self.whereabouts.coming = Some(iamat.point);
        let times = Times { effective_ns: effective.nanos(), received_ns: now.unix.nanos() };
        let applied = self.apply(iamat.client, times, &value, None, now);
        self.value = value;
        match applied {
            Applied::Newer => self.counters.updates += 1,
            Applied::NotNewer => self.counters.not_newer += 1,
            Applied::Full => {
                self.counters.turned_away += 1;
                return None;
            }
        }
        Some(difference)
    }

    /// Whether clients that are not known are turned away.
    pub fn is_full(&self) -> bool {
        let Ceiling { clients, resident_bytes } = self.settings.ceiling;
        self.replica.keys() >= clients || self.watch.resident_bytes() >= resident_bytes
    }

    /// Prefetches the state of up to 64 clients whose reports follow. A hint; no effect on results.
    pub fn expect_reports<'a>(&mut self, clients: impl Iterator<Item = &'a str>) {
        let mut keys = std::mem::take(&mut self.key);
        keys.clear();
        let mut ends = std::mem::take(&mut self.key_ends);
        ends.clear();
        for client in clients {
            keys.push(REPORT);
            keys.extend_from_slice(client.as_bytes());
            ends.push(keys.len());
        }
        let starts = std::iter::once(&0).chain(&ends);
        let keys_of = starts.zip(&ends).filter_map(|(&start, &end)| keys.get(start..end));
        let places = self.replica.expect(keys_of);
        self.whereabouts.expect(places);
        (self.key, self.key_ends) = (keys, ends);
    }

    /// An AT line came from a client that may speak for a server, or from an operator.
    pub fn handle_relay(&mut self, at: &At<'_>, now: Now) -> Relayed {
        self.note_time(now);
        self.counters.relayed += 1;
        match self.apply_at(at, None, now) {
            Applied::Newer => Relayed::Newer,
            Applied::Full => Relayed::TurnedAway,
            Applied::NotNewer if self.is_too_old(at, now) => Relayed::TooOld,
            Applied::NotNewer => Relayed::NotNewer,
        }
    }

    /// Whether a report was received so long ago that it is not kept.
    fn is_too_old(&self, at: &At<'_>, now: Now) -> bool {
        let (effective_ns, tombstone) = (at.report.time.nanos(), false);
        let received_ns = received(at, now);
        let (key, value) = (&[REPORT][..], &[][..]);
        let record = Record { key, effective_ns, received_ns, tombstone, value };
        self.replica.has_expired(&record, now.unix)
    }

    /// The newest report of `client`, if one is known here, has not expired, and is due.
    pub fn locate(&self, client: &str, now: UnixTime) -> Option<Located<'_>> {
        self.located(client, |record| self.replica.is_shown(record, now))
    }

    /// The newest report of `client` that is stored here, whatever the clock says.
    pub fn locate_stored(&self, client: &str) -> Option<Located<'_>> {
        self.located(client, |record| !record.tombstone)
    }

    fn located(&self, client: &str, is_shown: impl Fn(&Record<'_>) -> bool) -> Option<Located<'_>> {
        let key = [&[REPORT], client.as_bytes()].concat();
        let record = self.replica.get(&key).filter(|record| is_shown(record))?;
        let report = Report::decode(record.value)?;
        let point = parse_iso6709(report.location.as_bytes()).ok()?;
        Some(Located { report, point })
    }

    /// Hands the names of clients at so many places to `take`, in no order that means anything; returns where to
    /// go on, none at the end. A client that is known all the time is met. The place of a client never changes.
    pub fn walk_clients(&self, from: u32, places: u32, mut take: impl FnMut(&str)) -> Option<u32> {
        self.replica.walk(from, places, |record| {
            if let Some(client) = client_of(record.key) {
                take(client);
            }
        })
    }

    /// Carries out what the replica asks for.
    pub(crate) fn after_replica(&mut self, now: Now) {
        while let Some(output) = self.replica.poll_output() {
            match output {
                herd_replica::Output::Transmit(id) => self.wake(id),
                herd_replica::Output::Close(id, fault) => {
                    self.close_link(id, CloseReason::Fault(fault), now);
                }
                herd_replica::Output::Journal => self.outputs.push_back(Output::Journal),
                herd_replica::Output::Journaled(position) => {
                    self.outputs.push_back(Output::Journaled(position));
                }
                herd_replica::Output::Event(event) => {
                    self.watch.note_event(&event, now.instant);
                    self.note_event(&event, now);
                    self.outputs.push_back(Output::Event(Event::Replica(event)));
                }
            }
        }
        if self.replica.take_changed() {
            self.wake_foreign();
        }
        self.follow_changes();
        let due = self.renewals.due_at().into_iter().chain([self.replica.poll_timeout()]);
        self.timeout = due.chain(self.timeout).min();
    }

    fn note_event(&mut self, event: &herd_replica::Event, now: Now) {
        if let herd_replica::Event::LaterIncarnation { incarnation } = *event {
            self.handle_later(incarnation, now);
        } else if matches!(event, herd_replica::Event::OwnStreamAhead) {
            self.handle_later(self.settings.incarnation, now);
        }
    }

    /// A moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.note_time(now);
        for (at, peer) in self.peers.iter_mut().enumerate() {
            if matches!(peer.dialing, Dialing::At(when) if when <= now.instant) {
                peer.dialing = Dialing::Connecting;
                self.outputs.push_back(Output::Connect(PeerId(at)));
            }
        }
        self.renew_if_due(now);
        self.look_at_links(now);
        self.tick_watch(now);
        if self.replica.poll_timeout() <= now.instant {
            self.replica.handle_timeout(now);
        }
        self.note_caught_up(now);
        self.after_replica(now);
        self.set_timeout();
    }

    /// Pings, time-outs, and connections that wait for what becomes of another.
    fn look_at_links(&mut self, now: Now) {
        let ping_every = self.settings.ping_every;
        let faults = self.silence_faults();
        let mut ended = Vec::new();
        let mut contests = Vec::new();
        let mut woken = Vec::new();
        for (&id, link) in &mut self.links {
            match link.look(faults, now.instant) {
                Verdict::Alive => {}
                Verdict::Probe => {
                    self.outputs.extend(link.peer.map(Output::Probe));
                }
                Verdict::Dead if link.phase == Phase::Greeting => {
                    ended.push((id, CloseReason::NoHello(self.settings.hello_within)));
                    continue;
                }
                Verdict::Dead => {
                    ended.push((id, CloseReason::Dead(link.dead_after)));
                    continue;
                }
            }
            match link.phase {
                Phase::Up if link.dialect == Dialect::At => {
                    if link.replay.resume(now.instant) {
                        woken.push(id);
                    }
                }
                Phase::Up if link.pinged + ping_every <= now.instant => {
                    link.say_ping(now.instant);
                    woken.push(id);
                }
                Phase::Contested { until, .. } if until <= now.instant => contests.push(id),
                Phase::Greeting | Phase::Contested { .. } | Phase::Up | Phase::Closing => {}
            }
        }
        for (id, reason) in ended {
            self.close_link(id, reason, now);
        }
        for id in contests {
            self.end_contest(id, now);
        }
        for id in woken {
            self.wake(id);
        }
    }

    fn silence_faults(&self) -> SilenceFaults {
        SilenceFaults {
            never_dies: self.is(Mutant::DeadNever),
            greets_forever: self.is(Mutant::GreetingForever),
            is_hasty: self.is(Mutant::OwnPauseCounted),
        }
    }

    fn note_caught_up(&mut self, now: Now) {
        for (&id, link) in &mut self.links {
            if link.phase == Phase::Up && !link.caught_up && self.replica.is_caught_up(id) {
                link.caught_up = true;
                self.has_caught_up = true;
                let after = now.instant.since(link.opened);
                let peer = link.peer.and_then(|peer| self.peers.get(peer.0));
                let peer = peer.map(|peer| peer.settings.name.clone()).unwrap_or_default();
                self.outputs.push_back(Output::Event(Event::CaughtUp { peer, after }));
            }
        }
    }

    /// Forgets a client, here and on every server. False if it is not known.
    pub fn handle_forget(&mut self, client: &str, now: Now) -> bool {
        self.note_time(now);
        let known = self.replica.forget(&[&[REPORT], client.as_bytes()].concat(), now);
        self.after_replica(now);
        known
    }

    // ---- for those who watch ----

    /// How long ago this node was created.
    pub fn uptime(&self, now: Now) -> Duration {
        now.instant.since(self.started)
    }

    /// Clients known.
    pub fn clients(&self) -> usize {
        self.replica.len()
    }

    /// What this node counts.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every peer as seen from here.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.iter().filter(|peer| !peer.gone).map(|peer| PeerStatus {
            name: peer.settings.name.clone(),
            dialect: peer.settings.dialect,
            state: self.state(peer),
            since: peer.since,
            round_trip: peer.round_trip,
            last_error: peer.last_error.clone(),
            counters: peer.counters,
        })
    }

    /// Compares what is known with every peer now; [`comparisons`](Self::comparisons) tells what it showed.
    pub fn compare_now(&mut self, now: Now) {
        self.note_time(now);
        self.replica.compare_now(now);
        self.after_replica(now);
    }

    /// What comparisons with peers have shown; [`link_peer`](Self::link_peer) names them.
    pub fn comparisons(&self) -> ComparisonReport {
        self.replica.comparisons()
    }

    /// Number of streams that are known here.
    pub fn incarnations(&self) -> usize {
        self.replica.streams().count()
    }

    /// The name of the peer at the other end of a link; empty if it has not said it.
    pub fn link_peer(&self, id: LinkId) -> &str {
        let peer = self.links.get(&id).and_then(|link| link.peer);
        peer.map_or("", |peer| self.peer_name(peer))
    }

    /// The name of a peer; empty for one that does not exist.
    pub fn peer_name(&self, peer: PeerId) -> &str {
        self.peers.get(peer.0).map_or("", |peer| &peer.settings.name)
    }

    /// Whether this node has caught up with its peers. One that cannot be reached is waited for
    /// only during the first moments: a herd that lost a server goes on being ready.
    pub fn readiness(&self, now: Now) -> Readiness {
        let waiting = now.instant.since(self.started) < self.settings.ready_grace;
        let mut ready = true;
        let mut missing = Vec::new();
        for peer in self.peers.iter().filter(|peer| !peer.gone) {
            let state = self.state(peer);
            if state == PeerState::Up {
                continue;
            }
            ready &= state != PeerState::CatchingUp && !waiting;
            missing.push((peer.settings.name.clone(), state));
        }
        Readiness { ready, has_caught_up: self.has_caught_up, missing }
    }

    // ---- inside ----

    pub(crate) fn apply_at(&mut self, at: &At<'_>, from: Option<LinkId>, now: Now) -> Applied {
        let skew_max = self.settings.future_skew_max;
        let claimed = effective_time(at.report.time, at.difference, skew_max);
        let effective_ns = credit(claimed, skew_max, now);
        let mut value = std::mem::take(&mut self.value);
        value.clear();
        Report::encode_relayed(at, &mut value);
        if self.is(Mutant::DifferenceRewritten) {
            value.truncate(value.len() - at.difference_text.len());
            at.difference.write(&mut value);
        }
        self.whereabouts.coming = Some(at.report.point);
        let received_ns = self.received_before(at, effective_ns, &value, now);
        let times = Times { effective_ns, received_ns };
        let applied = self.apply(at.report.client, times, &value, from, now);
        self.value = value;
        applied
    }

    /// When the first server of an AT line received the report. Where that server's clock is ahead, only the time at
    /// which the line first came here can be said: later, the line must not count for more.
    fn received_before(&self, at: &At<'_>, effective_ns: i64, value: &[u8], now: Now) -> i64 {
        let received_ns = received(at, now);
        if received_ns < now.unix.nanos() {
            return received_ns;
        }
        let key = [&[REPORT], at.report.client.as_bytes()].concat();
        let known = self.replica.get(&key);
        let same = known.filter(|known| {
            !known.tombstone && (known.effective_ns, known.value) == (effective_ns, value)
        });
        same.map_or(received_ns, |known| known.received_ns)
    }

    fn apply(
        &mut self,
        client: &str,
        times: Times,
        value: &[u8],
        from: Option<LinkId>,
        now: Now,
    ) -> Applied {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.push(REPORT);
        key.extend_from_slice(client.as_bytes());
        let Times { effective_ns, received_ns } = times;
        let record = Record { key: &key, effective_ns, received_ns, tombstone: false, value };
        let is_known = |replica: &Replica| replica.get(&key).is_some_and(|known| !known.tombstone);
        let applied = match from {
            _ if self.is_full() && !is_known(&self.replica) => Applied::Full,
            None => self.replica.update(record, now),
            Some(link) => self.replica.relay(record, link, now),
        };
        self.key = key;
        self.after_replica(now);
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

    fn state(&self, peer: &Peer) -> PeerState {
        match (peer.link.and_then(|id| self.links.get(&id)), peer.dialing) {
            (Some(link), _) if link.caught_up => PeerState::Up,
            (Some(_), _) => PeerState::CatchingUp,
            (None, Dialing::Connecting | Dialing::Greeting(_)) => PeerState::Connecting,
            (None, Dialing::Idle | Dialing::At(_)) => PeerState::Down,
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff { min: self.settings.backoff_min, max: self.settings.backoff_max }
    }

    /// Only links, dials and renewals have timers, so only what changes those comes here.
    pub(crate) fn set_timeout(&mut self) {
        let ping_every = self.settings.ping_every;
        let dials = self.peers.iter().filter_map(|peer| match peer.dialing {
            Dialing::At(when) => Some(when),
            Dialing::Idle | Dialing::Connecting | Dialing::Greeting(_) => None,
        });
        let faults = self.silence_faults();
        let links = self.links.values().filter_map(|link| link.deadline(ping_every, faults));
        let renewal = self.renewals.due_at();
        let timers = dials.chain(links).chain(renewal).chain([self.replica.poll_timeout()]);
        self.timeout = timers.min();
    }
}

/// The times of a record.
#[derive(Clone, Copy)]
struct Times {
    effective_ns: i64,
    received_ns: i64,
}

/// When the first server of an AT line received the report, by its own words; at the latest now.
fn received(at: &At<'_>, now: Now) -> i64 {
    at.report.time.nanos().saturating_add(at.difference.nanos()).min(now.unix.nanos())
}

/// The first byte of a key says what kind of value it has; this one: a client's newest report.
const REPORT: u8 = b'r';

fn replica_settings(settings: &Settings, tuning: Tuning, seed: u64) -> herd_replica::Settings {
    let Settings { name, incarnation, members, redundancy, .. } = settings;
    let Settings { future_skew_max, forget_after, horizon, expire_after, .. } = settings;
    herd_replica::Settings {
        origin: Origin { server: name.as_str().into(), incarnation: *incarnation },
        members: members.clone(),
        redundancy: *redundancy,
        future_skew_max: *future_skew_max,
        forget_after: *forget_after,
        horizon: *horizon,
        expire_after: *expire_after,
        tuning,
        seed,
    }
}

/// The effective time of an AT line of a foreign server, nanoseconds since 1970.
///
/// A line must count the same whenever it comes: foreign servers say again what they were told, and a
/// line that counts for more each time goes round for ever. So what it claims counts as it is, or, if
/// that is further ahead of this server's clock than two right clocks and a late line explain, below
/// everything that may be believed, and among its like by time.
fn credit(claimed: UnixTime, skew_max: Duration, now: Now) -> i64 {
    // The first server clamped to `skew_max` by its own clock; clocks that differ by twice that are refused.
    let latest = now.unix.saturating_add(skew_max + skew_max / 2);
    if claimed <= latest { claimed.nanos() } else { claimed.nanos() - i64::MAX }
}

/// Whether a record is a report, by its key.
pub(crate) fn is_report(record: &Record<'_>) -> bool {
    record.key.first() == Some(&REPORT)
}

/// A record as a report; None if it is none, which only another kind of value can be.
pub(crate) fn decode<'a>(record: &Record<'a>) -> Option<(&'a str, Report<'a>)> {
    decode_record(record.key, record.value)
}

/// A client's name and its report out of key and value; None for another kind of value.
pub(crate) fn decode_record<'a>(key: &'a [u8], value: &'a [u8]) -> Option<(&'a str, Report<'a>)> {
    Some((client_of(key)?, Report::decode(value)?))
}

/// A client's name out of a key; None for another kind of key, and for one that no client can have, which only a peer
/// could send.
fn client_of(key: &[u8]) -> Option<&str> {
    let (&kind, client) = key.split_first()?;
    std::str::from_utf8(client).ok().filter(|client| kind == REPORT && is_name(client))
}

/// A small generator of random numbers (SplitMix64): enough for jitter, not for secrets.
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
