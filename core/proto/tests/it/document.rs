//! The test vectors of `docs/protocol.md` are what this program sends and refuses.
//!
//! A vector is a fenced block: "vector NAME" holds the bytes of the golden file of that name, without the
//! header of the batch where there is just one frame in it; "reject NAME" holds a batch that is refused.

use crate::bytes::{HEADER_BYTES, decode_all, parse_hex, read_file};
use crate::golden::read;
use crate::samples::{frames, hellos};
use herd_proto::peer::FrameError;
use std::collections::BTreeMap;

#[test]
fn every_vector_is_what_is_sent() {
    let mut vectors = blocks("vector");
    let mut check = |name: &str, expected: &[u8]| {
        let vector = vectors.remove(name).unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(vector, expected, "{name}: the document (left) and what is sent");
    };
    for (name, _) in frames() {
        check(name, &read(name).unwrap()[HEADER_BYTES..]);
    }
    for name in hellos().into_iter().map(|(name, _)| name).chain(["batch"]) {
        check(name, &read(name).unwrap());
    }
    let rest: Vec<&String> = vectors.keys().collect();
    assert!(rest.is_empty(), "nothing like {rest:?} is sent");
}

#[test]
fn every_bad_vector_is_refused() {
    let blocks = blocks("reject");
    for (name, bytes) in &blocks {
        let error = decode_all(bytes).expect_err(name);
        let found = match error {
            FrameError::Header(_) => "header",
            FrameError::Checksum(_) => "checksum",
            FrameError::Length(_) => "length",
            FrameError::UnknownType(_) => "unknown-type",
            FrameError::Malformed(_) => "malformed",
            FrameError::TooLarge { .. } => "too-large",
            _ => panic!("{error}: name it here and in the document"),
        };
        assert_eq!(found, name, "{error}");
    }
    let expected = ["checksum", "header", "length", "malformed", "too-large", "unknown-type"];
    assert!(blocks.keys().eq(&expected), "one of each");
}

/// The blocks of the document whose info string begins with that word, by the rest of it.
fn blocks(word: &str) -> BTreeMap<String, Vec<u8>> {
    let document = read_file("../../docs/protocol.md").unwrap();
    let mut blocks = BTreeMap::new();
    for block in document.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap();
        if let Some(name) = info.strip_prefix(word) {
            let again = blocks.insert(name.trim().to_owned(), parse_hex(text));
            assert_eq!(again, None, "{name} comes twice");
        }
    }
    blocks
}
