//! A client's socket: reads what arrives, writes what is due, in as few calls as possible.

use super::session::{Limits, MayRelay, Session};
use crate::host::{Host, Phase};
use socket2::SockRef;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep};

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The client closed it, and has all its replies.
    ByClient,
    /// The server is stopping.
    Drained,
    /// The client took no reply for too long.
    Stalled,
    /// The socket failed.
    Failed(io::Error),
    /// It is a server that said hello: here is the socket, and what was read of it, from the hello on.
    BecameLink(TcpStream, Vec<u8>),
}

/// Serves one connection to its end.
pub async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
    may_relay: MayRelay,
    write_timeout: Duration,
    host: &Host,
) -> Ended {
    let start = match first_line(&mut stream, limits, host).await {
        Ok(start) => start,
        Err(ended) => return ended,
    };
    if start.split(|&b| b == b'\n').next().is_some_and(Session::is_hello) {
        return Ended::BecameLink(stream, start);
    }
    let mut connection = Connection {
        session: Session::new(limits, may_relay, peer.to_string()),
        stream,
        host,
        write_timeout,
        stalled: None,
        input_ended: false,
    };
    connection.take_input(&start);
    drop(start);
    let ended = {
        let mut drained = pin!(host.reached(Phase::Draining));
        let mut draining = false;
        poll_fn(|cx| {
            draining = draining || drained.as_mut().poll(cx).is_ready();
            connection.poll(draining, cx)
        })
        .await
    };
    connection.close(&ended).await;
    ended
}

/// Reads until it is clear whether this is a server: only a first line that begins with the word of
/// a hello is waited for to its end.
async fn first_line(stream: &mut TcpStream, limits: Limits, host: &Host) -> Result<Vec<u8>, Ended> {
    let word = herd_proto::PROTOCOL_WORD.as_bytes();
    let mut start = Vec::new();
    let mut drained = pin!(host.reached(Phase::Draining));
    loop {
        let read = poll_fn(|cx| {
            let read = read_into_scratch(stream, cx, |bytes| {
                start.extend_from_slice(bytes);
                bytes.len()
            });
            match read {
                Poll::Ready(read) => Poll::Ready(read.map_err(Ended::Failed)),
                Poll::Pending if is_dry(stream) => {
                    drained.as_mut().poll(cx).map(|()| Err(Ended::Drained))
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let common = start.iter().zip(word).take_while(|(a, b)| a == b).count();
        let may_be_hello = common == start.len().min(word.len());
        let whole = start.contains(&b'\n') || start.len() > limits.line_bytes_max;
        if !may_be_hello || whole || read == 0 {
            if read == 0 && start.is_empty() {
                return Err(Ended::ByClient);
            }
            return Ok(start);
        }
    }
}

struct Connection<'a> {
    session: Session,
    stream: TcpStream,
    host: &'a Host,
    write_timeout: Duration,
    /// Runs while the client takes no replies.
    stalled: Option<Pin<Box<Sleep>>>,
    input_ended: bool,
}

/// Whether nothing has arrived that was not read. Asked of the kernel: the runtime may not have heard
/// of it yet.
fn is_dry(stream: &TcpStream) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut byte).is_err()
}

impl Connection<'_> {
    /// Does all that can be done without waiting, again and again until nothing can, or others are to have
    /// their turn.
    fn poll(&mut self, draining: bool, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..TURNS_MAX {
            let mut moved = self.session.poll_answers(self.host, cx);
            moved |= self.session.handle_backlog(self.host);
            if !self.session.replies().is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, self.session.replies()) {
                    Poll::Ready(Ok(count)) => {
                        self.session.sent(count);
                        self.host.stats.bytes_sent.fetch_add(count as u64, Relaxed);
                        self.stalled = None;
                        moved = true;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Ended::Failed(error)),
                    Poll::Pending => {}
                }
            }
            if !self.input_ended && self.session.wants_input() {
                match self.poll_read(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Ended::Failed(error)),
                    Poll::Pending => {}
                }
            }
            if self.input_ended && self.session.wants_input() {
                self.session.handle_end(self.host);
                moved = true;
            }
            if self.session.is_done() {
                return Poll::Ready(Ended::ByClient);
            }
            // What has arrived is answered; only what comes later is not.
            if draining && self.session.owes_nothing() && is_dry(&self.stream) {
                return Poll::Ready(Ended::Drained);
            }
            if !moved {
                return self.poll_stalled(cx).map(|()| Ended::Stalled);
            }
        }
        // There is more to do, at once, but behind whoever waits. To wake oneself would be behind those alone who are
        // known to wait: the runtime looks at its sockets only now and then while tasks are ready, but always before it
        // goes on with one that yielded.
        let turn = pin!(yield_now());
        turn.poll(cx).map(|()| Ended::Stalled)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, session, host, .. } = self;
        let read = read_into_scratch(stream, cx, |bytes| {
            if !bytes.is_empty() {
                host.stats.bytes_received.fetch_add(bytes.len() as u64, Relaxed);
                session.handle_input(bytes, host);
            }
            bytes.len()
        });
        if ready!(read)? == 0 {
            self.input_ended = true;
        }
        Poll::Ready(Ok(()))
    }

    fn take_input(&mut self, bytes: &[u8]) {
        self.host.stats.bytes_received.fetch_add(bytes.len() as u64, Relaxed);
        self.session.handle_input(bytes, self.host);
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.session.replies().is_empty() {
            self.stalled = None;
            return Poll::Pending;
        }
        let timeout = self.write_timeout;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        timer.as_mut().poll(cx)
    }

    /// Says farewell so that the replies arrive: a socket closed with unread input takes back what
    /// was sent, so what came meanwhile is read first, without waiting for more.
    async fn close(&mut self, ended: &Ended) {
        if !matches!(ended, Ended::ByClient | Ended::Drained) {
            return;
        }
        // The other side may have gone already.
        let _gone = self.stream.shutdown().await;
        let deadline = Instant::now() + FAREWELL_MAX;
        let mut scratch = [0; 4096];
        while Instant::now() < deadline
            && self.stream.try_read(&mut scratch).is_ok_and(|count| count > 0)
        {}
    }
}

/// For so long input is thrown away that arrives while a connection is being closed.
const FAREWELL_MAX: Duration = Duration::from_millis(100);

/// So often one connection reads and writes before others have their turn: what it asked at first is answered in the
/// second. For a client that sends without end that is 64 KB of commands, or half a millisecond.
const TURNS_MAX: usize = 2;

/// The most that is read in one call: some 400 commands, beside which the call itself is nothing. A thread holds one
/// such buffer, a connection none.
const SCRATCH_BYTES: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Reads once into a buffer of the thread and shows it; an empty slice is the end of file.
fn read_into_scratch(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    show: impl FnOnce(&[u8]) -> usize,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(show(buffer.filled())))
    })
}
