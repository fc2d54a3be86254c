//! Requests one after another on one connection, some of them under way at a time.

use super::{AdminError, refused};
use crate::client::{ClientError, Server};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

/// Of an answer's head or body: both are short.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// A connection for requests of one kind.
#[derive(Debug)]
pub(crate) struct Pipe {
    server: Server,
    path: String,
    stream: BufReader<TcpStream>,
}

/// Connects. What is posted goes to `path`.
pub(super) fn open(server: &Server, path: &str) -> Result<Pipe, AdminError> {
    let stream = BufReader::new(server.connect()?);
    Ok(Pipe { server: server.clone(), path: path.to_owned(), stream })
}

impl Pipe {
    /// The server's address.
    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    /// Sends one request; its answer is to be received later, in order.
    pub(crate) fn send(&mut self, body: &[u8]) -> Result<(), ClientError> {
        let Self { server, path, stream } = self;
        let (address, length) = (&server.address, body.len());
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n");
        let mut stream = stream.get_ref();
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        sent.map_err(|source| failed(server, source))
    }

    /// The next answer's body.
    pub(crate) fn receive(&mut self) -> anyhow::Result<String> {
        Ok(self.try_receive()?)
    }

    fn try_receive(&mut self) -> Result<String, AdminError> {
        let address = || self.server.address.clone();
        let no_http = || AdminError::NoHttp { address: address() };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let room = ANSWER_BYTES_MAX.saturating_sub(head.len() as u64);
            match (&mut self.stream).take(room).read_until(b'\n', &mut head) {
                Ok(0) if head.is_empty() => return Err(self.server.cut_short().into()),
                Ok(0) => return Err(no_http()),
                Ok(_) if head.starts_with(b"? ") => {
                    return Err(AdminError::LineProtocol { address: address() });
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&self.server, error).into()),
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let code = head.strip_prefix("http/1.").and_then(|rest| rest.split(' ').nth(1));
        let code = code.and_then(|code| code.parse::<u16>().ok()).ok_or_else(no_http)?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse::<u64>().ok()).unwrap_or(0);
        let mut body = Vec::new();
        let read = (&mut self.stream).take(length.min(ANSWER_BYTES_MAX)).read_to_end(&mut body);
        read.map_err(|error| failed(&self.server, error))?;
        let body = String::from_utf8_lossy(&body);
        if code == 200 {
            Ok(body.into_owned())
        } else {
            Err(refused(&self.server, &self.path, code, &body))
        }
    }
}

fn failed(server: &Server, error: io::Error) -> ClientError {
    if crate::client::is_timeout(&error) { server.silent() } else { server.broken(error) }
}
