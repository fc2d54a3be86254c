//! Four machines composed: [`Table`], [`Streams`], [`Links`], [`Herd`]. Records and messages in, messages and
//! events out.

use crate::clock::Clock;
use crate::faults::{Faults, Mutant};
use crate::herd::{Herd, Met};
use crate::ids::{KeyIx, LinkId, Origin, OriginIx};
use crate::journal::Journals;
use crate::links::{Link, Links};
use crate::output::{Event, Fault, Output, ReplicaStats};
use crate::settings::{Applied, Settings};
use crate::streams::Streams;
use crate::table::{Changes, Cursor, Order, Put, Table};
use crate::walk::Walk;
use herd_proto::{Instant, Now, Record};
use std::collections::VecDeque;
use std::time::Duration;

/// An incarnation further beyond the clock than this was made by a clock that is wrong, or up.
const INCARNATION_AHEAD_MAX: Duration = Duration::from_hours(24);

/// What one server stores, and its part in the herd's agreement.
///
/// Feed it with [`update`](Self::update), [`handle`](Self::handle) and the link calls; drain
/// [`poll_output`](Self::poll_output) after each; fetch what goes out with
/// [`poll_transmit`](Self::poll_transmit); call [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) has come.
///
/// The newest record of a key is the greatest by [`Record::rank`].
#[derive(Debug)]
pub struct Replica {
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    pub(crate) table: Table,
    pub(crate) changes: Changes,
    pub(crate) streams: Streams,
    pub(crate) links: Links,
    pub(crate) herd: Herd,
    pub(crate) journals: Journals,
    pub(crate) clock: Clock,
    pub(crate) walk: Walk,
    pub(crate) stats: ReplicaStats,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) ticked: Instant,
    pub(crate) busy: bool,
    /// The last token of a question, and the last seed of a list.
    pub(crate) token: u64,
    /// Records that came, or stayed, without a label, counted.
    pub(crate) unlabeled: u64,
    changed: bool,
    /// Keys that store something else than before, once a watcher has asked for them.
    changed_keys: Option<Vec<KeyIx>>,
}

impl Replica {
    /// One that stores nothing.
    pub fn new(settings: Settings, now: Now) -> Self {
        let tuning = &settings.tuning;
        let faults = Faults::of(tuning);
        Self {
            faults,
            table: Table::new(settings.seed, Order(faults)),
            changes: Changes::new(tuning.segment_arrivals),
            streams: Streams::new(settings.origin.clone(), tuning, now.instant),
            links: Links::new(tuning.recent_max),
            herd: Herd::new(&settings.origin, &settings.members, tuning.guests_max, now.instant),
            journals: Journals::default(),
            clock: Clock::new(now),
            walk: Walk::new(now.instant),
            stats: ReplicaStats::default(),
            outputs: VecDeque::new(),
            ticked: now.instant,
            busy: true,
            token: settings.seed,
            unlabeled: 0,
            changed: false,
            changed_keys: None,
            settings,
        }
    }

    /// Keys whose record is no tombstone; some of them may have expired.
    pub fn len(&self) -> usize {
        self.table.alive()
    }

    /// Keys, those with tombstones, with expired and with future records among them: what memory is taken for.
    pub fn keys(&self) -> usize {
        self.table.len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has happened so far.
    pub fn stats(&self) -> ReplicaStats {
        self.stats
    }

    /// The next effect; drain after every call that feeds.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether what any key stores has changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    // ---- looking ----

    /// From now on [`poll_changed_place`](Self::poll_changed_place) names what changes; to be asked after every
    /// call that feeds, so that it stays short.
    pub fn watch_places(&mut self) {
        self.changed_keys.get_or_insert_default();
    }

    /// The slot of a key that stores something else than before, or nothing any more; a key may be named several
    /// times, and by then store something else again.
    pub fn poll_changed_place(&mut self) -> Option<u32> {
        self.changed_keys.as_mut()?.pop().map(|key| key.0)
    }

    /// What the key in a slot stores; none for a tombstone. See [`walk`](Self::walk) for what a slot is.
    pub fn shown_at(&self, place: u32) -> Option<Record<'_>> {
        self.table.record(KeyIx(place)).filter(|record| !record.tombstone)
    }

    /// Prefetches what is stored in these slots. A hint; no effect on results.
    pub fn expect_shown(&self, places: &[u32]) {
        self.table.touch(places);
    }

    /// Slots of keys, used or not.
    pub fn places(&self) -> u32 {
        self.table.slots()
    }

