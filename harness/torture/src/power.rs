//! Row `power`: servers whose files lie on a disk that forgets, cut off at any moment.
//!
//! What must hold: every start after a cut is a clean one, and nothing but bytes that were not synced is missing from a
//! file; what was shown after one cut is there after the next; nothing is shown that was not sent. Beyond
//! that, of what was acknowledged,
//!
//! - with `always`, and at any setting after an orderly end, all is there;
//! - with `50ms` nothing is missing that was older at the cut, the time not counted in which something was
//!   being made safe. Of these times only as many may lie between as [`SYNCS_MAX`].
//!
//! The disk notes when it was making safe, and the kernel for how long threads waited for a processor: only that is
//! allowed for, and some milliseconds.

use crate::book::{Book, Client, Dump, Must};
use crate::chance::Chance;
use crate::fuse::{Cut, DISK_THREAD, Disk, Sync, why_not};
use crate::guard::pause;
use crate::load::{Pace, Tally, Writer, under_load};
use crate::server::{PATIENCE, Server, Site, Start};
use crate::{Ended, Fsync, Progress, Run, median, ms};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// In the log of a start that found bytes in the middle of a journal that are no record.
const GAP: &str = "bytes in a journal are no record";

/// Of each writer.
const CLIENTS: usize = 150;

const WRITERS: usize = 2;

const SHORT: usize = 10;

/// What `50ms` promises.
const INTERVAL: Duration = Duration::from_millis(50);

/// Besides what is measured: writing itself, and an answer on its way.
const ALLOWED: Duration = Duration::from_millis(5);

/// What was under way when the report was written, its own, and around a new file that of it and of its name.
const SYNCS_MAX: usize = 4;

pub(crate) fn run(run: &Run) -> Result<Vec<Ended>> {
    if let Some(why) = why_not() {
        return Ok(vec![Ended::Skipped(why)]);
    }
    run.settings().into_iter().map(|fsync| torture(run, fsync)).collect()
}

fn torture(run: &Run, fsync: Fsync) -> Result<Ended> {
    let cuts = run.count(run.args.cuts, SHORT);
    // Two that mend each other show less, and that they come to the same.
    let together = cuts / 5;
    let again = format!("--fsync {} --cuts {cuts}", fsync.word());
    let mut found = Found::default();
    for (names, cuts) in [(&["Hill"][..], cuts - together), (&["Hill", "Jaquez"][..], together)] {
        let what = format!("power, fsync {}, {} server(s)", fsync.word(), names.len());
        let mut progress = Progress::new(&what, cuts);
        run.in_scratch(|scratch| {
            let mut case = Case::lay_out(run, fsync, names, scratch.path(), &mut found)?;
            for number in 0..cuts {
                case.cycle().with_context(|| format!("{what}, cut {number} ({again})"))?;
                progress.tell(number + 1, || format!("{} acknowledged", case.found.acknowledged));
            }
            Ok(())
        })?;
    }
    let lost = match fsync {
        Fsync::Always => "none lost".to_owned(),
        Fsync::Soon => format!(
            "{} lost in {} cuts, the oldest {} old (waits for a processor and {} fsyncs not counted)",
            found.lost,
            found.cuts_with_loss,
            ms(found.oldest),
            found.syncs_between
        ),
        Fsync::Os => format!("{} lost, which may be", found.lost),
    };
    Ok(Ended::Well(format!(
        "{:<7}{cuts} cuts ({together} of two servers, {} while starting, {} after an orderly end, {} on a new disk), \
         each with a clean start: {} reports acknowledged, {lost}; {} torn ends, {} gaps, {} compactions; listens after {} (median)",
        fsync.word(),
        found.while_starting,
        found.orderly,
        found.new_disks,
        found.acknowledged,
        found.torn,
        found.gaps,
        found.compacted,
        ms(median(found.starts)),
    )))
}

