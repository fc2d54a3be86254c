//! What goes out on a link: asked for when its socket has room, so that nothing is ever queued.

use crate::faults::{Faults, Mutant};
use crate::herd::Herd;
use crate::ids::{KeyIx, Label, OriginIx};
use crate::links::link::{Link, SendMode, Subscription};
use crate::links::receiver::RangesTaken;
use crate::output::{Output, ReplicaStats, Sink};
use crate::replica::Replica;
use crate::settings::Settings;
use crate::streams::{Stream, Streams};
use crate::table::Table;
use crate::{LinkId, Origin};
use herd_proto::Now;
use herd_proto::peer::{Message, SUPERSEDED_NS};
use std::ops::Bound;

impl Replica {
    /// Puts what is to be said on a link now into `sink`, until that is full or nothing is left. If nothing was
    /// put, [`Output::Transmit`](crate::Output::Transmit) tells when to ask again.
    pub fn poll_transmit(&mut self, id: LinkId, sink: &mut impl Sink, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        let mut out = Out {
            table: &self.table,
            streams: &self.streams,
            herd: &self.herd,
            settings: &self.settings,
            faults: self.faults,
            taken: &mut self.links.taken,
            token: &mut self.token,
            cutoff_ns: self.walk.cutoff_ns(),
            link,
            sink,
            stats: &mut self.stats,
            now,
            put: 0,
            scan_left: self.settings.tuning.walked_max.max(1),
        };
        out.greet();
        out.pending_subscriptions();
        out.watermarks();
        out.members();
        out.compare();
        // Both in turns: a peer that catches up must not hold up what is new, nor the other way round.
        loop {
            let before = out.put;
            for _ in 0..2 {
                if out.sink.is_full() {
                    break;
                }
                // Whoever fills the sink now is not the first next time.
                out.link.donor_turn = !out.link.donor_turn;
                if out.link.donor_turn { out.donate() } else { out.streams() }
            }
            if out.put == before || out.sink.is_full() || out.scan_left == 0 {
                break;
            }
        }
        let is_scanning = out.scan_left == 0;
        out.link.waiting = out.put == 0 && !is_scanning;
        if out.put == 0 && is_scanning {
            self.outputs.push_back(Output::Transmit(id));
        }
    }
}

pub(super) struct Out<'a, S> {
    pub(super) table: &'a Table,
    pub(super) streams: &'a Streams,
    pub(super) herd: &'a Herd,
    pub(super) settings: &'a Settings,
    pub(super) faults: Faults,
    pub(super) taken: &'a mut RangesTaken,
    pub(super) token: &'a mut u64,
    pub(super) cutoff_ns: i64,
    pub(super) link: &'a mut Link,
    pub(super) sink: &'a mut S,
    pub(super) stats: &'a mut ReplicaStats,
    pub(super) now: Now,
    pub(super) put: usize,
    /// Slots that a scan may still look at before others get the lock.
    scan_left: u32,
}

