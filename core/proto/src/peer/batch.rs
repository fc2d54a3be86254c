//! Batches: frames behind a header with their length and a checksum.
//!
//! A header has eight bytes: the length of the body (u24, little endian), a check byte (the exclusive or of
//! those three), and the low half of XXH3-64 over the body (u32, little endian). The check byte is there so
//! that a corrupted length is an error at once; without it the receiver would wait for bytes that never
//! come. The checksum is a shield against broken memory and middleboxes, not against an attacker.

use super::decode::next_frame;
use super::{Decoded, FRAME_BYTES_MAX, FrameError, Message};
use crate::varint::Reader;
use twox_hash::XxHash3_64;

/// Largest body of a batch that a receiver must accept.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// A batch of at least this length takes no further frame. Small, since a receiver can use a batch only when
/// it is whole and loses it when the link breaks; large against the header.
const BATCH_BYTES_GOAL: usize = 16 * 1024;

// One frame always fits a batch that is still open.
const _: () = assert!(BATCH_BYTES_GOAL + FRAME_BYTES_MAX + 3 <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX < 1 << 24);

/// Bytes before the body.
const HEADER_BYTES: usize = 8;

/// Seed of the checksum: `GEOHERD1` as a little-endian number. It makes an empty hash of other protocols fail.
const SEED: u64 = u64::from_le_bytes(*b"GEOHERD1");

/// Appends messages to a buffer as batches. The last batch is closed when the writer is dropped.
///
/// One buffer may hold several batches: after some 16 KiB a new one begins.
#[derive(Debug)]
pub struct BatchWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where the header of the open batch starts.
    start: usize,
}

impl<'a> BatchWriter<'a> {
    /// A writer that appends to `out`. It adds nothing before the first message.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// Appends one message.
    #[inline]
    pub fn push(&mut self, message: &Message<'_>) {
        if self.out.len() - self.start >= BATCH_BYTES_GOAL {
            self.close();
        }
        if self.out.len() == self.start {
            self.out.extend_from_slice(&[0; HEADER_BYTES]);
        }
        message.encode(self.out);
    }

    /// Length of the buffer, with what was in it before and with headers.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Closes the last batch.
    pub fn finish(self) {
        drop(self);
    }

    /// Fills in the header of the open batch, if there is one. The next message begins a new batch.
    fn close(&mut self) {
        let batch = self.out.get_mut(self.start..).and_then(<[u8]>::split_first_chunk_mut);
        if let Some((header, body)) = batch {
            *header = self::header(body);
        }
        self.start = self.out.len();
    }
}

impl Drop for BatchWriter<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Appends a batch with this body, which need not be frames: what a faulty peer or one of another version
/// sends, for tests. Appends nothing if no batch can have this length.
pub fn write_batch(body: &[u8], out: &mut Vec<u8>) {
    if !body.is_empty() && body.len() <= BATCH_BYTES_MAX {
        out.extend_from_slice(&header(body));
        out.extend_from_slice(body);
    }
}

/// Reads the batch at the start of `bytes`: its frames, and the number of bytes it takes. None if it is not
/// complete yet.
///
/// # Errors
///
/// [`FrameError::Header`] as soon as four bytes are there that begin no batch; [`FrameError::Checksum`] when
/// the body is not what was sent.
pub fn decode_batch(bytes: &[u8]) -> Result<Option<(Batch<'_>, usize)>, FrameError> {
    let Some(&start) = bytes.first_chunk::<4>() else { return Ok(None) };
    let [a, b, c, check] = start;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if check != a ^ b ^ c || length == 0 || length > BATCH_BYTES_MAX {
        return Err(FrameError::Header(start));
    }
    let Some((found, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    if *found != header(body) {
        return Err(FrameError::Checksum(length));
    }
    Ok(Some((Batch { body }, HEADER_BYTES + length)))
}

/// The frames of one batch whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Decodes the frames in their order.
    pub fn frames(&self) -> Frames<'a> {
        Frames { rest: Reader(self.body) }
    }
}

impl<'a> IntoIterator for Batch<'a> {
    type Item = Result<Decoded<'a>, FrameError>;
    type IntoIter = Frames<'a>;

    fn into_iter(self) -> Frames<'a> {
        self.frames()
    }
}

/// An iterator over the frames of a batch. The first error ends it.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Decoded<'a>, FrameError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.0.is_empty() {
            return None;
        }
        let frame = next_frame(&mut self.rest);
        if frame.is_err() {
            self.rest.0 = &[];
        }
        Some(frame)
    }
}

fn header(body: &[u8]) -> [u8; HEADER_BYTES] {
    // The body of a batch is shorter than 2^24 bytes.
    let [a, b, c, ..] = body.len().to_le_bytes();
    let [s0, s1, s2, s3, ..] = XxHash3_64::oneshot_with_seed(SEED, body).to_le_bytes();
    [a, b, c, a ^ b ^ c, s0, s1, s2, s3]
}
