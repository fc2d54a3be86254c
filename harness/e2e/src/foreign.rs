//! A server of another make: it knows AT lines and nothing else, and is not careful with them.

use crate::ports::Address;
use crate::wait::wait_until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What it does with a line that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    Listens,
    /// Sends it back where it came from.
    Echoes,
    /// Sends it to everybody else who is connected, without a look at what it is.
    PassesOn,
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct Foreign {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ended: bool,
    connections: Vec<TcpStream>,
    received: Vec<Vec<u8>>,
}

impl Foreign {
    /// Starts one.
    #[track_caller]
    pub fn start(manner: Manner) -> Self {
        let listener = Address::unused().listen();
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || accept(&listener, manner, &shared));
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All lines that came, on whichever connection, without their line feeds.
    pub fn received(&self) -> Vec<String> {
        let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
        lock(&self.state).received.iter().map(text).collect()
    }

    /// Waits until `line` has come.
    #[track_caller]
    pub fn wait_for(&self, line: &str) {
        wait_until(&format!("a foreign server is told {line:?}"), || {
            lock(&self.state).received.iter().any(|received| received == line.as_bytes())
        });
    }

    /// Sends bytes on every connection that was opened to it and still stands; waits for the first.
    #[track_caller]
    pub fn say(&self, bytes: impl AsRef<[u8]>) {
        wait_until("somebody is connected to a foreign server", || self.connections() > 0);
        let connections = &mut lock(&self.state).connections;
        connections.retain_mut(|connection| connection.write_all(bytes.as_ref()).is_ok());
        assert!(!connections.is_empty(), "those who were connected are gone");
    }

    /// How many connections were opened to it and not lost.
    pub fn connections(&self) -> usize {
        lock(&self.state).connections.len()
    }

    /// Ends the connections opened to it; new ones are taken.
    pub fn hang_up(&self) {
        for connection in lock(&self.state).connections.drain(..) {
            // It may have ended already.
            let _gone = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        lock(&self.state).ended = true;
        self.hang_up();
        // So that the thread looks up and sees it.
        let _woken = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, manner: Manner, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming() {
        let mut guard = lock(state);
        if guard.ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(writer) = stream.try_clone() else { continue };
        guard.connections.push(writer);
        let state = state.clone();
        thread::spawn(move || read(stream, manner, &state));
    }
}

fn read(stream: TcpStream, manner: Manner, state: &Mutex<State>) {
    let (near, far) = (stream.local_addr().ok(), stream.peer_addr().ok());
    let is_this =
        |other: &TcpStream| other.peer_addr().ok() == far && other.local_addr().ok() == near;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        let mut guard = lock(state);
        for connection in &mut guard.connections {
            let wanted = match manner {
                Manner::Listens => false,
                Manner::Echoes => is_this(connection),
                Manner::PassesOn => !is_this(connection),
            };
            if wanted {
                // One that has gone is found out by whoever reads from it.
                let _gone = connection.write_all(&line);
            }
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        guard.received.push(std::mem::take(&mut line));
    }
    lock(state).connections.retain(|connection| !is_this(connection));
}
