//! Herds to measure: a temporary config, free ports, one process a server.

use crate::Options;
use crate::probe;
use crate::process::{Process, Scratch};
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Running servers.
#[derive(Debug)]
pub(crate) struct Herd {
    pub(crate) servers: Vec<Server>,
    /// Removed when the servers have ended.
    _dir: Scratch,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    http: SocketAddr,
    pub(crate) process: Process,
}

/// What a herd is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) links: &'a [(&'a str, &'a str)],
    /// A foreign neighbour, as its name and where it listens, and the server it is linked with.
    pub(crate) foreign: Option<(&'a str, SocketAddr, &'a str)>,
    /// Whether every message is logged.
    pub(crate) log_traffic: bool,
}

/// Servers find one another within this.
const LINKED_WITHIN: Duration = Duration::from_secs(20);

impl Herd {
    /// One server alone.
    pub(crate) fn of_one(options: &Options, log_traffic: bool) -> Result<Self> {
        Self::start(options, &Plan { names: &["Hill"], log_traffic, ..Plan::default() })
    }

    /// Starts the servers and waits until all of them are linked.
    pub(crate) fn start(options: &Options, plan: &Plan<'_>) -> Result<Self> {
        // Another program may take a port between its choice and its use.
        let mut attempt = 0;
        loop {
            attempt += 1;
            match Self::try_start(options, plan) {
                Err(error) if attempt < 3 && format!("{error:#}").contains("in use") => {}
                result => return result,
            }
        }
    }

    fn try_start(options: &Options, plan: &Plan<'_>) -> Result<Self> {
        let dir = Scratch::new()?;
        let ports = free_addresses(plan.names.len() * 2)?;
        let addresses: Vec<_> = ports
            .chunks_exact(2)
            .filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)))
            .collect();
        let config = dir.path().join("herd.toml");
        std::fs::write(&config, text(plan, &addresses, dir.path()))?;
        let program = options.server.as_deref().context("no server to start")?;
        let mut servers = Vec::new();
        for (&name, (address, http)) in plan.names.iter().zip(addresses) {
            let mut command = Command::new(program);
            command.args(["serve", name, "--config"]).arg(&config).current_dir(dir.path());
            for (key, _) in std::env::vars_os() {
                if key.to_string_lossy().starts_with("GEOHERD_") {
                    command.env_remove(key);
                }
            }
            let process = Process::start(&mut command, &dir.path().join(format!("{name}.errors")))?;
            servers.push(Server { name: name.to_owned(), address, http, process });
        }
        let herd = Self { servers, _dir: dir };
        herd.linked()?;
        Ok(herd)
    }

    fn linked(&self) -> Result<()> {
        let deadline = Instant::now() + LINKED_WITHIN;
        for server in &self.servers {
            while !server.is_linked()? {
                if Instant::now() > deadline {
                    bail!("{} is not linked: {}", server.name, server.status()?);
                }
                crate::machine::pass(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// The first server.
    pub(crate) fn first(&self) -> Result<&Server> {
        self.servers.first().context("a herd has servers")
    }

    /// Processor time of all servers so far, seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.servers.iter().map(|server| server.process.cpu()).sum()
    }
}

impl Server {
    /// What it tells of itself.
    pub(crate) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&probe::http_get(self.http, "/status")?)?)
    }

    /// Records of others that were newer than what it knew.
    pub(crate) fn taken_from_others(&self) -> Result<u64> {
        self.metric("geoherd_propagation_seconds_count")
    }

    /// Lines of the log that were not written: a log never makes a client wait.
    pub(crate) fn log_lines_lost(&self) -> Result<u64> {
        self.metric("geoherd_log_lines_lost_total")
    }

    fn metric(&self, name: &str) -> Result<u64> {
        let metrics = probe::http_get(self.http, "/metrics")?;
        let metrics = String::from_utf8_lossy(&metrics);
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .and_then(|count| count.parse().ok())
            .with_context(|| format!("no {name} in the metrics of {}", self.name))
    }

    fn is_linked(&self) -> Result<bool> {
        let status = self.status()?;
        let links = status["links"].as_array().context("no links in the status")?;
        Ok(links.iter().all(|link| link["state"] == "up"))
    }
}

/// A number in a server's status.
pub(crate) fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no count"))
}

/// Addresses on this machine that nobody listens at: all chosen before any is let go.
fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let open = |_| TcpListener::bind("127.0.0.1:0");
    let listeners = (0..count).map(open).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    ensure!(addresses.len() == count, "not enough ports");
    Ok(addresses)
}

fn text(plan: &Plan<'_>, addresses: &[(SocketAddr, SocketAddr)], dir: &Path) -> String {
    let mut text = "[herd]\nname = \"bench\"\n[places]\nprovider = \"none\"\n".to_owned();
    // Writing to a String cannot fail.
    let _infallible = writeln!(
        text,
        "[log]\ndir = {:?}\ntraffic = {}\n[limits]\naccept_at_from = \"peers\"",
        dir.join("logs").display().to_string(),
        plan.log_traffic
    );
    for (name, (listen, http)) in plan.names.iter().zip(addresses) {
        let neighbors: Vec<&str> = plan
            .links
            .iter()
            .filter_map(|(from, to)| (from == name).then_some(*to))
            .chain(plan.foreign.and_then(|(foreign, _, to)| (to == *name).then_some(foreign)))
            .collect();
        let _infallible = writeln!(
            text,
            "[servers.{name}]\nlisten = \"{listen}\"\nhttp = \"{http}\"\nneighbors = {neighbors:?}"
        );
    }
    if let Some((name, listen, _)) = plan.foreign {
        let _infallible =
            writeln!(text, "[servers.{name}]\nlisten = \"{listen}\"\nprotocol = \"at\"");
    }
    text
}
