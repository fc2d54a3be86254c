//! A directory looked at without changing it: what is there, and what of it is damaged.
//!
//! Journals are read as a start would read them. Files that a start would remove or leave alone are read to
//! their ends, since a disk that cannot return them should be known, but their content is not judged.

use crate::disk::Disk;
use crate::identity::Identity;
use crate::names::Name;
use crate::survey::{Finding, Journal, OpenError, Survey, length, read_copies, survey};
use herd_proto::Record;
use std::collections::BTreeSet;

/// What was found in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Whose it is, and the last incarnation; none if that is not known.
    pub identity: Option<Identity>,
    /// A file that belongs to another server, if there is any, and whose it is.
    pub stranger: Option<(String, Identity)>,
    /// All files, in the order of their names.
    pub files: Vec<ExaminedFile>,
    /// All journals, the latest generation first.
    pub journals: Vec<Journal>,
    /// Everything that is not as it was written. A torn end is not among it: a kill leaves such files.
    pub findings: Vec<Finding>,
}

/// One file of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedFile {
    /// Its name.
    pub name: String,
    /// Its length; none if it is not one of the store's, and was not read.
    pub bytes: Option<u64>,
    /// What it is.
    pub role: Role,
}

/// What a file of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It says whose directory it is.
    Identity,
    /// The journal.
    Current,
    /// A journal that was replaced. A start reads it all the same, and removes it.
    Superseded,
    /// It was not completed; a start ignores and removes it.
    Unfinished,
    /// A damaged journal, kept for inspection.
    SetAside,
    /// A journal of which nothing can be read.
    Unreadable,
    /// Not one of the store's.
    Other,
}

impl Examined {
    /// Whether nothing is damaged. A torn end is not damage: it is how a file looks after a kill.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Number of intact records.
    pub fn records(&self) -> u64 {
        self.journals.iter().map(|journal| journal.records).sum()
    }
}

