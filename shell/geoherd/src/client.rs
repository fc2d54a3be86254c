//! Talking with a server as a client of the line protocol: one command, or many in a stream.
//!
//! Each conversation is a connection of its own, half-closed after the last command, so that every
//! server, ours or not, knows that it may close too. Nothing is kept open and nothing tried twice.

use crate::explain::{explain, fields};
use clap::Args;
use herd_proto::Command;
use herd_server::config::{format_duration, parse_duration};
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read as _, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which server, and how patiently.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// The server's host and port
    #[arg(
        long = "server",
        value_name = "ADDR",
        env = "GEOHERD_SERVER",
        default_value = "127.0.0.1:12000"
    )]
    pub(crate) address: String,
    /// How long to wait while nothing comes
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
}

pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing would ever be answered in no time".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}

/// Why there is no answer. Says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{address:?} is no address: {source}; write host and port, such as 127.0.0.1:12000")]
    Address { address: String, source: io::Error },
    #[error(
        "nobody listens at {address}; start a server (`geoherd serve NAME --config FILE`) or name another with --server ADDR"
    )]
    Refused { address: String },
    #[error(
        "cannot reach {address}: {source}; look at the network, or name another with --server ADDR"
    )]
    Unreachable { address: String, source: io::Error },
    #[error(
        "{address} did not answer within {}; is it a geoherd server? Wait longer with --timeout", format_duration(*.timeout)
    )]
    Silent { address: String, timeout: Duration },
    #[error("{address} closed the connection before its answer was complete; try again")]
    CutShort { address: String },
    #[error("the connection to {address} broke: {source}; try again")]
    Broken { address: String, source: io::Error },
    #[error(
        "the answer of {address} is longer than {REPLY_BYTES_MAX} bytes; is it a geoherd server?"
    )]
    TooLong { address: String },
    #[error("cannot read commands: {0}")]
    Input(io::Error),
    #[error("cannot write answers: {0}")]
    Output(io::Error),
}

/// Four times what a server reads from its provider; what is longer comes from something else.
const REPLY_BYTES_MAX: usize = 16 << 20;

impl Server {
    /// Sends one command, a line without its end, and returns the answer as it came: empty for an
    /// `AT`, which is answered with nothing.
    pub(crate) fn ask(&self, line: &str) -> Result<Vec<u8>, ClientError> {
        let mut stream = self.connect()?;
        let sent = stream
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stream.shutdown(Shutdown::Write));
        sent.map_err(|source| self.broken(source))?;
        let kind = Command::parse(line.as_bytes());
        let mut reply = Vec::new();
        let mut chunk = [0; CHUNK_BYTES];
        while !is_complete(&kind, &reply) {
            let silence_is_fine = matches!(kind, Command::At(_)) && reply.is_empty();
            match stream.read(&mut chunk) {
                Ok(0) if silence_is_fine || matches!(kind, Command::Blank) => break,
                Ok(0) => return Err(self.cut_short()),
                Ok(count) => reply.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if is_timeout(&error) && silence_is_fine => break,
                Err(error) if is_timeout(&error) => return Err(self.silent()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.broken(source)),
            }
            if reply.len() > REPLY_BYTES_MAX {
                return Err(ClientError::TooLong { address: self.address.clone() });
            }
        }
        Ok(reply)
    }

    /// Sends every line of `input` as it comes and writes all answers to `output`, without waiting for
    /// one before the next. Returns the commands that were answered with `?`.
    pub(crate) fn converse(
        &self,
        input: impl io::Read + Send + 'static,
        output: &mut impl Write,
    ) -> Result<Refusals, ClientError> {
        let mut stream = self.connect()?;
        let ended = Arc::new(AtomicBool::new(false));
        let sender = stream.try_clone().map_err(|source| self.broken(source))?;
        // Not joined: if the server goes away, this one may wait for its input for ever.
        let sending = std::thread::spawn({
            let ended = ended.clone();
            move || {
                let sent = send_lines(BufReader::new(input), &sender);
                ended.store(true, Ordering::Release);
                // A connection that is gone already needs no end.
                let _gone = sender.shutdown(Shutdown::Write);
                sent
            }
        });
        let mut refusals = Refusals::default();
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            let input_ended = ended.load(Ordering::Acquire);
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = chunk.get(..count).unwrap_or_default();
                    refusals.feed(bytes);
                    let written = output.write_all(bytes).and_then(|()| output.flush());
                    written.map_err(ClientError::Output)?;
                }
                // As long as input may come, silence is no fault of the server.
                Err(error) if is_timeout(&error) && !input_ended => {}
                Err(error) if is_timeout(&error) => return Err(self.silent()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(self.broken(source)),
            }
        }
        if !ended.load(Ordering::Acquire) {
            return Err(self.cut_short());
        }
        match sending.join() {
            Ok(Ok(())) => Ok(refusals),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub(crate) fn connect(&self) -> Result<TcpStream, ClientError> {
        let address = || self.address.clone();
        let unresolved = |source| ClientError::Address { address: address(), source };
        let candidates = self.address.to_socket_addrs().map_err(unresolved)?;
        let mut failure = unresolved(ErrorKind::NotFound.into());
        for candidate in candidates {
            let stream = TcpStream::connect_timeout(&candidate, self.timeout).and_then(|stream| {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.timeout))?;
                stream.set_write_timeout(Some(self.timeout))?;
                Ok(stream)
            });
            match stream {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    failure = ClientError::Refused { address: address() };
                }
                Err(source) => failure = ClientError::Unreachable { address: address(), source },
            }
        }
        Err(failure)
    }

    pub(crate) fn silent(&self) -> ClientError {
        ClientError::Silent { address: self.address.clone(), timeout: self.timeout }
    }

    pub(crate) fn cut_short(&self) -> ClientError {
        ClientError::CutShort { address: self.address.clone() }
    }

    pub(crate) fn broken(&self, source: io::Error) -> ClientError {
        ClientError::Broken { address: self.address.clone(), source }
    }
}

