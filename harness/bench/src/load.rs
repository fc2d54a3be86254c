//! The load: many connections of clients that report without pause, or at a pace, made by few threads.
//!
//! It shares the cores with what it measures, so it does little: requests are built once and only
//! their times are rewritten in place, replies are counted by their line feeds, and of every piece
//! that arrives one reply is compared with its request. A connection keeps `depth` requests
//! unanswered: what was answered is asked anew at once, in one write. What a request looks like is
//! in `requests`; here it is bytes that are answered with a line each.

mod requests;

pub(crate) use requests::{Motion, REDIS_KEY, Requests, location, redis_command};

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memchr;
pub(crate) use requests::is_reply;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What comes back for a report.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// The AT line of the server of this name.
    At(String),
    /// The same line.
    Echo,
    /// How many members Redis added: none or one. Reports are GEOADDs.
    Count,
}

/// Where connections go and how they ask.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) expect: Expect,
    pub(crate) connections: usize,
    /// Requests unanswered at once, each of another client.
    pub(crate) depth: usize,
    /// Clients that report over one connection, at least `depth`.
    pub(crate) clients: usize,
    /// Begins the clients' names, so that loads do not mix.
    pub(crate) prefix: String,
    pub(crate) motion: Motion,
    /// Reports a second of each connection; without it as fast as they are answered. Where they are
    /// not answered in time `depth` holds, and what was due is sent later.
    pub(crate) rate: Option<u32>,
    /// The load ends by itself after so many reports a connection.
    pub(crate) reports_max: u64,
}

/// A running load. Ends when it is told to; a failure shows then.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Vec<Requests>>>>,
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicU64,
    stopping: AtomicBool,
    failed: AtomicBool,
}

/// After a load was told to stop, what it asked is answered within this.
const DRAIN_WITHIN: Duration = Duration::from_mins(1);

/// What becomes due within one of these is sent together; as short as timers are.
const TICK: Duration = Duration::from_millis(1);

impl Load {
    /// Starts `targets` all at once, their connections dealt out to `threads` threads.
    pub(crate) fn start(targets: &[Target], threads: usize) -> Self {
        let threads = threads.max(1);
        let shared = Arc::new(Shared::default());
        let mut shares: Vec<Vec<(Target, usize)>> = vec![Vec::new(); threads];
        let all =
            targets.iter().flat_map(|target| (0..target.connections).map(move |n| (target, n)));
        for (at, (target, number)) in all.enumerate() {
            shares[at % threads].push((target.clone(), number));
        }
        let run = |share: Vec<(Target, usize)>| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let result = run(share, &shared);
                shared.failed.fetch_or(result.is_err(), Relaxed);
                result
            })
        };
        let threads = shares.into_iter().map(run).collect();
        Self { shared, threads }
    }

    /// Replies so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Relaxed)
    }

    /// Lets the load run for a while; less if it fails, which [`stop`](Self::stop) tells.
    pub(crate) fn pass(&self, time: Duration) {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.shared.failed.load(Relaxed) {
                return;
            }
            crate::machine::pass(left.min(LOOK_EVERY));
        }
    }

    /// Waits until something was answered: what is to be sent has been built by then. Less if it fails.
    pub(crate) fn await_answers(&self) {
        while self.answered() == 0 && !self.shared.failed.load(Relaxed) {
            crate::machine::pass(TICK);
        }
    }

    /// Asks nothing more, waits for what is still to be answered, and returns what each connection
    /// said last.
    ///
    /// # Errors
    ///
    /// When a reply was wrong or missing.
    pub(crate) fn stop(self) -> Result<Vec<Requests>> {
        self.shared.stopping.store(true, Relaxed);
        self.finish()
    }

    /// Waits until every connection has sent its `reports_max`.
    ///
    /// # Errors
    ///
    /// When a reply was wrong or missing.
    pub(crate) fn finish(self) -> Result<Vec<Requests>> {
        let mut all = Vec::new();
        for thread in self.threads {
            let part = thread.join().ok().context("a thread of the load panicked")?;
            all.extend(part?);
        }
        Ok(all)
    }
}

fn run(share: Vec<(Target, usize)>, shared: &Arc<Shared>) -> Result<Vec<Requests>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // All before the first is sent: a million take a second, in which nothing else could be sent.
    let new = |(target, number)| Asking::new(target, number);
    let all = share.into_iter().map(new).collect::<Result<Vec<_>>>()?;
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for asking in all {
            connections.spawn(converse(asking, shared.clone()));
        }
        let mut all = Vec::new();
        while let Some(ended) = connections.join_next().await {
            all.push(ended??);
        }
        Ok(all)
    })
}

