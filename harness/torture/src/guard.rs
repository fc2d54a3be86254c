//! What must not outlive this program: processes, mounts, files.
//!
//! Each is known here from its beginning, and ends with the value that stands for it, with a panic, or with a
//! signal. What a run left behind that was killed itself is removed by the next one.

use crate::TORTURE;
use anyhow::{Context as _, Result, ensure};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::park_timeout;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());
static MOUNTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static SCRATCHES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What lets those go who wait for a disk of ours: whoever waits for one cannot even be killed.
static RELEASES: Mutex<Vec<Release>> = Mutex::new(Vec::new());

type Release = (PathBuf, Box<dyn Fn() + Send>);

/// A process that was killed is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

fn lock<T>(all: &'static Mutex<T>) -> MutexGuard<'static, T> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits. A thread that others have told to go on before would not, the first time.
pub(crate) fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) =
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        park_timeout(left);
    }
}

/// A process for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn start(
        command: &mut Command,
    ) -> Result<(Self, Option<std::process::ChildStdout>)> {
        let mut running = lock(&RUNNING);
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take();
        let id = child.id();
        running.push(child);
        Ok((Self(id), stdout))
    }

    /// As in `/proc`.
    pub(crate) fn id(&self) -> u32 {
        self.0
    }

    /// Sends it a signal, if it has not ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let mut running = lock(&RUNNING);
        let Some(child) = running.iter_mut().find(|child| child.id() == self.0) else {
            return Ok(());
        };
        if child.try_wait()?.is_none() {
            kill_process(Pid::from_child(child), signal)?;
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut running = lock(&RUNNING);
        let child = running.iter_mut().find(|child| child.id() == self.0);
        Ok(child.context("it was waited for")?.try_wait()?)
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "a process does not end within {within:?}");
            pause(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither fails for a child of ours that was not waited for.
        let _killed = self.signal(Signal::KILL);
        let _gone = self.wait(GONE_WITHIN);
        lock(&RUNNING).retain(|child| child.id() != self.0);
    }
}

/// A directory for everything of one row; it goes with this value.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let prefix = format!("{TORTURE}-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir()?;
        lock(&SCRATCHES).push(dir.path().to_owned());
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves its files for somebody to look at.
    pub(crate) fn keep(&mut self) {
        self.0.disable_cleanup(true);
        lock(&SCRATCHES).retain(|dir| dir != self.0.path());
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        lock(&SCRATCHES).retain(|dir| dir != self.0.path());
    }
}

/// Something mounted, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// To be called once it is mounted. `release` is called before processes are waited for.
    pub(crate) fn note(path: &Path, release: Option<Box<dyn Fn() + Send>>) -> Self {
        lock(&MOUNTS).push(path.to_owned());
        lock(&RELEASES).extend(release.map(|release| (path.to_owned(), release)));
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may be gone, or go when its last user does.
        let _gone = unmount(&self.0, UnmountFlags::DETACH);
        lock(&MOUNTS).retain(|path| *path != self.0);
        lock(&RELEASES).retain(|(path, _)| *path != self.0);
    }
}

/// Sees to it that nothing outlives this process.
pub(crate) fn guard() -> Result<()> {
    sweep();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        end_all();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        INTERRUPTED.store(true, Relaxed);
        end_all();
        std::process::exit(130);
    });
    Ok(())
}

/// Whether a signal ends this process: what fails then is no fault of a server's.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Relaxed)
}

/// Ends every process, unmounts everything, removes all files.
pub(crate) fn end_all() {
    let mut running = lock(&RUNNING);
    for child in running.iter_mut() {
        // It may have ended by itself.
        let _gone = child.kill();
    }
    for (_, release) in lock(&RELEASES).iter() {
        release();
    }
    let deadline = Instant::now() + GONE_WITHIN;
    for child in running.iter_mut() {
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            pause(PAUSE);
        }
    }
    for path in lock(&MOUNTS).drain(..) {
        let _gone = unmount(&path, UnmountFlags::DETACH);
    }
    for dir in lock(&SCRATCHES).drain(..) {
        // What cannot be removed is left to the next run.
        let _left = fs::remove_dir_all(dir);
    }
}

/// Removes what runs left behind whose process is no more.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_prefix(TORTURE).and_then(|rest| rest.split('-').nth(1));
        let Some(process) = number.and_then(|number| number.parse::<u32>().ok()) else { continue };
        if Path::new("/proc").join(process.to_string()).exists() {
            continue;
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mounted in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if Path::new(mounted).starts_with(&path) {
                let _gone = unmount(mounted, UnmountFlags::DETACH);
            }
        }
        let _left = fs::remove_dir_all(&path);
    }
}
