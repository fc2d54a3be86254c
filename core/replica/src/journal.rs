//! What must be written down for a replica to outlive its process, and how it is made from that again.
//!
//! A journal is like a neighbour that only listens: a position in each stream's log of arrivals, so that
//! a slow disk costs no queue and a key written often is written down once, as it is then. The driver
//! takes records with [`poll_journal`](Replica::poll_journal), makes them last as long as it promises,
//! and says so with [`handle_journaled`](Replica::handle_journaled); a client whose reply is to wait for
//! that waits until [`journaled`](Replica::journaled) has reached what [`own_version`](Replica::own_version) was.
//! Reports spread without waiting for it. But what this node says of itself as a member counts only what it
//! would know after a crash ([`handle_lasting`](Replica::handle_lasting)): on that word others drop tombstones,
//! and what the disk still shows without them would come back.
//!
//! Left out on purpose: files, and the form of records in them.

use crate::log::Arrival;
use crate::mutants::Mutant;
use crate::origin::{Origin, OriginIx};
use crate::output::Output;
use crate::replica::Replica;
use crate::settings::{Record, Settings};
use crate::store::{EntryIx, KeyIx};
use herd_proto::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing to be written down. Later ones count against earlier ones, so a journal may be cut anywhere:
/// what is left is what some moment's replica was certain of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journaled<'a> {
    /// From now on `number` means this origin.
    Origin {
        /// Counted from zero: the replica's own comes first.
        number: u16,
        /// Who.
        origin: &'a Origin,
    },
    /// What an origin last wrote under a key.
    Entry {
        /// Which origin.
        origin: u16,
        /// Its number in the origin's stream.
        sequence: u64,
        /// Key, time and value.
        record: Record<'a>,
    },
    /// The stream is held up to here; counts from the next [`Settled`](Self::Settled) on.
    Version {
        /// Whose.
        origin: u16,
        /// Its version.
        version: u64,
    },
    /// All else that was known when the versions before this were told was told before. Without it they
    /// do not count, since each may rest on what another stream brought, and on that stream's floor.
    Settled,
    /// See [`StreamState::floor`](crate::StreamState::floor); counts up to the stream's version.
    Floor {
        /// Of which stream.
        origin: u16,
        /// The number.
        sequence: u64,
    },
    /// Of that stream tombstones up to here were dropped by somebody.
    Grave {
        /// Which stream.
        origin: u16,
        /// The greatest number of a tombstone that was dropped.
        sequence: u64,
    },
    /// A key is gone, and its tombstone too.
    Gone {
        /// Which.
        key: &'a [u8],
    },
    /// What an origin wrote under a key is gone, though others' is not. Not told of what is merely
    /// superseded: that loses again. But a tombstone that made it lose may be gone by now.
    Dropped {
        /// Which origin.
        origin: u16,
        /// Which key.
        key: &'a [u8],
    },
}

/// One of the journals that a replica keeps: each begins with all that is known then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalId(u64);

/// What a journal was told when it was last polled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Own updates up to here.
    pub own: u64,
    /// And all else that is known.
    pub is_all: bool,
    /// How far each stream is held by what was told, in the order of origins.
    held: Arc<[u64]>,
    /// Of which life that is: numbers begin anew with the next, and who writes may be slow.
    incarnation: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Journals {
    kept: BTreeMap<JournalId, Journal>,
    /// How many were opened.
    opened: u64,
    /// This replica's own stream is safe up to here.
    safe: u64,
    /// How far each stream would be held after a crash; none if nothing is written down at all.
    lasting: Option<Vec<u64>>,
}

impl Journals {
    pub(crate) fn are_none(&self) -> bool {
        self.kept.is_empty()
    }

    /// How far a stream would be held after a crash; none if nothing is written down at all.
    pub(crate) fn lasting(&self, origin: OriginIx) -> Option<u64> {
        let lasting = self.lasting.as_ref()?;
        Some(lasting.get(origin.at()).copied().unwrap_or_default())
    }

    fn open(&mut self, journal: Journal) -> JournalId {
        let id = JournalId(self.opened);
        self.opened += 1;
        self.kept.insert(id, journal);
        id
    }
}

