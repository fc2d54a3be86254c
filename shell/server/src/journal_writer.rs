//! The journal writer: persists what the node knows, on a thread of its own.
//!
//! Everything that waits is written in one go (group commit), then the replies that waited for it go out. A
//! journal is a position in the node's changes, so nothing is queued here however long the disk refuses. When
//! the file is to be compacted, which [`Limits`] decides, the next one is written in slices between the turns of
//! the current one. Syncing takes as long as it takes, so another thread does it wherever no reply waits for it.

use crate::config::{Fsync, format_size};
use crate::disk::OsDisk;
use crate::fsync_thread::FsyncThread;
use herd_front::{Disk, Host, Mode};
use herd_node::{JournalId, Node, Told};
use herd_store::{
    Batch, COMPACTION_SHARE, Decision, Identity, Limits, Part, Storage, Usage, WriteError,
};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Taken from the node in one go, under its lock: some tens of microseconds.
const SLICE_BYTES: usize = 32 * 1024;

/// Written in one go at most, so that memory stays flat however much waits.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

/// The same while the next file is written, which gets a multiple of it between two of these.
const WRITE_BESIDE_BYTES: usize = 64 * 1024;

/// The next file is synced piece by piece while it is written: a disk that has to take all of it at once lets no
/// one else through for long.
const NEXT_SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// So little of the next file is synced while the current one waits, to come to an end...
const LAST_SYNC_BYTES: u64 = 1024 * 1024;

/// ...and whatever is left after so many tries: what comes in meanwhile may always be more.
const LAPS_MAX: u32 = 4;

/// The wait before a disk that refused a write is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// The wait before a compaction that failed is tried again while the current file can be appended to.
const COMPACTION_RETRY: Duration = Duration::from_mins(1);

/// What a journal writer is started with.
#[derive(Debug)]
pub(crate) struct JournalSettings {
    pub(crate) storage: Storage<OsDisk>,
    /// The journal that continues the file; none if a file must be begun.
    pub(crate) live: Option<JournalId>,
    pub(crate) fsync: Fsync,
    /// Whether reports are refused while the disk fails.
    pub(crate) refuses: bool,
    pub(crate) limits: Limits,
    /// About what a new file would begin with.
    pub(crate) base_bytes: u64,
}

/// The handle of the thread.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl JournalWriter {
    /// Starts the thread.
    pub(crate) fn start(host: Arc<Host>, settings: JournalSettings) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let fsync_thread = FsyncThread::start()?;
        // What was recovered is persisted, and no later output says so: a reply to a report that was known waits no
        // longer.
        let (position, now) = host.enter(|node, now| (node.safe_position(), now));
        host.durability.note_safe(position);
        host.durability.set_mode(Mode::Durable);
        let thread = thread::Builder::new().name("journal".into()).spawn({
            let stop = stop.clone();
            let JournalSettings { storage, live, fsync, refuses, limits, base_bytes } = settings;
            let work = Work {
                age: Age { before: storage.live_age(now.unix), since: Instant::now() },
                host,
                storage,
                fsync_thread,
                live,
                next: None,
                laps: 0,
                fsync,
                refuses,
                limits,
                base_bytes,
                compacts_at: None,
                batch: Batch::default(),
                unsynced_since: None,
                failing: false,
            };
            move || work.run(&stop)
        })?;
        Ok(Self { thread, stop })
    }

    /// Writes and syncs what is left. To be called when the node takes no more updates.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            error!("the journal writer ended early: the last reports may be missing on disk");
        }
    }
}

/// How long ago the current file was begun: by the wall clock up to the start, by the monotonic one from then on.
struct Age {
    before: Duration,
    since: Instant,
}

impl Age {
    fn now(&self) -> Duration {
        self.before.saturating_add(self.since.elapsed())
    }
}

