//! The state machine: records and messages in, messages and events out.

use crate::audit::Audit;
use crate::collect::Collector;
use crate::expiry::Expiry;
use crate::feed::Feed;
use crate::journal::Journals;
use crate::link::{Link, SnapshotOut};
use crate::members::{Member, Members};
use crate::mutants::Mutant;
use crate::origin::{Origin, OriginIx, Stream};
use crate::output::{Event, Fault, Happenings, Output};
use crate::settings::{Applied, LinkId, Record, Settings};
use crate::snapshot::Bootstrap;
use crate::store::{Entry, EntryIx, KeyIx, Store};
use crate::ticks::{TICK, TICK_IDLE};
use herd_proto::peer::Message;
use herd_proto::{Instant, Now};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

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
    pub(crate) audit: Audit,
    pub(crate) journals: Journals,
    pub(crate) expiry: Expiry,
    pub(crate) bootstrap: Option<Bootstrap>,
    pub(crate) outputs: VecDeque<Output>,
    /// How often a floor was raised, so that links need not look at all of them each time.
    pub(crate) floors_raised: u64,
    /// The same of graves.
    pub(crate) graves_raised: u64,
    pub(crate) ticked: Instant,
    pub(crate) busy: bool,
    changed: bool,
    /// Keys that show something else than before, if somebody wants to hear of them.
    changed_keys: Option<Vec<KeyIx>>,
}

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
            audit: Audit::default(),
            journals: Journals::default(),
            expiry: Expiry::new(now.instant),
            bootstrap: None,
            outputs: VecDeque::new(),
            floors_raised: 0,
            graves_raised: 0,
            ticked: now.instant,
            busy: true,
            changed: false,
            changed_keys: None,
        }
    }

    /// Keys whose newest record is no tombstone; some of them may have expired a moment ago.
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

    /// From now on [`poll_changed_place`](Self::poll_changed_place) tells of what changes; to be asked after every
    /// call that feeds, so that it stays short.
    pub fn watch_places(&mut self) {
        self.changed_keys.get_or_insert_default();
    }

    /// The place of a key that shows something else than before, or nothing any more; a key may be told several
    /// times, and by then show something else again.
    pub fn poll_changed_place(&mut self) -> Option<u32> {
        self.changed_keys.as_mut()?.pop().map(|key| key.0)
    }

    /// What the key at a place shows; none for a tombstone. See [`walk`](Self::walk) for what a place is.
    pub fn shown_at(&self, place: u32) -> Option<Record<'_>> {
        let (_, winner) =
            self.store.winner(KeyIx(place)).filter(|(_, winner)| !winner.tombstone)?;
        Some(self.store.record(winner))
    }

    /// What the keys at these places show is about to be asked for: it is brought near. Changes nothing.
    pub fn expect_shown(&self, places: &[u32]) {
        self.store.touch(places);
    }

    /// Places of keys, taken or not.
    pub fn places(&self) -> u32 {
        self.store.key_slots()
    }

    fn note_changed(&mut self, key: KeyIx) {
        self.changed = true;
        self.feed.note(key, &mut self.store);
        if let Some(changed) = self.changed_keys.as_mut().filter(|c| c.last() != Some(&key)) {
            changed.push(key);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Instant {
        self.ticked + if self.busy { TICK } else { TICK_IDLE }
    }

    /// The newest record of `key`; a tombstone too, and what [`has_expired`](Self::has_expired).
    pub fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        let (_, entry) = self.store.winner(self.store.find(key)?)?;
        Some(self.store.record(entry))
    }

    /// All newest records, in no order that means anything; those too that have expired.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let winners = self.store.all_entries().filter(|(at, entry)| {
            self.store.winner(entry.key()).is_some_and(|(winner, _)| winner == *at)
        });
        winners.map(|(_, entry)| self.store.record(entry))
    }

    /// Hands the newest records of the keys at so many places to `take`, tombstones left out; returns where to
    /// go on, none at the end. A key keeps its place for as long as anything is known of it, so whoever walks
    /// over all places meets every key that is known meanwhile.
    pub fn walk(&self, from: u32, places: u32, mut take: impl FnMut(Record<'_>)) -> Option<u32> {
        let all = self.store.key_slots();
        let end = from.saturating_add(places).min(all);
        for key in (from..end).map(KeyIx) {
            let winner = self.store.winner(key).filter(|(_, winner)| !winner.tombstone);
            if let Some((_, winner)) = winner {
                take(self.store.record(winner));
            }
        }
        (end < all).then_some(end)
    }

    /// Every origin with the version held here.
    pub fn versions(&self) -> impl Iterator<Item = (&Origin, u64)> {
        let numbered = (0..).map(OriginIx).zip(&self.streams);
        numbered.filter_map(|(at, stream)| Some((self.store.origin(at)?, stream.version)))
    }

    /// Updates of these keys are about to come, 64 at most, in this order: what is known of them is brought near.
    /// Returns their places, in some order. Changes nothing but how long the updates take.
    pub fn expect<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> &[u32] {
        self.store.expect(keys)
    }

    /// A client of this node says something. Stored and spread if newer than what is known.
    pub fn update(&mut self, record: Record<'_>, now: Now) -> Applied {
        let key = self.store.find_expected(record.key);
        let known = key.and_then(|key| self.store.winner(key));
        if known.is_some_and(|(_, known)| record.rank() <= self.store.record(known).rank())
            || self.has_expired(&record, now.unix)
        {
            return Applied::NotNewer;
        }
        self.issue_at(key, record, now)
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
        let holds = |(origin, &version): (OriginIx, &u64)| {
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
        self.issue_at(self.store.find(record.key), record, now)
    }

    fn issue_at(&mut self, key: Option<KeyIx>, record: Record<'_>, now: Now) -> Applied {
        let Some(stream) = self.streams.first_mut() else { return Applied::Full };
        let sequence = stream.version + 1;
        if !self.put(key, record, OriginIx::ME, sequence, None, now) {
            return Applied::Full;
        }
        if let Some(stream) = self.streams.first_mut() {
            stream.version = sequence;
        }
        Applied::Newer
    }

    /// Puts what an origin wrote under a key, which was found at `key` if it is known.
    pub(crate) fn put(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        origin: OriginIx,
        sequence: u64,
        from: Option<LinkId>,
        now: Now,
    ) -> bool {
        if !self.journals.are_none()
            && let Some(key) = key
            && let Some(at) = self.store.entry_of(key, origin)
            && let Some(entry) = self.store.entry(at)
            // What lost to this, and is gone here, stands in the journal still and would not lose to what comes.
            && (entry.tombstone || self.store.record(entry).rank() > record.rank())
        {
            self.note_gone(key);
        }
        let from = from.map(|link| link.0);
        let Some(put) = self.store.put(key, record, origin, sequence, from) else {
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
            && let Some(key) = self.store.entry(put.entry).map(Entry::key)
        {
            self.note_changed(key);
        }
        if let Some(loser) = put.loser {
            if self.store.list(loser, true) {
                self.collector.note_loser(loser);
            } else {
                // It stands for another entry now, about which other things may decide.
                self.collector.unsettle();
            }
        }
        if record.tombstone {
            self.collector.note_tombstone(put.entry, sequence);
        }
        self.busy = true;
        self.stir(origin);
        true
    }

    /// There is something new of `origin` for the links that want it.
    pub(crate) fn stir(&mut self, origin: OriginIx) {
        for (&id, link) in &mut self.links {
            if link.wanted.contains(origin) {
                link.dirty.insert(origin);
                if std::mem::take(&mut link.waiting) && !self.settings.is(Mutant::WakeForgotten) {
                    self.outputs.push_back(Output::Transmit(id));
                }
            }
        }
        self.wake_journal();
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
        self.links
            .insert(id, Link::new(now.instant, now.instant + self.settings.tuning.audit_every));
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

    /// A neighbour says something. On a link that has ended, by a fault of its other side too, nothing
    /// is heard: what follows a message that was not taken would count it as taken.
    pub fn handle(&mut self, id: LinkId, message: &Message<'_>, now: Now) {
        if !self.links.contains_key(&id) {
            return;
        }
        if let Err(fault) = self.try_handle(id, message, now) {
            self.close_link(id, now);
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
                    link.floors_heard.raise(origin, sequence);
                }
                Ok(())
            }
            Message::Grave { origin, sequence } => {
                let origin = self.known(id, origin)?;
                self.raise_grave(origin, sequence);
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
                    link.wanted.remove(origin);
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
            Message::Member { origin, counter, ref versions, about } => {
                let origin = self.known(id, origin)?;
                let known = |&(origin, version): &(u16, u64)| {
                    self.known(id, origin).map(|origin| (origin, version))
                };
                let versions = versions.iter().map(known).collect::<Result<_, _>>()?;
                let member = Member::heard(origin, counter, versions, about, now.instant);
                self.hear_member(id, member);
                Ok(())
            }
            Message::Left { origin, counter } => {
                let origin = self.known(id, origin)?;
                self.hear_member(id, Member::gone(origin, counter, now.instant));
                Ok(())
            }
            Message::AuditRoot { is_answer, sum } => {
                self.hear_root(id, is_answer, sum, now);
                Ok(())
            }
            Message::AuditRanges { ref sums } => {
                self.hear_ranges(id, sums, now);
                Ok(())
            }
            Message::AuditBuckets { range, ref sums } => {
                self.hear_buckets(id, range, sums);
                Ok(())
            }
            Message::AuditKeys { bucket, is_answer, token, ref keys } => {
                self.hear_keys(id, bucket, is_answer.then_some(token), token, keys);
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
        let me = &self.settings.origin;
        if *server == *me.server && incarnation > me.incarnation {
            self.outputs.push_back(Output::Event(Event::LaterLife { incarnation }));
        }
        let origin = self.know(server, incarnation, now).ok_or(Fault::TooManyOrigins)?;
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.numbers.insert(number, origin);
        // Asked for before it has written anything: the first that it writes comes as fast as the rest.
        let stream = self.streams.get(origin.at());
        let is_new = stream.is_some_and(|s| s.version == 0 && s.upstreams.is_empty());
        if link.greeted && is_new && origin != OriginIx::ME && self.bootstrap.is_none() {
            self.subscribe(id, origin, now);
        }
        Ok(())
    }

    /// An origin's place; a new one if it is heard of for the first time, None if there are too many.
    pub(crate) fn know(&mut self, server: &str, incarnation: u64, now: Now) -> Option<OriginIx> {
        let known = self.store.find_origin(server, incarnation);
        known.or_else(|| {
            let origin = Origin { server: server.into(), incarnation };
            let origin = self.store.add_origin(origin)?;
            let size = self.settings.tuning.segment_arrivals;
            self.streams.push(Stream::new(origin, size, now.instant));
            Some(origin)
        })
    }

    /// Forgets one entry.
    pub(crate) fn remove(&mut self, at: EntryIx) {
        let key = self.store.entry(at).map(Entry::key);
        // One that is superseded would lose again; this one would win.
        if let Some(key) = key.filter(|&key| self.store.winner(key).is_some_and(|(w, _)| w == at)) {
            let is_last = self.store.entries_of(key).count() == 1;
            if is_last || !self.settings.is(Mutant::DiscardedNotJournaled) {
                self.note_gone(key);
            }
            self.note_changed(key);
        }
        let Some((origin, arrival)) = self.store.remove(at) else { return };
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            stream.log.retire(arrival, &self.store);
        }
    }
}
