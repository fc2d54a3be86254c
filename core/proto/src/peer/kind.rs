//! Frame types. Numbers are never reused for another meaning.

/// The receiver must understand frames of types with this bit.
pub(super) const MUST: u8 = 0x80;

pub(super) const ORIGIN: u8 = MUST | 0x01;
pub(super) const WATERMARK: u8 = MUST | 0x02;
pub(super) const GREETED: u8 = MUST | 0x03;
pub(super) const SUBSCRIBE: u8 = MUST | 0x04;
pub(super) const GAP: u8 = MUST | 0x05;
pub(super) const UNSUBSCRIBE: u8 = MUST | 0x06;
pub(super) const ENTRY: u8 = MUST | 0x07;
pub(super) const TOMBSTONE: u8 = MUST | 0x08;
pub(super) const COMMIT: u8 = MUST | 0x09;

pub(super) const COMPARE: u8 = MUST | 0x10;
pub(super) const SAME: u8 = MUST | 0x11;
pub(super) const RANGES: u8 = MUST | 0x12;
pub(super) const ASK_RANGE: u8 = MUST | 0x13;
pub(super) const BUCKETS: u8 = MUST | 0x14;
pub(super) const ASK_BUCKET: u8 = MUST | 0x15;
pub(super) const RECORD: u8 = MUST | 0x16;
pub(super) const BUCKET_DONE: u8 = MUST | 0x17;
pub(super) const COMPARED: u8 = MUST | 0x18;
pub(super) const COMPARE_HINT: u8 = MUST | 0x19;

pub(super) const PING: u8 = MUST | 0x20;
pub(super) const PONG: u8 = MUST | 0x21;

// A herd works without these.
pub(super) const MEMBER: u8 = 0x30;
pub(super) const LEFT: u8 = 0x31;
pub(super) const BYE: u8 = 0x32;

/// Flags of [`RECORD`]; the other bits are zero.
pub(super) mod flags {
    /// The record removes its key.
    pub(in super::super) const TOMBSTONE: u8 = 0x01;
    /// The sender believes that the receiver claims to hold the record.
    pub(in super::super) const CLAIMED: u8 = 0x02;
}
