//! A stand-in for a place provider, and a bad one if a test wants.

use crate::ports::Address;
use crate::wait::{PATIENCE, wait_until};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// With a code and a body.
    Full(u16, String),
    /// As a body in chunks.
    Chunked(String),
    /// Says that the body is longer than what then comes.
    Truncated(String),
    /// With so many blanks before the body, which JSON allows.
    Huge(usize, String),
    /// Elsewhere, it says.
    Redirect(String),
    /// Not at all: the connection ends.
    HangUp,
    /// Not at all: the connection stays open.
    Silence,
}

/// A question that was put to it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method, path with query, version.
    pub line: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Call {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        Some(value)
    }

    /// The value of a parameter in the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.line.split(' ').nth(1)?.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    ended: bool,
    reply: Reply,
    calls: Vec<Call>,
    /// Calls are held until there is leave to answer them, one each.
    held: bool,
    leaves: usize,
    waiting: usize,
    waiting_most: usize,
}

impl Provider {
    /// Starts one that answers so.
    #[track_caller]
    pub fn start(reply: Reply) -> Self {
        let listener = Address::unused().listen();
        let address = listener.local_addr().expect("it is bound");
        let state = State {
            ended: false,
            reply,
            calls: Vec::new(),
            held: false,
            leaves: 0,
            waiting: 0,
            waiting_most: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where it listens, as the beginning of an URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers so from now on.
    pub fn reply(&self, reply: Reply) {
        self.shared.lock().reply = reply;
    }

    /// What it was asked so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    /// Holds answers back from now on.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Lets one answer that is held back go.
    pub fn release_one(&self) {
        self.shared.lock().leaves += 1;
        self.shared.changed.notify_all();
    }

    /// Lets all answers go.
    pub fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Waits until exactly so many calls are held.
    #[track_caller]
    pub fn wait_held(&self, count: usize) {
        wait_until(&format!("{count} calls wait at the provider"), || {
            self.shared.lock().waiting == count
        });
    }

    /// The most calls that were held at once.
    pub fn held_most(&self) -> usize {
        self.shared.lock().waiting_most
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ended = true;
            state.held = false;
        }
        self.shared.changed.notify_all();
        // So that the thread looks up and sees it.
        let _woken = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call; returns how to answer once there is leave to.
    fn take(&self, call: Call) -> Reply {
        let mut state = self.lock();
        state.calls.push(call);
        state.waiting += 1;
        state.waiting_most = state.waiting_most.max(state.waiting);
        while state.held && state.leaves == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.leaves = state.leaves.saturating_sub(1);
        state.waiting -= 1;
        state.reply.clone()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        // Whoever hangs up has its reasons.
        thread::spawn(move || -> io::Result<()> { serve(stream, &shared) });
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let mut call =
        Call { line: line.trim_end().to_owned(), headers: Vec::new(), body: String::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        call.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = call.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    call.body = String::from_utf8_lossy(&body).into_owned();
    let reply = shared.take(call);
    let stream = reader.get_mut();
    match reply {
        Reply::Full(code, body) => {
            write!(
                stream,
                "HTTP/1.1 {code} Whatever\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::Chunked(body) => {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for chunk in body.as_bytes().chunks(7) {
                write!(stream, "{:x}\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                write!(stream, "\r\n")?;
            }
            write!(stream, "0\r\n\r\n")
        }
        Reply::Truncated(body) => {
            let said = body.len() + 100;
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {said}\r\n\r\n{body}")
        }
        Reply::Huge(blanks, body) => {
            let length = blanks + body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")?;
            let mut blanks = io::repeat(b' ').take(blanks as u64);
            io::copy(&mut blanks, stream)?;
            stream.write_all(body.as_bytes())
        }
        Reply::Redirect(to) => {
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\
                 Connection: close\r\n\r\n"
            )
        }
        Reply::HangUp => Ok(()),
        Reply::Silence => {
            // Until the other side has had enough.
            let mut rest = [0; 1];
            stream.read(&mut rest).map(|_| ())
        }
    }
}
