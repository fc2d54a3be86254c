//! Facts about the machine, without which no number means anything.

use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Where and of what a run was made.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    cores: usize,
    cpu: String,
    kernel: String,
    /// The commit that the tree was at, and whether it had changes beside.
    commit: String,
    dirty: bool,
    /// How this program was compiled, and with it the server beside it.
    profile: String,
    /// How busy the machine was before the run: processes ready to run, averaged over a minute.
    load: String,
    unix_s: u64,
}

impl Facts {
    pub(crate) fn gather() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = model.and_then(|line| line.split_once(": ")).map_or("?", |(_, model)| model);
        let loadavg = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: cpu.to_owned(),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "?".to_owned()),
            dirty: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
            profile: profile().unwrap_or_else(|| "?".to_owned()),
            load: loadavg.split(' ').next().unwrap_or("?").to_owned(),
            unix_s: since_1970.unwrap_or_default().as_secs(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { cores, cpu, kernel, commit, dirty, profile, load, unix_s } = self;
        json!({
            "cores": cores, "cpu": cpu, "kernel": kernel, "commit": commit, "dirty": dirty,
            "profile": profile, "load_before": load, "unix_s": unix_s,
        })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// So much of a commit's name is enough for people.
        const COMMIT_DIGITS: usize = 12;
        let Self { cores, cpu, kernel, commit, dirty, profile, load, .. } = self;
        let commit = commit.get(..COMMIT_DIGITS).unwrap_or(commit);
        let changed = if *dirty { " with changes" } else { "" };
        write!(f, "{cores} cores ({cpu}), Linux {kernel}, load before {load}, ")?;
        write!(f, "commit {commit}{changed}, profile {profile}")
    }
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// What git says of the working directory, if it lies in a repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The directory of the target directory in which this binary lies: cargo names it after the profile.
fn profile() -> Option<String> {
    let exe = std::env::current_exe().ok()?;
    let name = exe.parent()?.file_name()?.to_string_lossy().into_owned();
    Some(if cfg!(debug_assertions) { name + " with debug assertions" } else { name })
}

/// Lets this process, and with it those it starts, open as many files as the system allows.
pub(crate) fn raise_open_files() {
    /// More than any measure opens, and less than any system's own bound.
    const WANTED: u64 = 200_000;
    // Who may go beyond what is allowed to others does; the servers inherit it. Where that is refused, opening a
    // connection will say so.
    let raised = rlimit::setrlimit(rlimit::Resource::NOFILE, WANTED, WANTED);
    let _limit = raised.map_or_else(|_| rlimit::increase_nofile_limit(u64::MAX), |()| Ok(WANTED));
}

/// How many files this process may open.
pub(crate) fn open_files_max() -> usize {
    let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Lets time pass: what is measured here is time, so some of it has to.
#[expect(clippy::disallowed_methods, reason = "a measurement lasts as long as it lasts")]
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time); // tidy: allow(sleep): a measurement lasts as long as it lasts
}
