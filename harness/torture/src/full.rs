//! Row `full`: a small disk that fills under load, and is emptied again.
//!
//! What must hold: `/readyz`, `/status`, the metric and the log say that the disk fails; with `degrade` reports
//! go on to be acknowledged and spread, with `refuse` they come back with `? `; once there is room again the
//! server goes on by itself. After that everything it acknowledges is there after a kill, and with `refuse`
//! everything that it ever had.

use crate::book::{Book, Client, Must};
use crate::chance::Chance;
use crate::guard::{Mounted, pause};
use crate::load::{Pace, Tally, Writer, under_load};
use crate::server::{PATIENCE, Server, Site};
use crate::{Ended, Fsync, Progress, Run, median, ms};
use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const SHORT: usize = 1;

/// So large is the disk...
const DISK_BYTES: usize = 12 << 20;

/// ...and so much of it is kept for later, at least.
const BALLAST_BYTES: usize = 8 << 20;

const CLIENTS: usize = 400;

/// Writes down nothing, and hears of what the other is told.
const WITNESS: &str = "Jaquez";

const SERVER: &str = "Hill";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    Degrade,
    Refuse,
}

impl OnError {
    fn word(self) -> &'static str {
        match self {
            Self::Degrade => "degrade",
            Self::Refuse => "refuse",
        }
    }

    /// As `/readyz` names it.
    fn state(self) -> &'static str {
        match self {
            Self::Degrade => "degraded",
            Self::Refuse => "refusing",
        }
    }
}

pub(crate) fn run(run: &Run) -> Result<Vec<Ended>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(vec![Ended::Skipped("only root may mount a small disk".to_owned())]);
    }
    [OnError::Degrade, OnError::Refuse].into_iter().map(|on_error| torture(run, on_error)).collect()
}

fn torture(run: &Run, on_error: OnError) -> Result<Ended> {
    let fills = run.count(run.args.fills, SHORT);
    let mut found = Found::default();
    let mut progress = Progress::new(format!("full, {}", on_error.word()), fills);
    for number in 0..fills {
        run.in_scratch(|scratch| {
            let mut case = Case::lay_out(run, on_error, number, scratch.path(), &mut found)?;
            case.cycle().with_context(|| format!("{}, disk {number}", on_error.word()))
        })?;
        progress.tell(number + 1, || format!("{} acknowledged", found.acknowledged));
    }
    Ok(Ended::Well(format!(
        "{:<8}{fills} disks filled: {} reports acknowledged before, {} acknowledged and {} refused while full, \
         {} after; told within {}, durable again {} after there was room (medians); after a kill none of {} lost",
        on_error.word(),
        found.acknowledged,
        found.while_full,
        found.refused,
        found.after,
        ms(median(found.told)),
        ms(median(found.recovered)),
        found.checked,
    )))
}

#[derive(Debug, Default)]
struct Found {
    acknowledged: u64,
    while_full: u64,
    refused: u64,
    after: u64,
    checked: u64,
    told: Vec<Duration>,
    recovered: Vec<Duration>,
}

struct Case<'a> {
    on_error: OnError,
    site: Site,
    disk: PathBuf,
    _mounted: Mounted,
    book: Book,
    chance: Chance,
    found: &'a mut Found,
}

impl<'a> Case<'a> {
    fn lay_out(
        run: &Run,
        on_error: OnError,
        number: usize,
        dir: &Path,
        found: &'a mut Found,
    ) -> Result<Self> {
        let chance = Chance::of(run.seed, on_error.word(), number as u64);
        let disk = dir.join("disk");
        fs::create_dir_all(&disk)?;
        let size = std::ffi::CString::new(format!("size={DISK_BYTES}"))?;
        mount("herd-torture", &disk, "tmpfs", MountFlags::empty(), size.as_c_str())
            .context("cannot mount a small disk")?;
        let mounted = Mounted::note(&disk, None);
        let fsync = Fsync::ALL[number % Fsync::ALL.len()].word();
        let storage = format!("fsync = {fsync:?}\non_disk_error = {:?}", on_error.word());
        let names = [SERVER, WITNESS];
        let site = Site::lay_out(&run.program, dir, &names, &[(SERVER, WITNESS)], &storage)?;
        let mut book = Book::default();
        book.add((0..CLIENTS).map(|number| Client::new(format!("client-{number}"), SERVER)));
        Ok(Self { on_error, site, disk, _mounted: mounted, book, chance, found })
    }

