//! The platter as a file system of the kernel: what a process does to its files goes there, and takes time.
//!
//! At a cut everything stands still: what was under way is held, neither done nor answered, until the processes
//! were told to end; what they are told then nobody hears.

use crate::chance::Chance;
use crate::guard::{Mounted, pause};
use crate::platter::{Kind, Platter, ROOT, Refusal};
use anyhow::{Context as _, Result};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nothing is kept by the kernel: after a cut all may be otherwise.
const TTL: Duration = Duration::ZERO;

/// The name of threads that make something safe.
pub(crate) const DISK_THREAD: &str = "platter";

/// A disk that is mounted. Dropping it unmounts it.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
    shared: Arc<Shared>,
    // Unmounted by the first, joined by the second.
    _mounted: Mounted,
    _session: BackgroundSession,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    stands: Condvar,
}

struct State {
    platter: Platter,
    power: Power,
    /// The cut comes by itself at the so manieth thing of this kind.
    cut_at: Option<(Cut, usize)>,
    held: Vec<Box<dyn FnOnce() + Send>>,
    syncs: Vec<Sync>,
    sync_ms_max: usize,
    chance: Chance,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("power", &self.power).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// It went at this moment; whoever asks is held.
    Gone(Instant),
    /// The same, and whoever asks is about to end.
    Off,
}

/// What is counted until a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything that changes something, or makes it safe.
    Change,
    /// What changes names, or makes them safe.
    Name,
}

/// When a file or directory was being made safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sync {
    pub(crate) begun: Instant,
    pub(crate) ended: Option<Instant>,
}

/// Why no such disk can be mounted here, if so.
pub(crate) fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount a disk of ours".to_owned());
    }
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    opened.err().map(|error| format!("/dev/fuse cannot be opened: {error}"))
}

impl Disk {
    /// Mounts an empty disk at a directory.
    pub(crate) fn mount(path: &Path, chance: Chance) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let state = State {
            platter: Platter::new(),
            power: Power::On,
            cut_at: None,
            held: Vec::new(),
            syncs: Vec::new(),
            sync_ms_max: 0,
            chance,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), stands: Condvar::new() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("herd-torture".to_owned())];
        let session = fuser::spawn_mount(Files(shared.clone()), path, &config);
        let session = session.with_context(|| format!("cannot mount at {}", path.display()))?;
        let release = {
            let shared = shared.clone();
            Box::new(move || shared.let_go())
        };
        let mounted = Mounted::note(path, Some(release));
        Ok(Self { path: path.to_owned(), shared, _mounted: mounted, _session: session })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on making safe takes up to so long.
    pub(crate) fn set_sync_ms_max(&self, sync_ms_max: usize) {
        self.shared.lock().sync_ms_max = sync_ms_max;
    }

    /// The power goes at the so manieth thing of this kind from now on.
    pub(crate) fn cut_at(&self, cut: Cut, count: usize) {
        self.shared.lock().cut_at = Some((cut, count));
    }

    /// The power goes now, unless it has gone already; when it went.
    pub(crate) fn cut(&self) -> Instant {
        let mut state = self.shared.lock();
        if state.power == Power::On {
            self.shared.stand_still(&mut state);
        }
        match state.power {
            Power::Gone(at) => at,
            Power::On | Power::Off => Instant::now(),
        }
    }

    /// Waits until the power has gone by itself; false if it has not within this.
    pub(crate) fn is_cut_within(&self, within: Duration) -> bool {
        let state = self.shared.lock();
        let waited =
            self.shared.stands.wait_timeout_while(state, within, |state| state.power == Power::On);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.power != Power::On
    }

    /// Whoever waits for the disk ends now: to be called once they were told to.
    pub(crate) fn let_go(&self) {
        self.shared.let_go();
    }

    /// The power comes back, when no process is left; what was making safe since it came the last time.
    pub(crate) fn power_on(&self) -> Vec<Sync> {
        let mut state = self.shared.lock();
        let State { platter, chance, .. } = &mut *state;
        platter.power_is_cut(chance);
        state.power = Power::On;
        state.cut_at = None;
        std::mem::take(&mut state.syncs)
    }

    /// An empty disk in its place, when no process is left.
    pub(crate) fn replace(&self) {
        self.shared.lock().platter = Platter::new();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand_still(&self, state: &mut State) {
        state.power = Power::Gone(Instant::now());
        self.stands.notify_all();
    }

    fn let_go(&self) {
        let held = {
            let mut state = self.lock();
            if state.power == Power::On {
                return;
            }
            state.power = Power::Off;
            std::mem::take(&mut state.held)
        };
        for reply in held {
            reply();
        }
    }
}

