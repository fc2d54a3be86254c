//! A peer whose every frame the test writes: a hello, then batches of frames.
//!
//! What it sends is made of bytes, so that it may be nonsense. What comes is read by the product's own decoder, which
//! checks every checksum; the bytes that it reads are pinned by the vectors of `docs/protocol.md`.

use crate::client::Client;
use herd_proto::peer::{Decoded, Message, decode_batch, write_batch};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// A link to a server, on which this end has said hello.
#[derive(Debug)]
pub struct Peer {
    client: Client,
    /// The start of a batch that is not complete yet.
    partial: Vec<u8>,
    /// What came and was not looked at.
    came: VecDeque<Came>,
}

/// The frames that tests wait for.
#[derive(Debug)]
enum Came {
    Pong(u64),
    Bye(String),
}

impl Peer {
    /// Type of a frame that is to be answered by a pong with the same number.
    pub const PING: u8 = 0xa0;
    /// Type of the frame that says why a link is closed: a length of one byte where it is below 128, then text.
    pub const BYE: u8 = 0x32;

    /// Connects, says `hello` and returns with the first line of the answer.
    #[track_caller]
    pub fn say_hello(address: SocketAddr, hello: &str) -> (Self, String) {
        let mut client = Client::connect(address);
        let answer = client.ask(hello);
        (Self { client, partial: Vec::new(), came: VecDeque::new() }, answer)
    }

    /// Sends a frame: its type and what follows.
    #[track_caller]
    pub fn send(&mut self, kind: u8, fields: &[u8]) {
        let mut body = Vec::new();
        write_number(fields.len() + 1, &mut body);
        body.push(kind);
        body.extend_from_slice(fields);
        self.send_batch(&body);
    }

    /// Sends a batch with this body, under a header that is right.
    #[track_caller]
    pub fn send_batch(&mut self, body: &[u8]) {
        let mut batch = Vec::new();
        write_batch(body, &mut batch);
        self.client.send(batch);
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.client.send(bytes);
    }

    /// Waits for a pong and returns the number of its ping; other frames are skipped.
    #[track_caller]
    pub fn wait_pong(&mut self) -> u64 {
        loop {
            if let Came::Pong(sent) = self.frame() {
                return sent;
            }
        }
    }

    /// Waits for the reason why the server closes the link; other frames are skipped.
    #[track_caller]
    pub fn wait_bye(&mut self) -> String {
        loop {
            if let Came::Bye(reason) = self.frame() {
                return reason;
            }
        }
    }

    #[track_caller]
    fn frame(&mut self) -> Came {
        loop {
            if let Some(frame) = self.came.pop_front() {
                return frame;
            }
            let decoded = decode_batch(&self.partial);
            let Some((batch, taken)) = decoded.expect("the server sends sound batches") else {
                self.partial.extend(self.client.some());
                continue;
            };
            for frame in batch {
                match frame.expect("the server sends frames that its own version knows") {
                    Decoded::Message(Message::Pong { sent, .. }) => {
                        self.came.push_back(Came::Pong(sent));
                    }
                    Decoded::Message(Message::Bye { reason }) => {
                        self.came.push_back(Came::Bye(reason.to_owned()));
                    }
                    Decoded::Message(_) => {}
                    Decoded::Skipped(kind) => panic!("the server sends a type {kind:#04x}"),
                }
            }
            self.partial.drain(..taken);
        }
    }

    /// Waits for the server's end of the connection.
    #[track_caller]
    pub fn wait_closed(&mut self) {
        self.client.rest();
    }
}

/// Seven bits a byte, the least first.
fn write_number(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or_default());
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}