/// More than an answer without places, so that one read takes all of it.
const CHUNK_BYTES: usize = 16 << 10;

/// Whether `reply` is all that will come as the answer to such a command. What is answered with
/// nothing is complete only when the server closes.
fn is_complete(kind: &Command<'_>, reply: &[u8]) -> bool {
    let one_line = reply.ends_with(b"\n");
    match kind {
        Command::Whatsat(_) => reply.ends_with(b"\n\n") || one_line && reply.starts_with(b"?"),
        Command::Iamat(_) | Command::Unknown | Command::At(_) => one_line,
        Command::Blank => false,
    }
}

fn send_lines(mut input: BufReader<impl io::Read>, stream: &TcpStream) -> Result<(), ClientError> {
    let mut output = BufWriter::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = input.read_until(b'\n', &mut line).map_err(ClientError::Input)?;
        // The reader of answers sees a broken connection too, and knows more of it.
        let text = std::str::from_utf8(&line).ok().map(with_time);
        let bytes = text.as_ref().map_or(line.as_slice(), |text| text.as_bytes());
        let written = output.write_all(bytes);
        let flushed = if input.buffer().is_empty() { output.flush() } else { Ok(()) };
        if count == 0 || written.is_err() || flushed.is_err() {
            return Ok(());
        }
    }
}

/// `line` with the time of an IAMAT, if that is `now`, as POSIX seconds.
pub(crate) fn with_time(line: &str) -> String {
    let end = line.trim_ascii_end();
    match (fields(end).as_slice(), end.strip_suffix("now")) {
        (["IAMAT", _, _, "now"], Some(start)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let rest = line.get(end.len()..).unwrap_or_default();
            format!("{start}{}.{:09}{rest}", now.as_secs(), now.subsec_nanos())
        }
        _ => line.to_owned(),
    }
}

/// Collects the lines that begin with `?` out of a stream of answers.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    line: Vec<u8>,
    /// The refused commands, without the mark; no more than the first few.
    pub(crate) lines: Vec<String>,
    /// How many there were.
    pub(crate) count: u64,
}

impl Refusals {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let room = REFUSED_LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if !part.ends_with(b"\n") {
                continue;
            }
            if let Some(refused) = self.line.strip_prefix(b"? ") {
                self.count += 1;
                if self.lines.len() < REFUSALS_TOLD_MAX {
                    let refused = String::from_utf8_lossy(refused);
                    self.lines.push(refused.trim_end_matches('\n').to_owned());
                }
            }
            self.line.clear();
        }
    }

    /// Says on standard error why each was refused. True if there was none.
    pub(crate) fn tell(&self) -> bool {
        for line in &self.lines {
            eprintln!("{}", explain(line));
        }
        let untold = self.count - self.lines.len() as u64;
        if untold > 0 {
            eprintln!("and {untold} more commands were answered with `?`");
        }
        self.count == 0
    }
}

/// The longest line that a server can be told to read, and its mark.
const REFUSED_LINE_BYTES_MAX: usize = 65_536 + 2;

/// Nobody reads more explanations than this.
const REFUSALS_TOLD_MAX: usize = 20;

pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_the_time_of_a_report_and_nothing_else() {
        for line in ["WHATSAT now 1 now", "IAMAT now +1+2 3", "IAMAT a b now now", "now", ""] {
            assert_eq!(with_time(line), line);
        }
        let line = with_time(" IAMAT  kiwi +1+2 now \r\n");
        let time = line.strip_prefix(" IAMAT  kiwi +1+2 ").and_then(|l| l.strip_suffix(" \r\n"));
        let (seconds, nanos) = time.and_then(|time| time.split_once('.')).unwrap();
        assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && nanos.len() == 9, "{line}");
    }

    #[test]
    fn an_answer_ends_where_its_command_says() {
        let ends = |line: &str, reply: &[u8]| is_complete(&Command::parse(line.as_bytes()), reply);
        assert!(ends("IAMAT kiwi +1+2 3", b"AT Hill +0.1 kiwi +1+2 3\n"));
        assert!(!ends("WHATSAT kiwi 1 2", b"AT Hill +0.1 kiwi +1+2 3\n"));
        assert!(ends("WHATSAT kiwi 1 2", b"AT Hill +0.1 kiwi +1+2 3\n{\n}\n\n"));
        assert!(ends("WHATSAT kiwi 1 2", b"? WHATSAT kiwi 1 2\n"));
        assert!(ends("HELLO", b"? HELLO\n"));
        assert!(!ends("HELLO", b"? HEL"));
    }

    #[test]
    fn refusals_are_found_in_pieces_and_counted() {
        let mut refusals = Refusals::default();
        for piece in ["AT Hill\n? HE", "LLO\n{\n}\n\n", "? ", "\n", "x ? y\n"] {
            refusals.feed(piece.as_bytes());
        }
        assert_eq!((refusals.count, refusals.lines), (2, vec!["HELLO".to_owned(), String::new()]));
    }
}
