//! Writes down what the node knows: one thread, one file at a time.
//!
//! All that waited is written in one go (group commit), then the replies that waited for it go out. When
//! the file has grown to nearly twice what it began with, a new one is begun from what is known, in slices
//! between the others' turns. Making files safe takes as long as it takes, so another thread does
//! it wherever no answer waits for that.

use crate::config::Fsync;
use crate::disk::OsDisk;
use crate::growth::{Growth, NEXT_SHARE};
use crate::syncer::Syncer;
use herd_front::{Disk, Host, Mode};
use herd_node::{JournalId, Journaled, Node, Told};
use herd_store::{Batch, Line, Part, Storage, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Taken from the node in one go, under its lock: some tens of microseconds.
const SLICE_BYTES: usize = 32 * 1024;

/// Written in one go at most, so that memory stays flat however much waits.
const WRITE_BYTES: usize = 8 * 1024 * 1024;

/// The same while a new file is written, which gets a multiple of it between two of these.
const WRITE_BESIDE_BYTES: usize = 64 * 1024;

/// A new file is made safe piece by piece while it is written: a disk that has to take all of it at once
/// lets nobody else through for long.
const NEXT_SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// So little of a new file is made safe while others wait, to come to an end...
const LAST_SYNC_BYTES: u64 = 1024 * 1024;

/// ...and whatever is left after so many tries: what comes in meanwhile may always be more.
const LAPS_MAX: u32 = 4;

/// After what the disk refused it is asked again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What a keeper is started with.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub(crate) storage: Storage<OsDisk>,
    /// The journal that goes on where the file ends; none if a file must be begun.
    pub(crate) live: Option<JournalId>,
    pub(crate) fsync: Fsync,
    /// Whether reports are refused while the disk fails.
    pub(crate) refuses: bool,
    pub(crate) growth: Growth,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Keeper {
    /// Starts it.
    pub(crate) fn start(host: Arc<Host>, keeping: Keeping) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let syncer = Syncer::start()?;
        // What was read is safe, and nothing will say so again: a reply to what is not news waits for no more.
        host.durability.note_safe(host.enter(|node, _| node.safe_position()));
        host.durability.set_mode(Mode::Durable);
        let thread = thread::Builder::new().name("keeper".into()).spawn({
            let stop = stop.clone();
            let Keeping { storage, live, fsync, refuses, growth } = keeping;
            let work = Work {
                growth,
                host,
                storage,
                syncer,
                live,
                next: None,
                laps: 0,
                fsync,
                refuses,
                batch: Batch::default(),
                written: Told::default(),
                syncing: None,
                unsynced_since: None,
                failing: false,
            };
            move || work.run(&stop)
        })?;
        Ok(Self { thread, stop })
    }

    /// Writes what is left and says that nothing is missing. Only when the node takes nothing any more.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            error!(
                "what was written last may be missing after the next start: the keeper ended early"
            );
        }
    }
}

struct Work {
    host: Arc<Host>,
    storage: Storage<OsDisk>,
    syncer: Syncer,
    live: Option<JournalId>,
    next: Option<JournalId>,
    /// How often the next file was made safe up to its end, which has moved on since.
    laps: u32,
    fsync: Fsync,
    refuses: bool,
    batch: Batch,
    /// What the file that counts was told.
    written: Told,
    /// The same of what is being made safe of it.
    syncing: Option<Told>,
    unsynced_since: Option<Instant>,
    growth: Growth,
    failing: bool,
}

