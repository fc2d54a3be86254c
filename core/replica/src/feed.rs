//! What changes in the view of keys, for neighbours that know no streams: foreign servers.
//!
//! The same idea as a stream's log: a cursor into a log of changes in which only each key's last one
//! counts. It is kept only once somebody has asked for it.

use crate::replica::Replica;
use crate::settings::{LinkId, Record};
use crate::store::{Entry, KeyIx, Store};
use std::collections::VecDeque;

/// How far one reader of the feed has come. A new one begins with everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

/// Below so many a compaction would not pay for itself.
const COMPACT_CHANGES_MIN: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Feed {
    changes: VecDeque<(u64, KeyIx)>,
    last: u64,
    kept: bool,
}

impl Feed {
    /// What a key shows has changed.
    pub(crate) fn note(&mut self, key: KeyIx, store: &mut Store) {
        if !self.kept {
            return;
        }
        self.last += 1;
        store.set_change(key, self.last);
        self.changes.push_back((self.last, key));
        if self.changes.len() > 2 * store.keys().max(COMPACT_CHANGES_MIN) {
            self.changes.retain(|&(change, key)| store.change(key) == change);
        }
    }
}

impl Replica {
    /// The next record behind `cursor` that shows something else than before; tombstones are left out,
    /// and what came from `reader` itself. None if there is none for now.
    pub fn poll_feed(&mut self, cursor: &mut Cursor, reader: LinkId) -> Option<Record<'_>> {
        while let Some(key) = self.next_change(cursor) {
            let shown = |entry: &Entry| !entry.tombstone && !entry.is_from(reader.0);
            if self.store.winner(key).is_some_and(|(_, entry)| shown(entry)) {
                return self.store.winner(key).map(|(_, entry)| self.store.record(entry));
            }
        }
        None
    }

    /// The same with tombstones and from whomever: for whoever watches.
    pub fn poll_change(&mut self, cursor: &mut Cursor) -> Option<Record<'_>> {
        while let Some(key) = self.next_change(cursor) {
            if self.store.winner(key).is_some() {
                return self.store.winner(key).map(|(_, entry)| self.store.record(entry));
            }
        }
        None
    }

    /// Where a cursor stands that has been shown all that there is now.
    pub fn feed_end(&mut self) -> Cursor {
        self.keep_feed();
        Cursor(self.feed.last)
    }

    fn keep_feed(&mut self) {
        if !self.feed.kept {
            self.feed.kept = true;
            let keys: Vec<_> = self.store.all_keys().collect();
            for key in keys {
                self.feed.note(key, &mut self.store);
            }
        }
    }

    fn next_change(&mut self, cursor: &mut Cursor) -> Option<KeyIx> {
        self.keep_feed();
        let start = self.feed.changes.partition_point(|&(change, _)| change <= cursor.0);
        for &(change, key) in self.feed.changes.range(start..) {
            cursor.0 = change;
            if self.store.change(key) == change {
                return Some(key);
            }
        }
        None
    }
}
