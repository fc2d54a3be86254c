//! Walks over the whole table, a little at a time: what has expired is erased, what is not due is set aside, what has
//! become due is shown, and labels of streams that were dropped give their memory back.
//!
//! Servers erase in steps of their records' lifetime, all at the same moments by the wall clock, so that between two
//! steps their sums are the same though records expire all the time.

use crate::faults::Mutant;
use crate::ids::KeyIx;
use crate::replica::Replica;
use crate::table::OwnedRecord;
use herd_proto::{Instant, Now, Record};

/// To erase a key costs as much as to look at so many: the watchers of the table follow.
const CHANGE_COST: u32 = 16;

#[derive(Debug)]
pub(crate) struct Walk {
    pass: Option<Pass>,
    /// Reports, and tombstones, that were received up to then are erased.
    cutoffs_ns: (i64, i64),
    futures_next: KeyIx,
    /// A walk is due whether anything has expired or not.
    is_wanted: bool,
}

/// One walk over all slots.
#[derive(Debug)]
struct Pass {
    next: u32,
    /// Reports, and tombstones, received up to then go.
    erase: Option<(i64, i64)>,
}

impl Walk {
    pub(crate) fn new(_now: Instant) -> Self {
        Self {
            pass: None,
            cutoffs_ns: (i64::MIN, i64::MIN),
            futures_next: KeyIx(0),
            is_wanted: false,
        }
    }

    /// Reports that were received up to here are not in the sums.
    pub(crate) fn cutoff_ns(&self) -> i64 {
        self.cutoffs_ns.0
    }

    /// The same, and up to when tombstones are erased.
    pub(crate) fn cutoffs_ns(&self) -> (i64, i64) {
        self.cutoffs_ns
    }

    /// Whether the sums are being changed by a walk.
    pub(crate) fn is_under_way(&self) -> bool {
        self.pass.is_some()
    }

    /// The clock was set: what is stored may not be due by it.
    pub(crate) fn look_for_futures(&mut self) {
        self.is_wanted = true;
        self.pass = None;
    }

    /// A stream was dropped: keys may still have labels of it.
    pub(crate) fn look_for_dead_labels(&mut self) {
        self.is_wanted = true;
    }
}

impl Replica {
    pub(crate) fn tick_walk(&mut self, now: Now) {
        self.show_what_is_due(now);
        if self.walk.pass.is_none() {
            self.begin_pass(now);
        }
        let Some(Pass { next, erase }) = self.walk.pass.take() else { return };
        let mut next = next;
        let mut left = self.settings.tuning.walked_max.max(1);
        while left > 0 && next < self.table.slots() {
            let cost = if self.look_at(KeyIx(next), erase, now) { CHANGE_COST } else { 1 };
            left = left.saturating_sub(cost);
            next += 1;
        }
        if next < self.table.slots() {
            self.walk.pass = Some(Pass { next, erase });
            self.busy = true;
        } else if let Some(cutoffs) = erase {
            self.walk.cutoffs_ns = cutoffs;
        }
    }

    fn begin_pass(&mut self, now: Now) {
        let reports = self.erased_ns(false, now.unix);
        let tombstones = self.erased_ns(true, now.unix);
        let is_even = self.clock.even_for(now.instant) >= self.settings.tuning.erase_after
            || self.faults.make(Mutant::EraseAtOnce);
        let erases = is_even && reports > self.walk.cutoff_ns();
        // A walk that erases does what any other does.
        let is_wanted = std::mem::take(&mut self.walk.is_wanted);
        if erases || is_wanted {
            let erase = erases.then_some((reports, tombstones));
            self.walk.pass = Some(Pass { next: 0, erase });
        }
    }

    /// True if the key has changed.
    fn look_at(&mut self, key: KeyIx, erase: Option<(i64, i64)>, now: Now) -> bool {
        let streams = &self.streams;
        self.table.drop_dead_labels(key, |label| streams.is_live(label));
        let Some(record) = self.table.record(key) else { return false };
        if self.is_future(&record, now.unix) {
            let is_aside = self.table.demote(key);
            if is_aside {
                self.unsettle(now);
                self.note_changed(key);
            }
            return is_aside;
        }
        let Some((reports, tombstones)) = erase else { return false };
        let cutoff = if record.tombstone { tombstones } else { reports };
        let goes = record.received_ns <= cutoff && self.table.future(key).is_none();
        if goes {
            self.erase(key);
            self.stats.erased += 1;
        }
        goes
    }

    fn show_what_is_due(&mut self, now: Now) {
        if !self.table.has_futures() {
            return;
        }
        let looked_at = self.settings.tuning.walked_max.max(1) as usize;
        let keys: Vec<_> = self.table.futures(self.walk.futures_next).take(looked_at).collect();
        self.walk.futures_next = match keys.last() {
            Some(&KeyIx(last)) if keys.len() == looked_at => KeyIx(last.saturating_add(1)),
            _ => KeyIx(0),
        };
        for key in keys {
            let is_due =
                self.table.future(key).is_some_and(|future| !self.is_future(&future, now.unix));
            if !is_due {
                continue;
            }
            let name = self.table.name(key).to_vec();
            if let Some(future) = self.table.take_future(key) {
                self.put(Some(key), future.with_key(&name), None, None, now);
            }
        }
    }

    /// Takes a record that is not due out of the table; its key goes with it if nothing else is stored of it.
    pub(crate) fn take_future(&mut self, key: KeyIx) -> Option<OwnedRecord> {
        let future = self.table.take_future(key)?;
        if self.table.record(key).is_none() {
            self.erase(key);
        }
        Some(future)
    }

    /// Whether a record that is not due is kept beside what the key stores.
    pub(crate) fn keeps_future(&self, key: Option<KeyIx>, record: &Record<'_>, now: Now) -> bool {
        let stored = key.and_then(|key| self.table.record(key));
        if self.faults.make(Mutant::FutureDropped) {
            return stored.is_none();
        }
        stored.is_none_or(|stored| !self.is_overtaken(record, &stored, now))
    }

    /// Whether a record that is not due is not worth keeping beside what is stored: its key was forgotten, it is the
    /// same report, issued again by a server that was set right, or it is far ahead.
    fn is_overtaken(&self, future: &Record<'_>, stored: &Record<'_>, now: Now) -> bool {
        let is_same = (stored.tombstone, stored.value) == (future.tombstone, future.value);
        stored.tombstone || is_same || self.is_far(future, now.unix)
    }

    /// A key has a record that is due: one beside it may have to go.
    pub(crate) fn drop_overtaken_future(&mut self, key: KeyIx, now: Now) {
        let (Some(future), Some(stored)) = (self.table.future(key), self.table.record(key)) else {
            return;
        };
        if self.is_overtaken(&future, &stored, now) {
            self.table.take_future(key);
        }
    }
}
