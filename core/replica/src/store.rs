//! Every key with what each origin last wrote under it, and which of these is the newest.
//!
//! Order is total: (effective time, tombstone, value bytes, origin). Nothing here knows links or
//! versions; it is a map of maps, kept flat: two slabs and one hash table.

use crate::key_bytes::KeyBytes;
use crate::log::Arrival;
use crate::origin::{ORIGINS_MAX, Origin, OriginIx};
use crate::settings::Record;
use crate::sums::{Sums, audit_key, key_hash};
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use std::cmp::Ordering;
use std::hash::BuildHasher;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyIx(pub(crate) u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryIx(u32);

/// As many keys as a client's batch has: enough that memory has all it can do at once.
const TOUCHED_TOGETHER: usize = 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// All that is known of a key but its entries: one line of the cache, never across two.
#[derive(Debug)]
#[repr(align(64))]
struct Key {
    bytes: KeyBytes,
    /// What audits call it by.
    hash: u64,
    /// The entries of this key, newest-written first; `NONE` in a free slot.
    first: u32,
    winner: u32,
    /// The number of the last change of what it shows; see [`Feed`](crate::feed::Feed).
    change: u64,
    /// What it shows, as it counts in the sums: zero for nothing.
    sum: u64,
}

/// What one origin last wrote under one key: a line of the cache, like its key.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) arrival: Arrival,
    pub(crate) effective_ns: i64,
    pub(crate) value: Box<[u8]>,
    key: u32,
    next: u32,
    /// The low half of the link's number that brought it; zero for none.
    from: u32,
    pub(crate) origin: OriginIx,
    pub(crate) tombstone: bool,
    /// Seen in the snapshot that is being taken in.
    pub(crate) confirmed: bool,
    /// Since it was put, the tombstone that it loses to was repeated for its sake.
    pub(crate) answered: bool,
    /// Whether the collector has this slot on its list; outlives the entry, as the list does.
    listed: bool,
    live: bool,
}

impl Entry {
    pub(crate) fn key(&self) -> KeyIx {
        KeyIx(self.key)
    }

    pub(crate) fn set_from(&mut self, link: u64) {
        self.from = low_half(link);
    }

    pub(crate) fn is_from(&self, link: u64) -> bool {
        self.from != 0 && self.from == low_half(link)
    }
}

fn low_half(link: u64) -> u32 {
    // Links are numbered one by one; two alive at once never agree in the low half.
    (link & 0xffff_ffff) as u32
}

/// What became of an entry that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) entry: EntryIx,
    /// The arrival that the slot bore before; it no longer counts.
    pub(crate) retired: Option<Arrival>,
    /// What the view of the key shows now is another record than before.
    pub(crate) changed: bool,
    /// An entry that lost to this one, or this one if it lost.
    pub(crate) loser: Option<EntryIx>,
}

#[derive(Debug)]
pub(crate) struct Store {
    origins: Vec<Origin>,
    keys: Vec<Key>,
    entries: Vec<Entry>,
    free_keys: Vec<u32>,
    free_entries: Vec<u32>,
    by_key: HashTable<u32>,
    hasher: FixedState,
    /// Where keys are that are about to be asked for, the next one last.
    expected: Vec<u32>,
    /// Keys whose newest record is no tombstone.
    alive: usize,
    pub(crate) sums: Sums,
    pub(crate) ties: Ties,
}

/// Faults in the order of records, made on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ties {
    pub(crate) ignore_tombstone: bool,
    pub(crate) ignore_value: bool,
}

