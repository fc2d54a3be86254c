//! Keys, values and ranks as the simulator numbers them.

use herd_proto::Record;

/// What orders the records of one key. Values are numbers in the order of their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) effective_ns: i64,
    pub(crate) tombstone: bool,
    pub(crate) value: u16,
    pub(crate) received_ns: i64,
}

/// Bytes of the values of each class; the longest is near the bound of reports.
const LENGTHS: [usize; 6] = [2, 3, 8, 40, 300, 2000];

/// Classes of values; fewer are used.
const CLASSES: u16 = 8;

/// Values of one writer.
const VALUES: u16 = 4096;

/// A value that any server may write.
const ANYONE: u16 = 15;

/// The number of a value of a class. One with a writer is told apart from its others by `count`.
pub(crate) fn value_of(class: u8, writer: Option<usize>, count: u64) -> u16 {
    let class = u16::from(class) % CLASSES + 1;
    let Some(writer) = writer.and_then(|writer| u16::try_from(writer).ok()) else {
        return ANYONE * VALUES + class;
    };
    let count = u16::try_from(count % u64::from(VALUES / CLASSES)).unwrap_or(0);
    writer * VALUES + count * CLASSES + class
}

/// The server that wrote a value.
pub(crate) fn writer_of(value: u16) -> usize {
    usize::from(value.saturating_sub(1) / VALUES)
}

fn length_of(value: u16) -> usize {
    let class = usize::from(value.saturating_sub(1) % CLASSES);
    LENGTHS.get(class).copied().unwrap_or(2)
}

/// The bytes of a value, in `buffer`.
pub(crate) fn value_bytes(value: u16, buffer: &mut Vec<u8>) {
    buffer.clear();
    if value > 0 {
        buffer.extend(value.to_be_bytes());
        buffer.resize(length_of(value), b'.');
    }
}

/// The rank of a record; none if it is no value of the simulator's.
pub(crate) fn rank_of(record: &Record<'_>) -> Option<Rank> {
    let Record { effective_ns, received_ns, tombstone, value, .. } = *record;
    let value = match value {
        [] => 0,
        &[high, low, ref rest @ ..] => {
            let value = u16::from_be_bytes([high, low]);
            let is_whole = rest.len() + 2 == length_of(value);
            (is_whole && rest.last().is_none_or(|&last| last == b'.')).then_some(value)?
        }
        [_] => return None,
    };
    Some(Rank { effective_ns, tombstone, value, received_ns })
}

/// Some keys that histories use.
pub(crate) const KEYS: [&[u8]; 3] = [b"k0000", b"k0001", b"k0007"];

/// The bytes of a key: its kind, then the number in digits.
pub(crate) fn key_bytes(key: usize) -> [u8; 5] {
    let digit = |unit: usize| b'0' + u8::try_from(key / unit % 10).unwrap_or(0);
    [b'k', digit(1000), digit(100), digit(10), digit(1)]
}

/// The number of a key; none if it is none of the simulator's.
pub(crate) fn key_of(key: &[u8]) -> Option<usize> {
    let (&kind, digits) = key.split_first()?;
    if kind != b'k' || digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

impl Rank {
    /// A record of this rank, but for its value, which nothing that is asked about it depends on.
    pub(crate) fn record<'a>(&self, key: &'a [u8]) -> Record<'a> {
        Record {
            key,
            effective_ns: self.effective_ns,
            received_ns: self.received_ns,
            tombstone: self.tombstone,
            value: &[],
        }
    }
}
