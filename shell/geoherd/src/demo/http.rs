//! The least of HTTP: one question to a server's health address, one short answer.

use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Asks for `path`, waiting no longer than `patience`; returns the status code and the body.
pub(super) async fn get(
    address: SocketAddr,
    path: &str,
    patience: Duration,
) -> io::Result<(u16, String)> {
    timeout(patience, exchange(address, path)).await?
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    // Version 1.0: the server closes after the answer, so its end is plain to see.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    while stream.read_buf(&mut answer).await? > 0 {}
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some((code, body.to_owned()))
    });
    parts.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A status with 26 links has some 10 KB.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// What the table shows of `/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) ready: bool,
    pub(super) clients: u64,
    /// Its neighbors, and whether the link to each is up.
    pub(super) links: Vec<(String, bool)>,
}

impl Status {
    pub(super) fn links_up(&self) -> usize {
        self.links.iter().filter(|(_, is_up)| *is_up).count()
    }
}

/// Asks a server how it is; `None` if it does not say.
pub(super) async fn status(address: SocketAddr, patience: Duration) -> Option<Status> {
    let (_, body) = get(address, "/status", patience).await.ok()?;
    let status: Value = serde_json::from_str(&body).ok()?;
    let links = status.get("links")?.as_array()?.iter();
    let links = links.map(|link| {
        let is_up = link.get("state").is_some_and(|state| state == "up");
        Some((link.get("server")?.as_str()?.to_owned(), is_up))
    });
    Some(Status {
        ready: status.get("ready")?.as_bool()?,
        clients: status.get("clients")?.as_u64()?,
        links: links.collect::<Option<_>>()?,
    })
}
