//! A directory: generations, of which one is appended to, and the life of its server.
//!
//! ```text
//! life             whose directory it is, and how the last life ended
//! journal-7        the generation that counts: the greatest that is whole
//! journal-8.part   the next one, being written
//! damaged-6        one that was not sound, kept for whoever wants to look
//! ```
//!
//! A generation becomes whole by losing its `.part`, once all of it was made safe; only then does the one
//! before it go. So at any moment one whole generation holds everything that was made safe.

use crate::disk::Disk;
use crate::examine::{Flaw, Wrong, flaws, lost, stranger};
use crate::file::{Batch, Ended, HEADER_BYTES, Header, Hole, header, read_header, read_records};
use crate::life::{self, Closed, Life};
use crate::line::Line;
use crate::mutants::Fault;
use herd_replica::{Journaled, Origin};
use std::io;

pub(crate) const WHOLE: &str = "journal-";
pub(crate) const PART: &str = ".part";
pub(crate) const DAMAGED: &str = "damaged-";

/// Between two notes of how far a file is safe: what lies behind the last cannot be told from what a
/// power cut tore.
const SYNCED_EVERY_BYTES: u64 = 64 * 1024;

/// A directory that one process uses.
#[derive(Debug)]
pub struct Storage<D> {
    disk: D,
    life: Option<Life>,
    life_is_damaged: bool,
    /// Appended to; none before the first generation is whole, or if the last was not sound.
    live: Option<Generation>,
    next: Option<Generation>,
    /// The greatest number that any file bears.
    greatest: u64,
    /// Files that are not thrown away, but set aside.
    unsound: Vec<String>,
    seed: u64,
    /// Made on purpose.
    fault: Option<Fault>,
}

#[derive(Clone, Debug)]
struct Generation {
    name: String,
    number: u64,
    id: u64,
    end: u64,
    safe: u64,
    /// Where it was last written down how far the file is safe.
    noted: u64,
    /// Behind the end may stand part of what could not be written whole.
    is_ragged: bool,
    /// It is not known any more what of it is on the disk.
    is_doubtful: bool,
}

/// Which of two generations is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The one that counts.
    Live,
    /// The one that is to take its place.
    Next,
}

/// Part of a file that is being made safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsynced {
    /// The file's name now.
    pub name: String,
    number: u64,
    end: u64,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read or written.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// A later version has written it.
    #[error(
        "{file} is of format {version}, and this program reads {ours} at most: use a later version of it",
        ours = crate::file::VERSION
    )]
    Later {
        /// The file's name.
        file: String,
        /// Its version.
        version: u32,
    },
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk says so.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// There is no such generation, or nobody knows what of it is on the disk: a new one must be begun.
    #[error("there is no sound file to write to")]
    NoFile,
}

/// One thing that was read.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Part of a journal without holes.
    Sound(Journaled<'a>),
    /// It stands behind a hole. What a record says is right, but it is not known what is missing before it.
    BehindHole(Journaled<'a>),
}

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The file, if there was any.
    pub file: Option<String>,
    /// Bytes of records.
    pub bytes: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes at the end that are no records: what was being written when it ended.
    pub torn_bytes: u64,
    /// Bytes in the middle that are no records.
    pub holes: Vec<Hole>,
    /// What is not as it was written, as far as that can be told: holes, and what the last life ended well
    /// with and is there no more. Files that could not be read at all are not in it.
    pub flaws: Vec<Flaw>,
    /// Files that could not be read at all.
    pub unreadable: Vec<String>,
    /// The last life ended well, and nothing was changed since.
    pub is_closed: bool,
}

