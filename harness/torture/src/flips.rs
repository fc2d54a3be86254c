//! Row `flips`: data directories in which bits, blocks or ends are not what was written.
//!
//! What must hold of each: the server starts, and reports the damage with file and place, or shows exactly what it
//! showed before; it never shows what was not sent; `geoherd verify` and the server find the same; and the next start
//! shows the same again. A single flipped bit, wherever it is, costs one record at most: the clients but one are shown
//! as before, and the directory is still known to be this server's.
//!
//! Each number makes one damage, always of the same kind at the same place.

use crate::book::{Book, Client, Dump, Must};
use crate::chance::Chance;
use crate::http;
use crate::load::now_ns;
use crate::server::Site;
use crate::{Ended, Progress, Run};
use anyhow::{Context as _, Result, ensure};
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
                            told.note(&outcome?);
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
    /// Nothing was reported, and nothing was different.
    Harmless,
    /// A torn end was cut off, and that was reported.
    Torn,
    /// Damage was reported.
    Damaged,
    /// Nothing was reported, and less was shown: after a kill a file ends anywhere, and one that is cut off between
    /// two records is as sound as any. No other damage may go unseen.
    Unseen,
}

/// What was done to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One bit was flipped.
    Bit,
    /// A file was cut off.
    Cut,
    /// Anything else.
    Other,
}

#[derive(Debug, Default)]
struct Told {
    taken: BTreeMap<Taken, usize>,
    /// Directories that showed something else afterwards, or less.
    different: usize,
    /// Single bits that were flipped, and the clients of which something else was shown then.
    bits: usize,
    lost_to_bits: usize,
}

/// How one damage was taken.
struct Outcome {
    kind: Kind,
    taken: Taken,
    /// Clients of which something else is shown.
    differing: usize,
}

impl Told {
    fn note(&mut self, Outcome { kind, taken, differing }: &Outcome) {
        *self.taken.entry(*taken).or_default() += 1;
        self.different += usize::from(*differing > 0 && *taken != Taken::Unseen);
        if *kind == Kind::Bit {
            self.bits += 1;
            self.lost_to_bits += differing;
        }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = |taken| self.taken.get(&taken).copied().unwrap_or_default();
        write!(
            f,
            "{} harmless, {} torn, {} damaged ({} lost something, and said so), {} cut between two records; {} were \
             single bits, which cost {} records, never two",
            count(Taken::Harmless),
            count(Taken::Torn),
            count(Taken::Damaged),
            self.different,
            count(Taken::Unseen),
            self.bits,
            self.lost_to_bits
        )
    }
}

/// A sound directory, and what its server showed.
struct Original {
    files: BTreeMap<String, Vec<u8>>,
    dump: Dump,
    book: Book,
}

