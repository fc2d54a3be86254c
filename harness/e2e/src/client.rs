//! A client of the line protocol: a plain socket with deadlines.

use crate::line::At;
use crate::wait::PATIENCE;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// One connection. Whatever it waits for fails the test after [`PATIENCE`].
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Received, and not yet looked at.
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Connects, if somebody listens there.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// The socket, for what has no name here.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Sends a line and receives one.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    /// Reports, and checks that the answer repeats the report.
    #[track_caller]
    pub fn report(&mut self, iamat: &str) -> At {
        let at = At::parse(&self.ask(iamat));
        let expected = format!("IAMAT {} {} {}", at.client, at.location, at.time);
        assert_eq!(iamat, expected);
        at
    }

    /// Asks for `client` without places: its report, if the server knows of it.
    #[track_caller]
    pub fn locate(&mut self, client: &str) -> Option<At> {
        let question = format!("WHATSAT {client} 0 0");
        let line = self.ask(&question);
        if line == format!("? {question}") {
            return None;
        }
        self.document();
        Some(At::parse(&line))
    }

    /// The next line, without its line feed.
    #[track_caller]
    pub fn line(&mut self) -> String {
        String::from_utf8(self.line_bytes()).expect("this line is text")
    }

    /// The next line as bytes, without its line feed.
    #[track_caller]
    pub fn line_bytes(&mut self) -> Vec<u8> {
        let mut line = self.take_to(b"\n");
        line.pop();
        line
    }

    /// A document about places, with the two line feeds that end it.
    #[track_caller]
    pub fn document(&mut self) -> String {
        String::from_utf8(self.take_to(b"\n\n")).expect("a document is text")
    }

    /// Whatever has arrived, and at least one byte.
    #[track_caller]
    pub fn some(&mut self) -> Vec<u8> {
        if self.received.is_empty() {
            assert!(self.receive(), "closed by the server");
        }
        std::mem::take(&mut self.received)
    }

    #[track_caller]
    fn take_to(&mut self, end: &[u8]) -> Vec<u8> {
        let mut searched = 0;
        loop {
            let unseen = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = unseen.windows(end.len()).position(|window| window == end) {
                let rest = self.received.split_off(searched + at + end.len());
                return std::mem::replace(&mut self.received, rest);
            }
            searched = (self.received.len() + 1).saturating_sub(end.len());
            let more = self.receive();
            assert!(more, "closed by the server after {}", self.received.escape_ascii());
        }
    }

    /// Waits for more; false if the server has closed.
    #[track_caller]
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).expect("the server answers in time");
        self.received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        count > 0
    }

    /// Says that nothing more will be sent.
    #[track_caller]
    pub fn end_input(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Everything up to the server's end of the connection.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() {}
        std::mem::take(&mut self.received)
    }

    /// What one call to the system gives now; nothing if nothing has arrived.
    #[track_caller]
    pub fn arrived(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.received);
        self.stream.set_nonblocking(true).expect("the socket is open");
        let mut buffer = vec![0; 256 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
        self.stream.set_nonblocking(false).expect("the socket is open");
        bytes
    }

    /// Whether the server has ended this connection, in whatever way; waits until that is clear, which
    /// it is once something was sent that would be answered.
    pub fn is_turned_away(&mut self) -> bool {
        let sent = self.stream.write_all(b"x\n");
        let mut buffer = [0; 16];
        let read = sent.and_then(|()| self.stream.read(&mut buffer));
        !matches!(read, Ok(1..))
    }
}
