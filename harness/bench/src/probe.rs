//! One connection, one thing after another: for questions whose answer matters, not its speed.

use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

/// A client that asks one thing after another.
#[derive(Debug)]
pub(crate) struct Probe {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// No answer takes this long, also on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

impl Probe {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    /// Asks over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream), line: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("cannot write a question")
    }

    /// The next line, without its line feed.
    pub(crate) fn line(&mut self) -> Result<&[u8]> {
        self.line.clear();
        let count =
            self.stream.read_until(b'\n', &mut self.line).context("cannot read an answer")?;
        ensure!(count > 0, "the connection was closed");
        self.line.strip_suffix(b"\n").context("the connection was closed within a line")
    }

    /// Reports a position and checks the reply.
    pub(crate) fn report(&mut self, server: &str, client: &str, time: &str) -> Result<()> {
        self.send(report(client, time).as_bytes())?;
        self.confirm(server, client, time)
    }

    /// Reads the reply to a report.
    pub(crate) fn confirm(&mut self, server: &str, client: &str, time: &str) -> Result<()> {
        let line = self.line()?;
        let tail = format!(" {client} {LOCATION} {time}");
        let right =
            line.starts_with(format!("AT {server} ").as_bytes()) && line.ends_with(tail.as_bytes());
        ensure!(right, "{client} {time} was answered {:?}", String::from_utf8_lossy(line));
        Ok(())
    }

    /// The AT line of a client's newest report as this server tells it; empty if it knows of none.
    pub(crate) fn locate(&mut self, client: &str) -> Result<Vec<u8>> {
        self.send(format!("WHATSAT {client} 0 0\n").as_bytes())?;
        self.located()
    }

    /// Reads the answer to one WHATSAT.
    pub(crate) fn located(&mut self) -> Result<Vec<u8>> {
        let first = self.line()?.to_vec();
        if first.starts_with(b"? ") {
            return Ok(Vec::new());
        }
        // The document ends with the one empty line of the answer.
        while !self.line()?.is_empty() {}
        Ok(first)
    }
}

/// Where everyone is: the load is in how often they say so.
pub(crate) const LOCATION: &str = "+34.068930-118.445127";

/// An IAMAT.
pub(crate) fn report(client: &str, time: &str) -> String {
    format!("IAMAT {client} {LOCATION} {time}\n")
}

/// Nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as the protocol writes times.
pub(crate) fn time_text(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// More than any page of a server's own.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// The body of what a small HTTP server answers.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> Result<Vec<u8>> {
    Ok(Http::connect(address)?.get(path)?.body)
}

/// A connection to a small HTTP server that stays open from question to question.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Http {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream: BufReader::with_capacity(64 * 1024, stream), address })
    }

    /// Asks for a page that is there.
    pub(crate) fn get(&mut self, path: &str) -> Result<HttpAnswer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut answer = HttpAnswer { head: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            match line.strip_suffix("\r\n") {
                Some("") => break,
                Some(line) => answer.head.push(line.to_owned()),
                None => bail!("the connection was closed"),
            }
        }
        let length: usize = answer.header("content-length").context("no length")?.parse()?;
        ensure!(length as u64 <= PAGE_BYTES_MAX, "{path} was answered {length} bytes");
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body)?;
        let status = answer.head.first().map_or("", String::as_str);
        let text = || String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(status.starts_with("HTTP/1.1 200 "), "{path} was answered {status}: {}", text());
        Ok(answer)
    }
}

impl HttpAnswer {
    /// How long the question took inside the server, microseconds, if it says so.
    pub(crate) fn inside_us(&self) -> Result<Option<f64>> {
        let timing = self.header("server-timing");
        let inside_ms = timing.and_then(|text| text.strip_prefix("nearby;dur="));
        Ok(inside_ms.map(str::parse::<f64>).transpose()?.map(|ms| ms * 1000.0))
    }

    /// The value of a header, by its name in lower case.
    fn header(&self, name: &str) -> Option<&str> {
        let mut pairs = self.head.iter().filter_map(|line| line.split_once(": "));
        pairs.find_map(|(named, value)| named.eq_ignore_ascii_case(name).then_some(value))
    }
}
