//! A data directory that one process uses: a journal that is appended to, and the identity of its server.
//!
//! ```text
//! identity                whose directory it is
//! journal-7               the journal: the generation with the greatest number
//! journal-8.part          the next generation, being written
//! damaged-6-1763000000    a damaged generation that was set aside, and when
//! ```
//!
//! A generation is complete when it loses its `.part`, once all of it is synced; only then is the one before
//! it removed. So at any moment one complete generation holds everything that was synced.

use crate::compaction::Limits;
use crate::disk::Disk;
use crate::identity::{self, Block, Copies, Identity};
use crate::mutants::Mutant;
use crate::names::{self, Name};
use crate::record::Batch;
use crate::survey::{Finding, Journal, OpenError, Survey, read_copies, survey};
use herd_proto::{Record, UnixTime};
use std::io;
use std::time::Duration;

/// An incarnation, which is a time in nanoseconds since 1970, is believed if it is at most so far ahead of the
/// clock. Peers have the same limit.
const INCARNATION_AHEAD_MAX_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// A start whose clock is behind the last incarnation adds a random number below 2^24 ns, 17 ms: less than the time
/// between two starts, so that incarnations do not run away from the clock.
const APART_SHIFT: u32 = 40;

/// A directory that one process uses.
#[derive(Debug)]
pub struct Storage<D> {
    disk: D,
    copies: Copies,
    /// What `identity` says by now.
    current: Option<Identity>,
    /// A random number, another one at each start.
    seed: u64,
    /// Seeds the checksums of the generations that are begun.
    key: u64,
    /// The one appended to; none before the first is complete, or if the last is damaged.
    live: Option<Generation>,
    next: Option<Generation>,
    /// The greatest number in any file's name.
    greatest: u64,
    /// Generations that are to be set aside rather than removed.
    damaged: Vec<u64>,
    mutant: Option<Mutant>,
}

#[derive(Clone, Debug)]
struct Generation {
    name: String,
    number: u64,
    key: u64,
    begun: UnixTime,
    end: u64,
    synced: u64,
    /// Behind the end there may be part of a failed write.
    is_ragged: bool,
    /// It is unknown what of it is on the disk.
    is_doubtful: bool,
}

/// Selects one of two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The current one.
    Live,
    /// The one that is to replace it.
    Next,
}

/// A part of a file that is being synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file's name now.
    pub name: String,
    number: u64,
    end: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// There is no such generation, or it is unknown what of it is on the disk: a new one must be begun.
    #[error("there is no intact journal to write to")]
    NoFile,
    /// No incarnation was started in this directory yet.
    #[error("the directory belongs to no server yet")]
    NoIdentity,
}

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// All journals, the latest generation first. There is one, but for the moments around a compaction.
    pub journals: Vec<Journal>,
    /// Everything that is not as it was written. A torn end is not among it: a kill leaves such files.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// Number of intact records.
    pub fn records(&self) -> u64 {
        self.journals.iter().map(|journal| journal.records).sum()
    }

    /// Bytes of all journals up to their last intact records.
    pub fn bytes(&self) -> u64 {
        self.journals.iter().map(|journal| journal.end).sum()
    }
}

