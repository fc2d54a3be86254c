//! Row `kill`: five servers under load, all killed at one moment, again and again.
//!
//! What must hold at every setting of fsync, since the system keeps what it was handed: as soon as a server
//! listens it shows everything that it had acknowledged, and once all five agree they show everything that any
//! had acknowledged and that all had shown before. Now and then one is stopped in order just before, or all are
//! killed again while they start. Now and then the directory of one is put back to an older copy of it while it is
//! stopped and the others run: it must get back from them what the copy lacks.

use crate::book::{Book, Client, Dump, Must};
use crate::chance::Chance;
use crate::guard::pause;
use crate::load::{Pace, Tally, Writer, under_load};
use crate::server::{PATIENCE, Server, Site};
use crate::{Ended, Fsync, Progress, Run, median, ms};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FIVE: [&str; 5] = ["Campbell", "Hill", "Jaquez", "Singleton", "Smith"];

const LINKS: [(&str, &str); 6] = [
    ("Hill", "Jaquez"),
    ("Hill", "Smith"),
    ("Smith", "Campbell"),
    ("Singleton", "Jaquez"),
    ("Singleton", "Smith"),
    ("Singleton", "Campbell"),
];

/// At each server.
const WRITERS: usize = 2;

/// Of each writer: few enough that most are reported again before the next kill.
const CLIENTS: usize = 150;

const SHORT: usize = 3;

pub(crate) fn run(run: &Run) -> Result<Vec<Ended>> {
    run.settings().into_iter().map(|fsync| torture(run, fsync)).collect()
}

fn torture(run: &Run, fsync: Fsync) -> Result<Ended> {
    let kills = run.count(run.args.kills, SHORT);
    let again = format!("--fsync {} --kills {kills}", fsync.word());
    run.in_scratch(|scratch| {
        let mut case = Case::lay_out(run, fsync, scratch.path())?;
        let mut progress = Progress::new(format!("kill, fsync {}", fsync.word()), kills);
        case.restart()?;
        for number in 0..kills {
            case.cycle().with_context(|| format!("kill {number} ({again})"))?;
            progress.tell(number + 1, || format!("{} acknowledged", case.acknowledged));
        }
        case.end()?;
        Ok(Ended::Well(format!(
            "{:<7}{kills} times all five killed ({} more while they started, {} with one just stopped in order), {} directories \
             put back to an older copy: {} reports acknowledged, none lost, none unsent shown; listens after {}, all equal after {} (medians)",
            fsync.word(),
            case.while_starting,
            case.one_stopped,
            case.put_back,
            case.acknowledged,
            ms(median(case.starts)),
            ms(median(case.agreements)),
        )))
    })
}

/// A herd, and what must be true of it.
struct Case {
    /// Where the data directories lie, and older copies of them.
    dir: PathBuf,
    site: Site,
    servers: Vec<Server>,
    book: Book,
    chance: Chance,
    acknowledged: u64,
    while_starting: usize,
    one_stopped: usize,
    put_back: usize,
    starts: Vec<Duration>,
    agreements: Vec<Duration>,
}

impl Case {
    fn lay_out(run: &Run, fsync: Fsync, dir: &Path) -> Result<Self> {
        let storage =
            format!("dir = \"{}\"\nfsync = {:?}", dir.join("data").display(), fsync.word());
        let site = Site::lay_out(&run.program, dir, &FIVE, &LINKS, &storage)?;
        let mut book = Book::default();
        for server in FIVE {
            for writer in 0..WRITERS {
                let name = |number| format!("{server}-{writer}-{number}");
                book.add((0..CLIENTS).map(|number| Client::new(name(number), server)));
            }
        }
        let chance = Chance::of(run.seed, "kill", fsync as u64);
        Ok(Self {
            dir: dir.to_owned(),
            site,
            servers: Vec::new(),
            book,
            chance,
            acknowledged: 0,
            while_starting: 0,
            one_stopped: 0,
            put_back: 0,
            starts: Vec::new(),
            agreements: Vec::new(),
        })
    }

    fn start(&mut self) -> Result<()> {
        self.servers.clear();
        for name in FIVE {
            self.servers.push(self.site.start(name, None)?);
        }
        Ok(())
    }

