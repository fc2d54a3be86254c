//! The directories of servers that have a disk, and the journal writer of a process.
//!
//! The writer does what a server's does: it appends what the replica hands it, fsyncs as its setting says,
//! acknowledges, and compacts. It writes through the real store, on a disk in memory.

use crate::chance::Chance;
use crate::plan::{DiskPlan, Fsync, nanos};
use crate::rank::Rank;
use crate::report::{Count, Report};
use crate::world::within;
use herd_proto::Now;
use herd_replica::{JournalId, Replica, Told};
use herd_store::{Batch, Limits, MemoryDisk, Part, Storage, WriteError};
use std::time::Duration;

/// After something failed it is tried again.
const RETRY_NS: u64 = 50_000_000;

/// Nothing is removed because of its age.
const LIMITS: Limits = Limits { bytes_max: None, horizon: Duration::from_hours(720) };

/// A server's disk, and what its clients were told about it.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) plan: DiskPlan,
    /// While no process uses it.
    pub(crate) disk: MemoryDisk,
    pub(crate) acknowledged: Vec<Acknowledged>,
    pub(crate) copied: Option<(MemoryDisk, Vec<Acknowledged>)>,
    /// Bits that changed since the last start.
    pub(crate) flips: usize,
}

/// A record of which a client was told that it is durable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) key: usize,
    pub(crate) rank: Rank,
    /// Whether it survives a power cut.
    is_synced: bool,
}

/// What a process does with its directory.
#[derive(Debug)]
pub(crate) struct Writer {
    storage: Storage<MemoryDisk>,
    plan: DiskPlan,
    /// When it does something next.
    pub(crate) at_ns: u64,
    /// None until a generation is complete.
    live: Option<JournalId>,
    next: Option<JournalId>,
    /// Appended, and not synced yet: to be acknowledged then.
    syncing: Option<Told>,
    sync_due_ns: u64,
    /// Records appended since the journal was begun.
    appended: u64,
    batch: Batch,
    /// Replies that wait: the position, and what it is about.
    waiting: Vec<(u64, usize, Rank)>,
}

impl Directory {
    pub(crate) fn new(plan: DiskPlan) -> Self {
        let (acknowledged, copied) = (Vec::new(), None);
        Self { plan, disk: MemoryDisk::default(), acknowledged, copied, flips: 0 }
    }

    /// Everything is gone.
    pub(crate) fn lose(&mut self) {
        self.disk = MemoryDisk::default();
        self.acknowledged.clear();
    }

    /// The power of a disk that no process uses any more is cut.
    pub(crate) fn cut_power(&mut self, chance: &mut Chance) {
        self.disk.power_is_cut(|limit| chance.index(limit));
        self.acknowledged.retain(|one| one.is_synced);
    }

    /// An older copy takes its place; false if there is none.
    pub(crate) fn restore(&mut self) -> bool {
        let Some((disk, acknowledged)) = self.copied.take() else { return false };
        (self.disk, self.acknowledged) = (disk, acknowledged);
        true
    }

    pub(crate) fn acknowledge(&mut self, done: impl Iterator<Item = (usize, Rank)>) -> usize {
        let is_synced = self.plan.fsync == Fsync::Always;
        let before = self.acknowledged.len();
        self.acknowledged.extend(done.map(|(key, rank)| Acknowledged { key, rank, is_synced }));
        self.acknowledged.len() - before
    }

    fn note_synced(&mut self) {
        self.acknowledged.iter_mut().for_each(|one| one.is_synced = true);
    }
}

impl Writer {
    /// Goes on with a directory whose records were loaded into `replica`.
    pub(crate) fn new(
        storage: Storage<MemoryDisk>,
        plan: DiskPlan,
        replica: &mut Replica,
        now_ns: u64,
    ) -> Self {
        let live = storage.is_sound().then(|| replica.open_journal_behind());
        Self {
            storage,
            plan,
            at_ns: now_ns,
            live,
            next: None,
            syncing: None,
            sync_due_ns: u64::MAX,
            appended: 0,
            batch: Batch::default(),
            waiting: Vec::new(),
        }
    }

    pub(crate) fn disk(&self) -> &MemoryDisk {
        self.storage.disk()
    }

    pub(crate) fn disk_mut(&mut self) -> &mut MemoryDisk {
        self.storage.disk_mut()
    }

    pub(crate) fn into_disk(self) -> MemoryDisk {
        self.storage.into_disk()
    }

    pub(crate) fn storage_mut(&mut self) -> &mut Storage<MemoryDisk> {
        &mut self.storage
    }

    /// There is something to write.
    pub(crate) fn wake(&mut self, now_ns: u64) {
        if self.syncing.is_none() {
            self.at_ns = self.at_ns.min(now_ns);
        }
    }

    /// A reply waits until the change at this position is durable.
    pub(crate) fn wait(&mut self, position: u64, key: usize, rank: Rank) {
        self.waiting.push((position, key, rank));
    }

    /// The replies that wait for no more than this.
    pub(crate) fn take_done(&mut self, upto: u64) -> Vec<(usize, Rank)> {
        let done = self.waiting.iter().filter(|&&(at, ..)| at <= upto);
        let done = done.map(|&(_, key, rank)| (key, rank)).collect();
        self.waiting.retain(|&(at, ..)| at > upto);
        done
    }

    /// Begins the next generation.
    pub(crate) fn compact(&mut self, now_ns: u64) {
        // With nothing appended a journal is as short as it can be.
        self.appended = self.appended.max(self.plan.compact_after);
        self.at_ns = self.at_ns.min(now_ns);
    }

