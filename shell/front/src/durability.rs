//! Which replies may go out: those whose reports are written down, where a server keeps them.
//!
//! Updates are counted by [`position`](herd_node::Node::position). Whoever owes a reply asks whether its
//! position is safe, and is woken when more is. Left out: writing, which is the keeper's.

use crate::sync::{AtomicU64, Mutex};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::task::{Context, Waker};
use std::thread::Thread;

/// What replies wait for.
#[derive(Debug)]
pub struct Durability {
    /// Everything up to here is safe; all there ever is where nobody need wait.
    safe: AtomicU64,
    /// [`Mode`], as a number.
    mode: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    keeper: OnceLock<Thread>,
    disk: Mutex<Disk>,
}

/// How the disk is, where reports are written down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes of the file that counts.
    pub bytes: u64,
    /// Why it takes nothing now.
    pub trouble: Option<String>,
}

/// What is done about reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are kept in memory only, as was asked for, or because the disk fails and that was allowed.
    Memory,
    /// They are written down before they are answered.
    Durable,
    /// They are refused: the disk fails.
    Refused,
}

impl Default for Durability {
    fn default() -> Self {
        Self {
            safe: AtomicU64::new(0),
            mode: AtomicU64::new(Mode::Memory.number()),
            waiting: Mutex::default(),
            keeper: OnceLock::new(),
            disk: Mutex::default(),
        }
    }
}

impl Mode {
    fn number(self) -> u64 {
        match self {
            Self::Memory => 0,
            Self::Durable => 1,
            Self::Refused => 2,
        }
    }
}

impl Durability {
    /// What is done about reports now.
    pub fn mode(&self) -> Mode {
        match self.mode.load(Acquire) {
            0 => Mode::Memory,
            1 => Mode::Durable,
            _ => Mode::Refused,
        }
    }

    /// From now on reports are treated so.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode.number(), Release);
        // Whoever waits need not, or waits for longer.
        self.wake();
    }

    /// Whether a reply need not wait for this position.
    pub fn is_safe(&self, position: u64) -> bool {
        position <= self.safe.load(Acquire) || self.mode() == Mode::Memory
    }

    /// The same; if not, the task is woken when more is safe.
    pub fn poll_safe(&self, position: u64, cx: &mut Context<'_>) -> bool {
        if self.is_safe(position) {
            return true;
        }
        self.waiting.lock().push(cx.waker().clone());
        // What has become safe since the first look woke nobody.
        self.is_safe(position)
    }

    /// Everything up to this position is safe.
    pub fn note_safe(&self, position: u64) {
        self.safe.store(position, Release);
        self.wake();
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for waker in waiting {
            waker.wake();
        }
    }

    /// How the disk is; none where nothing is written down.
    pub fn disk(&self) -> Option<Disk> {
        self.keeper.get().map(|_| self.disk.lock().clone())
    }

    /// That is how the disk is.
    pub fn set_disk(&self, disk: Disk) {
        *self.disk.lock() = disk;
    }

    /// This thread writes things down; it is unparked when there is something.
    pub fn set_keeper(&self, keeper: Thread) {
        // There is one keeper a process.
        let _second = self.keeper.set(keeper);
    }

    /// There is something to write down.
    pub fn ring(&self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }
}
