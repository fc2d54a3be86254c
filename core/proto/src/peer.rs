//! What two servers of this product say to each other after their hellos: frames of bytes.
//!
//! A frame is a length (u32, little endian, of what follows), a type (u8) and fields: numbers as
//! varints (LEB128), texts and values as a varint length and bytes. Bit 7 of the type says that the
//! receiver must understand it; an unknown frame without it is skipped. Origins are named by number:
//! each side numbers those it knows, and says who a number is before it first uses it.
//!
//! What comes in is hostile: every length is held against its bound before it is believed.

use crate::fields::{NAME_BYTES_MAX, is_name};
use crate::varint::{Reader, write_bytes, write_numbers};

/// Bytes of a frame at most, without its length: far more than any message has; a neighbour that
/// claims more is none.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Origins at most that one message may name.
const VERSIONS_MAX: usize = 8192;

/// Sums in one audit message: ranges of all, or buckets of one range.
pub const AUDIT_SUMS: usize = 256;

/// Keys that one audit message may list: a bucket of more is not looked into. Keeps the frame within its
/// bound, and is reached by 270 million keys evenly spread.
pub const AUDIT_KEYS_MAX: usize = 4096;

/// What a key shows, as an audit compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditKey {
    /// Of the key.
    pub key_hash: u64,
    /// Nanoseconds since 1970.
    pub effective_ns: i64,
    /// Whether the key is forgotten.
    pub tombstone: bool,
    /// Of key, time and value.
    pub sum: u64,
}
/// Bytes at most that a member tells about itself: everybody passes them on to everybody once a second
/// while they change, so they must stay small against what else a link carries. The links of fifty
/// neighbours take less than half of it.
pub const ABOUT_BYTES_MAX: usize = 4096;

/// One thing said over a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// From now on `number` means this origin, from this side.
    Origin {
        /// Chosen by the sender.
        number: u16,
        /// The server's name.
        server: &'a str,
        /// Which of its lives.
        incarnation: u64,
    },
    /// The sender holds this origin's stream up to here.
    Watermark {
        /// Whose stream.
        origin: u16,
        /// Its version at the sender.
        version: u64,
    },
    /// Who holds less than this of that stream cannot be brought up to date entry by entry.
    Floor {
        /// Whose stream.
        origin: u16,
        /// The floor at the sender.
        sequence: u64,
    },
    /// Of that stream tombstones up to here were dropped by somebody: who still holds one knows that a
    /// report which loses to it may have been taken as new elsewhere.
    Grave {
        /// Whose stream.
        origin: u16,
        /// The greatest number of a tombstone that was dropped.
        sequence: u64,
    },
    /// All origins, watermarks and floors have been told; the receiver may decide what it wants.
    Greeted,
    /// Send this origin's entries above `from`, now and as they come.
    Subscribe {
        /// Whose stream.
        origin: u16,
        /// What the sender holds already.
        from: u64,
    },
    /// Send no more of this origin.
    Unsubscribe {
        /// Whose stream.
        origin: u16,
    },
    /// One entry of a stream.
    Entry {
        /// Who wrote it.
        origin: u16,
        /// Its number there.
        sequence: u64,
        /// Under which key.
        key: &'a [u8],
        /// Nanoseconds since 1970; the first thing that orders two records of one key.
        effective_ns: i64,
        /// Whether it says that the key is to be forgotten.
        tombstone: bool,
        /// The value.
        value: &'a [u8],
    },
    /// Whoever held this stream up to `from` has now been sent all up to `to`.
    Commit {
        /// Whose stream.
        origin: u16,
        /// The version it builds on.
        from: u64,
        /// The version it makes.
        to: u64,
    },
    /// Send everything: the sender holds too little to be brought up to date.
    SnapshotRequest,
    /// Everything follows.
    SnapshotBegin,
    /// That was everything. The versions of all origins were sent as [`Commit`](Self::Commit)s from
    /// zero just before.
    SnapshotEnd,
    /// What one member holds: passed on by everyone, so that all learn what all hold.
    Member {
        /// The origin that is the member's present life.
        origin: u16,
        /// Greater whenever the member has something new to say.
        counter: u64,
        /// Origins and versions.
        versions: Vec<(u16, u64)>,
        /// What the member says of itself for those who watch: opaque here, at most
        /// [`ABOUT_BYTES_MAX`].
        about: &'a [u8],
    },
    /// The sum of all that the sender shows. As an answer: it was the same as the receiver's.
    AuditRoot {
        /// Whether it is one.
        is_answer: bool,
        /// The sum.
        sum: u64,
    },
    /// The sums of all ranges, since the roots differ.
    AuditRanges {
        /// [`AUDIT_SUMS`] of them.
        sums: Vec<u64>,
    },
    /// The sums of the buckets of a range, since those of the range differ.
    AuditBuckets {
        /// Which.
        range: u8,
        /// [`AUDIT_SUMS`] of them.
        sums: Vec<u64>,
    },
    /// The keys of a bucket, since its sums differ; to be answered with the receiver's.
    AuditKeys {
        /// Which.
        bucket: u16,
        /// Whether this is the answer.
        is_answer: bool,
        /// Chosen by who asks; the answer to that bears it too.
        token: u64,
        /// At most [`AUDIT_KEYS_MAX`].
        keys: Vec<AuditKey>,
    },
    /// A member is no longer one: it has left, or a config that was read anew does not name it. Passed
    /// on by everyone. A later word of it makes it a member again.
    Left {
        /// The origin that was the member's last life.
        origin: u16,
        /// That of its last word.
        counter: u64,
    },
    /// Are you there? To be answered with the same number.
    Ping {
        /// The sender's own clock, opaque to the receiver.
        sent: u64,
    },
    /// I am.
    Pong {
        /// What the ping said.
        sent: u64,
    },
    /// The sender ends the link, and why.
    Bye {
        /// For people.
        reason: &'a str,
    },
}

