//! One record as bytes, complete in itself.
//!
//! ```text
//! record  checksum u32 · length of the body, varint · body
//! body    kind u8 · effective time i64 · time of receipt less effective time, zigzag varint
//!         · length of the key, varint · key · value
//! ```
//!
//! Numbers are little endian. The checksum is the low half of XXH3 over the length and the body, seeded with
//! the key of the directory. It depends on nothing else: a record is intact wherever it stands.

use herd_proto::Record;
use herd_proto::varint::{Reader, write_bytes, write_numbers};
use twox_hash::XxHash3_64;

/// The longest body. A record comes in one frame, so none is longer.
pub(crate) const BODY_BYTES_MAX: usize = herd_proto::peer::FRAME_BYTES_MAX;

/// A kind, an effective time, a time of receipt and the length of an empty key.
const BODY_BYTES_MIN: usize = 1 + 8 + 1 + 1;

/// A checksum, the longest length and the longest body.
pub(crate) const RECORD_BYTES_MAX: usize = 4 + 3 + BODY_BYTES_MAX;

const _: () = assert!(BODY_BYTES_MAX < 1 << 21, "a length takes three bytes");

/// The first byte of a body. The meaning of a number never changes.
mod kind {
    pub(super) const VALUE: u8 = 1;
    pub(super) const TOMBSTONE: u8 = 2;
}

fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    out.push(if record.tombstone { kind::TOMBSTONE } else { kind::VALUE });
    // A time takes nine bytes as a varint.
    out.extend_from_slice(&record.effective_ns.to_le_bytes());
    // Mostly milliseconds. The difference of any two times wraps around, and back when it is read.
    let delay = record.received_ns.wrapping_sub(record.effective_ns);
    write_numbers([((delay << 1) ^ (delay >> 63)).cast_unsigned()], out);
    write_bytes(record.key, out);
    out.extend_from_slice(record.value);
}

fn decode(body: &[u8]) -> Option<Record<'_>> {
    let mut reader = Reader(body);
    let tombstone = match reader.byte()? {
        kind::VALUE => false,
        kind::TOMBSTONE => true,
        _ => return None,
    };
    let effective_ns = i64::from_le_bytes(reader.array()?);
    let zigzag = reader.number()?;
    let delay = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
    let received_ns = effective_ns.wrapping_add(delay);
    let key = reader.bytes()?;
    Some(Record { key, effective_ns, received_ns, tombstone, value: reader.rest() })
}

/// Checksum of a length and a body.
fn checksum(key: u64, summed: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = XxHash3_64::oneshot_with_seed(key, summed).to_le_bytes();
    [a, b, c, d]
}

/// The record at the front of `bytes` and its length; `None` if there is no intact one. Mostly quick to tell
/// that there is none, since the search behind damage asks at every byte.
pub(crate) fn record_at(bytes: &[u8], key: u64) -> Option<(Record<'_>, usize)> {
    let (sum, behind) = bytes.split_first_chunk::<4>()?;
    let mut reader = Reader(behind);
    let length = usize::try_from(reader.number()?).ok()?;
    if !(BODY_BYTES_MIN..=BODY_BYTES_MAX).contains(&length) {
        return None;
    }
    let record = decode(reader.0.get(..length)?)?;
    let summed = behind.get(..behind.len() - reader.0.len() + length)?;
    (checksum(key, summed) == *sum).then_some((record, sum.len() + summed.len()))
}

/// Records on their way to a file.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    body: Vec<u8>,
}

impl Batch {
    /// Adds a record. Its checksum is left for [`Storage::append`](crate::Storage::append): records are
    /// pushed under a lock, and it is held for less long.
    pub fn push(&mut self, record: &Record<'_>) {
        self.body.clear();
        encode(record, &mut self.body);
        debug_assert!(self.body.len() <= BODY_BYTES_MAX, "a body of {} bytes", self.body.len());
        self.bytes.extend_from_slice(&[0; 4]);
        write_bytes(&self.body, &mut self.bytes);
    }

    /// Number of bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Removes all records; the memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The records with their checksums.
    pub(crate) fn sealed(&mut self, key: u64) -> &[u8] {
        let mut rest = &mut *self.bytes;
        while let Some((sum, behind)) = rest.split_first_chunk_mut::<4>() {
            let mut reader = Reader(behind);
            let _body = reader.bytes();
            let length = behind.len() - reader.0.len();
            let (summed, next) = behind.split_at_mut(length);
            *sum = checksum(key, summed);
            rest = next;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: u64 = 7;

    fn written(record: &Record<'_>) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.push(record);
        batch.sealed(KEY).to_vec()
    }

    #[test]
    fn a_report_takes_twenty_bytes_more_than_its_key_and_value() {
        let record = Record {
            key: b"rkiwi.example",
            effective_ns: 1_700_000_000_000_000_000,
            received_ns: 1_700_000_000_030_000_000,
            tombstone: false,
            value: b"Hill +34.068930-118.445127 1520023934.918963997 +0.263873386",
        };
        assert_eq!(written(&record).len() - record.key.len() - record.value.len(), 19);
    }

    #[test]
    fn a_record_of_another_directory_is_none() {
        let record =
            Record { key: b"k", effective_ns: 1, received_ns: 2, tombstone: false, value: b"v" };
        assert_eq!(record_at(&written(&record), KEY).map(|(read, _)| read), Some(record));
        assert_eq!(record_at(&written(&record), KEY + 1), None);
    }

    #[test]
    fn records_may_be_added_to_a_batch_that_was_written() {
        let record =
            Record { key: b"k", effective_ns: 1, received_ns: 2, tombstone: true, value: b"" };
        let mut batch = Batch::default();
        batch.push(&record);
        let first = batch.sealed(KEY).to_vec();
        batch.push(&record);
        assert_eq!(batch.sealed(KEY), first.repeat(2));
    }

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(
            key in prop::collection::vec(any::<u8>(), 0..300),
            effective_ns: i64, received_ns: i64, tombstone: bool,
            value in prop::collection::vec(any::<u8>(), 0..6000),
            bit in any::<prop::sample::Index>(),
        ) {
            let record = Record { key: &key, effective_ns, received_ns, tombstone, value: &value };
            let mut bytes = written(&record);
            prop_assert_eq!(record_at(&bytes, KEY), Some((record, bytes.len())));
            prop_assert_eq!(record_at(&bytes[..bytes.len() - 1], KEY), None);
            let bit = bit.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(record_at(&bytes, KEY), None);
        }

        #[test]
        fn any_bytes_are_a_body_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(record) = decode(&bytes) {
                let mut again = Vec::new();
                encode(&record, &mut again);
                prop_assert_eq!(decode(&again), Some(record));
            }
        }
    }
}
