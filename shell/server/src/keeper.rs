//! Writes down what the node knows: one thread, one file at a time.
//!
//! All that waited is written in one go (group commit), then the replies that waited for it go out. When
//! the file has grown to more than twice what it began with, a new one is begun from what is known, in
//! slices between the others' turns.

use crate::config::Fsync;
use crate::disk::OsDisk;
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

/// A file of less is not worth a new one.
const GROWTH_FREE_BYTES: u64 = 32 * 1024 * 1024;

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
    /// What a new file would begin with, about.
    pub(crate) base_bytes: u64,
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
        host.durability.set_mode(Mode::Durable);
        let thread = thread::Builder::new().name("keeper".into()).spawn({
            let stop = stop.clone();
            let Keeping { storage, live, fsync, refuses, base_bytes } = keeping;
            let work = Work {
                base_bytes,
                host,
                storage,
                live,
                next: None,
                fsync,
                refuses,
                batch: Batch::default(),
                written: Told::default(),
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
    live: Option<JournalId>,
    next: Option<JournalId>,
    fsync: Fsync,
    refuses: bool,
    batch: Batch,
    /// What the file that counts was told.
    written: Told,
    unsynced_since: Option<Instant>,
    /// Bytes that the file that counts began with.
    base_bytes: u64,
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
            match self.fsync_due() {
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
        }
    }

    /// Writes what there is; true if there may be more.
    fn turn(&mut self, stopping: bool) -> Result<bool, WriteError> {
        let mut busy = false;
        if let Some(live) = self.live.filter(|_| self.storage.is_sound()) {
            if let Some(told) = self.collect(live, WRITE_BYTES) {
                self.write(told)?;
                busy |= !told.is_all;
            } else {
                // The node has taken a new life, and issued all it knows anew.
                (self.live, self.next) = (None, None);
            }
        }
        if self.live.is_none() && self.next.is_none() {
            self.begin()?;
        }
        if self.fsync_due().is_some_and(|due| due <= Instant::now()) {
            self.sync()?;
        }
        if self.next.is_none()
            && self.storage.live_bytes() > 2 * self.base_bytes + GROWTH_FREE_BYTES
        {
            self.begin()?;
        }
        if let Some(next) = self.next {
            // In slices while the others have their turns; at the end, and where nobody can be answered
            // before, in one.
            let bytes = if stopping || self.live.is_none() { WRITE_BYTES } else { SLICE_BYTES };
            self.go_on(next, bytes)?;
            busy = true;
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
            self.storage.append(Part::Live, &mut self.batch)?;
            self.batch.clear();
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.written = told;
        if self.fsync == Fsync::Always {
            self.sync()?;
        }
        self.host.enter(|node, now| node.handle_journaled(told, now));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        if self.unsynced_since.take().is_some() {
            self.storage.sync(Part::Live)?;
        }
        Ok(())
    }

    fn fsync_due(&self) -> Option<Instant> {
        match self.fsync {
            Fsync::Every(interval) => self.unsynced_since.map(|since| since + interval),
            Fsync::Always | Fsync::Os => None,
        }
    }

    fn begin(&mut self) -> Result<(), WriteError> {
        self.storage.begin()?;
        self.next = Some(self.host.enter(|node, _| node.open_journal()));
        Ok(())
    }

    fn go_on(&mut self, next: JournalId, bytes: usize) -> Result<(), WriteError> {
        let outcome = self.try_to_go_on(next, bytes);
        if outcome.is_err() {
            self.batch.clear();
            self.host.enter(|node, _| node.close_journal(next));
            self.next = None;
            // The disk that refused this may refuse that too; the next file of this name replaces it.
            let _left_over = self.storage.give_up_next();
        }
        outcome
    }

    fn try_to_go_on(&mut self, next: JournalId, bytes: usize) -> Result<(), WriteError> {
        let Some(told) = self.collect(next, bytes) else { return Err(WriteError::NoFile) };
        self.storage.append(Part::Next, &mut self.batch)?;
        self.batch.clear();
        if !told.is_all {
            return Ok(());
        }
        self.storage.complete()?;
        self.next = None;
        self.base_bytes = self.storage.live_bytes();
        self.unsynced_since = None;
        let old = self.live.replace(next);
        self.written = told;
        self.host.enter(|node, now| {
            if let Some(old) = old {
                node.close_journal(old);
            }
            node.handle_journaled(told, now);
        });
        info!(bytes = self.base_bytes, "reports are written down anew, in less space");
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
