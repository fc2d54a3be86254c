//! Sums over all that is shown, by which two nodes see cheaply whether they show the same.
//!
//! A key belongs to one of 65,536 buckets by its hash; what it shows is hashed, and a bucket is the sum
//! of those hashes, a range the sum of 256 buckets, the root the sum of all. Sums do not depend on any
//! order, and a change costs three additions. Tombstones count as nothing: nodes forget them each in
//! their own time.
//!
//! The hash is XXH3, whose output is fixed: servers of different builds compare sums. It is no shield
//! against somebody who searches for collisions; those could hide a fault from the audit, nothing else.

use crate::settings::Record;
use herd_proto::peer::{AUDIT_SUMS, AuditKey};
use twox_hash::XxHash3_64;

/// The start of all hashes: "geoherd" and the number of this way to make sums.
const SEED: u64 = 0x6765_6f68_6572_6401;

#[derive(Debug)]
pub(crate) struct Sums {
    buckets: Vec<u64>,
    ranges: Vec<u64>,
    root: u64,
}

impl Sums {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; AUDIT_SUMS * AUDIT_SUMS], ranges: vec![0; AUDIT_SUMS], root: 0 }
    }

    /// A key shows something else than before; zero stands for nothing.
    pub(crate) fn replace(&mut self, key_hash: u64, before: u64, after: u64) {
        if before == after {
            return;
        }
        let change = after.wrapping_sub(before);
        let bucket = bucket_of(key_hash);
        let range = bucket >> 8;
        let sums =
            [self.buckets.get_mut(usize::from(bucket)), self.ranges.get_mut(usize::from(range))];
        for sum in sums.into_iter().flatten().chain([&mut self.root]) {
            *sum = sum.wrapping_add(change);
        }
    }

    pub(crate) fn root(&self) -> u64 {
        self.root
    }

    pub(crate) fn ranges(&self) -> &[u64] {
        &self.ranges
    }

    /// The sum of a key's bucket.
    pub(crate) fn bucket(&self, key_hash: u64) -> u64 {
        self.buckets.get(usize::from(bucket_of(key_hash))).copied().unwrap_or_default()
    }

    /// The buckets of one range.
    pub(crate) fn buckets(&self, range: u8) -> &[u64] {
        let start = usize::from(range) * AUDIT_SUMS;
        self.buckets.get(start..start + AUDIT_SUMS).unwrap_or_default()
    }
}

/// The first two bytes of a key's hash; the first alone is its range.
pub(crate) fn bucket_of(key_hash: u64) -> u16 {
    let [high, low, ..] = key_hash.to_be_bytes();
    u16::from_be_bytes([high, low])
}

pub(crate) fn key_hash(key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(SEED, key)
}

/// A record as an audit compares it.
pub(crate) fn audit_key(key_hash: u64, record: &Record<'_>) -> AuditKey {
    let Record { effective_ns, tombstone, value, .. } = *record;
    // The time goes in through the seed: hashing it apart would cost as much again.
    let seed = key_hash ^ effective_ns.cast_unsigned().wrapping_mul(SEED | 1);
    AuditKey { key_hash, effective_ns, tombstone, sum: XxHash3_64::oneshot_with_seed(seed, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_order_and_go_back_to_nothing() {
        let shown = [(key_hash(b"a"), 5), (key_hash(b"b"), u64::MAX), (key_hash(b"c"), 9)];
        let (mut one, mut other) = (Sums::new(), Sums::new());
        for (key, sum) in shown {
            one.replace(key, 0, sum);
        }
        for (key, sum) in shown.into_iter().rev() {
            other.replace(key, 0, 1);
            other.replace(key, 1, sum);
        }
        assert_eq!((one.root(), one.ranges()), (other.root(), other.ranges()));
        assert_ne!(one.root(), 0);
        for (key, sum) in shown {
            one.replace(key, sum, 0);
        }
        assert_eq!(one.root(), 0);
        assert!((0..=255).all(|range| one.buckets(range).iter().all(|&sum| sum == 0)));
    }

    /// Servers of different builds compare these: they may never change. Expected values by the reference
    /// implementation.
    #[test]
    fn hashes_are_fixed() {
        assert_eq!(key_hash(b"rkiwi.example"), 0xdb47_80ea_d93d_ee01);
        let record = Record {
            key: b"rkiwi.example",
            effective_ns: 1_700_000_000_000_000_000,
            tombstone: false,
            value: b"x",
        };
        assert_eq!(audit_key(key_hash(record.key), &record).sum, 0x67ac_7230_40a4_4a69);
    }
}
