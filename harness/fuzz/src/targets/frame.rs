//! The bytes between two servers: [`herd_proto::peer::Message`], and a node that must bear whatever a
//! neighbour says after its hello.

use herd_node::{
    DialRole, Dialect, Event, LinkId, Node, Output, PeerSettings, Redundancy, Settings,
};
use herd_proto::peer::{Decoded, FRAME_BYTES_MAX, Message};
use herd_proto::{Instant, Now, UnixTime, Versions};
use std::time::Duration;

/// Pieces of the language: heads of frames, an origin, and numbers at the ends of their ranges.
pub const DICTIONARY: &[&str] = &[
    "\u{1}\0\0\0",
    "\u{2}\0\0\0",
    "\u{4}\0\0\0",
    "\u{8}\0\0\0\r",
    "\u{2}\0\0\0\"\0",
    "\0\0\u{4}\0",
    "\u{1}\0\0\0\u{7f}",
    "\u{4}Hill",
    "rkiwi",
    "Hill +1+2 3 +0.5",
    "\0",
    "\u{7f}",
];

/// Sizes of the pieces in which the bytes arrive. Zero: all at once.
const PIECE_BYTES: [usize; 3] = [0, 1, 7];

/// What was read is the same when it was written and read again, and takes no more room; a node that
/// hears it makes the same of it however the bytes arrive.
///
/// # Panics
///
/// When that does not hold.
pub fn target(data: &[u8]) {
    let mut rest = data;
    while let Ok(Some((decoded, taken))) = Message::decode(rest) {
        assert!(taken > 4 && taken <= 4 + FRAME_BYTES_MAX, "{taken} bytes");
        if let Decoded::Message(message) = decoded {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            // A number may come with needless zeros, and is never written with them.
            assert!(bytes.len() <= taken, "{message:?} has grown");
            let whole = bytes.len();
            assert_eq!(Message::decode(&bytes), Ok(Some((Decoded::Message(message), whole))));
        }
        rest = rest.split_at(taken).1;
    }
    let whole = hear(data, 0);
    for piece in PIECE_BYTES {
        assert_eq!(hear(data, piece), whole, "in pieces of {piece}");
    }
}

/// What a node says of `data` on a link, and how many clients it then knows.
fn hear(data: &[u8], piece: usize) -> (Vec<Event>, usize) {
    let now =
        Now { instant: Instant::from_nanos(0), unix: UnixTime::from_nanos(1_700_000_000 << 30) };
    let mut node = Node::new(settings(), now);
    let link = node.handle_accepted(now);
    let mut events = Vec::new();
    let size = if piece == 0 { data.len().max(1) } else { piece };
    node.handle_link_input(link, b"GEOHERD/1 news A 1 -\n", now);
    drain(&mut node, &mut events);
    for piece in data.chunks(size) {
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

/// Whatever the node says is frames, and has an end.
fn transmit(node: &mut Node, link: LinkId, now: Now) {
    let mut said = Vec::new();
    loop {
        let before = said.len();
        node.poll_transmit(link, &mut said, 4096, now);
        if said.len() == before {
            break;
        }
    }
    let end = said.iter().position(|&b| b == b'\n').expect("it has said hello");
    let mut rest = said.split_at(end + 1).1;
    while !rest.is_empty() {
        let (_, taken) = Message::decode(rest).expect("it speaks well").expect("and to the end");
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
            role: DialRole::Knock,
            dead_after: 3 * second,
        }],
        members: ["A", "B"].map(Into::into).into(),
        frames: Versions::CURRENT,
        redundancy: Redundancy::Ways(1),
        forget_after: 600 * second,
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