/// Whether a thing is done, and whether anybody hears of it.
enum Turn {
    Done,
    /// It is done, and then the power goes.
    LastDone,
    /// The power has gone before.
    Held,
    Refused,
}

impl State {
    fn turn(&mut self, what: Option<Cut>, shared: &Shared) -> Turn {
        match self.power {
            Power::Gone(_) => return Turn::Held,
            Power::Off => return Turn::Refused,
            Power::On => {}
        }
        let counts = |cut: Cut| what == Some(Cut::Name) || what == Some(cut);
        let Some((_, left)) = self.cut_at.as_mut().filter(|(cut, _)| counts(*cut)) else {
            return Turn::Done;
        };
        if *left > 0 {
            *left -= 1;
            return Turn::Done;
        }
        shared.stand_still(self);
        if self.chance.one_in(2) { Turn::LastDone } else { Turn::Held }
    }
}

/// A reply that can say no.
trait Reply: Send + 'static {
    fn no(self, error: Errno);
}

macro_rules! replies {
    ($($name:ident),*) => {
        $(impl Reply for $name {
            fn no(self, error: Errno) {
                self.error(error);
            }
        })*
    };
}

replies!(ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyWrite);

/// What the kernel asks.
#[derive(Debug)]
struct Files(Arc<Shared>);

impl Files {
    /// Does something and answers, unless the power has gone.
    fn answer<T, R: Reply>(
        &self,
        what: Option<Cut>,
        reply: R,
        act: impl FnOnce(&mut State) -> Result<T, Refusal>,
        say: impl FnOnce(R, T),
    ) {
        let mut state = self.0.lock();
        let turn = state.turn(what, &self.0);
        let done = match turn {
            Turn::Done | Turn::LastDone => act(&mut state),
            Turn::Held => Err(Refusal::Missing),
            Turn::Refused => return reply.no(Errno::EIO),
        };
        if matches!(turn, Turn::Held | Turn::LastDone) {
            state.held.push(Box::new(move || reply.no(Errno::EIO)));
            return;
        }
        drop(state);
        match done {
            Ok(done) => say(reply, done),
            Err(Refusal::Missing) => reply.no(Errno::ENOENT),
            Err(Refusal::WrongKind) => reply.no(Errno::EINVAL),
        }
    }

    /// Makes something safe, which takes a while: others go on meanwhile.
    fn make_safe(&self, number: u64, cut: Cut, reply: ReplyEmpty) {
        let begun = |state: &mut State| {
            state.syncs.push(Sync { begun: Instant::now(), ended: None });
            // Mostly soon, at times late.
            let max =
                if state.chance.one_in(4) { state.sync_ms_max } else { state.sync_ms_max / 8 };
            let takes = state.chance.millis(0, max);
            Ok((state.syncs.len() - 1, state.platter.mark(), takes))
        };
        let shared = self.0.clone();
        self.answer(Some(cut), reply, begun, move |reply, (place, mark, takes)| {
            let named = std::thread::Builder::new().name(DISK_THREAD.to_owned());
            // Without it the reply goes unsaid, which the kernel hears as a failure.
            let _unspawned = named.spawn(move || {
                pause(takes);
                let end = |state: &mut State| {
                    state.platter.make_safe(number, mark);
                    if let Some(sync) = state.syncs.get_mut(place) {
                        sync.ended = Some(Instant::now());
                    }
                    Ok(())
                };
                Self(shared).answer(Some(cut), reply, end, |reply, ()| reply.ok());
            });
        });
    }
}

