//! The body of an HTTP answer, read as it comes: for answers that are longer than what should be held.
//!
//! Only so much of HTTP as our own servers speak: a body in chunks, or up to the end of the connection.

use super::{ANSWER_BYTES_MAX, AdminError, refused};
use crate::client::{ClientError, Server};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::TcpStream;

/// Lines and names of a head are short; what is longer comes from something else.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Body {
    server: Server,
    stream: BufReader<TcpStream>,
    left: Left,
}

/// What is still to come.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// So many bytes of this chunk.
    Chunk(u64),
    /// A length, and perhaps the line end before it.
    Length { first: bool },
    /// All was read.
    Nothing,
}

/// Asks, and reads the answer up to its body.
pub(super) fn open(server: &Server, path: &str) -> Result<Body, AdminError> {
    let address = || server.address.clone();
    let mut stream = server.connect()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).map_err(|source| server.broken(source))?;
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut limited = (&mut stream).take(HEAD_BYTES_MAX.saturating_sub(head.len() as u64));
        match limited.read_until(b'\n', &mut head) {
            Ok(0) if head.is_empty() => return Err(server.cut_short().into()),
            Ok(0) => return Err(AdminError::NoHttp { address: address() }),
            Ok(_) if head.starts_with(b"? ") => {
                return Err(AdminError::LineProtocol { address: address() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(server, error).into()),
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let code = head.strip_prefix("http/1.").and_then(|rest| rest.split(' ').nth(1));
    let Some(code) = code.and_then(|code| code.parse::<u16>().ok()) else {
        return Err(AdminError::NoHttp { address: address() });
    };
    if code != 200 {
        let mut body = Vec::new();
        let mut limited = stream.take(ANSWER_BYTES_MAX as u64);
        limited.read_to_end(&mut body).map_err(|error| failed(server, error))?;
        return Err(refused(server, path, code, &String::from_utf8_lossy(&body)));
    }
    if !head.contains("\r\ntransfer-encoding: chunked\r\n") {
        // Without a length nobody could tell a whole answer from one that was cut short.
        return Err(AdminError::NoHttp { address: address() });
    }
    Ok(Body { server: server.clone(), stream, left: Left::Length { first: true } })
}

fn failed(server: &Server, error: io::Error) -> ClientError {
    if crate::client::is_timeout(&error) { server.silent() } else { server.broken(error) }
}

impl Body {
    /// The next part of the body, empty at its end.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut part = vec![0; 64 << 10];
        let count = self.read_some(&mut part).map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof {
                self.server.cut_short()
            } else {
                failed(&self.server, error)
            }
        })?;
        part.truncate(count);
        Ok(part)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.left {
                Left::Nothing => return Ok(0),
                Left::Length { first } => {
                    let length = self.read_length(first)?;
                    self.left = if length == 0 { Left::Nothing } else { Left::Chunk(length) };
                }
                Left::Chunk(0) => self.left = Left::Length { first: false },
                Left::Chunk(left) => {
                    let count = match (&mut self.stream).take(left).read(buffer) {
                        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Ok(count) => count,
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => return Err(error),
                    };
                    self.left = Left::Chunk(left - count as u64);
                    return Ok(count);
                }
            }
        }
    }

    /// Of the next chunk: hexadecimal, on a line of its own.
    fn read_length(&mut self, first: bool) -> io::Result<u64> {
        let mut line = self.read_line()?;
        if !first {
            if !line.is_empty() {
                return Err(malformed());
            }
            line = self.read_line()?;
        }
        let digits = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(digits, 16).map_err(|_| malformed())
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut limited = (&mut self.stream).take(HEAD_BYTES_MAX - line.len() as u64);
            if limited.read_until(b'\n', &mut line)? == 0 {
                return Err(if line.is_empty() {
                    ErrorKind::UnexpectedEof.into()
                } else {
                    malformed()
                });
            }
        }
        let text = String::from_utf8(line).map_err(|_| malformed())?;
        Ok(text.trim_end().to_owned())
    }
}

fn malformed() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the answer is malformed")
}
