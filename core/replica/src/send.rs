//! What goes out on a link: asked for when its socket has room, so that nothing is ever queued.

use crate::audit::{List, Say};
use crate::link::{Course, Link, Subscription};
use crate::log::Arrival;
use crate::members::Members;
use crate::mutants::Mutant;
use crate::origin::{OriginIx, Stream};
use crate::output::{Happenings, Sink};
use crate::replica::Replica;
use crate::settings::{LinkId, Settings};
use crate::store::{Entry, EntryIx, Store};
use herd_proto::Now;
use herd_proto::peer::Message;
use std::ops::Bound;

/// What a message takes beside what is in it, and an origin with its version in a member's word: about,
/// for sharing a link.
const MESSAGE_BYTES: usize = 24;
const VERSION_BYTES: usize = 6;
/// Messages of one stream in a row: few against what a sink takes, so that each stream has the same share
/// of a slow link; many against what a turn costs.
const TURN_MESSAGES: usize = 16;

impl Replica {
    /// Puts what is to be said on a link now into `sink`, until that is full or nothing is left. If
    /// nothing was put, [`Output::Transmit`](crate::Output::Transmit) tells when to ask again.
    pub fn poll_transmit(&mut self, id: LinkId, sink: &mut impl Sink, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let mut out = Out {
            store: &self.store,
            streams: &self.streams,
            link,
            floors_raised: self.floors_raised,
            graves_raised: self.graves_raised,
            id,
            sink,
            happenings: &mut self.happenings,
            settings: &self.settings,
            put: 0,
        };
        out.greet();
        out.wishes();
        out.graves();
        out.watermarks(now);
        out.members(&self.members, now);
        out.floors();
        out.snapshot();
        out.streams();
        out.audit();
        out.link.waiting = out.put == 0;
    }
}

/// What to do with an entry that lies ahead of a link's cursor.
enum Need {
    Send,
    /// Until it is committed.
    Withhold,
    Skip,
}

struct Out<'a, S> {
    store: &'a Store,
    streams: &'a [Stream],
    link: &'a mut Link,
    floors_raised: u64,
    graves_raised: u64,
    id: LinkId,
    sink: &'a mut S,
    happenings: &'a mut Happenings,
    settings: &'a Settings,
    put: usize,
}

