//! One of each kind of frame, and some hellos: what the golden files and the vectors of the document hold.

use herd_proto::peer::{KeyDigest, Message, SUPERSEDED_NS};
use herd_proto::{Features, Hello, UnixTime, Versions};

const EFFECTIVE_NS: i64 = 1_520_023_934_918_963_997;

/// One of each kind of frame. A new kind is added here; the tests then ask for its bytes.
pub(crate) fn frames() -> Vec<(&'static str, Message<'static>)> {
    let key = b"rkiwi.example".as_slice();
    let report = b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386".as_slice();
    let received_ns = EFFECTIVE_NS + 263_873_386;
    let entry = |tombstone, received_ns, value| Message::Entry {
        origin: 3,
        sequence: 300,
        key,
        effective_ns: EFFECTIVE_NS,
        received_ns,
        tombstone,
        value,
    };
    let superseded = Message::Entry {
        origin: 3,
        sequence: 300,
        key,
        effective_ns: SUPERSEDED_NS,
        received_ns: SUPERSEDED_NS,
        tombstone: false,
        value: b"",
    };
    let digest = KeyDigest {
        key: 0xfedc_0000_0000_0001,
        effective_ns: EFFECTIVE_NS,
        digest: 0x0807_0605_0403_0201,
    };
    let versions = vec![(0, 1), (2, 70_000)];
    let sums = vec![0x0807_0605_0403_0201; 256];
    vec![
        ("origin", Message::Origin { number: 3, server: "Hill", incarnation: u64::MAX }),
        ("watermark", Message::Watermark { origin: 300, version: 1 }),
        ("greeted", Message::Greeted),
        ("subscribe", Message::Subscribe { origin: u16::MAX, from: 128 }),
        ("gap", Message::Gap { origin: 1, since: 127 }),
        ("unsubscribe", Message::Unsubscribe { origin: 7 }),
        ("entry", entry(false, received_ns, report)),
        ("tombstone", entry(true, EFFECTIVE_NS - 2, b"")),
        ("entry-superseded", superseded),
        ("commit", Message::Commit { origin: 1, from: 0, to: 16_384 }),
        ("compare", Message::Compare { token: 300, cutoff_ns: EFFECTIVE_NS, root: 1 << 63 }),
        ("same", Message::Same { token: 300, versions: versions.clone() }),
        (
            "ranges",
            Message::Ranges { token: 300, cutoff_ns: EFFECTIVE_NS, versions, sums: sums.clone() },
        ),
        ("ask-range", Message::AskRange { range: 254 }),
        ("buckets", Message::Buckets { range: 254, sums }),
        (
            "ask-bucket",
            Message::AskBucket { bucket: 0xfedc, all: false, seed: 5, keys: vec![digest] },
        ),
        (
            "record",
            Message::Record {
                claimed: true,
                key,
                effective_ns: EFFECTIVE_NS,
                received_ns,
                tombstone: false,
                value: report,
            },
        ),
        ("bucket-done", Message::BucketDone { bucket: 0xfedc }),
        ("compared", Message::Compared { token: 300 }),
        ("compare-hint", Message::CompareHint),
        ("ping", Message::Ping { sent: 1 << 40, unix_ns: EFFECTIVE_NS }),
        ("pong", Message::Pong { sent: 1 << 40, unix_ns: -1 }),
        ("member", Message::Member { origin: 2, counter: 9, about: None }),
        ("member-about", Message::Member { origin: 2, counter: 10, about: Some(b"\x01?") }),
        ("left", Message::Left { origin: 2, counter: 10 }),
        ("bye", Message::Bye { reason: "nothing heard for 1.5s" }),
    ]
}

/// Hellos of this program, and one with words of a later version.
pub(crate) fn hellos() -> Vec<(&'static str, Hello<'static>)> {
    let hello = |server, frames, to, millis: Option<i64>| Hello {
        herd: "news",
        server,
        incarnation: 1_520_023_934_918_963_997,
        features: Features {
            frames,
            to,
            at: millis.map(|millis| UnixTime::from_nanos(millis * 1_000_000)),
        },
    };
    let (ours, later) = (Versions::CURRENT, Versions::new(1, 2).unwrap());
    let clock = Some(1_520_023_934_918);
    vec![
        ("hello", hello("Hill", ours, Some("Jaquez"), clock)),
        ("hello-answered", hello("Jaquez", ours, None, clock)),
        ("hello-bare", hello("Hill", ours, None, None)),
        ("hello-of-two-versions", hello("Ключ", later, None, None)),
    ]
}

/// Messages that are sent as one batch.
pub(crate) const BATCH: [Message<'static>; 2] =
    [Message::Watermark { origin: 300, version: 1 }, Message::Greeted];
