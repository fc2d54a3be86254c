//! As much of HTTP as asking a server takes; an answer that ends early is none.

use anyhow::{Context as _, Result, bail};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Nothing takes longer, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    ask(address, "GET", path, "")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> Result<Answer> {
    ask(address, "POST", path, body)
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).with_context(|| format!("{method} {path} at {address} was not answered whole"))
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    let (head, body) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no code")?;
    if head.contains("\r\ntransfer-encoding: chunked\r\n") {
        return Ok(Answer { code, body: join(body)? });
    }
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    if length.is_some_and(|length| length.parse() != Ok(body.len())) {
        bail!("{} bytes came of {length:?}", body.len());
    }
    Ok(Answer { code, body: body.to_owned() })
}

/// The chunks of a body in one.
fn join(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").context("no chunk's length")?;
        let (length, behind) = rest.split_at(end);
        let length = usize::from_str_radix(std::str::from_utf8(length)?, 16)?;
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(behind.get(2..2 + length).context("a chunk is cut off")?);
        rest = behind.get(2 + length + 2..).context("a chunk has no end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_is_none() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let answer = parse(chunked).unwrap();
        assert_eq!((answer.code, answer.text().as_str()), (200, "abcde"));
        assert!(parse(&chunked[..chunked.len() - 5]).is_err());
        let whole = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nab";
        assert_eq!(parse(whole).unwrap().code, 503);
        assert!(parse(&whole[..whole.len() - 1]).is_err());
    }
}
