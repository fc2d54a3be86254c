//! What changes in the table, for those who follow it: journals, foreign servers, watchers.
//!
//! A log of keys in which only each key's last change counts; a follower is a position in it, so one that is
//! slow or away costs nothing. A new follower first scans all slots, so the log needs to hold only what has changed
//! since someone first asked for it.

use crate::ids::{Arrival, KeyIx};
use crate::streams::Log;
use crate::table::Table;

/// How far a follower has come. A new one begins with everything that is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// All slots were scanned.
    scanned: bool,
    /// Changes up to here were met.
    change: u64,
    /// The next slot to be scanned.
    slot: u32,
}

impl Cursor {
    /// Changes up to here were met, or lie before the scan.
    pub(crate) fn change(&self) -> u64 {
        self.change
    }

    /// Changes up to here were met, and all that was stored before; 0 while it scans.
    pub(crate) fn reached(&self) -> u64 {
        if self.scanned { self.change } else { 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Changes {
    log: Log,
    kept: bool,
}

impl Changes {
    pub(crate) fn new(segment_arrivals: u64) -> Self {
        Self { log: Log::new(Arrival::default(), segment_arrivals), kept: false }
    }

    /// The number of the last change.
    pub(crate) fn last(&self) -> u64 {
        self.log.last().0
    }

    /// What a key stores has changed. Returns the number of its change before, and of this one; zero for none.
    pub(crate) fn note(&mut self, key: KeyIx, table: &mut Table) -> (u64, u64) {
        if !self.kept {
            return (0, 0);
        }
        let before = table.change(key);
        table.set_change(key, self.log.next().0);
        let table = &*table;
        self.log.append(key, 0, counts(table));
        if before != 0 {
            self.log.retire(Arrival(before), counts(table));
        }
        (before, self.last())
    }

    /// The key whose last change this was is gone.
    pub(crate) fn forget(&mut self, change: u64, table: &Table) {
        if change != 0 {
            self.log.retire(Arrival(change), counts(table));
        }
    }

    /// From now on changes are kept.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// A follower that has met all that there is.
    pub(crate) fn end(&self) -> Cursor {
        Cursor { scanned: true, change: self.last(), slot: 0 }
    }

    /// The next key of a follower, which looks at no more than `slots_left` slots to find one; none there means that
    /// it has to ask again.
    pub(crate) fn next(
        &self,
        cursor: &mut Cursor,
        slots_left: &mut u32,
        table: &Table,
    ) -> Option<KeyIx> {
        if !cursor.scanned {
            if cursor.slot == 0 {
                cursor.change = self.last();
            }
            while cursor.slot < table.slots() {
                if *slots_left == 0 {
                    return None;
                }
                *slots_left -= 1;
                let key = KeyIx(cursor.slot);
                cursor.slot += 1;
                // What has changed since the scan began is met behind it.
                if table.change(key) > cursor.change {
                    continue;
                }
                if table.record(key).is_some() || table.future(key).is_some() {
                    return Some(key);
                }
            }
            cursor.scanned = true;
        }
        let (arrival, key) = self.log.after(Arrival(cursor.change), counts(table))?;
        cursor.change = arrival.0;
        Some(key)
    }

    /// Positions kept, counting or not.
    pub(crate) fn len(&self) -> usize {
        self.log.len()
    }
}

fn counts(table: &Table) -> impl Fn(KeyIx, Arrival) -> bool + '_ {
    |key, arrival| table.change(key) == arrival.0
}