#[derive(Debug, Default)]
struct Journal {
    /// How many origins were introduced.
    introduced: u16,
    /// How far each stream was told, in the order of origins.
    tails: Vec<Tail>,
    /// Keys that are gone, or have lost what was newest or a tombstone, and of which that is not told yet.
    gone: BTreeSet<Box<[u8]>>,
    /// Nothing was left when it was last polled.
    waiting: bool,
    /// Versions were told that do not count yet.
    unsettled: bool,
    /// The versions that count.
    held: Arc<[u64]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    cursor: Arrival,
    version: u64,
    floor: u64,
    grave: u64,
}

impl Replica {
    /// From now on one more journal is kept. It begins with all that is known; poll it at once. Once nothing
    /// is left of it, it can take the place of an older one that has grown long.
    pub fn open_journal(&mut self) -> JournalId {
        self.expect_journal();
        self.journals.open(Journal::default())
    }

    /// A journal is to be opened, of a replica of which something is on the disk already: until then this node
    /// says of itself as a member that it holds nothing.
    pub fn expect_journal(&mut self) {
        self.journals.lasting.get_or_insert_default();
    }

    /// Whether a journal was opened, or is to be.
    pub fn expects_journal(&self) -> bool {
        self.journals.lasting.is_some()
    }

    /// That journal is kept no more.
    pub fn close_journal(&mut self, id: JournalId) {
        self.journals.kept.remove(&id);
    }

    /// The number of the last update that this replica took from a client.
    pub fn own_version(&self) -> u64 {
        self.streams.first().map_or(0, |stream| stream.version)
    }

    /// Own updates up to here are safe.
    pub fn journaled(&self) -> u64 {
        self.journals.safe
    }

