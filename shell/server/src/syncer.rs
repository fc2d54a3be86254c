//! Makes files safe, and removes them, on a thread of its own: nobody waits for that whose answer need not.

use herd_store::Unsynced;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, Thread};
use tracing::warn;

/// The thread, and what it is doing.
#[derive(Debug)]
pub(crate) struct Syncer {
    orders: Sender<Order>,
    outcomes: Receiver<(Unsynced, io::Result<()>)>,
    is_busy: bool,
}

enum Order {
    Sync(File, Unsynced, Thread),
    Remove(PathBuf, Option<File>),
}

impl Syncer {
    /// Starts it. It ends with this value, after what it was told to do.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, taken) = channel();
        let (done, outcomes) = channel();
        let work = move || {
            for order in taken {
                match order {
                    Order::Sync(file, unsynced, waiting) => {
                        let outcome = file.sync_data();
                        if done.send((unsynced, outcome)).is_err() {
                            return;
                        }
                        waiting.unpark();
                    }
                    Order::Remove(path, file) => {
                        // The next start would remove it.
                        if let Err(error) = fs::remove_file(&path) {
                            warn!(path = %path.display(), %error, "an old file cannot be removed");
                        }
                        drop(file);
                    }
                }
            }
        };
        thread::Builder::new().name("syncer".into()).spawn(work)?;
        Ok(Self { orders, outcomes, is_busy: false })
    }

    /// Whether it is making a file safe: one at a time.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Has it make a file safe; this thread is unparked when it has.
    pub(crate) fn sync(&mut self, file: File, unsynced: Unsynced) -> io::Result<()> {
        let order = Order::Sync(file, unsynced, thread::current());
        self.orders.send(order).map_err(|_| ended())?;
        self.is_busy = true;
        Ok(())
    }

    /// Has it remove a file; `open` is closed with it.
    pub(crate) fn remove(&self, (path, open): (PathBuf, Option<File>)) -> io::Result<()> {
        self.orders.send(Order::Remove(path, open)).map_err(|_| ended())
    }

    /// What has become of making a file safe, if it is done.
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
    io::Error::other("the thread that makes files safe has ended")
}
