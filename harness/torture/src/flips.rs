//! Row `flips`: data directories in which bits, blocks or ends are not what was written.
//!
//! What must hold of each: the server says so in its log, with file and place, or shows exactly what it showed
//! before; it never shows what was not sent; `geoherd verify` and the server find the same; and the start
//! after it shows the same again. A refusal to start is told, too, if it says why, and says it again.
//!
//! Each number makes one damage, always of the same kind at the same place. There are two originals: one whose
//! server ended in order, and one whose server was killed.

use crate::book::{Book, Client, Dump, Must};
use crate::chance::Chance;
use crate::http;
use crate::load::now_ns;
use crate::server::{PATIENCE, Server, Site, Start};
use crate::{Ended, Progress, Run};
use anyhow::{Context as _, Result, bail, ensure};
use herd_e2e::Client as Line;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

const SHORT: usize = 80;

const CLIENTS: usize = 500;

/// Of most clients.
const UPDATES: usize = 6;

/// This one is forgotten again.
const FORGOTTEN: &str = "client-250";

const SERVER: &str = "Hill";

pub(crate) fn run(run: &Run) -> Result<Vec<Ended>> {
    let flips = run.count(run.args.flips, SHORT);
    run.in_scratch(|scratch| {
        let told = Mutex::new(Told::default());
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let progress = Mutex::new(Progress::new("flips", flips));
        std::thread::scope(|scope| {
            let (next, failed, told) = (&next, &failed, &told);
            let progress = &progress;
            let workers: Vec<_> = (0..run.args.jobs.max(1))
                .map(|job| {
                    let dir = scratch.path().join(format!("job-{job}"));
                    scope.spawn(move || -> Result<()> {
                        let worker = Worker::new(run, &dir)?;
                        while !failed.load(Relaxed) {
                            let number = next.fetch_add(1, Relaxed);
                            if number >= flips {
                                break;
                            }
                            let outcome = worker.flip(run, run.args.from + number);
                            failed.fetch_or(outcome.is_err(), Relaxed);
                            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                            told.note(outcome?);
                            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
                            progress.tell(number + 1, || told.to_string());
                        }
                        Ok(())
                    })
                })
                .collect();
            let outcomes: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
            outcomes.into_iter().try_for_each(|outcome| {
                outcome.map_err(|_| anyhow::anyhow!("a worker panicked")).flatten()
            })
        })?;
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(vec![Ended::Well(format!(
            "{flips} damaged directories, each started twice: {told}; `verify` found the same, and nothing was shown \
             that was not sent"
        ))])
    })
}

/// How a server took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    /// Nothing was said, and nothing was different.
    Harmless,
    /// An end was cut, and that was told.
    Torn,
    /// Damage was told.
    Damaged,
    /// It did not start, and said why.
    Refused,
    /// Nothing was said, and less was shown: after a kill a file ends anywhere, and one that is cut off between
    /// two records is as sound as any. No other damage may go unseen.
    Unseen,
}

#[derive(Debug, Default)]
struct Told {
    taken: BTreeMap<Taken, usize>,
    /// Directories that showed something else afterwards, or less.
    different: usize,
}

impl Told {
    fn note(&mut self, (taken, is_different): (Taken, bool)) {
        *self.taken.entry(taken).or_default() += 1;
        self.different += usize::from(is_different && taken != Taken::Unseen);
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |taken| self.taken.get(&taken).copied().unwrap_or_default();
        write!(
            f,
            "{} harmless, {} torn, {} damaged, {} refused ({} lost something, and said so), {} cut between two records",
            count(Taken::Harmless),
            count(Taken::Torn),
            count(Taken::Damaged),
            count(Taken::Refused),
            self.different,
            count(Taken::Unseen)
        )
    }
}

/// A sound directory, and what its server showed.
struct Original {
    orderly: bool,
    files: BTreeMap<String, Vec<u8>>,
    dump: Dump,
    book: Book,
}