fn attributes(state: &State, number: u64) -> Result<FileAttr, Refusal> {
    let (kind, perm, size) = match state.platter.kind(number)? {
        Kind::File(bytes) => (FileType::RegularFile, 0o600, bytes as u64),
        Kind::Dir => (FileType::Directory, 0o700, 0),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

fn text(name: &OsStr) -> Result<&str, Refusal> {
    name.to_str().ok_or(Refusal::WrongKind)
}

fn place(offset: u64) -> Result<usize, Refusal> {
    usize::try_from(offset).map_err(|_| Refusal::WrongKind)
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let look = |state: &mut State| {
            let number = state.platter.find(parent.0, text(name)?)?;
            attributes(state, number)
        };
        self.answer(None, reply, look, |reply, attr| reply.entry(&TTL, &attr, Generation(0)));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let look = |state: &mut State| attributes(state, ino.0);
        self.answer(None, reply, look, |reply, attr| reply.attr(&TTL, &attr));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = |state: &mut State| {
            if let Some(size) = size {
                state.platter.truncate(ino.0, place(size)?)?;
            }
            attributes(state, ino.0)
        };
        let what = size.is_some().then_some(Cut::Change);
        self.answer(what, reply, set, |reply, attr| reply.attr(&TTL, &attr));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let make = |state: &mut State| {
            let number = state.platter.add_dir(parent.0, text(name)?)?;
            attributes(state, number)
        };
        let what = Some(Cut::Name);
        self.answer(what, reply, make, |reply, attr| reply.entry(&TTL, &attr, Generation(0)));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let make = |state: &mut State| {
            let number = state.platter.add_file(parent.0, text(name)?)?;
            attributes(state, number)
        };
        self.answer(Some(Cut::Name), reply, make, |reply, attr| {
            reply.created(&TTL, &attr, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = |state: &mut State| state.platter.remove(parent.0, text(name)?);
        self.answer(Some(Cut::Name), reply, remove, |reply, ()| reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != new_parent {
            return reply.error(Errno::EXDEV);
        }
        let rename =
            |state: &mut State| state.platter.rename(parent.0, text(name)?, text(new_name)?);
        self.answer(Some(Cut::Name), reply, rename, |reply, ()| reply.ok());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |state: &mut State| {
            let (from, count) = (place(offset)?, place(u64::from(size))?);
            Ok(state.platter.read(ino.0, from, count)?.to_owned())
        };
        self.answer(None, reply, read, |reply, bytes| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = |state: &mut State| {
            state.platter.write(ino.0, place(offset)?, data)?;
            // The kernel asks for no more at a time.
            u32::try_from(data.len()).map_err(|_| Refusal::WrongKind)
        };
        self.answer(Some(Cut::Change), reply, write, ReplyWrite::written);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.make_safe(ino.0, Cut::Change, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.make_safe(ino.0, Cut::Name, reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let list = |state: &mut State| {
            let names = state.platter.list(ino.0)?;
            let known = |(name, number)| {
                let kind = state.platter.kind(number)?;
                let kind =
                    if kind == Kind::Dir { FileType::Directory } else { FileType::RegularFile };
                Ok((name, number, kind))
            };
            names.into_iter().map(known).collect::<Result<Vec<_>, _>>()
        };
        self.answer(None, reply, list, |mut reply, names| {
            let dots = [".", ".."].map(|name| (name.to_owned(), ROOT, FileType::Directory));
            let all = (1_u64..).zip(dots.into_iter().chain(names));
            for (next, (name, number, kind)) in all.filter(|(next, _)| *next > offset) {
                if reply.add(INodeNo(number), next, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCKS: u64 = 1 << 20;
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}
