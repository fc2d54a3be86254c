//! What comes in on a link: what a peer holds, streams that are asked for and taken, and when one counts as held.
//!
//! A peer is believed in what it says it holds, and in nothing that would make this server give up what it shows: only
//! a tombstone or a greater record does that.

use crate::faults::Mutant;
use crate::ids::{KeyIx, LinkId, Origin, OriginIx};
use crate::links::link::{SendMode, Subscription};
use crate::output::{Event, Fault, Output};
use crate::replica::Replica;
use crate::settings::Redundancy;
use herd_proto::peer::{Message, SUPERSEDED_NS};
use herd_proto::{Now, Record};

/// Asks for a stream without anything of its past.
pub(super) const NO_HISTORY: u64 = u64::MAX;

/// Numbers that one peer may use: as many as any server has streams, so only a faulty peer uses more.
const NUMBERS_MAX: usize = 1024;

/// No stream ever gets so long: a million updates a second for a hundred thousand years.
const SEQUENCE_MAX: u64 = 1 << 62;

impl Replica {
    /// A peer says something. On a link that has ended, by a fault of its other side too, nothing is
    /// taken: what follows a message that was refused would count it as taken.
    pub fn handle(&mut self, id: LinkId, message: &Message<'_>, now: Now) {
        if !self.links.open.contains_key(&id) {
            return;
        }
        if let Err(fault) = self.try_handle(id, message, now) {
            self.close_link(id, now);
            self.outputs.push_back(Output::Close(id, fault));
        }
    }

    fn try_handle(&mut self, id: LinkId, message: &Message<'_>, now: Now) -> Result<(), Fault> {
        match *message {
            Message::Entry {
                origin,
                sequence,
                key,
                effective_ns,
                received_ns,
                tombstone,
                value,
            } => {
                let at = self.known(id, origin, now)?;
                in_range(sequence)?;
                let record = Record { key, effective_ns, received_ns, tombstone, value };
                match at {
                    Some(at) => self.take_entry(id, at, sequence, self.bounded(record, now), now),
                    None if effective_ns == SUPERSEDED_NS => {}
                    None if self.faults.make(Mutant::EndedDropped) => {}
                    None => {
                        if self.take_unlabeled(id, record, now) {
                            self.hint_others(Some(id), now);
                        }
                    }
                }
                Ok(())
            }
            Message::Commit { origin, from, to } => {
                in_range(to)?;
                match self.known(id, origin, now)? {
                    Some(at) => self.commit(id, at, from, to, now),
                    None => Ok(()),
                }
            }
            Message::Origin { number, server, incarnation } => {
                let origin = Origin { server: server.into(), incarnation };
                if self.links.open.get(&id).is_some_and(|link| link.peer == origin.server) {
                    self.herd.wake(&origin, None);
                }
                let at = self.know(server, incarnation, now)?;
                self.introduced(id, number, origin, at, now)
            }
            Message::Watermark { origin, version } => {
                in_range(version)?;
                if let Some(at) = self.known(id, origin, now)? {
                    self.hear_version(id, at, version, now);
                }
                Ok(())
            }
            Message::Greeted => {
                self.greeted(id, now);
                Ok(())
            }
            Message::Subscribe { origin, from } => {
                if let Some(at) = self.known(id, origin, now)? {
                    if from != NO_HISTORY {
                        in_range(from)?;
                        self.hear_version(id, at, from, now);
                    }
                    self.subscribed(id, at, from);
                }
                Ok(())
            }
            Message::Gap { origin, since } => {
                in_range(since)?;
                if let Some(at) = self.known(id, origin, now)? {
                    self.gap(id, at, since, now);
                }
                Ok(())
            }
            Message::Unsubscribe { origin } => {
                let at = self.known(id, origin, now)?;
                if let (Some(link), Some(at)) = (self.links.open.get_mut(&id), at) {
                    link.subscriptions.remove(at);
                    link.dirty.remove(&at);
                    link.gaps_due.remove(&at);
                }
                Ok(())
            }
            Message::Member { origin, counter, about } => {
                in_range(counter)?;
                self.wake_origin(id, origin, Some(counter));
                let at = self.known(id, origin, now)?;
                self.hear_member(id, at, counter, about, false, now);
                Ok(())
            }
            Message::Left { origin, counter } => {
                in_range(counter)?;
                let at = self.known(id, origin, now)?;
                self.hear_member(id, at, counter, None, true, now);
                Ok(())
            }
            // These concern the link, not what is stored.
            Message::Ping { .. } | Message::Pong { .. } | Message::Bye { .. } => Ok(()),
            Message::Compare { .. }
            | Message::Same { .. }
            | Message::Ranges { .. }
            | Message::AskRange { .. }
            | Message::Buckets { .. }
            | Message::AskBucket { .. }
            | Message::Record { .. }
            | Message::BucketDone { .. }
            | Message::Compared { .. }
            | Message::CompareHint => self.handle_comparison(id, message, now),
        }
    }