/// What a frame turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A message.
    Message(Message<'a>),
    /// One of a later version that may be skipped.
    Skipped(u8),
}

/// Why bytes are no frame of ours. The link ends.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is beyond [`FRAME_BYTES_MAX`], or zero.
    #[error("a frame of {0} bytes")]
    Length(usize),
    /// A type that must be understood and is not.
    #[error(
        "a frame of type {0:#04x}, which this version of geoherd does not know; run the same version on both sides"
    )]
    UnknownType(u8),
    /// The fields do not fill the frame, or overrun it, or are beyond their bounds.
    #[error("a malformed frame of type {0:#04x}")]
    Malformed(u8),
}

mod kind {
    /// The receiver must understand frames of this type.
    pub(super) const MUST: u8 = 0x80;
    pub(super) const ORIGIN: u8 = MUST | 0x01;
    pub(super) const WATERMARK: u8 = MUST | 0x02;
    pub(super) const FLOOR: u8 = MUST | 0x03;
    pub(super) const GREETED: u8 = MUST | 0x04;
    pub(super) const SUBSCRIBE: u8 = MUST | 0x05;
    pub(super) const UNSUBSCRIBE: u8 = MUST | 0x06;
    pub(super) const ENTRY: u8 = MUST | 0x07;
    pub(super) const TOMBSTONE: u8 = MUST | 0x08;
    pub(super) const COMMIT: u8 = MUST | 0x09;
    pub(super) const SNAPSHOT_REQUEST: u8 = MUST | 0x0a;
    pub(super) const SNAPSHOT_BEGIN: u8 = MUST | 0x0b;
    pub(super) const SNAPSHOT_END: u8 = MUST | 0x0c;
    pub(super) const MEMBER: u8 = 0x0d;
    pub(super) const AUDIT_ROOT: u8 = 0x0e;
    pub(super) const AUDIT_RANGES: u8 = 0x0f;
    pub(super) const AUDIT_BUCKETS: u8 = 0x10;
    pub(super) const AUDIT_KEYS: u8 = 0x11;
    pub(super) const LEFT: u8 = 0x12;
    pub(super) const GRAVE: u8 = MUST | 0x18;
    pub(super) const PING: u8 = MUST | 0x20;
    pub(super) const PONG: u8 = MUST | 0x21;
    pub(super) const BYE: u8 = 0x22;
}

