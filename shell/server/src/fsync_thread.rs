//! Syncs and removes files on a thread of its own, wherever no reply has to wait for it.

use herd_store::Unsynced;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, Thread};
use tracing::warn;

/// The thread, and what it is doing.
#[derive(Debug)]
pub(crate) struct FsyncThread {
    jobs: Sender<SyncJob>,
    outcomes: Receiver<(Unsynced, io::Result<()>)>,
    is_busy: bool,
}

enum SyncJob {
    Sync(File, Unsynced, Thread),
    Remove(PathBuf, Option<File>),
}

impl FsyncThread {
    /// Starts it. It ends with this value, after the jobs that it was given.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, queue) = channel();
        let (done, outcomes) = channel();
        let work = move || {
            for job in queue {
                match job {
                    SyncJob::Sync(file, unsynced, waiting) => {
                        let outcome = file.sync_data();
                        if done.send((unsynced, outcome)).is_err() {
                            return;
                        }
                        waiting.unpark();
                    }
                    SyncJob::Remove(path, file) => {
                        // The next start would remove it.
                        if let Err(error) = fs::remove_file(&path) {
                            warn!(path = %path.display(), %error, "an old file cannot be removed");
                        }
                        drop(file);
                    }
                }
            }
        };
        thread::Builder::new().name("fsync".into()).spawn(work)?;
        Ok(Self { jobs, outcomes, is_busy: false })
    }

    /// Whether it is syncing a file: one at a time.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Has it sync a file; this thread is unparked when it is done.
    pub(crate) fn sync(&mut self, file: File, unsynced: Unsynced) -> io::Result<()> {
        let job = SyncJob::Sync(file, unsynced, thread::current());
        self.jobs.send(job).map_err(|_| ended())?;
        self.is_busy = true;
        Ok(())
    }

    /// Has it remove a file; `open` is closed with it.
    pub(crate) fn remove(&self, (path, open): (PathBuf, Option<File>)) -> io::Result<()> {
        self.jobs.send(SyncJob::Remove(path, open)).map_err(|_| ended())
    }

    /// How the last sync ended, if it has.
    pub(crate) fn outcome(&mut self) -> io::Result<Option<(Unsynced, io::Result<()>)>> {
        if !self.is_busy {
            return Ok(None);
        }
        match self.outcomes.try_recv() {
            Ok(done) => {
                self.is_busy = false;
                Ok(Some(done))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that syncs files has ended")
}