impl<D: Disk> Storage<D> {
    /// Looks at a directory. `seed` makes the ids of files: another one each time.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open(mut disk: D, seed: u64) -> Result<Self, OpenError> {
        let (life, life_is_damaged) = match life::read(&mut disk)? {
            life::Read::Life(life) => (Some(life), false),
            life::Read::Missing => (None, false),
            life::Read::Damaged => (None, true),
            life::Read::Later(version) => {
                return Err(OpenError::Later { file: life::NAME.to_owned(), version });
            }
        };
        let numbers = disk.names()?;
        let greatest = numbers.iter().filter_map(|name| number_of(name)).max().unwrap_or(0);
        Ok(Self {
            disk,
            life,
            life_is_damaged,
            live: None,
            next: None,
            greatest,
            unsound: Vec::new(),
            seed,
            fault: None,
        })
    }

    /// From now on makes a fault, if it is one that is made here.
    #[cfg(feature = "mutants")]
    pub fn set_mutant(&mut self, mutant: Option<herd_replica::Mutant>) {
        self.fault = mutant.and_then(Fault::of);
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// There was a file that tells whose directory it is, and it is not what was written.
    pub fn life_is_damaged(&self) -> bool {
        self.life_is_damaged
    }

    /// Whose directory it is, and how its last life ended; none if it is new, or that file is damaged.
    pub fn life(&self) -> Option<&Life> {
        self.life.as_ref()
    }

    /// Whether the last life seems to have ended well and nothing to have been changed since; reading
    /// everything may show otherwise.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn looks_closed(&mut self) -> io::Result<bool> {
        let Some(Closed { generation, length }) = self.life.as_ref().and_then(|life| life.closed)
        else {
            return Ok(false);
        };
        let name = format!("{WHOLE}{generation}");
        let names = self.disk.names()?;
        let is_last = names
            .iter()
            .filter(|name| is_whole(name))
            .all(|name| number_of(name).is_none_or(|number| number <= generation));
        if !names.contains(&name) || !is_last || length == 0 {
            return Ok(false);
        }
        let mut bytes = [0; 2];
        Ok(self.disk.read(&name, length - 1, &mut bytes)? == 1)
    }

    /// Reads everything. Where nothing but the end was torn the file is gone on with; else a generation must
    /// be begun before anything can be written.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn load(&mut self, mut take: impl FnMut(Found<'_>)) -> Result<Loaded, OpenError> {
        let Candidates { counts, unreadable } = candidates(&mut self.disk)?;
        let mut loaded = Loaded { unreadable, ..Loaded::default() };
        let closed = self.life.as_ref().and_then(|life| life.closed);
        if let Some((name, id)) = counts {
            let ignored = self.is(Fault::HolesIgnored);
            let mut writer = None;
            let ended = read_records(&mut self.disk, &name, id, |line, behind_hole| {
                if let Line::Origin { number: 0, server, .. } = *line {
                    writer = Some(server.to_owned());
                }
                hand_over(line, behind_hole && !ignored, &mut take);
                Ok::<_, io::Error>(())
            })?;
            loaded.flaws.extend(stranger(&name, &ended, self.life.as_ref(), writer));
            loaded.flaws.extend(flaws(&name, &ended, closed, &loaded.unreadable));
            self.take_up(name, id, ended, &mut loaded)?;
        } else if let Some(Closed { generation, length }) = closed {
            loaded.flaws.extend(lost(generation, length, &loaded.unreadable));
        } else if self.life.is_some() && loaded.unreadable.is_empty() {
            let (file, what) = (life::NAME.to_owned(), Wrong::JournalMissing);
            loaded.flaws.push(Flaw { file, from: 0, to: 0, what });
        }
        self.unsound.extend(loaded.unreadable.iter().cloned());
        self.tidy()?;
        Ok(loaded)
    }

    fn take_up(
        &mut self,
        name: String,
        id: u64,
        ended: Ended,
        loaded: &mut Loaded,
    ) -> Result<(), OpenError> {
        let Ended { mut end, torn, records, holes } = ended;
        let number = number_of(&name).unwrap_or(0);
        if holes.is_empty() || self.is(Fault::HolesIgnored) {
            if self.is(Fault::TornEndKept) {
                end += torn;
            } else if torn > 0 {
                self.disk.truncate(&name, end)?;
            }
            // What it says, and its name, may last only until the next power cut: a process that ended may not
            // have come to making that safe. What is known from here on counts as safe.
            self.disk.sync(&name)?;
            self.disk.sync_names()?;
            let closed = self.life.as_ref().and_then(|life| life.closed);
            loaded.is_closed =
                torn == 0 && closed == Some(Closed { generation: number, length: end });
            let (safe, noted) = (end, end);
            let name = name.clone();
            self.live = Some(Generation {
                name,
                number,
                id,
                end,
                safe,
                noted,
                is_ragged: false,
                is_doubtful: false,
            });
        }
        if self.live.is_none() {
            self.unsound.push(name.clone());
        }
        loaded.file = Some(name);
        loaded.bytes = end;
        loaded.torn_bytes = torn;
        loaded.records = records;
        loaded.holes = holes;
        Ok(())
    }

    /// From now on this life uses the directory: if it does not end well, that is known.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn begin_life(&mut self, life: Life) -> io::Result<()> {
        life::write(&mut self.disk, &life)?;
        self.life = Some(life);
        Ok(())
    }

    /// The server has taken another life while it runs.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn renew_life(&mut self, incarnation: u64) -> io::Result<()> {
        let Some(life) = self.life.clone() else { return Ok(()) };
        self.begin_life(Life { incarnation, ..life })
    }

    /// Nothing comes any more, and nothing that was told to anybody is missing in what was written: makes
    /// it safe and says so.
    ///
    /// # Errors
    ///
    /// [`WriteError`].
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync(Part::Live)?;
        let Some((live, mut life)) = self.live.zip(self.life) else {
            return Err(WriteError::NoFile);
        };
        life.closed = Some(Closed { generation: live.number, length: live.end });
        Ok(life::write(&mut self.disk, &life)?)
    }

    /// Writes records, all of them or, if it fails, none that count.
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
        if file.safe >= file.noted + SYNCED_EVERY_BYTES {
            batch.push(&Line::Synced { to: file.safe });
            file.noted = file.safe;
        }
        if file.is_ragged {
            // A record of the last try that reached beyond this one would be read as if it had come later.
            self.disk.truncate(&file.name, file.end)?;
            self.disk.sync(&file.name)?;
            file.is_ragged = false;
        }
        let bytes = batch.sealed(file.id, file.end);
        file.is_ragged = true;
        self.disk.write(&file.name, file.end, bytes)?;
        file.is_ragged = false;
        file.end += bytes.len() as u64;
        Ok(())
    }

    /// Everything that was written lasts.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; nobody knows then what lasts, and a generation must be begun.
    pub fn sync(&mut self, part: Part) -> Result<(), WriteError> {
        let Some(unsynced) = self.start_sync(part)? else { return Ok(()) };
        let outcome = self.disk.sync(&unsynced.name);
        self.end_sync(&unsynced, outcome)
    }

    /// For whoever has another thread make a file safe and goes on writing: what is to be made safe now, if
    /// anything is. To be followed by [`end_sync`](Self::end_sync).
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
        Ok((file.safe < file.end).then(unsynced))
    }

    /// What has become of it, whatever else was done meanwhile.
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
        file.safe = file.safe.max(unsynced.end);
        Ok(())
    }

    /// Begins the next generation; one that was begun before is thrown away.
    ///
    /// # Errors
    ///
    /// [`WriteError::Disk`].
    pub fn begin(&mut self) -> Result<(), WriteError> {
        self.give_up_next()?;
        self.greatest += 1;
        let number = self.greatest;
        let name = format!("{WHOLE}{number}{PART}");
        let id = self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if self.disk.names()?.contains(&name) {
            self.disk.remove(&name)?;
        }
        self.disk.write(&name, 0, &header(id))?;
        let end = HEADER_BYTES as u64;
        self.next = Some(Generation {
            name,
            number,
            id,
            end,
            safe: 0,
            noted: end,
            is_ragged: false,
            is_doubtful: false,
        });
        Ok(())
    }

    /// The next generation holds everything: from now on it counts. Others go with [`tidy`](Self::tidy).
    ///
    /// # Errors
    ///
    /// [`WriteError`]; ask [`is_sound`](Self::is_sound) whether there still is a file to write to.
    pub fn complete(&mut self) -> Result<(), WriteError> {
        if !self.is(Fault::GenerationNotSynced) {
            self.sync(Part::Next)?;
        }
        if self.is(Fault::OldGoesFirst)
            && let Some(live) = self.live.take()
        {
            self.disk.remove(&live.name)?;
        }
        let Some(mut next) = self.next.take() else { return Err(WriteError::NoFile) };
        let name = format!("{WHOLE}{}", next.number);
        let unsynced = self.is(Fault::NamesNotSynced);
        let renamed = self.disk.rename(&next.name, &name);
        let renamed = renamed.and_then(|()| if unsynced { Ok(()) } else { self.disk.sync_names() });
        if let Err(error) = renamed {
            // Which of the two a start would find is not known, so neither is gone on with. Nothing is lost:
            // both hold everything that was made safe.
            self.live = None;
            return Err(error.into());
        }
        next.name = name;
        self.live = Some(next);
        Ok(())
    }

    /// Of what the generation that counts has replaced nothing is left but what was not sound.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn tidy(&mut self) -> io::Result<()> {
        for name in self.surplus()? {
            self.disk.remove(&name)?;
        }
        Ok(())
    }

    /// The same for whoever has another thread remove files, which may take long: what is not sound is set
    /// aside, and what is to be removed is named.
    ///
    /// # Errors
    ///
    /// The disk's.
    pub fn surplus(&mut self) -> io::Result<Vec<String>> {
        let Some(live) = &self.live else { return Ok(Vec::new()) };
        let is_old = |name: &String| {
            !name.starts_with(DAMAGED) && number_of(name).is_some_and(|n| n < live.number)
        };
        let (unsound, surplus): (Vec<_>, Vec<_>) = self
            .disk
            .names()?
            .into_iter()
            .filter(is_old)
            .partition(|name| self.unsound.contains(name));
        for name in unsound {
            if let Some(number) = name.strip_prefix(WHOLE) {
                self.disk.rename(&name, &format!("{DAMAGED}{number}"))?;
            }
        }
        Ok(surplus)
    }

    /// No next generation, after all.
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

    /// Whether records can be written to the generation that counts.
    pub fn is_sound(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.is_doubtful)
    }

    /// Bytes of the generation that counts.
    pub fn live_bytes(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.end)
    }

    /// Bytes of the generation that is being written.
    pub fn next_bytes(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.end)
    }

    /// How many of them are not known to be safe.
    pub fn next_unsafe_bytes(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.end - next.safe)
    }

    /// The disk, to look at.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The same, for what only this kind of disk can do.
    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The disk, as when the process ends here.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