impl Original {
    fn make(site: &Site, data: &Path, seed: u64) -> Result<Self> {
        lay(data, &BTreeMap::new())?;
        let mut server = site.start(SERVER, Some(data))?;
        server.wait_listens()?;
        let names = (0..CLIENTS).map(|number| format!("client-{number}"));
        let mut clients: Vec<_> = names.map(|name| Client::new(name, SERVER)).collect();
        let mut chance = Chance::of(seed, "original", 0);
        for update in 0..UPDATES {
            if update == UPDATES / 2 {
                // Two incarnations in one journal.
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
        server.strike()?;
        server.wait()?;
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
        Ok(Self { files, dump, book })
    }
}

/// Damages some bytes; what was done, in words as well.
fn damage(files: &mut BTreeMap<String, Vec<u8>>, chance: &mut Chance) -> Result<(String, Kind)> {
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
    let mut kind = Kind::Other;
    let what = match chance.below(100) {
        0..72 => {
            kind = Kind::Bit;
            format!("bit {}", flip(bytes, at, chance.below(8)))
        }
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
    if bytes.len() < length {
        kind = Kind::Cut;
    }
    Ok((format!("{name} of {length} bytes: {what}"), kind))
}

/// One directory and one server at a time.
struct Worker {
    site: Site,
    data: PathBuf,
    original: Original,
}

impl Worker {
    fn new(run: &Run, dir: &Path) -> Result<Self> {
        let site = Site::lay_out(&run.program, dir, &[SERVER], &[], "fsync = \"5ms\"")?;
        let data = dir.join("data");
        fs::create_dir_all(&data)?;
        let original = Original::make(&site, &data, run.seed)?;
        Ok(Self { site, data, original })
    }

    fn flip(&self, run: &Run, number: usize) -> Result<Outcome> {
        let mut chance = Chance::of(run.seed, "flip", number as u64);
        let mut files = self.original.files.clone();
        let (what, kind) = damage(&mut files, &mut chance)?;
        let outcome = self.try_one(&files, kind, &mut chance);
        if outcome.is_err() && run.args.keep {
            lay(&self.data, &files)?;
        }
        outcome.with_context(|| format!("{what} (again: --from {number} --flips 1)"))
    }

    fn try_one(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        kind: Kind,
        chance: &mut Chance,
    ) -> Result<Outcome> {
        lay(&self.data, files)?;
        let (code, verified) =
            self.site.run(&["verify", "--json", "--data-dir", &self.data.to_string_lossy()])?;
        let verified: Value = serde_json::from_str(&verified).with_context(|| verified.clone())?;
        let server = self.site.start(SERVER, Some(&self.data))?;
        server.wait_listens()?;
        let dump = server.dump()?;
        let differing = dump.differing(&self.original.dump);
        let mut taken = taken(&server.log_of_start()?);
        if taken == Taken::Harmless && differing > 0 && kind == Kind::Cut {
            taken = Taken::Unseen;
        }
        self.original.book.check(SERVER, &dump, Must::Nothing)?;
        ensure!(
            differing == 0 || taken != Taken::Harmless,
            "something else is shown, and nothing was reported{}",
            server.last_words()
        );
        if kind == Kind::Bit {
            ensure!(differing <= 1, "one bit cost {differing} records{}", server.last_words());
            ensure!(verified["identity"]["server"] == SERVER, "whose it is is lost: {verified}");
        }
        agree(code, &verified, taken).with_context(|| server.last_words())?;
        if chance.one_in(4) {
            server.terminate()?;
            ensure!(server.wait()?.success(), "it did not end in order{}", server.last_words());
        } else {
            server.strike()?;
            server.wait()?;
        }
        let again = self.site.start(SERVER, Some(&self.data))?;
        again.wait_listens()?;
        let second = again.dump()?;
        ensure!(second.bytes == dump.bytes, "the second start shows something else than the first");
        again.strike()?;
        again.wait()?;
        Ok(Outcome { kind, taken, differing })
    }
}

/// Lays files out.
fn lay(data: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(data)? {
        fs::remove_file(entry?.path())?;
    }
    for (name, bytes) in files {
        fs::write(data.join(name), bytes)?;
    }
    Ok(())
}

/// What a log says of the files.
fn taken(log: &str) -> Taken {
    if log.contains(" ERROR ") {
        Taken::Damaged
    } else if log.contains("torn end of a journal") {
        Taken::Torn
    } else {
        Taken::Harmless
    }
}

/// Whether the check from outside says what the server said.
fn agree(code: Option<i32>, verified: &Value, taken: Taken) -> Result<()> {
    let torn = verified["torn_bytes"].as_u64().unwrap_or_default() > 0;
    let wanted = match taken {
        Taken::Harmless | Taken::Unseen => code == Some(0) && !torn,
        Taken::Torn => code == Some(0) && torn,
        Taken::Damaged => code == Some(1),
    };
    ensure!(wanted, "the server says {taken:?}, and `verify`, with {code:?}, {verified}");
    Ok(())
}
