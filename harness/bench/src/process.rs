//! Processes that are measured: started here, ended here whatever happens, and read from `/proc`.

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// A process for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    /// What it said when it was ready.
    pub(crate) ready: String,
}

/// All that run, so that they end with this process: a panic aborts it, and a signal ends it, without
/// dropping anything.
static RUNNING: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A server is ready within this, also on a busy machine and with very much to read from its disk.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// It has stopped within this, whatever it has still to write.
const STOPPED_WITHIN: Duration = Duration::from_mins(1);

impl Process {
    /// Starts `command` and waits until it prints a line; its errors go to the file `errors`.
    pub(crate) fn start(command: &mut Command, errors: &Path) -> Result<Self> {
        Self::start_under(command, errors, |_pid| Ok(()))
    }

    /// The same, with `admit` called as soon as there is a process.
    pub(crate) fn start_under(
        command: &mut Command,
        errors: &Path,
        admit: impl FnOnce(u32) -> Result<()>,
    ) -> Result<Self> {
        let program = command.get_program().display().to_string();
        let (mut process, stdout) = Self::spawn(command, errors, Stdio::piped())?;
        admit(process.pid)?;
        let Some(line) = first_line(stdout.context("the pipe was asked for above")?) else {
            let said = fs::read_to_string(errors).unwrap_or_default();
            bail!("{program} was not ready within {READY_WITHIN:?}; it said: {}", said.trim())
        };
        process.ready = line;
        Ok(process)
    }

    /// Starts `command`, which may print what it likes; when it is ready is for the caller to find out.
    pub(crate) fn start_unheard(command: &mut Command, errors: &Path) -> Result<Self> {
        Ok(Self::spawn(command, errors, Stdio::null())?.0)
    }

    fn spawn(
        command: &mut Command,
        errors: &Path,
        stdout: Stdio,
    ) -> Result<(Self, Option<ChildStdout>)> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(fs::File::create(errors)?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let (pid, stdout) = (child.id(), child.stdout.take());
        running().push(child);
        Ok((Self { pid, ready: String::new() }, stdout))
    }

    /// Asks it to end in order, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it ends otherwise, or not in time.
    pub(crate) fn stop(self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        loop {
            let mut running = running();
            let child = running.iter_mut().find(|child| child.id() == self.pid);
            if let Some(status) = child.context("it is ended by somebody else")?.try_wait()? {
                running.retain(|child| child.id() != self.pid);
                ensure!(status.success(), "a server that was asked to stop ended with {status}");
                return Ok(());
            }
            drop(running);
            ensure!(Instant::now() < deadline, "a server does not stop within {STOPPED_WITHIN:?}");
            crate::machine::pass(Duration::from_millis(5));
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, wanted: Signal) -> Result<()> {
        send(self.pid, wanted)
    }

    /// Its number, by which it tells itself from others.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&self) -> Result<bool> {
        let mut running = running();
        match running.iter_mut().find(|child| child.id() == self.pid) {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Processor time so far, in user and system mode, of all its threads; seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        cpu(&self.pid.to_string())
    }

    /// Bytes resident in memory.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kilobytes.context("the system tells no VmRSS")? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut running = running();
        if let Some(at) = running.iter().position(|child| child.id() == self.pid) {
            end(&mut running.swap_remove(at));
        }
    }
}

/// Sends a signal to a process that was started here and has not been waited for.
pub(crate) fn send(pid: u32, wanted: Signal) -> Result<()> {
    let running = running();
    let child = running.iter().find(|child| child.id() == pid).context("it has ended already")?;
    Ok(kill_process(Pid::from_child(child), wanted)?)
}

/// Processor time of this process so far, seconds.
pub(crate) fn own_cpu() -> Result<f64> {
    cpu("self")
}

fn cpu(pid: &str) -> Result<f64> {
    /// So Linux shows times to programs, whatever it counts in itself.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name and may hold anything, but a parenthesis ends it.
    let (_, fields) = stat.rsplit_once(')').context("no process statistics")?;
    let times: Vec<u32> =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    ensure!(times.len() == 2, "no processor times in the process statistics");
    Ok(times.iter().copied().map(f64::from).sum::<f64>() / TICKS_A_SECOND)
}

fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        if stdout.read_line(&mut line).is_ok_and(|count| count > 0) {
            // Nobody listens any more only after the deadline.
            let _late = sender.send(line.trim_end().to_owned());
        }
    });
    receiver.recv_timeout(READY_WITHIN).ok()
}

/// Sees to it that no process outlives this one.
pub(crate) fn guard() -> Result<()> {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        end_all();
        report(panic);
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
        end_all();
        std::process::exit(130);
    });
    Ok(())
}

/// Ends every process that was started, and removes what they wrote.
pub(crate) fn end_all() {
    running().iter_mut().for_each(end);
    for dir in scratches().iter() {
        // What cannot be removed is left to the system.
        let _left = fs::remove_dir_all(dir);
    }
}

/// A temporary directory for what processes read and write; it goes when this value does, or with
/// [`end_all`].
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

/// All that exist.
static SCRATCHES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("herd-bench-").tempdir()?;
        scratches().push(dir.path().to_owned());
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        scratches().retain(|dir| dir != self.0.path());
    }
}

fn scratches() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    SCRATCHES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _gone = child.kill();
    let _gone = child.wait();
}

fn running() -> std::sync::MutexGuard<'static, Vec<Child>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
