//! The state machine: records and messages in, messages and events out.

use crate::collect::Collector;
use crate::feed::Feed;
use crate::link::{Course, Link, SnapshotOut, Subscription};
use crate::members::Members;
use crate::mutants::Mutant;
use crate::origin::{Origin, OriginIx, Stream};
use crate::store::{EntryIx, Store};
use crate::tuning::Tuning;
use herd_proto::peer::Message;
use herd_proto::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A connection to a neighbour, for as long as it lasts. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A key with its value and the time by which it is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What the record is about.
    pub key: &'a [u8],
    /// Nanoseconds since 1970; the first thing that orders two records of one key.
    pub effective_ns: i64,
    /// The key is to be forgotten; the second.
    pub tombstone: bool,
    /// Opaque; its bytes are the third.
    pub value: &'a [u8],
}

impl Record<'_> {
    fn rank(&self) -> (i64, bool, &[u8]) {
        (self.effective_ns, self.tombstone, self.value)
    }
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Newer than what was known: stored, and on its way to everyone.
    Newer,
    /// Known already, or older: nothing changed.
    NotNewer,
    /// A new key that no room was left for.
    Full,
}

/// By how many ways a node asks for each origin's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redundancy {
    /// So many neighbours: one costs N-1 payloads an update, two halve the gap after a cut.
    Ways(usize),
    /// Every neighbour: plain flooding.
    All,
}

/// What a replica needs to know to be one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's origin. Its incarnation is new whenever it starts without its memory.
    pub origin: Origin,
    /// The servers of the herd by name, this one among them.
    pub members: BTreeSet<Box<str>>,
    /// By how many ways each stream is asked for.
    pub redundancy: Redundancy,
    /// A record may be at most twice so far ahead of this node's clock; its first server clamps to once.
    pub future_skew_max: Duration,
    /// A member unheard of for so long is not waited for when entries are collected.
    pub forget_after: Duration,
    /// Hard to guess: whoever knows it can choose keys that collide.
    pub seed: u64,
    /// Sizes and times.
    pub tuning: Tuning,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// There is something to send on this link.
    Transmit(LinkId),
    /// This link cannot go on; close it.
    Close(LinkId, Fault),
    /// For the log.
    Event(Event),
}

/// What the other side of a link did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It named an origin that it had not introduced.
    #[error("origin {0} was not introduced")]
    UnknownOrigin(u16),
    /// There are too many origins.
    #[error("too many origins")]
    TooManyOrigins,
    /// A record lies further in the future than any right clock can make it.
    #[error("a record is {ahead_s} s ahead of this server's clock: one of the two clocks is wrong")]
    ClockAhead {
        /// How far.
        ahead_s: i64,
    },
}

/// Something an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything is being fetched from one neighbour.
    BootstrapBegun(LinkId),
    /// It has arrived.
    BootstrapEnded(LinkId),
    /// It has not: the link was lost.
    BootstrapBroken(LinkId),
    /// Records of an origin that is gone were issued again.
    Adopted {
        /// How many.
        records: usize,
    },
    /// A neighbour holds more of this node's stream than this node has written: it has lost memory,
    /// and needs a new incarnation.
    OwnStreamAhead,
}

/// Things that happened, counted for those who want to know whether they ever do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happenings {
    /// Entries taken in for the first time.
    pub entries: u64,
    /// Entries that had come another way before.
    pub duplicates: u64,
    /// Entries sent.
    pub sent: u64,
    /// Rounds of sweeping begun.
    pub sweeps: u64,
    /// Subscriptions moved because nothing came.
    pub resubscriptions: u64,
    /// Records issued again.
    pub adopted: u64,
    /// Snapshots begun.
    pub snapshots: u64,
    /// Snapshots that broke off.
    pub snapshots_broken: u64,
    /// Entries that a snapshot showed to be superfluous.
    pub discarded: u64,
    /// Superseded entries collected.
    pub collected: u64,
    /// Tombstones collected.
    pub tombstones_collected: u64,
    /// Commits that came too early to be used.
    pub commits_ignored: u64,
}

