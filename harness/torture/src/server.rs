//! Servers of a herd as processes: where they listen, starting, asking and ending them.

use crate::book::Dump;
use crate::guard::{Process, pause};
use crate::http::{self, Answer};
use anyhow::{Context as _, Result, bail, ensure};
use herd_e2e::Address;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Anything happens within this, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A herd's config and addresses.
#[derive(Debug)]
pub(crate) struct Site {
    program: PathBuf,
    /// Where config, logs and errors are.
    dir: PathBuf,
    addresses: BTreeMap<String, (SocketAddr, SocketAddr)>,
}

impl Site {
    /// Chooses addresses and writes the config; `storage` is what stands in that table.
    pub(crate) fn lay_out(
        program: &Path,
        dir: &Path,
        names: &[&str],
        links: &[(&str, &str)],
        storage: &str,
    ) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut ports = Address::unused().free_ports(2 * names.len()).into_iter();
        let mut addresses = BTreeMap::new();
        let mut text = "[herd]\nname = \"torture\"\n[places]\nprovider = \"none\"\n".to_owned();
        write!(text, "[log]\ntraffic = false\n[storage]\n{storage}\n")?;
        for &name in names {
            let (listen, http) = ports.next().zip(ports.next()).context("two were asked for")?;
            let neighbors: Vec<_> =
                links.iter().filter(|(from, _)| *from == name).map(|(_, to)| to).collect();
            writeln!(
                text,
                "[servers.{name}]\nlisten = \"{listen}\"\nhttp = \"{http}\"\nneighbors = {neighbors:?}"
            )?;
            addresses.insert(name.to_owned(), (listen, http));
        }
        fs::write(dir.join("herd.toml"), text)?;
        Ok(Self { program: program.to_owned(), dir: dir.to_owned(), addresses })
    }

    /// Starts a server; its log and its errors begin anew.
    pub(crate) fn start(&self, name: &str, data_dir: Option<&Path>) -> Result<Server> {
        let &(listen, http) = self.addresses.get(name).context("no such server")?;
        let log = self.dir.join(format!("{name}.log"));
        // There is none before the first start.
        let _first = fs::remove_file(&log);
        let errors = self.dir.join(format!("{name}.err"));
        let mut command = self.command(&["serve", name, "--config"]);
        command.arg(self.dir.join("herd.toml")).arg("--log-dir").arg(&self.dir);
        if let Some(dir) = data_dir {
            command.arg("--data-dir").arg(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let (process, stdout) = Process::start(&mut command)?;
        let stdout = stdout.context("the pipe was asked for")?;
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody waits any more only if the server was given up.
            let _given_up = sender.send(read.is_ok_and(|count| count > 0).then_some(line));
        });
        let name = name.to_owned();
        Ok(Server { name, listen, http, log, errors, process, said, begun: Instant::now() })
    }

    /// Runs `geoherd` with these arguments and waits for its end: its code, and what it printed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.command(args).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.code(), said))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(&self.dir);
        // What somebody's environment says must not change a run.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy().to_ascii_uppercase();
            if name.starts_with("GEOHERD_") || name.ends_with("_PROXY") || name == "RUST_LOG" {
                command.env_remove(variable);
            }
        }
        command
    }
}

/// One process of a server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) http: SocketAddr,
    log: PathBuf,
    errors: PathBuf,
    process: Process,
    said: Receiver<Option<String>>,
    begun: Instant,
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Not known yet.
    UnderWay,
    /// It listens, since so long after its start.
    Listens(Duration),
    /// The process has ended.
    Ended,
}

impl Server {
    /// Waits for a while until it says that it listens.
    pub(crate) fn listens(&self, within: Duration) -> Start {
        match self.said.recv_timeout(within) {
            Ok(Some(_)) => Start::Listens(self.begun.elapsed()),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => Start::Ended,
            Err(RecvTimeoutError::Timeout) => Start::UnderWay,
        }
    }

    /// Waits until it listens; how long that took.
    pub(crate) fn wait_listens(&self) -> Result<Duration> {
        match self.listens(PATIENCE) {
            Start::Listens(after) => Ok(after),
            Start::UnderWay => bail!("{} does not start within {PATIENCE:?}", self.name),
            Start::Ended => bail!("{} did not start: {}", self.name, self.last_words()),
        }
    }

    /// What it knows.
    pub(crate) fn dump(&self) -> Result<Dump> {
        let answer = http::get(self.http, "/dump")?;
        ensure!(answer.code == 200, "{}: /dump is answered {}", self.name, answer.text());
        Dump::parse(answer.body)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.http, path)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.code == 200)
    }

    /// Ends it as a crash would; it may not be gone yet.
    pub(crate) fn strike(&self) -> Result<()> {
        self.process.signal(Signal::KILL)
    }

    /// Tells it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    pub(crate) fn wait(&self) -> Result<ExitStatus> {
        self.process.wait(PATIENCE)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// What its log says of its start: it is written by a thread of its own, somewhat later.
    pub(crate) fn log_of_start(&self) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if log.contains("ready: server") {
                return Ok(log);
            }
            ensure!(Instant::now() < deadline, "{} logs nothing", self.name);
            pause(Duration::from_millis(1));
        }
    }

    /// What its log says.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it printed as errors.
    pub(crate) fn errors(&self) -> String {
        let bytes = fs::read(&self.errors).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The ends of what it wrote, for a report of a fault.
    pub(crate) fn last_words(&self) -> String {
        const LINES: usize = 12;
        let all = self.log() + &self.errors();
        let lines: Vec<_> = all.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
        format!("\n    {}", last.join("\n    "))
    }
}