    /// Hands records to `take` until that returns false, since it has no room for more, or nothing is
    /// left; [`Output::Journal`] then tells when to ask again. None if there is no such journal.
    pub fn poll_journal(
        &mut self,
        id: JournalId,
        mut take: impl FnMut(&Journaled<'_>) -> bool,
    ) -> Option<Told> {
        let mut journal = self.journals.kept.remove(&id)?;
        let early = self.settings.is(Mutant::VersionsJournaledEarly);
        let is_all = self.journal_gone(&mut journal, &mut take)
            && (!early || self.journal_versions(&mut journal, &mut take))
            && self.journal_entries(&mut journal, &mut take)
            && self.journal_versions(&mut journal, &mut take);
        journal.waiting = is_all;
        let held = journal.held.clone();
        self.journals.kept.insert(id, journal);
        let own = held.first().copied().unwrap_or_default();
        Some(Told { own, is_all, held, incarnation: self.settings.origin.incarnation })
    }

    /// Own updates are safe that a journal was told, all of which that had been handed out by then is safe, and
    /// which would be read after a crash.
    pub fn handle_journaled(&mut self, told: &Told) {
        let own = told.own;
        if own > self.journals.safe && self.is_of_this_life(told) {
            self.journals.safe = own;
            self.outputs.push_back(Output::Journaled(own));
        }
    }

    fn is_of_this_life(&self, told: &Told) -> bool {
        told.incarnation == self.settings.origin.incarnation
    }

    /// What a journal was told outlasts whatever is provided against, as [`handle_journaled`](Self::handle_journaled)
    /// says it of own updates. Where replies do not wait for all of that, this comes later.
    pub fn handle_lasting(&mut self, told: &Told) {
        if !self.is_of_this_life(told) {
            return;
        }
        let lasting = self.journals.lasting.get_or_insert_default();
        lasting.resize(lasting.len().max(told.held.len()), 0);
        for (known, &version) in lasting.iter_mut().zip(told.held.iter()) {
            *known = version.max(*known);
        }
    }

    /// Who origins are, before anything that names them. Graves and floors, before what is gone because of them, or a
    /// journal that is cut between the two would neither have it nor tell; and before the versions that go beyond
    /// them. What is gone, before anything that came later under the same keys. False if there was no room.
    fn journal_gone(
        &self,
        journal: &mut Journal,
        take: &mut impl FnMut(&Journaled<'_>) -> bool,
    ) -> bool {
        while let Some(origin) = self.store.origin(OriginIx(journal.introduced)) {
            let number = journal.introduced;
            journal.introduced += 1;
            if journal.tails.len() <= usize::from(number) {
                journal.tails.push(Tail::default());
            }
            if !take(&Journaled::Origin { number, origin }) {
                return false;
            }
        }
        for ((number, stream), tail) in (0_u16..).zip(&self.streams).zip(&mut journal.tails) {
            if tail.grave < stream.grave {
                tail.grave = stream.grave;
                if !take(&Journaled::Grave { origin: number, sequence: tail.grave }) {
                    return false;
                }
            }
            if tail.floor < stream.floor {
                tail.floor = stream.floor;
                if !take(&Journaled::Floor { origin: number, sequence: tail.floor }) {
                    return false;
                }
            }
        }
        while let Some(key) = journal.gone.pop_first() {
            if !self.journal_key(&key, &journal.tails, take) {
                return false;
            }
        }
        true
    }

    /// What has become of a key that is gone, or has lost what was newest or a tombstone. False if there was no
    /// room.
    fn journal_key(
        &self,
        key: &[u8],
        tails: &[Tail],
        take: &mut impl FnMut(&Journaled<'_>) -> bool,
    ) -> bool {
        let Some(known) = self.store.find(key) else {
            return self.settings.is(Mutant::GoneNotJournaled) || take(&Journaled::Gone { key });
        };
        let mut room = true;
        let entry_of = |origin| {
            let at = self.store.entry_of(known, OriginIx(origin));
            at.and_then(|at| self.store.entry(at))
        };
        // One that is there but was not told may have taken the place of one that was. To say that that one
        // is gone would lose a safe report, if nothing of this came behind it; so it is told here already.
        room &= self.journal_hider(known, None, tails, take);
        for (origin, tail) in (0_u16..).zip(tails) {
            if let Some(entry) = entry_of(origin).filter(|entry| entry.arrival > tail.cursor) {
                if self.settings.is(Mutant::OvertakenDropped) {
                    room &= take(&Journaled::Dropped { origin, key });
                    continue;
                }
                let (sequence, record) = (entry.sequence, self.store.record(entry));
                room &= take(&Journaled::Entry { origin, sequence, record });
            }
        }
        for (origin, _) in (0_u16..).zip(tails) {
            if entry_of(origin).is_none() && !self.settings.is(Mutant::DroppedNotJournaled) {
                room &= take(&Journaled::Dropped { origin, key });
            }
        }
        room
    }

    /// What a key shows is told before anything that loses to it, in whatever stream it stands: else a journal
    /// that is cut between the two would show what was forgotten. False if there was no room.
    fn journal_hider(
        &self,
        key: KeyIx,
        loser: Option<EntryIx>,
        tails: &[Tail],
        take: &mut impl FnMut(&Journaled<'_>) -> bool,
    ) -> bool {
        let Some((at, winner)) = self.store.winner(key) else { return true };
        let origin = winner.origin;
        let is_told = tails.get(origin.at()).is_none_or(|tail| winner.arrival <= tail.cursor);
        if is_told || loser == Some(at) {
            return true;
        }
        let (sequence, record) = (winner.sequence, self.store.record(winner));
        take(&Journaled::Entry { origin: origin.0, sequence, record })
    }

    /// False if there was no room.
    fn journal_entries(
        &self,
        journal: &mut Journal,
        take: &mut impl FnMut(&Journaled<'_>) -> bool,
    ) -> bool {
        for (number, stream) in (0_u16..).zip(&self.streams) {
            let Some(tail) = journal.tails.get(usize::from(number)) else { return true };
            for (arrival, at) in stream.log.all_after(tail.cursor, &self.store) {
                let mut room = true;
                if let Some(entry) = self.store.entry(at) {
                    room &= self.journal_hider(entry.key(), Some(at), &journal.tails, take);
                    let (sequence, record) = (entry.sequence, self.store.record(entry));
                    room &= take(&Journaled::Entry { origin: number, sequence, record });
                }
                if let Some(tail) = journal.tails.get_mut(usize::from(number)) {
                    tail.cursor = arrival;
                }
                if !room {
                    return false;
                }
            }
            if let Some(tail) = journal.tails.get_mut(usize::from(number)) {
                tail.cursor = stream.log.last();
            }
        }
        true
    }

    /// Only once the entries of all streams were told: what one stream lacks may be superseded by an entry
    /// of another. False if there was no room.
    fn journal_versions(
        &self,
        journal: &mut Journal,
        take: &mut impl FnMut(&Journaled<'_>) -> bool,
    ) -> bool {
        for ((origin, stream), tail) in (0_u16..).zip(&self.streams).zip(&mut journal.tails) {
            if tail.version < stream.version {
                tail.version = stream.version;
                journal.unsettled = true;
                if !take(&Journaled::Version { origin, version: tail.version }) {
                    return false;
                }
            }
        }
        if !std::mem::take(&mut journal.unsettled) {
            return true;
        }
        journal.held = journal.tails.iter().map(|tail| tail.version).collect();
        take(&Journaled::Settled)
    }

    /// There is something to write down.
    pub(crate) fn wake_journal(&mut self) {
        for journal in self.journals.kept.values_mut() {
            if std::mem::take(&mut journal.waiting) {
                self.outputs.push_back(Output::Journal);
            }
        }
    }

    /// A key's newest entry is about to go, or a tombstone to be overwritten: what it made lose must not come
    /// back, nor it itself.
    pub(crate) fn note_gone(&mut self, key: KeyIx) {
        for journal in self.journals.kept.values_mut() {
            journal.gone.insert(self.store.key_bytes(key).into());
        }
        self.wake_journal();
    }
}

/// Makes a replica out of what was written down.
#[derive(Debug)]
pub struct Restore {
    replica: Replica,
    numbers: BTreeMap<u16, OriginIx>,
    floors: BTreeMap<OriginIx, u64>,
    /// What was told and does not count yet.
    versions: BTreeMap<OriginIx, u64>,
    now: Now,
}

/// Why a journal is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It names an origin that it has not introduced.
    #[error("origin {0} was not introduced")]
    UnknownOrigin(u16),
    /// There are more origins, or more keys, than can be told apart.
    #[error("too much is known")]
    Full,
}

impl Restore {
    /// Begins. With the incarnation under which the journal was written the stream is gone on with:
    /// right only if nothing that was told to anybody can be missing in it. With a new one the old stream is
    /// that of another origin.
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            replica: Replica::new(settings, now),
            numbers: BTreeMap::new(),
            floors: BTreeMap::new(),
            versions: BTreeMap::new(),
            now,
        }
    }

    /// Takes the next record.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if this is no journal of a replica.
    pub fn take(&mut self, journaled: &Journaled<'_>) -> Result<(), RestoreError> {
        match *journaled {
            Journaled::Origin { number, origin } => {
                if number == 0 {
                    // Another life begins, of which the last one's versions do not count.
                    self.versions.clear();
                }
                let at = self.replica.know(&origin.server, origin.incarnation, self.now);
                self.numbers.insert(number, at.ok_or(RestoreError::Full)?);
            }
            Journaled::Entry { origin, sequence, record } => {
                let at = self.known(origin)?;
                let key = self.replica.store.find(record.key);
                if !self.replica.put(key, record, at, sequence, None, self.now) {
                    return Err(RestoreError::Full);
                }
                // Its own stream a replica holds whole, told to hold it or not.
                if at == OriginIx::ME {
                    self.raise(at, sequence);
                }
            }
            Journaled::Version { origin, version } => {
                let at = self.known(origin)?;
                // Its own numbers may never be given twice, whatever else is missing.
                if at == OriginIx::ME {
                    self.raise(at, version);
                }
                self.versions.insert(at, version);
            }
            Journaled::Settled => {
                for (at, version) in std::mem::take(&mut self.versions) {
                    self.raise(at, version);
                }
            }
            Journaled::Floor { origin, sequence } => {
                let at = self.known(origin)?;
                let floor = self.floors.entry(at).or_default();
                *floor = (*floor).max(sequence);
            }
            Journaled::Grave { origin, sequence } => {
                let at = self.known(origin)?;
                self.replica.raise_grave(at, sequence);
            }
            Journaled::Dropped { origin, key } => {
                let at = self.known(origin)?;
                let store = &self.replica.store;
                if let Some(entry) = store.find(key).and_then(|key| store.entry_of(key, at)) {
                    self.replica.remove(entry);
                }
            }
            Journaled::Gone { key } => {
                if let Some(key) = self.replica.store.find(key) {
                    let entries: Vec<_> = self.replica.store.entries_of(key).collect();
                    for entry in entries {
                        self.replica.remove(entry);
                    }
                }
            }
        }
        Ok(())
    }

    /// What was written down, as a replica.
    pub fn finish(mut self) -> Replica {
        for (at, floor) in self.floors {
            if let Some(stream) = self.replica.streams.get_mut(at.at()) {
                stream.floor = floor.min(stream.version);
            }
        }
        // Links look for floors to tell only where one was raised.
        if !self.replica.settings.is(Mutant::RestoredFloorsUntold) {
            self.replica.floors_raised += 1;
        }
        self.replica
    }

    /// The same, and a journal that goes on behind what was read.
    pub fn finish_journaled(self) -> (Replica, JournalId) {
        let mut replica = self.finish();
        let tail = |stream: &crate::origin::Stream| Tail {
            cursor: stream.log.last(),
            version: stream.version,
            floor: stream.floor,
            grave: stream.grave,
        };
        let tails: Vec<_> = replica.streams.iter().map(tail).collect();
        let held: Arc<[u64]> = tails.iter().map(|tail| tail.version).collect();
        replica.journals.lasting = Some(held.to_vec());
        let id = replica.journals.open(Journal { tails, held, ..Journal::default() });
        replica.journals.safe = replica.own_version();
        (replica, id)
    }

    fn known(&self, number: u16) -> Result<OriginIx, RestoreError> {
        self.numbers.get(&number).copied().ok_or(RestoreError::UnknownOrigin(number))
    }

    fn raise(&mut self, at: OriginIx, version: u64) {
        if let Some(stream) = self.replica.streams.get_mut(at.at()) {
            stream.version = stream.version.max(version);
            stream.seen = stream.seen.max(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Applied, LinkId};
    use crate::tests::{LINK, exchange_at, linked, record, replica, settings, talk_at, talk_on};
    use herd_proto::{Instant, UnixTime};
    use proptest::prelude::*;

    fn now(s: i64) -> Now {
        let ns = s * 1_000_000_000;
        Now { instant: Instant::from_nanos(ns.cast_unsigned()), unix: UnixTime::from_nanos(ns) }
    }

    /// One record as a file would hold it.
    #[derive(Clone, Debug)]
    enum Line {
        Origin(u16, Origin),
        Entry(u16, u64, Vec<u8>, i64, bool, Vec<u8>),
        Version(u16, u64),
        Settled,
        Floor(u16, u64),
        Gone(Vec<u8>),
        Grave(u16, u64),
        Dropped(u16, Vec<u8>),
    }

    impl Line {
        fn of(journaled: &Journaled<'_>) -> Self {
            match *journaled {
                Journaled::Origin { number, origin } => Self::Origin(number, origin.clone()),
                Journaled::Entry { origin, sequence, record } => {
                    let Record { key, effective_ns, tombstone, value } = record;
                    Self::Entry(origin, sequence, key.into(), effective_ns, tombstone, value.into())
                }
                Journaled::Version { origin, version } => Self::Version(origin, version),
                Journaled::Settled => Self::Settled,
                Journaled::Floor { origin, sequence } => Self::Floor(origin, sequence),
                Journaled::Gone { key } => Self::Gone(key.to_vec()),
                Journaled::Grave { origin, sequence } => Self::Grave(origin, sequence),
                Journaled::Dropped { origin, key } => Self::Dropped(origin, key.to_vec()),
            }
        }

        fn read(&self) -> Journaled<'_> {
            match *self {
                Self::Origin(number, ref origin) => Journaled::Origin { number, origin },
                Self::Entry(origin, sequence, ref key, effective_ns, tombstone, ref value) => {
                    let record = Record { key, effective_ns, tombstone, value };
                    Journaled::Entry { origin, sequence, record }
                }
                Self::Version(origin, version) => Journaled::Version { origin, version },
                Self::Settled => Journaled::Settled,
                Self::Floor(origin, sequence) => Journaled::Floor { origin, sequence },
                Self::Gone(ref key) => Journaled::Gone { key },
                Self::Grave(origin, sequence) => Journaled::Grave { origin, sequence },
                Self::Dropped(origin, ref key) => Journaled::Dropped { origin, key },
            }
        }
    }

    fn poll(replica: &mut Replica, id: JournalId, room: usize, lines: &mut Vec<Line>) -> Told {
        let mut left = room;
        let told = replica.poll_journal(id, |journaled| {
            lines.push(Line::of(journaled));
            left = left.saturating_sub(1);
            left > 0
        });
        told.unwrap()
    }

    fn restored(lines: &[Line], incarnation: u64) -> Replica {
        let mut settings = settings("b");
        settings.origin.incarnation = incarnation;
        let mut restore = Restore::new(settings, now(50));
        for line in lines {
            restore.take(&line.read()).unwrap();
        }
        restore.finish()
    }

    fn shown(replica: &Replica) -> BTreeMap<Vec<u8>, (i64, bool, Vec<u8>)> {
        let whole =
            |r: Record<'_>| (r.key.to_vec(), (r.effective_ns, r.tombstone, r.value.to_vec()));
        replica.records().map(whole).collect()
    }

    #[test]
    fn a_reply_may_go_out_once_its_record_is_safe() {
        let mut replica = replica("b");
        let id = replica.open_journal();
        let mut lines = Vec::new();
        let told = poll(&mut replica, id, 99, &mut lines);
        assert_eq!((told.own, told.is_all), (0, true));
        assert_eq!(replica.update(record(b"k", 1, b"x"), now(1)), Applied::Newer);
        assert!(std::iter::from_fn(|| replica.poll_output()).any(|o| o == Output::Journal));
        assert_eq!((replica.own_version(), replica.journaled()), (1, 0));
        let told = poll(&mut replica, id, 99, &mut lines);
        assert_eq!(replica.journaled(), 0);
        replica.update(record(b"k", 2, b"y"), now(2));
        replica.handle_journaled(&told);
        assert_eq!((replica.own_version(), replica.journaled()), (2, 1));
        assert_eq!(restored(&lines, 1).get(b"k"), Some(record(b"k", 1, b"x")));
    }

    #[test]
    fn what_an_earlier_life_wrote_down_is_nothing_to_the_next() {
        let mut replica = replica("b");
        let id = replica.open_journal();
        replica.update(record(b"k", 1, b"x"), now(1));
        let told = poll(&mut replica, id, 99, &mut Vec::new());
        let mut settings = settings("b");
        settings.origin.incarnation = 2;
        let mut next = Replica::new(settings, now(2));
        next.expect_journal();
        next.update(record(b"k", 1, b"x"), now(2));
        next.handle_journaled(&told);
        next.handle_lasting(&told);
        assert_eq!((next.journaled(), next.journals.lasting(OriginIx::ME)), (0, Some(0)));
        replica.handle_journaled(&told);
        replica.handle_lasting(&told);
        assert_eq!((replica.journaled(), replica.journals.lasting(OriginIx::ME)), (1, Some(1)));
    }

    /// A replica that has written down that another's report superseded its own.
    fn superseded() -> (Replica, JournalId, Vec<Line>) {
        let (mut a, mut b) = linked();
        let (id, mut lines) = (b.open_journal(), Vec::new());
        b.update(record(b"k", 1, b"x"), now(20));
        a.update(record(b"k", 2, b"y"), now(20));
        talk_at(&mut a, &mut b, now(20));
        poll(&mut b, id, 99, &mut lines);
        (b, id, lines)
    }

    /// As a snapshot does that shows it to be superfluous.
    fn discard_newest(replica: &mut Replica) {
        let key = replica.store.find(b"k").unwrap();
        let (newest, _) = replica.store.winner(key).unwrap();
        replica.remove(newest);
    }

    #[test]
    fn versions_come_behind_the_entries_of_all_streams() {
        let (_, _, lines) = superseded();
        let first_version = lines.iter().position(|line| matches!(line, Line::Version(..)));
        let last_entry = lines.iter().rposition(|line| matches!(line, Line::Entry(..)));
        assert!(first_version > last_entry, "{lines:?}");
    }

    #[test]
    fn what_a_tombstone_hides_is_told_behind_it() {
        let mut b = replica("b");
        let (id, mut lines) = (b.open_journal(), Vec::new());
        let early = b.know("early", 1, now(1)).unwrap();
        let late = b.know("late", 1, now(1)).unwrap();
        assert!(b.put(None, record(b"k", 1, b"x"), early, 1, None, now(2)));
        let key = b.store.find(b"k");
        assert!(b.put(
            key,
            Record { tombstone: true, ..record(b"k", 2, b"") },
            late,
            1,
            None,
            now(2)
        ));
        while !poll(&mut b, id, 1, &mut lines).is_all {
            let shown = restored(&lines, 2).get(b"k").map(|known| known.tombstone);
            assert_ne!(shown, Some(false), "{lines:?}");
        }
        assert_eq!(shown(&restored(&lines, 2)), shown(&b));
    }

    #[test]
    fn versions_count_together_or_not_at_all() {
        let (_, _, lines) = superseded();
        let held = |lines: &[Line]| {
            let replica = restored(lines, 2);
            replica.streams().skip(1).filter(|stream| stream.version > 0).count()
        };
        assert_eq!(held(&lines), 2);
        for cut in 0..lines.len() {
            assert_eq!(held(&lines[..cut]), 0, "{:?}", &lines[..cut]);
        }
    }

    #[test]
    fn a_safe_tombstone_outlives_a_report_in_its_place_that_is_not_yet_safe() {
        let mut b = replica("b");
        let (id, mut lines) = (b.open_journal(), Vec::new());
        b.update(record(b"k", 1, b"x"), now(20));
        b.forget(b"k", now(21));
        poll(&mut b, id, 99, &mut lines);
        b.update(record(b"k", 30, b"y"), now(30));
        while !poll(&mut b, id, 1, &mut lines).is_all {
            assert!(restored(&lines, 2).get(b"k").is_some(), "{lines:?}");
        }
        assert_eq!(shown(&restored(&lines, 2)), shown(&b));
    }

    #[test]
    fn that_a_tombstone_was_dropped_is_told_before_it_is_gone() {
        let mut b = replica("b");
        let (id, mut lines) = (b.open_journal(), Vec::new());
        b.update(record(b"k", 1, b"x"), now(20));
        b.forget(b"k", now(21));
        poll(&mut b, id, 99, &mut lines);
        let key = b.store.find(b"k").unwrap();
        let (tombstone, _) = b.store.winner(key).unwrap();
        b.raise_grave(OriginIx::ME, 2);
        b.streams[0].floor = 2;
        b.remove(tombstone);
        while !poll(&mut b, id, 1, &mut lines).is_all {
            let restored = restored(&lines, 2);
            let old = restored.streams.iter().find(|stream| stream.version == 2).unwrap();
            let is_gone = restored.get(b"k").is_none();
            assert!(!is_gone || (old.grave, old.floor) == (2, 2), "{lines:?}");
        }
        assert!(restored(&lines, 2).get(b"k").is_none());
    }

    #[test]
    fn what_was_newest_and_is_discarded_is_gone_from_the_journal_too() {
        let (mut b, id, mut lines) = superseded();
        discard_newest(&mut b);
        assert_eq!(b.get(b"k"), Some(record(b"k", 1, b"x")));
        poll(&mut b, id, 99, &mut lines);
        assert_eq!(shown(&restored(&lines, 2)), shown(&b));
    }

    #[test]
    fn a_journal_that_is_gone_on_with_names_origins_before_it_says_what_of_them_is_gone() {
        let (_, _, lines) = superseded();
        let mut settings = settings("b");
        settings.origin.incarnation = 2;
        let mut restore = Restore::new(settings, now(50));
        for line in &lines {
            restore.take(&line.read()).unwrap();
        }
        let (mut b, id) = restore.finish_journaled();
        discard_newest(&mut b);
        let mut more = Vec::new();
        poll(&mut b, id, 99, &mut more);
        let first = more.iter().position(|line| matches!(line, Line::Dropped(..))).unwrap();
        let origins = more.iter().take(first).filter(|line| matches!(line, Line::Origin(..)));
        assert_eq!(origins.count(), 3);
    }

    #[test]
    fn neighbours_are_told_floors_that_were_written_down() {
        let a = Origin { server: "a".into(), incarnation: 7 };
        let b = Origin { server: "b".into(), incarnation: 1 };
        let version = Line::Version(1, 5);
        let lines =
            [Line::Origin(0, b), Line::Origin(1, a), version, Line::Settled, Line::Floor(1, 3)];
        let mut b = restored(&lines, 2);
        let mut c = replica("c");
        b.open_link(LINK, now(50));
        c.open_link(LINK, now(50));
        exchange_at(&mut b, &mut c, now(50));
        let floors = c.links.get(&LINK).map(|link| link.floors_heard.iter().count());
        assert_eq!(floors, Some(1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write {
            here: bool,
            key: u8,
            at: i64,
        },
        Forget {
            here: bool,
            key: u8,
        },
        Exchange,
        Pass,
        Poll(usize),
        /// A journal begins that takes the place of the one there is as soon as it tells all.
        Anew,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<bool>(), 0_u8..5, 0_i64..40)
                .prop_map(|(here, key, at)| Step::Write { here, key, at }),
            1 => (any::<bool>(), 0_u8..5).prop_map(|(here, key)| Step::Forget { here, key }),
            3 => Just(Step::Exchange),
            2 => Just(Step::Pass),
            3 => (1_usize..9).prop_map(Step::Poll),
            1 => Just(Step::Anew),
        ]
    }

    proptest! {
        /// Two replicas; what the second writes down makes it anew, and a journal cut anywhere makes one
        /// that holds each stream as far as it says.
        #[test]
        fn what_is_written_down_is_what_was(steps in prop::collection::vec(step(), 0..80),
            cut in any::<prop::sample::Index>()) {
            let (mut a, mut b) = linked();
            let mut id = b.open_journal();
            let mut lines = Vec::new();
            let mut next: Option<(JournalId, Vec<Line>)> = None;
            let forgets = steps.iter().any(|step| matches!(step, Step::Forget { .. }));
            let mut s = 20;
            for step in steps {
                match step {
                    Step::Write { here, key, at } => {
                        let replica = if here { &mut b } else { &mut a };
                        replica.update(record(&[key], at, b"value"), now(s));
                    }
                    Step::Forget { here, key } => {
                        let replica = if here { &mut b } else { &mut a };
                        replica.forget(&[key], now(s));
                    }
                    Step::Exchange => {
                        exchange_at(&mut a, &mut b, now(s));
                    }
                    Step::Pass => {
                        s += 30;
                        a.handle_timeout(now(s));
                        b.handle_timeout(now(s));
                        talk_at(&mut a, &mut b, now(s));
                    }
                    Step::Poll(room) => {
                        poll(&mut b, id, room, &mut lines);
                        if let Some((next_id, mut next_lines)) = next.take() {
                            if poll(&mut b, next_id, room, &mut next_lines).is_all {
                                b.close_journal(id);
                                (id, lines) = (next_id, next_lines);
                            } else {
                                next = Some((next_id, next_lines));
                            }
                        }
                    }
                    Step::Anew => {
                        if let Some((given_up, _)) = next.replace((b.open_journal(), Vec::new())) {
                            b.close_journal(given_up);
                        }
                    }
                }
            }
            let cut = cut.index(lines.len() + 1);
            // Some that it told others may be missing.
            let part = restored(&lines[..cut], 2);
            poll(&mut b, id, usize::MAX, &mut lines);
            let whole = restored(&lines, 1);
            prop_assert_eq!(shown(&whole), shown(&b));
            prop_assert_eq!(whole.store.sums.root(), b.store.sums.root());
            let held = |replica: &Replica| {
                let streams = replica.streams();
                streams.map(|s| (s.origin.clone(), s.version, s.floor)).collect::<Vec<_>>()
            };
            prop_assert_eq!(held(&whole), held(&b));
            for stream in part.streams().skip(1) {
                prop_assert!(stream.floor <= stream.version);
                let later = whole.streams().find(|other| other.origin == stream.origin).unwrap();
                prop_assert!(stream.version <= later.version);
            }
            // Linked again, the one that lost its tail catches up.
            let mut again = part;
            a.close_link(LINK, now(s));
            let link = LinkId(2);
            a.open_link(link, now(s));
            again.open_link(link, now(s));
            for _ in 0..40 {
                s += 1;
                a.handle_timeout(now(s));
                again.handle_timeout(now(s));
                talk_on(link, &mut a, &mut again, now(s));
            }
            // Where a key is forgotten, what is older than that may be shown here and not there.
            if !forgets {
                for (key, known) in shown(&a) {
                    prop_assert!(shown(&again).get(&key).is_some_and(|k| *k >= known), "{key:?}");
                }
            }
        }
    }
}