struct Work {
    host: Arc<Host>,
    storage: Storage<OsDisk>,
    fsync_thread: FsyncThread,
    live: Option<JournalId>,
    next: Option<JournalId>,
    /// How often the next file was synced up to its end, which has moved on since.
    laps: u32,
    fsync: Fsync,
    refuses: bool,
    limits: Limits,
    base_bytes: u64,
    age: Age,
    /// Not before then, after a compaction that failed.
    compacts_at: Option<Instant>,
    batch: Batch,
    unsynced_since: Option<Instant>,
    failing: bool,
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        self.host.durability.set_keeper(thread::current());
        loop {
            // Read first: what comes in before the end is written.
            let stopping = stop.load(Ordering::Acquire);
            let busy = match self.turn(stopping) {
                Ok(busy) => {
                    self.recovered();
                    busy
                }
                Err(error) => {
                    self.failed(&error);
                    if stopping {
                        return;
                    }
                    thread::park_timeout(RETRY_EVERY);
                    continue;
                }
            };
            if busy {
                continue;
            }
            self.note_bytes();
            if stopping {
                return self.close();
            }
            thread::park_timeout(self.idle_for());
        }
    }

    /// How long there is nothing to do if nothing comes in. The fsync thread unparks this one when it is done.
    fn idle_for(&self) -> Duration {
        let fsync = self.fsync_due().filter(|_| !self.fsync_thread.is_busy());
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let compaction = match (self.next, self.limits.decide(self.usage())) {
            (Some(_), _) => Duration::MAX,
            (None, Decision::Keep(span)) => span,
            (None, Decision::Compact) => self.compacts_at.map_or(Duration::ZERO, until),
        };
        fsync.map_or(Duration::MAX, until).min(compaction)
    }

    /// Writes what there is; true if there may be more.
    fn turn(&mut self, stopping: bool) -> Result<bool, WriteError> {
        let mut busy = false;
        let mut written = 0;
        if let Some((unsynced, outcome)) = self.fsync_thread.outcome()? {
            self.storage.end_sync(&unsynced, outcome)?;
        }
        if let Some(live) = self.live.filter(|_| self.storage.is_sound()) {
            let bytes = if self.next.is_some() { WRITE_BESIDE_BYTES } else { WRITE_BYTES };
            let told = self.collect(live, bytes)?;
            written = self.batch.len();
            busy |= !told.is_all;
            self.write(&told)?;
        }
        if self.live.is_none() && self.next.is_none() {
            self.begin()?;
        }
        if self.fsync_due().is_some_and(|due| due <= Instant::now()) && !self.fsync_thread.is_busy()
        {
            self.unsynced_since = None;
            self.start_sync(Part::Live)?;
        }
        if self.next.is_none() && self.compaction_is_due() {
            self.begin().or_else(|error| self.compaction_failed(error))?;
        }
        if let Some(next) = self.next {
            // At the end, and where no reply can go out before, in one go.
            let at_once = stopping || self.live.is_none();
            let slice = SLICE_BYTES.max(COMPACTION_SHARE * written).min(WRITE_BYTES);
            let bytes = if at_once { WRITE_BYTES } else { slice };
            match self.write_next(next, bytes, at_once) {
                Ok(more) => busy |= more,
                Err(error) => {
                    self.give_up_next(next);
                    self.compaction_failed(error)?;
                }
            }
        }
        Ok(busy)
    }

    fn usage(&self) -> Usage {
        let live_bytes = self.storage.live_bytes();
        Usage { live_bytes, base_bytes: self.base_bytes, age: self.age.now() }
    }

    fn compaction_is_due(&self) -> bool {
        self.compacts_at.is_none_or(|at| at <= Instant::now())
            && self.limits.decide(self.usage()) == Decision::Compact
    }

    /// Takes records from the node, in slices; what is in the batch was told.
    fn collect(&mut self, journal: JournalId, bytes_max: usize) -> Result<Told, WriteError> {
        loop {
            let batch = &mut self.batch;
            let until = (batch.len() + SLICE_BYTES).min(bytes_max);
            let (told, incarnation) = self.host.enter(|node, _| {
                let told = node.poll_journal(journal, |record| {
                    batch.push(record);
                    batch.len() < until
                });
                (told, node.incarnation())
            });
            let told = told.ok_or(WriteError::NoFile)?;
            if told.is_all || self.batch.len() >= bytes_max {
                self.follow_incarnation(incarnation)?;
                return Ok(told);
            }
        }
    }

    /// The node may take another incarnation while it runs; the next start takes a greater one than that.
    fn follow_incarnation(&mut self, incarnation: u64) -> io::Result<()> {
        match self.storage.identity() {
            Some(identity) if identity.incarnation != incarnation => {
                let identity = Identity { incarnation, ..identity.clone() };
                self.storage.start_incarnation(identity, self.host.now().unix)
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, told: &Told) -> Result<(), WriteError> {
        if !self.batch.is_empty() {
            self.admit()?;
            self.storage.append(Part::Live, &mut self.batch)?;
            self.batch.clear();
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        if self.fsync == Fsync::Always {
            self.unsynced_since = None;
            self.storage.sync(Part::Live)?;
        }
        self.host.enter(|node, now| node.handle_journaled(told, now));
        Ok(())
    }

    /// Has the other thread sync a file, if there is anything to sync.
    fn start_sync(&mut self, part: Part) -> Result<(), WriteError> {
        if let Some(unsynced) = self.storage.start_sync(part)? {
            let file = self.storage.disk().handle(&unsynced.name)?;
            self.fsync_thread.sync(file, unsynced)?;
        }
        Ok(())
    }

    fn fsync_due(&self) -> Option<Instant> {
        match self.fsync {
            Fsync::Every(interval) => self.unsynced_since.map(|since| since + interval),
            Fsync::Always | Fsync::Os => None,
        }
    }

    /// Whether the files may grow by the batch.
    fn admit(&self) -> io::Result<()> {
        let files = self.storage.live_bytes() + self.storage.next_bytes().unwrap_or(0);
        match self.limits.bytes_max {
            Some(max) if !self.limits.admits(files + self.batch.len() as u64) => {
                let message = format!(
                    "storage.max_disk, {}, is used up: raise it and restart this server",
                    format_size(max)
                );
                Err(io::Error::new(ErrorKind::StorageFull, message))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        self.storage.begin(self.host.now().unix)?;
        self.laps = 0;
        self.next = Some(self.host.enter(|node, _| node.open_journal()));
        Ok(())
    }

    fn give_up_next(&mut self, next: JournalId) {
        self.batch.clear();
        self.host.enter(|node, _| node.close_journal(next));
        self.next = None;
        // It would have needed at least so much.
        let needed = self.storage.next_bytes().unwrap_or(0);
        self.base_bytes = self.base_bytes.max(needed);
        // The disk that refused this may refuse that too; a start removes the file.
        let _left_over = self.storage.give_up_next();
    }

    /// Without a current file nothing is persisted until there is one; with one, a compaction can wait.
    fn compaction_failed(&mut self, error: WriteError) -> Result<(), WriteError> {
        if self.live.is_none() || !self.storage.is_sound() {
            return Err(error);
        }
        warn!(%error, retry = ?COMPACTION_RETRY, "cannot compact the journal");
        self.compacts_at = Some(Instant::now() + COMPACTION_RETRY);
        Ok(())
    }

    /// Writes a slice of the next file; true if it can be continued at once.
    fn write_next(
        &mut self,
        next: JournalId,
        bytes: usize,
        at_once: bool,
    ) -> Result<bool, WriteError> {
        let told = self.collect(next, bytes)?;
        if !self.batch.is_empty() {
            self.admit()?;
            self.storage.append(Part::Next, &mut self.batch)?;
            self.batch.clear();
        }
        if !at_once {
            let left = self.storage.next_unsynced_bytes().unwrap_or(0);
            let is_last = told.is_all && (left <= LAST_SYNC_BYTES || self.laps >= LAPS_MAX);
            let is_piece = told.is_all || left >= NEXT_SYNC_BYTES;
            if !is_last && is_piece && !self.fsync_thread.is_busy() {
                self.laps += u32::from(told.is_all);
                self.start_sync(Part::Next)?;
            }
            if !is_last {
                return Ok(!told.is_all);
            }
        }
        if !told.is_all {
            return Ok(true);
        }
        self.complete(next, &told)?;
        Ok(false)
    }

    fn complete(&mut self, next: JournalId, told: &Told) -> Result<(), WriteError> {
        self.storage.complete()?;
        self.next = None;
        self.base_bytes = self.storage.live_bytes();
        self.age = Age { before: Duration::ZERO, since: Instant::now() };
        self.compacts_at = None;
        self.unsynced_since = None;
        let old = self.live.replace(next);
        self.host.enter(|node, now| {
            if let Some(old) = old {
                node.close_journal(old);
            }
            node.handle_journaled(told, now);
        });
        if let Err(error) = self.tidy() {
            warn!(%error, "old files cannot be removed; trying again after the next compaction");
        }
        info!(bytes = self.base_bytes, "journal compacted");
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<()> {
        for name in self.storage.surplus(&self.limits, self.host.now().unix)? {
            let file = self.storage.disk_mut().let_go(&name);
            self.fsync_thread.remove(file)?;
        }
        Ok(())
    }

    fn failed(&mut self, error: &WriteError) {
        // What was taken from the current journal and not written is still in the batch, and is written first; if
        // the file is not continued, a new one holds it.
        if !self.storage.is_sound() {
            self.batch.clear();
            if let Some(live) = self.live.take() {
                self.host.enter(|node, _| node.close_journal(live));
            }
        }
        let trouble = Some(error.to_string());
        self.host.durability.set_disk(Disk { bytes: self.storage.live_bytes(), trouble });
        if self.failing {
            return;
        }
        self.failing = true;
        self.host.enter(Node::handle_disk_failed);
        if self.refuses {
            error!(%error, "disk failure: reports are refused until it accepts writes again");
            self.host.durability.set_mode(Mode::Refused);
        } else {
            error!(%error, "disk failure: reports are kept in memory only until it accepts writes again");
            self.host.durability.set_mode(Mode::Memory);
        }
    }

    fn recovered(&mut self) {
        // Not before a file holds everything.
        if self.failing && self.live.is_some() && self.storage.is_sound() {
            self.failing = false;
            self.note_bytes();
            self.host.durability.set_mode(Mode::Durable);
            warn!("the disk accepts writes again, and all reports are written");
        }
    }

    fn note_bytes(&self) {
        let bytes = self.storage.live_bytes();
        if !self.failing {
            self.host.durability.set_disk(Disk { bytes, trouble: None });
        }
    }

    fn close(self) {
        if let Err(error) = self.storage.close() {
            warn!(%error, "cannot sync the data directory: a power cut may lose what was written last");
        }
    }
}