impl<S: Sink> Out<'_, S> {
    fn put(&mut self, message: &Message<'_>) {
        self.put += 1;
        self.sink.put(message);
    }

    /// The number under which the other side knows an origin; introduces it if need be.
    fn number(&mut self, origin: OriginIx) -> u16 {
        if self.link.introduced.insert(origin, ()).is_none()
            && let Some(life) = self.store.origin(origin)
        {
            let message = Message::Origin {
                number: origin.0,
                server: &life.server,
                incarnation: life.incarnation,
            };
            self.put += 1;
            self.sink.put(&message);
        }
        origin.0
    }

    fn origins(&self) -> impl Iterator<Item = OriginIx> + use<S> {
        (0..u16::try_from(self.streams.len()).unwrap_or(u16::MAX)).map(OriginIx)
    }

    fn version(&self, origin: OriginIx) -> u64 {
        self.streams.get(origin.at()).map_or(0, |stream| stream.version)
    }

    /// Everything this node holds, at first.
    fn greet(&mut self) {
        if self.link.has_greeted {
            return;
        }
        self.link.has_greeted = true;
        self.link.tell_watermarks = false;
        self.graves();
        for origin in self.origins() {
            let version = self.version(origin);
            let origin_number = self.number(origin);
            self.link.told.insert(origin, version);
            self.put(&Message::Watermark { origin: origin_number, version });
        }
        self.floors();
        self.put(&Message::Greeted);
    }

    fn wishes(&mut self) {
        for (origin, wants) in std::mem::take(&mut self.link.wishes) {
            let from = self.version(origin);
            let origin = self.number(origin);
            if wants {
                self.put(&Message::Subscribe { origin, from });
            } else {
                self.put(&Message::Unsubscribe { origin });
            }
        }
        if std::mem::take(&mut self.link.snapshot_wish) {
            self.put(&Message::SnapshotRequest);
        }
    }

    fn watermarks(&mut self, now: Now) {
        if !std::mem::take(&mut self.link.tell_watermarks) {
            return;
        }
        self.link.watermarks_due = now.instant + self.settings.tuning.watermarks_every;
        self.versions();
    }

    /// Of each stream, how far it is held, where the other side was not told yet.
    fn versions(&mut self) {
        for origin in self.origins() {
            let version = self.version(origin);
            if self.link.told.number(origin) < version {
                self.link.told.insert(origin, version);
                let origin = self.number(origin);
                self.put(&Message::Watermark { origin, version });
            }
        }
    }

    /// As much as the link's allowance has room for, going round among the members.
    fn members(&mut self, members: &Members, now: Now) {
        let nothing_waits = self.link.dirty.is_empty() && self.link.snapshot_out.is_none();
        let round_trip = self.link.round_trip;
        self.link.members_allowance.pass_time(nothing_waits, round_trip, now.instant);
        for (at, member) in members.heard_from(self.link.members_turn) {
            if !self.link.is_untold(member) {
                continue;
            }
            // That a member has left is short, and said once.
            if member.has_left {
                self.link.members_told.insert(member.origin, member.rank());
                let origin = self.number(member.origin);
                self.put(&Message::Left { origin, counter: member.counter });
                continue;
            }
            if self.link.members_allowance.is_spent() || self.sink.is_full() {
                return;
            }
            self.link.members_turn = at + 1;
            self.link.members_told.insert(member.origin, member.rank());
            let versions: Vec<_> =
                member.versions.iter().map(|&(at, version)| (self.number(at), version)).collect();
            let bytes = member.about.len() + VERSION_BYTES * versions.len() + MESSAGE_BYTES;
            self.link.members_allowance.spend(bytes);
            let origin = self.number(member.origin);
            let (counter, about) = (member.counter, &*member.about);
            self.put(&Message::Member { origin, counter, versions, about });
        }
    }

    /// Last of all: a link that still has entries to carry has no use for it.
    fn audit(&mut self) {
        if !self.link.dirty.is_empty() || self.link.snapshot_out.is_some() {
            return;
        }
        let sums = &self.store.sums;
        while !self.sink.is_full() {
            let message = if let Some(say) = self.link.audit.say.pop_first() {
                match say {
                    Say::Root => Message::AuditRoot { is_answer: false, sum: sums.root() },
                    Say::Same => Message::AuditRoot { is_answer: true, sum: sums.root() },
                    Say::Ranges => Message::AuditRanges { sums: sums.ranges().to_vec() },
                    Say::Range(range) => {
                        Message::AuditBuckets { range, sums: sums.buckets(range).to_vec() }
                    }
                }
            } else if let Some(List { bucket, is_answer, token, keys }) =
                self.link.audit.lists.pop_front()
            {
                // What is shown belongs to what is held, so that is said first.
                self.versions();
                Message::AuditKeys { bucket, is_answer, token, keys }
            } else {
                return;
            };
            self.put(&message);
        }
    }

    /// Before anything that says what this node, or any member, holds: which tombstones are dropped.
    fn graves(&mut self) {
        if self.link.graves_raised_told == self.graves_raised
            || self.settings.is(Mutant::GraveUntold)
        {
            return;
        }
        self.link.graves_raised_told = self.graves_raised;
        for origin in self.origins() {
            let sequence = self.streams.get(origin.at()).map_or(0, |stream| stream.grave);
            if self.link.graves_told.number(origin) < sequence {
                self.link.graves_told.insert(origin, sequence);
                let origin = self.number(origin);
                self.put(&Message::Grave { origin, sequence });
            }
        }
    }

    /// Before any commit: what may be missing in what was committed.
    fn floors(&mut self) {
        if self.settings.is(Mutant::FloorUntold) {
            return;
        }
        if self.link.floors_raised_told == self.floors_raised {
            return;
        }
        self.link.floors_raised_told = self.floors_raised;
        for origin in self.origins() {
            let sequence = self.streams.get(origin.at()).map_or(0, |stream| stream.floor);
            if self.link.floors_told.number(origin) < sequence {
                self.link.floors_told.insert(origin, sequence);
                let origin = self.number(origin);
                self.put(&Message::Floor { origin, sequence });
            }
        }
    }

    fn snapshot(&mut self) {
        let Some(mut snapshot) = self.link.snapshot_out.take() else { return };
        if !snapshot.begun {
            snapshot.begun = true;
            // Together with the floors, which were told just now.
            for origin in self.origins() {
                snapshot.versions.insert(origin, self.version(origin));
            }
            self.put(&Message::SnapshotBegin);
        }
        while snapshot.next < self.store.slots() {
            if self.sink.is_full() {
                self.link.snapshot_out = Some(snapshot);
                return;
            }
            let at = Store::slot(snapshot.next);
            if let Some(entry) = self.store.entry(at).filter(|entry| self.is_due(at, entry)) {
                self.hide(at);
                self.entry(entry);
            }
            snapshot.next += 1;
        }
        for (origin, &to) in snapshot.versions.iter() {
            let late = self.settings.is(Mutant::SnapshotVersionsLate);
            let to = if late { self.version(origin) } else { to };
            let origin = self.number(origin);
            self.put(&Message::Commit { origin, from: 0, to });
        }
        self.put(&Message::SnapshotEnd);
    }

    fn entry(&mut self, entry: &Entry) {
        let record = self.store.record(entry);
        let origin = self.number(entry.origin);
        self.happenings.sent += 1;
        self.link.members_allowance.earn(record.key.len() + record.value.len() + MESSAGE_BYTES);
        self.put(&Message::Entry {
            origin,
            sequence: entry.sequence,
            key: record.key,
            effective_ns: record.effective_ns,
            tombstone: record.tombstone,
            value: record.value,
        });
    }

    /// Streams take turns: one that never comes to its end, since the link is slow, must not keep the
    /// others from being sent.
    fn streams(&mut self) {
        while let Some(origin) = self.next_dirty() {
            self.link.dirty.remove(&origin);
            self.link.served = Some(origin);
            let Some(mut wanted) = self.link.wanted.remove(origin) else { continue };
            let finished = self.stream(origin, &mut wanted);
            self.link.wanted.insert(origin, wanted);
            if !finished {
                self.link.dirty.insert(origin);
                if self.sink.is_full() {
                    return;
                }
            }
        }
    }

    /// The next stream behind the one served last, round and round.
    fn next_dirty(&self) -> Option<OriginIx> {
        let dirty = &self.link.dirty;
        let behind = self.link.served.and_then(|served| {
            dirty.range((Bound::Excluded(served), Bound::Unbounded)).next().copied()
        });
        behind.or_else(|| dirty.first().copied())
    }

    /// Sends on of one stream, for one turn at most; true if nothing is left of it for now.
    fn stream(&mut self, origin: OriginIx, wanted: &mut Subscription) -> bool {
        let Some(stream) = self.streams.get(origin.at()) else { return true };
        let turn_ends = self.put + TURN_MESSAGES;
        loop {
            if self.sink.is_full() || self.put >= turn_ends {
                return false;
            }
            match wanted.course {
                Course::Log { ref mut cursor, ref mut mark } => {
                    let Some((arrival, at)) = stream.log.after(*cursor, self.store) else {
                        // All that is held here has been sent.
                        *cursor = stream.log.last();
                        *mark = *cursor;
                        self.commit(origin, wanted, stream.version);
                        return true;
                    };
                    if arrival > *mark {
                        // What was ahead when the mark was set is sent, and as much is ahead again.
                        let ahead = stream.log.distance(*mark);
                        let base = *cursor;
                        *mark = stream.log.last();
                        if ahead >= self.settings.tuning.sweep_arrivals_min {
                            wanted.course = self.sweep(stream, base);
                        }
                        continue;
                    }
                    *cursor = arrival;
                    self.maybe_send(wanted, at);
                    if self.settings.is(Mutant::CommitEarlyInLog) {
                        self.commit(origin, wanted, stream.version);
                    }
                }
                Course::Sweep { ref mut next, base, start, version } => {
                    if *next < self.store.slots() {
                        let at = Store::slot(*next);
                        *next += 1;
                        let entry = self.store.entry(at);
                        if entry.is_some_and(|e| e.origin == origin && e.arrival > base) {
                            self.maybe_send(wanted, at);
                        }
                        continue;
                    }
                    let early = self.settings.is(Mutant::CommitEarlyInSweep);
                    self.commit(origin, wanted, if early { stream.version } else { version });
                    wanted.course =
                        if stream.log.distance(start) < self.settings.tuning.sweep_arrivals_min {
                            Course::Log { cursor: start, mark: stream.log.last() }
                        } else {
                            self.sweep(stream, start)
                        };
                }
            }
        }
    }

    fn sweep(&mut self, stream: &Stream, base: Arrival) -> Course {
        self.happenings.sweeps += 1;
        let (start, version) = (stream.log.last(), stream.version);
        Course::Sweep { next: 0, base, start, version }
    }

    fn maybe_send(&mut self, wanted: &mut Subscription, at: EntryIx) {
        let Some(entry) = self.store.entry(at) else { return };
        if entry.sequence <= wanted.held || entry.is_from(self.id.0) {
            return;
        }
        match self.need(at, entry) {
            Need::Send => {
                self.hide(at);
                self.entry(entry);
            }
            Need::Withhold => wanted.withheld.push(at),
            Need::Skip => {}
        }
    }

    /// A tombstone goes before what it hides, in whatever stream it stands: the other side may have dropped
    /// the one that this one repeats, and would show for a moment what was forgotten. Before what nobody has
    /// committed, whatever it loses to: that may have taken the tombstone's place.
    fn hide(&mut self, at: EntryIx) {
        let Some(entry) = self.store.entry(at) else { return };
        let Some((winner_at, winner)) = self.store.winner(entry.key()) else { return };
        let is_held = self.link.heard.number(winner.origin) >= winner.sequence;
        let hides = winner.tombstone || entry.sequence > self.version(entry.origin);
        if hides && winner_at != at && !is_held && !winner.is_from(self.id.0) {
            self.entry(winner);
        }
    }

    /// Whether an entry belongs into a snapshot: not one that nobody has committed and that loses to a tombstone
    /// that the other side has dropped. No version that the snapshot tells speaks of it, and it comes later as in
    /// any stream, if it is to.
    fn is_due(&self, at: EntryIx, entry: &Entry) -> bool {
        !matches!(self.need(at, entry), Need::Withhold)
    }

    /// Whether the other side has collected this entry, or would.
    ///
    /// It may have forgotten the tombstone that keeps it from coming back: then an entry that nobody has
    /// committed is not for it. One that was committed has another history: whoever has forgotten the
    /// tombstone held all that was said before it, so this was said since, and is news there. Nor is what nobody
    /// has committed for a side that only holds the tombstone: it may drop it before this arrives.
    fn need(&self, at: EntryIx, entry: &Entry) -> Need {
        let Some((winner_at, winner)) = self.store.winner(entry.key()) else { return Need::Send };
        let floor = self.link.floors_heard.number(winner.origin);
        let held = self.link.heard.number(winner.origin) >= winner.sequence;
        let uncommitted = entry.sequence > self.version(entry.origin);
        if winner_at != at && winner.tombstone && held && uncommitted {
            return Need::Withhold;
        }
        if winner_at == at || winner.sequence > floor || self.settings.is(Mutant::CollectedResent) {
            Need::Send
        } else if !winner.tombstone {
            Need::Skip
        } else if uncommitted {
            Need::Withhold
        } else {
            Need::Send
        }
    }

    fn commit(&mut self, origin: OriginIx, wanted: &mut Subscription, to: u64) {
        if to > wanted.committed {
            for at in std::mem::take(&mut wanted.withheld) {
                let entry = self.store.entry(at).filter(|entry| entry.origin == origin);
                if let Some(entry) = entry {
                    if entry.sequence > to {
                        wanted.withheld.push(at);
                    } else {
                        self.happenings.withheld_sent += 1;
                        self.entry(entry);
                    }
                }
            }
            let from = wanted.committed;
            wanted.committed = to;
            self.link.told.raise(origin, to);
            let origin = self.number(origin);
            self.put(&Message::Commit { origin, from, to });
        }
    }
}

impl crate::link::SnapshotOut {
    /// What its receiver will hold at least.
    pub(crate) fn holds(&self, origin: OriginIx) -> u64 {
        self.versions.number(origin)
    }
}