    /// Does what is due.
    pub(crate) fn work(
        &mut self,
        replica: &mut Replica,
        directory: &mut Directory,
        now: Now,
        chance: &mut Chance,
        report: &mut Report,
    ) {
        let now_ns = now.instant.nanos();
        let worked = self.try_to_work(replica, directory, now, chance, report);
        if let Ok(at) = worked {
            self.at_ns = at;
            return;
        }
        report.count(Count::WriteErrors);
        self.syncing = None;
        self.at_ns = now_ns + RETRY_NS;
        if !self.storage.is_sound()
            && let Some(live) = self.live.take()
        {
            replica.close_journal(live);
        }
    }

    fn try_to_work(
        &mut self,
        replica: &mut Replica,
        directory: &mut Directory,
        now: Now,
        chance: &mut Chance,
        report: &mut Report,
    ) -> Result<u64, WriteError> {
        let now_ns = now.instant.nanos();
        if let Some(told) = self.syncing.take() {
            self.storage.sync(Part::Live)?;
            report.count(Count::Syncs);
            replica.handle_journaled(&told);
        } else if self.sync_due_ns <= now_ns {
            self.sync_due_ns = u64::MAX;
            if self.live.is_some() {
                self.storage.sync(Part::Live)?;
                report.count(Count::Syncs);
                directory.note_synced();
            }
        }
        if self.next.is_none() && (self.live.is_none() || self.appended >= self.plan.compact_after)
        {
            self.storage.begin(now.unix)?;
            if let Some(next) = self.next.replace(replica.open_journal()) {
                replica.close_journal(next);
            }
        }
        let mut is_idle = true;
        if let Some(next) = self.next {
            is_idle = self.fill_next(next, replica, now, report)?;
        }
        if let Some(live) = self.live {
            let told = self.append(live, Part::Live, replica, report)?;
            is_idle &= told.is_none_or(|told| told.is_all);
            match (told, self.plan.fsync) {
                (Some(told), Fsync::Always) => {
                    self.syncing = Some(told);
                    return Ok(now_ns + within(self.plan.sync, chance));
                }
                (Some(told), Fsync::Every(every)) => {
                    replica.handle_journaled(&told);
                    self.sync_due_ns = self.sync_due_ns.min(now_ns + nanos(every));
                }
                (Some(told), Fsync::Never) => replica.handle_journaled(&told),
                (None, _) => {}
            }
        }
        Ok(if is_idle { self.sync_due_ns } else { now_ns + 1 + within(self.plan.write, chance) })
    }

    /// Appends to the next generation; once it holds everything it is the journal. True if it is.
    fn fill_next(
        &mut self,
        next: JournalId,
        replica: &mut Replica,
        now: Now,
        report: &mut Report,
    ) -> Result<bool, WriteError> {
        let appended = self.append(next, Part::Next, replica, report);
        let told = match appended {
            Ok(told) => told,
            Err(error) => {
                // What it was handed may be lost: it begins again.
                self.next = None;
                replica.close_journal(next);
                self.batch.clear();
                return Err(error);
            }
        };
        let Some(told) = told.filter(|told| told.is_all) else { return Ok(false) };
        self.next = None;
        let completed = self.storage.complete();
        if completed.is_err() {
            replica.close_journal(next);
        }
        completed?;
        report.count(Count::Compactions);
        if let Some(old) = self.live.replace(next) {
            replica.close_journal(old);
        }
        self.appended = 0;
        replica.handle_journaled(&told);
        self.storage.tidy(&LIMITS, now.unix)?;
        Ok(true)
    }

    /// Hands some records of a journal to a file. None if there are none.
    fn append(
        &mut self,
        journal: JournalId,
        part: Part,
        replica: &mut Replica,
        report: &mut Report,
    ) -> Result<Option<Told>, WriteError> {
        let (batch, mut count, most) = (&mut self.batch, 0, self.plan.batch);
        batch.clear();
        let told = replica.poll_journal(journal, |record| {
            batch.push(record);
            count += 1;
            count < most
        });
        if self.batch.is_empty() {
            return Ok(told.filter(|_| part == Part::Next));
        }
        let appended = self.storage.append(part, &mut self.batch);
        if appended.is_err() && part == Part::Live {
            // Tried once more at once, as a retry of the same bytes; else a generation must be begun.
            if self.storage.append(part, &mut self.batch).is_err() {
                self.live = None;
                replica.close_journal(journal);
                return appended.map(|()| None);
            }
        } else {
            appended?;
        }
        self.appended += count as u64;
        report.count_many(Count::Written, count as u64);
        Ok(told)
    }

    /// Writes everything that is left, as an orderly stop does; false if that fails.
    pub(crate) fn finish(
        &mut self,
        replica: &mut Replica,
        directory: &mut Directory,
        now: Now,
        chance: &mut Chance,
        report: &mut Report,
    ) {
        for _ in 0..STEPS_MAX {
            let before = report.of(Count::WriteErrors);
            self.work(replica, directory, now, chance, report);
            let is_idle = self.syncing.is_none() && self.at_ns == self.sync_due_ns;
            if is_idle || report.of(Count::WriteErrors) > before {
                break;
            }
        }
        if self.live.is_some() && self.storage.sync(Part::Live).is_ok() {
            directory.note_synced();
        }
    }
}

/// Steps of an orderly stop, in case a disk never comes to an end.
const STEPS_MAX: usize = 10_000;
