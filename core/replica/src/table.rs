//! The newest record of every key, found by key or by slot number.

use crate::log::Sequence;
use crate::replica::{LinkId, Record};
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Where a key lives in its [`Table`]. Keys are never forgotten, so a slot stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// One key with its newest record.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    pub(crate) effective_ns: i64,
    pub(crate) value: Box<[u8]>,
    /// The number of its last change.
    pub(crate) sequence: Sequence,
    /// Where that change came from; it is not sent back there.
    pub(crate) from: Option<LinkId>,
}

impl Entry {
    pub(crate) fn record(&self) -> Record<'_> {
        Record { key: &self.key, effective_ns: self.effective_ns, value: &self.value }
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    by_key: HashTable<Slot>,
    hasher: FixedState,
}

impl Table {
    /// `seed` makes the hash unpredictable to whoever chooses the keys.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { entries: Vec::new(), by_key: HashTable::new(), hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<Slot> {
        let is_key = |slot: &Slot| self.entry(*slot).is_some_and(|entry| *entry.key == *key);
        self.by_key.find(self.hasher.hash_one(key), is_key).copied()
    }

    pub(crate) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot.0 as usize)
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.entries.get_mut(slot.0 as usize)
    }

    /// Adds a key that is not there yet. None if no slot number is left (four thousand million keys).
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Slot> {
        let slot = Slot(u32::try_from(self.entries.len()).ok()?);
        let hash = self.hasher.hash_one(&*entry.key);
        self.entries.push(entry);
        let Self { entries, by_key, hasher } = self;
        by_key.insert_unique(hash, slot, |slot| {
            entries.get(slot.0 as usize).map_or(0, |entry| hasher.hash_one(&*entry.key))
        });
        Some(slot)
    }
}
