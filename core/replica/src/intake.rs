//! How streams come in: what is asked of whom, what is taken, and when a stream counts as held.

use crate::link::{Course, Link, Subscription};
use crate::mutants::Mutant;
use crate::origin::{OriginIx, Stream};
use crate::output::{Event, Output};
use crate::replica::Replica;
use crate::settings::{LinkId, Record, Redundancy};
use crate::snapshot::Bootstrap;
use crate::store::{EntryIx, KeyIx};
use herd_proto::Now;

impl Replica {
    pub(crate) fn hear(&mut self, id: LinkId, origin: OriginIx, version: u64, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.heard.raise(origin, version);
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
    pub(crate) fn subscribe(&mut self, id: LinkId, origin: OriginIx, now: Now) {
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
    pub(crate) fn decide(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(&id).filter(|link| link.greeted) else { return };
        if self.bootstrap.is_some() {
            return;
        }
        let blank = self.streams.iter().skip(1).all(|stream| stream.version == 0);
        let has = link.heard.iter().any(|(origin, &version)| origin != OriginIx::ME && version > 0);
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
            .filter(|&(origin, &version)| {
                let stream = self.streams.get(origin.at());
                let asked = |s: &Stream| s.upstreams.contains(&id);
                let wants = |s: &Stream| s.upstreams.is_empty() || version <= s.version;
                origin != OriginIx::ME && stream.is_some_and(|s| !asked(s) && wants(s))
            })
            .map(|(origin, _)| origin)
            .collect();
        for origin in wanted {
            self.subscribe(id, origin, now);
        }
    }

    pub(crate) fn decide_all(&mut self, now: Now) {
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.decide(id, now);
        }
    }

    /// Whether the other side has collected what this node may lack.
    pub(crate) fn is_below(&self, link: &Link) -> bool {
        if self.settings.is(Mutant::FloorIgnored) {
            return false;
        }
        link.floors_heard.iter().any(|(origin, &floor)| {
            self.streams.get(origin.at()).is_some_and(|stream| stream.version < floor)
        })
    }

    pub(crate) fn subscribed(&mut self, id: LinkId, origin: OriginIx, from: u64, now: Now) {
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
        let withheld = Vec::new();
        link.wanted.insert(origin, Subscription { committed: from, held: from, withheld, course });
        link.dirty.insert(origin);
        self.wake(id);
    }

    pub(crate) fn take_in(
        &mut self,
        id: LinkId,
        origin: OriginIx,
        sequence: u64,
        record: Record<'_>,
        now: Now,
    ) {
        let in_snapshot = self.snapshot_from(id);
        let key = self.store.find_expected(record.key);
        // Its own stream a node knows best; but not what of it has been forgotten.
        if origin == OriginIx::ME {
            let own = key.and_then(|key| self.store.entry_of(key, origin));
            if let Some(entry) = own.and_then(|at| self.store.entry_mut(at)) {
                entry.confirmed |= in_snapshot;
            }
            return;
        }
        if let Some(stream) = self.streams.get_mut(origin.at()) {
            // Even what came before: a neighbour that was asked again sends it all again, and asking
            // once more would make it begin once more.
            stream.progressed = now.instant;
        }
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
        let newest = key.zip(known).filter(|&(key, at)| self.outranks(key, at, &record));
        let hidden = newest.and_then(|(key, at)| {
            let entry = self.store.entry(at).filter(|entry| !entry.tombstone)?;
            Some((key, at, entry.effective_ns))
        });
        if let Some((key, _)) = newest.filter(|_| hidden.is_none()) {
            self.repeat_tombstone(key, now);
        }
        if !self.put(key, record, origin, sequence, Some(id), now) {
            return;
        }
        // What it hid is newest now, and what is newest was passed over on links: but the key was forgotten.
        if let Some((key, at, effective_ns)) = hidden
            && self.store.winner(key).is_some_and(|(winner, _)| winner != at)
        {
            self.issue_tombstone(key, effective_ns, &[], now);
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

    /// Whether this is the newest of its key, and its origin has written something older in its place since. So
    /// the key was forgotten, and the tombstone dropped: this one, or one that came and went while this node was
    /// out of the herd. What others wrote before would come back here.
    fn outranks(&self, key: KeyIx, at: EntryIx, record: &Record<'_>) -> bool {
        let wins = self.store.winner(key).filter(|&(winner, _)| winner == at);
        wins.is_some_and(|(_, entry)| self.store.record(entry).rank() > record.rank())
            && !self.settings.is(Mutant::TombstoneOverwritten)
    }

    /// An entry came that had come another way before: one way too many, perhaps.
    pub(crate) fn duplicate(&mut self, id: LinkId, origin: OriginIx) {
        if self.settings.is(Mutant::UnsubscribeNever) {
            return;
        }
        let Some(stream) = self.streams.get_mut(origin.at()) else { return };
        let Redundancy::Ways(ways) = self.settings.redundancy else { return };
        // A neighbour that is ahead has more to give than what came already: its commit.
        let heard = self.links.get(&id).and_then(|link| link.heard.get(origin));
        let ahead = heard.is_some_and(|&heard| heard > stream.version);
        if ahead && !self.settings.is(Mutant::DuplicateAheadEnds) {
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

    pub(crate) fn commit(&mut self, id: LinkId, origin: OriginIx, from: u64, to: u64, now: Now) {
        if self.snapshot_from(id) {
            let begun = self.bootstrap.as_mut().and_then(|b| b.begun.as_mut());
            if let Some(begun) = begun {
                begun.versions.raise(origin, to);
            }
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        // It will not tell this again as a watermark.
        if !self.settings.is(Mutant::CommitUnheard) {
            link.heard.raise(origin, to);
        }
        let Some(link) = self.links.get(&id) else { return };
        if self.bootstrap.is_some() || self.is_below(link) {
            self.happenings.commits_ignored += 1;
            self.decide(id, now);
            return;
        }
        let Some(stream) = self.streams.get_mut(origin.at()) else { return };
        stream.progressed = now.instant;
        if from > stream.version && origin != OriginIx::ME {
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
        self.raise_floors(id);
        self.busy = true;
        self.stir(origin);
    }

    /// What the other side of a link has collected counts as collected here too.
    fn raise_floors(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        for (at, &floor) in link.floors_heard.iter() {
            if let Some(stream) = self.streams.get_mut(at.at())
                && stream.floor < floor
            {
                stream.floor = floor;
                self.floors_raised += 1;
            }
        }
    }
}