impl<S: Sink> Out<'_, S> {
    pub(super) fn put(&mut self, message: &Message<'_>) {
        self.put += 1;
        self.sink.put(message);
    }

    /// The number under which the other side knows an origin; introduces it if need be.
    pub(super) fn number(&mut self, at: OriginIx) -> u16 {
        if self.link.introduced.insert(at, ()).is_none()
            && let Some(Stream { origin: Origin { server, incarnation }, .. }) =
                self.streams.get(at)
        {
            let incarnation = *incarnation;
            self.put += 1;
            self.sink.put(&Message::Origin { number: at.0, server, incarnation });
        }
        at.0
    }

    /// How far each stream is held.
    pub(super) fn all_versions(&self) -> Vec<(OriginIx, u64)> {
        self.streams.iter().map(|(at, stream)| (at, stream.version)).collect()
    }

    /// Everything that this server holds, at first.
    fn greet(&mut self) {
        if self.link.has_greeted {
            return;
        }
        self.link.has_greeted = true;
        self.link.tell_watermarks = false;
        for (at, version) in self.all_versions() {
            let origin = self.number(at);
            self.link.announced.insert(at, version);
            self.put(&Message::Watermark { origin, version });
        }
        self.put(&Message::Greeted);
    }

    fn pending_subscriptions(&mut self) {
        for at in std::mem::take(&mut self.link.pending_restarts) {
            let origin = self.number(at);
            self.put(&Message::Unsubscribe { origin });
        }
        for (at, wants) in std::mem::take(&mut self.link.pending_subscriptions) {
            let from = self.subscribe_from(at);
            let origin = self.number(at);
            if wants {
                self.put(&Message::Subscribe { origin, from });
            } else {
                self.put(&Message::Unsubscribe { origin });
            }
        }
        for (at, since) in std::mem::take(&mut self.link.gaps_due) {
            let origin = self.number(at);
            self.put(&Message::Gap { origin, since });
        }
    }

    /// What is asked for of a stream: what is new, or nothing of the past where buckets bring that better.
    fn subscribe_from(&self, at: OriginIx) -> u64 {
        let version = self.streams.version(at);
        let is_new =
            version == 0 && self.link.peer_versions.number(at) > self.settings.tuning.history_max;
        if is_new { super::intake::NO_HISTORY } else { version }
    }

    /// Of each stream, how far it is held, where the other side was not told yet.
    fn watermarks(&mut self) {
        if !std::mem::take(&mut self.link.tell_watermarks) {
            return;
        }
        self.link.watermarks_due = self.now.instant + self.settings.tuning.watermarks_every;
        for (at, version) in self.all_versions() {
            if self.link.announced.raise(at, version) {
                let origin = self.number(at);
                self.put(&Message::Watermark { origin, version });
            }
        }
    }

    /// Words of members, going round among them while there is room.
    fn members(&mut self) {
        let herd = self.herd;
        for (at, name, member) in herd.heard_from(self.link.members_turn) {
            let told = self.link.members_told.get(name).copied();
            if !Herd::is_untold(told.as_ref(), member) {
                continue;
            }
            if self.sink.is_full() {
                return;
            }
            let Some(origin) = self.streams.find(name, member.incarnation) else { continue };
            self.link.members_turn = at + 1;
            self.link.members_told.insert(name.into(), Herd::rank(member));
            let origin = self.number(origin);
            let counter = member.counter;
            if member.has_left {
                self.put(&Message::Left { origin, counter });
                continue;
            }
            let is_told = told.is_some_and(|(incarnation, _, _, about_counter)| {
                (incarnation, about_counter) == (member.incarnation, member.about_counter)
            });
            let about = (!is_told).then_some(&*member.about);
            self.put(&Message::Member { origin, counter, about });
        }
    }

    /// Streams take turns: one that never comes to its end, since the link is slow, must not keep the others from
    /// being sent.
    fn streams(&mut self) {
        let before = self.put;
        // One with nothing to send must not end the turn: a link that put nothing waits to be woken.
        while self.put == before && !self.sink.is_full() && self.scan_left > 0 {
            let Some(at) = self.next_dirty() else { return };
            self.link.dirty.remove(&at);
            self.link.round_robin_at = Some(at);
            let Some(mut subscription) = self.link.subscriptions.remove(at) else { continue };
            let finished = self.stream(at, &mut subscription);
            self.link.subscriptions.insert(at, subscription);
            if !finished {
                self.link.dirty.insert(at);
            }
        }
    }

    /// The next stream behind the one sent last, round and round.
    fn next_dirty(&self) -> Option<OriginIx> {
        let dirty = &self.link.dirty;
        let behind = self.link.round_robin_at.and_then(|last| {
            dirty.range((Bound::Excluded(last), Bound::Unbounded)).next().copied()
        });
        behind.or_else(|| dirty.first().copied())
    }

    /// Sends on of one stream, for one turn at most; true if nothing is left of it for now.
    fn stream(&mut self, at: OriginIx, subscription: &mut Subscription) -> bool {
        let Some(stream) = self.streams.get(at) else { return true };
        let counts = |key, arrival| self.table.bears(key, at, arrival).is_some();
        let turn_ends = self.put + self.settings.tuning.turn_messages.max(1);
        let scan_min = self.settings.tuning.scan_arrivals_min;
        loop {
            if self.sink.is_full() || self.put >= turn_ends {
                return false;
            }
            match subscription.mode {
                SendMode::Tail { ref mut cursor, ref mut mark } => {
                    let Some((arrival, key)) = stream.log.after(*cursor, counts) else {
                        // All that is held here has been sent.
                        *cursor = stream.log.last();
                        *mark = *cursor;
                        self.commit(at, subscription, stream.version);
                        return true;
                    };
                    if arrival > *mark {
                        // What was ahead when the mark was set is sent, and as much is ahead again.
                        let ahead = stream.log.distance(*mark);
                        let base = *cursor;
                        *mark = stream.log.last();
                        if ahead >= scan_min {
                            subscription.mode = self.scan(stream, base);
                        }
                        continue;
                    }
                    *cursor = arrival;
                    if let Some(label) = self.table.bears(key, at, arrival) {
                        self.maybe_send(subscription, key, &label);
                    }
                    if self.faults.make(Mutant::CommitEarlyInTail) {
                        self.commit(at, subscription, stream.version);
                    }
                }
                SendMode::Scan { ref mut next, base, start, version } => {
                    if *next < self.table.slots() {
                        if self.scan_left == 0 {
                            return false;
                        }
                        self.scan_left -= 1;
                        let key = KeyIx(*next);
                        *next += 1;
                        let label =
                            self.table.label_in(key, at, |label| stream.log.holds(label.arrival));
                        if let Some(label) = label.filter(|label| label.arrival > base) {
                            self.maybe_send(subscription, key, &label);
                        }
                        continue;
                    }
                    let early = self.faults.make(Mutant::CommitEarlyInScan);
                    self.commit(at, subscription, if early { stream.version } else { version });
                    subscription.mode = if stream.log.distance(start) < scan_min {
                        SendMode::Tail { cursor: start, mark: stream.log.last() }
                    } else {
                        self.scan(stream, start)
                    };
                }
            }
        }
    }

    fn scan(&mut self, stream: &Stream, base: crate::ids::Arrival) -> SendMode {
        self.stats.scans += 1;
        let (start, version) = (stream.log.last(), stream.version);
        SendMode::Scan { next: 0, base, start, version }
    }

    fn maybe_send(&mut self, subscription: &Subscription, key: KeyIx, label: &Label) {
        if label.sequence <= subscription.held || label.came_from(self.link.id) {
            return;
        }
        let origin = self.number(label.origin);
        let own = self.table.label(key).filter(|own| self.streams.is_live(own));
        let stored = self.table.record(key);
        let Some(record) = stored.filter(|_| own.as_ref() == Some(label)) else {
            return self.send_superseded(origin, key, label, own);
        };
        self.stats.sent += 1;
        self.put(&Message::Entry {
            origin,
            sequence: label.sequence,
            key: record.key,
            effective_ns: record.effective_ns,
            received_ns: record.received_ns,
            tombstone: record.tombstone,
            value: record.value,
        });
    }

    /// What a superseded write lost to, then its place in the stream. One that is not due may be what the label speaks
    /// of.
    fn send_superseded(&mut self, number: u16, key: KeyIx, label: &Label, own: Option<Label>) {
        let versions = &self.link.peer_versions;
        let is_held = own.is_some_and(|own| versions.number(own.origin) >= own.sequence);
        let stored = self.table.record(key).filter(|_| !is_held);
        for record in stored.into_iter().chain(self.table.future(key)) {
            self.put(&record_message(&record, false));
        }
        self.put(&Message::Entry {
            origin: number,
            sequence: label.sequence,
            key: self.table.name(key),
            effective_ns: SUPERSEDED_NS,
            received_ns: SUPERSEDED_NS,
            tombstone: false,
            value: &[],
        });
    }

    fn commit(&mut self, at: OriginIx, subscription: &mut Subscription, to: u64) {
        if subscription.gap.is_some() && !self.faults.make(Mutant::GapCommitted) {
            return;
        }
        if to > subscription.committed {
            let from = subscription.committed;
            subscription.committed = to;
            self.link.announced.raise(at, to);
            let origin = self.number(at);
            self.put(&Message::Commit { origin, from, to });
        }
    }
}

pub(super) fn record_message<'a>(record: &herd_proto::Record<'a>, claimed: bool) -> Message<'a> {
    Message::Record {
        claimed,
        key: record.key,
        effective_ns: record.effective_ns,
        received_ns: record.received_ns,
        tombstone: record.tombstone,
        value: record.value,
    }
}
