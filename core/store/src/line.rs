//! One record of a journal as bytes: a kind, and fields as in frames between servers.

use herd_proto::varint::{Reader, write_bytes, write_numbers};
use herd_replica::{Journaled, Record};

/// One thing that stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// From now on `number` means this origin.
    Origin {
        /// As records name it.
        number: u16,
        /// The server's name.
        server: &'a str,
        /// Which of its lives.
        incarnation: u64,
    },
    /// Anything else of a replica's journal.
    Of(Journaled<'a>),
    /// When this was written, the file was known to last up to here.
    Synced {
        /// Bytes from the file's start.
        to: u64,
    },
}

/// The first byte of a record. What a number means never changes.
mod kind {
    pub(super) const ORIGIN: u8 = 1;
    pub(super) const ENTRY: u8 = 2;
    pub(super) const TOMBSTONE: u8 = 3;
    pub(super) const VERSION: u8 = 4;
    pub(super) const FLOOR: u8 = 5;
    pub(super) const GRAVE: u8 = 6;
    pub(super) const GONE: u8 = 7;
    pub(super) const DROPPED: u8 = 8;
    pub(super) const SETTLED: u8 = 9;
    pub(super) const SYNCED: u8 = 16;
}

impl<'a> Line<'a> {
    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, numbers: &[u64]| {
            out.push(kind);
            for &number in numbers {
                write_numbers([number], out);
            }
        };
        match *self {
            Self::Origin { number, server, incarnation } => {
                put(kind::ORIGIN, &[number.into(), incarnation]);
                write_bytes(server.as_bytes(), out);
            }
            Self::Of(Journaled::Origin { number, origin }) => {
                let (server, incarnation) = (&*origin.server, origin.incarnation);
                Self::Origin { number, server, incarnation }.encode(out);
            }
            Self::Of(Journaled::Entry { origin, sequence, record }) => {
                let kind = if record.tombstone { kind::TOMBSTONE } else { kind::ENTRY };
                put(kind, &[origin.into(), sequence]);
                // A time takes nine bytes as a varint.
                out.extend_from_slice(&record.effective_ns.to_le_bytes());
                write_bytes(record.key, out);
                out.extend_from_slice(record.value);
            }
            Self::Of(Journaled::Version { origin, version }) => {
                put(kind::VERSION, &[origin.into(), version]);
            }
            Self::Of(Journaled::Settled) => put(kind::SETTLED, &[]),
            Self::Of(Journaled::Floor { origin, sequence }) => {
                put(kind::FLOOR, &[origin.into(), sequence]);
            }
            Self::Of(Journaled::Grave { origin, sequence }) => {
                put(kind::GRAVE, &[origin.into(), sequence]);
            }
            Self::Of(Journaled::Gone { key }) => {
                out.push(kind::GONE);
                out.extend_from_slice(key);
            }
            Self::Of(Journaled::Dropped { origin, key }) => {
                put(kind::DROPPED, &[origin.into()]);
                out.extend_from_slice(key);
            }
            Self::Synced { to } => put(kind::SYNCED, &[to]),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let mut fields = Reader(rest);
        let line = match kind {
            kind::ORIGIN => {
                let (number, incarnation) = (fields.small()?, fields.number()?);
                let server = std::str::from_utf8(fields.bytes()?).ok()?;
                Self::Origin { number, server, incarnation }
            }
            kind::ENTRY | kind::TOMBSTONE => {
                let (origin, sequence) = (fields.small()?, fields.number()?);
                let effective_ns = i64::from_le_bytes(fields.array()?);
                let (key, value) = (fields.bytes()?, fields.rest());
                let tombstone = kind == kind::TOMBSTONE;
                let record = Record { key, effective_ns, tombstone, value };
                Self::Of(Journaled::Entry { origin, sequence, record })
            }
            kind::VERSION => {
                let (origin, version) = (fields.small()?, fields.number()?);
                Self::Of(Journaled::Version { origin, version })
            }
            kind::FLOOR => {
                let (origin, sequence) = (fields.small()?, fields.number()?);
                Self::Of(Journaled::Floor { origin, sequence })
            }
            kind::GRAVE => {
                let (origin, sequence) = (fields.small()?, fields.number()?);
                Self::Of(Journaled::Grave { origin, sequence })
            }
            kind::SETTLED => Self::Of(Journaled::Settled),
            kind::GONE => Self::Of(Journaled::Gone { key: fields.rest() }),
            kind::DROPPED => {
                Self::Of(Journaled::Dropped { origin: fields.small()?, key: fields.rest() })
            }
            kind::SYNCED => Self::Synced { to: fields.number()? },
            _ => return None,
        };
        fields.0.is_empty().then_some(line)
    }

    /// Whether a record may begin so: a quick look, for the search behind damage.
    pub(crate) fn may_begin(byte: u8) -> bool {
        matches!(byte, kind::ORIGIN..=kind::SETTLED | kind::SYNCED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herd_replica::Origin;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let record = |tombstone, value| Record {
            key: b"kiwi",
            effective_ns: -1_700_000_000_000_000_000,
            tombstone,
            value,
        };
        let entry = |record| Journaled::Entry { origin: 300, sequence: 1 << 40, record };
        let origin = Origin { server: "Hill".into(), incarnation: u64::MAX };
        let lines = [
            Line::Origin { number: 0, server: "Hill", incarnation: u64::MAX },
            Line::Of(entry(record(false, b"Hill +1+2 3 +0.1"))),
            Line::Of(entry(record(true, b""))),
            Line::Of(Journaled::Version { origin: 1, version: 128 }),
            Line::Of(Journaled::Settled),
            Line::Of(Journaled::Floor { origin: 1, sequence: 127 }),
            Line::Of(Journaled::Grave { origin: 1, sequence: 126 }),
            Line::Of(Journaled::Gone { key: b"kiwi" }),
            Line::Of(Journaled::Dropped { origin: 2, key: b"" }),
            Line::Synced { to: 1 << 50 },
        ];
        for line in lines {
            let mut bytes = Vec::new();
            line.encode(&mut bytes);
            assert_eq!(Line::decode(&bytes), Some(line));
            assert!(Line::may_begin(bytes[0]));
        }
        let (mut one, mut other) = (Vec::new(), Vec::new());
        lines[0].encode(&mut one);
        Line::Of(Journaled::Origin { number: 0, origin: &origin }).encode(&mut other);
        assert_eq!(one, other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(line) = Line::decode(&bytes) {
                let mut again = Vec::new();
                line.encode(&mut again);
                prop_assert_eq!(Line::decode(&again), Some(line));
            }
        }
    }
}