/// What all cases of a row came to.
#[derive(Debug, Default)]
struct Found {
    acknowledged: u64,
    lost: u64,
    cuts_with_loss: usize,
    oldest: Duration,
    syncs_between: usize,
    while_starting: usize,
    orderly: usize,
    new_disks: usize,
    torn: usize,
    gaps: usize,
    /// Number of compactions.
    compacted: usize,
    starts: Vec<Duration>,
}

/// What the last cut left.
struct Before {
    /// When the power went.
    cut: Instant,
    syncs: Vec<Sync>,
    was_orderly: bool,
    waited: Waited,
}

struct Case<'a> {
    fsync: Fsync,
    names: &'a [&'a str],
    site: Site,
    disk: Disk,
    book: Book,
    chance: Chance,
    before: Option<Before>,
    found: &'a mut Found,
}

impl<'a> Case<'a> {
    fn lay_out(
        run: &Run,
        fsync: Fsync,
        names: &'a [&'a str],
        dir: &Path,
        found: &'a mut Found,
    ) -> Result<Self> {
        let mut chance = Chance::of(run.seed, fsync.word(), names.len() as u64);
        let disk = Disk::mount(&dir.join("disk"), Chance::of(chance.next(), "disk", 0))?;
        let data = disk.path().join("data");
        let storage = format!("dir = \"{}\"\nfsync = {:?}", data.display(), fsync.word());
        let links: Vec<_> = names.iter().copied().zip(names.iter().copied().skip(1)).collect();
        let site = Site::lay_out(&run.program, dir, names, &links, &storage)?;
        let mut book = Book::default();
        for &server in names {
            for writer in 0..WRITERS {
                let name = |number| format!("{server}-{writer}-{number}");
                book.add((0..CLIENTS).map(|number| Client::new(name(number), server)));
            }
        }
        Ok(Self { fsync, names, site, disk, book, chance, before: None, found })
    }

    /// Starts, checks what was left by the last cut, puts load on it and cuts the power.
    fn cycle(&mut self) -> Result<()> {
        if self.names.len() == 1 && self.chance.one_in(10) {
            self.found.new_disks += 1;
            self.disk.replace();
            self.book.forget();
            self.before = None;
        }
        self.verify()?;
        let sync_ms_max = [0, 4, 30, 120][self.chance.below(4)];
        self.disk.set_sync_ms_max(sync_ms_max);
        match self.chance.below(8) {
            // Names change as it starts, and as a file takes the place of another.
            0 | 1 => self.disk.cut_at(Cut::Name, self.chance.below(24)),
            2 => self.disk.cut_at(Cut::Change, self.chance.below(40)),
            3 | 4 => self.disk.cut_at(Cut::Change, self.chance.below(1000)),
            _ => {}
        }
        let mut servers = Vec::new();
        for name in self.names {
            servers.push(self.site.start(name, None)?);
        }
        let waits = Waits::start(&servers);
        let mut was_orderly = false;
        let listens = self.listen(&servers)?;
        if listens {
            self.look(&servers)?;
            was_orderly = self.load(&servers)?;
        } else {
            self.found.while_starting += 1;
        }
        let cut = self.disk.cut();
        servers.iter().try_for_each(Server::strike)?;
        self.disk.let_go();
        for server in &servers {
            server.wait()?;
            let log = server.log();
            self.found.torn += usize::from(log.contains("torn end of a journal"));
            self.found.gaps += usize::from(log.contains(GAP));
            self.found.compacted += log.matches("journal compacted").count();
            // Bytes in the middle may be missing that had not been synced; nothing else can be damaged.
            let mut errors = log.lines().filter(|line| line.contains(" ERROR "));
            let is_wrong =
                errors.any(|line| !line.contains(GAP) && !line.contains("Input/output error"));
            ensure!(!is_wrong, "{} finds fault with its files{}", server.name, server.last_words());
        }
        let syncs = self.disk.power_on();
        let waited = waits.stop()?;
        match &mut self.before {
            // What it had to show it has not shown yet.
            Some(before) if !listens => before.syncs.extend(syncs),
            before => *before = Some(Before { cut, syncs, was_orderly, waited }),
        }
        Ok(())
    }

    /// Waits until all listen; false if the power went before.
    fn listen(&mut self, servers: &[Server]) -> Result<bool> {
        const STEP: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + PATIENCE;
        for server in servers {
            loop {
                match server.listens(STEP) {
                    Start::Listens(after) => {
                        self.found.starts.push(after);
                        break;
                    }
                    Start::Ended => {
                        // It may have ended because of the cut, if it hears of that at all.
                        ensure!(
                            self.disk.is_cut_within(Duration::ZERO),
                            "no clean start of {}{}",
                            server.name,
                            server.last_words()
                        );
                        return Ok(false);
                    }
                    Start::UnderWay => {
                        ensure!(Instant::now() < deadline, "no start within {PATIENCE:?}");
                    }
                }
                if self.disk.is_cut_within(Duration::ZERO) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What is shown after the last cut.
    fn look(&mut self, servers: &[Server]) -> Result<()> {
        let mut dump = None;
        for server in servers {
            let shown = server.dump()?;
            let must = match &self.before {
                Some(before) if self.fsync == Fsync::Always || before.was_orderly => {
                    Must::AcknowledgedBy(&server.name)
                }
                _ => Must::Nothing,
            };
            let words = || format!("as soon as it listened{}", server.last_words());
            self.book.check(&server.name, &shown, must).with_context(words)?;
            dump = Some(shown);
        }
        let mut dump = dump.context("there is a server")?;
        if let [one, other] = servers {
            dump = agreed(one, other)?;
        }
        let must_all = self
            .before
            .as_ref()
            .is_some_and(|before| self.fsync == Fsync::Always || before.was_orderly);
        let must = if must_all { Must::All } else { Must::Earlier };
        self.book.check("after a cut, a server", &dump, must)?;
        if let Some(before) = self.before.take() {
            self.weigh(&dump, &before)?;
        }
        self.found.acknowledged += self.book.turn(&dump);
        Ok(())
    }

    /// Whether what is missing may be.
    fn weigh(&mut self, dump: &Dump, before: &Before) -> Result<()> {
        let (mut lost, mut oldest) = (0, None::<Instant>);
        for told in self.book.lost(dump) {
            lost += 1;
            oldest = Some(oldest.map_or(told.at, |oldest| oldest.min(told.at)));
        }
        self.found.lost += lost;
        self.found.cuts_with_loss += usize::from(lost > 0);
        if let Some(at) = oldest.filter(|_| self.fsync == Fsync::Soon) {
            let (idle, syncs) = idle(at, before.cut, &before.syncs);
            let waited = before.waited.between(at, before.cut.max(at));
            let allowed = INTERVAL + ALLOWED + waited;
            let age = idle.saturating_sub(waited);
            if age > self.found.oldest {
                (self.found.oldest, self.found.syncs_between) = (age, syncs);
            }
            ensure!(
                idle <= allowed && syncs <= SYNCS_MAX,
                "{lost} reports are lost, of which the oldest was acknowledged {:?} before the cut, of which nothing was \
                 being made safe for {idle:?} ({allowed:?} allowed), and {syncs} fsyncs lay between",
                before.cut.saturating_duration_since(at)
            );
        }
        Ok(())
    }

    /// Writes until the power goes; true if the servers were ended in order before.
    fn load(&mut self, servers: &[Server]) -> Result<bool> {
        // Enough at times that the journal is compacted.
        let heavy = self.chance.one_in(6);
        let batch_max = if heavy { 2000 } else { self.chance.between(1, 64) };
        let pause_ms_max = if heavy { 0 } else { self.chance.below(6) };
        let pace = Pace { batch_max, pause_ms_max };
        let mut writers = Vec::new();
        for server in servers {
            for writer in 0..WRITERS {
                let prefix = format!("{}-{writer}-", server.name);
                let clients = self.book.take(|client| client.name.starts_with(&prefix));
                let chance = Chance::of(self.chance.next(), &prefix, 0);
                writers.push(Writer { address: server.listen, clients, chance, pace });
            }
        }
        let until = self.chance.millis(5, if heavy { 700 } else { 250 });
        let orderly = self.chance.one_in(8);
        let disk = &self.disk;
        let tally = Tally::default();
        let was_orderly = under_load(&mut self.book, writers, &tally, || {
            let cut = disk.is_cut_within(until);
            if cut || !orderly {
                disk.cut();
                // Who waits for an answer of the disk gets one only when it is told to end.
                servers.iter().try_for_each(Server::strike)?;
                disk.let_go();
                return Ok(false);
            }
            for server in servers {
                server.terminate()?;
            }
            tally.stop.store(true, Relaxed);
            let deadline = Instant::now() + PATIENCE;
            for server in servers {
                while server.ended()?.is_none() {
                    ensure!(Instant::now() < deadline, "no end within {PATIENCE:?}");
                    if disk.is_cut_within(Duration::from_millis(1)) {
                        servers.iter().try_for_each(Server::strike)?;
                        disk.let_go();
                        return Ok(false);
                    }
                }
                let status = server.wait()?;
                ensure!(
                    status.success(),
                    "{} ended with {status}{}",
                    server.name,
                    server.last_words()
                );
            }
            Ok(true)
        })?;
        self.found.orderly += usize::from(was_orderly);
        Ok(was_orderly)
    }

    /// What a cut leaves is a torn end or a gap, and no damage.
    fn verify(&mut self) -> Result<()> {
        if !self.chance.one_in(6) {
            return Ok(());
        }
        for name in self.names {
            let data = self.disk.path().join("data").join(name);
            let (code, said) =
                self.site.run(&["verify", "--json", "--data-dir", &data.to_string_lossy()])?;
            if code == Some(2) {
                // A cut before anything was written.
                continue;
            }
            let told: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
            for finding in told["findings"].as_array().into_iter().flatten() {
                let damage = finding["damage"].as_str().unwrap_or_default();
                // The latter before the first file was complete.
                let may_be =
                    ["no record: damaged, or not written", "there is no journal beside it"];
                ensure!(may_be.iter().any(|start| damage.starts_with(start)), "verify: {said}");
            }
        }
        Ok(())
    }
}

/// What two servers show once it is the same.
fn agreed(one: &Server, other: &Server) -> Result<Dump> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let dumps = (one.dump()?, other.dump()?);
        if one.is_ready() && other.is_ready() && dumps.0.bytes == dumps.1.bytes {
            return Ok(dumps.0);
        }
        ensure!(Instant::now() < deadline, "two servers do not agree within {PATIENCE:?}");
        pause(Duration::from_millis(5));
    }
}

