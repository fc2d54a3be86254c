//! Finds the indices of keys by their hashes, in a table that grows a small part at a time.
//!
//! One hash table of ten million keys rehashes all of them in a single insert when it is full, which takes half a
//! second with the node's lock held. This map is split into shards by bits of the hash, and each shard grows on its
//! own: up to ten million keys no insert rehashes more than 1,792, which takes some 0.2 ms. It knows neither keys nor
//! how they are hashed; hashes are computed by its owner, from a seed that clients cannot know, so shards fill
//! evenly.

use hashbrown::HashTable;

/// Shards of a map that has outgrown a single one. With ten million keys each holds some 2,440, in a table that last
/// grew at 1,792; nearly all of that time is spent waiting for the memory of keys. Their heads take 128 KB, which
/// stays in the processor's cache. A power of two, so that a mask chooses the shard.
const SHARDS: usize = 4096;

/// Keys in a map of one shard; with one more it is split into [`SHARDS`]. That is how many fit into a table of 2,048
/// buckets, which would have to grow anyway.
const SINGLE_SHARD_MAX: usize = 1792;

/// Bits of the hash above this choose the shard. The hash table of a shard uses the low bits for the bucket and the
/// topmost seven to compare; bits 32 to 43 are independent of both.
const SHARD_SHIFT: u32 = 32;

/// Indices of keys, found by hash.
#[derive(Debug)]
pub(crate) struct KeyMap {
    /// One shard while there are few keys, then always [`SHARDS`].
    shards: Vec<HashTable<u32>>,
    len: usize,
}

impl KeyMap {
    /// Returns an empty map.
    pub(crate) fn new() -> Self {
        Self { shards: vec![HashTable::new()], len: 0 }
    }

    /// Returns the number of keys.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the index with this hash that `is_key` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards.get(self.shard(hash))?.find(hash, |&index| is_key(index)).copied()
    }

    /// Returns an index that probably belongs to this hash, without looking at any key: a hint for prefetching.
    #[inline]
    pub(crate) fn first_candidate(&self, hash: u64) -> Option<u32> {
        self.shards.get(self.shard(hash))?.iter_hash(hash).next().copied()
    }

    /// Adds the index of a key that is not in the map. `rehash` returns the hash of the key at any index in the map;
    /// it is called when the key's shard grows.
    pub(crate) fn insert(&mut self, hash: u64, index: u32, rehash: impl Fn(u32) -> u64) {
        if self.len == SINGLE_SHARD_MAX && self.shards.len() == 1 {
            self.split(&rehash);
        }
        let shard = self.shard(hash);
        let Some(shard) = self.shards.get_mut(shard) else { return };
        shard.insert_unique(hash, index, |&index| rehash(index));
        self.len += 1;
    }

    /// Removes and returns the index with this hash that `is_key` accepts.
    pub(crate) fn remove(&mut self, hash: u64, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        let shard = self.shard(hash);
        let found = self.shards.get_mut(shard)?.find_entry(hash, |&index| is_key(index)).ok()?;
        self.len -= 1;
        Some(found.remove().0)
    }

    /// The shard of a hash.
    #[inline]
    fn shard(&self, hash: u64) -> usize {
        // Both truncations keep the bits that the mask leaves.
        (hash >> SHARD_SHIFT) as usize & (self.shards.len() - 1)
    }

    /// Distributes the keys of the only shard over [`SHARDS`].
    fn split(&mut self, rehash: &impl Fn(u32) -> u64) {
        let mut shards = Vec::new();
        shards.resize_with(SHARDS, HashTable::new);
        let before = std::mem::replace(&mut self.shards, shards);
        for index in before.into_iter().flatten() {
            let hash = rehash(index);
            let shard = self.shard(hash);
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.insert_unique(hash, index, |&index| rehash(index));
            }
        }
    }
}

