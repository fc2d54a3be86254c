//! One node whose neighbors are played by the test, byte for byte.

use crate::herd::{START_NS, peer, settings};
use herd_node::{CloseReason, Event, LinkId, Node, Output, Settings};
use herd_proto::peer::{BatchWriter, Decoded, Message, decode_batch};
use herd_proto::{Instant, Now, UnixTime};
use std::time::Duration;

/// Node B, with A and C as its neighbors; so A dials it, and it dials C.
pub(crate) struct Scripted {
    pub(crate) node: Node,
    pub(crate) events: Vec<Event>,
    /// Links that the node has asked to be closed, still to be closed.
    pub(crate) closing: Vec<LinkId>,
    now_ns: u64,
    /// How far the node's wall clock is ahead of the right one.
    pub(crate) ahead_ns: i64,
}

impl Scripted {
    pub(crate) fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings("B");
        settings.peers = vec![peer(1, 0), peer(1, 2)];
        settings.members = ["A", "B", "C"].map(Into::into).into();
        change(&mut settings);
        let now_ns = 0;
        let node = Node::new(settings, now(now_ns, 0));
        let (events, closing) = (Vec::new(), Vec::new());
        let mut this = Self { node, events, closing, now_ns, ahead_ns: 0 };
        this.drain();
        this
    }

    pub(crate) fn now(&self) -> Now {
        now(self.now_ns, self.ahead_ns)
    }

    /// A connection comes in that says `hello`.
    pub(crate) fn accept(&mut self, hello: &str) -> LinkId {
        let link = self.node.handle_accepted(self.now());
        self.hear(link, format!("{hello}\n").as_bytes());
        link
    }

    /// The node's own dial of its neighbor number `peer` has come through.
    pub(crate) fn connect(&mut self, peer: usize) -> LinkId {
        let link = self.node.handle_connected(herd_node::PeerId(peer), self.now()).unwrap();
        self.drain();
        link
    }

    /// Bytes come in.
    pub(crate) fn hear(&mut self, link: LinkId, bytes: &[u8]) {
        self.node.handle_link_input(link, bytes, self.now());
        self.drain();
    }

    pub(crate) fn hear_message(&mut self, link: LinkId, message: &Message<'_>) {
        self.hear(link, &batch(message));
    }

    /// The socket of a link is gone.
    pub(crate) fn lose(&mut self, link: LinkId) {
        self.node.handle_link_closed(link, "reset".into(), self.now());
        self.drain();
    }

    /// What the node has to say on a link.
    pub(crate) fn said(&mut self, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            self.node.poll_transmit(link, &mut bytes, 64 << 10, self.now());
            if bytes.len() == before {
                return bytes;
            }
        }
    }

    /// The reasons of the BYE frames among `bytes`, which may begin with lines.
    pub(crate) fn byes(bytes: &[u8]) -> Vec<String> {
        let reason = |message| {
            let Message::Bye { reason } = message else { return None };
            Some(reason.to_owned())
        };
        messages(bytes).into_iter().filter_map(reason).collect()
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now_ns + u64::try_from(span.as_nanos()).unwrap();
        while self.now_ns < until {
            let due = self.node.poll_timeout().map_or(until, Instant::nanos);
            self.now_ns = due.clamp(self.now_ns, until);
            self.node.handle_timeout(self.now());
            self.drain();
            self.now_ns += 1;
        }
    }

    /// Why links ended so far.
    pub(crate) fn ends(&self) -> Vec<&CloseReason> {
        let mut reasons = Vec::new();
        for event in &self.events {
            if let Event::LinkDown { reason, .. } = event {
                reasons.push(reason);
            }
        }
        reasons
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Close(link) => self.closing.push(link),
                Output::Connect(_)
                | Output::Probe(_)
                | Output::Transmit(_)
                | Output::Journal
                | Output::Journaled(_) => {}
            }
        }
    }
}

/// A message as it goes over a link when nothing else does.
pub(crate) fn batch(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    BatchWriter::new(&mut bytes).push(message);
    bytes
}

/// The messages among `bytes`, which may begin with lines.
pub(crate) fn messages(bytes: &[u8]) -> Vec<Message<'_>> {
    let mut rest = bytes;
    while rest.starts_with(b"GEOHERD/") || rest.starts_with(b"REFUSED ") {
        let end = rest.iter().position(|&b| b == b'\n').unwrap();
        rest = &rest[end + 1..];
    }
    let mut messages = Vec::new();
    while let Some((batch, taken)) = decode_batch(rest).unwrap() {
        for frame in batch {
            let Decoded::Message(message) = frame.unwrap() else { continue };
            messages.push(message);
        }
        rest = &rest[taken..];
    }
    messages
}

fn now(now_ns: u64, ahead_ns: i64) -> Now {
    Now {
        instant: Instant::from_nanos(now_ns),
        unix: UnixTime::from_nanos(START_NS + now_ns.cast_signed() + ahead_ns),
    }
}
