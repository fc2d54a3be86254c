//! What this server stores: one record for each key, the greatest that it has met.
//!
//! Beside it, for each key: the positions that it has in streams ([`Label`]), and, where a clock was wrong, a
//! record that is not due yet. Keys are found by name, by slot, and by bucket.
//!
//! Left out: who wrote what, which labels still count, and time: callers say.

mod changes;
mod key_bytes;
mod key_map;
mod slab;
mod sums;

pub(crate) use changes::Changes;
pub use changes::Cursor;
pub(crate) use sums::{Sums, bucket_of, digest_with, key_with};

use crate::faults::{Faults, Mutant};
use crate::ids::{Arrival, KeyIx, Label, LinkId, OriginIx};
use foldhash::quality::FixedState;
use herd_proto::Record;
use herd_proto::peer::SUMS;
use key_bytes::KeyBytes;
use key_map::KeyMap;
use slab::Slab;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use sums::{digest, key_hash};

/// As many keys as a client's batch has: enough that memory has all it can do at once.
const TOUCHED_TOGETHER: usize = 64;

/// No slot.
const NONE: u32 = u32::MAX;

/// A key and its places in lists: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Key {
    bytes: KeyBytes,
    /// Decides its bucket.
    hash: u64,
    /// The number of its last change; see [`Changes`].
    change: u64,
    /// The next and the previous key of its bucket; of a free slot, the next free one.
    next: u32,
    previous: u32,
    /// Its labels beside the one that is kept with the record.
    labels: u32,
    used: bool,
}

/// The record of a key, in the slot of the same number: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stored {
    value: Box<[u8]>,
    effective_ns: i64,
    received_ns: i64,
    /// What the key counts for in the sums: this record, and the one that is not due yet.
    sum: u64,
    /// One label; none if the arrival is zero.
    sequence: u64,
    arrival: u64,
    /// The low half of the link's number that brought it; zero for none.
    from: u32,
    origin: u16,
    tombstone: bool,
    /// There is a record; else the key has only one that is not due yet.
    present: bool,
}

/// One more label of a key: of a write that was superseded, or that another server made as well.
#[derive(Debug)]
struct Extra {
    label: Label,
    next: u32,
}

/// A record that is not due yet.
#[derive(Debug)]
struct Future {
    effective_ns: i64,
    received_ns: i64,
    tombstone: bool,
    value: Box<[u8]>,
}

/// What became of a record that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) key: KeyIx,
    /// The key stores another record than before.
    pub(crate) changed: bool,
    /// A label of the same origin, which no longer counts.
    pub(crate) retired: Option<Arrival>,
}

#[derive(Debug)]
pub(crate) struct Table {
    keys: Slab<Key>,
    stored: Slab<Stored>,
    extras: Slab<Extra>,
    free_key: u32,
    free_extra: u32,
    map: KeyMap,
    hasher: FixedState,
    /// The first key of each bucket.
    buckets: Vec<u32>,
    futures: BTreeMap<KeyIx, Future>,
    /// Slots of keys that are about to be asked for, the next one last.
    expected: Vec<u32>,
    /// Keys whose record is no tombstone.
    alive: usize,
    extras_used: usize,
    order: Order,
    pub(crate) sums: Sums,
}

/// Which of two records of a key is the greater; the hook for faults in that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order(pub(crate) Faults);

impl Order {
    fn is_greater(self, one: &Record<'_>, other: &Record<'_>) -> bool {
        if self.0.make(Mutant::TieIgnoresTombstone) && one.tombstone != other.tombstone {
            return (one.effective_ns, one.value) > (other.effective_ns, other.value);
        }
        if self.0.make(Mutant::TieIgnoresValue) && one.effective_ns == other.effective_ns {
            return one.tombstone && !other.tombstone;
        }
        one.rank() > other.rank()
    }
}

impl Table {
    /// `seed` makes the hash unpredictable to whoever chooses the keys.
    pub(crate) fn new(seed: u64, order: Order) -> Self {
        Self {
            order,
            keys: Slab::new(),
            stored: Slab::new(),
            extras: Slab::new(),
            free_key: NONE,
            free_extra: NONE,
            map: KeyMap::new(),
            hasher: FixedState::with_seed(seed),
            buckets: vec![NONE; SUMS * SUMS],
            futures: BTreeMap::new(),
            expected: Vec::with_capacity(TOUCHED_TOGETHER),
            alive: 0,
            extras_used: 0,
            sums: Sums::new(),
        }
    }

