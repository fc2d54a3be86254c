//! Files of hexadecimal bytes, and batches built without the code under test.

use herd_proto::peer::{Batch, Decoded, FrameError, decode_batch};
use std::fs;
use std::path::PathBuf;
use twox_hash::XxHash3_64;

/// Bytes of the header of a batch.
pub(crate) const HEADER_BYTES: usize = 8;

/// Pairs of hexadecimal digits, any number a line; `* N` repeats the line; what follows `#` is a comment.
pub(crate) fn parse_hex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap();
        let (pairs, times) = line.split_once('*').unwrap_or((line, "1"));
        for _ in 0..times.trim().parse().unwrap() {
            let pair = |pair| u8::from_str_radix(pair, 16).unwrap();
            bytes.extend(pairs.split_whitespace().map(pair));
        }
    }
    bytes
}

/// The file at that path below this crate, if it exists.
#[expect(clippy::disallowed_methods, reason = "a test may read what it compares with")]
pub(crate) fn read_file(path: &str) -> Option<String> {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// A batch with this body, made as `docs/protocol.md` describes it.
pub(crate) fn batch_of(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let hash = XxHash3_64::oneshot_with_seed(u64::from_le_bytes(*b"GEOHERD1"), body);
    let mut bytes = length[..3].to_vec();
    bytes.push(length[0] ^ length[1] ^ length[2]);
    bytes.extend(&hash.to_le_bytes()[..4]);
    bytes.extend(body);
    bytes
}

/// The frames of the one batch that is `bytes`.
pub(crate) fn decode_all(bytes: &[u8]) -> Result<Vec<Decoded<'_>>, FrameError> {
    let (batch, taken) = decode_batch(bytes)?.unwrap();
    assert_eq!(taken, bytes.len(), "one batch");
    Batch::frames(&batch).collect()
}
