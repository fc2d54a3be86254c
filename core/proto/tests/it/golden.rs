//! The bytes of version 1, kept in `tests/golden/v1`: each kind of frame in a batch of its own, a batch of
//! two frames, and hellos. `tests/golden/README.md` says how they change.

use crate::bytes::{HEADER_BYTES, batch_of, decode_all, parse_hex, read_file};
use crate::samples::{BATCH, frames, hellos};
use herd_proto::Hello;
use herd_proto::peer::{BatchWriter, Decoded, FrameError, Message};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

#[test]
fn batches_have_their_golden_bytes() {
    for (name, messages) in batches() {
        let mut bytes = Vec::new();
        let mut writer = BatchWriter::new(&mut bytes);
        for message in &messages {
            writer.push(message);
        }
        writer.finish();
        assert_eq!(bytes, batch_of(&bytes[HEADER_BYTES..]), "{name} has a wrong header");
        assert_eq!(bytes, golden(name, &format!("{messages:?}"), &bytes), "{name}");
        let messages = messages.into_iter().map(Decoded::Message).collect();
        assert_eq!(decode_all(&bytes), Ok(messages), "{name}");
    }
}

#[test]
fn hellos_have_their_golden_bytes() {
    for (name, hello) in hellos() {
        let mut bytes = Vec::new();
        hello.write(&mut bytes);
        assert_eq!(bytes, golden(name, &format!("{hello:?}"), &bytes), "{name}");
        assert_eq!(Hello::parse(bytes.strip_suffix(b"\n").unwrap()), Some(hello), "{name}");
    }
}

#[test]
fn every_known_type_has_golden_bytes() {
    let type_of = |bytes: Vec<u8>| {
        let body = &bytes[HEADER_BYTES..];
        let length_bytes = body.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        body[length_bytes]
    };
    let names = frames().into_iter().map(|(name, _)| name);
    let golden: BTreeSet<u8> = names.filter_map(|name| read(name).map(type_of)).collect();
    for kind in 0..=u8::MAX {
        // Without its fields a known type is malformed at most.
        let batch = batch_of(&[1, kind]);
        let frames = decode_all(&batch);
        let known = match &frames {
            Ok(frames) => !matches!(frames[..], [Decoded::Skipped(_)]),
            Err(error) => !matches!(error, FrameError::UnknownType(_)),
        };
        assert_eq!(known, golden.contains(&kind), "type {kind:#04x}: see tests/golden/README.md");
    }
}

#[test]
fn every_golden_file_is_compared() {
    let hellos = hellos().into_iter().map(|(name, _)| name);
    let names: BTreeSet<String> = batches()
        .into_iter()
        .map(|(name, _)| name)
        .chain(hellos)
        .map(|name| format!("{name}.hex"))
        .collect();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "{name}: what was once sent must still be read");
    }
}

/// All batches with golden bytes, and what is in them.
fn batches() -> Vec<(&'static str, Vec<Message<'static>>)> {
    let frames = frames().into_iter().map(|(name, message)| (name, vec![message]));
    frames.chain([("batch", BATCH.to_vec())]).collect()
}

/// The golden bytes of that name; prints the file if it is missing.
#[track_caller]
fn golden(name: &str, means: &str, bytes: &[u8]) -> Vec<u8> {
    read(name).unwrap_or_else(|| {
        let mut text = format!("# {means}\n");
        for line in bytes.chunks(16) {
            let line: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{}", line.join(" ")).unwrap();
        }
        panic!("tests/golden/v1/{name}.hex is missing; if these bytes are right, it is\n{text}")
    })
}

/// The golden bytes of that name.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    read_file(&format!("tests/golden/v1/{name}.hex")).map(|text| parse_hex(&text))
}
