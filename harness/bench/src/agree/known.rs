//! What servers show of their clients, and whether all of them show the same.

use crate::herd::{Herd, Server};
use crate::machine::pass;
use anyhow::{Context as _, Result, ensure};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What one server shows of some clients: how many, and a hash of all that it says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) clients: u64,
    hash: u64,
}

/// No dump pauses for so long.
const READ_WITHIN: Duration = Duration::from_secs(30);

impl Known {
    /// Of all clients whose names begin so.
    pub(super) fn of(server: &Server, prefix: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(server.http())?;
        stream.set_read_timeout(Some(READ_WITHIN))?;
        // In this version an answer is what comes until the connection is closed.
        write!(stream, "GET /dump HTTP/1.0\r\nHost: {}\r\n\r\n", server.http())?;
        let mut lines = BufReader::with_capacity(64 * 1024, stream);
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line).into_owned();
        ensure!(text.contains(" 200 "), "a dump of {} was answered {text:?}", server.name);
        while line != b"\r\n" {
            line.clear();
            ensure!(
                lines.read_until(b'\n', &mut line)? > 0,
                "an answer without an end of its head"
            );
        }
        let start = format!("{{\"client\":\"{prefix}");
        let (mut clients, mut hasher) = (0, DefaultHasher::new());
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(Self { clients, hash: hasher.finish() });
            }
            if line.starts_with(start.as_bytes()) {
                clients += 1;
                line.hash(&mut hasher);
            }
        }
    }
}

/// Waits until all servers that run show the same of all clients whose names begin so, and how long that took from
/// `since`: up to when the first of the questions was asked whose answers were equal.
pub(super) fn equal(herd: &Herd, prefix: &str, since: Instant, within: Duration) -> Result<f64> {
    /// Between two looks, so that looking is not all that servers do.
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        let asked = since.elapsed();
        let mut known = Vec::new();
        for server in &herd.servers {
            known.push(Known::of(server, prefix)?);
        }
        let first = known.first().context("a herd has servers")?;
        if known.iter().all(|known| known == first) {
            return Ok(asked.as_secs_f64());
        }
        ensure!(asked < within, "after {asked:?} servers do not agree: {known:?}");
        pass(PAUSE);
    }
}

/// Records that all servers sent one another so far, those of processes that ended apart.
pub(super) fn records_sent(herd: &Herd) -> Result<u64> {
    herd.servers.iter().map(|server| server.links_sum("records_sent")).sum()
}
