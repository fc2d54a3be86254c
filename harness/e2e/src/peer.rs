//! A neighbour whose every frame the test writes: a hello, then lengths, types and bytes.

use crate::client::Client;
use std::net::SocketAddr;

/// A link to a server, on which this end has said hello.
#[derive(Debug)]
pub struct Peer {
    client: Client,
}

impl Peer {
    /// Connects, says `hello` and returns with the first line of the answer.
    #[track_caller]
    pub fn say_hello(address: SocketAddr, hello: &str) -> (Self, String) {
        let mut client = Client::connect(address);
        let answer = client.ask(hello);
        (Self { client }, answer)
    }

    /// Sends a frame: its type and what follows.
    #[track_caller]
    pub fn send(&mut self, kind: u8, fields: &[u8]) {
        let length = u32::try_from(fields.len() + 1).expect("a test's frame is short");
        self.client.send([&length.to_le_bytes()[..], &[kind], fields].concat());
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
        let length = self.client.take(4).try_into().expect("four bytes");
        let length = usize::try_from(u32::from_le_bytes(length)).expect("it fits");
        let mut frame = self.client.take(length);
        (frame.remove(0), frame)
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
    pub const BYE: u8 = 0x22;
}
