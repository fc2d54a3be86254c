//! One connection to a peer: bytes in to the node, bytes out from it.
//!
//! What the bytes mean is not known here.

use herd_front::{Direction, Host, LinkSignal, TrafficLog};
use herd_node::{LinkId, Transcript};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

#[cfg(test)]
mod faults;

/// A connection and whose it is.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    pub(crate) stream: S,
    pub(crate) address: SocketAddr,
}

/// What a link can go over: TCP, and pipes in memory in tests.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// Sets the options of the system's socket; the other side may be silent for as long as `patience`.
    fn tune(&self, patience: Duration) -> io::Result<()>;

    /// Its two directions.
    fn halves(
        &mut self,
    ) -> (impl AsyncRead + Unpin + Send + '_, impl AsyncWrite + Unpin + Send + '_);
}

impl Stream for TcpStream {
    fn tune(&self, patience: Duration) -> io::Result<()> {
        self.set_nodelay(true)?;
        let socket = SockRef::from(self);
        let probe = patience.max(Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(probe).with_interval(probe))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        // The node notices silence sooner, and knows better what it means: a starved peer takes nothing for seconds.
        socket.set_tcp_user_timeout(Some(patience))
    }

    fn halves(
        &mut self,
    ) -> (impl AsyncRead + Unpin + Send + '_, impl AsyncWrite + Unpin + Send + '_) {
        self.split()
    }
}

/// The bounds of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) line_bytes_max: usize,
    /// How long a peer may take nothing of what is sent.
    pub(crate) write_timeout: Duration,
}

/// The most that is fetched from the node in one call, some 400 records: others wait for its lock meanwhile. `herd-bench
/// holds` shows 0.5 ms as a rule for twice as much, and more than 2 ms at times, since each record lies elsewhere in
/// memory.
const SEND_BYTES: usize = 32 * 1024;

/// What was fetched should be gone within this: it is as old as that when its end leaves.
const FRESH_FOR: Duration = Duration::from_millis(50);

/// The least that is fetched at once over a slow link: still some dozens of records.
const SEND_BYTES_MIN: usize = 4 * 1024;

/// What the kernel may hold that it has not sent yet. Its own bound is megabytes: on a slow link a queue
/// of what was true half a minute ago, while the node could say what is true now. A fast link loses
/// nothing by it; what is on its way and not acknowledged does not count.
const UNSENT_BYTES: u32 = 16 * 1024;

/// The most that is handed to the node at once, some 100 records: others wait for its lock meanwhile. `herd-bench holds`
/// shows 0.3 ms as a rule for twice as much where all of it is new, and more than 2 ms at times.
const RECEIVE_BYTES: usize = 8 * 1024;

/// Drives `link` until it ends; `start` was read from it already.
pub(crate) async fn run(
    host: &Host,
    link: LinkId,
    mut socket: Socket<impl Stream>,
    start: &[u8],
    settings: Settings,
) {
    let signal = host.link_signal(link);
    let tap = |direction| {
        host.traffic.as_ref().map(|log| Tap {
            log,
            direction,
            transcript: Transcript::new(settings.line_bytes_max),
            peer: socket.address.to_string(),
        })
    };
    let (mut received, mut sent) = (tap(Direction::Received), tap(Direction::Sent));
    receive(host, link, start, received.as_mut());
    // The peer is known by now. A foreign server sends no heartbeats, so its silence means
    // nothing, and it may be slow: only when it takes nothing for as long as any client may, it is given
    // up.
    let patience = host.enter(|node, _now| node.link_patience(link));
    // Without these a link still works; it is only slower, or slower to notice its end.
    let _unsupported = socket.stream.tune(patience.unwrap_or(settings.write_timeout));
    let (mut reader, mut writer) = socket.stream.halves();
    let ended = tokio::select! {
        ended = read(host, link, &mut reader, received.as_mut()) => ended,
        ended = write(host, link, &signal, &mut writer, sent.as_mut(), settings) => ended,
    };
    let why = match ended {
        Ok(why) => why.to_owned(),
        Err(error) => {
            // The last input may have arrived, though the other side takes nothing any more.
            let last = read(host, link, &mut reader, received.as_mut());
            let _silent = timeout(FAREWELL_MAX, last).await;
            error.to_string()
        }
    };
    drop((reader, writer));
    // Neither side is waited for longer than this.
    let _gone = timeout(FAREWELL_MAX, farewell(&mut socket.stream)).await;
    host.enter(|node, now| node.handle_link_closed(link, why, now));
    host.forget_link(link);
}

