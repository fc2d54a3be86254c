//! Herds to measure: temporary configs, free ports, one process a server.

use crate::Options;
use crate::load::{Expect, Load, Motion, Target};
use crate::probe;
use crate::process::{Process, Scratch};
use crate::quota::Quota;
use crate::wires::Wires;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Running servers.
#[derive(Debug)]
pub(crate) struct Herd {
    pub(crate) servers: Vec<Server>,
    /// Planned, and not started yet.
    asleep: Vec<Place>,
    program: PathBuf,
    /// Processor time that all servers share.
    quota: Option<Quota>,
    /// Removed when the servers have ended.
    dir: Scratch,
}

/// Where a server is to be.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    address: SocketAddr,
    http: SocketAddr,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) process: Process,
}

/// What a herd is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) links: &'a [(&'a str, &'a str)],
    pub(crate) foreign: &'a [Foreign],
    /// Whether every message is logged.
    pub(crate) log_traffic: bool,
    /// By how many ways updates are asked for, as the config says it; empty for the default.
    pub(crate) redundancy: &'a str,
    /// Links go over these; without them servers are linked directly.
    pub(crate) wires: Option<&'a Wires>,
    /// Servers that are not started yet.
    pub(crate) asleep: &'a [&'a str],
    /// When servers make safe what they write down, as the config says it; without it they write nothing.
    pub(crate) fsync: Option<&'a str>,
    /// Whether answers have places, out of the embedded data.
    pub(crate) places: bool,
    /// Limits that are not to be the config's own, by their keys.
    pub(crate) limits: &'a [(&'a str, usize)],
    /// After how long without a sign of life a server counts as gone, as the config says it; empty for the default.
    pub(crate) forget_after: &'a str,
}

/// A neighbor that knows nothing but AT lines.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// The server that it is linked with.
    pub(crate) of: String,
}

