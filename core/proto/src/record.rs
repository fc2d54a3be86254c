//! The unit of replication: what one key holds, in the order that decides which of two records of a key wins.
//!
//! Absent on purpose: who wrote a record. Streams name their origin beside it; two servers that hold equal
//! records hold the same record whichever way it came.

/// The value of a key or its removal, with the times that order it and end it.
///
/// Two records of one key are compared by [`rank`](Self::rank); the greater one is kept. Records of equal
/// rank are the same record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Key bytes, opaque here; the first one says what kind of value the key holds.
    pub key: &'a [u8],
    /// When it takes effect, in nanoseconds since 1970. It decides before all else which record wins.
    pub effective_ns: i64,
    /// When its first server received it, in nanoseconds since 1970. Set once; a record expires by it.
    pub received_ns: i64,
    /// Whether the key is removed rather than set.
    pub tombstone: bool,
    /// Value bytes, opaque here. They carry their own version, and are passed on unchanged by servers that
    /// cannot read them.
    pub value: &'a [u8],
}

impl<'a> Record<'a> {
    /// The order among records of one key: effective time, then tombstones over values, then the value's
    /// bytes, then the time of receipt.
    #[inline]
    pub fn rank(&self) -> (i64, bool, &'a [u8], i64) {
        (self.effective_ns, self.tombstone, self.value, self.received_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_compares_time_then_tombstone_then_value_then_receipt() {
        let record = |effective_ns, tombstone, value, received_ns| Record {
            key: b"kiwi",
            effective_ns,
            received_ns,
            tombstone,
            value,
        };
        let ascending = [
            record(-1, true, b"z".as_slice(), 9),
            record(5, false, b"", 9),
            record(5, false, b"a", 9),
            record(5, false, b"b", 3),
            record(5, false, b"b", 4),
            record(5, true, b"", 0),
            record(6, false, b"", 0),
        ];
        assert!(ascending.is_sorted_by(|a, b| a.rank() < b.rank()));
    }
}
