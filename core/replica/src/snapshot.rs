//! Everything at once, from one neighbour: for a node that holds too little to be brought up to date entry
//! by entry. Nothing it brings counts before all of it has come.

use crate::by_origin::ByOrigin;
use crate::link::SnapshotOut;
use crate::mutants::Mutant;
use crate::origin::OriginIx;
use crate::output::{Event, Output};
use crate::replica::Replica;
use crate::settings::{LinkId, Record};
use crate::store::{Entry, EntryIx, KeyIx};
use herd_proto::Now;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub(crate) link: LinkId,
    /// Some once the snapshot has begun.
    pub(crate) begun: Option<SnapshotIn>,
}

/// A tombstone that was discarded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hider {
    effective_ns: i64,
    value: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct SnapshotIn {
    /// The versions told so far.
    pub(crate) versions: ByOrigin<u64>,
    /// The sender's floors when it began: none is above the version that will be told.
    floors: ByOrigin<u64>,
}

impl Replica {
    pub(crate) fn snapshot_from(&self, id: LinkId) -> bool {
        self.bootstrap.as_ref().is_some_and(|b| b.link == id && b.begun.is_some())
    }

    pub(crate) fn begin_snapshot(&mut self, id: LinkId) {
        if let Some(bootstrap) = self.bootstrap.as_mut().filter(|b| b.link == id) {
            let floors = self.links.get(&id).map(|link| link.floors_heard.clone());
            bootstrap.begun = Some(SnapshotIn {
                versions: ByOrigin::default(),
                floors: floors.unwrap_or_default(),
            });
            self.store.unconfirm_all();
            if self.settings.is(Mutant::SnapshotVersionsEarly) {
                let heard = self.links.get(&id).map(|link| link.heard.clone()).unwrap_or_default();
                for (origin, &version) in heard.iter() {
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
    /// later counts up to those versions only: beyond them it speaks of what this node does not hold.
    /// Taken over, it would outlive whoever held it: nodes that lack it would be below one another, and
    /// fetch everything from each other for ever.
    pub(crate) fn end_snapshot(&mut self, id: LinkId, now: Now) {
        let bootstrap = self.bootstrap.take_if(|b| b.link == id && b.begun.is_some());
        let Some(SnapshotIn { versions, floors }) = bootstrap.and_then(|b| b.begun) else {
            return;
        };
        // What it collected while the snapshot was under way may be missing in it too. That was done for
        // the sake of entries up to the versions told, so a floor beyond them concerns later ones.
        let collected = self.links.get(&id).map(|link| link.floors_heard.clone());
        let collected = collected.unwrap_or_default();
        let version_of = |origin: OriginIx| versions.number(origin);
        // What this node wrote itself is no exception: it may have been forgotten by all others meanwhile.
        let is_kept = |entry: &Entry| {
            let keeps_own = self.settings.is(Mutant::SnapshotKeepsOwn);
            entry.confirmed
                || self.settings.is(Mutant::SnapshotKeepsAll)
                || entry.origin == OriginIx::ME && keeps_own
        };
        let superfluous: Vec<_> = self
            .store
            .all_entries()
            .filter(|(_, entry)| !is_kept(entry) && entry.sequence <= version_of(entry.origin))
            .map(|(at, _)| at)
            .collect();
        self.happenings.discarded += superfluous.len() as u64;
        let revealed = self.discard(superfluous);
        for (at, stream) in (0..).map(OriginIx).zip(&mut self.streams) {
            if at != OriginIx::ME {
                stream.version = stream.version.max(version_of(at));
                stream.seen = stream.seen.max(stream.version);
                stream.progressed = now.instant;
            }
            let collected_since = collected.number(at);
            let floor = floors.number(at);
            let late = self.settings.is(Mutant::SnapshotFloorsLate);
            let until = if late { u64::MAX } else { stream.version };
            stream.floor = stream.floor.max(floor).max(collected_since.min(until));
        }
        self.floors_raised += 1;
        // A snapshot on its way from here may have passed the slots of what has come while it was still
        // to come to the slots of what has gone: it begins anew.
        for link in self.links.values_mut() {
            if let Some(snapshot) = &mut link.snapshot_out
                && !self.settings.is(Mutant::SnapshotNotRestarted)
            {
                *snapshot = SnapshotOut::default();
                self.happenings.snapshots_anew += 1;
            }
        }
        self.outputs.push_back(Output::Event(Event::BootstrapEnded(id)));
        self.busy = true;
        for at in 0..self.streams.len() {
            self.stir(OriginIx(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        self.issue_again(revealed, now);
        self.decide_all(now);
    }

    /// Removes entries, and returns the keys whose newest record is another one since; each with the greatest
    /// tombstone that went.
    fn discard(&mut self, entries: Vec<EntryIx>) -> Vec<(KeyIx, Option<Hider>)> {
        let mut revealed = BTreeSet::new();
        let mut hiders = BTreeMap::new();
        for at in entries {
            let Some(entry) = self.store.entry(at) else { continue };
            let key = entry.key();
            let Record { effective_ns, tombstone, value, .. } = self.store.record(entry);
            if tombstone {
                let hider = Hider { effective_ns, value: value.to_vec() };
                let greatest = hiders.entry(key).or_insert_with(|| hider.clone());
                *greatest = hider.max(greatest.clone());
            }
            if self.store.winner(key).is_some_and(|(winner, _)| winner == at) {
                revealed.insert(key);
            }
            self.remove(at);
        }
        let known = revealed.into_iter().filter(|&key| self.store.winner(key).is_some());
        known.map(|key| (key, hiders.remove(&key))).collect()
    }

    /// While something greater was held, which others had collected, these records may have been passed
    /// over on links, those that the snapshot brought too, and commits told all the same: they are sent as
    /// own updates.
    ///
    /// But what nobody has committed, and the snapshot has not brought, may be from before the key was forgotten,
    /// of a server that is gone: whoever dropped the tombstone could not know of it. This node still remembers,
    /// so it is the tombstone that is said again.
    fn issue_again(&mut self, keys: Vec<(KeyIx, Option<Hider>)>, now: Now) {
        if self.settings.is(Mutant::RevealedPassedOver) {
            return;
        }
        for (key, hider) in keys {
            let Some((_, winner)) = self.store.winner(key) else { continue };
            let version = self.streams.get(winner.origin.at()).map_or(0, |stream| stream.version);
            let is_old = !winner.confirmed && !winner.tombstone && winner.sequence > version;
            let hides = |hider: &Hider| is_old && hider.effective_ns >= winner.effective_ns;
            if let Some(Hider { effective_ns, value }) = hider.filter(hides) {
                self.issue_tombstone(key, effective_ns, &value, now);
                continue;
            }
            let Record { effective_ns, tombstone, value, .. } = self.store.record(winner);
            let (name, value) = (self.store.key_bytes(key).to_vec(), value.to_vec());
            let record = Record { key: &name, effective_ns, tombstone, value: &value };
            self.happenings.adopted += 1;
            self.issue(record, now);
        }
    }
}
