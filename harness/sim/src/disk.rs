//! The directories that nodes write to, and what is done to them.

use crate::history::Sim;
use crate::plan::{DiskPlan, Fsync};
use herd_store::{Disk, Failure, MemoryDisk};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

/// A disk that outlives whoever writes to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Rc<RefCell<MemoryDisk>>);

impl Shared {
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut MemoryDisk) -> T) -> T {
        change(&mut self.0.borrow_mut())
    }

    /// Another disk with the same on it.
    pub(crate) fn copied(&self) -> Self {
        Self(Rc::new(RefCell::new(self.0.borrow().clone())))
    }
}

impl Disk for Shared {
    fn names(&mut self) -> io::Result<Vec<String>> {
        self.with(MemoryDisk::names)
    }

    fn read(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|disk| disk.read(name, offset, buffer))
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|disk| disk.write(name, offset, bytes))
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.with(|disk| disk.truncate(name, length))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(|disk| disk.sync(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|disk| disk.rename(from, to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|disk| disk.remove(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.with(MemoryDisk::sync_names)
    }
}

/// A copy of a directory.
#[derive(Debug)]
struct Copied {
    disk: Shared,
    /// When it was made.
    at_ns: u64,
    /// What was written but not safe then is not safe in the copy either, whatever came of it here since.
    durable_ns: u64,
}

/// One node's directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) plan: DiskPlan,
    pub(crate) disk: Shared,
    /// Another one for a copy, and for a directory that is new: what a server sees of where it is.
    pub(crate) place: u64,
    /// It has said that something was safe that was not.
    has_lied: bool,
    /// As it was earlier.
    copy: Option<Copied>,
    /// What is written when acknowledged by now lasts.
    pub(crate) durable_ns: u64,
}

impl Directory {
    pub(crate) fn new(plan: DiskPlan, place: u64) -> Self {
        let has_lied = plan.lies;
        let directory =
            Self { plan, disk: Shared::default(), place, has_lied, copy: None, durable_ns: 0 };
        directory.disk.with(|disk| disk.lies = directory.plan.lies);
        directory
    }
}

/// What is done to a node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// So many bytes more, and it is full.
    Full(u64),
    /// It fails at the next change but so many, having done so much of it.
    Fails(u64, Failure),
    /// All is well again.
    Mended,
    /// From now on it says that things are safe that are not.
    Lies,
    /// A copy of the directory is kept.
    Copied,
    /// The copy takes its place, and the server that was there is killed.
    CopyRestored,
    /// It is lost, with the server; a new one is empty.
    Lost,
    /// A bit of it is another, found when the server starts again: it is killed.
    Damaged,
}

impl Sim {
    /// Does something to a node's disk. Nothing if it has none.
    pub(crate) fn trouble(&mut self, node: usize, trouble: Trouble) {
        if self.directories[node].is_none() {
            return;
        }
        if matches!(trouble, Trouble::CopyRestored | Trouble::Lost | Trouble::Damaged) {
            self.crash(node);
        }
        let now_ns = self.now_ns;
        let Some(directory) = &mut self.directories[node] else { return };
        let disk = directory.disk.clone();
        match trouble {
            Trouble::Full(more) => {
                self.report.disks.full += 1;
                disk.with(|disk| disk.bytes_max = Some(disk.bytes() + more));
            }
            Trouble::Fails(later, failure) => {
                disk.with(|disk| disk.fail_at = Some((disk.changes() + 1 + later, failure)));
            }
            Trouble::Mended => disk.with(|disk| (disk.bytes_max, disk.fail_at) = (None, None)),
            Trouble::Lies => {
                directory.has_lied = true;
                disk.with(|disk| disk.lies = true);
            }
            Trouble::Copied => {
                let durable_ns = directory.durable_ns;
                directory.copy = Some(Copied { disk: disk.copied(), at_ns: now_ns, durable_ns });
            }
            Trouble::CopyRestored => {
                let Some(Copied { disk, at_ns, durable_ns }) = directory.copy.take() else {
                    return;
                };
                self.report.disks.copies_restored += 1;
                (directory.disk, directory.durable_ns) = (disk, durable_ns);
                directory.disk.with(|disk| {
                    (disk.bytes_max, disk.fail_at, disk.lies) = (None, None, directory.has_lied);
                });
                self.places += 1;
                directory.place = self.places;
                self.oracle.void(node, at_ns);
                self.oracle.excuse_forgotten();
            }
            Trouble::Lost => {
                self.report.disks.lost += 1;
                self.places += 1;
                self.directories[node] = Some(Directory::new(directory.plan, self.places));
                self.oracle.void(node, 0);
            }
            Trouble::Damaged => {
                let chance = &mut self.chance;
                let flipped = disk.with(|disk| disk.flip_a_bit(|n| chance.index(n)));
                if let Some((name, at)) = flipped {
                    self.report.disks.damaged += 1;
                    self.note(|_| format!("  a bit of {name} at {at}"));
                    self.oracle.void(node, 0);
                    self.oracle.excuse_forgotten();
                }
            }
        }
    }

    /// Of whoever writes to a node's disk nothing is left but that; a write may end in the middle.
    pub(crate) fn kill_keeper(&mut self, node: usize) {
        let Some(keeper) = self.keepers[node].take() else { return };
        let Some(directory) = &self.directories[node] else { return };
        self.report.disks.kills += 1;
        keeper.end_midway(&directory.disk, &mut self.chance, &mut self.report.disks);
    }

    /// The power of a node is cut.
    pub(crate) fn cut_power(&mut self, node: usize) {
        self.crash(node);
        let Some(directory) = &mut self.directories[node] else { return };
        self.report.disks.power_cuts += 1;
        if directory.has_lied {
            // It may say still that the life before was closed, and the next would go on with numbers that were
            // given since. A whole server takes a new life when it hears of that (`--nodes` has it); here
            // nobody does, so the next life begins as in another place.
            self.places += 1;
            directory.place = self.places;
        }
        let chance = &mut self.chance;
        directory.disk.with(|disk| {
            disk.fail_at = None;
            disk.power_is_cut(|n| chance.index(n));
        });
        match directory.plan.fsync {
            Fsync::Always | Fsync::Every(_) if directory.has_lied => self.lose_all(node),
            Fsync::Always => {}
            Fsync::Every(_) => self.oracle.void(node, directory.durable_ns),
            Fsync::Never => self.lose_all(node),
        }
    }

    /// Nobody promised to keep anything of what a node has written. The others may have thrown away what they
    /// believed it to know.
    fn lose_all(&mut self, node: usize) {
        self.oracle.void(node, 0);
        self.oracle.excuse_forgotten();
    }
}
