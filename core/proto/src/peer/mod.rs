//! The binary protocol between two servers of this product, spoken after their hellos.
//!
//! Each direction of a link is a sequence of *batches*: a header with length and checksum, then one or more
//! *frames*. A frame is a length, a type and fields; `docs/protocol.md` describes them byte for byte, with
//! test vectors. Origins are named by number: each side numbers those it knows, and introduces a number with
//! [`Message::Origin`] before it first uses it.
//!
//! # How the format may grow
//!
//! - A frame type with bit 7 set must be understood by the receiver, which closes the link otherwise. An
//!   unknown type without it is skipped.
//! - Fields may be added at the end of any frame. A receiver skips the bytes behind the fields that it
//!   knows, and does not pass them on.
//! - What belongs to a record, and so must reach all servers, is added inside its `value`. Values carry
//!   their own version and are opaque to replication: every server stores them and passes them on byte for
//!   byte, also those it cannot read. Passing on trailing bytes of frames instead would need a second
//!   opaque string in every stored record, and in its rank and digest as well, since servers would never
//!   agree on bytes that do not count when records are compared.
//!
//! All input is treated as hostile: every length and count is checked against a named bound before it is
//! used. Absent on purpose: state. Whether a number was introduced, or a token is the right one, is for the
//! replica to judge.

mod batch;
mod decode;
mod encode;
mod kind;
mod message;
#[cfg(test)]
mod tests;

pub use batch::{BATCH_BYTES_MAX, Batch, BatchWriter, Frames, decode_batch, write_batch};
pub use decode::{Decoded, FrameError};
pub use message::{KeyDigest, Message};

use crate::fields::NAME_BYTES_MAX;

/// Largest frame, without its length. The largest message is [`Message::AskBucket`] with [`KEYS_MAX`] keys,
/// 96 KiB and a few bytes; the rest is room for fields to come.
pub const FRAME_BYTES_MAX: usize = 128 * 1024;

/// Longest key: one byte for its kind, then a name.
pub const KEY_BYTES_MAX: usize = NAME_BYTES_MAX + 1;

/// Longest value: a report with attributes of up to 2 KB.
pub const VALUE_BYTES_MAX: usize = 2048;

/// Longest self-description of a member. All servers pass it on to all others whenever it changes, so it
/// must stay small; a description with fifty peers takes less than half of it.
pub const ABOUT_BYTES_MAX: usize = 4096;

/// Effective time of an update that was superseded: only its position in the stream is sent, since its key holds a
/// greater record, which goes before it.
pub const SUPERSEDED_NS: i64 = i64::MIN;

/// Longest reason for closing a link; it goes to logs and status pages.
pub const REASON_BYTES_MAX: usize = 1024;

/// Number of sums in [`Message::Ranges`] and [`Message::Buckets`]: a replica has 256 ranges of 256 buckets.
pub const SUMS: usize = 256;

/// Most keys that one [`Message::AskBucket`] lists. A bucket holds more only beyond 268 million evenly
/// spread keys; a larger one is compared without a list.
pub const KEYS_MAX: usize = 4096;

/// Most streams that one version vector names. A herd of a hundred servers that all restarted within
/// seconds has two hundred streams.
pub const VERSIONS_MAX: usize = 1024;
