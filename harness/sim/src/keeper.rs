//! Who writes a node's journal to its disk: one thing at a time, in pieces, each of which takes its time.
//!
//! What is told of the next generation counts only once that is complete; and from the last look at the
//! journal to then nothing else is written, since it would be missing in it.

use crate::chance::Chance;
use crate::disk::Shared;
use crate::history::Sim;
use crate::oracle::Rank;
use crate::plan::{DiskPlan, Fsync, nanos};
use crate::report::Disks;
use herd_replica::{JournalId, Mutant, Replica, Told};
use herd_store::{Batch, Failure, Line, Part, Storage, WriteError};
use std::collections::VecDeque;

/// After something failed.
const PAUSE_NS: u64 = 50_000_000;

/// Changes of a disk while a generation is completed.
const COMPLETING_CHANGES: u64 = 5;

pub(crate) struct Keeper {
    plan: DiskPlan,
    mutant: Option<Mutant>,
    storage: Storage<Shared>,
    live: Option<Writing>,
    next: Option<Writing>,
    doing: Doing,
    /// When that is done, or there is something to do.
    pub(crate) at_ns: u64,
    /// Whose turn it is.
    next_first: bool,
    /// No generation is begun before.
    begins_ns: u64,
    /// Records written since one was begun.
    records: u64,
    /// When something was first written that is not safe yet.
    dirty_since: Option<u64>,
    /// Replies that wait.
    pub(crate) waiting: VecDeque<Waiting>,
}

/// A reply that waits until what was written is safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) version: u64,
    pub(crate) key: u64,
    pub(crate) rank: Rank,
}

/// A journal on its way to a file.
struct Writing {
    id: JournalId,
    batch: Batch,
    told: Told,
    /// What of it is in the file.
    written: Told,
    /// What is in the batch is not tried again before.
    again_ns: u64,
}

impl Writing {
    fn new(id: JournalId) -> Self {
        Self {
            id,
            batch: Batch::default(),
            told: Told::default(),
            written: Told::default(),
            again_ns: 0,
        }
    }

    /// Takes the next piece.
    fn poll(&mut self, replica: &mut Replica, piece: usize) -> u64 {
        let Self { id, batch, .. } = self;
        let mut records = 0;
        let told = replica.poll_journal(*id, |journaled| {
            batch.push(&Line::Of(*journaled));
            records += 1;
            records < piece
        });
        self.told = told.unwrap_or_default();
        records as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Append(Part),
    Sync,
    Complete,
}

impl Keeper {
    /// Goes on with a file, if `live` is its journal; else a generation is begun.
    pub(crate) fn new(
        plan: DiskPlan,
        mutant: Option<Mutant>,
        storage: Storage<Shared>,
        live: Option<JournalId>,
        now_ns: u64,
    ) -> Self {
        Self {
            plan,
            mutant,
            storage,
            live: live.map(Writing::new),
            next: None,
            doing: Doing::Nothing,
            at_ns: now_ns,
            next_first: false,
            begins_ns: 0,
            records: 0,
            dirty_since: None,
            waiting: VecDeque::new(),
        }
    }

    /// There is something to write down.
    pub(crate) fn wake(&mut self, now_ns: u64) {
        if self.doing == Doing::Nothing {
            self.at_ns = now_ns;
        }
    }

    /// A generation is begun as soon as it can be.
    pub(crate) fn begin_anew(&mut self, now_ns: u64) {
        self.records = self.plan.anew;
        self.wake(now_ns);
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn takes(&mut self, doing: Doing, now_ns: u64, chance: &mut Chance) {
        let longest =
            if matches!(doing, Doing::Append(_)) { self.plan.write } else { self.plan.sync };
        self.doing = doing;
        self.at_ns = now_ns + 1_000 + chance.below(nanos(longest));
    }

    /// Of the file that counted it is not known any more what lasts.
    fn give_up_live(&mut self, replica: &mut Replica) {
        if let Some(live) = self.live.take() {
            replica.close_journal(live.id);
        }
        self.dirty_since = None;
    }

    fn give_up_next(&mut self, replica: &mut Replica, now_ns: u64) {
        if let Some(next) = self.next.take() {
            replica.close_journal(next.id);
        }
        self.begins_ns = now_ns + PAUSE_NS;
        // It is taken away when the next is begun at the latest.
        drop(self.storage.give_up_next());
    }

    /// What was under way is done; goes on with what there is to do. Tells until when everything is safe.
    pub(crate) fn go_on(
        &mut self,
        replica: &mut Replica,
        now_ns: u64,
        chance: &mut Chance,
        report: &mut Disks,
    ) -> Result<Option<u64>, String> {
        let mut safe_ns = None;
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Append(part) => {
                if self.append(part, replica, now_ns, report)? {
                    if part == Part::Next && self.is(Mutant::WrittenWhileCompleting) {
                        self.write_at_once(replica);
                    }
                    // What comes now is part of the same.
                    let doing = if part == Part::Live { Doing::Sync } else { Doing::Complete };
                    self.takes(doing, now_ns, chance);
                    return Ok(None);
                }
            }
            Doing::Sync => {
                if self.storage.sync(Part::Live).is_ok() {
                    report.syncs += 1;
                    safe_ns = Some(now_ns);
                    self.check_in_time(now_ns)?;
                    self.dirty_since = None;
                    if let Some(live) = &self.live {
                        replica.handle_journaled(&live.written);
                        replica.handle_lasting(&live.written);
                    }
                } else {
                    report.syncs_failed += 1;
                    self.give_up_live(replica);
                    self.begins_ns = now_ns + PAUSE_NS;
                }
            }
            Doing::Complete => {
                if self.complete(replica, now_ns, report) {
                    safe_ns = Some(now_ns);
                }
            }
        }
        self.look(replica, now_ns, chance, report);
        Ok(safe_ns)
    }