impl<'a> Message<'a> {
    /// Appends the message as one frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        self.encode_body(out);
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Origin { number, server, incarnation } => {
                out.push(kind::ORIGIN);
                write_numbers([number.into(), incarnation], out);
                write_bytes(server.as_bytes(), out);
            }
            Self::Watermark { origin, version } => {
                out.push(kind::WATERMARK);
                write_numbers([origin.into(), version], out);
            }
            Self::Floor { origin, sequence } => {
                out.push(kind::FLOOR);
                write_numbers([origin.into(), sequence], out);
            }
            Self::Grave { origin, sequence } => {
                out.push(kind::GRAVE);
                write_numbers([origin.into(), sequence], out);
            }
            Self::Greeted => out.push(kind::GREETED),
            Self::Subscribe { origin, from } => {
                out.push(kind::SUBSCRIBE);
                write_numbers([origin.into(), from], out);
            }
            Self::Unsubscribe { origin } => {
                out.push(kind::UNSUBSCRIBE);
                write_numbers([origin.into()], out);
            }
            Self::Entry { origin, sequence, key, effective_ns, tombstone, value } => {
                out.push(if tombstone { kind::TOMBSTONE } else { kind::ENTRY });
                write_numbers([origin.into(), sequence, effective_ns.cast_unsigned()], out);
                write_bytes(key, out);
                write_bytes(value, out);
            }
            Self::Commit { origin, from, to } => {
                out.push(kind::COMMIT);
                write_numbers([origin.into(), from, to], out);
            }
            Self::SnapshotRequest => out.push(kind::SNAPSHOT_REQUEST),
            Self::SnapshotBegin => out.push(kind::SNAPSHOT_BEGIN),
            Self::SnapshotEnd => out.push(kind::SNAPSHOT_END),
            Self::Member { origin, counter, ref versions, about } => {
                out.push(kind::MEMBER);
                write_numbers([origin.into(), counter, versions.len() as u64], out);
                for &(origin, version) in versions {
                    write_numbers([origin.into(), version], out);
                }
                write_bytes(about, out);
            }
            Self::AuditRoot { is_answer, sum } => {
                out.extend([kind::AUDIT_ROOT, is_answer.into()]);
                write_sums(&[sum], out);
            }
            Self::AuditRanges { ref sums } => {
                out.push(kind::AUDIT_RANGES);
                write_sums(sums, out);
            }
            Self::AuditBuckets { range, ref sums } => {
                out.extend([kind::AUDIT_BUCKETS, range]);
                write_sums(sums, out);
            }
            Self::AuditKeys { bucket, is_answer, token, ref keys } => {
                out.extend([kind::AUDIT_KEYS, is_answer.into()]);
                write_numbers([bucket.into(), token, keys.len() as u64], out);
                for key in keys {
                    out.push(key.tombstone.into());
                    write_sums(&[key.key_hash, key.effective_ns.cast_unsigned(), key.sum], out);
                }
            }
            Self::Left { origin, counter } => {
                out.push(kind::LEFT);
                write_numbers([origin.into(), counter], out);
            }
            Self::Ping { sent } => {
                out.push(kind::PING);
                write_numbers([sent], out);
            }
            Self::Pong { sent } => {
                out.push(kind::PONG);
                write_numbers([sent], out);
            }
            Self::Bye { reason } => {
                out.push(kind::BYE);
                write_bytes(reason.as_bytes(), out);
            }
        }
    }

    /// Reads the frame at the start of `bytes`: what it is, and how many bytes it takes. None if it is
    /// not whole yet.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if these bytes can never become a frame of ours.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<(Decoded<'a>, usize)>, FrameError> {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > FRAME_BYTES_MAX {
            return Err(FrameError::Length(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let Some((&kind, fields)) = body.split_first() else { return Ok(None) };
        let mut fields = Reader(fields);
        let message = Self::decode_body(kind, &mut fields);
        let decoded = match message {
            Ok(Some(message)) if fields.0.is_empty() => Decoded::Message(message),
            Ok(_) => return Err(FrameError::Malformed(kind)),
            Err(UnknownKind) if kind & kind::MUST == 0 => Decoded::Skipped(kind),
            Err(UnknownKind) => return Err(FrameError::UnknownType(kind)),
        };
        Ok(Some((decoded, length + 4)))
    }

    /// None if the type is known and the fields are amiss.
    fn decode_body(kind: u8, fields: &mut Reader<'a>) -> Result<Option<Self>, UnknownKind> {
        Ok(match kind {
            kind::ORIGIN => fields.origin_message(),
            kind::WATERMARK => fields
                .small()
                .and_then(|origin| Some(Self::Watermark { origin, version: fields.number()? })),
            kind::FLOOR => fields
                .small()
                .and_then(|origin| Some(Self::Floor { origin, sequence: fields.number()? })),
            kind::GRAVE => fields
                .small()
                .and_then(|origin| Some(Self::Grave { origin, sequence: fields.number()? })),
            kind::GREETED => Some(Self::Greeted),
            kind::SUBSCRIBE => fields
                .small()
                .and_then(|origin| Some(Self::Subscribe { origin, from: fields.number()? })),
            kind::UNSUBSCRIBE => fields.small().map(|origin| Self::Unsubscribe { origin }),
            kind::ENTRY => fields.entry(false),
            kind::TOMBSTONE => fields.entry(true),
            kind::COMMIT => fields.commit(),
            kind::SNAPSHOT_REQUEST => Some(Self::SnapshotRequest),
            kind::SNAPSHOT_BEGIN => Some(Self::SnapshotBegin),
            kind::SNAPSHOT_END => Some(Self::SnapshotEnd),
            kind::MEMBER => fields.member(),
            kind::AUDIT_ROOT => fields.audit_root(),
            kind::AUDIT_RANGES => fields.sums().map(|sums| Self::AuditRanges { sums }),
            kind::AUDIT_BUCKETS => fields
                .byte()
                .and_then(|range| Some(Self::AuditBuckets { range, sums: fields.sums()? })),
            kind::AUDIT_KEYS => fields.audit_keys(),
            kind::LEFT => fields
                .small()
                .and_then(|origin| Some(Self::Left { origin, counter: fields.number()? })),
            kind::PING => fields.number().map(|sent| Self::Ping { sent }),
            kind::PONG => fields.number().map(|sent| Self::Pong { sent }),
            kind::BYE => fields
                .bytes()
                .and_then(|reason| std::str::from_utf8(reason).ok())
                .map(|reason| Self::Bye { reason }),
            _ => return Err(UnknownKind),
        })
    }
}

