//! Sums over all that is stored, by which two servers see cheaply whether they store the same.
//!
//! A key belongs to one of 65,536 buckets by its hash; each record is hashed, and a bucket is the sum
//! of those hashes, a range the sum of 256 buckets, the root the sum of all. Sums do not depend on any
//! order, and a change costs three additions.
//!
//! The hash is XXH3 with a fixed seed, since servers of different builds compare sums. Whoever searches for
//! collisions can hide a difference of two of its own records from the sums, nothing else: the lists of a
//! bucket are hashed with a seed chosen for each question.

use herd_proto::Record;
use herd_proto::peer::SUMS;
use twox_hash::XxHash3_64;

/// The seed of the sums: "geoherd" and the number of this way to make them.
const SEED: u64 = 0x6765_6f68_6572_6402;

#[derive(Debug)]
pub(crate) struct Sums {
    buckets: Vec<u64>,
    ranges: Vec<u64>,
    root: u64,
}

impl Sums {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; SUMS * SUMS], ranges: vec![0; SUMS], root: 0 }
    }

    /// What a key counts for has changed; zero stands for nothing.
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

    pub(crate) fn range(&self, range: u8) -> u64 {
        self.ranges.get(usize::from(range)).copied().unwrap_or_default()
    }

    pub(crate) fn bucket(&self, bucket: u16) -> u64 {
        self.buckets.get(usize::from(bucket)).copied().unwrap_or_default()
    }

    /// The buckets of one range.
    pub(crate) fn buckets(&self, range: u8) -> &[u64] {
        let start = usize::from(range) * SUMS;
        self.buckets.get(start..start + SUMS).unwrap_or_default()
    }
}

/// The first two bytes of a key's hash; the first alone is its range.
pub(crate) fn bucket_of(key_hash: u64) -> u16 {
    let [high, low, ..] = key_hash.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// The hash that decides a key's bucket.
pub(crate) fn key_hash(key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(SEED, key)
}

/// What a record counts for in the sums.
pub(crate) fn digest(key_hash: u64, record: &Record<'_>) -> u64 {
    digest_with(SEED, key_hash, record)
}

/// The same with another seed. The times go in through the seed: hashing them apart would cost as much again.
pub(crate) fn digest_with(seed: u64, key_hash: u64, record: &Record<'_>) -> u64 {
    let effective = record.effective_ns.cast_unsigned().wrapping_mul(SEED | 1).rotate_left(17);
    let received = record.received_ns.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let tombstone = u64::from(record.tombstone).rotate_left(63);
    let mixed = seed ^ key_hash ^ effective ^ received.rotate_left(31) ^ tombstone;
    XxHash3_64::oneshot_with_seed(mixed, record.value)
}

/// A key's hash for one question.
pub(crate) fn key_with(seed: u64, key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed, key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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

    #[test]
    fn every_part_of_a_record_counts() {
        let record =
            Record { key: b"k", effective_ns: 1, received_ns: 2, tombstone: false, value: b"x" };
        let others = [
            Record { effective_ns: 2, ..record },
            Record { received_ns: 1, ..record },
            Record { tombstone: true, ..record },
            Record { value: b"y", ..record },
            Record { effective_ns: 2, received_ns: 1, ..record },
        ];
        for other in others {
            assert_ne!(digest(7, &record), digest(7, &other), "{other:?}");
        }
        assert_ne!(digest(7, &record), digest(8, &record));
    }

    /// The example of `docs/protocol.md`, from which independent programs are written.
    #[test]
    fn the_documented_example_is_what_is_computed() {
        let document = read_document();
        let (_, rest) = document.split_once("\n```sums\n").expect("the block");
        let (block, _) = rest.split_once("\n```\n").expect("its end");
        let (mut stored, mut documented_sum) = (Sums::new(), None);
        for item in block.split("\n\n") {
            let fields: BTreeMap<&str, &str> = item
                .lines()
                .map(|line| line.split_once(' ').unwrap_or((line, "")))
                .map(|(name, value)| (name, value.trim()))
                .collect();
            if let Some(sum) = fields.get("sum") {
                documented_sum = Some(number(sum));
                continue;
            }
            let record = Record {
                key: fields["key"].as_bytes(),
                effective_ns: fields["effective_ns"].parse().unwrap(),
                received_ns: fields["received_ns"].parse().unwrap(),
                tombstone: fields["tombstone"] == "1",
                value: fields["value"].as_bytes(),
            };
            let seed = number(fields["seed"]);
            let hash = key_with(seed, record.key);
            assert_eq!(hash, number(fields["hash"]), "{item}");
            let digest_found = digest_with(seed, hash, &record);
            assert_eq!(digest_found, number(fields["digest"]), "{item}");
            let Some(bucket) = fields.get("bucket").map(|bucket| number(bucket)) else { continue };
            assert_eq!(seed, SEED, "only this one decides buckets");
            assert_eq!(hash, key_hash(record.key));
            assert_eq!(digest_found, digest(hash, &record));
            assert_eq!(u64::from(bucket_of(hash)), bucket, "{item}");
            stored.replace(hash, 0, digest_found);
            assert_eq!(stored.bucket(bucket_of(hash)), digest_found, "the only one of its bucket");
            let [range, ..] = hash.to_be_bytes();
            assert_eq!(stored.range(range), digest_found, "and of its range");
        }
        assert_eq!(documented_sum, Some(stored.root()));
    }

    #[expect(clippy::disallowed_methods, reason = "a test may read what it compares with")]
    fn read_document() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
        std::fs::read_to_string(path).expect("the document")
    }

    /// A hexadecimal number with its prefix.
    fn number(text: &str) -> u64 {
        u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
    }
}
