//! A client that fails with an error, not a panic: here servers die on purpose.

use anyhow::{Context as _, Result, ensure};
use herd_e2e::At;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
#[derive(Debug)]
pub(crate) struct Asker {
    stream: BufReader<TcpStream>,
}

impl Asker {
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    pub(crate) fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes())?)
    }

    /// The next line, without its line feed.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line)?;
        ensure!(count > 0, "closed by the server");
        line.pop().context("a line has an end").map(|_| line)
    }

    /// Reads the answer to a WHATSAT without places.
    pub(crate) fn located(&mut self) -> Result<Option<At>> {
        let first = self.line()?;
        if first.starts_with("? ") {
            return Ok(None);
        }
        // The document ends with the one empty line of the answer.
        while !self.line()?.is_empty() {}
        ensure!(first.starts_with("AT "), "a WHATSAT was answered {first:?}");
        Ok(Some(At::parse(&first)))
    }
}