impl Happenings {
    /// Adds up.
    pub fn add(&mut self, other: &Self) {
        let Self {
            entries,
            duplicates,
            sent,
            sweeps,
            resubscriptions,
            adopted,
            snapshots,
            snapshots_broken,
            discarded,
            collected,
            tombstones_collected,
            commits_ignored,
        } = other;
        self.entries += entries;
        self.duplicates += duplicates;
        self.sent += sent;
        self.sweeps += sweeps;
        self.resubscriptions += resubscriptions;
        self.adopted += adopted;
        self.snapshots += snapshots;
        self.snapshots_broken += snapshots_broken;
        self.discarded += discarded;
        self.collected += collected;
        self.tombstones_collected += tombstones_collected;
        self.commits_ignored += commits_ignored;
    }
}

/// Takes messages for one link.
pub trait Sink {
    /// Takes one.
    fn put(&mut self, message: &Message<'_>);
    /// Whether no more should be put for now.
    fn is_full(&self) -> bool;
}

/// One node's knowledge, and its part in the herd's agreement.
///
/// Feed it with [`update`](Self::update), [`handle`](Self::handle) and the link calls; drain
/// [`poll_output`](Self::poll_output) after each; fetch what goes out with
/// [`poll_transmit`](Self::poll_transmit); call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) has come.
///
/// The newest record of a key is the greatest by (effective time, tombstone, value bytes, origin).
#[derive(Debug)]
pub struct Replica {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) streams: Vec<Stream>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) members: Members,
    pub(crate) collector: Collector,
    pub(crate) happenings: Happenings,
    pub(crate) feed: Feed,
    bootstrap: Option<Bootstrap>,
    outputs: VecDeque<Output>,
    ticked: Instant,
    busy: bool,
    changed: bool,
}

#[derive(Debug)]
struct Bootstrap {
    link: LinkId,
    /// Some once the snapshot has begun.
    begun: Option<SnapshotIn>,
}

#[derive(Debug)]
struct SnapshotIn {
    /// The versions told so far.
    versions: BTreeMap<OriginIx, u64>,
    /// The sender's floors when it began: none is above the version that will be told.
    floors: BTreeMap<OriginIx, u64>,
}

/// How often watermarks are told, and lagging streams looked at, while something changes.
const TICK: Duration = Duration::from_millis(20);

/// The same while nothing does.
const TICK_IDLE: Duration = Duration::from_millis(500);

impl Replica {
    /// One that knows nothing.
    pub fn new(settings: Settings, now: Now) -> Self {
        let mut store = Store::new(settings.seed);
        store.ties.ignore_tombstone = settings.is(Mutant::TieIgnoresTombstone);
        store.ties.ignore_value = settings.is(Mutant::TieIgnoresValue);
        let me = store.add_origin(settings.origin.clone());
        debug_assert_eq!(me, Some(OriginIx::ME));
        let stream = Stream::new(OriginIx::ME, settings.tuning.segment_arrivals, now.instant);
        Self {
            members: Members::new(&settings, now.instant),
            settings,
            store,
            streams: vec![stream],
            links: BTreeMap::new(),
            collector: Collector::default(),
            happenings: Happenings::default(),
            feed: Feed::default(),
            bootstrap: None,
            outputs: VecDeque::new(),
            ticked: now.instant,
            busy: true,
            changed: false,
        }
    }

    /// Keys whose newest record is no tombstone.
    pub fn len(&self) -> usize {
        self.store.alive()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether everything is being fetched, so that less may be known than the herd knows.
    pub fn is_bootstrapping(&self) -> bool {
        self.bootstrap.is_some()
    }

    /// What has happened so far.
    pub fn happenings(&self) -> Happenings {
        self.happenings
    }

    /// The next effect; drain after every call that feeds.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the view of any key has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Instant {
        self.ticked + if self.busy { TICK } else { TICK_IDLE }
    }