    fn cycle(&mut self) -> Result<()> {
        let ballast = self.disk.join("ballast");
        let kept = BALLAST_BYTES + self.chance.below(DISK_BYTES - BALLAST_BYTES - (512 << 10));
        File::create(&ballast)?.write_all(&vec![1; kept])?;
        let data = self.disk.join("data");
        let witness = self.site.start(WITNESS, None)?;
        let server = self.site.start(SERVER, Some(&data))?;
        witness.wait_listens()?;
        server.wait_listens()?;
        wait(|| Ok(server.is_ready().then_some(()))).context("it is not ready")?;

        let state = storage(&server, "/readyz")?;
        ensure!(state.0 == "durable", "the disk has room, and /readyz says {state:?}");
        self.load(&server, |server, tally| {
            wait(|| Ok((storage(server, "/readyz")?.0 != "durable").then_some(())))
                .context("the disk is full, and nobody says so")?;
            tally.stop.store(true, Relaxed);
            Ok(())
        })?;
        self.found.acknowledged += self.book.acknowledged() as u64;
        self.check_failing(&server)?;

        let before = self.book.acknowledged();
        let refused = self.load(&server, |_, tally| {
            pause(Duration::from_millis(300));
            Ok(tally.refused.load(Relaxed))
        })?;
        let while_full = (self.book.acknowledged() - before) as u64;
        self.found.while_full += while_full;
        self.found.refused += refused;
        match self.on_error {
            OnError::Degrade => {
                ensure!(refused == 0 && while_full > 0, "{refused} reports were refused");
                wait(|| Ok(self.book.check(WITNESS, &witness.dump()?, Must::All).ok()))
                    .context("what is acknowledged while the disk is full does not spread")?;
            }
            OnError::Refuse => {
                ensure!(refused > 0 && while_full == 0, "{while_full} reports were acknowledged");
            }
        }

        let begun = Instant::now();
        fs::remove_file(&ballast)?;
        wait(|| Ok((storage(&server, "/readyz")?.0 == "durable").then_some(())))
            .context("there is room again, and it does not recover")?;
        self.found.recovered.push(begun.elapsed());
        ensure!(metric(&server)? == "0", "there is room again, and the metric does not say so");
        let is_logged = || server.log().contains("the disk accepts writes again");
        wait(|| Ok(is_logged().then_some(())))
            .context("there is room again, and the log is silent")?;
        ensure!(server.is_ready(), "there is room again, and it is not ready");
        if self.on_error == OnError::Degrade && self.chance.one_in(2) {
            // The others are written down again, too, but that is not what is promised.
            self.book.excuse(Instant::now());
        }
        let before = self.book.acknowledged();
        self.load(&server, |_, _| {
            pause(Duration::from_millis(200));
            Ok(())
        })?;
        self.found.after += (self.book.acknowledged() - before) as u64;

        server.strike()?;
        server.wait()?;
        drop(witness);
        let server = self.site.start(SERVER, Some(&data))?;
        server.wait_listens()?;
        self.book
            .check(SERVER, &server.dump()?, Must::All)
            .with_context(|| format!("after a kill{}", server.last_words()))?;
        self.found.checked += self.book.acknowledged() as u64;
        server.terminate()?;
        ensure!(server.wait()?.success(), "it did not end in order{}", server.last_words());
        Ok(())
    }

    fn load<T>(
        &mut self,
        server: &Server,
        meanwhile: impl FnOnce(&Server, &Tally) -> Result<T>,
    ) -> Result<T> {
        const WRITERS: usize = 2;
        let pace = Pace { batch_max: self.chance.between(20, 200), pause_ms_max: 1 };
        let mut all = self.book.take(|_| true);
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let share = all.len() / (WRITERS - writer);
            let clients = all.split_off(all.len() - share);
            let chance = Chance::of(self.chance.next(), "writer", 0);
            writers.push(Writer { address: server.listen, clients, chance, pace });
        }
        let tally = Tally::default();
        under_load(&mut self.book, writers, &tally, || meanwhile(server, &tally))
    }

    /// Everything that speaks of the disk says that it fails.
    fn check_failing(&mut self, server: &Server) -> Result<()> {
        let begun = Instant::now();
        for path in ["/readyz", "/status"] {
            let (state, error) = storage(server, path)?;
            let is_told = state == self.on_error.state() && !error.is_empty();
            ensure!(is_told, "the disk is full, and {path} says {state:?}, {error:?}");
        }
        let ready = server.is_ready();
        ensure!(ready == (self.on_error == OnError::Degrade), "full, and ready is {ready}");
        ensure!(metric(server)? == "1", "the disk is full, and the metric does not say so");
        wait(|| Ok(server.log().contains("ERROR").then_some(()))).context("the log is silent")?;
        self.found.told.push(begun.elapsed());
        Ok(())
    }
}

/// What a server says of its disk: its state and what is wrong.
fn storage(server: &Server, path: &str) -> Result<(String, String)> {
    let answer = server.get(path)?;
    let told: Value = serde_json::from_slice(&answer.body)?;
    let text = |member: &str| told["storage"][member].as_str().unwrap_or_default().to_owned();
    Ok((text("state"), text("error")))
}

fn metric(server: &Server) -> Result<String> {
    let text = server.get("/metrics")?.text();
    let value = text.lines().find_map(|line| line.strip_prefix("geoherd_storage_failing "));
    Ok(value.context("no geoherd_storage_failing")?.to_owned())
}

/// Looks until there is something.
fn wait<T>(mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited {PATIENCE:?} in vain");
        pause(Duration::from_millis(5));
    }
}
