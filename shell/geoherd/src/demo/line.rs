//! A client of the line protocol, for those who do many things at once.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection on which one command is asked after the other.
#[derive(Debug)]
pub(super) struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Conversation {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and returns the lines of its answer, without their ends. The empty line after
    /// the places is the last of theirs. After an error the conversation is over.
    pub(super) async fn ask(&mut self, command: &str) -> io::Result<Vec<String>> {
        timeout(PATIENCE, self.exchange(command)).await?
    }

    async fn exchange(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.stream.write_all(format!("{command}\n").as_bytes()).await?;
        let first = self.line().await?;
        let with_places = command.starts_with("WHATSAT") && first.starts_with("AT ");
        let mut lines = vec![first];
        while with_places && lines.last().is_some_and(|line| !line.is_empty()) {
            lines.push(self.line().await?);
        }
        Ok(lines)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_line(&mut line).await?;
        match line.strip_suffix('\n') {
            Some(whole) => Ok(whole.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A server that has just been started takes a second to load its places on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names of places are long; no line of an answer is longer than this.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Now, as the protocol writes times; always with nine digits, so that times compare as texts.
pub(super) fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

/// A point as the protocol writes it, to about a decimeter.
pub(super) fn location(point: herd_geo::Point) -> String {
    let mut text = String::new();
    herd_geo::write_iso6709(point, 6, &mut text);
    text
}
