//! A herd of real processes in a lab.

use crate::lab::Lab;
use crate::wire::Manner;
use anyhow::{Context as _, Result};
use herd_e2e::{Client, Metrics, PATIENCE, Process, Signal, geoherd, get, wait_for};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tempfile::TempDir;

/// The five servers of the example config.
pub const FIVE: [&str; 5] = ["Campbell", "Hill", "Jaquez", "Singleton", "Smith"];

/// Their six links.
pub const FIVE_LINKS: [(&str, &str); 6] = [
    ("Hill", "Jaquez"),
    ("Hill", "Smith"),
    ("Smith", "Campbell"),
    ("Singleton", "Jaquez"),
    ("Singleton", "Smith"),
    ("Singleton", "Campbell"),
];

/// In its own room every server has these ports for itself.
const PORT: u16 = 12000;
const HTTP_PORT: u16 = 12080;

/// Servers that run in a lab. Dropping it ends them and removes the lab.
#[derive(Debug)]
pub struct Herd {
    // In this order they are dropped: what runs in a room ends before the room does.
    processes: BTreeMap<String, Process>,
    lab: Lab,
    binary: PathBuf,
    dir: TempDir,
}

impl Herd {
    /// Lays out the seeds' five, over wires of ours if a manner is given, moves the calling thread into the
    /// lab, and starts them.
    pub fn five(manner: Option<Manner>) -> Result<Self> {
        let mut herd = Self::lay_out(&FIVE, &FIVE_LINKS, "", manner, geoherd())?;
        herd.lab.enter()?;
        for name in FIVE {
            herd.launch(name);
        }
        for name in FIVE {
            herd.wait_ready(name);
        }
        Ok(herd)
    }

    /// Makes the lab and the config, with `settings` (TOML) at its end, and starts nothing.
    pub fn lay_out(
        names: &[&str],
        links: &[(&str, &str)],
        settings: &str,
        manner: Option<Manner>,
        binary: &Path,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("herd-net-").tempdir()?;
        let lab = Lab::with_wires(names, links, manner)?;
        let mut text =
            "[herd]\nname = \"lab\"\n[places]\nprovider = \"none\"\n[log]\ntraffic = false\n"
                .to_owned();
        for name in names {
            let address = lab.address(name)?;
            let neighbors: Vec<&str> =
                links.iter().filter(|(from, _)| from == name).map(|(_, to)| *to).collect();
            writeln!(
                text,
                "[servers.{name}]\nlisten = \"{address}:{PORT}\"\nhttp = \"{address}:{HTTP_PORT}\"\nneighbors = \
                 {neighbors:?}"
            )?;
        }
        fs::write(dir.path().join("herd.toml"), text + settings)?;
        Ok(Self { processes: BTreeMap::new(), lab, binary: binary.to_owned(), dir })
    }

    /// What can be done to its links.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Where a server listens for clients; to be reached from inside the lab.
    #[track_caller]
    pub fn address(&self, name: &str) -> SocketAddr {
        SocketAddr::from((self.lab.address(name).expect("it is one of these"), PORT))
    }

    /// Where it tells how it is.
    #[track_caller]
    pub fn http_address(&self, name: &str) -> SocketAddr {
        SocketAddr::from((self.lab.address(name).expect("it is one of these"), HTTP_PORT))
    }

    /// Starts a server and does not wait for it.
    #[track_caller]
    pub fn launch(&mut self, name: &str) {
        let process = self.try_launch(name).expect("it can be started");
        self.processes.insert(name.to_owned(), process);
    }

    fn try_launch(&self, name: &str) -> Result<Process> {
        let mut command = self.lab.command(name, &self.binary)?;
        command.args(["serve", name, "--config", "herd.toml", "--log-dir", "logs"]);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("GEOHERD_") {
                command.env_remove(variable);
            }
        }
        for end in ["out", "err"] {
            let path = self.dir.path().join(format!("{name}.{end}"));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            if end == "out" {
                command.stdout(file)
            } else {
                command.stderr(file)
            };
        }
        Ok(Process::start(&mut command))
    }

    /// A server's process, as it was last started.
    #[track_caller]
    pub fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).unwrap_or_else(|| panic!("{name} was not started"))
    }

    /// Kills a server as a crash would.
    #[track_caller]
    pub fn kill9(&mut self, name: &str) {
        self.process(name).kill9();
    }

    /// Stops a server in its tracks, or lets it go on.
    #[track_caller]
    pub fn freeze(&mut self, name: &str, frozen: bool) {
        self.process(name).signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Tells a server to stop and waits until it has.
    #[track_caller]
    pub fn terminate(&mut self, name: &str) -> ExitStatus {
        self.process(name).signal(Signal::TERM);
        self.process(name).exit()
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self, name: &str) -> bool {
        get(self.http_address(name), "/readyz").is_ok_and(|answer| answer.code == 200)
    }

    /// Waits until it is.
    #[track_caller]
    pub fn wait_ready(&mut self, name: &str) {
        wait_for(&format!("{name} is ready: {}", self.printed(name)), PATIENCE, || {
            let ended = self.process(name).ended();
            assert_eq!(ended, None, "{name} ended: {}", self.printed(name));
            self.is_ready(name).then_some(())
        });
    }

    /// What a server printed.
    pub fn printed(&self, name: &str) -> String {
        let read = |end: &str| {
            fs::read_to_string(self.dir.path().join(format!("{name}.{end}"))).unwrap_or_default()
        };
        read("out") + &read("err")
    }

    /// What the log of a server says now.
    pub fn log(&self, name: &str) -> Result<String> {
        let path = self.dir.path().join("logs").join(format!("{name}.log"));
        let bytes = fs::read(path).context("no log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A connection to a server.
    #[track_caller]
    pub fn client(&self, name: &str) -> Client {
        Client::connect(self.address(name))
    }

    /// What a server counts, if it answers.
    pub fn metrics(&self, name: &str) -> Option<Metrics> {
        let answer = get(self.http_address(name), "/metrics").ok()?;
        (answer.code == 200).then(|| Metrics::parse(&answer.body))
    }

    /// Leaves its files for somebody to read, and says where they are.
    pub fn keep_files(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }
}
