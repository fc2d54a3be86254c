//! Reads all journals of a directory and says what in it is not as it was written. A start and an examination
//! share it, so both find the same.

use crate::disk::Disk;
use crate::identity::{Copies, VERSION};
use crate::mutants::Mutant;
use crate::names::{self, IDENTITY, Name};
use crate::scan::{Scan, scan};
use herd_proto::Record;
use std::fmt;
use std::io;
use std::ops::Range;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// A later version of the program has written it.
    #[error(
        "{file} has format version {version}, and this program reads up to {ours}: use a later version of the program",
        ours = VERSION
    )]
    Later {
        /// The file's name.
        file: String,
        /// Its version.
        version: u32,
    },
}

/// Something in a directory that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The first byte concerned.
    pub from: u64,
    /// The byte behind the last one.
    pub to: u64,
    /// What is wrong with them.
    pub damage: Damage,
}

/// What is wrong with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There are journals, but no file that tells whose they are.
    IdentityMissing,
    /// A copy of the identity is damaged, or both are.
    IdentityDamaged,
    /// There is an identity and no journal. So it is for a moment after a server's first start; a copy that
    /// lacks its journal must not pass for a sound one.
    JournalMissing,
    /// The identity at the head of a journal is damaged; its records can be read.
    HeadDamaged,
    /// The head of a journal is damaged and no other copy of the identity is intact: which bytes are records
    /// cannot be told.
    Unreadable,
    /// The bytes are no record though intact ones follow.
    Hole,
    /// The file belongs to another server than the rest.
    OtherServer,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdentityMissing => "missing; the journals say whose they are",
            Self::IdentityDamaged => "damaged",
            Self::JournalMissing => {
                "there is no journal beside it: lost, not copied, or killed during the very first start"
            }
            Self::HeadDamaged => "the head is damaged; the records are read all the same",
            Self::Unreadable => "nothing can be read: all copies of the identity are damaged",
            Self::Hole => "no record: damaged, or not written before a power cut",
            Self::OtherServer => "belongs to another server",
        })
    }
}

/// One journal that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The file's name.
    pub file: String,
    /// Number of intact records.
    pub records: u64,
    /// Behind the last intact record.
    pub end: u64,
    /// Bytes behind that: the torn end of the last write.
    pub torn_bytes: u64,
}

/// All journals of a directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The latest generation first.
    pub(crate) journals: Vec<Surveyed>,
    pub(crate) findings: Vec<Finding>,
}

#[derive(Debug)]
pub(crate) struct Surveyed {
    pub(crate) number: u64,
    pub(crate) journal: Journal,
    /// Whether everything but a torn end is as it was written.
    pub(crate) is_sound: bool,
    /// The key of its records; none if it is not known, and then nothing was read.
    pub(crate) key: Option<u64>,
}

/// Reads the identity of a directory with these files.
pub(crate) fn read_copies<D: Disk>(disk: &mut D, names: &[String]) -> Result<Copies, OpenError> {
    let has_file = names.iter().any(|name| Name::parse(name) == Some(Name::Identity));
    let journals = names::journals(names).into_iter().map(|(_, name)| name);
    Copies::read(disk, has_file, journals)
}

/// Reads all journals of a directory with these files.
pub(crate) fn survey<D: Disk>(
    disk: &mut D,
    names: &[String],
    copies: &Copies,
    mutant: Option<Mutant>,
    mut take: impl FnMut(Record<'_>),
) -> io::Result<Survey> {
    let journals = names::journals(names);
    let mut survey = Survey::default();
    survey.judge_identity(copies, journals.is_empty());
    for (number, name) in journals {
        let head = copies.head(&name);
        if let (Some(head), Some(main)) = (head, copies.main())
            && !head.identity.is_same_server(&main.identity)
        {
            survey.find(&name, 0..0, Damage::OtherServer);
        }
        let fallback = copies.main().filter(|_| mutant != Some(Mutant::HeadRequired));
        let key = head.or(fallback).map(|block| block.key);
        let scan = match key {
            Some(key) => scan(disk, &name, key, mutant, &mut take)?,
            None => Scan { torn: length(disk, &name)?, ..Scan::default() },
        };
        survey.judge_journal(&name, key.is_some(), &scan);
        let is_sound = scan.is_sound();
        let Scan { records, end, torn: torn_bytes, .. } = scan;
        let journal = Journal { file: name, records, end, torn_bytes };
        survey.journals.push(Surveyed { number, journal, is_sound, key });
    }
    Ok(survey)
}

impl Survey {
    fn find(&mut self, file: &str, range: Range<u64>, damage: Damage) {
        let Range { start: from, end: to } = range;
        self.findings.push(Finding { file: file.to_owned(), from, to, damage });
    }

    fn judge_identity(&mut self, copies: &Copies, has_no_journal: bool) {
        match copies.file_bytes {
            None if has_no_journal => {}
            None => self.find(IDENTITY, 0..0, Damage::IdentityMissing),
            Some(bytes) => {
                if !copies.file_is_intact {
                    self.find(IDENTITY, 0..bytes, Damage::IdentityDamaged);
                }
                if has_no_journal {
                    self.find(IDENTITY, 0..bytes, Damage::JournalMissing);
                }
            }
        }
    }

    fn judge_journal(&mut self, name: &str, is_readable: bool, scan: &Scan) {
        if !is_readable {
            self.find(name, 0..scan.torn, Damage::Unreadable);
        } else if !scan.has_head {
            let to = scan.head_end.unwrap_or(scan.torn);
            self.find(name, 0..to, Damage::HeadDamaged);
        }
        for hole in &scan.holes {
            self.find(name, hole.clone(), Damage::Hole);
        }
    }
}

/// Reads a file to its end, so that a disk that cannot return it is found out, and returns its length.
pub(crate) fn length<D: Disk>(disk: &mut D, name: &str) -> io::Result<u64> {
    const CHUNK_BYTES: usize = 1 << 20;
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
