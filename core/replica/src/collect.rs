//! Forgetting what nobody needs any more: superseded entries, and tombstones.
//!
//! A superseded entry may go once every present member holds what supersedes it. Gone earlier, it would
//! leave a hole: a node is told "you hold this stream up to here", the superseding entry is lost with
//! the only node that had it, and two nodes differ for ever. For a member that was absent meanwhile the
//! hole is there; the floor tells, and it fetches everything anew.
//!
//! A tombstone goes with its key, once every configured member has it, has been seen to have nothing
//! older under way, and some time has passed for what is still on the wire.

use crate::mutants::Mutant;
use crate::origin::OriginIx;
use crate::replica::Replica;
use crate::store::{EntryIx, KeyIx};
use herd_proto::{Instant, Now};
use std::collections::VecDeque;
use std::time::Duration;

/// Entries looked at in one go: some hundred microseconds.
const LOOKED_AT_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Collector {
    losers: VecDeque<EntryIx>,
    tombstones: VecDeque<Tombstone>,
}

#[derive(Debug)]
struct Tombstone {
    entry: EntryIx,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Until every member has it.
    Spreading,
    /// Until every member holds what any member had issued by then.
    Draining(Vec<(OriginIx, u64)>),
    /// Until this moment.
    Grace(Instant),
}

impl Collector {
    pub(crate) fn note_loser(&mut self, entry: EntryIx) {
        self.losers.push_back(entry);
    }

    pub(crate) fn note_tombstone(&mut self, entry: EntryIx) {
        self.tombstones.push_back(Tombstone { entry, phase: Phase::Spreading });
    }
}

impl Replica {
    pub(crate) fn collect(&mut self, now: Now) {
        self.collect_losers();
        self.collect_tombstones(now);
    }

    fn collect_losers(&mut self) {
        for _ in 0..self.collector.losers.len().min(LOOKED_AT_MAX) {
            let Some(at) = self.collector.losers.pop_front() else { return };
            let Some(entry) = self.store.entry(at) else { continue };
            let Some((winner_at, winner)) = self.store.winner(entry.key()) else { continue };
            if winner_at == at {
                continue;
            }
            let (origin, sequence) = (winner.origin, winner.sequence);
            let Some(stream) = self.streams.get_mut(origin.at()) else { continue };
            if stream.stable < sequence && !self.settings.is(Mutant::CollectAtOnce) {
                self.collector.losers.push_back(at);
                continue;
            }
            stream.floor = stream.floor.max(sequence);
            self.happenings.collected += 1;
            self.remove(at);
        }
    }

    fn collect_tombstones(&mut self, now: Now) {
        for _ in 0..self.collector.tombstones.len().min(LOOKED_AT_MAX) {
            let Some(mut tombstone) = self.collector.tombstones.pop_front() else { return };
            let Some(entry) = self.store.entry(tombstone.entry) else { continue };
            let (origin, sequence, key) = (entry.origin, entry.sequence, entry.key());
            let wins = self.store.winner(key).is_some_and(|(at, _)| at == tombstone.entry);
            if !entry.tombstone || !wins {
                continue;
            }
            let done = match tombstone.phase {
                Phase::Spreading => {
                    if self.everyone_holds(origin, sequence) {
                        tombstone.phase = Phase::Draining(self.issued());
                    }
                    false
                }
                Phase::Draining(ref issued) => {
                    let drained = issued.iter().all(|&(at, to)| self.everyone_holds(at, to))
                        || self.settings.is(Mutant::TombstoneAtOnce);
                    if drained {
                        let at_once = self.settings.is(Mutant::TombstoneAtOnce);
                        let grace = self.settings.tuning.tombstone_grace;
                        let grace = if at_once { Duration::ZERO } else { grace };
                        tombstone.phase = Phase::Grace(now.instant + grace);
                    }
                    false
                }
                Phase::Grace(until) => until <= now.instant && self.is_alone(key),
            };
            if !done {
                self.collector.tombstones.push_back(tombstone);
                continue;
            }
            if let Some(stream) = self.streams.get_mut(origin.at()) {
                stream.floor = stream.floor.max(sequence);
            }
            self.happenings.tombstones_collected += 1;
            self.remove(tombstone.entry);
        }
    }

    fn is_alone(&self, key: KeyIx) -> bool {
        self.store.entries_of(key).count() == 1
    }

    fn everyone_holds(&self, origin: OriginIx, sequence: u64) -> bool {
        let forgets_absent = self.settings.is(Mutant::TombstoneForgetsAbsent);
        self.streams.get(origin.at()).is_some_and(|stream| {
            let held = if forgets_absent { stream.stable } else { stream.stable_for_all };
            held >= sequence
        })
    }

    /// The furthest that any member was heard to hold of each stream: at least all that was issued
    /// before it held the tombstone.
    fn issued(&self) -> Vec<(OriginIx, u64)> {
        let mut issued: Vec<_> = (0..)
            .map(OriginIx)
            .zip(&self.streams)
            .map(|(at, stream)| (at, stream.version))
            .collect();
        for member in self.members.heard() {
            for &(origin, version) in &member.versions {
                if let Some((_, furthest)) = issued.get_mut(origin.at()) {
                    *furthest = (*furthest).max(version);
                }
            }
        }
        issued
    }
}
