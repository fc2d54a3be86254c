//! A pulse: one client that reports at a steady pace and notes how long each answer took.
//!
//! Reports are due by the clock, so a pause counts for everyone who would have asked during it. Beside it
//! a second pulse asks a bare echo, which shows what of a pause is the machine's.

use crate::herd::Server;
use crate::probe::{Probe, report, time_text, unix_nanos};
use crate::process::{Process, Scratch};
use crate::table::Sorted;
use anyhow::{Context as _, Result, ensure};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two reports, unless it is said otherwise.
const EVERY: Duration = Duration::from_millis(1);

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// The client moves: every report is spread.
    Fresh,
    /// The same report again and again: answered alike, and spread no more, so that it adds nothing to
    /// what goes over links.
    Stale,
}

/// Runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Pulse {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<f64>>>,
}

impl Pulse {
    /// Asks a server every millisecond.
    pub(crate) fn of(server: &Server, beat: Beat) -> Result<Self> {
        Self::slow(server, beat, EVERY)
    }

    /// Asks a server so often.
    pub(crate) fn slow(server: &Server, beat: Beat, every: Duration) -> Result<Self> {
        let client = format!("pulse-{}.example", server.name);
        Self::start(server.address, format!("AT {} ", server.name), client, beat, every)
    }

    fn start(
        address: SocketAddr,
        begins: String,
        client: String,
        beat: Beat,
        every: Duration,
    ) -> Result<Self> {
        let mut probe = Probe::connect(address)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::spawn(move || {
            let mut took_ms = Vec::new();
            let mut due = Instant::now();
            let mut time = time_text(unix_nanos());
            while !stop.load(Relaxed) {
                crate::machine::pass(due.saturating_duration_since(Instant::now()));
                if beat == Beat::Fresh {
                    time = time_text(unix_nanos());
                }
                probe.send(report(&client, &time).as_bytes())?;
                let line = probe.line()?;
                let right = line.starts_with(begins.as_bytes());
                ensure!(right, "a report was answered {:?}", String::from_utf8_lossy(line));
                took_ms.push(due.elapsed().as_secs_f64() * 1e3);
                due += every;
            }
            Ok(took_ms)
        });
        Ok(Self { stopping, thread })
    }

    /// Milliseconds that each answer took.
    pub(crate) fn stop(self) -> Result<Sorted> {
        self.stopping.store(true, Relaxed);
        let took = self.thread.join().ok().context("a pulse panicked")??;
        Ok(Sorted::new(took))
    }
}

/// The echo that shows what the machine does.
#[derive(Debug)]
pub(crate) struct Control {
    address: SocketAddr,
    _process: Process,
    _dir: Scratch,
}

impl Control {
    pub(crate) fn start() -> Result<Self> {
        let dir = Scratch::new()?;
        let mut command = Command::new(std::env::current_exe()?);
        let process = Process::start(command.arg("echo"), &dir.path().join("echo.errors"))?;
        let address = process.ready.rsplit(' ').next().context("the echo tells no address")?;
        Ok(Self { address: address.parse()?, _process: process, _dir: dir })
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks the echo every millisecond.
    pub(crate) fn pulse(&self) -> Result<Pulse> {
        self.slow_pulse(EVERY)
    }

    /// Asks the echo so often.
    pub(crate) fn slow_pulse(&self, every: Duration) -> Result<Pulse> {
        let (begins, client) = ("IAMAT ".to_owned(), "pulse.example".to_owned());
        Pulse::start(self.address, begins, client, Beat::Fresh, every)
    }
}
