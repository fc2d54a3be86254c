//! Frames to messages.

use super::kind::{self, flags};
use super::{
    ABOUT_BYTES_MAX, FRAME_BYTES_MAX, KEY_BYTES_MAX, KEYS_MAX, KeyDigest, Message,
    REASON_BYTES_MAX, SUMS, VALUE_BYTES_MAX, VERSIONS_MAX,
};
use crate::fields::{NAME_BYTES_MAX, is_name};
use crate::varint::Reader;

/// A frame that was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A message.
    Message(Message<'a>),
    /// A frame of a type that is not known and may be skipped.
    Skipped(u8),
}

/// Why bytes are not batches of frames. The link cannot go on after it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header of a batch has a length of zero or beyond [`BATCH_BYTES_MAX`](super::BATCH_BYTES_MAX), or
    /// its check byte is wrong.
    #[error(
        "bad batch header {0:02x?}: the stream is corrupt, or the peer does not speak this protocol"
    )]
    Header([u8; 4]),
    /// The checksum of a batch is not that of its body.
    #[error("bad checksum of a batch of {0} bytes: it was corrupted on the way")]
    Checksum(usize),
    /// The length of a frame is zero, beyond [`FRAME_BYTES_MAX`], or more than its batch has.
    #[error("bad frame length {0}")]
    Length(usize),
    /// The type must be understood and is not known.
    #[error(
        "unknown frame type {0:#04x}; the peer runs a newer version of geoherd, upgrade this server"
    )]
    UnknownType(u8),
    /// The fields overrun the frame, or have impossible values.
    #[error("malformed frame of type {0:#04x}")]
    Malformed(u8),
    /// A field is larger than its bound.
    #[error("frame of type {kind:#04x} with {found} {what}; the limit is {max}")]
    TooLarge {
        /// Type of the frame.
        kind: u8,
        /// Name of the field, with its unit.
        what: &'static str,
        /// Size that the frame claims.
        found: u64,
        /// Bound of the field.
        max: usize,
    },
}

/// Decodes the frame at the start of `bytes`, and moves `bytes` past it.
#[inline]
pub(super) fn next_frame<'a>(bytes: &mut Reader<'a>) -> Result<Decoded<'a>, FrameError> {
    let length = bytes.number().map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let fits = (1..=FRAME_BYTES_MAX).contains(&length);
    let (frame, rest) =
        bytes.0.split_at_checked(length).filter(|_| fits).ok_or(FrameError::Length(length))?;
    bytes.0 = rest;
    let (&kind, fields) = frame.split_first().ok_or(FrameError::Length(0))?;
    match decode_fields(kind, &mut Fields(Reader(fields))) {
        // Bytes behind the known fields are those of a later version.
        Ok(message) => Ok(Decoded::Message(message)),
        Err(Flaw::Unknown) if kind & kind::MUST == 0 => Ok(Decoded::Skipped(kind)),
        Err(Flaw::Unknown) => Err(FrameError::UnknownType(kind)),
        Err(Flaw::Malformed) => Err(FrameError::Malformed(kind)),
        Err(Flaw::TooLarge { what, found, max }) => {
            Err(FrameError::TooLarge { kind, what, found, max })
        }
    }
}

fn decode_fields<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Message<'a>, Flaw> {
    Ok(match kind {
        kind::ENTRY => fields.entry(false)?,
        kind::TOMBSTONE => fields.entry(true)?,
        kind::RECORD => fields.record()?,
        kind::COMMIT => Message::Commit {
            origin: fields.small()?,
            from: fields.number()?,
            to: fields.number()?,
        },
        kind::ORIGIN => Message::Origin {
            number: fields.small()?,
            incarnation: fields.number()?,
            server: fields.name()?,
        },
        kind::WATERMARK => {
            Message::Watermark { origin: fields.small()?, version: fields.number()? }
        }
        kind::GREETED => Message::Greeted,
        kind::SUBSCRIBE => Message::Subscribe { origin: fields.small()?, from: fields.number()? },
        kind::GAP => Message::Gap { origin: fields.small()?, since: fields.number()? },
        kind::UNSUBSCRIBE => Message::Unsubscribe { origin: fields.small()? },
        kind::MEMBER => Message::Member {
            origin: fields.small()?,
            counter: fields.number()?,
            about: if fields.flag()? {
                Some(fields.bytes("about bytes", ABOUT_BYTES_MAX)?)
            } else {
                None
            },
        },
        kind::LEFT => Message::Left { origin: fields.small()?, counter: fields.number()? },
        kind::COMPARE => Message::Compare {
            token: fields.number()?,
            cutoff_ns: fields.time()?,
            root: fields.fixed()?,
        },
        kind::SAME => Message::Same { token: fields.number()?, versions: fields.versions()? },
        kind::RANGES => Message::Ranges {
            token: fields.number()?,
            cutoff_ns: fields.time()?,
            versions: fields.versions()?,
            sums: fields.sums()?,
        },
        kind::ASK_RANGE => Message::AskRange { range: fields.byte()? },
        kind::BUCKETS => Message::Buckets { range: fields.byte()?, sums: fields.sums()? },
        kind::ASK_BUCKET => Message::AskBucket {
            bucket: fields.small()?,
            all: fields.flag()?,
            seed: fields.fixed()?,
            keys: fields.keys()?,
        },
        kind::BUCKET_DONE => Message::BucketDone { bucket: fields.small()? },
        kind::COMPARED => Message::Compared { token: fields.number()? },
        kind::COMPARE_HINT => Message::CompareHint,
        kind::PING => Message::Ping { sent: fields.number()?, unix_ns: fields.time()? },
        kind::PONG => Message::Pong { sent: fields.number()?, unix_ns: fields.time()? },
        kind::BYE => Message::Bye { reason: fields.text("reason bytes", REASON_BYTES_MAX)? },
        _ => return Err(Flaw::Unknown),
    })
}