    /// Keys whose record is no tombstone.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Keys, those with tombstones and those with nothing but a future record among them.
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Labels beside the one of each key.
    pub(crate) fn extra_labels(&self) -> usize {
        self.extras_used
    }

    /// Slots of keys, free or not: what a walk goes over.
    pub(crate) fn slots(&self) -> u32 {
        self.keys.len()
    }

    // ---- finding ----

    pub(crate) fn find(&self, key: &[u8]) -> Option<KeyIx> {
        let is_key = |at| self.keys.get(at).is_some_and(|k| k.bytes.as_slice() == key);
        self.map.find(self.hasher.hash_one(key), is_key).map(KeyIx)
    }

    /// The same for the key that was [expected](Self::expect) next: then nothing is hashed. Whatever was expected,
    /// the answer is right.
    pub(crate) fn find_expected(&mut self, key: &[u8]) -> Option<KeyIx> {
        let Some(at) = self.expected.pop() else { return self.find(key) };
        let is_it = |k: &Key| k.used && k.bytes.as_slice() == key;
        if self.keys.get(at).is_some_and(is_it) { Some(KeyIx(at)) } else { self.find(key) }
    }

    /// Prefetches up to [`TOUCHED_TOGETHER`] keys that are looked up next, in this order: the misses of many keys are
    /// waited for together. Returns their slots, the last one first, [`NONE`] for an unknown one.
    pub(crate) fn expect<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> &[u32] {
        self.expected.clear();
        for key in keys.take(TOUCHED_TOGETHER) {
            // Rarely another key's slot: the look-up notices.
            let found = self.map.first_candidate(self.hasher.hash_one(key));
            self.expected.push(found.unwrap_or(NONE));
        }
        self.expected.reverse();
        self.touch(&self.expected);
        &self.expected
    }

    /// Prefetches what is stored in these slots: the lines of keys and records, then the values.
    pub(crate) fn touch(&self, slots: &[u32]) {
        for slots in slots.chunks(TOUCHED_TOGETHER) {
            let mut seen = 0;
            for &at in slots {
                let Some(key) = self.keys.get(at) else { continue };
                seen ^= self.sums.bucket(bucket_of(key.hash)) ^ u64::from(key.bytes.last_byte());
                seen ^= self.stored.get(at).map_or(0, |stored| stored.value.as_ptr().addr()) as u64;
            }
            for &at in slots {
                let value = self.stored.get(at).map(|stored| &*stored.value);
                let ends = value.and_then(|value| Some(value.first()? ^ value.last()?));
                seen ^= u64::from(ends.unwrap_or_default());
            }
            std::hint::black_box(seen);
        }
    }