    /// Starts all and waits until they agree; checks what each shows at once, and all show then.
    fn restart(&mut self) -> Result<()> {
        self.start()?;
        if self.chance.one_in(5) {
            self.while_starting += 1;
            pause(self.chance.millis(0, 60));
            self.kill_all()?;
            self.start()?;
        }
        for server in &self.servers {
            self.starts.push(server.wait_listens()?);
            let dump = server.dump()?;
            let must = Must::AcknowledgedBy(&server.name);
            let at_once = || format!("as soon as it listened{}", server.last_words());
            self.book.check(&server.name, &dump, must).with_context(at_once)?;
        }
        let begun = Instant::now();
        let dump = self.agreed()?;
        self.agreements.push(begun.elapsed());
        self.book.check("all five", &dump, Must::All).context("when all agreed")?;
        self.acknowledged += self.book.turn(&dump);
        if self.chance.one_in(3) { self.put_back(&dump) } else { Ok(()) }
    }

    /// Stops one server, and puts its directory back to an older copy; the first time, makes copies of all, while
    /// the servers run.
    fn put_back(&mut self, before: &Dump) -> Result<()> {
        let (data, copies) = (self.dir.join("data"), self.dir.join("copies"));
        if !copies.exists() {
            return FIVE
                .iter()
                .try_for_each(|name| copy_directory(&data.join(name), &copies.join(name)));
        }
        let at = self.chance.below(FIVE.len());
        let name = FIVE.get(at).context("there are five")?;
        let server = self.servers.get(at).context("all run")?;
        if self.chance.one_in(2) {
            server.strike()?;
        } else {
            server.terminate()?;
        }
        server.wait()?;
        let data = data.join(name);
        fs::remove_dir_all(&data)?;
        copy_directory(&copies.join(name), &data)?;
        self.put_back += 1;
        let again = self.site.start(name, None)?;
        again.wait_listens()?;
        *self.servers.get_mut(at).context("all run")? = again;
        let dump = self.agreed()?;
        ensure!(dump.bytes == before.bytes, "{name} had an older directory, and something is lost");
        Ok(())
    }

    /// What all show, once that is the same.
    fn agreed(&self) -> Result<Dump> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ready = self.servers.iter().all(Server::is_ready);
            if ready {
                let dumps: Vec<_> = self.servers.iter().map(Server::dump).collect::<Result<_>>()?;
                let mut dumps = dumps.into_iter();
                let first = dumps.next().context("there are servers")?;
                if dumps.all(|dump| dump.bytes == first.bytes) {
                    return Ok(first);
                }
            }
            for server in &self.servers {
                let ended = server.ended()?;
                ensure!(ended.is_none(), "{} ended{}", server.name, server.last_words());
            }
            ensure!(Instant::now() < deadline, "five servers do not agree within {PATIENCE:?}");
            pause(Duration::from_millis(5));
        }
    }

    /// Load, a kill of all, a start of all.
    fn cycle(&mut self) -> Result<()> {
        let pace =
            Pace { batch_max: self.chance.between(1, 64), pause_ms_max: self.chance.below(8) };
        let mut writers = Vec::new();
        for server in &self.servers {
            for writer in 0..WRITERS {
                let prefix = format!("{}-{writer}-", server.name);
                let clients = self.book.take(|client| client.name.starts_with(&prefix));
                let chance = Chance::of(self.chance.next(), &prefix, 0);
                writers.push(Writer { address: server.listen, clients, chance, pace });
            }
        }
        let until = self.chance.millis(20, 350);
        let stops = self.chance.one_in(4).then(|| self.chance.below(FIVE.len()));
        let before = self.chance.millis(0, 40);
        let servers = &self.servers;
        under_load(&mut self.book, writers, &Tally::default(), || {
            pause(until);
            if let Some(server) = stops.and_then(|at| servers.get(at)) {
                server.terminate()?;
                pause(before);
            }
            kill(servers)
        })?;
        self.one_stopped += usize::from(stops.is_some());
        self.restart()
    }

    fn kill_all(&self) -> Result<()> {
        kill(&self.servers)
    }

    /// A last look at how they end in order.
    fn end(&mut self) -> Result<()> {
        for server in &self.servers {
            server.terminate()?;
        }
        for server in &self.servers {
            let status = server.wait()?;
            ensure!(status.success(), "{} ended with {status}{}", server.name, server.last_words());
        }
        Ok(())
    }
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn kill(servers: &[Server]) -> Result<()> {
    servers.iter().try_for_each(Server::strike)?;
    servers.iter().try_for_each(|server| server.wait().map(drop))
}
