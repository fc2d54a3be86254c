//! Keys in the order in which they last arrived: an append-only log, compacted piece by piece.
//!
//! Every arrival appends (arrival, key). It counts only while the key still bears that arrival, so each key counts
//! once, at its latest place, and a cursor that walks the log meets every key exactly once. That makes a link's
//! position a number, and what arrives late, with a sequence number below ones that were passed on already, lies
//! ahead of every cursor all the same.
//!
//! Left out: what it means that a key bears an arrival; callers pass it as `counts`.

use crate::ids::{Arrival, KeyIx};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Log {
    segments: BTreeMap<u64, Segment>,
    /// Arrivals in one segment.
    size: u64,
    last: Arrival,
    /// Arrivals up to here do not count any more.
    trimmed: Arrival,
}

#[derive(Debug, Default)]
struct Segment {
    arrivals: Vec<(Arrival, KeyIx)>,
    /// How many of them count.
    live: usize,
    /// The greatest sequence number that ever arrived in it.
    sequence_max: u64,
}

/// A segment that was trimmed.
#[derive(Debug)]
pub(crate) struct Trimmed {
    pub(crate) arrivals: Vec<(Arrival, KeyIx)>,
    pub(crate) sequence_max: u64,
}

impl Log {
    /// An empty log whose first arrival comes after `base`.
    pub(crate) fn new(base: Arrival, segment_arrivals: u64) -> Self {
        let size = segment_arrivals.max(1);
        Self { segments: BTreeMap::new(), size, last: base, trimmed: base }
    }

    /// The number of the last arrival.
    pub(crate) fn last(&self) -> Arrival {
        self.last
    }

    /// The number that the next arrival gets.
    pub(crate) fn next(&self) -> Arrival {
        Arrival(self.last.0 + 1)
    }

    /// Whether an arrival may still be in the log.
    pub(crate) fn holds(&self, arrival: Arrival) -> bool {
        arrival > self.trimmed && arrival <= self.last
    }

    /// A key arrived; it bears the number of [`next`](Self::next) already.
    pub(crate) fn append(
        &mut self,
        key: KeyIx,
        sequence: u64,
        counts: impl Fn(KeyIx, Arrival) -> bool,
    ) {
        let full = self.last.0 / self.size;
        self.last = self.next();
        let number = self.last.0 / self.size;
        if number != full {
            // Nothing may ever be retired from it again.
            self.compact(full, counts);
        }
        let segment = self.segments.entry(number).or_default();
        segment.arrivals.push((self.last, key));
        segment.live += 1;
        segment.sequence_max = segment.sequence_max.max(sequence);
    }

    /// An arrival no longer counts: its key has a newer one, or is gone. To be said after the key has changed.
    pub(crate) fn retire(&mut self, arrival: Arrival, counts: impl Fn(KeyIx, Arrival) -> bool) {
        let number = arrival.0 / self.size;
        let Some(segment) = self.segments.get_mut(&number) else { return };
        segment.live = segment.live.saturating_sub(1);
        if number != self.last.0 / self.size {
            self.compact(number, counts);
        }
    }

    /// Drops what no longer counts of a segment that grows no more, if that is most of it.
    fn compact(&mut self, number: u64, counts: impl Fn(KeyIx, Arrival) -> bool) {
        let Some(segment) = self.segments.get_mut(&number) else { return };
        if segment.live == 0 {
            self.segments.remove(&number);
        } else if segment.live < segment.arrivals.len() / 2 {
            segment.arrivals.retain(|&(arrival, key)| counts(key, arrival));
            segment.arrivals.shrink_to_fit();
        }
    }

    /// Takes the oldest segment away if no sequence number in it is above `sequence`.
    pub(crate) fn trim(&mut self, sequence: u64) -> Option<Trimmed> {
        let first = self.segments.first_entry()?;
        if first.get().sequence_max > sequence {
            return None;
        }
        let number = *first.key();
        let Segment { arrivals, sequence_max, .. } = first.remove();
        let end = (number + 1).saturating_mul(self.size) - 1;
        self.trimmed = self.trimmed.max(Arrival(end)).min(self.last);
        Some(Trimmed { arrivals, sequence_max })
    }