    /// For the simulator's own test: a receiver that bounds times by its own clock.
    fn bounded<'a>(&self, record: Record<'a>, now: Now) -> Record<'a> {
        if !self.faults.make(Mutant::ClampAtReceiver) {
            return record;
        }
        let latest = now.unix.saturating_add(self.settings.future_skew_max);
        Record { effective_ns: record.effective_ns.min(latest.nanos()), ..record }
    }

    /// The stream of a number; none for an origin that has ended.
    pub(super) fn known(
        &mut self,
        id: LinkId,
        number: u16,
        now: Now,
    ) -> Result<Option<OriginIx>, Fault> {
        let link = self.links.open.get(&id);
        let known = link.and_then(|link| link.numbers.get(&number));
        match known.ok_or(Fault::UnknownOrigin(number))? {
            (_, Some(at)) => Ok(Some(*at)),
            // It counted as ended, or found no room, and does not any more.
            (origin, None) if self.herd.may_be_met(origin) => {
                let origin = origin.clone();
                let at = self.know(&origin.server, origin.incarnation, now)?;
                self.introduced(id, number, origin, at, now)?;
                if let (Some(at), Some(link)) = (at, self.links.open.get_mut(&id)) {
                    link.restarted.insert(at);
                    link.pending_restarts.insert(at);
                }
                Ok(at)
            }
            (_, None) => Ok(None),
        }
    }

    /// A server that was silent for long is heard from again, by whichever way.
    fn wake_origin(&mut self, id: LinkId, number: u16, counter: Option<u64>) {
        let link = self.links.open.get(&id);
        if let Some((origin, None)) = link.and_then(|link| link.numbers.get(&number)) {
            self.herd.wake(origin, counter);
        }
    }

    fn introduced(
        &mut self,
        id: LinkId,
        number: u16,
        origin: Origin,
        at: Option<OriginIx>,
        now: Now,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.open.get_mut(&id) else { return Ok(()) };
        link.numbers.insert(number, (origin, at));
        if link.numbers.len() > NUMBERS_MAX {
            return Err(Fault::OutOfRange(number.into()));
        }
        let Some(at) = at.filter(|&at| at != OriginIx::ME) else { return Ok(()) };
        // Asked for before it has written anything: the first that it writes comes as fast as the rest.
        let is_new = self.streams.get(at).is_some_and(|s| s.version == 0 && s.upstreams.is_empty());
        if link.greeted && is_new {
            self.subscribe(id, at, now);
        }
        Ok(())
    }

    fn greeted(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        link.greeted = true;
        link.goal = link.peer_versions.clone();
        let peer = link.peer.clone();
        self.links.greeted(&peer);
        self.busy = true;
        self.decide(id, now);
    }

    fn hear_version(&mut self, id: LinkId, at: OriginIx, version: u64, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        link.peer_versions.raise(at, version);
        let greeted = link.greeted;
        // It holds by buckets what this stream did not bring it.
        if let Some(subscription) = link.subscriptions.get_mut(at)
            && subscription.gap.is_some_and(|since| since <= version)
        {
            subscription.gap = None;
            subscription.committed = subscription.committed.max(version);
            link.dirty.insert(at);
            self.wake(id);
        }
        let Some(stream) = self.streams.get_mut(at) else { return };
        if version <= stream.version {
            return;
        }
        if at == OriginIx::ME {
            self.event(Event::OwnStreamAhead);
            return;
        }
        stream.behind_since.get_or_insert(now.instant);
        self.busy = true;
        if greeted && stream.upstreams.is_empty() {
            self.subscribe(id, at, now);
        }
    }

    /// Asks for a stream on a link.
    pub(crate) fn subscribe(&mut self, id: LinkId, at: OriginIx, now: Now) {
        let Some(link) = self.links.open.get_mut(&id) else { return };
        link.pending_subscriptions.insert(at, true);
        link.gaps.remove(at);
        if let Some(stream) = self.streams.get_mut(at) {
            if !stream.upstreams.contains(&id) {
                stream.upstreams.push(id);
            }
            stream.progressed = now.instant;
        }
        self.wake(id);
    }

    /// Which streams are asked for on a link that has told what it holds.
    pub(crate) fn decide(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.open.get(&id).filter(|link| link.greeted) else { return };
        let wants = |(at, &version): (OriginIx, &u64)| {
            let stream = self.streams.get(at).filter(|s| !s.upstreams.contains(&id))?;
            let is_wanted = stream.upstreams.is_empty() || version <= stream.version;
            (at != OriginIx::ME && is_wanted).then_some(at)
        };
        let wanted: Vec<_> = link.peer_versions.iter().filter_map(wants).collect();
        for at in wanted {
            self.subscribe(id, at, now);
        }
    }

    /// A peer asks for a stream above what it holds.
    fn subscribed(&mut self, id: LinkId, at: OriginIx, from: u64) {
        let (Some(stream), Some(link)) = (self.streams.get(at), self.links.open.get_mut(&id))
        else {
            return;
        };
        // Nothing is lost on a link while it is up: to begin again would only keep a slow one from its end.
        if let Some(known) = link.subscriptions.get(at) {
            link.gaps_due.extend(known.gap.map(|since| (at, since)));
            self.wake(id);
            return;
        }
        let is_below = from == NO_HISTORY || from < stream.serves_from;
        let gap = (is_below && !self.faults.make(Mutant::GapIgnored)).then_some(stream.version);
        // Behind a gap it is sent what it will not get by buckets: all that no version counts yet.
        let held = gap.unwrap_or(if from == NO_HISTORY { 0 } else { from });
        let cursor = if self.faults.make(Mutant::CursorAtEnd) {
            stream.log.last()
        } else {
            stream.log.cursor_for(held)
        };
        let mode = SendMode::Tail { cursor, mark: stream.log.last() };
        link.subscriptions.insert(at, Subscription { committed: held, held, gap, mode });
        match gap {
            Some(since) => drop(link.gaps_due.insert(at, since)),
            None => drop(link.gaps_due.remove(&at)),
        }
        link.dirty.insert(at);
        self.wake(id);
    }

    /// A peer cannot serve a stream from what is held here: buckets have to be compared.
    fn gap(&mut self, id: LinkId, at: OriginIx, since: u64, now: Now) {
        let version = self.streams.version(at);
        let Some(link) = self.links.open.get_mut(&id) else { return };
        if since <= version {
            // It came another way meanwhile; the peer learns that from a watermark, which may be out already.
            link.announced.remove(at);
            link.tell_watermarks = true;
            self.wake(id);
            return;
        }
        link.gaps.insert(at, since);
        if link.receiver.first_done && link.receiver.is_idle() {
            link.receiver.first_done = false;
            self.event(Event::CatchingUp(id));
        }
        self.compare_soon(id, now);
    }

    fn take_entry(
        &mut self,
        id: LinkId,
        at: OriginIx,
        sequence: u64,
        record: Record<'_>,
        now: Now,
    ) {
        let version = self.streams.version(at);
        if at == OriginIx::ME {
            // Its own numbers a server knows best; one that it has not given out is another process's.
            if sequence > version {
                self.event(Event::OwnStreamAhead);
            }
            return;
        }
        if let Some(stream) = self.streams.get_mut(at) {
            // Even what came before: a peer that was asked again sends it all again, and asking once more would
            // make it begin once more.
            stream.progressed = now.instant;
        }
        let key = self.table.find_expected(record.key);
        let is_live = |label: &_| self.streams.is_live(label);
        let known = key.and_then(|key| self.table.label_in(key, at, is_live));
        let is_known = known.is_some_and(|known| known.sequence >= sequence);
        if is_known || sequence <= version {
            if !known.is_some_and(|known| known.came_from(id)) {
                self.stats.duplicates += 1;
                self.duplicate(id, at);
            }
            return;
        }
        self.stats.entries += 1;
        if let Some(stream) = self.streams.get_mut(at) {
            stream.first_from = Some(id);
            if self.faults.make(Mutant::AdvanceOnEntry) {
                stream.version = stream.version.max(sequence);
            }
        }
        if record.effective_ns == SUPERSEDED_NS {
            return self.take_superseded(id, at, sequence, key, now);
        }
        if self.is_refused(&record, now.unix) {
            if let Some(stream) = self.streams.get_mut(at) {
                stream.seen = stream.seen.max(sequence);
            }
            return;
        }
        let loses =
            key.and_then(|key| self.table.record(key)).is_some_and(|k| k.rank() >= record.rank());
        if loses && self.faults.make(Mutant::LoserUnlabeled) {
            return;
        }
        self.put(key, record, Some((at, sequence)), Some(id), now);
    }

    /// A write came that had lost already where it comes from: what it lost to is stored here too.
    fn take_superseded(
        &mut self,
        id: LinkId,
        at: OriginIx,
        sequence: u64,
        key: Option<KeyIx>,
        now: Now,
    ) {
        let label = self.streams.next_label(at, sequence, Some(id));
        if let (Some(key), Some(label)) = (key, label)
            && !self.faults.make(Mutant::LoserUnlabeled)
        {
            let put = self.table.put_label(key, label, |label| self.streams.is_live(label));
            self.streams.arrived(key, label, put.retired, &self.table, now.instant);
            self.busy = true;
            self.stir(at);
        } else if let Some(stream) = self.streams.get_mut(at) {
            stream.seen = stream.seen.max(sequence);
        }
    }

    /// A record came that no stream carries. True if it changed anything.
    pub(super) fn take_unlabeled(&mut self, id: LinkId, record: Record<'_>, now: Now) -> bool {
        if self.is_refused(&record, now.unix) {
            return false;
        }
        let key = self.table.find(record.key);
        self.put(key, record, None, Some(id), now).is_some_and(|put| put.changed)
    }

    /// An entry came that had come another way before: one way too many, perhaps.
    fn duplicate(&mut self, id: LinkId, at: OriginIx) {
        if self.faults.make(Mutant::UnsubscribeNever) {
            return;
        }
        let Some(stream) = self.streams.get_mut(at) else { return };
        let Redundancy::Ways(ways) = self.settings.redundancy else { return };
        // A peer that is ahead has more to give than what came already: its commit.
        let heard = self.links.open.get(&id).and_then(|link| link.peer_versions.get(at));
        let ahead = heard.is_some_and(|&heard| heard > stream.version);
        if ahead && !self.faults.make(Mutant::DuplicateAheadEnds) {
            if let Some(link) = self.links.open.get_mut(&id) {
                link.duplicates_from.insert(at);
            }
            return;
        }
        // Of those that are left one must bring the stream: others may have it from here alone.
        let first = stream.first_from.filter(|&first| first != id);
        let is_served = first.is_some_and(|first| stream.upstreams.contains(&first));
        if is_served && stream.upstreams.len() > ways && stream.upstreams.contains(&id) {
            stream.upstreams.retain(|&upstream| upstream != id);
            if let Some(link) = self.links.open.get_mut(&id) {
                link.pending_subscriptions.insert(at, false);
                link.gaps.remove(at);
            }
            self.wake(id);
        }
    }

    fn commit(
        &mut self,
        id: LinkId,
        at: OriginIx,
        from: u64,
        to: u64,
        now: Now,
    ) -> Result<(), Fault> {
        let Some(link) = self.links.open.get_mut(&id) else { return Ok(()) };
        // It will not tell this again as a watermark.
        if !self.faults.make(Mutant::CommitUnheard) {
            link.peer_versions.raise(at, to);
        }
        let Some(stream) = self.streams.get_mut(at) else { return Ok(()) };
        stream.progressed = now.instant;
        if from > stream.version && link.restarted.contains(&at) {
            return Ok(());
        }
        link.restarted.remove(&at);
        if from > stream.version {
            return Err(Fault::UnknownCommit { from, held: stream.version });
        }
        if at == OriginIx::ME {
            return Ok(());
        }
        if to <= stream.version {
            if link.duplicates_from.remove(&at) {
                self.duplicate(id, at);
            }
            return Ok(());
        }
        stream.version = to;
        stream.moved = now.instant;
        stream.seen = stream.seen.max(to);
        stream.behind_since = None;
        stream.silence_compared = false;
        self.busy = true;
        self.stir(at);
        Ok(())
    }
}

pub(super) fn in_range(number: u64) -> Result<(), Fault> {
    if number > SEQUENCE_MAX { Err(Fault::OutOfRange(number)) } else { Ok(()) }
}
