//! What is persisted, for a replica to outlive its process.
//!
//! A journal follows the table's changes: a position, so that a slow disk costs no queue and a key written often
//! is persisted once, as it is then. It takes whole records; any subset of them is a sound start, since servers
//! compare what they store whenever a link comes up. A reply that waits for its record waits until
//! [`journaled`](Replica::journaled) has reached what [`position`](Replica::position) was. Updates spread without
//! waiting for it.
//!
//! Left out: files, and the form of records in them.

use crate::faults::Mutant;
use crate::output::Output;
use crate::replica::Replica;
use crate::table::Cursor;
use herd_proto::Record;
use std::collections::BTreeMap;

/// One of the journals that a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalId(u64);

/// What a journal was handed when it was last polled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// All changes up to here, and all that was stored before.
    pub upto: u64,
    /// Nothing is left.
    pub is_all: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Journals {
    kept: BTreeMap<JournalId, Journal>,
    /// How many were opened.
    opened: u64,
    /// Changes up to here are persisted.
    safe: u64,
}

#[derive(Debug, Default)]
struct Journal {
    cursor: Cursor,
    /// What was owed when it was last polled, and what has come since.
    owed: [Option<Owed>; 2],
    /// Nothing was left when it was last polled.
    waiting: bool,
}

/// Keys that changed again before the journal had met their last change: that one counts as persisted only with the
/// next.
#[derive(Clone, Copy, Debug)]
struct Owed {
    /// The least of the changes that were passed over.
    oldest: u64,
    /// The greatest that has to be met instead.
    until: u64,
}

impl Journals {
    /// The last change of a key moves on.
    pub(crate) fn note_moved(&mut self, before: u64, to: u64) {
        for journal in self.kept.values_mut() {
            if before > journal.cursor.change() {
                // What it was to be met with may itself be passed over now.
                let inherited = journal.owed[0].filter(|owed| before <= owed.until);
                let oldest = inherited.map_or(before, |owed| owed.oldest.min(before));
                let owed = journal.owed[1].get_or_insert(Owed { oldest, until: to });
                owed.oldest = owed.oldest.min(oldest);
                owed.until = to;
            }
        }
    }
}

impl Journal {
    /// Up to where nothing is owed.
    fn reached(&mut self) -> u64 {
        let change = self.cursor.change();
        if self.owed[0].is_some_and(|owed| owed.until <= change) {
            self.owed = [self.owed[1].take(), None];
        }
        if self.owed[0].is_some_and(|owed| owed.until <= change) {
            self.owed[0] = None;
        }
        let oldest = self.owed.iter().flatten().map(|owed| owed.oldest - 1).min();
        oldest.map_or(u64::MAX, |oldest| oldest).min(self.cursor.reached())
    }
}

impl Replica {
    /// From now on one more journal is kept. It begins with all that is stored; poll it at once. Once nothing is
    /// left of it, it can take the place of an older one that has grown long.
    pub fn open_journal(&mut self) -> JournalId {
        self.changes.keep();
        self.add_journal(Cursor::default())
    }

    /// The same behind what is stored now, which was read from the disk.
    pub fn open_journal_behind(&mut self) -> JournalId {
        self.changes.keep();
        self.add_journal(self.changes.end())
    }

    fn add_journal(&mut self, cursor: Cursor) -> JournalId {
        let id = JournalId(self.journals.opened);
        self.journals.opened += 1;
        self.journals.kept.insert(id, Journal { cursor, owed: [None; 2], waiting: false });
        id
    }

    /// That journal is kept no more.
    pub fn close_journal(&mut self, id: JournalId) {
        self.journals.kept.remove(&id);
    }

    /// The number of the last change; of changes that no journal was open for, 0.
    pub fn position(&self) -> u64 {
        self.changes.last()
    }

    /// Changes up to here are persisted.
    pub fn journaled(&self) -> u64 {
        self.journals.safe
    }

    /// Hands records to `take` until that returns false, since it has no room for more, or nothing is left;
    /// [`Output::Journal`] then tells when to ask again. None if there is no such journal.
    pub fn poll_journal(
        &mut self,
        id: JournalId,
        mut take: impl FnMut(&Record<'_>) -> bool,
    ) -> Option<Told> {
        let journal = self.journals.kept.get_mut(&id)?;
        if journal.owed[0].is_none() {
            journal.owed.swap(0, 1);
        }
        let mut cursor = journal.cursor;
        let mut has_room = true;
        let mut slots_left = self.settings.tuning.walked_max.max(1);
        while has_room
            && let Some(key) = self.changes.next(&mut cursor, &mut slots_left, &self.table)
        {
            let records = self.table.record(key).into_iter().chain(self.table.future(key));
            for record in records {
                has_room &= take(&record);
            }
        }
        let is_all = has_room && slots_left > 0;
        let journal = self.journals.kept.get_mut(&id)?;
        journal.cursor = cursor;
        journal.waiting = is_all;
        let early = self.faults.make(Mutant::JournaledEarly);
        let upto = if early { self.changes.last() } else { journal.reached() };
        Some(Told { upto, is_all })
    }

    /// What a journal was handed is persisted, and would be read after a crash.
    pub fn handle_journaled(&mut self, told: &Told) {
        if told.upto > self.journals.safe {
            self.journals.safe = told.upto;
            self.outputs.push_back(Output::Journaled(told.upto));
        }
    }

    pub(crate) fn wake_journal(&mut self) {
        let mut any = false;
        for journal in self.journals.kept.values_mut() {
            any |= std::mem::take(&mut journal.waiting);
        }
        if any {
            self.outputs.push_back(Output::Journal);
        }
    }
}