impl Work {
    fn run(mut self, stop: &AtomicBool) {
        self.host.durability.set_keeper(thread::current());
        loop {
            // Looked at first: what comes before the end is written.
            let stopping = stop.load(Ordering::Acquire);
            let outcome = self.turn(stopping);
            let busy = match outcome {
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
            // Whoever makes a file safe rings when it has.
            match self.fsync_due().filter(|_| !self.syncer.is_busy()) {
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
        }
    }

    /// Writes what there is; true if there may be more.
    fn turn(&mut self, stopping: bool) -> Result<bool, WriteError> {
        let mut busy = false;
        let mut written = 0;
        if let Some((unsynced, outcome)) = self.syncer.outcome()? {
            let synced = self.syncing.take().filter(|_| outcome.is_ok());
            self.storage.end_sync(&unsynced, outcome)?;
            if let Some(synced) = synced {
                self.host.enter(|node, _| node.handle_lasting(&synced));
            }
        }
        if let Some(live) = self.live.filter(|_| self.storage.is_sound()) {
            let bytes = if self.next.is_some() { WRITE_BESIDE_BYTES } else { WRITE_BYTES };
            if let Some(told) = self.collect(live, bytes) {
                written = self.batch.len();
                busy |= !told.is_all;
                self.write(told)?;
            } else {
                // The node has taken a new life, and issued all it knows anew. The next start must not go on
                // with the one that others know more of.
                let incarnation = self.host.enter(|node, _| node.incarnation());
                self.storage.renew_life(incarnation)?;
                (self.live, self.next) = (None, None);
            }
        }
        if self.live.is_none() && self.next.is_none() {
            self.begin()?;
        }
        if self.fsync_due().is_some_and(|due| due <= Instant::now()) && !self.syncer.is_busy() {
            self.unsynced_since = None;
            self.have_synced(Part::Live)?;
        }
        if self.next.is_none() && self.growth.is_long(self.storage.live_bytes()) {
            self.begin()?;
        }
        if let Some(next) = self.next {
            // At the end, and where nobody can be answered before, in one.
            let at_once = stopping || self.live.is_none();
            let slice = SLICE_BYTES.max(NEXT_SHARE * written).min(WRITE_BYTES);
            busy |= self.go_on(next, if at_once { WRITE_BYTES } else { slice }, at_once)?;
        }
        Ok(busy)
    }

    /// Takes records from the node, in slices; what is in the batch is told.
    fn collect(&mut self, journal: JournalId, bytes_max: usize) -> Option<Told> {
        loop {
            let batch = &mut self.batch;
            let until = (batch.len() + SLICE_BYTES).min(bytes_max);
            let told = self.host.enter(|node, _| {
                node.poll_journal(journal, |journaled: &Journaled<'_>| {
                    batch.push(&Line::Of(*journaled));
                    batch.len() < until
                })
            })?;
            if told.is_all || self.batch.len() >= bytes_max {
                return Some(told);
            }
        }
    }

    fn write(&mut self, told: Told) -> Result<(), WriteError> {
        if !self.batch.is_empty() {
            self.admit()?;
            self.storage.append(Part::Live, &mut self.batch)?;
            self.batch.clear();
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.written = told;
        if self.fsync == Fsync::Always {
            self.unsynced_since = None;
            self.storage.sync(Part::Live)?;
        }
        // With an interval it lasts once the other thread has made it safe; else it is as safe as it will be.
        let lasts = !matches!(self.fsync, Fsync::Every(_));
        let written = &self.written;
        self.host.enter(|node, now| {
            node.handle_journaled(written, now);
            if lasts {
                node.handle_lasting(written);
            }
        });
        Ok(())
    }

    /// Has the other thread make a file safe, if there is anything to.
    fn have_synced(&mut self, part: Part) -> Result<(), WriteError> {
        if let Some(unsynced) = self.storage.start_sync(part)? {
            let file = self.storage.disk().handle(&unsynced.name)?;
            self.syncer.sync(file, unsynced)?;
            self.syncing = (part == Part::Live).then(|| self.written.clone());
        }
        Ok(())
    }

    fn fsync_due(&self) -> Option<Instant> {
        match self.fsync {
            Fsync::Every(interval) => self.unsynced_since.map(|since| since + interval),
            Fsync::Always | Fsync::Os => None,
        }
    }

    /// Whether there may be so many bytes as there are with the batch.
    fn admit(&self) -> std::io::Result<()> {
        let files = self.storage.live_bytes() + self.storage.next_bytes().unwrap_or(0);
        self.growth.admit(files + self.batch.len() as u64)
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        self.storage.begin()?;
        self.laps = 0;
        self.next = Some(self.host.enter(|node, _| node.open_journal()));
        Ok(())
    }

    /// True if it can be gone on with at once.
    fn go_on(&mut self, next: JournalId, bytes: usize, at_once: bool) -> Result<bool, WriteError> {
        let outcome = self.try_to_go_on(next, bytes, at_once);
        if outcome.is_err() {
            self.batch.clear();
            self.host.enter(|node, _| node.close_journal(next));
            self.next = None;
            // So much it would have needed at least.
            let needed = self.storage.next_bytes().unwrap_or(0);
            self.growth.base_bytes = self.growth.base_bytes.max(needed);
            // The disk that refused this may refuse that too; the next file of this name replaces it.
            let _left_over = self.storage.give_up_next();
        }
        outcome
    }

    fn try_to_go_on(
        &mut self,
        next: JournalId,
        bytes: usize,
        at_once: bool,
    ) -> Result<bool, WriteError> {
        let Some(told) = self.collect(next, bytes) else { return Err(WriteError::NoFile) };
        if !self.batch.is_empty() {
            self.admit()?;
            self.storage.append(Part::Next, &mut self.batch)?;
            self.batch.clear();
        }
        if !at_once {
            let left = self.storage.next_unsafe_bytes().unwrap_or(0);
            let is_last = told.is_all && (left <= LAST_SYNC_BYTES || self.laps >= LAPS_MAX);
            let is_piece = told.is_all || left >= NEXT_SYNC_BYTES;
            if !is_last && is_piece && !self.syncer.is_busy() {
                self.laps += u32::from(told.is_all);
                self.have_synced(Part::Next)?;
            }
            if !is_last {
                return Ok(!told.is_all);
            }
        }
        if !told.is_all {
            return Ok(true);
        }
        self.storage.complete()?;
        self.next = None;
        self.growth.base_bytes = self.storage.live_bytes();
        self.unsynced_since = None;
        let old = self.live.replace(next);
        self.written = told;
        let written = &self.written;
        self.host.enter(|node, now| {
            if let Some(old) = old {
                node.close_journal(old);
            }
            node.handle_journaled(written, now);
            node.handle_lasting(written);
        });
        if let Err(error) = self.tidy() {
            warn!(%error, "old files cannot be removed; the next time that one is replaced it is tried again");
        }
        info!(bytes = self.growth.base_bytes, "reports are written down anew, in less space");
        Ok(false)
    }

    fn tidy(&mut self) -> std::io::Result<()> {
        for name in self.storage.surplus()? {
            let file = self.storage.disk_mut().let_go(&name);
            self.syncer.remove(file)?;
        }
        Ok(())
    }

    fn failed(&mut self, error: &WriteError) {
        // What was taken from the live journal and not written is in the batch still, and is written first;
        // if the file is not gone on with, a new one holds it.
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
            error!(%error, "the disk fails: reports are refused until it takes them again");
            self.host.durability.set_mode(Mode::Refused);
        } else {
            error!(%error, "the disk fails: reports are kept in memory only until it takes them again");
            self.host.durability.set_mode(Mode::Memory);
        }
    }

    fn recovered(&mut self) {
        // Not before a file holds everything.
        if self.failing && self.live.is_some() && self.storage.is_sound() {
            self.failing = false;
            self.note_bytes();
            self.host.durability.set_mode(Mode::Durable);
            warn!("the disk takes reports again, and all are written down");
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
            warn!(%error, "the data directory was not closed: the next start takes it as after a crash");
        }
    }
}
