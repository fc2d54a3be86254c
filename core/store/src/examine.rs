//! A directory looked at without changing it: what is there, and what of it is not sound.
//!
//! What counts is what a start would read. Files that a start would pass over or throw away are read to their
//! ends, since a disk that cannot give them back should be known, but what is in them is nobody's loss.

use crate::disk::Disk;
use crate::file::{Ended, Hole, read_records};
use crate::life::{self, Closed, Life};
use crate::line::Line;
use crate::storage::{
    Candidates, DAMAGED, Found, OpenError, PART, WHOLE, candidates, hand_over, is_whole, number_of,
};
use std::collections::BTreeSet;
use std::fmt;
use std::io;

/// Read at once: few calls, little memory.
const CHUNK_BYTES: usize = 1 << 20;

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Whose it is, and how the last life ended; none if that is not known.
    pub life: Option<Life>,
    /// All files, in the order of their names.
    pub files: Vec<ExaminedFile>,
    /// The file that a start would read, if there is any.
    pub counts: Option<String>,
    /// Its records.
    pub records: u64,
    /// Bytes at its end that are no records: what was being written when it ended. No flaw by themselves.
    pub torn_bytes: u64,
    /// Where they begin.
    pub end: u64,
    /// What is not sound, in the order of files and places in them.
    pub flaws: Vec<Flaw>,
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedFile {
    /// Its name.
    pub name: String,
    /// Its length; none if it is none of ours, and was not read.
    pub bytes: Option<u64>,
    /// What it is.
    pub role: Role,
}

/// What a file of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whose directory it is.
    Life,
    /// What is known.
    Counts,
    /// A later one has taken its place; the next start removes it.
    Superseded,
    /// It was not finished; the next start removes it, or replaces it.
    Unfinished,
    /// It was not sound, and is kept to be looked at.
    SetAside,
    /// It should count, and is damaged from its beginning.
    Unreadable,
    /// None of ours.
    Other,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// In this file.
    pub file: String,
    /// The first byte concerned.
    pub from: u64,
    /// Behind the last one.
    pub to: u64,
    /// What is wrong with them.
    pub what: Wrong,
}

/// What is wrong with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There are journals, but no file that tells whose they are.
    LifeMissing,
    /// The file that tells whose directory it is has another checksum than it says.
    LifeDamaged,
    /// There is a file that tells whose directory it is, and no journal. So it is for some moments after the
    /// first start ever; a copy that lacks its journal must not pass for a sound one.
    JournalMissing,
    /// A journal's beginning is none.
    HeaderDamaged,
    /// No records, though there were some and they had been made safe.
    Damaged,
    /// No records, though records follow; nothing tells whether they had been made safe.
    Gap,
    /// The last life ended well with this in the file, and it is there no more.
    Lost,
    /// The last life ended well without it.
    Added,
    /// The journal is that of another server.
    OfAnotherServer,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LifeMissing => "missing, though there is a journal: whose it is cannot be told",
            Self::LifeDamaged => "damaged: its bytes are not what was written",
            Self::JournalMissing => {
                "without a journal: lost, or not copied, or killed in the first moments of the first start"
            }
            Self::HeaderDamaged => "damaged from its beginning: nothing of it can be read",
            Self::Damaged => "damaged: these bytes had been made safe, and are no records now",
            Self::Gap => "no records, though records follow: damaged, or left so by a power cut",
            Self::Lost => "lost or damaged: the last run ended in order with more than this",
            Self::Added => "added after the last run ended in order",
            Self::OfAnotherServer => "written by another server than the one that `life` names",
        })
    }
}

impl Examined {
    /// Whether nothing is wrong. A torn end is not: that is how a file looks after a kill.
    pub fn is_sound(&self) -> bool {
        self.flaws.is_empty()
    }

    fn flaw(&mut self, file: &str, from: u64, to: u64, what: Wrong) {
        self.flaws.push(Flaw { file: file.to_owned(), from, to, what });
    }
}

/// Whose directory it is; none if that is not known.
///
/// # Errors
///
/// [`OpenError`].
pub fn read_life<D: Disk>(disk: &mut D) -> Result<Option<Life>, OpenError> {
    match life::read(disk)? {
        life::Read::Life(life) => Ok(Some(life)),
        life::Read::Missing | life::Read::Damaged => Ok(None),
        life::Read::Later(version) => {
            Err(OpenError::Later { file: life::NAME.to_owned(), version })
        }
    }
}