impl Original {
    fn make(site: &Site, data: &Path, seed: u64, orderly: bool) -> Result<Self> {
        lay(data, &BTreeMap::new())?;
        let mut server = site.start(SERVER, Some(data))?;
        server.wait_listens()?;
        let names = (0..CLIENTS).map(|number| format!("client-{number}"));
        let mut clients: Vec<_> = names.map(|name| Client::new(name, SERVER)).collect();
        let mut chance = Chance::of(seed, "original", 0);
        for update in 0..UPDATES {
            if update == UPDATES / 2 {
                // Two lives in one journal.
                server.strike()?;
                server.wait()?;
                server = site.start(SERVER, Some(data))?;
                server.wait_listens()?;
            }
            let mut line = Line::try_connect(server.listen)?;
            for client in &mut clients {
                // Some are not heard of again.
                if update > 0 && chance.one_in(4) || client.name == FORGOTTEN && update > 1 {
                    continue;
                }
                let report = client.say(now_ns());
                let answer = line.ask(&report);
                ensure!(client.hear(&report, &answer)?, "{report:?} was answered {answer:?}");
            }
            if update == 1 {
                let answer = http::post(server.http, "/forget", FORGOTTEN)?;
                ensure!(answer.code == 200, "/forget was answered {}", answer.text());
            }
        }
        let dump = server.dump()?;
        ensure!(dump.len() == CLIENTS - 1, "{} of {CLIENTS} clients are there", dump.len());
        if orderly {
            server.terminate()?;
            ensure!(server.wait()?.success(), "it did not end in order{}", server.last_words());
        } else {
            server.strike()?;
            server.wait()?;
        }
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(data)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = fs::read(entry.path())?;
            if !bytes.is_empty() {
                files.insert(name, bytes);
            }
        }
        let mut book = Book::default();
        book.add(clients);
        Ok(Self { orderly, files, dump, book })
    }
}

/// Damages some bytes; what was done, in words, and whether that was to cut a file off.
fn damage(files: &mut BTreeMap<String, Vec<u8>>, chance: &mut Chance) -> Result<(String, bool)> {
    const BLOCK_BYTES: usize = 512;
    // By their length, but the small ones are not left out.
    let all: usize = files.values().map(Vec::len).sum();
    let mut at = chance.below(all);
    let by_number = chance.one_in(8).then(|| chance.below(files.len()));
    let mut picked = None;
    for (number, (name, bytes)) in files.iter_mut().enumerate() {
        let is_it = by_number.map_or(at < bytes.len(), |wanted| wanted == number);
        if is_it {
            at = if by_number.is_some() { chance.below(bytes.len()) } else { at };
            picked = Some((name, bytes));
            break;
        }
        at -= at.min(bytes.len());
    }
    let (name, bytes) = picked.context("there are files")?;
    let length = bytes.len();
    let flip = |bytes: &mut Vec<u8>, at: usize, bit: usize| {
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
        format!("{at}.{bit}")
    };
    let what = match chance.below(100) {
        0..72 => format!("bit {}", flip(bytes, at, chance.below(8))),
        72..80 => {
            let mut what = "bits".to_owned();
            for _ in 0..chance.between(2, 5) {
                let place = flip(bytes, chance.below(length), chance.below(8));
                write!(what, " {place}")?;
            }
            what
        }
        80..85 => {
            let count = chance.between(1, 40).min(length - at);
            for byte in bytes.iter_mut().skip(at).take(count) {
                *byte = chance.next().to_le_bytes()[0];
            }
            format!("{count} bytes at {at} are any")
        }
        85..90 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        90..95 => {
            let from = at / BLOCK_BYTES * BLOCK_BYTES;
            let count = BLOCK_BYTES << chance.below(4);
            bytes.iter_mut().skip(from).take(count).for_each(|byte| *byte = 0);
            format!("{count} bytes at {from} are zero")
        }
        95..98 => {
            let blocks = length / BLOCK_BYTES;
            let (one, other) = (chance.below(blocks), chance.below(blocks));
            for offset in 0..BLOCK_BYTES {
                let (one, other) = (one * BLOCK_BYTES + offset, other * BLOCK_BYTES + offset);
                if one.max(other) < length {
                    bytes.swap(one, other);
                }
            }
            format!("blocks {one} and {other} exchanged")
        }
        _ => {
            let count = chance.between(1, 600);
            let what = if chance.one_in(2) { 0 } else { 0xff };
            bytes.resize(length + count, what);
            format!("{count} bytes of {what:#x} added")
        }
    };
    let is_cut = bytes.len() < length;
    Ok((format!("{name} of {length} bytes: {what}"), is_cut))
}

/// One directory and one server at a time. All happens in the one place in which the originals were made, or a
/// server would take them for copies.
struct Worker {
    site: Site,
    data: PathBuf,
    originals: Vec<Original>,
}

impl Worker {
    fn new(run: &Run, dir: &Path) -> Result<Self> {
        // Quick to make safe, so that there are many notes of that.
        let site = Site::lay_out(&run.program, dir, &[SERVER], &[], "fsync = \"5ms\"")?;
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        let make = |orderly| Original::make(&site, &data, run.seed, orderly);
        let originals = [true, false].into_iter().map(make).collect::<Result<_>>()?;
        Ok(Self { site, data, originals })
    }