impl Default for KeyMap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::BTreeMap;

    /// Spreads numbers over all bits, as a good hash of keys does.
    fn hash(key: u32) -> u64 {
        let mixed = (u64::from(key) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ mixed >> 32
    }

    /// Bytes that a map takes.
    fn bytes(map: &KeyMap) -> usize {
        let heads = map.shards.capacity() * size_of::<HashTable<u32>>();
        heads + map.shards.iter().map(HashTable::allocation_size).sum::<usize>()
    }

    #[test]
    fn an_empty_map_finds_nothing_and_is_small() {
        let mut map = KeyMap::default();
        assert_eq!((map.len(), map.find(7, |_| true), map.first_candidate(7)), (0, None, None));
        assert_eq!(map.remove(7, |_| true), None);
        assert!(bytes(&map) < 1_000);
    }

    #[test]
    fn keys_are_found_before_and_after_the_split() {
        const KEYS: u32 = 5_000;
        let mut map = KeyMap::new();
        for key in 0..KEYS {
            map.insert(hash(key), key, hash);
            for known in [0, key / 2, key] {
                assert_eq!(map.find(hash(known), |at| at == known), Some(known));
            }
            assert_eq!(map.shards.len() == 1, map.len() <= SINGLE_SHARD_MAX);
        }
        for key in 0..KEYS {
            assert_eq!(map.find(hash(key), |at| at == key), Some(key));
            assert_eq!(map.find(hash(key), |_| false), None);
        }
        // Hashes agree in the few bits that are compared without looking at keys once in a while, not often.
        let right = (0..KEYS).filter(|&key| map.first_candidate(hash(key)) == Some(key)).count();
        assert!(right > 4_750, "{right} of {KEYS}");
        for key in 0..KEYS {
            assert_eq!(map.remove(hash(key), |at| at == key), Some(key));
            assert_eq!(map.remove(hash(key), |at| at == key), None);
        }
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let mut map = KeyMap::new();
        for key in 0..100 {
            map.insert(7, key, |_| 7);
        }
        assert_eq!(map.find(7, |at| at == 42), Some(42));
        assert_eq!(map.remove(7, |at| at == 42), Some(42));
        assert_eq!(map.find(7, |at| at == 42), None);
        assert!(map.first_candidate(7).is_some());
        assert_eq!(map.len(), 99);
    }

    #[test]
    fn no_insert_rehashes_many_keys_and_shards_fill_evenly() {
        const KEYS: u32 = 800_000;
        let mut map = KeyMap::new();
        let mut worst = 0;
        for key in 0..KEYS {
            let rehashed = Cell::new(0);
            map.insert(hash(key), key, |at| {
                rehashed.set(rehashed.get() + 1);
                hash(at)
            });
            worst = worst.max(rehashed.get());
        }
        // Splitting rehashes every key once, and a few small shards twice.
        assert!(worst <= SINGLE_SHARD_MAX * 3 / 2, "{worst} keys rehashed at once");
        let fullest = map.shards.iter().map(HashTable::len).max().unwrap();
        let mean = KEYS as usize / SHARDS;
        assert!(fullest < mean * 3 / 2, "{fullest} keys in a shard, {mean} on average");
        let mut whole = HashTable::new();
        for key in 0..KEYS {
            whole.insert_unique(hash(key), key, |&at| hash(at));
        }
        let (sharded, whole) = (bytes(&map), whole.allocation_size());
        assert!(sharded <= whole + whole / 10, "{sharded} bytes, {whole} in one table");
    }

    proptest! {
        /// Against an ordered map of the same keys, with hashes so few that many keys share one.
        #[test]
        fn a_map_holds_what_was_inserted_and_not_removed(
            steps in prop::collection::vec((any::<bool>(), 0_u32..5_000), 0..10_000), hashes in 1_u32..10_000,
        ) {
            let hash = |key: u32| hash(key % hashes);
            let mut map = KeyMap::new();
            let mut model = BTreeMap::new();
            for (index, (insert, key)) in steps.into_iter().enumerate() {
                let expected = model.get(&key).copied();
                prop_assert_eq!(map.find(hash(key), |at| at == key), expected);
                if expected.is_none() && insert {
                    map.insert(hash(key), key, hash);
                    model.insert(key, key);
                } else if !insert {
                    prop_assert_eq!(map.remove(hash(key), |at| at == key), model.remove(&key));
                }
                prop_assert_eq!(map.len(), model.len(), "after step {}", index);
            }
        }
    }
}
