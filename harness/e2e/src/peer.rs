//! A peer whose every frame the test writes: a hello, then batches of frames.

use crate::client::Client;
use herd_proto::peer::write_batch;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// A length of three bytes, a check byte, and a checksum of four.
const HEADER_BYTES: usize = 8;

/// A link to a server, on which this end has said hello.
#[derive(Debug)]
pub struct Peer {
    client: Client,
    /// Frames of the last batch that were not looked at.
    came: VecDeque<(u8, Vec<u8>)>,
}

impl Peer {
    /// Connects, says `hello` and returns with the first line of the answer.
    #[track_caller]
    pub fn say_hello(address: SocketAddr, hello: &str) -> (Self, String) {
        let mut client = Client::connect(address);
        let answer = client.ask(hello);
        (Self { client, came: VecDeque::new() }, answer)
    }

    /// Sends a frame: its type and what follows.
    #[track_caller]
    pub fn send(&mut self, kind: u8, fields: &[u8]) {
        let mut body = Vec::new();
        write_number(fields.len() + 1, &mut body);
        body.push(kind);
        body.extend_from_slice(fields);
        let mut batch = Vec::new();
        write_batch(&body, &mut batch);
        self.client.send(batch);
    }

    /// Waits for a frame of this type and returns what follows it; others are passed over.
    #[track_caller]
    pub fn wait_for(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (came, fields) = self.frame();
            if came == kind {
                return fields;
            }
        }
    }

    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(frame) = self.came.pop_front() {
                return frame;
            }
            let header = self.client.take(HEADER_BYTES);
            let length =
                usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            let body = self.client.take(length);
            let mut rest = &body[..];
            while !rest.is_empty() {
                let length = read_number(&mut rest);
                let (frame, behind) = rest.split_at(length);
                self.came.push_back((frame[0], frame[1..].to_vec()));
                rest = behind;
            }
        }
    }

    /// Waits for the server's end of the connection.
    #[track_caller]
    pub fn wait_closed(&mut self) {
        self.client.rest();
    }
}

/// Types of frames that tests look for.
impl Peer {
    /// To be answered with a [`PONG`](Self::PONG) of the same bytes.
    pub const PING: u8 = 0xa0;
    /// Answers a ping.
    pub const PONG: u8 = 0xa1;
    /// Last words: a length of one byte where it is below 128, then text.
    pub const BYE: u8 = 0x32;
}

/// Seven bits a byte, the least first.
fn write_number(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or_default());
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn read_number(rest: &mut &[u8]) -> usize {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (&byte, behind) = rest.split_first().expect("the number is whole");
        *rest = behind;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}
