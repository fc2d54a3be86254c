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
use crate::settings::Record;
use crate::store::{EntryIx, KeyIx};
use herd_proto::{Instant, Now};
use std::collections::VecDeque;
use std::time::Duration;

/// Entries looked at in one go: some hundred microseconds.
const LOOKED_AT_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// Superseded entries that are to be looked at; each slot once, here or among those that wait.
    losers: VecDeque<EntryIx>,
    /// Those that were looked at and must stay until something changes that decides about them.
    waiting: VecDeque<EntryIx>,
    tombstones: VecDeque<Tombstone>,
}

#[derive(Debug)]
struct Tombstone {
    entry: EntryIx,
    /// The slot may come to hold a later one, which has its own way to go.
    sequence: u64,
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

/// The value of a tombstone that repeats one with this value. Values order tombstones of one time: the
/// first has none, a repetition counts in four bytes.
fn next_repetition(value: &[u8]) -> [u8; 4] {
    let count = value.try_into().map_or(0, u32::from_be_bytes);
    count.saturating_add(1).to_be_bytes()
}

impl Collector {
    /// An entry was superseded that is not on the list yet.
    pub(crate) fn note_loser(&mut self, entry: EntryIx) {
        self.losers.push_back(entry);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.losers.len() + self.waiting.len()
    }

    /// What everyone holds has changed, or what is known of graves and orphans.
    pub(crate) fn unsettle(&mut self) {
        if self.losers.is_empty() {
            std::mem::swap(&mut self.losers, &mut self.waiting);
        } else {
            self.losers.append(&mut self.waiting);
        }
    }

    pub(crate) fn note_tombstone(&mut self, entry: EntryIx, sequence: u64) {
        self.tombstones.push_back(Tombstone { entry, sequence, phase: Phase::Spreading });
    }
}

impl Replica {
    pub(crate) fn collect(&mut self, now: Now) {
        // While a snapshot comes in, or is still to come, what supersedes an entry may prove to be superfluous
        // itself.
        let is_behind = self.bootstrap.is_some() || self.links.values().any(|l| self.is_below(l));
        let raised = self.floors_raised;
        if !is_behind || self.settings.is(Mutant::CollectInSnapshot) {
            self.collect_losers(now);
        }
        self.collect_tombstones(now);
        if self.floors_raised > raised {
            self.wake_journal();
        }
    }

    fn collect_losers(&mut self, now: Now) {
        for _ in 0..LOOKED_AT_MAX {
            let Some(at) = self.collector.losers.pop_front() else { return };
            self.store.list(at, false);
            let Some(entry) = self.store.entry(at) else { continue };
            let Some((winner_at, winner)) = self.store.winner(entry.key()) else { continue };
            if winner_at == at {
                continue;
            }
            let (origin, sequence) = (winner.origin, winner.sequence);
            if winner.tombstone && !entry.tombstone && !self.may_bury(at, now) {
                self.wait(at);
                continue;
            }
            let Some(stream) = self.streams.get_mut(origin.at()) else { continue };
            if stream.stable < sequence && !self.settings.is(Mutant::CollectAtOnce) {
                self.wait(at);
                continue;
            }
            stream.floor = stream.floor.max(sequence);
            self.floors_raised += 1;
            self.happenings.collected += 1;
            let tombstone = self.store.entry(at).filter(|entry| entry.tombstone);
            if let Some((origin, sequence)) = tombstone.map(|entry| (entry.origin, entry.sequence))
            {
                // What superseded it may be dropped long before the last server hears of this one.
                self.raise_grave(origin, sequence);
            }
            self.remove(at);
        }
    }

    fn wait(&mut self, loser: EntryIx) {
        self.store.list(loser, true);
        self.collector.waiting.push_back(loser);
    }

    /// Whether a report that loses to a tombstone may go for good.
    ///
    /// Somebody may have dropped that tombstone, and have taken the report as new since. Whoever did so
    /// has told of the grave before telling that it holds the report. So once every member is known to
    /// hold the report, and there is no grave, every member had the tombstone when it met the report.
    /// If there is a grave the tombstone is written again, a little greater, which reaches everyone.
    fn may_bury(&mut self, loser: EntryIx, now: Now) -> bool {
        let Some(entry) = self.store.entry(loser) else { return true };
        let (origin, sequence, key) = (entry.origin, entry.sequence, entry.key());
        let Some((_, winner)) = self.store.winner(key) else { return true };
        let grave = self.streams.get(winner.origin.at()).map_or(0, |stream| stream.grave);
        let never = self.settings.is(Mutant::TombstoneNotRepeated);
        if winner.sequence <= grave && !entry.answered && !never {
            self.answer(key, loser);
            self.repeat_tombstone(key, now);
            return false;
        }
        let Some(stream) = self.streams.get(origin.at()) else { return true };
        // Nobody will ever commit what an origin that is gone left behind; who shows it adopts it.
        stream.is_orphan(entry)
            || self.everyone_holds(origin, sequence)
            || self.settings.is(Mutant::BuryEarly)
    }