    /// The first arrival after `cursor` that counts.
    pub(crate) fn after(
        &self,
        cursor: Arrival,
        counts: impl Fn(KeyIx, Arrival) -> bool,
    ) -> Option<(Arrival, KeyIx)> {
        let next = Arrival(cursor.max(self.trimmed).0.saturating_add(1));
        if next > self.last {
            return None;
        }
        // Most often it is the very next one, of a segment that is whole.
        let found = self.segments.get(&(next.0 / self.size)).and_then(|segment| {
            let (first, _) = segment.arrivals.first()?;
            let place = usize::try_from(next.0.checked_sub(first.0)?).ok()?;
            segment.arrivals.get(place).copied()
        });
        let is_next = |&(arrival, key): &(Arrival, KeyIx)| arrival == next && counts(key, arrival);
        found.filter(is_next).or_else(|| self.all_after(cursor, counts).next())
    }

    /// All arrivals after `cursor` that count, in order.
    pub(crate) fn all_after(
        &self,
        cursor: Arrival,
        counts: impl Fn(KeyIx, Arrival) -> bool,
    ) -> impl Iterator<Item = (Arrival, KeyIx)> {
        let cursor = cursor.max(self.trimmed);
        let segments = self.segments.range(cursor.0 / self.size..);
        let ahead = segments.flat_map(move |(_, segment)| {
            let start = segment.arrivals.partition_point(|&(arrival, _)| arrival <= cursor);
            segment.arrivals.get(start..).unwrap_or_default()
        });
        ahead.copied().filter(move |&(arrival, key)| counts(key, arrival))
    }

    /// A cursor behind which no sequence number is above `sequence`.
    pub(crate) fn cursor_for(&self, sequence: u64) -> Arrival {
        let ahead = |(_, segment): &(&u64, &Segment)| segment.sequence_max > sequence;
        match self.segments.iter().find(ahead) {
            None => self.last,
            Some((&number, _)) => Arrival((number * self.size).saturating_sub(1)).max(self.trimmed),
        }
    }

    /// Arrivals after `cursor`, counting or not: a bound on what there is to send.
    pub(crate) fn distance(&self, cursor: Arrival) -> u64 {
        self.last.0.saturating_sub(cursor.0)
    }

    /// Positions kept, counting or not, for those who watch memory.
    pub(crate) fn len(&self) -> usize {
        self.segments.values().map(|segment| segment.arrivals.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a list in which a key that arrives again moves to the end.
        #[test]
        fn a_walk_meets_every_key_once_where_it_last_arrived(
            arrivals in prop::collection::vec((0_u32..12, any::<bool>()), 0..200),
            size in 1_u64..9,
            start in 0_u64..200,
            trim in 0_u64..200,
        ) {
            let mut log = Log::new(Arrival::default(), size);
            let mut borne: BTreeMap<u32, Arrival> = BTreeMap::new();
            let mut naive: Vec<(Arrival, KeyIx, u64)> = Vec::new();
            for (sequence, (key, goes)) in (1_u64..).zip(arrivals) {
                naive.retain(|&(_, other, _)| other.0 != key);
                let before = borne.remove(&key);
                if !goes {
                    borne.insert(key, log.next());
                    let counts = |key: KeyIx, arrival| borne.get(&key.0) == Some(&arrival);
                    log.append(KeyIx(key), sequence, counts);
                    naive.push((log.last(), KeyIx(key), sequence));
                }
                if let Some(before) = before {
                    log.retire(before, |key, arrival| borne.get(&key.0) == Some(&arrival));
                }
            }
            let counts = |key: KeyIx, arrival| borne.get(&key.0) == Some(&arrival);
            prop_assert!(log.len() as u64 <= 3 * naive.len() as u64 + size);
            let cursor = log.cursor_for(start);
            prop_assert!(naive.iter().all(|&(a, _, sequence)| a > cursor || sequence <= start));
            while let Some(trimmed) = log.trim(trim) {
                prop_assert!(trimmed.sequence_max <= trim);
                naive.retain(|(arrival, ..)| log.holds(*arrival));
            }
            let mut cursor = Arrival(start);
            let mut met = Vec::new();
            while let Some((arrival, key)) = log.after(cursor, counts) {
                met.push((arrival, key));
                cursor = arrival;
            }
            let ahead = naive.iter().filter(|(arrival, ..)| arrival.0 > start);
            prop_assert_eq!(met, ahead.map(|&(arrival, key, _)| (arrival, key)).collect::<Vec<_>>());
        }
    }
}
