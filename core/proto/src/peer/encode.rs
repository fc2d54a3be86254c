//! Messages to frames.

use super::kind::{self, flags};
use super::{KeyDigest, Message};
use crate::varint::{write_bytes, write_numbers};

impl Message<'_> {
    /// Appends the message as one frame: length, type, fields. What is beyond the bounds of
    /// [`peer`](super) is written all the same, and refused by the receiver.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Room for the length as most frames have it; longer ones are moved up.
        out.push(0);
        self.encode_body(out);
        let length = out.len() - start - 1;
        if let Some(place) = out.get_mut(start)
            && let Ok(short @ ..0x80) = u8::try_from(length)
        {
            *place = short;
        } else {
            write_long_length(start, length, out);
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Entry { origin, sequence, key, effective_ns, received_ns, tombstone, value } => {
                out.push(if tombstone { kind::TOMBSTONE } else { kind::ENTRY });
                write_numbers([origin.into(), sequence], out);
                write_record(key, effective_ns, received_ns, value, out);
            }
            Self::Record { claimed, key, effective_ns, received_ns, tombstone, value } => {
                let flags = if tombstone { flags::TOMBSTONE } else { 0 }
                    | if claimed { flags::CLAIMED } else { 0 };
                out.extend_from_slice(&[kind::RECORD, flags]);
                write_record(key, effective_ns, received_ns, value, out);
            }
            Self::Commit { origin, from, to } => {
                out.push(kind::COMMIT);
                write_numbers([origin.into(), from, to], out);
            }
            Self::Origin { number, server, incarnation } => {
                out.push(kind::ORIGIN);
                write_numbers([number.into(), incarnation], out);
                write_bytes(server.as_bytes(), out);
            }
            Self::Watermark { origin, version } => {
                out.push(kind::WATERMARK);
                write_numbers([origin.into(), version], out);
            }
            Self::Greeted => out.push(kind::GREETED),
            Self::Subscribe { origin, from } => {
                out.push(kind::SUBSCRIBE);
                write_numbers([origin.into(), from], out);
            }
            Self::Gap { origin, since } => {
                out.push(kind::GAP);
                write_numbers([origin.into(), since], out);
            }
            Self::Unsubscribe { origin } => {
                out.push(kind::UNSUBSCRIBE);
                write_numbers([origin.into()], out);
            }
            Self::Member { origin, counter, about } => {
                out.push(kind::MEMBER);
                write_numbers([origin.into(), counter], out);
                out.push(about.is_some().into());
                if let Some(about) = about {
                    write_bytes(about, out);
                }
            }
            Self::Left { origin, counter } => {
                out.push(kind::LEFT);
                write_numbers([origin.into(), counter], out);
            }
            Self::Compare { token, cutoff_ns, root } => {
                out.push(kind::COMPARE);
                write_numbers([token], out);
                write_fixed(&[cutoff_ns.cast_unsigned(), root], out);
            }
            Self::Same { token, ref versions } => {
                out.push(kind::SAME);
                write_numbers([token], out);
                write_versions(versions, out);
            }
            Self::Ranges { token, cutoff_ns, ref versions, ref sums } => {
                out.push(kind::RANGES);
                write_numbers([token], out);
                write_fixed(&[cutoff_ns.cast_unsigned()], out);
                write_versions(versions, out);
                write_fixed(sums, out);
            }
            Self::AskRange { range } => out.extend_from_slice(&[kind::ASK_RANGE, range]),
            Self::Buckets { range, ref sums } => {
                out.extend_from_slice(&[kind::BUCKETS, range]);
                write_fixed(sums, out);
            }
            Self::AskBucket { bucket, all, seed, ref keys } => {
                out.push(kind::ASK_BUCKET);
                write_numbers([bucket.into()], out);
                out.push(all.into());
                write_fixed(&[seed], out);
                write_numbers([keys.len() as u64], out);
                for &KeyDigest { key, effective_ns, digest } in keys {
                    write_fixed(&[key, effective_ns.cast_unsigned(), digest], out);
                }
            }
            Self::BucketDone { bucket } => {
                out.push(kind::BUCKET_DONE);
                write_numbers([bucket.into()], out);
            }
            Self::Compared { token } => {
                out.push(kind::COMPARED);
                write_numbers([token], out);
            }
            Self::CompareHint => out.push(kind::COMPARE_HINT),
            Self::Ping { sent, unix_ns } => {
                out.push(kind::PING);
                write_numbers([sent], out);
                write_fixed(&[unix_ns.cast_unsigned()], out);
            }
            Self::Pong { sent, unix_ns } => {
                out.push(kind::PONG);
                write_numbers([sent], out);
                write_fixed(&[unix_ns.cast_unsigned()], out);
            }
            Self::Bye { reason } => {
                out.push(kind::BYE);
                write_bytes(reason.as_bytes(), out);
            }
        }
    }
}

/// Writes a length that needs more than the one byte that was left for it at `start`.
#[cold]
fn write_long_length(start: usize, length: usize, out: &mut Vec<u8>) {
    let mut digits = Vec::new();
    write_numbers([length as u64], &mut digits);
    out.splice(start..=start, digits);
}

/// Effective times fill their eight bytes, so they are sent as they are; most records are received within
/// seconds of their effective time, so the difference is short.
#[inline]
fn write_record(key: &[u8], effective_ns: i64, received_ns: i64, value: &[u8], out: &mut Vec<u8>) {
    write_fixed(&[effective_ns.cast_unsigned()], out);
    write_numbers([zigzag(received_ns.wrapping_sub(effective_ns))], out);
    write_bytes(key, out);
    write_bytes(value, out);
}

fn write_versions(versions: &[(u16, u64)], out: &mut Vec<u8>) {
    write_numbers([versions.len() as u64], out);
    for &(origin, version) in versions {
        write_numbers([origin.into(), version], out);
    }
}

/// Appends numbers of eight bytes each, little endian.
fn write_fixed(numbers: &[u64], out: &mut Vec<u8>) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Small numbers of either sign as small numbers: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