/// For how long between two moments nothing was being made safe, and how often something was.
fn idle(from: Instant, to: Instant, syncs: &[Sync]) -> (Duration, usize) {
    let mut spans: Vec<_> = syncs
        .iter()
        .map(|sync| (sync.begun.max(from), sync.ended.unwrap_or(to).min(to)))
        .filter(|(begun, ended)| begun < ended)
        .collect();
    spans.sort_unstable();
    let (mut idle, mut at) = (Duration::ZERO, from);
    for (begun, ended) in &spans {
        idle += begun.saturating_duration_since(at);
        at = at.max(*ended);
    }
    (idle + to.saturating_duration_since(at), spans.len())
}

/// For how long the machine kept threads waiting that wanted to run: those of servers, any of which may hold what the
/// one that writes needs, and ours that are the disk. The kernel counts it.
#[derive(Debug)]
struct Waits {
    stop: Arc<AtomicBool>,
    sampling: JoinHandle<Vec<(Instant, Duration)>>,
}

/// What was counted, at some moments.
#[derive(Debug, Default)]
struct Waited(Vec<(Instant, Duration)>);

impl Waits {
    fn start(servers: &[Server]) -> Self {
        const STEP: Duration = Duration::from_millis(3);
        let stop = Arc::new(AtomicBool::new(false));
        let mut processes: Vec<_> = servers.iter().map(|server| (server.id(), false)).collect();
        processes.push((std::process::id(), true));
        let sampling = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let (mut samples, mut threads) = (Vec::new(), Threads::default());
                while !stop.load(Relaxed) {
                    let now = Instant::now();
                    let all = processes.iter().map(|&(id, ours)| threads.waited(id, ours)).sum();
                    samples.push((now, all));
                    pause(STEP);
                }
                samples
            }
        });
        Self { stop, sampling }
    }

    fn stop(self) -> Result<Waited> {
        self.stop.store(true, Relaxed);
        let samples = self.sampling.join();
        Ok(Waited(samples.map_err(|_| anyhow::anyhow!("a thread that looks at others panicked"))?))
    }
}