/// Reads a whole directory and changes nothing. `take` is given what a start would be given.
///
/// # Errors
///
/// [`OpenError`].
pub fn examine<D: Disk>(
    disk: &mut D,
    mut take: impl FnMut(Found<'_>),
) -> Result<Examined, OpenError> {
    let mut examined = Examined::default();
    let life = life::read(disk)?;
    let Candidates { counts, unreadable } = candidates(disk)?;
    let counting = counts.as_ref().map(|(name, _)| name.as_str());
    // As a set: in order.
    let names: BTreeSet<_> = disk.names()?.into_iter().collect();
    for name in &names {
        let role = role(name, counting, &unreadable);
        let bytes = if role == Role::Other { None } else { Some(length(disk, name)?) };
        examined.files.push(ExaminedFile { name: name.clone(), bytes, role });
    }
    match life {
        life::Read::Life(life) => examined.life = Some(life),
        life::Read::Later(version) => {
            return Err(OpenError::Later { file: life::NAME.to_owned(), version });
        }
        life::Read::Damaged => {
            let to = examined.length(life::NAME);
            examined.flaw(life::NAME, 0, to, Wrong::LifeDamaged);
        }
        life::Read::Missing if counts.is_some() || !unreadable.is_empty() => {
            examined.flaw(life::NAME, 0, 0, Wrong::LifeMissing);
        }
        life::Read::Missing => {}
    }
    for name in &unreadable {
        let to = examined.length(name);
        examined.flaw(name, 0, to, Wrong::HeaderDamaged);
    }
    let closed = examined.life.as_ref().and_then(|life| life.closed);
    if let Some((name, id)) = counts {
        let mut writer = None;
        let ended = read_records(disk, &name, id, |line, behind_hole| {
            if let Line::Origin { number: 0, server, .. } = *line {
                writer = Some(server.to_owned());
            }
            hand_over(line, behind_hole, &mut take);
            Ok::<_, io::Error>(())
        })?;
        let stranger = stranger(&name, &ended, examined.life.as_ref(), writer);
        examined.flaws.extend(stranger);
        examined.judge(name, &ended, closed);
    } else if let Some(Closed { generation, length }) = closed {
        examined.flaws.extend(lost(generation, length, &unreadable));
    } else if examined.life.is_some() && unreadable.is_empty() {
        let to = examined.length(life::NAME);
        examined.flaw(life::NAME, 0, to, Wrong::JournalMissing);
    }
    Ok(examined)
}

impl Examined {
    fn length(&self, name: &str) -> u64 {
        let file = self.files.iter().find(|file| file.name == name);
        file.and_then(|file| file.bytes).unwrap_or_default()
    }

    /// What the file that counts is like, and what the last life, if it ended well, says that it should be.
    fn judge(&mut self, name: String, ended: &Ended, closed: Option<Closed>) {
        let unreadable = self.flaws.iter().map(|flaw| flaw.file.clone()).collect::<Vec<_>>();
        self.flaws.extend(flaws(&name, ended, closed, &unreadable));
        self.counts = Some(name);
        self.records = ended.records;
        self.torn_bytes = ended.torn;
        self.end = ended.end;
    }
}

/// What is wrong with the file that counts, by itself and by what the last life, if it ended well, says of it.
pub(crate) fn flaws(
    name: &str,
    ended: &Ended,
    closed: Option<Closed>,
    unreadable: &[String],
) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let flaw = |file: &str, from, to, what| Flaw { file: file.to_owned(), from, to, what };
    let Ended { end, torn, ref holes, .. } = *ended;
    let number = number_of(name);
    let closed_here = closed.filter(|closed| number == Some(closed.generation));
    for &Hole { from, to, was_safe } in holes {
        // What a life ended well with was made safe first.
        let was_safe = was_safe || closed_here.is_some_and(|closed| to <= closed.length);
        flaws.push(flaw(name, from, to, if was_safe { Wrong::Damaged } else { Wrong::Gap }));
    }
    match (closed, closed_here) {
        (_, Some(Closed { length, .. })) => {
            if end < length {
                flaws.push(flaw(name, end, length, Wrong::Lost));
            }
            if end + torn > length {
                flaws.push(flaw(name, end.max(length), end + torn, Wrong::Added));
            }
        }
        (Some(Closed { generation, length }), None) => {
            if number < Some(generation) {
                flaws.extend(lost(generation, length, unreadable));
            } else {
                flaws.push(flaw(name, 0, end + torn, Wrong::Added));
            }
        }
        (None, _) => {}
    }
    flaws
}