/// A type of frame that this version does not have.
struct UnknownKind;

impl<'a> Reader<'a> {
    fn origin_message(&mut self) -> Option<Message<'a>> {
        let (number, incarnation) = (self.small()?, self.number()?);
        let server = std::str::from_utf8(self.bytes()?).ok()?;
        let fits = server.len() <= NAME_BYTES_MAX && is_name(server);
        fits.then_some(Message::Origin { number, server, incarnation })
    }

    fn entry(&mut self, tombstone: bool) -> Option<Message<'a>> {
        let (origin, sequence, effective) = (self.small()?, self.number()?, self.number()?);
        let (key, value) = (self.bytes()?, self.bytes()?);
        let effective_ns = effective.cast_signed();
        Some(Message::Entry { origin, sequence, key, effective_ns, tombstone, value })
    }

    fn commit(&mut self) -> Option<Message<'a>> {
        let (origin, from, to) = (self.small()?, self.number()?, self.number()?);
        Some(Message::Commit { origin, from, to })
    }

    fn sum(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn sums(&mut self) -> Option<Vec<u64>> {
        (0..AUDIT_SUMS).map(|_| self.sum()).collect()
    }

    fn audit_root(&mut self) -> Option<Message<'a>> {
        Some(Message::AuditRoot { is_answer: self.flag()?, sum: self.sum()? })
    }

    fn audit_keys(&mut self) -> Option<Message<'a>> {
        let (is_answer, bucket, token) = (self.flag()?, self.small()?, self.number()?);
        let count = usize::try_from(self.number()?).ok().filter(|&n| n <= AUDIT_KEYS_MAX)?;
        let keys = (0..count).map(|_| {
            let (tombstone, key_hash) = (self.flag()?, self.sum()?);
            let (effective_ns, sum) = (self.sum()?.cast_signed(), self.sum()?);
            Some(AuditKey { key_hash, effective_ns, tombstone, sum })
        });
        let keys = keys.collect::<Option<_>>()?;
        Some(Message::AuditKeys { bucket, is_answer, token, keys })
    }

    fn member(&mut self) -> Option<Message<'a>> {
        let (origin, counter) = (self.small()?, self.number()?);
        let count = usize::try_from(self.number()?).ok().filter(|&count| count <= VERSIONS_MAX)?;
        let versions = (0..count).map(|_| Some((self.small()?, self.number()?)));
        let versions = versions.collect::<Option<_>>()?;
        let about = self.bytes().filter(|about| about.len() <= ABOUT_BYTES_MAX)?;
        Some(Message::Member { origin, counter, versions, about })
    }
}