/// Reads a whole directory and changes nothing. `take` is given what a start would be given.
///
/// # Errors
///
/// [`OpenError`].
pub fn examine<D: Disk>(disk: &mut D, take: impl FnMut(Record<'_>)) -> Result<Examined, OpenError> {
    // As a set: in order.
    let names: Vec<_> = disk.names()?.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let copies = read_copies(disk, &names)?;
    let survey = survey(disk, &names, &copies, None, take)?;
    let mut files = Vec::new();
    for name in names {
        let role = role(&name, &survey);
        let bytes = if role == Role::Other { None } else { Some(length(disk, &name)?) };
        files.push(ExaminedFile { name, bytes, role });
    }
    let identity = copies.identity();
    let stranger = identity.as_ref().and_then(|identity| {
        let (file, stranger) = copies.stranger(&identity.herd, &identity.server)?;
        Some((file.to_owned(), stranger.clone()))
    });
    let Survey { journals, findings } = survey;
    let journals = journals.into_iter().map(|surveyed| surveyed.journal).collect();
    Ok(Examined { identity, stranger, files, journals, findings })
}

fn role(name: &str, survey: &Survey) -> Role {
    match Name::parse(name) {
        Some(Name::Identity) => Role::Identity,
        Some(Name::Journal(number)) => {
            let at = survey.journals.iter().position(|surveyed| surveyed.number == number);
            let is_readable = at
                .and_then(|at| survey.journals.get(at))
                .is_some_and(|surveyed| surveyed.key.is_some());
            match at {
                _ if !is_readable => Role::Unreadable,
                Some(0) => Role::Current,
                _ => Role::Superseded,
            }
        }
        Some(Name::IdentityPart | Name::JournalPart(_)) => Role::Unfinished,
        Some(Name::Damaged(..)) => Role::SetAside,
        None => Role::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Damage;
    use crate::tests::{directory, file_bytes};
    use crate::{MemoryDisk, Storage, identity};
    use herd_proto::UnixTime;

    const JOURNAL: &str = "journal-1";

    fn findings(disk: &mut MemoryDisk) -> Vec<(String, u64, u64, Damage)> {
        let before = disk.changes();
        let examined = examine(disk, |_| ()).unwrap();
        assert_eq!(disk.changes(), before, "nothing is changed");
        let mut storage = Storage::open(disk.clone(), 6).unwrap();
        assert_eq!(storage.load(|_| ()).unwrap().findings, examined.findings);
        let findings = examined.findings.into_iter();
        findings.map(|Finding { file, from, to, damage }| (file, from, to, damage)).collect()
    }

    #[test]
    fn what_was_written_is_sound() {
        let mut disk = directory(10);
        let mut taken = 0;
        let examined = examine(&mut disk, |_| taken += 1).unwrap();
        assert_eq!((examined.is_sound(), examined.records(), taken), (true, 10, 10));
        assert_eq!(examined.identity.unwrap().incarnation, 7);
        let roles: Vec<_> =
            examined.files.iter().map(|file| (file.name.as_str(), file.role)).collect();
        assert_eq!(roles, [("identity", Role::Identity), (JOURNAL, Role::Current)]);
        assert!(examine(&mut MemoryDisk::default(), |_| ()).unwrap().is_sound());
    }

    #[test]
    fn a_torn_end_is_not_damage() {
        let mut disk = directory(10);
        let end = file_bytes(&mut disk, JOURNAL).len() as u64;
        disk.truncate(JOURNAL, end - 3).unwrap();
        let examined = examine(&mut disk, |_| ()).unwrap();
        assert!(examined.is_sound());
        let journal = &examined.journals[0];
        assert_eq!((journal.records, journal.end + journal.torn_bytes), (9, end - 3));
    }

    #[test]
    fn files_that_are_missing_are_found_missing() {
        let mut disk = directory(10);
        disk.remove(JOURNAL).unwrap();
        let bytes = file_bytes(&mut disk, "identity").len() as u64;
        let missing = Damage::JournalMissing;
        assert_eq!(findings(&mut disk), [("identity".to_owned(), 0, bytes, missing)]);
        let mut disk = directory(10);
        disk.remove("identity").unwrap();
        let missing = Damage::IdentityMissing;
        assert_eq!(findings(&mut disk), [("identity".to_owned(), 0, 0, missing)]);
        assert_eq!(examine(&mut disk, |_| ()).unwrap().identity.unwrap().server, "Hill");
    }

    #[test]
    fn a_journal_of_another_server_is_found() {
        let mut disk = directory(10);
        let identity = Identity { server: "Smith".to_owned(), ..Identity::default() };
        let block = identity::Block { identity, key: 9, written: UnixTime::default() };
        identity::write(&mut disk, &block).unwrap();
        assert_eq!(findings(&mut disk), [(JOURNAL.to_owned(), 0, 0, Damage::OtherServer)]);
        let (file, stranger) = examine(&mut disk, |_| ()).unwrap().stranger.unwrap();
        assert_eq!((file.as_str(), stranger.server.as_str()), (JOURNAL, "Hill"));
    }

    #[test]
    fn without_any_copy_of_the_identity_a_journal_is_unreadable() {
        let mut disk = directory(10);
        disk.remove("identity").unwrap();
        disk.write(JOURNAL, 3, b"?").unwrap();
        let bytes = file_bytes(&mut disk, JOURNAL).len() as u64;
        let expected = [
            ("identity".to_owned(), 0, 0, Damage::IdentityMissing),
            (JOURNAL.to_owned(), 0, bytes, Damage::Unreadable),
        ];
        assert_eq!(findings(&mut disk), expected);
    }

    #[test]
    fn what_a_start_ignores_is_not_judged() {
        let mut disk = directory(10);
        for (name, role) in [
            ("damaged-1-1700000000", Role::SetAside),
            ("journal-2.part", Role::Unfinished),
            ("identity.part", Role::Unfinished),
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
