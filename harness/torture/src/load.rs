//! Writers: each reports its own clients at one server, for as long as that answers.

use crate::book::{Book, Client};
use crate::chance::Chance;
use crate::guard::pause;
use anyhow::{Result, ensure};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a writer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Reports sent at once, at most.
    pub(crate) batch_max: usize,
    /// Milliseconds between two batches, at most.
    pub(crate) pause_ms_max: usize,
}

/// One connection's worth of clients.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) address: SocketAddr,
    pub(crate) clients: Vec<Client>,
    pub(crate) chance: Chance,
    pub(crate) pace: Pace,
}

/// What all writers have done so far, and whether they shall stop.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) stop: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Writer {
    /// Writes until it is stopped or the connection ends.
    ///
    /// # Errors
    ///
    /// When an answer is wrong, or does not come.
    pub(crate) fn run(&mut self, tally: &Tally) -> Result<()> {
        let Ok(stream) = TcpStream::connect_timeout(&self.address, PATIENCE) else { return Ok(()) };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(64 * 1024, stream);
        while !tally.stop.load(Relaxed) && self.batch(&mut stream, tally)? {
            pause(self.chance.millis(0, self.pace.pause_ms_max));
        }
        Ok(())
    }

    /// False if the connection has ended.
    fn batch(&mut self, stream: &mut BufReader<TcpStream>, tally: &Tally) -> Result<bool> {
        let count = self.chance.between(1, self.pace.batch_max);
        let mut text = String::new();
        let mut reports = Vec::new();
        for _ in 0..count {
            let at = self.chance.below(self.clients.len());
            let Some(client) = self.clients.get_mut(at) else { return Ok(false) };
            let report = client.say(now_ns());
            text.push_str(&report);
            text.push('\n');
            reports.push((at, report));
        }
        // What was sent before it failed is answered yet, perhaps.
        let sent = stream.get_mut().write_all(text.as_bytes());
        let mut line = String::new();
        for (at, report) in reports {
            line.clear();
            match stream.read_line(&mut line) {
                // Half a line is none.
                Ok(_) if line.ends_with('\n') => {}
                Ok(_) => return Ok(false),
                Err(error) => {
                    let late = error.kind() == std::io::ErrorKind::WouldBlock;
                    ensure!(!late, "{report:?} was not answered within {PATIENCE:?}");
                    return Ok(false);
                }
            }
            let Some(client) = self.clients.get_mut(at) else { return Ok(false) };
            let is_taken = client.hear(&report, line.trim_end_matches('\n'))?;
            let count = if is_taken { &tally.acknowledged } else { &tally.refused };
            count.fetch_add(1, Relaxed);
        }
        Ok(sent.is_ok())
    }
}

pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs writers while `meanwhile` does something to the servers, and puts their clients back into the book.
/// They stop when that returns, at the latest.
pub(crate) fn under_load<T>(
    book: &mut Book,
    mut writers: Vec<Writer>,
    tally: &Tally,
    meanwhile: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let (done, outcomes) = std::thread::scope(|scope| {
        let running: Vec<_> =
            writers.iter_mut().map(|writer| scope.spawn(|| writer.run(tally))).collect();
        let done = meanwhile();
        tally.stop.store(true, Relaxed);
        let outcomes: Vec<_> = running.into_iter().map(ScopedJoinHandle::join).collect();
        (done, outcomes)
    });
    book.add(writers.into_iter().flat_map(|writer| writer.clients));
    for outcome in outcomes {
        outcome.map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    done
}
