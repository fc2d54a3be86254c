//! The load: many connections of clients that report without pause, made by few threads.
//!
//! It shares the cores with what it measures, so it does little: requests are built once and only
//! their times are rewritten in place, replies are counted by their line feeds, and of every piece
//! that arrives one reply is compared with its request. A connection keeps `depth` requests
//! unanswered: what was answered is asked anew at once, in one write.

use crate::probe;
use anyhow::{Context as _, Result, bail, ensure};
use memchr::memchr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What comes back for an IAMAT.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// The AT line of the server of this name.
    At(String),
    /// The same line.
    Echo,
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
        let end = std::time::Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() || self.shared.failed.load(Relaxed) {
                return;
            }
            crate::machine::pass(left.min(LOOK_EVERY));
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
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        for (target, number) in share {
            connections.spawn(converse(target, number, shared.clone()));
        }
        let mut all = Vec::new();
        while let Some(ended) = connections.join_next().await {
            all.push(ended??);
        }
        Ok(all)
    })
}

async fn converse(target: Target, number: usize, shared: Arc<Shared>) -> Result<Requests> {
    let stream = TcpStream::connect(target.address).await.context("cannot connect the load")?;
    stream.set_nodelay(true)?;
    let mut asking = Asking::new(target, number);
    loop {
        asking.ask(&stream)?;
        match stream.try_read(asking.replies.room()) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => {
                let answered = asking.take(count)?;
                shared.answered.fetch_add(answered as u64, Relaxed);
                asking.stopping = asking.stopping || shared.stopping.load(Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if asking.is_done() {
                    return Ok(asking.requests);
                }
                let write = asking
                    .unsent
                    .as_ref()
                    .map_or(Interest::READABLE, |_| Interest::READABLE | Interest::WRITABLE);
                timeout(DRAIN_WITHIN, stream.ready(write)).await.context("no reply")??;
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
    stopping: bool,
}

impl Asking {
    fn new(target: Target, number: usize) -> Self {
        Self {
            requests: Requests::new(&target, number),
            replies: Replies::new(),
            unsent: None,
            asked: 0,
            answered: 0,
            stopping: false,
            target,
        }
    }

    /// Sends as much as the depth and the socket allow.
    fn ask(&mut self, stream: &TcpStream) -> Result<()> {
        loop {
            if self.unsent.is_none() && !self.stopping {
                let unanswered = self.asked - self.answered;
                let room = (self.target.depth as u64).saturating_sub(unanswered);
                let room = room.min(self.target.reports_max.saturating_sub(self.asked));
                if room > 0 {
                    self.unsent = Some(self.requests.renew(self.asked, room));
                    self.asked += self.unsent.as_ref().map_or(0, ExactSizeIterator::len) as u64
                        / self.requests.line_len as u64;
                }
            }
            let Some(range) = &mut self.unsent else { return Ok(()) };
            let bytes = self.requests.bytes.get(range.clone()).unwrap_or_default();
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
        ensure!(self.answered <= self.asked, "more replies than requests");
        Ok(answered)
    }

    fn is_done(&self) -> bool {
        let asks_no_more = self.stopping || self.asked >= self.target.reports_max;
        asks_no_more && self.unsent.is_none() && self.asked == self.answered
    }
}

/// Whether this is the reply to that, both with their line feeds.
pub(crate) fn is_reply(expect: &Expect, request: &[u8], reply: &[u8]) -> bool {
    match expect {
        Expect::Echo => request == reply,
        Expect::At(server) => {
            let Some(tail) = request.strip_prefix(b"IAMAT") else { return false };
            let difference = reply
                .strip_prefix(b"AT ")
                .and_then(|rest| rest.strip_prefix(server.as_bytes()))
                .and_then(|rest| rest.strip_prefix(b" "))
                .and_then(|rest| rest.strip_suffix(tail));
            difference.is_some_and(|text| {
                text.len() >= "+0.000000000".len()
                    && text.iter().all(|b| b"+-.0123456789".contains(b))
            })
        }
    }
}

/// The IAMATs of one connection, one for each of its clients, in one block; their times are
/// rewritten when they are sent again.
#[derive(Debug)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    line_len: usize,
    clients: usize,
    last_time: u64,
    sent: u64,
}

impl Requests {
    fn new(target: &Target, number: usize) -> Self {
        let zero = probe::time_text(1_000_000_000_000_000_000);
        let mut bytes = Vec::new();
        let clients = target.clients.max(target.depth);
        for client in 0..clients {
            let name = format!("{}{number:03}-{client:07}.example", target.prefix);
            bytes.extend_from_slice(probe::report(&name, &zero).as_bytes());
        }
        let line_len = bytes.len() / clients;
        Self { bytes, line_len, clients, last_time: 0, sent: 0 }
    }

    /// Gives the next requests, at most `count`, the present time; the bytes where they lie. Each
    /// client's time grows from request to request.
    fn renew(&mut self, asked: u64, count: u64) -> std::ops::Range<usize> {
        /// Digits of a time between 2001 and 2286, point included, and the line feed behind it.
        const TIME_AND_END: usize = 21;
        self.last_time = probe::unix_nanos().max(self.last_time + 1);
        let mut digits = [0_u8; TIME_AND_END - 1];
        let mut rest = self.last_time;
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = if at == 10 {
                b'.'
            } else {
                let digit = b"0123456789"[usize::try_from(rest % 10).unwrap_or(0)];
                rest /= 10;
                digit
            };
        }
        let first = usize::try_from(asked % self.clients as u64).unwrap_or(0);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.clients - first);
        let range = first * self.line_len..(first + count) * self.line_len;
        for line in self.bytes[range.clone()].chunks_exact_mut(self.line_len) {
            let time_at = self.line_len - TIME_AND_END;
            line[time_at..self.line_len - 1].copy_from_slice(&digits);
        }
        self.sent = asked + count as u64;
        range
    }

    /// The request of this number, as it was last sent.
    fn line(&self, number: u64) -> &[u8] {
        let at = usize::try_from(number % self.clients as u64).unwrap_or(0) * self.line_len;
        self.bytes.get(at..at + self.line_len).unwrap_or_default()
    }

    /// Reports sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The newest report of each client, without the word and the line feed: client, location, time.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &str> {
        let known = usize::try_from(self.sent).unwrap_or(usize::MAX).min(self.clients);
        let lines = self.bytes.chunks_exact(self.line_len).take(known);
        lines.filter_map(|line| {
            std::str::from_utf8(line).ok()?.strip_prefix("IAMAT ")?.strip_suffix('\n')
        })
    }

    /// The last report of all.
    pub(crate) fn last(&self) -> Option<&str> {
        let at = usize::try_from(self.sent.checked_sub(1)? % self.clients as u64).ok()?;
        self.newest().nth(at)
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

    fn target(clients: usize) -> Target {
        Target {
            address: ([127, 0, 0, 1], 1).into(),
            expect: Expect::At("Hill".to_owned()),
            connections: 1,
            depth: 2,
            clients,
            prefix: "p".to_owned(),
            reports_max: u64::MAX,
        }
    }

    #[test]
    fn requests_are_taken_round_and_grow_in_time() {
        let mut requests = Requests::new(&target(3), 7);
        let first = requests.renew(0, 2);
        assert_eq!((first.start, first.end), (0, 2 * requests.line_len));
        let old = requests.line(1).to_vec();
        assert!(old.starts_with(b"IAMAT p007-0000001.example +"));
        // Not past the end of the block.
        assert_eq!(requests.renew(2, 2).len(), requests.line_len);
        assert_eq!(requests.sent(), 3);
        requests.renew(3, 2);
        let new = requests.line(4);
        assert!(new > &old[..], "{old:?}");
        assert!(requests.last().unwrap().starts_with("p007-0000001"));
        assert_eq!(requests.newest().count(), 3);
    }

    #[test]
    fn a_wrong_reply_is_seen() {
        let request = b"IAMAT k +1+2 3\n";
        let at = Expect::At("Hill".to_owned());
        assert!(is_reply(&at, request, b"AT Hill +0.000000001 k +1+2 3\n"));
        for wrong in
            ["AT Hill +0.000000001 k +1+2 4\n", "AT Smith +0.000000001 k +1+2 3\n", "? x\n"]
        {
            assert!(!is_reply(&at, request, wrong.as_bytes()), "{wrong}");
        }
        assert!(is_reply(&Expect::Echo, request, request));
        assert!(!is_reply(&Expect::Echo, request, b"IAMAT k +1+2 4\n"));
    }

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