async fn converse(mut asking: Asking, shared: Arc<Shared>) -> Result<Requests> {
    let address = asking.target.address;
    let stream = TcpStream::connect(address).await.context("cannot connect the load")?;
    stream.set_nodelay(true)?;
    asking.began = Instant::now();
    loop {
        asking.stopping = asking.stopping || shared.stopping.load(Relaxed);
        asking.ask(&stream)?;
        match stream.try_read(asking.replies.room()) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => {
                let answered = asking.take(count)?;
                shared.answered.fetch_add(answered as u64, Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if asking.is_done() {
                    return Ok(asking.requests);
                }
                let write = asking
                    .unsent
                    .as_ref()
                    .map_or(Interest::READABLE, |_| Interest::READABLE | Interest::WRITABLE);
                match timeout(asking.patience(), stream.ready(write)).await {
                    Ok(ready) => drop(ready?),
                    // The next reports are due.
                    Err(_) if asking.heard.elapsed() < DRAIN_WITHIN => {}
                    Err(_) => bail!("no reply"),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// One connection's state.
struct Asking {
    target: Target,
    requests: Requests,
    replies: Replies,
    /// Built but not yet taken by the socket: bytes of the requests.
    unsent: Option<std::ops::Range<usize>>,
    /// Reports built, and replies to them.
    asked: u64,
    answered: u64,
    began: Instant,
    /// When something was last to be read or nothing to be waited for.
    heard: Instant,
    stopping: bool,
}

impl Asking {
    fn new(target: Target, number: usize) -> Result<Self> {
        Ok(Self {
            requests: Requests::new(&target, number)?,
            replies: Replies::new(),
            unsent: None,
            asked: 0,
            answered: 0,
            began: Instant::now(),
            heard: Instant::now(),
            stopping: false,
            target,
        })
    }

    /// Reports that may have been sent by now.
    fn due(&self) -> u64 {
        let Some(rate) = self.target.rate else { return self.target.reports_max };
        let ticks = self.began.elapsed().as_nanos() / TICK.as_nanos();
        let due = ticks * u128::from(rate) * TICK.as_nanos() / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX).min(self.target.reports_max)
    }

    /// How long to wait for replies before looking at what else there is to do.
    fn patience(&mut self) -> Duration {
        if self.asked == self.answered {
            self.heard = Instant::now();
        }
        if self.target.rate.is_some() && !self.stopping { TICK } else { DRAIN_WITHIN }
    }

    /// Sends as much as the depth and the socket allow.
    fn ask(&mut self, stream: &TcpStream) -> Result<()> {
        loop {
            if self.unsent.is_none() && !self.stopping {
                let unanswered = self.asked - self.answered;
                let room = (self.target.depth as u64).saturating_sub(unanswered);
                let room = room.min(self.due().saturating_sub(self.asked));
                if room > 0 {
                    self.unsent = Some(self.requests.renew(self.asked, room));
                    self.asked += self.unsent.as_ref().map_or(0, ExactSizeIterator::len) as u64
                        / self.requests.line_len() as u64;
                }
            }
            let Some(range) = &mut self.unsent else { return Ok(()) };
            let bytes = self.requests.bytes(range.clone());
            match stream.try_write(bytes) {
                Ok(count) => range.start += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if range.start >= range.end {
                self.unsent = None;
            }
        }
    }

    /// Counts the replies in what was read, and compares the first of them with its request.
    fn take(&mut self, count: usize) -> Result<usize> {
        let lines = self.replies.filled(count);
        if let Some(first) = lines.first() {
            let request = self.requests.line(self.answered);
            if !is_reply(&self.target.expect, request, first) {
                let (request, first) =
                    (String::from_utf8_lossy(request), String::from_utf8_lossy(first));
                bail!("{request:?} was answered {first:?}");
            }
        }
        let answered = lines.count();
        self.replies.settle();
        self.answered += answered as u64;
        if self.target.rate.is_some() {
            self.heard = Instant::now();
        }
        ensure!(self.answered <= self.asked, "more replies than requests");
        Ok(answered)
    }

    fn is_done(&self) -> bool {
        let asks_no_more = self.stopping || self.asked >= self.target.reports_max;
        asks_no_more && self.unsent.is_none() && self.asked == self.answered
    }
}

/// The bytes of one connection's replies. Holds the start of a line between two reads.
struct Replies {
    buffer: Vec<u8>,
    held: usize,
    filled: usize,
}

impl Replies {
    fn new() -> Self {
        Self { buffer: vec![0; 128 * 1024], held: 0, filled: 0 }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.held..]
    }

    fn filled(&mut self, count: usize) -> Lines<'_> {
        self.filled = self.held + count;
        Lines(&self.buffer[..self.filled])
    }

    /// Moves an unfinished line to the front.
    fn settle(&mut self) {
        let whole = memchr::memrchr(b'\n', &self.buffer[..self.filled]).map_or(0, |at| at + 1);
        self.buffer.copy_within(whole..self.filled, 0);
        self.held = self.filled - whole;
    }
}

/// The whole lines at the start of some bytes.
#[derive(Clone, Copy)]
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn first(self) -> Option<&'a [u8]> {
        memchr(b'\n', self.0).and_then(|end| self.0.get(..=end))
    }

    fn count(self) -> usize {
        memchr::memchr_iter(b'\n', self.0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_across_reads() {
        let mut replies = Replies::new();
        let mut read = |bytes: &[u8]| {
            replies.room()[..bytes.len()].copy_from_slice(bytes);
            let lines = replies.filled(bytes.len());
            let seen = (lines.count(), lines.first().map(<[u8]>::to_vec));
            replies.settle();
            seen
        };
        assert_eq!(read(b"ab"), (0, None));
        assert_eq!(read(b"c\nd\ne"), (2, Some(b"abc\n".to_vec())));
        assert_eq!(read(b"\n"), (1, Some(b"e\n".to_vec())));
    }
}