/// What is wrong with a frame of some type.
enum Flaw {
    Unknown,
    Malformed,
    TooLarge { what: &'static str, found: u64, max: usize },
}

/// The fields of a frame that are not read yet.
struct Fields<'a>(Reader<'a>);

impl<'a> Fields<'a> {
    #[inline]
    fn entry(&mut self, tombstone: bool) -> Result<Message<'a>, Flaw> {
        let (origin, sequence) = (self.small()?, self.number()?);
        let (effective_ns, received_ns) = self.times()?;
        let (key, value) = self.key_and_value()?;
        Ok(Message::Entry { origin, sequence, key, effective_ns, received_ns, tombstone, value })
    }

    #[inline]
    fn record(&mut self) -> Result<Message<'a>, Flaw> {
        let flags = self.byte()?;
        if flags & !(flags::TOMBSTONE | flags::CLAIMED) != 0 {
            return Err(Flaw::Malformed);
        }
        let (tombstone, claimed) = (flags & flags::TOMBSTONE != 0, flags & flags::CLAIMED != 0);
        let (effective_ns, received_ns) = self.times()?;
        let (key, value) = self.key_and_value()?;
        Ok(Message::Record { claimed, key, effective_ns, received_ns, tombstone, value })
    }

    /// Effective time, and time of receipt as its difference to that.
    #[inline]
    fn times(&mut self) -> Result<(i64, i64), Flaw> {
        let effective_ns = self.time()?;
        let difference = unzigzag(self.number()?);
        Ok((effective_ns, effective_ns.wrapping_add(difference)))
    }

    #[inline]
    fn key_and_value(&mut self) -> Result<(&'a [u8], &'a [u8]), Flaw> {
        let key = self.bytes("key bytes", KEY_BYTES_MAX)?;
        if key.is_empty() {
            return Err(Flaw::Malformed);
        }
        Ok((key, self.bytes("value bytes", VALUE_BYTES_MAX)?))
    }

    fn versions(&mut self) -> Result<Vec<(u16, u64)>, Flaw> {
        let count = self.size("versions", VERSIONS_MAX)?;
        (0..count).map(|_| Ok((self.small()?, self.number()?))).collect()
    }

    fn keys(&mut self) -> Result<Vec<KeyDigest>, Flaw> {
        let count = self.size("keys", KEYS_MAX)?;
        let mut key = || {
            let (key, effective_ns, digest) = (self.fixed()?, self.time()?, self.fixed()?);
            Ok(KeyDigest { key, effective_ns, digest })
        };
        (0..count).map(|_| key()).collect()
    }

    fn sums(&mut self) -> Result<Vec<u64>, Flaw> {
        (0..SUMS).map(|_| self.fixed()).collect()
    }

    fn name(&mut self) -> Result<&'a str, Flaw> {
        let name = self.text("name bytes", NAME_BYTES_MAX)?;
        if is_name(name) { Ok(name) } else { Err(Flaw::Malformed) }
    }

    fn text(&mut self, what: &'static str, max: usize) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.bytes(what, max)?).map_err(|_| Flaw::Malformed)
    }

    #[inline]
    fn bytes(&mut self, what: &'static str, max: usize) -> Result<&'a [u8], Flaw> {
        let length = self.size(what, max)?;
        let (bytes, rest) = self.0.0.split_at_checked(length).ok_or(Flaw::Malformed)?;
        self.0.0 = rest;
        Ok(bytes)
    }

    /// A length or count of at most `max`.
    #[inline]
    fn size(&mut self, what: &'static str, max: usize) -> Result<usize, Flaw> {
        let found = self.number()?;
        usize::try_from(found).ok().filter(|&size| size <= max).ok_or(Flaw::TooLarge {
            what,
            found,
            max,
        })
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Flaw> {
        self.0.number().ok_or(Flaw::Malformed)
    }

    #[inline]
    fn small(&mut self) -> Result<u16, Flaw> {
        self.0.small().ok_or(Flaw::Malformed)
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        self.0.byte().ok_or(Flaw::Malformed)
    }

    fn flag(&mut self) -> Result<bool, Flaw> {
        self.0.flag().ok_or(Flaw::Malformed)
    }

    #[inline]
    fn time(&mut self) -> Result<i64, Flaw> {
        self.fixed().map(u64::cast_signed)
    }

    #[inline]
    fn fixed(&mut self) -> Result<u64, Flaw> {
        self.0.array().map(u64::from_le_bytes).ok_or(Flaw::Malformed)
    }
}

/// The inverse of the encoder's zigzag.
fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
