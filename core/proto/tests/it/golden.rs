//! The bytes of version 1, kept in `tests/golden/v1`: each kind of frame, and the lines before them.
//!
//! A server of today must understand one of tomorrow and the other way round, so what stands in those
//! files is never changed, only added to. `tests/golden/README.md` says how.

use herd_proto::peer::{AuditKey, Decoded, FrameError, Message};
use herd_proto::{Features, Hello, Versions};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

/// One of each kind of frame. A new kind is added here, and its file is then asked for.
fn frames() -> Vec<(&'static str, Message<'static>)> {
    let entry = |tombstone, value| Message::Entry {
        origin: 3,
        sequence: 300,
        key: b"rkiwi.example",
        effective_ns: 1_520_023_934_918_963_997,
        tombstone,
        value,
    };
    let report = b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386";
    let member = Message::Member {
        origin: 2,
        counter: 9,
        versions: vec![(0, 1), (2, 70_000)],
        about: b"\x01?",
    };
    let audited = AuditKey {
        key_hash: 0xfedc_0000_0000_0001,
        effective_ns: 1_520_023_934_918_963_997,
        tombstone: true,
        sum: 0x0807_0605_0403_0201,
    };
    let audit_keys =
        Message::AuditKeys { bucket: 0xfedc, is_answer: false, token: 300, keys: vec![audited] };
    vec![
        ("origin", Message::Origin { number: 3, server: "Hill", incarnation: u64::MAX }),
        ("watermark", Message::Watermark { origin: 300, version: 1 }),
        ("floor", Message::Floor { origin: 1, sequence: 127 }),
        ("grave", Message::Grave { origin: 1, sequence: 126 }),
        ("greeted", Message::Greeted),
        ("subscribe", Message::Subscribe { origin: u16::MAX, from: 128 }),
        ("unsubscribe", Message::Unsubscribe { origin: 7 }),
        ("entry", entry(false, report)),
        ("tombstone", entry(true, b"")),
        ("commit", Message::Commit { origin: 1, from: 0, to: 16_384 }),
        ("snapshot-request", Message::SnapshotRequest),
        ("snapshot-begin", Message::SnapshotBegin),
        ("snapshot-end", Message::SnapshotEnd),
        ("member", member),
        ("audit-root", Message::AuditRoot { is_answer: true, sum: 0x0102_0304_0506_0708 }),
        ("audit-ranges", Message::AuditRanges { sums: (1..=256).collect() }),
        ("audit-buckets", Message::AuditBuckets { range: 0xfe, sums: (1..=256).rev().collect() }),
        ("audit-keys", audit_keys),
        ("left", Message::Left { origin: 2, counter: 10 }),
        ("ping", Message::Ping { sent: 1 << 40 }),
        ("pong", Message::Pong { sent: 0 }),
        ("bye", Message::Bye { reason: "nothing heard for 1.5s" }),
    ]
}

/// Hellos as they are written, and one with words of a later version.
fn hellos() -> Vec<(&'static str, Hello<'static>)> {
    let hello = |server, frames, to| Hello {
        herd: "news",
        server,
        incarnation: 1_520_023_934_918_963_997,
        features: Features { frames, to },
    };
    let versions = |least, greatest| Versions::new(least, greatest).unwrap();
    vec![
        ("hello", hello("Hill", Versions::CURRENT, Some("Jaquez"))),
        ("hello-answered", hello("Jaquez", Versions::CURRENT, None)),
        ("hello-of-two-versions", hello("Ключ", versions(1, 2), None)),
    ]
}

#[test]
fn frames_are_what_they_were() {
    for (name, message) in frames() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let kept = kept(name, &format!("{message:?}"), &bytes);
        assert_eq!(bytes, kept, "{name} is written otherwise than it was");
        let whole = kept.len();
        assert_eq!(Message::decode(&kept), Ok(Some((Decoded::Message(message), whole))), "{name}");
    }
}

#[test]
fn hellos_are_what_they_were() {
    for (name, hello) in hellos() {
        let mut bytes = Vec::new();
        hello.write(&mut bytes);
        let kept = kept(name, &format!("{hello:?}"), &bytes);
        assert_eq!(bytes, kept, "{name} is written otherwise than it was");
        assert_eq!(Hello::parse(kept.strip_suffix(b"\n").unwrap()), Some(hello), "{name}");
    }
}

#[test]
fn every_kind_of_frame_has_its_bytes_kept() {
    let names = frames().into_iter().map(|(name, _)| name);
    let kept: BTreeSet<u8> = names.filter_map(|name| read(name)?.get(4).copied()).collect();
    for kind in 0..=u8::MAX {
        // Without its fields a known kind is malformed at most.
        let known = !matches!(
            Message::decode(&[1, 0, 0, 0, kind]),
            Ok(Some((Decoded::Skipped(_), _))) | Err(FrameError::UnknownType(_))
        );
        assert_eq!(known, kept.contains(&kind), "type {kind:#04x}: see tests/golden/README.md");
    }
}

#[test]
fn every_file_is_looked_at() {
    let names: BTreeSet<String> = frames()
        .into_iter()
        .map(|(name, _)| name)
        .chain(hellos().into_iter().map(|(name, _)| name))
        .map(|name| format!("{name}.hex"))
        .collect();
    for entry in fs::read_dir(path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name}: what was once written must still be read");
    }
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(file)
}

/// The bytes kept under that name; fails with the file that is missing.
#[track_caller]
fn kept(name: &str, means: &str, bytes: &[u8]) -> Vec<u8> {
    read(name).unwrap_or_else(|| {
        let mut text = format!("# {means}\n");
        for line in bytes.chunks(16) {
            let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{}", line.join(" ")).unwrap();
        }
        panic!("tests/golden/v1/{name}.hex is missing; if these bytes are right, it is\n{text}")
    })
}

/// Pairs of hexadecimal digits; a line that begins with `#` is for people.
#[expect(clippy::disallowed_methods, reason = "a test may read what it compares with")]
fn read(name: &str) -> Option<Vec<u8>> {
    let text = fs::read_to_string(path(&format!("{name}.hex"))).ok()?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits = lines.flat_map(str::split_whitespace);
    Some(digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect())
}
