//! A disk in memory that does what disks do at their worst, on command.

use crate::disk::Disk;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// A directory in memory. What was not synced may be lost, or come about in any order, when the
/// [`power_is_cut`](Self::power_is_cut).
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    names_safe: BTreeMap<String, usize>,
    /// What was done to names since they were synced, oldest first.
    names_pending: Vec<BTreeMap<String, usize>>,
    /// How often anything was asked that changes something.
    changes: u64,
    /// Fails at that change, and only there, having done this much of it.
    pub fail_at: Option<(u64, Failure)>,
    /// Bytes in all files together at most.
    pub bytes_max: Option<u64>,
    /// Says that it has made things safe, and has not.
    pub lies: bool,
}

/// How much is done of what fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing.
    Nothing,
    /// Half of it.
    Half,
    /// All, and then it says that it failed.
    All,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    safe: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, new) => put(*offset, new, bytes),
            Self::Truncate(length) => bytes.truncate(*length),
        }
    }
}

fn put(offset: usize, new: &[u8], bytes: &mut Vec<u8>) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(to) = bytes.get_mut(offset..end) {
        to.copy_from_slice(new);
    }
}

impl MemoryDisk {
    /// The power goes and comes back. `below(n)` is any number below `n`.
    pub fn power_is_cut(&mut self, mut below: impl FnMut(usize) -> usize) {
        // Names change in order; how far is open.
        let kept = below(self.names_pending.len() + 1);
        if let Some(names) = kept.checked_sub(1).and_then(|last| self.names_pending.get(last)) {
            self.names_safe = names.clone();
        }
        self.names = self.names_safe.clone();
        self.names_pending.clear();
        for file in &mut self.files {
            let mut bytes = std::mem::take(&mut file.safe);
            // Mostly the disk had come to some point; else it took what it liked.
            let in_order = below(2) == 0;
            let until = below(file.pending.len() + 1);
            for (at, change) in std::mem::take(&mut file.pending).into_iter().enumerate() {
                let (behind, at_the_end) = (at > until, at == until);
                match change {
                    Change::Write(offset, new) if at_the_end || !in_order => {
                        tear(offset, &new, &mut bytes, &mut below);
                    }
                    change @ (Change::Write(..) | Change::Truncate(_)) => {
                        if !behind {
                            change.apply(&mut bytes);
                        }
                    }
                }
            }
            file.bytes.clone_from(&bytes);
            file.safe = bytes;
        }
    }

    /// Any bit of any file is another; `None` if there is no byte at all.
    pub fn flip_a_bit(&mut self, mut below: impl FnMut(usize) -> usize) -> Option<(String, usize)> {
        let names: Vec<_> = self.names.iter().map(|(name, at)| (name.clone(), *at)).collect();
        let all = names.iter().map(|&(_, at)| self.length(at)).sum();
        let mut at = if all == 0 { return None } else { below(all) };
        for (name, number) in names {
            let length = self.length(number);
            if at < length {
                let bit = below(8);
                let file = self.files.get_mut(number)?;
                for bytes in [&mut file.bytes, &mut file.safe] {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
                return Some((name, at));
            }
            at -= length;
        }
        None
    }

    /// How often anything was changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.names.values().map(|&at| self.length(at) as u64).sum()
    }

    fn length(&self, at: usize) -> usize {
        self.files.get(at).map_or(0, |file| file.bytes.len())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// One more change; what is to be done of it if it fails.
    fn change(&mut self) -> Option<Failure> {
        self.changes += 1;
        self.fail_at.filter(|&(at, _)| at == self.changes).map(|(_, failure)| failure)
    }

    fn change_names(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, usize>),
    ) -> io::Result<()> {
        let failure = self.change();
        if matches!(failure, None | Some(Failure::All)) {
            change(&mut self.names);
            self.names_pending.push(self.names.clone());
        }
        outcome(failure)
    }
}

fn outcome(failure: Option<Failure>) -> io::Result<()> {
    failure.map_or(Ok(()), |_| Err(io::Error::other("the disk failed")))
}

/// Some sectors of a write come about, whole or up to some byte.
fn tear(offset: usize, new: &[u8], bytes: &mut Vec<u8>, below: &mut impl FnMut(usize) -> usize) {
    match below(3) {
        0 => put(offset, new.get(..below(new.len() + 1)).unwrap_or_default(), bytes),
        1 => {
            for (at, sector) in new.chunks(SECTOR_BYTES).enumerate() {
                if below(2) == 0 {
                    put(offset + at * SECTOR_BYTES, sector, bytes);
                }
            }
        }
        _ => {}
    }
}

impl Disk for MemoryDisk {
    fn names(&mut self) -> io::Result<Vec<String>> {
        Ok(self.names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.files.get(self.find(name)?).map_or(&[][..], |file| &file.bytes);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = file.get(from..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(there) {
            *to = *byte;
        }
        Ok(count)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = if let Some(&at) = self.names.get(name) {
            at
        } else {
            self.files.push(File::default());
            let at = self.files.len() - 1;
            self.change_names(|names| {
                names.insert(name.to_owned(), at);
            })?;
            at
        };
        let failure = self.change();
        let room = self.bytes_max.map_or(usize::MAX, |max| {
            usize::try_from(max.saturating_sub(self.bytes())).unwrap_or(usize::MAX)
        });
        let Some(file) = self.files.get_mut(at) else { return Err(ErrorKind::NotFound.into()) };
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::InvalidInput)?;
        let over = (offset + bytes.len()).saturating_sub(file.bytes.len());
        let fits = bytes.len() - over.saturating_sub(room).min(bytes.len());
        let done = match failure {
            None | Some(Failure::All) => fits,
            Some(Failure::Half) => fits.min(bytes.len() / 2),
            Some(Failure::Nothing) => 0,
        };
        let done = bytes.get(..done).unwrap_or_default();
        if !done.is_empty() {
            let change = Change::Write(offset, done.to_vec());
            change.apply(&mut file.bytes);
            file.pending.push(change);
        }
        outcome(failure)?;
        if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        let failure = self.change();
        let at = self.find(name)?;
        let length = usize::try_from(length).map_err(|_| ErrorKind::InvalidInput)?;
        if let Some(file) = self.files.get_mut(at)
            && matches!(failure, None | Some(Failure::All))
        {
            let change = Change::Truncate(length);
            change.apply(&mut file.bytes);
            file.pending.push(change);
        }
        outcome(failure)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let failure = self.change();
        let at = self.find(name)?;
        let lies = self.lies;
        if let Some(file) = self.files.get_mut(at) {
            match failure {
                None | Some(Failure::All) if !lies => {
                    file.safe.clone_from(&file.bytes);
                    file.pending.clear();
                }
                // What could not be written is dropped, though it can still be read.
                Some(_) => file.pending.clear(),
                None => {}
            }
        }
        outcome(failure)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let at = self.find(from)?;
        self.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), at);
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change_names(|names| {
            names.remove(name);
        })
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let failure = self.change();
        if !self.lies && matches!(failure, None | Some(Failure::All)) {
            self.names_safe = self.names.clone();
            self.names_pending.clear();
        }
        outcome(failure)
    }
}