/// The journal of another server than the one that `life` names.
pub(crate) fn stranger(
    name: &str,
    ended: &Ended,
    life: Option<&Life>,
    writer: Option<String>,
) -> Option<Flaw> {
    let is_one = life.zip(writer).is_some_and(|(life, writer)| life.server != writer);
    let (file, what) = (name.to_owned(), Wrong::OfAnotherServer);
    is_one.then_some(Flaw { file, from: 0, to: ended.end, what })
}

/// The file that the last life ended well with is not there; told already if it is, and damaged from its beginning.
pub(crate) fn lost(generation: u64, length: u64, unreadable: &[String]) -> Option<Flaw> {
    let file = format!("{WHOLE}{generation}");
    let is_told = unreadable.contains(&file);
    (!is_told).then_some(Flaw { file, from: 0, to: length, what: Wrong::Lost })
}

fn role(name: &str, counting: Option<&str>, unreadable: &[String]) -> Role {
    let is_numbered = number_of(name).is_some();
    if name == life::NAME {
        Role::Life
    } else if Some(name) == counting {
        Role::Counts
    } else if unreadable.iter().any(|unreadable| unreadable == name) {
        Role::Unreadable
    } else if is_whole(name) {
        Role::Superseded
    } else if name == life::PART || (is_numbered && name.ends_with(PART)) {
        Role::Unfinished
    } else if is_numbered && name.starts_with(DAMAGED) {
        Role::SetAside
    } else {
        Role::Other
    }
}

