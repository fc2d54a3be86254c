//! In which order an origin's entries last arrived here: an append-only log, compacted piece by piece.
//!
//! Every arrival appends (arrival number, slot). It counts only while the slot still bears that number,
//! so each key counts once, at its latest place, and a cursor that walks the log meets every entry
//! exactly once. That makes a link's position a number, and an entry that arrives late, with a
//! sequence number below ones that were passed on already, lies ahead of every cursor all the same.

use crate::origin::OriginIx;
use crate::store::{EntryIx, Store};
use std::collections::BTreeMap;

/// When an entry arrived here, counted by origin: 1, 2, 3 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival(pub(crate) u64);

impl Arrival {
    fn segment(self, size: u64) -> u64 {
        self.0 / size
    }
}

#[derive(Debug)]
pub(crate) struct Log {
    origin: OriginIx,
    segments: BTreeMap<u64, Segment>,
    /// Arrivals in one segment.
    size: u64,
    last: Arrival,
}

#[derive(Debug, Default)]
struct Segment {
    arrivals: Vec<(Arrival, EntryIx)>,
    /// How many of them count.
    live: usize,
    /// The greatest sequence number that ever arrived in it.
    sequence_max: u64,
}

impl Log {
    pub(crate) fn new(origin: OriginIx, segment_arrivals: u64) -> Self {
        let size = segment_arrivals.max(1);
        Self { origin, segments: BTreeMap::new(), size, last: Arrival::default() }
    }

    /// The number of the last arrival; zero before the first.
    pub(crate) fn last(&self) -> Arrival {
        self.last
    }

    /// An entry arrived; its slot is to bear the number returned.
    pub(crate) fn append(&mut self, entry: EntryIx, sequence: u64, store: &Store) -> Arrival {
        let full = self.last.segment(self.size);
        self.last = Arrival(self.last.0 + 1);
        if self.last.segment(self.size) != full {
            // Nothing may ever be retired from it again.
            self.compact(full, store);
        }
        let segment = self.segments.entry(self.last.segment(self.size)).or_default();
        segment.arrivals.push((self.last, entry));
        segment.live += 1;
        segment.sequence_max = segment.sequence_max.max(sequence);
        self.last
    }

    /// The arrival of a slot no longer counts: the slot has a newer one, or is gone. To be said after
    /// the slot has changed.
    pub(crate) fn retire(&mut self, arrival: Arrival, store: &Store) {
        let number = arrival.segment(self.size);
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.live = segment.live.saturating_sub(1);
        if number != self.last.segment(self.size) {
            self.compact(number, store);
        }
    }

    /// Drops what no longer counts of a segment that grows no more, if that is most of it.
    fn compact(&mut self, number: u64, store: &Store) {
        let origin = self.origin;
        let Some(segment) = self.segments.get_mut(&number) else { return };
        if segment.live == 0 {
            self.segments.remove(&number);
        } else if segment.live < segment.arrivals.len() / 2 {
            segment.arrivals.retain(|&(arrival, entry)| store.bears(entry, origin, arrival));
            segment.arrivals.shrink_to_fit();
        }
    }

    /// The first arrival after `cursor` that counts.
    pub(crate) fn after(&self, cursor: Arrival, store: &Store) -> Option<(Arrival, EntryIx)> {
        self.all_after(cursor, store).next()
    }

    /// All arrivals after `cursor` that count, in order: for whoever takes many of them, and need not look for
    /// each.
    pub(crate) fn all_after(
        &self,
        cursor: Arrival,
        store: &Store,
    ) -> impl Iterator<Item = (Arrival, EntryIx)> {
        let segments = self.segments.range(cursor.segment(self.size)..);
        let ahead = segments.flat_map(move |(_, segment)| {
            let start = segment.arrivals.partition_point(|&(arrival, _)| arrival <= cursor);
            segment.arrivals.get(start..).unwrap_or_default()
        });
        ahead.copied().filter(|&(arrival, entry)| store.bears(entry, self.origin, arrival))
    }

    /// A cursor behind which no entry has a sequence number above `sequence`.
    pub(crate) fn cursor_for(&self, sequence: u64) -> Arrival {
        let ahead = |(_, segment): &(&u64, &Segment)| segment.sequence_max > sequence;
        match self.segments.iter().find(ahead) {
            None => self.last,
            Some((&number, _)) => Arrival((number * self.size).saturating_sub(1)),
        }
    }

    /// Arrivals after `cursor`, counting or not: a bound on what there is to send.
    pub(crate) fn distance(&self, cursor: Arrival) -> u64 {
        self.last.0.saturating_sub(cursor.0)
    }

    /// Entries of the log, counting or not, for those who watch memory.
    pub(crate) fn len(&self) -> usize {
        self.segments.values().map(|segment| segment.arrivals.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;
    use crate::settings::Record;
    use proptest::prelude::*;

    proptest! {
        /// Against a list in which a key that arrives again moves to the end.
        #[test]
        fn a_walk_meets_every_key_once_where_it_last_arrived(
            arrivals in prop::collection::vec((0_u8..12, any::<bool>()), 0..200),
            size in 1_u64..9,
            start in 0_u64..200,
        ) {
            let mut store = Store::new(1);
            let origin = Origin { server: "a".into(), incarnation: 1 };
            let origin = store.add_origin(origin).unwrap();
            let mut log = Log::new(origin, size);
            let mut naive: Vec<(Arrival, EntryIx, u8, u64)> = Vec::new();
            for (sequence, (key, goes)) in (1_u64..).zip(arrivals) {
                naive.retain(|&(.., other, _)| other != key);
                let name = [key];
                if goes {
                    let at = store.find(&name).and_then(|key| store.entry_of(key, origin));
                    if let Some((_, arrival)) = at.and_then(|at| store.remove(at)) {
                        log.retire(arrival, &store);
                    }
                    continue;
                }
                let record = Record { key: &name, effective_ns: 0, tombstone: false, value: b"" };
                let put = store.put(store.find(&name), record, origin, sequence, None).unwrap();
                let arrival = log.append(put.entry, sequence, &store);
                store.entry_mut(put.entry).unwrap().arrival = arrival;
                if let Some(retired) = put.retired {
                    log.retire(retired, &store);
                }
                naive.push((arrival, put.entry, key, sequence));
            }
            let mut cursor = Arrival(start);
            let mut met = Vec::new();
            while let Some((arrival, at)) = log.after(cursor, &store) {
                met.push((arrival, at));
                cursor = arrival;
            }
            let ahead = naive.iter().filter(|(arrival, ..)| arrival.0 > start);
            prop_assert_eq!(met, ahead.map(|&(arrival, at, ..)| (arrival, at)).collect::<Vec<_>>());
            prop_assert!(log.len() as u64 <= 3 * naive.len() as u64 + size);
            let cursor = log.cursor_for(start);
            prop_assert!(naive.iter().all(|&(a, _, _, sequence)| a > cursor || sequence <= start));
        }
    }
}