    /// Writes what was taken from a journal. True if it must be made safe now.
    fn append(
        &mut self,
        part: Part,
        replica: &mut Replica,
        now_ns: u64,
        report: &mut Disks,
    ) -> Result<bool, String> {
        let writing = if part == Part::Live { &mut self.live } else { &mut self.next };
        let Some(writing) = writing else { return Err("nothing to append to".to_owned()) };
        match (self.storage.append(part, &mut writing.batch), part) {
            (Ok(()), Part::Live) => {
                writing.batch.clear();
                writing.written = writing.told.clone();
                self.dirty_since.get_or_insert(now_ns);
                if self.plan.fsync == Fsync::Always {
                    return Ok(true);
                }
                replica.handle_journaled(&writing.told);
                if self.plan.fsync == Fsync::Never {
                    replica.handle_lasting(&writing.told);
                }
            }
            (Ok(()), Part::Next) => {
                writing.batch.clear();
                if self.mutant == Some(Mutant::NextCountsEarly) {
                    replica.handle_journaled(&writing.told);
                }
                return Ok(writing.told.is_all);
            }
            (Err(WriteError::Disk(_)), Part::Live) => {
                report.writes_failed += 1;
                writing.again_ns = now_ns + PAUSE_NS;
                if self.mutant == Some(Mutant::FailedTakenAsWritten) {
                    writing.batch.clear();
                }
            }
            (Err(WriteError::NoFile), Part::Live) => {
                return Err("a file that was sound is not any more".to_owned());
            }
            (Err(_), Part::Next) => {
                report.writes_failed += 1;
                report.generations_given_up += 1;
                self.give_up_next(replica, now_ns);
            }
        }
        Ok(false)
    }

    fn complete(&mut self, replica: &mut Replica, now_ns: u64, report: &mut Disks) -> bool {
        if self.storage.complete().is_ok() {
            report.generations += 1;
            self.give_up_live(replica);
            self.live = self.next.take();
            if let Some(live) = &mut self.live {
                live.written = live.told.clone();
                replica.handle_journaled(&live.told);
                replica.handle_lasting(&live.told);
            }
            // Old files that stay for now are removed with the next or at the next start.
            drop(self.storage.tidy());
            return true;
        }
        report.generations_given_up += 1;
        self.give_up_next(replica, now_ns);
        if !self.storage.is_sound() {
            self.give_up_live(replica);
        }
        false
    }

    /// A fault: what has come in since is written to the file that counts, and to no other.
    fn write_at_once(&mut self, replica: &mut Replica) {
        let Some(live) = &mut self.live else { return };
        if live.batch.is_empty() {
            live.poll(replica, usize::MAX);
            if self.storage.append(Part::Live, &mut live.batch).is_ok()
                && self.storage.sync(Part::Live).is_ok()
            {
                live.batch.clear();
                replica.handle_journaled(&live.told);
            }
        }
    }

    /// What is to be done next.
    fn look(
        &mut self,
        replica: &mut Replica,
        now_ns: u64,
        chance: &mut Chance,
        report: &mut Disks,
    ) {
        if self.next.is_none() && (self.live.is_none() || self.records >= self.plan.anew) {
            if self.begins_ns > now_ns {
                self.at_ns = self.begins_ns;
                if self.live.is_none() {
                    return;
                }
            } else if self.storage.begin().is_ok() {
                self.next = Some(Writing::new(replica.open_journal()));
                self.records = 0;
            } else {
                report.writes_failed += 1;
                self.give_up_next(replica, now_ns);
            }
        }
        let mut wakes_ns =
            if self.next.is_none() && self.begins_ns > now_ns { self.begins_ns } else { u64::MAX };
        if let (Some(since), Fsync::Every(interval)) = (self.dirty_since, self.plan.fsync) {
            let due = since + nanos(interval);
            if due <= now_ns {
                return self.takes(Doing::Sync, now_ns, chance);
            }
            wakes_ns = wakes_ns.min(due);
        }
        self.next_first = !self.next_first;
        let parts =
            if self.next_first { [Part::Next, Part::Live] } else { [Part::Live, Part::Next] };
        for part in parts {
            let writing = if part == Part::Live { &mut self.live } else { &mut self.next };
            let Some(writing) = writing else { continue };
            if writing.again_ns > now_ns {
                wakes_ns = wakes_ns.min(writing.again_ns);
                continue;
            }
            if writing.batch.is_empty() {
                let records = writing.poll(replica, self.plan.piece);
                // What a generation begins with does not make it long.
                self.records += if part == Part::Live { records } else { 0 };
            }
            if !writing.batch.is_empty() || part == Part::Next {
                if part == Part::Live && self.mutant == Some(Mutant::AcknowledgedEarly) {
                    replica.handle_journaled(&writing.told);
                }
                return self.takes(Doing::Append(part), now_ns, chance);
            }
        }
        self.at_ns = wakes_ns;
    }

