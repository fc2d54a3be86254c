//! Redis: a server of its own, with nothing written to disks, and what is asked of it one thing after another.

use super::Found;
use crate::herd::free_addresses;
use crate::load::{REDIS_KEY, redis_command};
use crate::process::{Process, Scratch};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "redis-server";

const MISSING: &str = "redis-server is not installed: apt install redis-server";

/// It listens within this.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Another program may take a port between its choice and its use; not so often.
const ATTEMPTS: usize = 3;

/// A running server.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    _dir: Scratch,
}

impl Redis {
    /// Starts one, if it is installed, and waits until it answers.
    pub(crate) fn start() -> Result<Found<Self>> {
        let silent = Stdio::null;
        let mut probe = Command::new(PROGRAM);
        probe.arg("--version").stdin(silent()).stdout(silent()).stderr(silent());
        if !probe.status().is_ok_and(|status| status.success()) {
            return Ok(Found::Missing(MISSING));
        }
        for _ in 0..ATTEMPTS {
            if let Some(redis) = Self::try_start()? {
                return Ok(Found::Here(redis));
            }
        }
        bail!("{PROGRAM} found no port in {ATTEMPTS} attempts");
    }

    /// None if it ended at once, which it does where the port is taken.
    fn try_start() -> Result<Option<Self>> {
        let dir = Scratch::new()?;
        let address = *free_addresses(1)?.first().context("one was asked for")?;
        let mut command = Command::new(PROGRAM);
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--io-threads", "1"]);
        command.arg("--dir").arg(dir.path());
        let process = Process::start_unheard(&mut command, &dir.path().join("errors"))?;
        let deadline = Instant::now() + READY_WITHIN;
        while !is_itself(address, process.pid()) {
            if process.has_ended()? {
                return Ok(None);
            }
            ensure!(Instant::now() < deadline, "{PROGRAM} does not answer within {READY_WITHIN:?}");
            crate::machine::pass(Duration::from_millis(5));
        }
        Ok(Some(Self { address, process, _dir: dir }))
    }
}

/// Whether the process that was started answers there, and not another that was faster.
fn is_itself(address: SocketAddr, pid: u32) -> bool {
    let said = Asker::connect(address).and_then(|mut asker| asker.ask(&["INFO", "server"]));
    let line = format!("process_id:{pid}");
    said.and_then(Reply::text).is_ok_and(|text| text.lines().any(|said| said == line))
}

/// A client that asks one thing after another.
#[derive(Debug)]
pub(crate) struct Asker {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Number(i64),
    Text(String),
    List(Vec<Reply>),
}

/// No answer takes this long, also where a million points are looked at.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// Lists within lists end here: those asked for have pairs in a list.
const DEPTH_MAX: usize = 4;

impl Asker {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    pub(crate) fn ask(&mut self, parts: &[&str]) -> Result<Reply> {
        self.stream.get_mut().write_all(redis_command(parts).as_bytes())?;
        self.reply(DEPTH_MAX)
    }

    fn reply(&mut self, depth: usize) -> Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("the connection was closed")?;
        match kind {
            ":" => Ok(Reply::Number(rest.parse()?)),
            "+" => Ok(Reply::Text(rest.to_owned())),
            "$" => {
                let length: usize = rest.parse()?;
                // With the line's end.
                let mut text = vec![0; length + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(length);
                Ok(Reply::Text(String::from_utf8(text)?))
            }
            "*" if depth > 0 => {
                let count: usize = rest.parse()?;
                Ok(Reply::List((0..count).map(|_| self.reply(depth - 1)).collect::<Result<_>>()?))
            }
            _ => bail!("Redis answered {line:?}"),
        }
    }

    /// Microseconds that a command took so far inside the server, all calls together.
    pub(crate) fn micros(&mut self, command: &str) -> Result<f64> {
        let text = self.ask(&["INFO", "commandstats"])?.text()?;
        let head = format!("cmdstat_{command}:");
        let stats = text.lines().find_map(|line| line.strip_prefix(&head));
        // It has not been called yet.
        let Some(stats) = stats else { return Ok(0.0) };
        let micros = stats.split(',').find_map(|part| part.strip_prefix("usec="));
        Ok(micros.with_context(|| format!("no usec in {stats}"))?.parse()?)
    }

    /// How many clients it knows.
    pub(crate) fn members(&mut self) -> Result<u64> {
        match self.ask(&["ZCARD", REDIS_KEY])? {
            Reply::Number(count) => Ok(u64::try_from(count)?),
            other @ (Reply::Text(_) | Reply::List(_)) => bail!("{other:?} is no count"),
        }
    }
}

impl Reply {
    pub(crate) fn text(self) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(_) | Self::List(_) => bail!("{self:?} is no text"),
        }
    }

    pub(crate) fn list(self) -> Result<Vec<Self>> {
        match self {
            Self::List(list) => Ok(list),
            Self::Number(_) | Self::Text(_) => bail!("{self:?} is no list"),
        }
    }
}