    fn flip(&self, run: &Run, number: usize) -> Result<(Taken, bool)> {
        let mut chance = Chance::of(run.seed, "flip", number as u64);
        let original = chance.below(self.originals.len());
        let original = self.originals.get(original).context("there are some")?;
        let mut files = original.files.clone();
        let (what, is_cut) = damage(&mut files, &mut chance)?;
        let after = if original.orderly { "an orderly end" } else { "a kill" };
        let may_be_unseen = is_cut && !original.orderly;
        let outcome = self.try_one(original, &files, may_be_unseen, &mut chance);
        if outcome.is_err() && run.args.keep {
            lay(&self.data, &files)?;
        }
        outcome.with_context(|| format!("after {after}, {what} (again: --from {number} --flips 1)"))
    }

    fn try_one(
        &self,
        original: &Original,
        files: &BTreeMap<String, Vec<u8>>,
        may_be_unseen: bool,
        chance: &mut Chance,
    ) -> Result<(Taken, bool)> {
        lay(&self.data, files)?;
        let (code, verified) =
            self.site.run(&["verify", "--json", "--data-dir", &self.data.to_string_lossy()])?;
        let server = self.site.start(SERVER, Some(&self.data))?;
        let Some(dump) = shown(&server)? else {
            ensure!(matches!(code, Some(1 | 2)), "refused, and yet `verify` says {verified}");
            let said = refusal(&server)?;
            let again = self.site.start(SERVER, Some(&self.data))?;
            ensure!(shown(&again)?.is_none(), "refused, and then started{}", again.last_words());
            ensure!(refusal(&again)? == said, "refused with two reasons{}", again.last_words());
            return Ok((Taken::Refused, true));
        };
        let is_different = dump.bytes != original.dump.bytes;
        let mut taken = told(&server.log_of_start()?);
        if taken == Taken::Harmless && is_different && may_be_unseen {
            taken = Taken::Unseen;
        }
        original.book.check(SERVER, &dump, Must::Nothing)?;
        ensure!(
            !is_different || taken != Taken::Harmless,
            "something else is shown, and nothing was said{}",
            server.last_words()
        );
        agree(code, &verified, taken).with_context(|| server.last_words())?;
        if chance.one_in(4) {
            server.terminate()?;
            ensure!(server.wait()?.success(), "it did not end in order{}", server.last_words());
        } else {
            server.strike()?;
            server.wait()?;
        }
        let again = self.site.start(SERVER, Some(&self.data))?;
        let second = shown(&again)?.context("it starts once and not twice");
        let second = second.with_context(|| again.last_words())?;
        ensure!(second.bytes == dump.bytes, "the second start shows something else than the first");
        again.strike()?;
        again.wait()?;
        Ok((taken, is_different))
    }
}

/// Lays files out. The directory and its lock stay, since they are what a server knows its place by.
fn lay(data: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        if !path.ends_with("lock") {
            fs::remove_file(path)?;
        }
    }
    for (name, bytes) in files {
        fs::write(data.join(name), bytes)?;
    }
    Ok(())
}

/// What a server shows; none if it did not start.
fn shown(server: &Server) -> Result<Option<Dump>> {
    match server.listens(PATIENCE) {
        Start::Listens(_) => server.dump().map(Some),
        Start::Ended => Ok(None),
        Start::UnderWay => bail!("no start within {PATIENCE:?}"),
    }
}

/// Why it did not start.
fn refusal(server: &Server) -> Result<String> {
    let status = server.wait()?;
    let said = server.errors();
    let is_said = status.code().is_some_and(|code| code != 0) && said.trim().len() > 20;
    ensure!(is_said && !said.contains("panicked"), "it ended with {status}: {said}");
    Ok(said)
}

/// What a log says of the files.
fn told(log: &str) -> Taken {
    if log.contains(" ERROR ") || log.contains("left unwritten") {
        Taken::Damaged
    } else if log.contains("cut what was being written") {
        Taken::Torn
    } else {
        Taken::Harmless
    }
}

/// Whether the check from outside says what the server said.
fn agree(code: Option<i32>, verified: &str, taken: Taken) -> Result<()> {
    let told: Value = serde_json::from_str(verified).with_context(|| verified.to_owned())?;
    let torn = told["torn_bytes"].as_u64().unwrap_or_default() > 0;
    let wanted = match taken {
        Taken::Harmless | Taken::Unseen => code == Some(0) && !torn,
        Taken::Torn => code == Some(0) && torn,
        Taken::Damaged => code == Some(1),
        Taken::Refused => code != Some(0),
    };
    ensure!(wanted, "the server says {taken:?}, and `verify`, with {code:?}, {verified}");
    Ok(())
}