/// How long a link is waited for whose other side has been sent the reason why it ends.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// Closes so that the close reason arrives: the system takes back what was sent on a socket that is closed
/// with input unread, so what still comes is read and discarded until the other side has closed too.
async fn farewell(stream: &mut impl Stream) {
    if stream.shutdown().await.is_ok() {
        let mut scratch = [0; 4096];
        while let Ok(1..) = stream.read(&mut scratch).await {}
    }
}

async fn read(
    host: &Host,
    link: LinkId,
    reader: &mut (impl AsyncRead + Unpin),
    mut tap: Option<&mut Tap<'_>>,
) -> io::Result<&'static str> {
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok("closed by the other side");
        }
        receive(host, link, buffer.get(..count).unwrap_or_default(), tap.as_deref_mut());
    }
}

fn receive(host: &Host, link: LinkId, bytes: &[u8], tap: Option<&mut Tap<'_>>) {
    if let Some(tap) = tap {
        tap.log(host, bytes);
    }
    for bytes in bytes.chunks(RECEIVE_BYTES) {
        host.enter(|node, now| node.handle_link_input(link, bytes, now));
    }
}

async fn write(
    host: &Host,
    link: LinkId,
    signal: &LinkSignal,
    writer: &mut (impl AsyncWrite + Unpin),
    mut tap: Option<&mut Tap<'_>>,
    settings: Settings,
) -> io::Result<&'static str> {
    let mut buffer = Vec::new();
    let mut budget = SEND_BYTES;
    while host.next_transmit(link, signal, &mut buffer, budget).await {
        if let Some(tap) = &mut tap {
            tap.log(host, &buffer);
        }
        let begun = Instant::now();
        let written = tokio::select! {
            written = timeout(settings.write_timeout, writer.write_all(&buffer)) => written,
            () = given_up(signal) => return Ok("closed by this side"),
        };
        written.map_err(|_| io::Error::other("the other side takes nothing"))??;
        budget = next_budget(buffer.len(), begun.elapsed());
    }
    Ok("closed by this side")
}

/// Returns some time after the link was told to close: a peer that takes nothing cannot be told why.
async fn given_up(signal: &LinkSignal) {
    while !signal.is_closing() {
        signal.woken().await;
    }
    sleep(FAREWELL_MAX).await;
}

/// How much to fetch next, when so many bytes took so long.
fn next_budget(bytes: usize, took: Duration) -> usize {
    let ms = usize::try_from(took.as_millis()).unwrap_or(usize::MAX).max(1);
    let fresh = usize::try_from(FRESH_FOR.as_millis()).unwrap_or(usize::MAX);
    (bytes.max(SEND_BYTES_MIN).saturating_mul(fresh) / ms).clamp(SEND_BYTES_MIN, SEND_BYTES)
}

/// Logs what goes over a link, a line for each report.
struct Tap<'a> {
    log: &'a TrafficLog,
    direction: Direction,
    transcript: Transcript,
    peer: String,
}

impl Tap<'_> {
    fn log(&mut self, host: &Host, bytes: &[u8]) {
        let direction = self.direction;
        let messages = self.transcript.feed(bytes);
        let messages = messages.iter().map(|message| (direction, &**message));
        self.log.log(&self.peer, host.now().unix, messages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_link_is_given_no_more_than_it_takes_at_once() {
        let check = |bytes, took_ms, expected| {
            assert_eq!(next_budget(bytes, Duration::from_millis(took_ms)), expected);
        };
        check(SEND_BYTES, 0, SEND_BYTES);
        check(SEND_BYTES, 100, SEND_BYTES / 2);
        check(SEND_BYTES, 10_000, SEND_BYTES_MIN);
        // A ping that went out at once says that the link may be as fast as any.
        check(10, 0, SEND_BYTES);
        check(10, 1_000, SEND_BYTES_MIN);
    }
}