/// Sums fill their eight bytes anyway: a varint would make them longer.
fn write_sums(sums: &[u64], out: &mut Vec<u8>) {
    for sum in sums {
        out.extend_from_slice(&sum.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn messages() -> Vec<Message<'static>> {
        let key = b"kiwi".as_slice();
        let entry = |tombstone, value| Message::Entry {
            origin: 3,
            sequence: 300,
            key,
            effective_ns: 1_700_000_000_000_000_000,
            tombstone,
            value,
        };
        let audited = AuditKey { key_hash: 1 << 63, effective_ns: -1, tombstone: true, sum: 258 };
        vec![
            Message::Origin { number: 0, server: "Hill", incarnation: u64::MAX },
            Message::Watermark { origin: 300, version: 1 },
            Message::Floor { origin: 1, sequence: 127 },
            Message::Grave { origin: 1, sequence: 126 },
            Message::Greeted,
            Message::Subscribe { origin: u16::MAX, from: 128 },
            Message::Unsubscribe { origin: 7 },
            entry(false, b"Hill +1+2 3 +0.1"),
            entry(true, b""),
            Message::Commit { origin: 1, from: 0, to: 16_384 },
            Message::SnapshotRequest,
            Message::SnapshotBegin,
            Message::SnapshotEnd,
            Message::AuditRoot { is_answer: true, sum: u64::MAX },
            Message::AuditRanges { sums: (1..=256).collect() },
            Message::AuditBuckets { range: 255, sums: vec![7; 256] },
            Message::AuditKeys {
                bucket: 0xfffe,
                is_answer: false,
                token: 300,
                keys: vec![audited],
            },
            Message::Member {
                origin: 2,
                counter: 9,
                versions: vec![(0, 1), (2, 70_000)],
                about: b"ready",
            },
            Message::Left { origin: 2, counter: 10 },
            Message::Ping { sent: 1 << 40 },
            Message::Pong { sent: 0 },
            Message::Bye { reason: "stopping" },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        for message in messages() {
            message.encode(&mut bytes);
        }
        let mut rest = &bytes[..];
        for message in messages() {
            for cut in 0..4 {
                assert_eq!(Message::decode(&rest[..cut]), Ok(None));
            }
            let (decoded, taken) = Message::decode(rest).unwrap().unwrap();
            assert_eq!(Message::decode(&rest[..taken - 1]), Ok(None));
            assert_eq!(decoded, Decoded::Message(message));
            rest = &rest[taken..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn frames_of_other_versions_are_skipped_or_end_the_link() {
        assert_eq!(Message::decode(&[2, 0, 0, 0, 0x7f, 1]), Ok(Some((Decoded::Skipped(0x7f), 6))));
        let unknown = Err(FrameError::UnknownType(0xff));
        assert_eq!(Message::decode(&[2, 0, 0, 0, 0xff, 1]), unknown);
        assert_eq!(Message::decode(&[0, 0, 0, 0, 1]), Err(FrameError::Length(0)));
        assert_eq!(Message::decode(&[0, 0, 0, 1]), Err(FrameError::Length(1 << 24)));
        let trailing = Err(FrameError::Malformed(kind::GREETED));
        assert_eq!(Message::decode(&[2, 0, 0, 0, kind::GREETED, 0]), trailing);
    }

    #[test]
    fn a_member_that_tells_too_much_is_no_member() {
        let frame = |about: &[u8]| {
            let mut bytes = Vec::new();
            Message::Member { origin: 2, counter: 9, versions: Vec::new(), about }
                .encode(&mut bytes);
            Message::decode(&bytes).map(|decoded| decoded.is_some())
        };
        assert_eq!(frame(&[7; ABOUT_BYTES_MAX]), Ok(true));
        assert_eq!(frame(&[7; ABOUT_BYTES_MAX + 1]), Err(FrameError::Malformed(kind::MEMBER)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(
            kind in prop_oneof![0_u8..24, 128..144_u8, any::<u8>()],
            body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let length = u32::try_from(body.len() + 1).unwrap();
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.push(kind);
            bytes.extend(body);
            if let Ok(Some((Decoded::Message(message), taken))) = Message::decode(&bytes) {
                prop_assert_eq!(taken, bytes.len());
                let mut again = Vec::new();
                message.encode(&mut again);
                let (decoded, _) = Message::decode(&again).unwrap().unwrap();
                prop_assert_eq!(decoded, Decoded::Message(message));
            }
        }
    }
}