    /// The record of `key`; a tombstone too, and one that [`has_expired`](Self::has_expired).
    pub fn get(&self, key: &[u8]) -> Option<Record<'_>> {
        self.table.record(self.table.find(key)?)
    }

    /// All records, tombstones and expired ones among them, in no order that means anything.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.table.all().filter_map(|key| self.table.record(key))
    }

    /// Records that are not due yet.
    pub fn futures(&self) -> impl Iterator<Item = Record<'_>> {
        self.table.futures(KeyIx(0)).filter_map(|key| self.table.future(key))
    }

    /// Hands the records in the next `places` slots to `take`, tombstones left out; returns where to go on, none at
    /// the end. A key keeps its slot for as long as anything is stored of it, so a walk over all slots meets
    /// every key that is known meanwhile.
    pub fn walk(&self, from: u32, places: u32, mut take: impl FnMut(Record<'_>)) -> Option<u32> {
        let all = self.table.slots();
        let end = from.saturating_add(places).min(all);
        (from..end).filter_map(|place| self.shown_at(place)).for_each(&mut take);
        (end < all).then_some(end)
    }

    /// Every origin that is alive, with the version held here.
    pub fn versions(&self) -> impl Iterator<Item = (&Origin, u64)> {
        self.streams.iter().map(|(_, stream)| (&stream.origin, stream.version))
    }

    /// The next record behind `cursor` that was not stored before; tombstones are left out, and what came from
    /// `reader` itself. None if there is none for now.
    pub fn poll_feed(&mut self, cursor: &mut Cursor, reader: LinkId) -> Option<Record<'_>> {
        while let Some(key) = self.next_change(cursor) {
            let is_echo = self.table.came_from(key, reader);
            if !is_echo && self.table.record(key).is_some_and(|record| !record.tombstone) {
                return self.table.record(key);
            }
        }
        None
    }

    /// The same with tombstones and from every link, for watchers.
    pub fn poll_change(&mut self, cursor: &mut Cursor) -> Option<Record<'_>> {
        while let Some(key) = self.next_change(cursor) {
            if self.table.record(key).is_some() {
                return self.table.record(key);
            }
        }
        None
    }

    /// Where a cursor stands that has been shown all that there is now.
    pub fn feed_end(&mut self) -> Cursor {
        self.changes.keep();
        self.changes.end()
    }

    fn next_change(&mut self, cursor: &mut Cursor) -> Option<KeyIx> {
        self.changes.keep();
        self.changes.next(cursor, &mut { u32::MAX }, &self.table)
    }

    // ---- clients ----

    /// Prefetches up to 64 keys whose updates follow in this order, and returns their slots in some order. A hint;
    /// no effect on results.
    pub fn expect<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> &[u32] {
        self.table.expect(keys)
    }

    /// A client of this server says something. Stored and spread if it is newer than what is known.
    pub fn update(&mut self, record: Record<'_>, now: Now) -> Applied {
        self.update_from(record, None, now)
    }

    /// A peer that knows no streams says something: taken as an update of this server's own, but not
    /// sent back to that peer.
    pub fn relay(&mut self, record: Record<'_>, from: LinkId, now: Now) -> Applied {
        self.update_from(record, Some(from), now)
    }

    fn update_from(&mut self, record: Record<'_>, from: Option<LinkId>, now: Now) -> Applied {
        let key = self.table.find_expected(record.key);
        let known = key.and_then(|key| self.table.record(key));
        if known.is_some_and(|known| record.rank() <= known.rank())
            || self.has_expired(&record, now.unix)
        {
            return Applied::NotNewer;
        }
        self.issue(key, record, from, now)
    }

    /// Forgets a key, here and everywhere: above whatever is known of it. False if nothing is.
    pub fn forget(&mut self, key: &[u8], now: Now) -> bool {
        let Some(at) = self.table.find(key) else { return false };
        if self.table.record(at).is_some_and(|known| self.is_future(&known, now.unix)) {
            // Of two that are not due the lesser one goes; neither outlives the tombstone.
            self.table.take_future(at);
            self.table.demote(at);
        }
        let stored = self.table.record(at);
        let is_known = stored.or(self.table.future(at)).is_some_and(|known| !known.tombstone);
        if !is_known {
            return false;
        }
        let latest_ns = stored.map_or(i64::MIN, |stored| stored.effective_ns);
        let record = Record {
            key,
            effective_ns: latest_ns.max(now.unix.nanos()),
            received_ns: now.unix.nanos(),
            tombstone: true,
            value: &[],
        };
        self.issue(Some(at), record, None, now) == Applied::Newer
    }

    /// A record that was stamped by this server while its clock was ahead, and is not due yet by the right one, is
    /// issued again, bounded by the right one. False if there is none, or something newer was received since the clock
    /// was set right.
    pub fn reissue(&mut self, key: &[u8], now: Now) -> bool {
        let Some(at) = self.table.find(key) else { return false };
        let is_newer = |stored: Record<'_>| stored.received_ns >= self.clock.set_at.nanos();
        if self.table.record(at).is_some_and(is_newer) {
            return false;
        }
        // One that is due by now is shown as it is: by a clock that was set ahead it may seem to have expired.
        if !self.table.future(at).is_some_and(|future| self.is_future(&future, now.unix)) {
            return false;
        }
        let Some(future) = self.take_future(at) else { return false };
        // What it had superseded may be greater than what it becomes.
        self.unsettle(now);
        let record = future.with_key(key);
        let latest = now.unix.saturating_add(self.settings.future_skew_max).nanos();
        let record = Record {
            effective_ns: record.effective_ns.min(latest),
            received_ns: record.received_ns.min(now.unix.nanos()),
            ..record
        };
        self.update(record, now) == Applied::Newer
    }

    /// Writes to this server's own stream.
    fn issue(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        from: Option<LinkId>,
        now: Now,
    ) -> Applied {
        let sequence = self.streams.version(OriginIx::ME) + 1;
        if self.put(key, record, Some((OriginIx::ME, sequence)), from, now).is_none() {
            return Applied::Full;
        }
        if let Some(stream) = self.streams.get_mut(OriginIx::ME) {
            stream.version = sequence;
        }
        Applied::Newer
    }

    /// A record that was read from a disk, before any link is opened. Stored if it is greater than what is stored;
    /// no stream carries it. One that has expired is hidden, and erased once the clock has run evenly for long enough.
    pub fn load(&mut self, record: Record<'_>, now: Now) {
        self.put(self.table.find(record.key), record, None, None, now);
    }

    // ---- storing ----

    /// Puts a record, which `at` of a stream may speak of, under a key that was found at `key` if it is known. None
    /// if nothing was kept.
    pub(crate) fn put(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        at: Option<(OriginIx, u64)>,
        from: Option<LinkId>,
        now: Now,
    ) -> Option<Put> {
        let label = match at {
            Some((origin, sequence)) => Some(self.streams.next_label(origin, sequence, from)?),
            None => None,
        };
        let is_future = self.is_future(&record, now.unix);
        self.stats.futures += u64::from(is_future);
        let streams = &self.streams;
        let is_live =
            |label: &_| streams.is_live(label) && !self.faults.make(Mutant::SupersededUnlabeled);
        let put = if !is_future {
            self.table.put(key, record, label, is_live)?
        } else if self.keeps_future(key, &record, now) {
            self.table.put_future(key, record, label, is_live)?
        } else {
            // What the key stores goes in its place.
            self.table.put_label(key?, label?, is_live)
        };
        if let Some(label) = label {
            self.streams.arrived(put.key, label, put.retired, &self.table, now.instant);
            self.stir(label.origin);
        } else if put.changed {
            self.unlabeled += 1;
        }
        if let (None, Some(link)) = (label, from)
            && put.changed
        {
            self.table.set_from(put.key, link);
        }
        if put.changed {
            self.note_changed(put.key);
            if !is_future && self.table.has_futures() {
                self.drop_overtaken_future(put.key, now);
            }
        }
        self.busy = true;
        Some(put)
    }

    pub(crate) fn note_changed(&mut self, key: KeyIx) {
        self.changed = true;
        let (before, to) = self.changes.note(key, &mut self.table);
        self.journals.note_moved(before, to);
        self.wake_journal();
        if let Some(changed) = self.changed_keys.as_mut().filter(|c| c.last() != Some(&key)) {
            changed.push(key);
        }
    }

    /// Forgets a key with all that belongs to it.
    pub(crate) fn erase(&mut self, key: KeyIx) {
        let change = self.table.change(key);
        let mut labels = Vec::new();
        self.table.remove(key, |label| labels.push(label));
        for label in labels {
            if !self.streams.is_live(&label) {
                continue;
            }
            let table = &self.table;
            let counts = |key, arrival| table.bears(key, label.origin, arrival).is_some();
            if let Some(stream) = self.streams.get_mut(label.origin) {
                stream.log.retire(label.arrival, counts);
            }
        }
        self.changes.forget(change, &self.table);
        self.changed = true;
        if let Some(changed) = &mut self.changed_keys {
            changed.push(key);
        }
    }

    /// There is something new of `origin` for the links that want it.
    pub(crate) fn stir(&mut self, origin: OriginIx) {
        for (&id, link) in &mut self.links.open {
            if link.subscriptions.contains(origin) {
                link.dirty.insert(origin);
                if std::mem::take(&mut link.waiting) && !self.faults.make(Mutant::WakeForgotten) {
                    self.outputs.push_back(Output::Transmit(id));
                }
            }
        }
    }

    pub(crate) fn wake(&mut self, id: LinkId) {
        let waiting = self.links.open.get_mut(&id).map(|link| std::mem::take(&mut link.waiting));
        if waiting == Some(true) {
            self.outputs.push_back(Output::Transmit(id));
        }
    }

    pub(crate) fn wake_all(&mut self) {
        let ids: Vec<_> = self.links.open.keys().copied().collect();
        for id in ids {
            self.wake(id);
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    // ---- links ----

    /// A link to a server is up. Ask [`poll_transmit`](Self::poll_transmit) at once.
    pub fn open_link(&mut self, id: LinkId, peer: &str, now: Now) {
        self.links.open.insert(id, Link::new(id, peer, now.instant));
        self.busy = true;
    }

    /// A link has ended.
    pub fn close_link(&mut self, id: LinkId, now: Now) {
        if self.links.close(id, now.instant).is_none() {
            return;
        }
        for (_, stream) in self.streams.iter_mut() {
            stream.upstreams.retain(|&upstream| upstream != id);
        }
        let ids: Vec<_> = self.links.open.keys().copied().collect();
        for id in ids {
            self.decide(id, now);
        }
        self.busy = true;
    }

    /// How long a message takes to a peer and back.
    pub fn set_round_trip(&mut self, id: LinkId, round_trip: Duration) {
        if let Some(link) = self.links.open.get_mut(&id) {
            link.round_trip = round_trip;
        }
    }

    // ---- origins ----

    /// The stream of an origin; a new one if it is met for the first time. None if it has ended, or there are too many.
    pub(crate) fn know(
        &mut self,
        server: &str,
        incarnation: u64,
        now: Now,
    ) -> Result<Option<OriginIx>, Fault> {
        let clock = now.unix.nanos().max(0).unsigned_abs();
        let latest = clock.max(self.herd.incarnation(server));
        let day = u64::try_from(INCARNATION_AHEAD_MAX.as_nanos()).unwrap_or(u64::MAX);
        if incarnation > latest.saturating_add(day) {
            return Err(Fault::IncarnationAhead { server: server.into(), incarnation });
        }
        let me = &self.settings.origin;
        if *server == *me.server && incarnation != me.incarnation {
            if incarnation > me.incarnation {
                self.event(Event::LaterIncarnation { incarnation });
            }
            return Ok(None);
        }
        match self.herd.meet(server, incarnation) {
            Met::Latest => {}
            Met::Ends(before) => {
                if !self.faults.make(Mutant::EndedKept) {
                    self.end_origin(server, before, now);
                }
            }
            Met::Ended => return Ok(None),
            Met::NoRoom => {
                self.event(Event::OriginsFull);
                return Ok(None);
            }
        }
        if let Some(known) = self.streams.find(server, incarnation) {
            return Ok(Some(known));
        }
        let origin = Origin { server: server.into(), incarnation };
        let added = self.streams.add(origin, now.instant);
        if added.is_none() {
            self.event(Event::OriginsFull);
        }
        Ok(added)
    }

    /// An origin has ended: its stream goes, its records stay, and buckets carry what some lack of them.
    pub(crate) fn end_origin(&mut self, server: &str, incarnation: u64, now: Now) {
        let Some(at) = self.streams.find(server, incarnation).filter(|&at| at != OriginIx::ME)
        else {
            return;
        };
        let is_settled = self.drop_stream(at);
        self.stats.origins_ended += 1;
        self.event(Event::OriginEnded { server: server.into(), incarnation });
        if !is_settled {
            self.compare_all_soon(now);
            self.hint_others(None, now);
        }
    }

    /// Drops a stream; true if all peers hold everything that is held of it.
    fn drop_stream(&mut self, at: OriginIx) -> bool {
        self.links.forget_stream(at);
        let Some(stream) = self.streams.drop_stream(at) else { return true };
        if self.table.extra_labels() > 0 && !self.faults.make(Mutant::DeadLabelsKept) {
            self.walk.look_for_dead_labels();
        }
        let is_settled = stream.log.len() == 0 && stream.seen <= stream.version;
        // What it labeled, only buckets carry from now on.
        self.unlabeled += u64::from(!is_settled);
        is_settled
    }

    /// Goes on as another incarnation: the same records, and an own stream that begins again. Links must have been
    /// closed.
    pub fn renew(&mut self, incarnation: u64, now: Now) {
        self.settings.origin.incarnation = incarnation;
        self.drop_stream(OriginIx::ME);
        let me = self.settings.origin.clone();
        self.herd.renew(&me);
        let mine = self.streams.add(me, now.instant);
        debug_assert_eq!(mine, Some(OriginIx::ME));
        self.busy = true;
    }
}