/// Which of several files is read.
pub(crate) struct Candidates {
    /// The file that counts and its id, if there is any.
    pub(crate) counts: Option<(String, u64)>,
    /// Later ones, damaged from their beginning.
    pub(crate) unreadable: Vec<String>,
}

/// The file that counts is the greatest whose beginning is sound.
pub(crate) fn candidates<D: Disk>(disk: &mut D) -> Result<Candidates, OpenError> {
    let names = disk.names()?;
    let mut whole: Vec<_> = names.into_iter().filter(|name| is_whole(name)).collect();
    whole.sort_unstable_by_key(|name| std::cmp::Reverse(number_of(name)));
    let mut unreadable = Vec::new();
    for name in whole {
        let mut front = [0; HEADER_BYTES];
        let length = disk.read(&name, 0, &mut front)?;
        match read_header(front.get(..length).unwrap_or_default()) {
            Header::Later(version) => return Err(OpenError::Later { file: name, version }),
            Header::None => unreadable.push(name),
            Header::Ours(id) => return Ok(Candidates { counts: Some((name, id)), unreadable }),
        }
    }
    Ok(Candidates { counts: None, unreadable })
}

pub(crate) fn hand_over(line: &Line<'_>, behind_hole: bool, take: &mut impl FnMut(Found<'_>)) {
    let mut found = |journaled: Journaled<'_>| {
        take(if behind_hole { Found::BehindHole(journaled) } else { Found::Sound(journaled) });
    };
    match *line {
        Line::Synced { .. } => {}
        Line::Of(journaled) => found(journaled),
        Line::Origin { number, server, incarnation } => {
            let origin = Origin { server: server.into(), incarnation };
            found(Journaled::Origin { number, origin: &origin });
        }
    }
}

/// Of a journal, whole or not, or of what was set aside.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(WHOLE).or_else(|| name.strip_prefix(DAMAGED))?;
    number.strip_suffix(PART).unwrap_or(number).parse().ok()
}

pub(crate) fn is_whole(name: &str) -> bool {
    name.starts_with(WHOLE) && !name.ends_with(PART) && number_of(name).is_some()
}
