//! In which order keys last changed: an append-only log that is compacted lazily.
//!
//! Every change appends (number, slot). An entry counts only while the slot's last change still bears
//! that number, so each key counts once, at its latest place, and a cursor that walks the log meets
//! every key's newest record exactly once. That is what makes a link a number and no queue.

use crate::table::{Slot, Table};
use std::collections::VecDeque;

/// The number of a change, 1, 2, 3 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Below so many a compaction would not pay for itself.
const COMPACT_ENTRIES_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<(Sequence, Slot)>,
    last: Sequence,
}

impl Log {
    /// The number that the next change bears.
    pub(crate) fn next_sequence(&self) -> Sequence {
        Sequence(self.last.0 + 1)
    }

    /// The number of the last change; zero before the first.
    pub(crate) fn last(&self) -> Sequence {
        self.last
    }

    /// Notes that `slot` changed as [`next_sequence`](Self::next_sequence) said, and compacts when
    /// more than half of the log no longer counts: at most two entries a key, and each append pays
    /// for two looked at.
    pub(crate) fn append(&mut self, slot: Slot, table: &Table) {
        self.last = self.next_sequence();
        self.entries.push_back((self.last, slot));
        if self.entries.len() > 2 * table.len().max(COMPACT_ENTRIES_MIN) {
            self.entries.retain(|&(sequence, slot)| counts(sequence, slot, table));
        }
    }

    /// The first entry after `cursor` that counts. A walk over the whole log costs its length.
    pub(crate) fn after(&self, cursor: Sequence, table: &Table) -> Option<(Sequence, Slot)> {
        let start = self.entries.partition_point(|&(sequence, _)| sequence <= cursor);
        let mut rest = self.entries.range(start..);
        rest.find(|&&(sequence, slot)| counts(sequence, slot, table)).copied()
    }
}

fn counts(sequence: Sequence, slot: Slot, table: &Table) -> bool {
    table.entry(slot).is_some_and(|entry| entry.sequence == sequence)
}