/// Connections over which a server is filled.
const FILLING: usize = 4;

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
        let places: Vec<_> = plan
            .names
            .iter()
            .zip(ports.chunks_exact(2))
            .filter_map(|(name, pair)| {
                let (&address, &http) = (pair.first()?, pair.get(1)?);
                Some(Place { name: (*name).to_owned(), address, http })
            })
            .collect();
        for place in &places {
            std::fs::write(dir.path().join(format!("{}.toml", place.name)), {
                text(plan, &place.name, &places, dir.path())?
            })?;
        }
        let program = options.server.clone().context("no server to start")?;
        let is_asleep = |place: &Place| plan.asleep.contains(&place.name.as_str());
        let (asleep, awake) = places.into_iter().partition(is_asleep);
        let mut herd = Self { servers: Vec::new(), asleep, program, quota: None, dir };
        for place in awake {
            let server = herd.launch(place)?;
            herd.servers.push(server);
        }
        if herd.asleep.is_empty() {
            herd.linked()?;
        }
        Ok(herd)
    }

    /// Starts a server and waits until it listens.
    fn launch(&self, place: Place) -> Result<Server> {
        let Place { name, address, http } = place;
        let mut command = Command::new(&self.program);
        let config = self.dir.path().join(format!("{name}.toml"));
        command.args(["serve", &name, "--config"]).arg(config).current_dir(self.dir.path());
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("GEOHERD_") {
                command.env_remove(key);
            }
        }
        let errors = self.dir.path().join(format!("{name}.errors"));
        let admit = |pid| self.quota.as_ref().map_or(Ok(()), |quota| quota.admit(pid));
        let process = Process::start_under(&mut command, &errors, admit)?;
        Ok(Server { name, address, http, process })
    }

    /// From now on all servers, and those that are started, share this processor time.
    pub(crate) fn share(&mut self, quota: Quota) -> Result<()> {
        for server in &self.servers {
            quota.admit(server.process.pid())?;
        }
        self.quota = Some(quota);
        Ok(())
    }

    /// Starts a server that was planned asleep; it becomes the last. It need not be linked yet.
    pub(crate) fn wake(&mut self, name: &str) -> Result<()> {
        let at = self.asleep.iter().position(|place| place.name == name);
        let place = self.asleep.swap_remove(at.context("no such server is asleep")?);
        let server = self.launch(place)?;
        self.servers.push(server);
        Ok(())
    }

    /// Starts all servers that do not run, at the same time, and returns when the last of them listens.
    pub(crate) fn wake_all(&mut self) -> Result<()> {
        let places = std::mem::take(&mut self.asleep);
        let herd = &*self;
        let started: Vec<Result<Server>> = std::thread::scope(|scope| {
            let launch = |place| scope.spawn(move || herd.launch(place));
            let threads: Vec<_> = places.into_iter().map(launch).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().ok().context("a thread panicked").and_then(|server| server)
            });
            joined.collect()
        });
        for server in started {
            self.servers.push(server?);
        }
        Ok(())
    }

    /// Kills a server as a crash would; it can be woken again.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        let at = self.servers.iter().position(|server| server.name == name);
        let server = self.servers.swap_remove(at.context("no such server runs")?);
        let Server { name, address, http, process } = server;
        drop(process);
        self.asleep.push(Place { name, address, http });
        Ok(())
    }

    /// Kills all of them; none goes on while others are killed.
    pub(crate) fn kill_all(&mut self) {
        for server in &self.servers {
            // It may have ended by itself.
            let _gone = server.process.signal(rustix::process::Signal::KILL);
        }
        for Server { name, address, http, process } in self.servers.drain(..) {
            drop(process);
            self.asleep.push(Place { name, address, http });
        }
    }

    /// Has a server stop in order; it can be woken again.
    pub(crate) fn put_to_sleep(&mut self, name: &str) -> Result<()> {
        let at = self.servers.iter().position(|server| server.name == name);
        let server = self.servers.swap_remove(at.context("no such server runs")?);
        server.process.stop()?;
        let Server { name, address, http, .. } = server;
        self.asleep.push(Place { name, address, http });
        Ok(())
    }

    /// Where a server keeps what it writes down.
    pub(crate) fn data_dir(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    /// Waits until every server that runs has all its links.
    pub(crate) fn linked(&self) -> Result<()> {
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

    /// A server by its name.
    pub(crate) fn server(&self, name: &str) -> Result<&Server> {
        let found = self.servers.iter().find(|server| server.name == name);
        found.with_context(|| format!("no server {name}"))
    }

    /// Waits until every server that runs knows so many clients.
    pub(crate) fn all_know(&self, clients: usize, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for server in &self.servers {
            loop {
                let known = server.clients()?;
                if known == clients as u64 {
                    break;
                }
                let name = &server.name;
                ensure!(Instant::now() < deadline, "{name} knows {known} clients, not {clients}");
                crate::machine::pass(Duration::from_millis(5));
            }
        }
        Ok(())
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

    /// Lets so many clients report to it once; returns the bytes of one report: name, location and time.
    pub(crate) fn fill(&self, prefix: &str, clients: usize) -> Result<usize> {
        self.fill_often(prefix, clients, 1)
    }

    /// The same, each of them so often.
    pub(crate) fn fill_often(&self, prefix: &str, clients: usize, times: usize) -> Result<usize> {
        let each = clients / FILLING;
        ensure!(each * FILLING == clients, "{clients} clients cannot be dealt out evenly");
        let target = Target {
            address: self.address,
            expect: Expect::At(self.name.clone()),
            connections: FILLING,
            depth: 200.min(each),
            clients: each,
            prefix: prefix.to_owned(),
            motion: Motion::Still,
            rate: None,
            reports_max: (each * times) as u64,
        };
        let said = Load::start(&[target], 1).finish()?;
        Ok(said.first().and_then(|requests| requests.last()).map_or(0, |text| text.len() - 2))
    }

    /// Its health, metrics and operators' questions.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// How many clients it knows.
    pub(crate) fn clients(&self) -> Result<u64> {
        number(&self.status()?["clients"])
    }

    /// The sum of one of the counters of its links to servers of the herd, foreign neighbors apart.
    pub(crate) fn links_sum(&self, counter: &str) -> Result<u64> {
        let status = self.status()?;
        let links = status["links"].as_array().context("no links in the status")?;
        let native = links.iter().filter(|link| link["protocol"] == "native");
        native.map(|link| number(&link[counter])).sum()
    }

    /// Records of others that were newer than what it knew.
    pub(crate) fn taken_from_others(&self) -> Result<u64> {
        self.metric("geoherd_propagation_seconds_count")
    }

    /// Lines of the log that were not written: a log never makes a client wait.
    pub(crate) fn log_lines_lost(&self) -> Result<u64> {
        self.metric("geoherd_log_lines_lost_total")
    }

    /// Incarnations of servers whose streams are known here.
    pub(crate) fn incarnations(&self) -> Result<u64> {
        self.metric("geoherd_incarnations")
    }

    /// Records that a comparison found missing although they had been confirmed.
    pub(crate) fn repairs(&self) -> Result<u64> {
        self.metric("geoherd_audit_repairs_total")
    }

    /// Times a link to this neighbor came up.
    pub(crate) fn links_established(&self, peer: &str) -> Result<u64> {
        self.metric(&format!("geoherd_link_established_total{{peer=\"{peer}\"}}"))
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
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let open = |_| TcpListener::bind("127.0.0.1:0");
    let listeners = (0..count).map(open).collect::<std::io::Result<Vec<_>>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
    ensure!(addresses.len() == count, "not enough ports");
    Ok(addresses)
}

/// The config as `reader` reads it: where links go over wires, others listen at its end of them.
fn text(plan: &Plan<'_>, reader: &str, places: &[Place], dir: &Path) -> Result<String> {
    let mut text = "[herd]\nname = \"bench\"\n".to_owned();
    if !plan.redundancy.is_empty() {
        writeln!(text, "redundancy = {}", plan.redundancy)?;
    }
    if !plan.forget_after.is_empty() {
        writeln!(text, "forget_after = {:?}", plan.forget_after)?;
    }
    writeln!(
        text,
        "[places]\nprovider = {:?}\n[log]\ndir = {:?}\ntraffic = {}\n[limits]\naccept_at_from = \
         \"peers\"",
        if plan.places { "embedded" } else { "none" },
        dir.join("logs").display().to_string(),
        plan.log_traffic
    )?;
    for (key, value) in plan.limits {
        writeln!(text, "{key} = {value}")?;
    }
    if let Some(fsync) = plan.fsync {
        let data = dir.join("data").display().to_string();
        writeln!(text, "[storage]\ndir = {data:?}\nfsync = \"{fsync}\"")?;
    }
    for Place { name, address, http } in places {
        let neighbors: Vec<&str> = plan
            .links
            .iter()
            .filter_map(|(from, to)| (from == name).then_some(*to))
            .chain(plan.foreign.iter().filter(|f| f.of == *name).map(|f| f.name.as_str()))
            .collect();
        let linked = |(from, to): &(&str, &str)| {
            (*from == reader && *to == *name) || (*to == reader && *from == *name)
        };
        let listen = match plan.wires {
            Some(wires) if plan.links.iter().any(linked) => wires.lead(reader, name, *address)?,
            _ => *address,
        };
        writeln!(
            text,
            "[servers.{name}]\nlisten = \"{listen}\"\nhttp = \"{http}\"\nneighbors = {neighbors:?}"
        )?;
    }
    for Foreign { name, address, .. } in plan.foreign {
        writeln!(text, "[servers.{name}]\nlisten = \"{address}\"\nprotocol = \"at\"")?;
    }
    Ok(text)
}
