//! The paced load: so many reports a second at each server, steadily, whatever comes back.
//!
//! Unlike [`load`](crate::load) it does not ask as fast as it is answered, so what is measured meanwhile
//! is the herd at a known rate and not the machine at its limit.

use crate::herd::Server;
use crate::probe::{report, time_text, unix_nanos};
use anyhow::{Context as _, Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How fast, and how many clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Reports a second at each server.
    pub(crate) rate: u32,
    /// Clients of each server, which report in turn.
    pub(crate) clients: u32,
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Paced {
    shared: Arc<Shared>,
    writer: JoinHandle<Result<()>>,
    readers: Vec<JoinHandle<Result<u64>>>,
}

#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    stopping: AtomicBool,
}

/// What replies begin with is checked; nothing is waited for longer than this.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

impl Paced {
    /// Starts it. The clients of the server at place n are written by writer n.
    pub(crate) fn start<'a>(
        servers: impl IntoIterator<Item = &'a Server>,
        pace: Pace,
    ) -> Result<Self> {
        Self::start_as(0, servers, pace)
    }

    /// The same, where the first server's clients are written by this writer, so that two loads have other clients.
    pub(crate) fn start_as<'a>(
        first: u16,
        servers: impl IntoIterator<Item = &'a Server>,
        pace: Pace,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut writers = Vec::new();
        let mut readers = Vec::new();
        for server in servers {
            let (stream, reader) = connect(server.address)?;
            let expected = format!("AT {} ", server.name).into_bytes();
            readers.push(std::thread::spawn(move || read_all(reader, &expected)));
            writers.push(stream);
        }
        let writing = shared.clone();
        let writer = std::thread::spawn(move || write_all(first, &mut writers, pace, &writing));
        Ok(Self { shared, writer, readers })
    }

    /// Reports sent so far, at all servers.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }

    /// Ends it and returns how many reports were sent, once all are answered.
    pub(crate) fn stop(self) -> Result<u64> {
        self.shared.stopping.store(true, Relaxed);
        self.writer.join().ok().context("the writer of a load panicked")??;
        let mut answered = 0;
        for reader in self.readers {
            answered += reader.join().ok().context("a reader of a load panicked")??;
        }
        let sent = self.shared.sent.load(Relaxed);
        ensure!(sent == answered, "{sent} reports were answered {answered} times");
        Ok(sent)
    }
}

fn connect(address: SocketAddr) -> Result<(TcpStream, TcpStream)> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let reader = stream.try_clone()?;
    Ok((stream, reader))
}

fn write_all(first: u16, streams: &mut [TcpStream], pace: Pace, shared: &Shared) -> Result<()> {
    /// Reports that are due within one of these go out together; short against any latency of interest.
    const TICK: Duration = Duration::from_millis(1);
    let began = Instant::now();
    let mut done: u64 = 0;
    while !shared.stopping.load(Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(pace.rate)).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let due = due as u64;
        for number in done..due {
            let client = u32::try_from(number % u64::from(pace.clients)).unwrap_or(0);
            for (writer, stream) in (first..).zip(streams.iter_mut()) {
                let line = report(&client_name(writer, client), &time_text(unix_nanos()));
                stream.write_all(line.as_bytes())?;
                shared.sent.fetch_add(1, Relaxed);
            }
        }
        done = due.max(done);
        crate::machine::pass(TICK);
    }
    for stream in streams {
        stream.shutdown(Shutdown::Write)?;
    }
    Ok(())
}

/// Counts replies until the server has given the last and closed.
fn read_all(mut stream: TcpStream, expected: &[u8]) -> Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut answered, mut at_start) = (0, true);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(answered);
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        if at_start && count >= expected.len() {
            let said = || String::from_utf8_lossy(bytes).into_owned();
            ensure!(bytes.starts_with(expected), "a report was answered {:?}", said());
        }
        at_start = bytes.ends_with(b"\n");
        answered += memchr::memchr_iter(b'\n', bytes).count() as u64;
    }
}

/// A client of a writer.
pub(crate) fn client_name(writer: u16, client: u32) -> String {
    format!("paced{writer:03}-{client:06}.example")
}

/// The writer and the number in a client's name, if it is one of these.
pub(crate) fn client_number(name: &str) -> Option<(u16, u32)> {
    let (writer, client) = name.strip_prefix("paced")?.strip_suffix(".example")?.split_once('-')?;
    Some((writer.parse().ok()?, client.parse().ok()?))
}