    /// The process ends in the middle of what it does.
    pub(crate) fn end_midway(mut self, disk: &Shared, chance: &mut Chance, report: &mut Disks) {
        let fails = |later| {
            let failure = [Failure::Nothing, Failure::Half, Failure::All][later % 3];
            disk.with(|disk| disk.fail_at = Some((disk.changes() + 1 + later as u64 / 3, failure)));
        };
        report.generations_cut_short += u64::from(self.next.is_some());
        match self.doing {
            Doing::Append(part) => {
                fails(chance.index(3));
                let writing = if part == Part::Live { &mut self.live } else { &mut self.next };
                if let Some(writing) = writing {
                    drop(self.storage.append(part, &mut writing.batch));
                }
            }
            Doing::Complete => {
                fails(chance.index(3 * usize::try_from(COMPLETING_CHANGES).unwrap_or(1)));
                drop(self.storage.complete().map(|()| self.storage.tidy()));
            }
            Doing::Nothing | Doing::Sync => {}
        }
        disk.with(|disk| disk.fail_at = None);
    }

    /// Writes down everything, and says that this was the end. False if that could not be done.
    pub(crate) fn close(mut self, replica: &mut Replica) -> bool {
        if let Some(next) = self.next.take() {
            replica.close_journal(next.id);
            drop(self.storage.give_up_next());
        }
        let Some(mut live) = self.live.take() else { return false };
        loop {
            if live.batch.is_empty() {
                live.poll(replica, self.plan.piece);
            }
            if live.batch.is_empty() {
                break;
            }
            if self.storage.append(Part::Live, &mut live.batch).is_err() {
                return false;
            }
            live.batch.clear();
        }
        self.storage.close().is_ok()
    }

    /// Whether all that is known is on the disk.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.told.is_all && live.batch.is_empty())
            && self.waiting.is_empty()
    }

    /// What is made safe every so often is so within that time, and what one write and one sync may take
    /// that were under way then, and the next.
    fn check_in_time(&self, now_ns: u64) -> Result<(), String> {
        let (Fsync::Every(interval), Some(since)) = (self.plan.fsync, self.dirty_since) else {
            return Ok(());
        };
        let latest = since + nanos(interval + 2 * (self.plan.write + self.plan.sync)) + 10_000;
        if now_ns > latest {
            return Err(format!("what was written at {since} is safe only at {now_ns}"));
        }
        Ok(())
    }
}

impl Sim {
    /// Whoever writes to a disk goes on.
    pub(crate) fn keep(&mut self, node: usize) -> Result<(), String> {
        let (Some(replica), Some(keeper)) = (&mut self.nodes[node], &mut self.keepers[node]) else {
            return Ok(());
        };
        let disks = &mut self.report.disks;
        let safe_ns = keeper.go_on(replica, self.now_ns, &mut self.chance, disks)?;
        if let (Some(safe_ns), Some(directory)) = (safe_ns, &mut self.directories[node]) {
            directory.durable_ns = safe_ns;
        }
        self.touched(node)
    }

    /// A client has written, and waits for its reply.
    pub(crate) fn await_safety(&mut self, node: usize, key: u64, rank: Rank) {
        let (Some(replica), Some(keeper)) = (&self.nodes[node], &mut self.keepers[node]) else {
            return;
        };
        keeper.waiting.push_back(Waiting { version: replica.own_version(), key, rank });
        self.report.disks.waited += u64::from(replica.journaled() < replica.own_version());
        self.acknowledge(node);
    }

    /// Replies that have waited for long enough go out.
    pub(crate) fn acknowledge(&mut self, node: usize) {
        let (Some(replica), Some(keeper)) = (&self.nodes[node], &mut self.keepers[node]) else {
            return;
        };
        let safe = replica.journaled();
        while let Some(Waiting { key, rank, .. }) =
            keeper.waiting.pop_front_if(|w| w.version <= safe)
        {
            self.report.disks.acknowledged += 1;
            self.oracle.acknowledged(node, key, rank, self.now_ns);
        }
    }
}
