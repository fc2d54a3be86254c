//! What a later version of this product says: frames of types that no one here knows, and fields behind those that
//! are known.

use crate::chance::Chance;
use herd_proto::peer::write_batch;

/// Bytes of a batch before its body.
const HEADER_BYTES: usize = 8;

/// A type that a receiver may skip.
const UNKNOWN: u8 = 0x7d;

/// Rewrites what a server sends on a link: lines stay, batches gain frames and fields.
pub(crate) fn modernize(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while rest.starts_with(b"GEOHERD/") || rest.starts_with(b"REFUSED ") {
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| at + 1);
        out.extend_from_slice(&rest[..end]);
        rest = &rest[end..];
    }
    while let [a, b, c, ..] = *rest {
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        let end = (HEADER_BYTES + length).min(rest.len());
        write_batch(&modern_body(&rest[HEADER_BYTES.min(end)..end], chance), &mut out);
        rest = &rest[end..];
    }
    out
}

fn modern_body(body: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        if chance.per_mille(100) {
            write_frame(&[UNKNOWN, 1, 2, 3], &mut out);
        }
        let (length, taken) = read_length(rest);
        let end = (taken + length).min(rest.len());
        let mut frame = rest[taken..end].to_vec();
        frame.extend((0..chance.below(4)).map(|_| chance.next().to_le_bytes()[0]));
        write_frame(&frame, &mut out);
        rest = &rest[end..];
    }
    out
}

fn write_frame(frame: &[u8], out: &mut Vec<u8>) {
    let mut length = frame.len();
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
    out.extend_from_slice(frame);
}

/// A length in LEB128, and how many bytes it takes.
fn read_length(bytes: &[u8]) -> (usize, usize) {
    let mut length = 0;
    for (at, &byte) in bytes.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return (length, at + 1);
        }
    }
    (length, 4.min(bytes.len()))
}