    /// The newest record of `key`; a tombstone too.
    pub fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        let (_, entry) = self.store.winner(self.store.find(key)?)?;
        Some(self.store.record(entry))
    }

    /// All newest records, in no order that means anything.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let winners = self.store.all_entries().filter(|(at, entry)| {
            self.store.winner(entry.key()).is_some_and(|(winner, _)| winner == *at)
        });
        winners.map(|(_, entry)| self.store.record(entry))
    }

    /// Every origin with the version held here.
    pub fn versions(&self) -> impl Iterator<Item = (&Origin, u64)> {
        let numbered = (0..).map(OriginIx).zip(&self.streams);
        numbered.filter_map(|(at, stream)| Some((self.store.origin(at)?, stream.version)))
    }

    /// A client of this node says something. Stored and spread if newer than what is known.
    pub fn update(&mut self, record: Record<'_>, now: Now) -> Applied {
        if self.get(record.key).is_some_and(|known| record.rank() <= known.rank()) {
            return Applied::NotNewer;
        }
        self.issue(record, now)
    }

    /// A neighbour that knows no streams says something: taken as an update of this node's own, but not
    /// told back to that neighbour.
    pub fn relay(&mut self, record: Record<'_>, from: LinkId, now: Now) -> Applied {
        let applied = self.update(record, now);
        if applied == Applied::Newer
            && let Some(key) = self.store.find(record.key)
            && let Some(at) = self.store.entry_of(key, OriginIx::ME)
            && let Some(entry) = self.store.entry_mut(at)
        {
            entry.set_from(from.0);
        }
        applied
    }

    /// Whether all that a neighbour was heard to hold is held here.
    pub fn is_caught_up(&self, id: LinkId) -> bool {
        let Some(link) = self.links.get(&id) else { return false };
        let holds = |(&origin, &version): (&OriginIx, &u64)| {
            self.streams.get(origin.at()).is_some_and(|stream| stream.version >= version)
        };
        link.greeted && self.bootstrap.is_none() && link.heard.iter().all(holds)
    }

    /// Forgets a key, here and everywhere: above whatever is known of it. False if nothing is.
    pub fn forget(&mut self, key: &[u8], now: Now) -> bool {
        let Some(known) = self.get(key).filter(|known| !known.tombstone) else { return false };
        let effective_ns = known.effective_ns.max(now.unix.nanos());
        let record = Record { key, effective_ns, tombstone: true, value: &[] };
        self.issue(record, now) == Applied::Newer
    }

    /// Writes to this node's own stream.
    pub(crate) fn issue(&mut self, record: Record<'_>, now: Now) -> Applied {
        let Some(stream) = self.streams.first_mut() else { return Applied::Full };
        let sequence = stream.version + 1;
        if !self.put(record, OriginIx::ME, sequence, None, now) {
            return Applied::Full;
        }
        if let Some(stream) = self.streams.first_mut() {
            stream.version = sequence;
        }
        Applied::Newer
    }

    fn put(
        &mut self,
        record: Record<'_>,
        origin: OriginIx,
        sequence: u64,
        from: Option<LinkId>,
        now: Now,
    ) -> bool {
        let Some(put) = self.store.put(record, origin, sequence, from.map(|link| link.0)) else {
            return false;
        };
        let Some(stream) = self.streams.get_mut(origin.at()) else { return false };
        stream.seen = stream.seen.max(sequence);
        stream.progressed = now.instant;
        let mut arrival = stream.log.append(put.entry, sequence, &self.store);
        if let Some(retired) = put.retired
            && self.settings.is(Mutant::ArrivalKept)
        {
            arrival = retired;
        }
        if let Some(entry) = self.store.entry_mut(put.entry) {
            entry.arrival = arrival;
        }
        if let Some(retired) = put.retired {
            stream.log.retire(retired, &self.store);
        }
        if put.changed
            && let Some(entry) = self.store.entry(put.entry)
        {
            self.feed.note(entry.key(), &mut self.store);
            self.changed = true;
        }
        if let Some(loser) = put.loser {
            self.collector.note_loser(loser);
        }
        if record.tombstone {
            self.collector.note_tombstone(put.entry);
        }
        self.busy = true;
        self.stir(origin);
        true
    }

    /// There is something new of `origin` for the links that want it.
    fn stir(&mut self, origin: OriginIx) {
        for (&id, link) in &mut self.links {
            if link.wanted.contains_key(&origin) {
                link.dirty.insert(origin);
                if std::mem::take(&mut link.waiting) {
                    self.outputs.push_back(Output::Transmit(id));
                }
            }
        }
    }

    pub(crate) fn wake(&mut self, id: LinkId) {
        let waiting = self.links.get_mut(&id).map(|link| std::mem::take(&mut link.waiting));
        if waiting == Some(true) {
            self.outputs.push_back(Output::Transmit(id));
        }
    }

    // ---- links ----

    /// A link to a neighbour is up. Ask [`poll_transmit`](Self::poll_transmit) at once.
    pub fn open_link(&mut self, id: LinkId, now: Now) {
        self.links.insert(id, Link::new(now.instant));
        self.busy = true;
    }

    /// It is gone.
    pub fn close_link(&mut self, id: LinkId, now: Now) {
        let link = self.links.remove(&id);
        for stream in &mut self.streams {
            stream.upstreams.retain(|&upstream| upstream != id);
        }
        if self.bootstrap.as_ref().is_some_and(|bootstrap| bootstrap.link == id) {
            if self.settings.is(Mutant::SnapshotBrokenCounts)
                && let Some(begun) = self.bootstrap.as_mut().and_then(|b| b.begun.as_mut())
            {
                begun.versions = link.map(|link| link.heard).unwrap_or_default();
                self.end_snapshot(id, now);
            }
            self.bootstrap = None;
            self.happenings.snapshots_broken += 1;
            self.outputs.push_back(Output::Event(Event::BootstrapBroken(id)));
        }
        self.decide_all(now);
        self.busy = true;
    }

    /// How long a message takes to a neighbour and back.
    pub fn set_round_trip(&mut self, id: LinkId, round_trip: Duration) {
        if let Some(link) = self.links.get_mut(&id) {
            link.round_trip = round_trip;
        }
    }

    /// A neighbour says something.
    pub fn handle(&mut self, id: LinkId, message: &Message<'_>, now: Now) {
        if let Err(fault) = self.try_handle(id, message, now) {
            self.outputs.push_back(Output::Close(id, fault));
        }
    }

    fn try_handle(&mut self, id: LinkId, message: &Message<'_>, now: Now) -> Result<(), Fault> {
        match *message {
            Message::Origin { number, server, incarnation } => {
                self.meet(id, number, server, incarnation, now)
            }
            Message::Watermark { origin, version } => {
                let origin = self.known(id, origin)?;
                self.hear(id, origin, version, now);
                Ok(())
            }
            Message::Floor { origin, sequence } => {
                let origin = self.known(id, origin)?;
                if let Some(link) = self.links.get_mut(&id) {
                    let floor = link.floors_heard.entry(origin).or_default();
                    *floor = (*floor).max(sequence);
                }
                Ok(())
            }
            Message::Greeted => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.greeted = true;
                }
                self.decide(id, now);
                Ok(())
            }
            Message::Subscribe { origin, from } => {
                let origin = self.known(id, origin)?;
                self.subscribed(id, origin, from, now);
                Ok(())
            }
            Message::Unsubscribe { origin } => {
                let origin = self.known(id, origin)?;
                if let Some(link) = self.links.get_mut(&id) {
                    link.wanted.remove(&origin);
                    link.dirty.remove(&origin);
                }
                Ok(())
            }
            Message::Entry { origin, sequence, key, effective_ns, tombstone, value } => {
                let origin = self.known(id, origin)?;
                let mut record = Record { key, effective_ns, tombstone, value };
                self.check_clock(&record, now)?;
                if self.settings.is(Mutant::ClampAtReceiver) {
                    let latest = now.unix.saturating_add(self.settings.future_skew_max);
                    record.effective_ns = effective_ns.min(latest.nanos());
                }
                self.take_in(id, origin, sequence, record, now);
                Ok(())
            }
            Message::Commit { origin, from, to } => {
                let origin = self.known(id, origin)?;
                self.commit(id, origin, from, to, now);
                Ok(())
            }
            Message::SnapshotRequest => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.snapshot_out = Some(SnapshotOut::default());
                }
                self.wake(id);
                Ok(())
            }
            Message::SnapshotBegin => {
                self.begin_snapshot(id);
                Ok(())
            }
            Message::SnapshotEnd => {
                self.end_snapshot(id, now);
                Ok(())
            }
            Message::Member { origin, counter, ref versions } => {
                let origin = self.known(id, origin)?;
                let known = |&(origin, version): &(u16, u64)| {
                    self.known(id, origin).map(|origin| (origin, version))
                };
                let versions = versions.iter().map(known).collect::<Result<_, _>>()?;
                self.hear_member(id, origin, counter, versions, now);
                Ok(())
            }
            // These concern the link, not what is known.
            Message::Ping { .. } | Message::Pong { .. } | Message::Bye { .. } => Ok(()),
        }
    }

    fn check_clock(&self, record: &Record<'_>, now: Now) -> Result<(), Fault> {
        let latest = now.unix.saturating_add(2 * self.settings.future_skew_max);
        if record.effective_ns > latest.nanos() {
            let ahead_s = (record.effective_ns - now.unix.nanos()) / 1_000_000_000;
            return Err(Fault::ClockAhead { ahead_s });
        }
        Ok(())
    }

    fn known(&self, id: LinkId, number: u16) -> Result<OriginIx, Fault> {
        let link = self.links.get(&id);
        let origin = link.and_then(|link| link.numbers.get(&number));
        origin.copied().ok_or(Fault::UnknownOrigin(number))
    }

    fn meet(
        &mut self,
        id: LinkId,
        number: u16,
        server: &str,
        incarnation: u64,
        now: Now,
    ) -> Result<(), Fault> {
        let known = self.store.find_origin(server, incarnation);
        let origin = if let Some(origin) = known {
            origin
        } else {
            let origin = Origin { server: server.into(), incarnation };
            let origin = self.store.add_origin(origin).ok_or(Fault::TooManyOrigins)?;
            let size = self.settings.tuning.segment_arrivals;
            self.streams.push(Stream::new(origin, size, now.instant));
            origin
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.numbers.insert(number, origin);
        }
        Ok(())
    }

    fn hear(&mut self, id: LinkId, origin: OriginIx, version: u64, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let heard = link.heard.entry(origin).or_default();
        *heard = (*heard).max(version);
        let greeted = link.greeted;
        let Some(stream) = self.streams.get_mut(origin.at()) else { return };
        if version <= stream.version {
            return;
        }
        if origin == OriginIx::ME {
            self.outputs.push_back(Output::Event(Event::OwnStreamAhead));
            return;
        }
        stream.behind_since.get_or_insert(now.instant);
        self.busy = true;
        if greeted && stream.upstreams.is_empty() && self.bootstrap.is_none() {
            self.subscribe(id, origin, now);
        }
    }

    /// Asks for `origin` on a link.
    fn subscribe(&mut self, id: LinkId, origin: OriginIx, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.wishes.insert(origin, true);
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            if !stream.upstreams.contains(&id) {
                stream.upstreams.push(id);
            }
            stream.progressed = now.instant;
        }
        self.wake(id);
    }

    /// Which streams are asked for on a link that has told what it holds.
    fn decide(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(&id).filter(|link| link.greeted) else { return };
        if self.bootstrap.is_some() {
            return;
        }
        let blank = self.streams.iter().skip(1).all(|stream| stream.version == 0);
        let has =
            link.heard.iter().any(|(&origin, &version)| origin != OriginIx::ME && version > 0);
        if blank && has || self.is_below(link) {
            self.bootstrap = Some(Bootstrap { link: id, begun: None });
            self.happenings.snapshots += 1;
            self.outputs.push_back(Output::Event(Event::BootstrapBegun(id)));
            if let Some(link) = self.links.get_mut(&id) {
                link.snapshot_wish = true;
            }
            self.wake(id);
            return;
        }
        let wanted: Vec<_> = link
            .heard
            .iter()
            .filter(|&(&origin, &version)| {
                let stream = self.streams.get(origin.at());
                let asked = |s: &Stream| s.upstreams.contains(&id);
                let wants = |s: &Stream| s.upstreams.is_empty() || version <= s.version;
                origin != OriginIx::ME && stream.is_some_and(|s| !asked(s) && wants(s))
            })
            .map(|(&origin, _)| origin)
            .collect();
        for origin in wanted {
            self.subscribe(id, origin, now);
        }
    }

    fn decide_all(&mut self, now: Now) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.decide(id, now);
        }
    }

    /// Whether the other side has collected what this node may lack.
    fn is_below(&self, link: &Link) -> bool {
        if self.settings.is(Mutant::FloorIgnored) {
            return false;
        }
        link.floors_heard.iter().any(|(&origin, &floor)| {
            self.streams.get(origin.at()).is_some_and(|stream| stream.version < floor)
        })
    }

    fn subscribed(&mut self, id: LinkId, origin: OriginIx, from: u64, now: Now) {
        self.hear(id, origin, from, now);
        let (Some(stream), Some(link)) = (self.streams.get(origin.at()), self.links.get_mut(&id))
        else {
            return;
        };
        let cursor = if self.settings.is(Mutant::CursorAtEnd) {
            stream.log.last()
        } else {
            stream.log.cursor_for(from)
        };
        let course = Course::Log { cursor, mark: stream.log.last() };
        link.wanted.insert(origin, Subscription { committed: from, held: from, course });
        link.dirty.insert(origin);
        self.wake(id);
    }

    fn take_in(
        &mut self,
        id: LinkId,
        origin: OriginIx,
        sequence: u64,
        record: Record<'_>,
        now: Now,
    ) {
        // Its own stream a node knows best.
        if origin == OriginIx::ME {
            return;
        }
        let in_snapshot = self.snapshot_from(id);
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            // Even what came before: a neighbour that was asked again sends it all again, and asking
            // once more would make it begin once more.
            stream.progressed = now.instant;
        }
        let key = self.store.find(record.key);
        let known = key.and_then(|key| self.store.entry_of(key, origin));
        let held = known.and_then(|at| self.store.entry_mut(at));
        if let Some(entry) = held.filter(|entry| entry.sequence >= sequence) {
            entry.confirmed |= in_snapshot;
            let came_here = entry.is_from(id.0);
            if !came_here {
                self.happenings.duplicates += 1;
                self.duplicate(id, origin);
            }
            return;
        }
        let version = self.streams.get(origin.at()).map_or(0, |stream| stream.version);
        if known.is_none() && sequence <= version {
            // It was held once, and collected.
            self.happenings.duplicates += 1;
            self.duplicate(id, origin);
            return;
        }
        if !self.put(record, origin, sequence, Some(id), now) {
            return;
        }
        self.happenings.entries += 1;
        if self.settings.is(Mutant::AdvanceOnEntry)
            && let Some(stream) = self.streams.get_mut(origin.at())
        {
            stream.version = stream.version.max(sequence);
        }
        if in_snapshot {
            let key = self.store.find(record.key);
            let at = key.and_then(|key| self.store.entry_of(key, origin));
            if let Some(entry) = at.and_then(|at| self.store.entry_mut(at)) {
                entry.confirmed = true;
            }
        }
    }

    /// An entry came that had come another way before: one way too many, perhaps.
    fn duplicate(&mut self, id: LinkId, origin: OriginIx) {
        if self.settings.is(Mutant::UnsubscribeNever) {
            return;
        }
        let Some(stream) = self.streams.get_mut(origin.at()) else { return };
        let Redundancy::Ways(ways) = self.settings.redundancy else { return };
        // A neighbour that is ahead has more to give than what came already: its commit.
        let heard = self.links.get(&id).and_then(|link| link.heard.get(&origin));
        let ahead = heard.is_some_and(|&heard| heard > stream.version);
        if ahead {
            if let Some(link) = self.links.get_mut(&id) {
                link.doubled.insert(origin);
            }
        } else if stream.upstreams.len() > ways && stream.upstreams.contains(&id) {
            stream.upstreams.retain(|&upstream| upstream != id);
            if let Some(link) = self.links.get_mut(&id) {
                link.wishes.insert(origin, false);
            }
            self.wake(id);
        }
    }

    fn commit(&mut self, id: LinkId, origin: OriginIx, from: u64, to: u64, now: Now) {
        if self.snapshot_from(id) {
            let begun = self.bootstrap.as_mut().and_then(|b| b.begun.as_mut());
            if let Some(begun) = begun {
                begun.versions.insert(origin, to);
            }
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        // It will not tell this again as a watermark.
        let heard = link.heard.entry(origin).or_default();
        *heard = (*heard).max(to);
        let Some(link) = self.links.get(&id) else { return };
        if self.bootstrap.is_some() || self.is_below(link) {
            self.happenings.commits_ignored += 1;
            self.decide(id, now);
            return;
        }
        let floors: Vec<_> = link.floors_heard.iter().map(|(&at, &floor)| (at, floor)).collect();
        let Some(stream) = self.streams.get_mut(origin.at()) else { return };
        stream.progressed = now.instant;
        if from > stream.version
            && origin != OriginIx::ME
            && !self.settings.is(Mutant::CommitIgnoresFrom)
        {
            // What it builds on was not taken: ask again from what is held.
            self.happenings.commits_ignored += 1;
            self.subscribe(id, origin, now);
            return;
        }
        if to <= stream.version {
            if self.links.get_mut(&id).is_some_and(|link| link.doubled.remove(&origin)) {
                self.duplicate(id, origin);
            }
            return;
        }
        stream.version = to;
        stream.seen = stream.seen.max(to);
        stream.behind_since = None;
        for (at, floor) in floors {
            if let Some(stream) = self.streams.get_mut(at.at()) {
                stream.floor = stream.floor.max(floor);
            }
        }
        self.busy = true;
        self.stir(origin);
        self.hear(id, origin, to, now);
    }

    // ---- snapshots ----

    fn snapshot_from(&self, id: LinkId) -> bool {
        self.bootstrap.as_ref().is_some_and(|b| b.link == id && b.begun.is_some())
    }

    fn begin_snapshot(&mut self, id: LinkId) {
        if let Some(bootstrap) = self.bootstrap.as_mut().filter(|b| b.link == id) {
            let floors = self.links.get(&id).map(|link| link.floors_heard.clone());
            bootstrap.begun =
                Some(SnapshotIn { versions: BTreeMap::new(), floors: floors.unwrap_or_default() });
            self.store.unconfirm_all();
            if self.settings.is(Mutant::SnapshotVersionsEarly) {
                let heard = self.links.get(&id).map(|link| link.heard.clone()).unwrap_or_default();
                for (origin, version) in heard {
                    if let Some(stream) = self.streams.get_mut(origin.at()) {
                        stream.version = stream.version.max(version);
                    }
                }
            }
        }
    }

    /// All has arrived: versions move at once, and what the sender has collected goes.
    ///
    /// Of the floors those count that the sender had when it began, as the versions do. The versions
    /// are at least as great, so no node has a floor above its version, and whoever is below a
    /// neighbour's floor reaches it with one snapshot from there. A floor that the sender hears of
    /// later counts up to those versions only: beyond them it speaks of what this node does not hold. Taken over, it would outlive whoever held it:
    /// nodes that lack it would be below one another, and fetch everything from each other for ever.
    fn end_snapshot(&mut self, id: LinkId, now: Now) {
        let bootstrap = self.bootstrap.take_if(|b| b.link == id && b.begun.is_some());
        let Some(SnapshotIn { versions, floors }) = bootstrap.and_then(|b| b.begun) else {
            return;
        };
        // What it collected while the snapshot was under way may be missing in it too. That was done for
        // the sake of entries up to the versions told, so a floor beyond them concerns later ones.
        let collected = self.links.get(&id).map(|link| link.floors_heard.clone());
        let collected = collected.unwrap_or_default();
        let version_of = |origin: OriginIx| versions.get(&origin).copied().unwrap_or_default();
        let superfluous: Vec<_> = self
            .store
            .all_entries()
            .filter(|(_, entry)| {
                entry.origin != OriginIx::ME
                    && !entry.confirmed
                    && !self.settings.is(Mutant::SnapshotKeepsAll)
                    && entry.sequence <= version_of(entry.origin)
            })
            .map(|(at, _)| at)
            .collect();
        self.happenings.discarded += superfluous.len() as u64;
        for at in superfluous {
            self.remove(at);
        }
        for (at, stream) in (0..).map(OriginIx).zip(&mut self.streams) {
            if at != OriginIx::ME {
                stream.version = stream.version.max(version_of(at));
                stream.seen = stream.seen.max(stream.version);
                stream.progressed = now.instant;
            }
            let collected_since = collected.get(&at).copied().unwrap_or_default();
            let floor = floors.get(&at).copied().unwrap_or_default();
            stream.floor = stream.floor.max(floor).max(collected_since.min(stream.version));
        }
        // A snapshot on its way from here may have passed the slots of what has come while it was still
        // to come to the slots of what has gone: it begins anew.
        for link in self.links.values_mut() {
            if let Some(snapshot) = &mut link.snapshot_out {
                *snapshot = SnapshotOut::default();
            }
        }
        self.outputs.push_back(Output::Event(Event::BootstrapEnded(id)));
        self.busy = true;
        for at in 0..self.streams.len() {
            self.stir(OriginIx(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        self.decide_all(now);
    }

    /// Forgets one entry.
    pub(crate) fn remove(&mut self, at: EntryIx) {
        let Some((origin, arrival)) = self.store.remove(at) else { return };
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            stream.log.retire(arrival, &self.store);
        }
    }

    // ---- time ----

    /// The moment that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.ticked = now.instant;
        self.busy = false;
        self.tick_watermarks(now);
        self.tick_streams(now);
        self.tick_members(now);
        self.collect(now);
    }

    fn tick_watermarks(&mut self, now: Now) {
        let mut woken = Vec::new();
        for (&id, link) in &mut self.links {
            let mut numbered = (0..).map(OriginIx).zip(&self.streams);
            let told = &link.told;
            let changed =
                numbered.any(|(at, s)| told.get(&at).copied().unwrap_or_default() < s.version);
            if changed && link.has_greeted {
                self.busy = true;
                if link.watermarks_due <= now.instant {
                    link.tell_watermarks = true;
                    woken.push(id);
                }
            }
        }
        for id in woken {
            self.wake(id);
        }
    }

    /// Looks for streams that do not move though they should.
    fn tick_streams(&mut self, now: Now) {
        if self.bootstrap.is_some() {
            self.busy = true;
            return;
        }
        if self.settings.is(Mutant::BehindIgnored) {
            return;
        }
        for at in 1..self.streams.len() {
            let origin = OriginIx(u16::try_from(at).unwrap_or(u16::MAX));
            let Some(stream) = self.streams.get_mut(at) else { return };
            let heard = |link: &Link| link.heard.get(&origin).copied().unwrap_or_default();
            let greeted = self.links.iter().filter(|(_, link)| link.greeted);
            let ahead: Vec<_> = greeted.filter(|(_, link)| heard(link) > stream.version).collect();
            if ahead.is_empty() {
                stream.behind_since = None;
                self.tick_orphans(origin, now);
                continue;
            }
            self.busy = true;
            let since = (*stream.behind_since.get_or_insert(now.instant)).max(stream.progressed);
            let idle = now.instant.since(since);
            let best = |links: &[&(&LinkId, &Link)]| {
                let by = |(id, link): &(&LinkId, &Link)| {
                    (heard(link), std::cmp::Reverse((link.round_trip, **id)))
                };
                links.iter().max_by_key(|link| by(link)).map(|(id, link)| (**id, link.round_trip))
            };
            let fresh: Vec<_> =
                ahead.iter().filter(|(id, _)| !stream.upstreams.contains(id)).collect();
            let found = if let Some((id, round_trip)) = best(&fresh) {
                (idle >= self.settings.tuning.behind_max.max(3 * round_trip)).then_some(id)
            } else {
                let all: Vec<_> = ahead.iter().collect();
                best(&all)
                    .filter(|_| idle >= self.settings.tuning.ask_again_after)
                    .map(|(id, _)| id)
            };
            if let Some(id) = found {
                self.happenings.resubscriptions += 1;
                self.subscribe(id, origin, now);
            }
        }
    }

    /// Entries that no neighbour can commit, because their origin is gone, are issued again: else two
    /// nodes of which one has them would each believe to hold what the other holds.
    fn tick_orphans(&mut self, origin: OriginIx, now: Now) {
        let Some(stream) = self.streams.get(origin.at()) else { return };
        let adopted = if self.settings.is(Mutant::AdoptAgain) { 0 } else { stream.adopted };
        if stream.seen <= stream.version.max(adopted) || self.settings.is(Mutant::AdoptNever) {
            return;
        }
        self.busy = true;
        if now.instant.since(stream.progressed) < self.settings.tuning.adopt_after {
            return;
        }
        let version = stream.version;
        let mut cursor = stream.log.cursor_for(version);
        let mut orphans = Vec::new();
        while let Some((arrival, at)) = stream.log.after(cursor, &self.store) {
            cursor = arrival;
            let Some(entry) = self.store.entry(at) else { continue };
            let wins = self.store.winner(entry.key()).is_some_and(|(winner, _)| winner == at);
            if entry.sequence > version && wins {
                let Record { key, effective_ns, tombstone, value } = self.store.record(entry);
                orphans.push((key.to_vec(), effective_ns, tombstone, value.to_vec()));
            }
        }
        let seen = stream.seen;
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            stream.adopted = seen;
        }
        for (key, effective_ns, tombstone, value) in &orphans {
            let record = Record { key, effective_ns: *effective_ns, tombstone: *tombstone, value };
            self.issue(record, now);
        }
        if !orphans.is_empty() {
            self.happenings.adopted += orphans.len() as u64;
            let records = orphans.len();
            self.outputs.push_back(Output::Event(Event::Adopted { records }));
        }
    }
}
