//! Quotas: some processes share a part of one core, as containers with a quota do.
//!
//! Where a control group may be made, the kernel shares out the time; elsewhere all of them are stopped and continued
//! in turns of a tenth of a second, as the kernel does it with those who have used up their quota.

use crate::process::send;
use anyhow::{Context as _, Result};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Processor time that processes share. Ends with this value.
#[derive(Debug)]
pub(crate) struct Quota(Manner);

#[derive(Debug)]
enum Manner {
    Group(PathBuf),
    Turns { pids: Arc<Mutex<Vec<u32>>>, ended: Arc<AtomicBool>, thread: Option<JoinHandle<()>> },
}

/// What the quota is a part of.
const PERIOD: Duration = Duration::from_millis(100);

impl Quota {
    /// So much of each tenth of a second.
    pub(crate) fn new(share: Duration) -> Self {
        Self(group(share).map_or_else(|| turns(share), Manner::Group))
    }

    /// How it is done, for people.
    pub(crate) fn manner(&self) -> &'static str {
        match self.0 {
            Manner::Group(_) => "a control group",
            Manner::Turns { .. } => "stopped and continued in turns",
        }
    }

    /// From now on the process shares it.
    pub(crate) fn admit(&self, pid: u32) -> Result<()> {
        match &self.0 {
            Manner::Group(dir) => fs::write(dir.join("cgroup.procs"), pid.to_string())
                .with_context(|| format!("cannot put a process into {}", dir.display())),
            Manner::Turns { pids, .. } => {
                pids.lock().unwrap_or_else(PoisonError::into_inner).push(pid);
                Ok(())
            }
        }
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        match &mut self.0 {
            Manner::Group(dir) => {
                // Not while processes are in it; it is empty then, and takes nothing.
                let _left = fs::remove_dir(dir);
            }
            Manner::Turns { ended, thread, .. } => {
                ended.store(true, Relaxed);
                // A panic there has been told.
                let _told = thread.take().map(JoinHandle::join);
            }
        }
    }
}

/// A control group of this quota, of either version, if one may be made.
fn group(share: Duration) -> Option<PathBuf> {
    let name = format!("herd-bench-{}", std::process::id());
    let (share, period) = (share.as_micros(), PERIOD.as_micros());
    let first =
        [("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", share.to_string())];
    let second = [("cpu.max", format!("{share} {period}"))];
    let made = |parent: &str, files: &[(&str, String)]| {
        let dir = Path::new(parent).join(&name);
        fs::create_dir(&dir).ok()?;
        let written = files.iter().all(|(file, text)| set(&dir.join(file), text).is_some());
        if written {
            return Some(dir);
        }
        // It was made above and nothing is in it.
        let _left = fs::remove_dir(&dir);
        None
    };
    made("/sys/fs/cgroup/cpu", &first).or_else(|| made("/sys/fs/cgroup", &second))
}

/// Writes to a file that is there.
fn set(file: &Path, text: &str) -> Option<()> {
    file.exists().then(|| fs::write(file, text).ok()).flatten()
}

fn turns(share: Duration) -> Manner {
    let (pids, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let (stopped, over) = (pids.clone(), ended.clone());
    let thread = std::thread::spawn(move || {
        let all = |signal| {
            let pids: Vec<u32> = stopped.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for pid in pids {
                // It may have ended.
                let _gone = send(pid, signal);
            }
        };
        while !over.load(Relaxed) {
            crate::machine::pass(share);
            all(Signal::STOP);
            crate::machine::pass(PERIOD.saturating_sub(share));
            all(Signal::CONT);
        }
    });
    Manner::Turns { pids, ended, thread: Some(thread) }
}
