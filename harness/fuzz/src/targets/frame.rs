//! The bytes between two servers: [`herd_proto::peer`], and a node that must bear whatever a peer sends after
//! its hello.
//!
//! An input is the body of a batch, so that its checksum is right and the frames in it are reached. The same
//! bytes are also read as batches, where nearly all of them end at the first header.

use herd_node::{
    DialRole, Dialect, Event, LinkId, Node, Output, PeerSettings, Redundancy, Settings,
};
use herd_proto::peer::{
    BATCH_BYTES_MAX, BatchWriter, Decoded, FRAME_BYTES_MAX, Message, decode_batch, write_batch,
};
use herd_proto::{Instant, Now, UnixTime, Versions};
use std::time::Duration;

/// Pieces of the language: whole frames, an origin, fields of a record, and numbers at the ends of their
/// ranges.
pub const DICTIONARY: &[&str] = &[
    "\u{1}\u{7f}",
    "\u{4}\u{30}\0\u{1}\0",
    "\u{3}\u{31}\0\u{2}",
    "\u{2}\u{32}\0",
    "\u{1}\u{4}Hill",
    "\u{6}rkiwi",
    "\u{10}Hill +1+2 3 +0.5",
    "\0\0\0\0\0\0\0\0",
    "\0",
    "\u{7f}",
];

/// Numbers of bytes that arrive at once, beside all of them.
const PIECE_BYTES: [usize; 2] = [1, 7];

/// A decoded message is the same when it is encoded and decoded again, and takes no more room; what a node
/// does with a batch does not depend on how its bytes arrive, and what the node sends is well-formed.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    let mut batch = Vec::new();
    write_batch(data, &mut batch);
    assert_eq!(batch.is_empty(), data.is_empty() || data.len() > BATCH_BYTES_MAX);
    decode(&batch);
    decode(data);
    for input in [&batch, data] {
        let whole = receive(input, input.len().max(1));
        for piece in PIECE_BYTES {
            assert_eq!(receive(input, piece), whole, "in pieces of {piece}");
        }
    }
}

/// Decodes all batches.
fn decode(mut bytes: &[u8]) {
    while let Ok(Some((batch, taken))) = decode_batch(bytes) {
        let mut frames = batch.frames();
        for frame in frames.by_ref() {
            if let Ok(Decoded::Message(message)) = frame {
                encode_again(&message);
            }
        }
        assert_eq!(frames.next(), None, "an error ends a batch");
        bytes = bytes.split_at(taken).1;
    }
}

fn encode_again(message: &Message<'_>) {
    let mut bytes = Vec::new();
    BatchWriter::new(&mut bytes).push(message);
    let (batch, taken) = decode_batch(&bytes).expect("we encode well").expect("and to the end");
    assert!(taken == bytes.len() && taken <= FRAME_BYTES_MAX + 11, "{taken} bytes");
    let again: Vec<_> = batch.frames().collect();
    assert_eq!(again, [Ok(Decoded::Message(message.clone()))]);
}

/// What a node reports of `data` on a link, and how many clients it then knows.
fn receive(data: &[u8], piece: usize) -> (Vec<Event>, usize) {
    let now =
        Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(1_700_000_000 << 30) };
    let mut node = Node::new(settings(), now);
    let link = node.handle_accepted(now);
    let mut events = Vec::new();
    node.handle_link_input(link, b"GEOHERD/1 news A 1 -\n", now);
    drain(&mut node, &mut events);
    for piece in data.chunks(piece) {
        node.handle_link_input(link, piece, now);
        drain(&mut node, &mut events);
    }
    transmit(&mut node, link, now);
    (events, node.clients())
}

fn drain(node: &mut Node, events: &mut Vec<Event>) {
    while let Some(output) = node.poll_output() {
        if let Output::Event(event) = output {
            events.push(event);
        }
    }
}

/// All that the node sends is a hello and batches, and has an end.
fn transmit(node: &mut Node, link: LinkId, now: Now) {
    let mut sent = Vec::new();
    loop {
        let before = sent.len();
        node.poll_transmit(link, &mut sent, 4096, now);
        if sent.len() == before {
            break;
        }
    }
    let end = sent.iter().position(|&b| b == b'\n').expect("it has sent its hello");
    let mut rest = sent.split_at(end + 1).1;
    while !rest.is_empty() {
        let (batch, taken) = decode_batch(rest).expect("sound batches").expect("and whole ones");
        assert!(batch.frames().all(|frame| frame.is_ok()), "of frames that are known");
        rest = rest.split_at(taken).1;
    }
}

pub(super) fn settings() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        herd: "news".to_owned(),
        name: "B".to_owned(),
        incarnation: 1,
        seed: 1,
        peers: vec![PeerSettings {
            name: "A".to_owned(),
            dialect: Dialect::Native,
            role: DialRole::Once,
            dead_after: 3 * second,
        }],
        members: ["A", "B"].map(Into::into).into(),
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: 600 * second,
        horizon: 30 * 24 * 3600 * second,
        expire_after: None,
        future_skew_max: 60 * second,
        ceiling: herd_node::Ceiling::default(),
        line_bytes_max: 8192,
        ping_every: second,
        hello_within: second,
        backoff_min: second,
        backoff_max: second,
        ready_grace: second,
    }
}