impl Waited {
    /// Between two moments, at most: what lies between two looks counts as if all had waited. It can become less,
    /// where the whole machine stood still, which the kernel does not count; so every rise does.
    fn between(&self, from: Instant, to: Instant) -> Duration {
        let begun = self.0.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
        let looks: Vec<_> = self.0.iter().skip(begun).take_while(|(at, _)| *at <= to).collect();
        let Some((last, _)) = looks.last() else { return to - from };
        let rises = looks.iter().zip(looks.iter().skip(1));
        let waited: Duration = rises.map(|(one, next)| next.1.saturating_sub(one.1)).sum();
        waited + to.saturating_duration_since(*last)
    }
}

/// What was seen of threads when they were last looked at: their times, and since when these are the same.
#[derive(Default)]
struct Threads(BTreeMap<PathBuf, (String, Instant)>);

impl Threads {
    /// How long those of a process have waited; of ours only those that are the disk.
    fn waited(&mut self, process: u32, ours: bool) -> Duration {
        let tasks = Path::new("/proc").join(process.to_string()).join("task");
        let Ok(tasks) = fs::read_dir(tasks) else { return Duration::ZERO };
        tasks.flatten().filter_map(|task| self.of(&task.path(), ours)).sum()
    }

    fn of(&mut self, task: &Path, ours: bool) -> Option<Duration> {
        const DISK: [&str; 2] = ["fuser-bg", DISK_THREAD];
        if ours && !DISK.contains(&fs::read_to_string(task.join("comm")).ok()?.trim()) {
            return None;
        }
        // Time on the processor, time that it waited for one, how often.
        let times = fs::read_to_string(task.join("schedstat")).ok()?;
        let waited = Duration::from_nanos(times.split(' ').nth(1)?.parse().ok()?);
        // The kernel counts a wait when it is over.
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        let wants_to_run = stat.rsplit_once(')')?.1.trim_start().starts_with('R');
        let now = Instant::now();
        let seen = self.0.entry(task.to_owned()).or_insert_with(|| (times.clone(), now));
        if !wants_to_run || seen.0 != times {
            *seen = (times, now);
        }
        Some(waited + seen.1.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_something_is_made_safe_does_not_count() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let sync = |begun, ended: Option<u64>| Sync { begun: at(begun), ended: ended.map(at) };
        let syncs = [sync(0, Some(15)), sync(30, Some(40)), sync(35, Some(50)), sync(90, None)];
        assert_eq!(idle(at(10), at(100), &syncs), (Duration::from_millis(15 + 40), 4));
        assert_eq!(idle(at(16), at(20), &syncs), (Duration::from_millis(4), 0));
    }
}