impl<D: Disk> Storage<D> {
    /// Opens a directory and reads whose it is. `seed` is a random number, another one each time.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(mut disk: D, seed: u64) -> Result<Self, OpenError> {
        let names = disk.names()?;
        let copies = read_copies(&mut disk, &names)?;
        let numbers = names.iter().filter_map(|name| Name::parse(name)?.number());
        let greatest = numbers.max().unwrap_or(0);
        let key = copies.main().map_or(seed, |block| block.key);
        Ok(Self {
            disk,
            current: copies.identity(),
            copies,
            seed,
            key,
            live: None,
            next: None,
            greatest,
            damaged: Vec::new(),
            mutant: None,
        })
    }

    /// Injects a fault from now on.
    #[cfg(any(test, feature = "mutants"))]
    pub fn set_mutant(&mut self, mutant: Option<Mutant>) {
        self.mutant = mutant;
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whose directory it is, and the last incarnation; none if it is new, or every copy is damaged.
    pub fn identity(&self) -> Option<&Identity> {
        self.current.as_ref()
    }

    /// A file that belongs to another server than this one, if there is any, and whose it is.
    pub fn stranger(&self, herd: &str, server: &str) -> Option<(&str, &Identity)> {
        self.copies.stranger(herd, server)
    }

    /// The incarnation of the next start, which the clock proposes: greater than the last one even if the clock
    /// was set back. But one that is more than a day ahead of the clock was made by a clock that was wrong, and
    /// no peer accepts it or what follows it.
    pub fn next_incarnation(&self, clock: u64) -> u64 {
        let last = self.current.as_ref().map_or(0, |last| last.incarnation);
        let is_wrong = last > clock.saturating_add(INCARNATION_AHEAD_MAX_NS);
        if is_wrong || self.is(Mutant::IncarnationFromClock) {
            return clock;
        }
        if clock > last {
            return clock;
        }
        // Not the very next number: another start from a copy of this directory would take it too.
        last.saturating_add(1 + (self.seed >> APART_SHIFT))
    }

    /// Reads everything and hands over each intact record, in any order, some more than once; the greatest of
    /// a key counts. If only an end is torn, the journal is continued; else [`is_sound`](Self::is_sound) is
    /// false and a generation must be begun before anything can be written.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn load(&mut self, take: impl FnMut(Record<'_>)) -> Result<Loaded, OpenError> {
        let names = self.disk.names()?;
        let survey = survey(&mut self.disk, &names, &self.copies, self.mutant, take)?;
        let Survey { journals, findings } = survey;
        self.live = None;
        self.damaged.clear();
        let mut is_superseded = false;
        for (at, surveyed) in journals.iter().enumerate() {
            // The content of a damaged file is elsewhere if a sound generation has replaced it.
            if !surveyed.is_sound && !is_superseded {
                self.damaged.push(surveyed.number);
            }
            is_superseded |= surveyed.is_sound;
            if let (0, true, Some(key)) = (at, surveyed.is_sound, surveyed.key) {
                self.go_on_with(surveyed.number, &surveyed.journal, key)?;
            }
        }
        let journals = journals.into_iter().map(|surveyed| surveyed.journal).collect();
        Ok(Loaded { journals, findings })
    }

    fn go_on_with(&mut self, number: u64, journal: &Journal, key: u64) -> io::Result<()> {
        let &Journal { ref file, end, torn_bytes, .. } = journal;
        if torn_bytes > 0 {
            self.disk.truncate(file, end)?;
        }
        // What was read, and the file's name, may last only until the next power cut: a process that was
        // killed may not have synced it. What is known from here on counts as synced.
        self.disk.sync(file)?;
        self.disk.sync_names()?;
        let begun = self.copies.head(file).map_or_else(UnixTime::default, |head| head.written);
        self.live = Some(Generation {
            name: file.clone(),
            number,
            key,
            begun,
            end,
            synced: end,
            is_ragged: false,
            is_doubtful: false,
        });
        Ok(())
    }

    /// Writes down whose directory it is from now on. A start calls it before it writes anything else, and
    /// again whenever the server takes another incarnation.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn start_incarnation(&mut self, identity: Identity, now: UnixTime) -> io::Result<()> {
        let block = Block { identity, key: self.key, written: now };
        identity::write(&mut self.disk, &block)?;
        self.current = Some(block.identity);
        Ok(())
    }

    /// Appends records: all of them or, if it fails, none that count.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; after [`WriteError::Disk`] the same may be tried again.
    pub fn append(&mut self, part: Part, batch: &mut Batch) -> Result<(), WriteError> {
        let file = match part {
            Part::Live => self.live.as_mut(),
            Part::Next => self.next.as_mut(),
        };
        let Some(file) = file.filter(|file| !file.is_doubtful) else {
            return Err(WriteError::NoFile);
        };
        if file.is_ragged {
            // What the failed write left beyond this one would look like damage.
            self.disk.truncate(&file.name, file.end)?;
            file.is_ragged = false;
        }
        let bytes = batch.sealed(file.key);
        file.is_ragged = true;
        self.disk.write(&file.name, file.end, bytes)?;
        file.is_ragged = false;
        file.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything that was appended durable.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; it is then unknown what is durable, and a generation must be begun.
    pub fn sync(&mut self, part: Part) -> Result<(), WriteError> {
        let Some(unsynced) = self.start_sync(part)? else { return Ok(()) };
        let outcome = self.disk.sync(&unsynced.name);
        self.end_sync(&unsynced, outcome)
    }

    /// Returns what there is to sync, if anything, for a caller that has another thread do it and goes on
    /// appending. To be followed by [`end_sync`](Self::end_sync).
    ///
    /// # Errors
    ///
    /// [`WriteError::NoFile`].
    pub fn start_sync(&self, part: Part) -> Result<Option<Unsynced>, WriteError> {
        let file = match part {
            Part::Live => self.live.as_ref(),
            Part::Next => self.next.as_ref(),
        };
        let Some(file) = file.filter(|file| !file.is_doubtful) else {
            return Err(WriteError::NoFile);
        };
        let unsynced = || Unsynced { name: file.name.clone(), number: file.number, end: file.end };
        Ok((file.synced < file.end).then(unsynced))
    }

    /// Takes note of how a sync ended, whatever else was done meanwhile.
    ///
    /// # Errors
    ///
    /// [`WriteError::Disk`] as in `outcome`, if that file still matters; as with [`sync`](Self::sync).
    pub fn end_sync(
        &mut self,
        unsynced: &Unsynced,
        outcome: io::Result<()>,
    ) -> Result<(), WriteError> {
        let mut files = self.live.iter_mut().chain(self.next.iter_mut());
        let Some(file) = files.find(|file| file.number == unsynced.number) else { return Ok(()) };
        if let Err(error) = outcome {
            file.is_doubtful = true;
            return Err(error.into());
        }
        file.synced = file.synced.max(unsynced.end);
        Ok(())
    }

    /// Begins the next generation; one that was begun before is given up.
    ///
    /// # Errors
    ///
    /// [`WriteError::Disk`], and [`WriteError::NoIdentity`] before
    /// [`start_incarnation`](Self::start_incarnation).
    pub fn begin(&mut self, now: UnixTime) -> Result<(), WriteError> {
        self.give_up_next()?;
        let identity = self.current.clone().ok_or(WriteError::NoIdentity)?;
        self.greatest += 1;
        let number = self.greatest;
        let name = names::journal_part(number);
        if self.disk.names()?.contains(&name) {
            self.disk.remove(&name)?;
        }
        let head = Block { identity, key: self.key, written: now }.encode();
        self.disk.write(&name, 0, &head)?;
        self.next = Some(Generation {
            name,
            number,
            key: self.key,
            begun: now,
            end: head.len() as u64,
            synced: 0,
            is_ragged: false,
            is_doubtful: false,
        });
        Ok(())
    }

    /// The next generation holds everything: it is the journal from now on. Older ones are removed by
    /// [`tidy`](Self::tidy).
    ///
    /// # Errors
    ///
    /// [`WriteError`]; [`is_sound`](Self::is_sound) then tells whether there still is a journal to write to.
    pub fn complete(&mut self) -> Result<(), WriteError> {
        if !self.is(Mutant::GenerationNotSynced) {
            self.sync(Part::Next)?;
        }
        if self.is(Mutant::OldRemovedFirst)
            && let Some(live) = self.live.take()
        {
            self.disk.remove(&live.name)?;
        }
        let Some(mut next) = self.next.take() else { return Err(WriteError::NoFile) };
        let name = names::journal(next.number);
        let skips_sync = self.is(Mutant::NamesNotSynced);
        let renamed = self.disk.rename(&next.name, &name);
        let renamed =
            renamed.and_then(|()| if skips_sync { Ok(()) } else { self.disk.sync_names() });
        if let Err(error) = renamed {
            // Which of the two a start would find is unknown, so neither is appended to. Nothing is lost: both
            // hold everything that was synced.
            self.live = None;
            return Err(error.into());
        }
        next.name = name;
        self.live = Some(next);
        Ok(())
    }

    /// Gives up the next generation.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn give_up_next(&mut self) -> io::Result<()> {
        match self.next.take() {
            Some(next) if self.disk.names()?.contains(&next.name) => self.disk.remove(&next.name),
            _ => Ok(()),
        }
    }

    /// Sets damaged generations aside and removes what the journal has replaced. To be called after
    /// [`load`](Self::load) and [`complete`](Self::complete).
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn tidy(&mut self, limits: &Limits, now: UnixTime) -> io::Result<()> {
        for name in self.surplus(limits, now)? {
            self.disk.remove(&name)?;
        }
        Ok(())
    }

    /// Does the same, but leaves it to the caller to remove the files that it returns, which may take long.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn surplus(&mut self, limits: &Limits, now: UnixTime) -> io::Result<Vec<String>> {
        let Some(live) = &self.live else { return Ok(Vec::new()) };
        let mut surplus = Vec::new();
        for name in self.disk.names()? {
            match Name::parse(&name) {
                Some(Name::Journal(number)) if number < live.number => {
                    if self.damaged.contains(&number) {
                        self.disk.rename(&name, &names::damaged(number, now))?;
                    } else {
                        surplus.push(name);
                    }
                }
                Some(Name::JournalPart(number)) if number < live.number => surplus.push(name),
                Some(Name::Damaged(_, since)) => {
                    // A time that is still to come was set by a wrong clock.
                    let age = u64::try_from(now.seconds() - since).unwrap_or_default();
                    if limits.is_outdated(Duration::from_secs(age)) {
                        surplus.push(name);
                    }
                }
                Some(
                    Name::Journal(_) | Name::JournalPart(_) | Name::Identity | Name::IdentityPart,
                )
                | None => {}
            }
        }
        Ok(surplus)
    }

    /// Makes everything durable at the end of an orderly stop.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync(Part::Live)
    }

    /// Whether the journal can be appended to.
    pub fn is_sound(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.is_doubtful)
    }

    /// Bytes of the journal.
    pub fn live_bytes(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.end)
    }

    /// Time since the journal was begun; the longest there is if it was begun in the future, since then a
    /// clock was wrong and nothing tells how old it is.
    pub fn live_age(&self, now: UnixTime) -> Duration {
        let Some(live) = &self.live else { return Duration::ZERO };
        let age = now.nanos() - live.begun.nanos();
        u64::try_from(age).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Bytes of the generation that is being written.
    pub fn next_bytes(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.end)
    }

    /// Number of them that are not synced.
    pub fn next_unsynced_bytes(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.end - next.synced)
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The disk, for what only this kind of disk can do.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The disk, as it is when the process ends here.
    pub fn into_disk(self) -> D {
        self.disk
    }
}