    /// A tombstone is about to be repeated for the sake of an entry, and of all that is held under its key: whoever
    /// drops the repeated one has drained them, so it need not be repeated again for one of these.
    fn answer(&mut self, key: KeyIx, loser: EntryIx) {
        let entries: Vec<_> = self.store.entries_of(key).collect();
        for at in entries {
            let Some(entry) = self.store.entry_mut(at) else { continue };
            let held = self.streams.get(entry.origin.at()).map_or(0, |stream| stream.version);
            entry.answered |= at == loser || entry.sequence <= held;
        }
    }

    /// This node was not waited for: whoever dropped a tombstone that it repeated may not have drained what it
    /// holds.
    pub(crate) fn forget_answers(&mut self) {
        self.collector.unsettle();
        for &at in &self.collector.losers {
            if let Some(entry) = self.store.entry_mut(at) {
                entry.answered = false;
            }
        }
    }

    /// A key's tombstone becomes an update of this node: of the same time, and a little greater.
    pub(crate) fn repeat_tombstone(&mut self, key: KeyIx, now: Now) {
        let Some((_, winner)) = self.store.winner(key).filter(|(_, winner)| winner.tombstone)
        else {
            return;
        };
        let Record { effective_ns, value, .. } = self.store.record(winner);
        let value = value.to_vec();
        self.issue_tombstone(key, effective_ns, &value, now);
    }

    /// Repeats a tombstone that a key had.
    pub(crate) fn issue_tombstone(
        &mut self,
        key: KeyIx,
        effective_ns: i64,
        value: &[u8],
        now: Now,
    ) {
        let value = next_repetition(value);
        let key = self.store.key_bytes(key).to_vec();
        let record = Record { key: &key, effective_ns, tombstone: true, value: &value };
        self.happenings.tombstones_repeated += 1;
        self.issue(record, now);
    }

    /// Of a stream a tombstone with this number was dropped, here or elsewhere.
    pub(crate) fn raise_grave(&mut self, origin: OriginIx, sequence: u64) {
        if let Some(stream) = self.streams.get_mut(origin.at())
            && stream.grave < sequence
        {
            stream.grave = sequence;
            self.graves_raised += 1;
            self.wake_journal();
            self.collector.unsettle();
            let ids: Vec<_> = self.links.keys().copied().collect();
            for id in ids {
                self.wake(id);
            }
        }
    }

    fn collect_tombstones(&mut self, now: Now) {
        for _ in 0..self.collector.tombstones.len().min(LOOKED_AT_MAX) {
            let Some(mut tombstone) = self.collector.tombstones.pop_front() else { return };
            let Some(entry) = self.store.entry(tombstone.entry) else { continue };
            let (origin, sequence, key) = (entry.origin, entry.sequence, entry.key());
            let wins = self.store.winner(key).is_some_and(|(at, _)| at == tombstone.entry);
            let same =
                sequence == tombstone.sequence || self.settings.is(Mutant::TombstonePhaseKept);
            if !entry.tombstone || !wins || !same {
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
                Phase::Grace(until) => {
                    until <= now.instant && self.is_alone(key) && !self.is_promised()
                }
            };
            if !done {
                self.collector.tombstones.push_back(tombstone);
                continue;
            }
            if let Some(stream) = self.streams.get_mut(origin.at()) {
                stream.floor = stream.floor.max(sequence);
            }
            self.floors_raised += 1;
            self.raise_grave(origin, sequence);
            self.happenings.tombstones_collected += 1;
            self.remove(tombstone.entry);
        }
    }

    /// Whether a snapshot is on its way from here: it may have passed what a tombstone superseded, which was
    /// collected since, and not yet the tombstone. A guard without a fault of its own: whoever is linked is waited for,
    /// so whoever takes a snapshot has the tombstone already.
    fn is_promised(&self) -> bool {
        let mut snapshots = self.links.values().filter_map(|link| link.snapshot_out.as_ref());
        snapshots.any(|snapshot| snapshot.begun)
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