    /// The keys of a bucket, in no order that means anything.
    pub(crate) fn bucket(&self, bucket: u16) -> impl Iterator<Item = KeyIx> {
        let mut at = self.buckets.get(usize::from(bucket)).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let key = self.keys.get(at)?;
            let found = KeyIx(at);
            at = key.next;
            Some(found)
        })
    }

    /// All keys, slot by slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = KeyIx> {
        self.keys.iter().filter(|(_, key)| key.used).map(|(at, _)| KeyIx(at))
    }

    // ---- what a key has ----

    pub(crate) fn name(&self, key: KeyIx) -> &[u8] {
        self.keys.get(key.0).map_or(&[], |key| key.bytes.as_slice())
    }

    pub(crate) fn hash(&self, key: KeyIx) -> u64 {
        self.keys.get(key.0).map_or(0, |key| key.hash)
    }

    /// The stored record; a tombstone too.
    pub(crate) fn record(&self, key: KeyIx) -> Option<Record<'_>> {
        let stored = self.stored.get(key.0).filter(|stored| stored.present)?;
        let Stored { effective_ns, received_ns, tombstone, ref value, .. } = *stored;
        Some(Record { key: self.name(key), effective_ns, received_ns, tombstone, value })
    }

    /// The record that is not due yet.
    pub(crate) fn future(&self, key: KeyIx) -> Option<Record<'_>> {
        let Future { effective_ns, received_ns, tombstone, ref value } = *self.futures.get(&key)?;
        Some(Record { key: self.name(key), effective_ns, received_ns, tombstone, value })
    }

    /// Keys with a record that is not due yet, from `from` on.
    pub(crate) fn futures(&self, from: KeyIx) -> impl Iterator<Item = KeyIx> {
        self.futures.range(from..).map(|(&key, _)| key)
    }

    pub(crate) fn has_futures(&self) -> bool {
        !self.futures.is_empty()
    }

    /// Whether the record came over this link.
    pub(crate) fn came_from(&self, key: KeyIx, link: LinkId) -> bool {
        self.stored.get(key.0).is_some_and(|stored| stored.from != 0 && stored.from == low(link))
    }

    /// The link a record came over, to which it is not echoed.
    pub(crate) fn set_from(&mut self, key: KeyIx, link: LinkId) {
        if let Some(stored) = self.stored.get_mut(key.0) {
            stored.from = low(link);
        }
    }

    /// The label that is kept with the record.
    pub(crate) fn label(&self, key: KeyIx) -> Option<Label> {
        self.stored.get(key.0).and_then(Stored::label)
    }

    /// All labels of a key, those too that no longer count.
    pub(crate) fn labels(&self, key: KeyIx) -> impl Iterator<Item = Label> {
        let mut at = self.keys.get(key.0).map_or(NONE, |key| key.labels);
        let extras = std::iter::from_fn(move || {
            let extra = self.extras.get(at)?;
            at = extra.next;
            Some(extra.label)
        });
        self.label(key).into_iter().chain(extras)
    }

    /// The label of a key in one stream, if it is one that `is_live`.
    pub(crate) fn label_in(
        &self,
        key: KeyIx,
        origin: OriginIx,
        is_live: impl Fn(&Label) -> bool,
    ) -> Option<Label> {
        self.labels(key).find(|label| label.origin == origin && is_live(label))
    }

    /// Whether the key has this label, named by its stream and arrival.
    pub(crate) fn bears(&self, key: KeyIx, origin: OriginIx, arrival: Arrival) -> Option<Label> {
        // Nearly always the first one.
        self.labels(key).find(|label| label.arrival == arrival && label.origin == origin)
    }

    pub(crate) fn change(&self, key: KeyIx) -> u64 {
        self.keys.get(key.0).map_or(0, |key| key.change)
    }

    pub(crate) fn set_change(&mut self, key: KeyIx, change: u64) {
        if let Some(key) = self.keys.get_mut(key.0) {
            key.change = change;
        }
    }

    // ---- changing ----

    /// Stores a record if it is greater than what the key stores, and its label in either case. `key` is where the
    /// key was found, if it is known. None if no slot is left.
    pub(crate) fn put(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        label: Option<Label>,
        is_live: impl Fn(&Label) -> bool,
    ) -> Option<Put> {
        let key = match key {
            Some(key) => key,
            None => self.add(record.key)?,
        };
        let known = self.record(key);
        let greater = known.is_none_or(|known| self.order.is_greater(&record, &known));
        let was_alive = known.is_some_and(|known| !known.tombstone);
        if !greater {
            return Some(match label {
                Some(label) => self.put_label(key, label, is_live),
                None => Put { key, changed: false, retired: None },
            });
        }
        let retired = label.and_then(|label| self.retire(key, label.origin, &is_live));
        if let Some(before) = self.label(key).filter(|before| is_live(before)) {
            self.push_extra(key, before);
        }
        let stored = self.stored.get_mut(key.0)?;
        stored.effective_ns = record.effective_ns;
        stored.received_ns = record.received_ns;
        stored.tombstone = record.tombstone;
        stored.present = true;
        if stored.value.len() == record.value.len() {
            stored.value.copy_from_slice(record.value);
        } else {
            stored.value = record.value.into();
        }
        stored.set_label(label);
        self.alive = self.alive + usize::from(!record.tombstone) - usize::from(was_alive);
        self.sum_again(key);
        Some(Put { key, changed: true, retired })
    }

    /// Gives a key a label and leaves its record as it is.
    pub(crate) fn put_label(
        &mut self,
        key: KeyIx,
        label: Label,
        is_live: impl Fn(&Label) -> bool,
    ) -> Put {
        // The one that is kept with a record speaks of that record alone.
        let retired = self.retire(key, label.origin, is_live);
        self.push_extra(key, label);
        Put { key, changed: false, retired }
    }

    /// Keeps a record that is not due yet, in place of a lesser one. None if no slot is left.
    pub(crate) fn put_future(
        &mut self,
        key: Option<KeyIx>,
        record: Record<'_>,
        label: Option<Label>,
        is_live: impl Fn(&Label) -> bool,
    ) -> Option<Put> {
        let key = match key {
            Some(key) => key,
            None => self.add(record.key)?,
        };
        let retired = label.and_then(|label| self.retire(key, label.origin, &is_live));
        if let Some(label) = label {
            self.push_extra(key, label);
        }
        let changed = self.future(key).is_none_or(|known| known.rank() < record.rank())
            && self.record(key).is_none_or(|known| known.rank() < record.rank());
        if changed {
            let Record { effective_ns, received_ns, tombstone, value, .. } = record;
            let future = Future { effective_ns, received_ns, tombstone, value: value.into() };
            self.futures.insert(key, future);
            self.sum_again(key);
        }
        Some(Put { key, changed, retired })
    }

    /// Gives up a record that is not due yet, and returns it.
    pub(crate) fn take_future(&mut self, key: KeyIx) -> Option<OwnedRecord> {
        let future = self.futures.remove(&key)?;
        self.sum_again(key);
        let Future { effective_ns, received_ns, tombstone, value } = future;
        Some(OwnedRecord { effective_ns, received_ns, tombstone, value })
    }

    /// What a key stores is not due by a clock that was set back: it is kept beside, and of two such the greater one,
    /// which would count in the end. False if there is nothing.
    pub(crate) fn demote(&mut self, key: KeyIx) -> bool {
        let own = self.record(key);
        let stays =
            self.future(key).is_some_and(|future| own.is_none_or(|own| own.rank() < future.rank()));
        let Some(stored) = self.stored.get_mut(key.0).filter(|stored| stored.present) else {
            return false;
        };
        stored.present = false;
        let Stored { effective_ns, received_ns, tombstone, .. } = *stored;
        let value = std::mem::take(&mut stored.value);
        self.alive -= usize::from(!tombstone);
        if !stays {
            let future = Future { effective_ns, received_ns, tombstone, value };
            self.futures.insert(key, future);
        }
        self.sum_again(key);
        true
    }

    /// Forgets a key with all that belongs to it, and hands its labels to `retired`.
    pub(crate) fn remove(&mut self, key: KeyIx, mut retired: impl FnMut(Label)) {
        self.labels(key).for_each(&mut retired);
        self.futures.remove(&key);
        let Some(stored) = self.stored.get_mut(key.0) else { return };
        self.alive -= usize::from(stored.present && !stored.tombstone);
        let sum = std::mem::take(stored).sum;
        let Some(slot) = self.keys.get_mut(key.0) else { return };
        let Key { bytes, hash, next, previous, labels, .. } = std::mem::take(slot);
        // Another key's labels begin at slot 0.
        slot.labels = NONE;
        slot.next = self.free_key;
        self.free_key = key.0;
        self.sums.replace(hash, sum, 0);
        self.unlink(bucket_of(hash), next, previous);
        let mut at = labels;
        while let Some(extra) = self.extras.get(at) {
            let next = extra.next;
            self.free(at);
            at = next;
        }
        self.map.remove(self.hasher.hash_one(bytes.as_slice()), |at| at == key.0);
    }

    /// A label was trimmed: one that is not kept with the record gives its slot back.
    pub(crate) fn trim_label(&mut self, key: KeyIx, origin: OriginIx, arrival: Arrival) {
        self.drop_extra(key, |label| label.origin == origin && label.arrival == arrival);
    }

    /// Labels that no longer count give their slots back, but for the one that is kept with the record.
    pub(crate) fn drop_dead_labels(&mut self, key: KeyIx, is_live: impl Fn(&Label) -> bool) {
        if self.extras_used > 0 {
            while self.drop_extra(key, |label| !is_live(label)).is_some() {}
        }
    }

    /// Takes the label of one stream from a key, and returns its arrival if it counted.
    fn retire(
        &mut self,
        key: KeyIx,
        origin: OriginIx,
        is_live: impl Fn(&Label) -> bool,
    ) -> Option<Arrival> {
        let stored = self.stored.get_mut(key.0)?;
        if let Some(label) = stored.label().filter(|label| label.origin == origin) {
            stored.arrival = 0;
            if is_live(&label) {
                return Some(label.arrival);
            }
        }
        if self.extras_used == 0 {
            return None;
        }
        let dropped = self.drop_extra(key, |label| label.origin == origin)?;
        is_live(&dropped).then_some(dropped.arrival)
    }

    fn push_extra(&mut self, key: KeyIx, label: Label) {
        let next = self.keys.get(key.0).map_or(NONE, |key| key.labels);
        let extra = Extra { label, next };
        let at = if let Some(slot) = self.extras.get_mut(self.free_extra) {
            let at = self.free_extra;
            self.free_extra = slot.next;
            *slot = extra;
            Some(at)
        } else {
            self.extras.push(extra)
        };
        if let (Some(at), Some(key)) = (at, self.keys.get_mut(key.0)) {
            key.labels = at;
            self.extras_used += 1;
        }
    }

    fn drop_extra(&mut self, key: KeyIx, is_it: impl Fn(&Label) -> bool) -> Option<Label> {
        let mut at = self.keys.get(key.0)?.labels;
        let mut before = NONE;
        while let Some(extra) = self.extras.get(at) {
            let (label, next) = (extra.label, extra.next);
            if is_it(&label) {
                match self.extras.get_mut(before) {
                    Some(before) => before.next = next,
                    None => self.keys.get_mut(key.0)?.labels = next,
                }
                self.free(at);
                return Some(label);
            }
            (before, at) = (at, next);
        }
        None
    }

    fn free(&mut self, extra: u32) {
        if let Some(slot) = self.extras.get_mut(extra) {
            slot.next = self.free_extra;
            self.free_extra = extra;
            self.extras_used -= 1;
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Option<KeyIx> {
        let hash = key_hash(bytes);
        let bucket = usize::from(bucket_of(hash));
        let next = self.buckets.get(bucket).copied().unwrap_or(NONE);
        let key = Key {
            bytes: KeyBytes::new(bytes),
            hash,
            change: 0,
            next,
            previous: NONE,
            labels: NONE,
            used: true,
        };
        let at = if let Some(slot) = self.keys.get_mut(self.free_key) {
            let at = self.free_key;
            self.free_key = slot.next;
            *slot = key;
            at
        } else {
            self.stored.push(Stored::default())?;
            self.keys.push(key)?
        };
        if let Some(next) = self.keys.get_mut(next) {
            next.previous = at;
        }
        if let Some(head) = self.buckets.get_mut(bucket) {
            *head = at;
        }
        let (keys, hasher) = (&self.keys, &self.hasher);
        let rehash = |at| keys.get(at).map_or(0, |key: &Key| hasher.hash_one(key.bytes.as_slice()));
        self.map.insert(hasher.hash_one(bytes), at, rehash);
        Some(KeyIx(at))
    }

    /// Takes a key out of the list of its bucket.
    fn unlink(&mut self, bucket: u16, next: u32, previous: u32) {
        if let Some(next) = self.keys.get_mut(next) {
            next.previous = previous;
        }
        if let Some(previous) = self.keys.get_mut(previous) {
            previous.next = next;
        } else if let Some(head) = self.buckets.get_mut(usize::from(bucket)) {
            *head = next;
        }
    }

    fn sum_again(&mut self, key: KeyIx) {
        let hash = self.hash(key);
        let of = |record: Option<Record<'_>>| record.map_or(0, |record| digest(hash, &record));
        let future = if self.futures.is_empty() { 0 } else { of(self.future(key)) };
        let sum = of(self.record(key)).wrapping_add(future);
        let Some(stored) = self.stored.get_mut(key.0) else { return };
        let before = std::mem::replace(&mut stored.sum, sum);
        self.sums.replace(hash, before, sum);
    }
}

/// A record without its key, taken out of the table.
#[derive(Debug)]
pub(crate) struct OwnedRecord {
    effective_ns: i64,
    received_ns: i64,
    tombstone: bool,
    value: Box<[u8]>,
}

impl OwnedRecord {
    pub(crate) fn with_key<'a>(&'a self, key: &'a [u8]) -> Record<'a> {
        let Self { effective_ns, received_ns, tombstone, ref value } = *self;
        Record { key, effective_ns, received_ns, tombstone, value }
    }
}

impl Stored {
    fn label(&self) -> Option<Label> {
        (self.arrival != 0).then_some(Label {
            origin: OriginIx(self.origin),
            sequence: self.sequence,
            arrival: Arrival(self.arrival),
            from: (self.from != 0).then_some(LinkId(self.from.into())),
        })
    }

    fn set_label(&mut self, label: Option<Label>) {
        self.arrival = label.map_or(0, |label| label.arrival.0);
        self.sequence = label.map_or(0, |label| label.sequence);
        self.origin = label.map_or(0, |label| label.origin.0);
        self.from = label.and_then(|label| label.from).map_or(0, low);
    }
}

impl Label {
    /// Whether it came over this link.
    pub(crate) fn came_from(&self, link: LinkId) -> bool {
        self.from.is_some_and(|from| low(from) == low(link))
    }
}

/// Links are numbered one by one; two alive at once never agree in the low half.
fn low(link: LinkId) -> u32 {
    (link.0 & 0xffff_ffff) as u32
}

#[cfg(test)]
mod tests;