/// Reads a file to its end.
fn length<D: Disk>(disk: &mut D, name: &str) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = 0;
    loop {
        let read = disk.read(name, length, &mut chunk)?;
        length += read as u64;
        if read < chunk.len() {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, MemoryDisk, Part, Storage};
    use herd_replica::{Journaled, Record};

    /// A directory with ten records, after a life that ended well or did not.
    fn directory(closed: bool) -> MemoryDisk {
        let mut storage = Storage::open(MemoryDisk::default(), 5).unwrap();
        storage.load(|_| ()).unwrap();
        let (herd, server) = ("news".to_owned(), "Hill".to_owned());
        let mut life = Life { herd, server, incarnation: 7, ..Life::default() };
        storage.begin_life(life.clone()).unwrap();
        storage.begin().unwrap();
        let mut batch = Batch::default();
        batch.push(&Line::Origin { number: 0, server: "Hill", incarnation: 7 });
        for sequence in 1..10 {
            let record = Record { key: b"rkiwi", effective_ns: 5, tombstone: false, value: b"x" };
            batch.push(&Line::Of(Journaled::Entry { origin: 0, sequence, record }));
        }
        storage.append(Part::Next, &mut batch).unwrap();
        storage.complete().unwrap();
        let closing = Closed { generation: 1, length: storage.live_bytes() };
        life.closed = closed.then_some(closing);
        // As `close` would, which keeps the disk.
        let mut disk = storage.into_disk();
        life::write(&mut disk, &life).unwrap();
        disk
    }

    fn flaws(disk: &mut MemoryDisk) -> Vec<(String, u64, u64, Wrong)> {
        let before = disk.changes();
        let examined = examine(disk, |_| ()).unwrap();
        assert_eq!(disk.changes(), before, "nothing is changed");
        assert_eq!(examined.is_sound(), is_sound_to_a_start(disk), "{:?}", examined.flaws);
        let flaws = examined.flaws.into_iter();
        flaws.map(|Flaw { file, from, to, what }| (file, from, to, what)).collect()
    }

    /// Whether a start has nothing to tell of it.
    fn is_sound_to_a_start(disk: &MemoryDisk) -> bool {
        let mut storage = Storage::open(disk.clone(), 6).unwrap();
        let loaded = storage.load(|_| ()).unwrap();
        let is_known = storage.life().is_some() || loaded.file.is_none();
        let is_read = loaded.flaws.is_empty() && loaded.unreadable.is_empty();
        is_known && is_read && !storage.life_is_damaged()
    }

    const JOURNAL: &str = "journal-1";

    fn whole(disk: &mut MemoryDisk) -> u64 {
        length(disk, JOURNAL).unwrap()
    }

    #[test]
    fn what_was_written_is_sound() {
        for closed in [false, true] {
            let mut disk = directory(closed);
            let mut taken = 0;
            let examined = examine(&mut disk, |_| taken += 1).unwrap();
            assert_eq!((examined.is_sound(), examined.records, taken), (true, 10, 10));
            assert_eq!(examined.life.unwrap().closed.is_some(), closed);
            let roles: Vec<_> =
                examined.files.iter().map(|file| (file.name.as_str(), file.role)).collect();
            assert_eq!(roles, [(JOURNAL, Role::Counts), ("life", Role::Life)]);
        }
        assert!(examine(&mut MemoryDisk::default(), |_| ()).unwrap().is_sound());
    }

    #[test]
    fn a_torn_end_is_no_flaw_unless_the_file_was_closed() {
        for closed in [false, true] {
            let mut disk = directory(closed);
            let end = whole(&mut disk);
            disk.truncate(JOURNAL, end - 3).unwrap();
            let examined = examine(&mut disk, |_| ()).unwrap();
            assert_eq!(is_sound_to_a_start(&disk), !closed);
            assert_eq!(examined.records, 9);
            assert_eq!(examined.end + examined.torn_bytes, end - 3);
            let expected =
                Flaw { file: JOURNAL.to_owned(), from: examined.end, to: end, what: Wrong::Lost };
            assert_eq!(examined.flaws, if closed { vec![expected] } else { Vec::new() });
        }
    }

    #[test]
    fn what_was_added_to_a_closed_file_is_told() {
        let mut disk = directory(true);
        let end = whole(&mut disk);
        disk.write(JOURNAL, end, b"torn").unwrap();
        assert_eq!(flaws(&mut disk), [(JOURNAL.to_owned(), end, end + 4, Wrong::Added)]);
        let mut disk = directory(true);
        disk.write("journal-2", 0, &crate::file::header(9)).unwrap();
        assert_eq!(flaws(&mut disk), [("journal-2".to_owned(), 0, 32, Wrong::Added)]);
    }

    #[test]
    fn every_bit_of_a_closed_directory_counts() {
        let sound = directory(true);
        for name in [JOURNAL, "life"] {
            let mut bytes = vec![0; 4096];
            let count = sound.clone().read(name, 0, &mut bytes).unwrap();
            for (at, byte) in bytes.iter().enumerate().take(count) {
                for bit in 0..8 {
                    let mut disk = sound.clone();
                    disk.write(name, at as u64, &[byte ^ (1 << bit)]).unwrap();
                    match examine(&mut disk, |_| ()) {
                        Ok(examined) => {
                            assert!(!examined.is_sound(), "{name}: bit {bit} of byte {at}");
                            assert!(!is_sound_to_a_start(&disk), "{name}: bit {bit} of byte {at}");
                            let flaw = &examined.flaws[0];
                            let (from, to) = (flaw.from, flaw.to.max(flaw.from + 1));
                            assert!((from..to).contains(&(at as u64)), "{flaw:?} is not at {at}");
                        }
                        // The version has a checksum too, so this cannot come of one bit.
                        Err(error) => panic!("{name}: bit {bit} of byte {at}: {error}"),
                    }
                }
            }
        }
    }

    #[test]
    fn files_that_are_missing_are_told() {
        let mut disk = directory(true);
        let length = whole(&mut disk);
        disk.remove(JOURNAL).unwrap();
        assert_eq!(flaws(&mut disk), [(JOURNAL.to_owned(), 0, length, Wrong::Lost)]);
        let mut disk = directory(false);
        let length = super::length(&mut disk, "life").unwrap();
        disk.remove(JOURNAL).unwrap();
        assert_eq!(flaws(&mut disk), [("life".to_owned(), 0, length, Wrong::JournalMissing)]);
        let mut disk = directory(true);
        disk.remove("life").unwrap();
        assert_eq!(flaws(&mut disk), [("life".to_owned(), 0, 0, Wrong::LifeMissing)]);
    }

    #[test]
    fn another_servers_journal_is_told() {
        let mut disk = directory(false);
        let life = Life { server: "Smith".to_owned(), ..Life::default() };
        life::write(&mut disk, &life).unwrap();
        let end = whole(&mut disk);
        assert_eq!(flaws(&mut disk), [(JOURNAL.to_owned(), 0, end, Wrong::OfAnotherServer)]);
    }

    #[test]
    fn what_a_start_passes_over_is_no_flaw() {
        let mut disk = directory(false);
        for (name, role) in [
            ("damaged-1", Role::SetAside),
            ("journal-0", Role::Superseded),
            ("journal-2.part", Role::Unfinished),
            ("life.part", Role::Unfinished),
            ("lock", Role::Other),
            ("journal-x", Role::Other),
        ] {
            disk.write(name, 0, b"anything").unwrap();
            let examined = examine(&mut disk, |_| ()).unwrap();
            assert!(examined.is_sound(), "{name}");
            let file = examined.files.iter().find(|file| file.name == name).unwrap();
            assert_eq!(file.role, role);
            assert_eq!(file.bytes, (role != Role::Other).then_some(8));
        }
    }
}