impl Store {
    /// `seed` makes the hash unpredictable to whoever chooses the keys.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            origins: Vec::new(),
            keys: Vec::new(),
            entries: Vec::new(),
            free_keys: Vec::new(),
            free_entries: Vec::new(),
            by_key: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            expected: Vec::with_capacity(TOUCHED_TOGETHER),
            alive: 0,
            sums: Sums::new(),
            ties: Ties::default(),
        }
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len() - self.free_keys.len()
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.len() - self.free_entries.len()
    }

    /// Slots, free or not: what a sweep walks over.
    pub(crate) fn slots(&self) -> u32 {
        // Slot numbers fit by construction.
        u32::try_from(self.entries.len()).unwrap_or(NONE)
    }

    pub(crate) fn find(&self, key: &[u8]) -> Option<KeyIx> {
        let is_key =
            |&at: &u32| self.keys.get(at as usize).is_some_and(|k| k.bytes.as_slice() == key);
        self.by_key.find(self.hasher.hash_one(key), is_key).map(|&at| KeyIx(at))
    }

    /// The same for the key that was [expected](Self::expect) next: then nothing is hashed. Whatever was expected,
    /// the answer is right.
    pub(crate) fn find_expected(&mut self, key: &[u8]) -> Option<KeyIx> {
        let Some(at) = self.expected.pop() else { return self.find(key) };
        let is_it = |k: &Key| k.bytes.as_slice() == key && k.first != NONE;
        if self.keys.get(at as usize).is_some_and(is_it) { Some(KeyIx(at)) } else { self.find(key) }
    }

    /// Updates of these keys are about to come, in this order, at most [`TOUCHED_TOGETHER`]. Looked up one after
    /// another each of a key's places in memory is waited for before the next is known; here the places of many keys
    /// are waited for together. Returns where the keys are, the last one first, and [`NONE`] for one not known.
    pub(crate) fn expect<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> &[u32] {
        self.expected.clear();
        for key in keys.take(TOUCHED_TOGETHER) {
            // Rarely another key's: who asks for it will see.
            let mut found = self.by_key.iter_hash(self.hasher.hash_one(key));
            self.expected.push(found.next().copied().unwrap_or(NONE));
        }
        self.expected.reverse();
        self.touch(&self.expected);
        &self.expected
    }

    /// Looks at all that is known of the keys at some places, of all at once: their slots, then what those lead to,
    /// then the values.
    pub(crate) fn touch(&self, places: &[u32]) {
        for places in places.chunks(TOUCHED_TOGETHER) {
            let mut winners = [NONE; TOUCHED_TOGETHER];
            for (winner, &at) in winners.iter_mut().zip(places) {
                *winner = self.keys.get(at as usize).map_or(NONE, |key| key.winner);
            }
            let mut seen = 0;
            for (&winner, &at) in winners.iter().zip(places) {
                let Some(key) = self.keys.get(at as usize) else { continue };
                seen ^= self.sums.bucket(key.hash) ^ u64::from(key.bytes.last_byte());
                let entry = self.entries.get(winner as usize);
                seen ^= entry.map(|entry| entry.value.as_ptr().addr()).unwrap_or_default() as u64;
            }
            for &winner in winners.iter().take(places.len()) {
                let value = self.entries.get(winner as usize).map(|entry| &*entry.value);
                let ends = value.and_then(|value| Some(value.first()? ^ value.last()?));
                seen ^= u64::from(ends.unwrap_or_default());
            }
            std::hint::black_box(seen);
        }
    }

    pub(crate) fn entry(&self, at: EntryIx) -> Option<&Entry> {
        self.entries.get(at.0 as usize).filter(|entry| entry.live)
    }

    pub(crate) fn entry_mut(&mut self, at: EntryIx) -> Option<&mut Entry> {
        self.entries.get_mut(at.0 as usize).filter(|entry| entry.live)
    }

    fn is_listed(&self, at: EntryIx) -> bool {
        self.entries.get(at.0 as usize).is_some_and(|entry| entry.listed)
    }

    /// Notes whether the collector has a slot on its list; returns whether that is news.
    pub(crate) fn list(&mut self, at: EntryIx, listed: bool) -> bool {
        let slot = self.entries.get_mut(at.0 as usize);
        slot.is_some_and(|entry| std::mem::replace(&mut entry.listed, listed) != listed)
    }

    pub(crate) fn slot(at: u32) -> EntryIx {
        EntryIx(at)
    }

    /// Whether that slot holds an entry of `origin` that bears `arrival`.
    pub(crate) fn bears(&self, at: EntryIx, origin: OriginIx, arrival: Arrival) -> bool {
        self.entry(at).is_some_and(|entry| entry.origin == origin && entry.arrival == arrival)
    }

    pub(crate) fn key_bytes(&self, key: KeyIx) -> &[u8] {
        self.keys.get(key.0 as usize).map_or(&[], |key| key.bytes.as_slice())
    }

    /// What audits call a key by.
    pub(crate) fn key_hash(&self, key: KeyIx) -> u64 {
        self.keys.get(key.0 as usize).map_or(0, |key| key.hash)
    }

    pub(crate) fn change(&self, key: KeyIx) -> u64 {
        self.keys.get(key.0 as usize).map_or(0, |key| key.change)
    }

    pub(crate) fn set_change(&mut self, key: KeyIx, change: u64) {
        if let Some(key) = self.keys.get_mut(key.0 as usize) {
            key.change = change;
        }
    }

    /// Slots of keys, free or not: what an audit walks over.
    pub(crate) fn key_slots(&self) -> u32 {
        // Slot numbers fit by construction.
        u32::try_from(self.keys.len()).unwrap_or(NONE)
    }

    /// What a key shows has changed: the sums follow.
    fn sum_again(&mut self, key: KeyIx) {
        let key_hash = self.key_hash(key);
        let shown = self.winner(key).filter(|(_, winner)| !winner.tombstone);
        let sum = shown.map_or(0, |(_, winner)| audit_key(key_hash, &self.record(winner)).sum);
        let Some(slot) = self.keys.get_mut(key.0 as usize) else { return };
        let before = std::mem::replace(&mut slot.sum, sum);
        self.sums.replace(key_hash, before, sum);
    }

    /// All keys, slot by slot.
    pub(crate) fn all_keys(&self) -> impl Iterator<Item = KeyIx> {
        let numbered = (0..).map(KeyIx).zip(&self.keys);
        numbered.filter(|(_, key)| key.first != NONE).map(|(at, _)| at)
    }

    /// The newest record of a key.
    pub(crate) fn winner(&self, key: KeyIx) -> Option<(EntryIx, &Entry)> {
        let at = EntryIx(self.keys.get(key.0 as usize)?.winner);
        self.entry(at).map(|entry| (at, entry))
    }

    pub(crate) fn record<'a>(&'a self, entry: &'a Entry) -> Record<'a> {
        let Entry { effective_ns, tombstone, ref value, .. } = *entry;
        Record { key: self.key_bytes(entry.key()), effective_ns, tombstone, value }
    }

    /// An origin by its place.
    pub(crate) fn origin(&self, at: OriginIx) -> Option<&Origin> {
        self.origins.get(at.at())
    }

    /// The place of an origin, if it is known.
    pub(crate) fn find_origin(&self, server: &str, incarnation: u64) -> Option<OriginIx> {
        let is_it = |o: &Origin| o.incarnation == incarnation && *o.server == *server;
        let at = self.origins.iter().position(is_it)?;
        u16::try_from(at).ok().map(OriginIx)
    }

    /// Makes an origin known. None if there are too many.
    pub(crate) fn add_origin(&mut self, origin: Origin) -> Option<OriginIx> {
        let at =
            u16::try_from(self.origins.len()).ok().filter(|&at| usize::from(at) < ORIGINS_MAX)?;
        self.origins.push(origin);
        Some(OriginIx(at))
    }

    /// What `origin` last wrote under `key`.
    pub(crate) fn entry_of(&self, key: KeyIx, origin: OriginIx) -> Option<EntryIx> {
        self.entries_of(key).find(|&at| self.entry(at).is_some_and(|e| e.origin == origin))
    }

    pub(crate) fn entries_of(&self, key: KeyIx) -> impl Iterator<Item = EntryIx> {
        let mut at = self.keys.get(key.0 as usize).map_or(NONE, |key| key.first);
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            let found = EntryIx(at);
            at = entry.next;
            Some(found)
        })
    }

    /// All entries, slot by slot.
    pub(crate) fn all_entries(&self) -> impl Iterator<Item = (EntryIx, &Entry)> {
        let numbered = (0..).map(EntryIx).zip(&self.entries);
        numbered.filter(|(_, entry)| entry.live)
    }

    /// No entry has been seen in the snapshot that begins.
    pub(crate) fn unconfirm_all(&mut self) {
        for entry in &mut self.entries {
            entry.confirmed = false;
        }
    }

    /// Puts what `origin` wrote last under a key, in place of what it wrote there before; `key` is where that key
    /// was found, if it is known. The arrival number is the caller's to set. None if no slot is left.
    pub(crate) fn put(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        origin: OriginIx,
        sequence: u64,
        from: Option<u64>,
    ) -> Option<Put> {
        let key = match key {
            Some(key) => key,
            None => self.add_key(record.key)?,
        };
        let old = self.entry_of(key, origin);
        let before = self.winner(key).map(|(at, _)| at);
        let (entry, retired) = match old {
            Some(at) => (at, self.entry(at).map(|entry| entry.arrival)),
            None => (self.add_entry(key, origin)?, None),
        };
        // Another origin saying the same thing changes nothing that anybody sees.
        let shown = before.and_then(|before| self.entry(before));
        let same = shown.is_some_and(|shown| {
            (shown.effective_ns, shown.tombstone, &*shown.value)
                == (record.effective_ns, record.tombstone, record.value)
        });
        let was_alive = shown.is_some_and(|shown| !shown.tombstone);
        let slot = self.entry_mut(entry)?;
        slot.sequence = sequence;
        slot.effective_ns = record.effective_ns;
        slot.tombstone = record.tombstone;
        slot.confirmed = false;
        slot.answered = false;
        slot.from = from.map_or(0, low_half);
        if slot.value.len() == record.value.len() {
            slot.value.copy_from_slice(record.value);
        } else {
            slot.value = record.value.into();
        }
        self.elect(key);
        let (winner, is_alive) = self.winner(key).map(|(at, w)| (at, !w.tombstone))?;
        self.alive = self.alive + usize::from(is_alive) - usize::from(was_alive);
        if winner == entry || before == Some(entry) {
            self.sum_again(key);
        }
        let loser =
            if winner == entry { before.filter(|&before| before != entry) } else { Some(entry) };
        let changed = if winner == entry { !same } else { before == Some(entry) };
        Some(Put { entry, retired, changed, loser })
    }

    fn add_key(&mut self, bytes: &[u8]) -> Option<KeyIx> {
        let hash = self.hasher.hash_one(bytes);
        let (bytes, key_hash) = (KeyBytes::new(bytes), key_hash(bytes));
        let key = Key { bytes, hash: key_hash, first: NONE, winner: NONE, change: 0, sum: 0 };
        let at = take_slot(&mut self.keys, &mut self.free_keys, key)?;
        let Self { keys, by_key, hasher, .. } = self;
        by_key.insert_unique(hash, at, |&at| {
            keys.get(at as usize).map_or(0, |key| hasher.hash_one(key.bytes.as_slice()))
        });
        Some(KeyIx(at))
    }

    fn add_entry(&mut self, key: KeyIx, origin: OriginIx) -> Option<EntryIx> {
        let next = self.keys.get(key.0 as usize)?.first;
        let entry = Entry {
            sequence: 0,
            arrival: Arrival::default(),
            effective_ns: 0,
            value: Box::default(),
            key: key.0,
            next,
            from: 0,
            origin,
            tombstone: false,
            confirmed: false,
            answered: false,
            listed: self.free_entries.last().is_some_and(|&free| self.is_listed(EntryIx(free))),
            live: true,
        };
        let at = take_slot(&mut self.entries, &mut self.free_entries, entry)?;
        if let Some(key) = self.keys.get_mut(key.0 as usize) {
            key.first = at;
        }
        Some(EntryIx(at))
    }

    /// Finds a key's newest record anew.
    fn elect(&mut self, key: KeyIx) {
        // Nearly always there is one.
        if let Some(slot) = self.keys.get_mut(key.0 as usize)
            && self.entries.get(slot.first as usize).is_some_and(|first| first.next == NONE)
        {
            slot.winner = slot.first;
            return;
        }
        let newest = self.entries_of(key).max_by(|&a, &b| match (self.entry(a), self.entry(b)) {
            (Some(a), Some(b)) => self.rank(a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        if let Some(key) = self.keys.get_mut(key.0 as usize) {
            key.winner = newest.map_or(NONE, |at| at.0);
        }
    }

    /// Which of two entries of one key is the newer.
    fn rank(&self, a: &Entry, b: &Entry) -> Ordering {
        let tombstone = |entry: &Entry| entry.tombstone && !self.ties.ignore_tombstone;
        let by_content = (a.effective_ns, tombstone(a)).cmp(&(b.effective_ns, tombstone(b)));
        let by_value = if self.ties.ignore_value { Ordering::Equal } else { a.value.cmp(&b.value) };
        by_content.then(by_value).then_with(|| self.origin(a.origin).cmp(&self.origin(b.origin)))
    }

    /// Forgets one entry; the key too if it was its last. Returns its origin and arrival.
    pub(crate) fn remove(&mut self, at: EntryIx) -> Option<(OriginIx, Arrival)> {
        let entry = self.entry(at)?;
        let (key, next, origin, arrival) = (entry.key(), entry.next, entry.origin, entry.arrival);
        let was_alive = self.winner(key).is_some_and(|(_, winner)| !winner.tombstone);
        let won = self.winner(key).is_some_and(|(winner, _)| winner == at);
        let before = self.entries_of(key).find(|&other| {
            self.entries.get(other.0 as usize).is_some_and(|entry| entry.next == at.0)
        });
        match before {
            Some(before) => {
                if let Some(before) = self.entries.get_mut(before.0 as usize) {
                    before.next = next;
                }
            }
            None => {
                if let Some(key) = self.keys.get_mut(key.0 as usize) {
                    key.first = next;
                }
            }
        }
        if let Some(entry) = self.entry_mut(at) {
            entry.live = false;
            entry.value = Box::default();
        }
        self.free_entries.push(at.0);
        self.elect(key);
        let is_alive = self.winner(key).is_some_and(|(_, winner)| !winner.tombstone);
        self.alive = self.alive + usize::from(is_alive) - usize::from(was_alive);
        if won {
            self.sum_again(key);
        }
        if next == NONE && before.is_none() {
            self.remove_key(key);
        }
        Some((origin, arrival))
    }

    fn remove_key(&mut self, key: KeyIx) {
        let Some(slot) = self.keys.get_mut(key.0 as usize) else { return };
        let bytes = std::mem::take(&mut slot.bytes);
        slot.change = 0;
        let hash = self.hasher.hash_one(bytes.as_slice());
        if let Ok(found) = self.by_key.find_entry(hash, |&at| at == key.0) {
            found.remove();
        }
        self.free_keys.push(key.0);
    }
}

fn take_slot<T>(slots: &mut Vec<T>, free: &mut Vec<u32>, item: T) -> Option<u32> {
    if let Some(at) = free.pop()
        && let Some(slot) = slots.get_mut(at as usize)
    {
        *slot = item;
        return Some(at);
    }
    let at = u32::try_from(slots.len()).ok().filter(|&at| at != NONE)?;
    slots.push(item);
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Put { key: u8, origin: u16, effective_ns: i64, tombstone: bool, value: u8 },
        Remove { key: u8, origin: u16 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let put = (0_u8..6, 0_u16..3, 0_i64..4, any::<bool>(), 0_u8..3).prop_map(
            |(key, origin, effective_ns, tombstone, value)| Step::Put {
                key,
                origin,
                effective_ns,
                tombstone,
                value,
            },
        );
        let remove = (0_u8..6, 0_u16..3).prop_map(|(key, origin)| Step::Remove { key, origin });
        prop_oneof![3 => put, 1 => remove]
    }

    proptest! {
        /// Against a map of maps, looked through whole for each question.
        #[test]
        fn the_newest_is_the_greatest(steps in prop::collection::vec(step(), 0..100)) {
            let mut store = Store::new(7);
            for server in ["b", "c", "a"] {
                store.add_origin(Origin { server: server.into(), incarnation: 1 }).unwrap();
            }
            let mut naive: BTreeMap<u8, BTreeMap<u16, (i64, bool, u8)>> = BTreeMap::new();
            for (sequence, step) in (1..).zip(steps) {
                match step {
                    Step::Put { key, origin, effective_ns, tombstone, value } => {
                        let value_bytes = [value];
                        let record =
                            Record { key: &[key], effective_ns, tombstone, value: &value_bytes };
                        let known = store.find(&[key]);
                        store.put(known, record, OriginIx(origin), sequence, None).unwrap();
                        let record = (effective_ns, tombstone, value);
                        naive.entry(key).or_default().insert(origin, record);
                    }
                    Step::Remove { key, origin } => {
                        let found = store.find(&[key]);
                        if let Some(at) = found.and_then(|k| store.entry_of(k, OriginIx(origin))) {
                            store.remove(at).unwrap();
                        }
                        if let Some(records) = naive.get_mut(&key) {
                            records.remove(&origin);
                        }
                        naive.retain(|_, records| !records.is_empty());
                    }
                }
                let mut alive = 0;
                let mut root = 0_u64;
                for (key, records) in &naive {
                    // By name the third origin is the least.
                    let by = |&(origin, record): &(&u16, &(i64, bool, u8))| (*record, *origin != 2, *origin);
                    let (origin, newest) = records.iter().max_by_key(by).unwrap();
                    let (_, winner) = store.winner(store.find(&[*key]).unwrap()).unwrap();
                    prop_assert_eq!(winner.origin, OriginIx(*origin));
                    prop_assert_eq!((winner.effective_ns, winner.tombstone), (newest.0, newest.1));
                    prop_assert_eq!(store.record(winner).value, &[newest.2][..]);
                    alive += usize::from(!newest.1);
                    if !newest.1 {
                        let shown = store.record(winner);
                        root = root.wrapping_add(audit_key(key_hash(shown.key), &shown).sum);
                    }
                }
                prop_assert_eq!(store.sums.root(), root);
                prop_assert_eq!(store.keys(), naive.len());
                prop_assert_eq!(store.entries(), naive.values().map(BTreeMap::len).sum::<usize>());
                prop_assert_eq!(store.alive(), alive);
            }
        }
    }
}
