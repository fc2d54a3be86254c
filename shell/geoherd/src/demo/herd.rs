//! The servers of the demo as processes: started, looked after, killed, started again, ended.

use super::children::Children;
use super::http;
use super::plan::{self, Member};
use super::wires::Wires;
use anyhow::{Context as _, bail};
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Servers that run, as long as this lives.
#[derive(Debug)]
pub(super) struct Herd {
    members: Vec<Member>,
    // In this order: the processes must be gone before their directory goes.
    children: Arc<Children>,
    wires: Wires,
    dir: TempDir,
}

impl Herd {
    /// Starts `count` servers on free ports and waits until all are ready.
    ///
    /// `started` is told what there will be to clean up before any of it is started.
    pub(super) async fn start(
        count: usize,
        started: impl Fn(&Arc<Children>, &Path),
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("geoherd-demo-").tempdir();
        let dir = dir.context("cannot make a temporary directory")?;
        let children = Arc::new(Children::new(count));
        started(&children, dir.path());
        let (wires, _) = Wires::lay(&[], &[]).await?;
        let mut herd = Self { members: Vec::new(), children, wires, dir };
        for _ in 0..PORT_TRIES {
            herd.members = plan::members(&free_addresses(count)?);
            let addresses: Vec<_> = herd.members.iter().map(|member| member.listen).collect();
            let (wires, routes) = Wires::lay(&plan::links(count), &addresses).await?;
            herd.wires = wires;
            for place in 0..count {
                let config = herd.config(place);
                fs::write(&config, plan::config(&herd.members, place, &routes))
                    .with_context(|| format!("cannot write {}", config.display()))?;
                herd.spawn(place)?;
            }
            match herd.all_ready().await {
                Ok(()) => return Ok(herd),
                // Whoever was quicker has our port: all of them anew.
                Err(Failure::PortTaken) => (0..count).try_for_each(|n| herd.children.kill(n))?,
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        bail!("other programs took the ports of the servers {PORT_TRIES} times; try again");
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The links between them.
    pub(super) fn wires(&self) -> &Wires {
        &self.wires
    }

    pub(super) fn pid(&self, place: usize) -> Option<u32> {
        self.children.pid(place)
    }

    /// Whether the process of this server lives.
    pub(super) fn runs(&self, place: usize) -> bool {
        self.children.ended(place).is_none()
    }

    /// Ends one server as a power cut would: SIGKILL.
    pub(super) fn kill(&self, place: usize) -> anyhow::Result<()> {
        self.children.kill(place).with_context(|| format!("cannot kill {}", self.name(place)))
    }

    /// Starts a server that has ended, where it was. Returns as soon as the process lives; should its
    /// port be taken for a moment, [`ready`](Self::ready) starts it once more.
    pub(super) fn restart(&self, place: usize) -> anyhow::Result<()> {
        self.spawn(place)
    }

    /// Waits until a server that was started again says that it is ready.
    pub(super) async fn ready(&self, place: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_DEADLINE;
        loop {
            match self.one_ready(place, deadline).await {
                Ok(()) => return Ok(()),
                // A connection that began there by chance; it does not last.
                Err(Failure::PortTaken) if Instant::now() < deadline => {
                    tokio::time::sleep(POLL).await;
                    self.spawn(place)?;
                }
                Err(Failure::PortTaken) => {
                    bail!("another program has the port of {}", self.name(place))
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// Ends everything.
    pub(super) fn end(&self) {
        self.children.end_all();
    }

    fn spawn(&self, place: usize) -> anyhow::Result<()> {
        let name = self.name(place);
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let complaints = File::create(self.complaints(place))
            .with_context(|| format!("cannot write {}", self.complaints(place).display()))?;
        let mut command = Command::new(program);
        // What the environment sets for a real herd must not reach this one.
        for variable in ours(std::env::vars_os().map(|(name, _)| name)) {
            command.env_remove(variable);
        }
        command.args(["serve", name, "--config"]).arg(self.config(place));
        command.arg("--log-dir").arg(self.dir.path().join("logs"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
        // Ctrl-C in the terminal is for the demo alone, which then ends its servers.
        command.process_group(0);
        self.children.start(place, &mut command).with_context(|| format!("cannot start {name}"))
    }

    async fn all_ready(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_DEADLINE;
        for place in 0..self.members.len() {
            self.one_ready(place, deadline).await?;
        }
        Ok(())
    }

    async fn one_ready(&self, place: usize, deadline: Instant) -> Result<(), Failure> {
        let mut said = "nothing".to_owned();
        let Some(member) = self.members.get(place) else { return Ok(()) };
        while Instant::now() < deadline {
            if let Some(failure) = self.failure(place) {
                return Err(failure);
            }
            match http::get(member.http, "/readyz", ANSWER_PATIENCE).await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => said = body,
                Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
        }
        Err(Failure::Other(anyhow::anyhow!(
            "{} was not ready after {} s; its /readyz says {said}; {}",
            member.name,
            READY_DEADLINE.as_secs(),
            self.complained(place)
        )))
    }

    /// Why a server is not there any more.
    fn failure(&self, place: usize) -> Option<Failure> {
        let status = self.children.ended(place)?;
        let complained = self.complained(place);
        if status.code() == Some(2) && complained.contains("in use") {
            return Some(Failure::PortTaken);
        }
        let name = self.name(place);
        Some(Failure::Other(anyhow::anyhow!("{name} ended at once ({status}); {complained}")))
    }

    /// What a server wrote to its standard error.
    fn complained(&self, place: usize) -> String {
        let text = fs::read_to_string(self.complaints(place)).unwrap_or_default();
        match text.trim() {
            "" => "it said nothing".to_owned(),
            text => format!("it said: {text}"),
        }
    }

    fn name(&self, place: usize) -> &'static str {
        self.members.get(place).map_or("?", |member| member.name)
    }

    fn config(&self, place: usize) -> PathBuf {
        self.dir.path().join(format!("{}.toml", self.name(place)))
    }

    fn complaints(&self, place: usize) -> PathBuf {
        self.dir.path().join(format!("{}.stderr", self.name(place)))
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        self.end();
    }
}

enum Failure {
    /// Another program was given a port between our asking for a free one and the server's start.
    PortTaken,
    Other(anyhow::Error),
}

const PORT_TRIES: usize = 5;

/// Long enough for 26 servers, built without optimization, on two busy cores.
const READY_DEADLINE: Duration = Duration::from_mins(2);

/// A server listens before it answers: loading its places comes between.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

const POLL: Duration = Duration::from_millis(20);

/// Two free loopback ports for each server, none of them twice: all are held until all are known.
fn free_addresses(count: usize) -> anyhow::Result<Vec<(SocketAddr, SocketAddr)>> {
    let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port");
    let held: Vec<TcpListener> = (0..count * 2).map(|_| listener()).collect::<Result<_, _>>()?;
    let address = |listener: &TcpListener| listener.local_addr().context("no free port");
    let addresses: Vec<SocketAddr> = held.iter().map(address).collect::<Result<_, _>>()?;
    let pairs = addresses.chunks_exact(2).filter_map(|pair| match pair {
        &[listen, http] => Some((listen, http)),
        _ => None,
    });
    Ok(pairs.collect())
}

fn ours(names: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    names.filter(|name| name.to_string_lossy().starts_with("GEOHERD_"))
}
